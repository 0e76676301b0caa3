"""Summaries of a proof: which way a number is better, pairs, intervals."""

import numpy as np
import pytest

from nmsynth.evaluation.proof import shortfall, summarise_proof

WANTED = {"NRMSE": "lower", "recovery": "one", "bias": "zero", "SSIM": "higher"}


def patient(model, other):
    return {"prediction": dict(zip(WANTED, model, strict=True)), "source": dict(zip(WANTED, other, strict=True))}


def test_less_shortfall_is_better_whatever_the_number():
    assert shortfall(0.1, "lower") < shortfall(0.2, "lower")
    assert shortfall(0.9, "higher") < shortfall(0.8, "higher")
    assert shortfall(1.1, "one") < shortfall(0.8, "one")
    assert shortfall(-0.1, "zero") < shortfall(0.2, "zero")


def test_differences_are_paired():
    # the model is 0.1 better in every patient, though patients differ by far more
    patients = [patient((0.1 * k, 1, 0, 0.9), (0.1 * k + 0.1, 0.5, 0.3, 0.8)) for k in range(12)]
    found = summarise_proof(patients, WANTED)
    difference = found.differences["source"]["NRMSE"]
    assert (difference.value, difference.lower, difference.upper) == pytest.approx((-0.1, -0.1, -0.1))
    assert all(found.is_better(number, ["source"]) for number in WANTED)
    assert not any(found.is_worse(number, ["source"]) for number in WANTED)
    assert found.arms["prediction"]["NRMSE"].value == pytest.approx(0.55)


def test_a_recovery_above_one_is_no_gain():
    found = summarise_proof([patient((0.1, 1.6, 0, 1), (0.1, 0.9, 0, 1)) for _ in range(12)], WANTED)
    assert found.is_worse("recovery", ["source"])
    assert not found.is_better("NRMSE", ["source"])  # equal


def test_patients_without_a_number_are_left_out_of_its_pairs():
    patients = [patient((0.1, None, 0, 1), (0.2, 0.5, 0, 1)), patient((0.1, 1.0, 0, 1), (0.2, 0.5, 0, 1))]
    found = summarise_proof(patients, WANTED)
    assert found.differences["source"]["recovery"].n == 1
    assert found.differences["source"]["NRMSE"].n == 2


def test_a_number_that_nobody_has_is_not_summarised():
    found = summarise_proof([patient((0.1, None, 0, 1), (0.2, None, 0, 1))], WANTED)
    assert "recovery" not in found.arms["prediction"]
    assert not found.is_better("recovery", ["source"])


def test_what_has_no_best_is_told_and_not_compared():
    patients = [{"prediction": {"coverage": 0.9}, "source": {"coverage": 0.1}} for _ in range(12)]
    found = summarise_proof(patients, {"coverage": "told"})
    assert found.arms["prediction"]["coverage"].value == 0.9
    assert found.differences == {}


def test_few_pairs_prove_nothing():
    found = summarise_proof([patient((0.1, 1, 0, 1), (0.2, 1, 0, 1)) for _ in range(9)], WANTED)
    assert found.differences["source"]["NRMSE"].upper < 0
    assert not found.is_better("NRMSE", ["source"])
    assert found.has_too_few("NRMSE", ["source"])
    worse = summarise_proof([patient((0.2, 1, 0, 1), (0.1, 1, 0, 1)) for _ in range(9)], WANTED)
    assert not worse.is_worse("NRMSE", ["source"])
    enough = summarise_proof([patient((0.1, 1, 0, 1), (0.2, 1, 0, 1)) for _ in range(10)], WANTED)
    assert enough.is_better("NRMSE", ["source"])
    assert not enough.has_too_few("NRMSE", ["source"])


def test_means_tell_of_spots_that_less_than_half_of_the_patients_have():
    patients = [{"prediction": {"spots": 0.0}, "source": {"spots": float(k % 20 < 9)}} for k in range(40)]
    median, mean = (summarise_proof(patients, {"spots": "lower"}, means=means) for means in ((), ("spots",)))
    assert median.differences["source"]["spots"].value == 0.0
    assert not median.is_better("spots", ["source"])
    assert mean.differences["source"]["spots"].value == pytest.approx(-0.45)
    assert mean.arms["source"]["spots"].value == pytest.approx(0.45)
    assert mean.is_better("spots", ["source"])


def test_a_severity_is_right_where_it_is_high_in_the_right_patients():
    rng = np.random.default_rng(0)
    true = rng.standard_normal(20)

    def patient_of(k):
        return {
            "prediction": {"severity": 5.0 + 0.1 * true[k]},  # on another scale, in the right order
            "source": {"severity": float(rng.standard_normal())},
            "anatomy": {"severity": 0.0},
            "reference": {"severity": float(true[k])},
        }

    found = summarise_proof([patient_of(k) for k in range(20)], {"severity": "higher"}, correlations=["severity"])
    assert found.arms["prediction"]["severity"].value == pytest.approx(1.0)
    assert found.arms["anatomy"]["severity"].value == 0.0
    assert abs(found.arms["source"]["severity"].value) < 0.6
    assert "reference" not in found.arms
    assert found.differences["anatomy"]["severity"].value == pytest.approx(-1.0)
    assert found.is_better("severity", ["source", "anatomy"])
    few = summarise_proof([patient_of(0), patient_of(1)], {"severity": "higher"}, correlations=["severity"])
    assert few.arms == {}
