"""Curves of recovery against noise and false structures, on a phantom whose answers are known."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.evaluation.curves import (
    GAUSSIAN,
    CurvePoint,
    CurveSample,
    gains,
    gaussian_settings,
    measure_curves,
    pool_curves,
    recovery_at,
)
from tests.evaluation.scenes import masks, scan, truth, volume

T1 = {"reference_kind": "T1"}


def sample(setting="a", *, case="p1", values=(0.5,), diameter=14.0, noise=0.1, false=1, method="m"):
    return CurveSample(case, method, setting, tuple((diameter, v) for v in values), noise, 0.2, false, 0, 50)


def point(recovery, noise=None, false=None):
    return CurvePoint("s", recovery, None, None, 1, noise, None, false, None)


def test_the_truth_recovers_everything_without_false_structures():
    (found,) = measure_curves({"perfect": [("", volume(truth()))]}, volume(truth()), masks=masks(), settings=T1)
    assert [value for _, value in found.recoveries] == pytest.approx([1.0] * len(found.recoveries))
    assert (found.n_false, found.n_missing, found.nrmse) == (0, 0, 0.0)


def test_half_the_image_recovers_a_half():
    line = [("half", volume(0.5 * truth()))]
    (found,) = measure_curves({"m": line}, volume(truth()), masks=masks(), settings=T1)
    assert [value for _, value in found.recoveries] == pytest.approx([0.5] * len(found.recoveries), rel=1e-5)


def test_a_wider_gaussian_has_less_noise_and_less_recovery():
    line = gaussian_settings(volume(scan()), (0.0, 6.0, 12.0))
    samples = measure_curves({GAUSSIAN: line}, volume(truth()), masks=masks(), settings=T1)
    points = pool_curves(samples, lesions="all").points[GAUSSIAN]
    assert [p.setting for p in points] == ["0 mm", "6 mm", "12 mm"]
    assert points[0].noise > points[1].noise > points[2].noise
    assert points[1].recovery > points[2].recovery


def test_numbers_are_those_of_the_evaluation():
    from nmsynth.evaluation import evaluate

    metrics = evaluate(volume(scan()), volume(truth()), masks=masks(), settings=T1)
    line = {"m": [("", volume(scan()))]}
    samples = measure_curves(line, volume(truth()), masks=masks(), settings=T1)
    (found,) = pool_curves(samples, lesions="all").points["m"]
    assert found.recovery == pytest.approx(metrics.value("recovery", mask="lesions"))
    assert found.noise == pytest.approx(metrics.value("COV"))
    assert found.nrmse == pytest.approx(metrics.value("NRMSE"))
    assert found.false_structures == pytest.approx(metrics.value("false structures"))


def test_curves_do_not_depend_on_the_unit():
    found = [
        measure_curves({"m": [("", volume(k * scan()))]}, volume(k * truth()), masks=masks(), settings=T1)[0]
        for k in (1.0, 8.0)
    ]
    assert found[0].noise == pytest.approx(found[1].noise, rel=1e-5)
    assert found[0].n_false == found[1].n_false


def test_structures_are_counted_over_the_slices_of_all_patients():
    curves = pool_curves([sample(case="p1", false=1), sample(case="p2", false=4)])
    assert curves.points["m"][0].false_structures == pytest.approx(5.0)
    assert curves.n_patients == 2


def test_three_lesions_of_the_class_make_it_the_one_that_is_drawn():
    assert pool_curves([sample(values=(0.1, 0.2, 0.6))]).lesions == "10-18 mm"
    few = pool_curves([sample(values=(0.1, 0.3))])
    assert few.lesions == "all"
    assert few.points["m"][0].recovery == pytest.approx(0.2)


def test_interval_is_over_patients_and_over_lesions_where_there_is_one():
    one = pool_curves([sample(values=(0.0, 1.0, 2.0))]).points["m"][0]
    assert (one.recovery_lower, one.recovery_upper) == (0.5, 1.5)
    several = pool_curves([sample(case=f"p{k}", values=(k / 10,) * 3) for k in range(8)]).points["m"][0]
    assert several.recovery_lower < several.recovery < several.recovery_upper


def test_recovery_at_a_level_is_on_the_straight_line_between_points():
    line = [point(0.2, noise=0.1), point(0.6, noise=0.3)]
    assert recovery_at(line, 0.2) == pytest.approx(0.4)
    assert recovery_at(line, 0.9) == pytest.approx(0.6)
    assert recovery_at(line, 0.05) is None


def test_recovery_at_a_level_is_the_best_at_no_more_than_it():
    line = [point(0.7, false=0.0), point(0.5, false=2.0), point(0.9, false=4.0)]
    assert recovery_at(line, 2.0, along="false_structures") == pytest.approx(0.7)


def test_gain_is_over_the_gaussian_at_equal_noise():
    model = sample("standard", method="model", values=(0.8,) * 3, noise=0.2, false=0)
    wide = sample("wide", method=GAUSSIAN, values=(0.2,) * 3, noise=0.1, false=1)
    narrow = sample("narrow", method=GAUSSIAN, values=(0.6,) * 3, noise=0.3, false=9)
    (row,) = gains(pool_curves([model, wide, narrow]))
    assert row["at_equal_noise"] == pytest.approx(0.4)
    assert row["at_equal_false_structures"] is None


def test_json_has_a_version_and_no_nan():
    import json

    curves = pool_curves([sample(noise=None)])
    text = json.dumps(curves.to_json(), allow_nan=False)
    assert json.loads(text)["schema_version"] == 1
    assert curves.rows()["m"][0]["lesions"] == curves.lesions


def test_no_lesion_other_grids_and_unknown_classes_are_refused():
    line = {"m": [("", volume(truth()))]}
    with pytest.raises(InputError, match="need lesions"):
        measure_curves(line, volume(truth()), masks={})
    with pytest.raises(InputError, match="must share a grid"):
        measure_curves(line, volume(np.ones((4, 5, 6))), masks=masks())
    with pytest.raises(InputError, match="must be one of"):
        pool_curves([sample()], lesions="huge")
