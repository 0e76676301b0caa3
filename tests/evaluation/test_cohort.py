import json

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.evaluation import CohortEntry, Metrics, cohort_table, compare_arms, evaluate
from nmsynth.evaluation.cohort import lesion_repeatability
from nmsynth.evaluation.statistics import summarise
from nmsynth.metrics.measurement import Measurement
from tests.evaluation.scenes import masks, scan, truth, volume


def _entry(case_id, value, *, arm="model", counts="1/10", other=None):
    items = [Measurement("NRMSE", value, "1", "body", "T1", arm=arm)]
    if other is not None:
        items.append(Measurement("NRMSE", other, "1", "body", "T1", arm="Gaussian"))
    return CohortEntry(case_id, Metrics("lowcount-pet", "SUV", "T1", tuple(items)), {"counts": counts})


def test_table_has_medians_and_quartiles_over_patients():
    table = cohort_table([_entry(f"p{i}", value) for i, value in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))])
    (row,) = table.rows
    assert (row.median, row.q1, row.q3, row.mean) == pytest.approx((0.3, 0.2, 0.4, 0.3))
    assert row.lower < 0.3 < row.upper
    assert (row.n_values, row.n_patients, row.labels) == (5, 5, {"counts": "1/10"})


def test_realisations_of_a_patient_count_once():
    entries = [_entry("p1", 0.1), _entry("p1", 0.3), _entry("p2", 0.6)]
    (row,) = cohort_table(entries).rows
    assert (row.median, row.n_values) == (pytest.approx(0.4), 2)


def test_levels_are_kept_apart_and_selected():
    table = cohort_table([_entry("p1", 0.1, counts="1/4"), _entry("p1", 0.2, counts="1/10")])
    assert [row.median for row in table.select(name="NRMSE", labels={"counts": "1/10"})] == [pytest.approx(0.2)]
    text = table.to_markdown([("NRMSE", "body"), ("PSNR", None)])
    assert "| 1/4 | model | 0.100 [0.100, 0.100] | – |" in text


def test_same_seed_same_table_in_any_order():
    entries = [_entry(f"p{i}", value) for i, value in enumerate(np.random.default_rng(0).uniform(size=12))]
    assert cohort_table(entries, seed=3).to_json() == cohort_table(entries, seed=3).to_json()
    (forward,), (backward,) = cohort_table(entries).rows, cohort_table(entries[::-1]).rows
    assert (forward.lower, forward.upper) == (backward.lower, backward.upper)
    assert json.loads(json.dumps(cohort_table(entries).to_json()))["schema_version"] == 1


def test_comparison_is_paired_by_patient():
    entries = [_entry(f"p{i}", 0.8 * v, other=v) for i, v in enumerate((0.1, 0.4, 0.9))]
    found = compare_arms(entries, "NRMSE", arm="model", other="Gaussian")
    assert (found.value, found.lower, found.upper, found.n) == pytest.approx((-0.2, -0.2, -0.2, 3))
    assert compare_arms(entries, "PSNR", arm="model", other="Gaussian") is None


def test_lesions_are_pooled_over_patients_by_size():
    entries = [
        CohortEntry(case, evaluate(volume(factor * truth()), volume(truth()), masks=masks(), settings={"n_slabs": 0}))
        for case, factor in (("p1", 0.8), ("p1", 1.0), ("p2", 1.1))
    ]
    table = cohort_table(entries, names=["NRMSE"])
    (row,) = table.select(name="recovery", mask="lesions 10-18 mm")
    assert (row.n_values, row.n_patients) == (4, 2)
    assert row.median == pytest.approx(1.0, abs=1e-3)
    assert {r.name for r in table.rows if not r.mask.startswith("lesions")} == {"NRMSE"}
    (omitted,) = table.select(name="omitted", mask="lesions")
    assert omitted.mean == 0.0


def test_repeatability_of_the_peak_over_realisations():
    entries = [
        CohortEntry("p1", evaluate(volume(scan(0.3, seed)), volume(truth()), masks=masks(), settings={"n_slabs": 0}))
        for seed in range(3)
    ]
    found = lesion_repeatability(entries, arm="prediction")
    assert set(found) == {"p1 lesion 1", "p1 lesion 2", "p1 lesion 3"}
    assert all(0 < value < 0.5 for value in found.values())
    with pytest.raises(InputError, match="at least 3 realisations"):
        lesion_repeatability(entries[:2], arm="prediction")


def test_summary_of_nothing_is_none():
    assert summarise([], []) is None
