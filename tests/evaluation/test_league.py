import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.evaluation.league import (
    comparable,
    difference_interval,
    league_rows,
    mean_interval,
    patient_values,
    region_verdict,
)
from nmsynth.evaluation.league_measures import Truth, measure_case
from nmsynth.metrics.agreement import bootstrap_interval
from nmsynth.metrics.convergence import converged, late_improvement
from tests.evaluation.league_results import FALLING, run_result

PATIENTS = ("a", "b", "c", "d")
METHODS = ("tissue-lookup", "unet", "flow")


def rows_of(*results, score="mae", rank=True, planned=None):
    planned = planned or {(r.task, r.method): sum(o.method == r.method for o in results) for r in results}
    rows = league_rows(results, scores={"ct-pet": score}, planned=planned, rank=rank, n_bootstrap=200)
    return {row["method"]: row for row in rows}


def baseline(values, method="tissue-lookup"):
    return run_result(method, "baseline", errors=dict(zip(PATIENTS, values, strict=True)))


def model(values, method="unet", **facts):
    return run_result(method, errors=dict(zip(PATIENTS, values, strict=True)), **facts)


def test_flat_curve_has_converged_and_a_falling_one_has_not():
    assert converged([{"step": s, "score": 3.0} for s in range(1, 10)]) is True
    assert converged(FALLING) is False
    assert converged(FALLING[:5]) is None


def test_an_early_best_that_is_never_reached_again_counts_as_converged():
    scores = (3, 1, 2, 2, 2, 2, 2, 2, 2)
    assert late_improvement([{"step": s, "score": v} for s, v in enumerate(scores, 1)]) == 0.0


def test_interval_is_that_of_the_bootstrap_over_patients():
    values = np.array([0.3, 0.5, 0.4, 0.9])
    expected = bootstrap_interval(values, statistic=lambda v: float(v.mean()), n_bootstrap=300)
    found = mean_interval(values, n_bootstrap=300)
    assert found["value"] == pytest.approx(0.525)
    assert (found["lower"], found["upper"]) == pytest.approx((expected.lower, expected.upper))
    assert found["median"] == pytest.approx(0.45)
    assert mean_interval([]) is None


def test_images_and_seeds_of_a_patient_make_one_value():
    runs = [run_result(errors={"a": 1.0, "b": 2.0}), run_result(errors={"a": 3.0}, seed=2)]
    assert patient_values(runs, "mae") == {"a": 2.0, "b": 2.0}


def test_a_fold_that_not_all_methods_have_is_left_out_until_it_is_whole():
    first = [baseline([0.5] * 4), model([0.4] * 4)]
    part = run_result(errors={"e": 9.0}, fold=1)
    assert comparable([*first, part]) == first
    whole = [*first, part, run_result("tissue-lookup", "baseline", errors={"e": 8.0}, fold=1)]
    assert comparable(whole) == whole
    assert comparable([first[0], part]) == [first[0], part]  # nothing in common: each is shown as it is


def test_further_seeds_of_models_stand_beside_the_one_run_of_a_baseline():
    def runs(fold, patients):
        errors = dict.fromkeys(patients, 0.4)
        models = [run_result(m, errors=errors, fold=fold, seed=s) for m in ("unet", "flow") for s in (1, 2)]
        return [run_result("tissue-lookup", "baseline", errors=dict.fromkeys(patients, 0.5), fold=fold), *models]

    whole = [*runs(0, "ab"), *runs(1, "cd")]
    assert comparable(whole) == whole
    rows = rows_of(*comparable(whole), planned={("ct-pet", m): n for m, n in zip(METHODS, (2, 4, 4), strict=True)})
    assert all(rows[m]["rank"] is not None for m in METHODS)
    part = whole[:-1]  # one model lacks a seed of the second fold: that seed goes, and the fold stays
    assert [(r.method, r.fold, r.seed) for r in comparable(part) if r.fold == 1] == [
        ("tissue-lookup", 1, 1), ("unet", 1, 1), ("flow", 1, 1),
    ]  # fmt: skip
    without = [r for r in whole if (r.method, r.fold) != ("flow", 1)]
    assert {r.fold for r in comparable(without)} == {0}


def test_constant_gain_over_a_baseline_has_an_interval_without_width():
    rows = rows_of(baseline([0.5, 0.7, 0.6, 0.9]), model([0.4, 0.6, 0.5, 0.8]))
    difference = rows["unet"]["to_baseline"]
    assert difference["to"] == "tissue-lookup"
    assert [difference[k] for k in ("value", "lower", "upper")] == pytest.approx([-0.1] * 3)
    assert rows["tissue-lookup"]["to_unet"]["value"] == pytest.approx(0.1)
    assert rows["unet"]["to_unet"] is None


def test_only_patients_of_both_are_compared():
    assert difference_interval({"a": 1.0, "b": 2.0}, {"b": 1.0, "c": 9.0})["value"] == pytest.approx(1.0)


def test_what_still_improves_is_not_ranked_however_good():
    early = model([0.1] * 4, "ddpm", converged=False)
    rows = rows_of(baseline([0.5] * 4), model([0.4] * 4), early, model([0.1] * 4, "vit", converged=None))
    assert [rows[m]["rank"] for m in ("unet", "tissue-lookup", "ddpm", "vit")] == [1, 2, None, None]
    assert rows["ddpm"]["not_ranked"] == "still improving"
    assert rows["vit"]["not_ranked"] == "too few validations"


def test_half_a_race_and_plumbing_are_not_ranked():
    planned = {("ct-pet", "unet"): 3}
    assert rows_of(model([0.4] * 4), planned=planned)["unet"]["not_ranked"] == "1 of 3 runs"
    assert rows_of(model([0.4] * 4), rank=False)["unet"]["not_ranked"] == "the suite proves plumbing only"


def test_larger_ssim_ranks_first():
    rows = rows_of(model([{"ssim": 0.8}] * 4), model([{"ssim": 0.9}] * 4, "flow"), score="ssim")
    assert (rows["flow"]["rank"], rows["unet"]["rank"]) == (1, 2)


def test_a_model_that_does_not_beat_a_constant_in_regions_is_said_so():
    values = [{"mae": 0.4, "region_error": 2.0}] * 4
    rows = rows_of(model(values), baseline([{"mae": 0.6, "region_error": 1.5}] * 4, "constant"))
    assert "no model beats the best baseline, 'constant'" in region_verdict(list(rows.values()))
    rows = rows_of(model([{"mae": 0.4, "region_error": 1.0}] * 4), baseline([{"region_error": 1.5}] * 4, "constant"))
    assert "unet beat" in region_verdict(list(rows.values()))


def test_means_of_regions_stand_in_the_table_where_all_runs_kept_them():
    early, late = {"mae": 0.4, "region_error": 1.0}, {"mae": 0.4, "region_error": 1.0, "region_mean": 3.0}
    without = {"mae": 0.4}  # no region in this patient
    part = rows_of(run_result(errors={"a": early}), run_result(errors={"b": late}, fold=1))["unet"]["metrics"]
    assert set(part) == {"mae", "region_error"}
    whole = rows_of(run_result(errors={"a": without}), run_result(errors={"b": late}, fold=1))["unet"]["metrics"]
    assert whole["region_mean"]["value"] == 3.0


def test_results_of_two_datasets_do_not_stand_in_one_table():
    with pytest.raises(InputError, match="belong to one dataset"):
        rows_of(model([0.4] * 4), model([0.4] * 4, "flow", data_sha256="other"))
    with pytest.raises(InputError, match="two that differ"):
        rows_of(model([0.4] * 4), model([0.5] * 4))


def truth_of(target, modality="CT", labels=None):
    labels = np.zeros_like(target) if labels is None else labels
    return Truth(target, np.ones(target.shape, bool), labels, (2.0, 2.0, 2.0), modality, 1000.0)


def test_bone_is_measured_at_both_thresholds():
    target = np.zeros((4, 8, 8), np.float32)
    target[:, :2], target[:, 2:4] = 200.0, 400.0
    image = target.copy()
    image[:, :2] = 100.0
    found = measure_case(image, truth_of(target))
    assert found["bone_mae_150"] == pytest.approx(50.0)
    assert found["bone_mae_300"] == 0.0
    assert found["bone_dice_150"] == pytest.approx(2 / 3)
    assert found["bone_dice_300"] == 1.0


def test_regions_recovery_and_samples():
    target = np.ones((9, 21, 21), np.float32)
    labels = np.zeros_like(target)
    labels[3:6, 9:12, 9:12] = 1.0
    target[labels > 0] = 5.0
    image = target.copy()
    image[labels > 0] = 3.0
    truth = truth_of(target, "PT", labels)
    found = measure_case(image, truth, samples=[image, image + 2])
    assert found["region_error"] == pytest.approx(2.0)
    assert found["recovery"] == pytest.approx(0.5)
    assert found["spread"] == pytest.approx(np.sqrt(2.0))
    assert measure_case(image, truth, region_value=4.0)["region_error"] == pytest.approx(1.0)
    assert "bone_mae_150" not in found


def test_every_region_is_measured_however_many_there_are():
    labels = np.zeros((4, 20, 20), np.float32)
    labels[:, ::2, ::2] = np.arange(1, 101).reshape(1, 10, 10)
    target = np.where(labels > 0, 5.0, 1.0).astype(np.float32)
    image = np.where(labels == 100, 105.0, target).astype(np.float32)
    assert measure_case(image, truth_of(target, "PT", labels))["region_error"] == pytest.approx(1.0)
