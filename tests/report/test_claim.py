from nmsynth.report.claim import claim_sentence


def rows(arm, error, recovery, false):
    shared = {"reference": "T1", "arm": arm}
    return [
        {"name": "NRMSE", "value": error, "unit": "1", "mask": "body (automatic)", **shared},
        {"name": "recovery", "value": recovery, "unit": "1", "mask": "lesions 10-18 mm", **shared},
        {"name": "false structures", "value": false, "unit": "per 100 slices", "mask": "all", **shared},
    ]


def test_claim_is_one_sentence_with_the_numbers_and_their_controls():
    measured = [*rows("prediction", 0.15, 0.55, 4.0), *rows("source", 0.5, 0.8, 300.0)]
    measured += rows("best Gaussian of the source", 0.2, 0.4, 2.0)
    found = claim_sentence(
        {"synthetic": {"measurements": measured}}, main="synthetic", subject="this patient", reference_kind="T1"
    )
    assert found == (
        "On this patient, against T1, the noise-free reconstruction, NRMSE in the body was 15.0 % (source 50.0 %, best "
        "Gaussian 20.0 %), the median contrast recovery of lesions of 10–18 mm 0.55 (source 0.80, best Gaussian 0.40) "
        "and false structures per 100 slices 4.00 (source 300, best Gaussian 2.00); nothing is shown of other "
        "patients, scanners or tracers."
    )


def test_no_error_gives_no_claim():
    assert claim_sentence({"synthetic": {}}, main="synthetic", subject="x", reference_kind="T1") is None
