import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from nmsynth.core.errors import InputError, SuvError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.evaluation import EvaluationSettings, evaluate, evaluate_arms
from nmsynth.evaluation.evaluate import BEST_GAUSSIAN, EQUAL_NOISE_GAUSSIAN
from nmsynth.metrics.regions import smooth
from tests.evaluation.scenes import LESIONS_MM, SHAPE, SPACING, masks, scan, truth, volume
from tests.helpers import make_volume

T1 = {"reference_kind": "T1"}


@dataclass(frozen=True)
class FixedRule:
    """An SUV rule with one factor, or none."""

    value: float | None
    reason: str | None = None

    def factor(self, _kind, **_facts):
        if self.value is None:
            raise SuvError("An SUV needs the injected activity; the source states none.")
        return self.value


def test_perfect_prediction_has_no_error_and_full_recovery():
    image = volume(truth())
    found = evaluate(image, image, masks=masks(), settings=T1)
    assert found.value("NRMSE") == 0.0
    assert found.value("SSIM") == pytest.approx(1.0)
    assert found.value("PSNR") is None
    assert "infinite" in found.find("PSNR").reason
    assert [lesion.recovery for lesion in found.lesions] == pytest.approx([1.0] * 3)
    for name in ("false structures", "missing structures", "omissions", "intensity shifts", "Deauville category flips"):
        assert found.value(name) == 0.0


def test_prediction_at_110_percent_shows_it_everywhere():
    found = evaluate(volume(1.1 * truth()), volume(truth()), masks=masks(), settings=T1)
    assert found.value("NRMSE") == pytest.approx(0.1, rel=1e-4)
    for mask in ("body (automatic)", "liver", "body slab 3 of 6", "liver sphere 30 mm"):
        assert found.value("relative bias", mask=mask) == pytest.approx(0.1, rel=1e-4)
    for lesion in found.lesions:
        assert lesion.recovery == pytest.approx(1.1, rel=1e-4)
        assert (lesion.mean_bias, lesion.peak_bias, lesion.maximum_bias) == pytest.approx((0.1, 0.1, 0.1), rel=1e-3)
    bland_altman = found.find("SUVpeak Bland-Altman bias")
    assert bland_altman.value == pytest.approx(0.2 / 2.1, rel=1e-3)
    assert bland_altman.interval == "limits of agreement, 1.96 SD"


def test_source_and_its_gaussians_stand_beside_the_prediction():
    source = volume(scan())
    prediction = source.with_array(smooth(source.array, 7.0, SPACING))
    found = evaluate(prediction, volume(truth()), source=source, masks=masks(), settings=T1)
    assert found.arms == ("prediction", "source", BEST_GAUSSIAN, EQUAL_NOISE_GAUSSIAN, "reference")
    assert found.value("NRMSE", arm=BEST_GAUSSIAN) <= found.value("NRMSE") < found.value("NRMSE", arm="source")
    assert found.value("width", arm=EQUAL_NOISE_GAUSSIAN) == pytest.approx(7.0, abs=0.1)
    assert found.value("COV", arm=EQUAL_NOISE_GAUSSIAN) == pytest.approx(found.value("COV"), rel=0.02)
    assert found.value("noise reduction") > 0.2
    against_source = [m for m in found.measurements if m.reference == "source" and m.name == "relative bias"]
    assert {m.arm for m in against_source} == {"prediction", BEST_GAUSSIAN, EQUAL_NOISE_GAUSSIAN}
    assert all(abs(m.value) < 0.05 for m in against_source if m.arm == "prediction")


def test_erased_lesion_is_an_omission_and_a_weak_one_a_shift():
    reference = truth()
    image = reference.copy()
    labels = masks()["lesions"]
    first, second = labels == 1, labels == 2
    image[smooth(1.0 * first, 12.0, SPACING) > 0.05] = 1.0
    image[second] = 1.0 + 0.5 * (image[second] - 1.0)
    found = evaluate(volume(image), volume(reference), masks={"lesions": labels}, settings=T1)
    by_name = {lesion.lesion: lesion for lesion in found.lesions}
    assert (by_name["lesion 1"].omitted, by_name["lesion 1"].shifted) == (True, False)
    assert (by_name["lesion 2"].omitted, by_name["lesion 2"].shifted) == (False, True)
    assert (by_name["lesion 3"].omitted, by_name["lesion 3"].shifted) == (False, False)
    assert (found.value("omissions"), found.value("intensity shifts")) == (1.0, 1.0)
    assert found.find("omissions").n == 3
    assert found.value("missing structures") > 0


def test_lesions_have_their_size_and_class():
    found = evaluate(volume(truth()), volume(truth()), masks=masks(), settings=T1)
    for lesion, (_, radius) in zip(found.lesions, LESIONS_MM, strict=True):
        assert lesion.diameter_mm == pytest.approx(2 * radius, rel=0.12)
    assert [lesion.size_class for lesion in found.lesions] == ["18-25 mm", "10-18 mm", "10-18 mm"]
    summary = found.find("recovery", mask="lesions 10-18 mm")
    assert (summary.n, summary.interval) == (2, "quartiles over lesions")


def test_invented_lesion_is_a_false_structure():
    image = truth()
    image[14:17, 8:11, 20:23] += 3.0
    found = evaluate(volume(image), volume(truth()), masks=masks(), settings=T1)
    structures = found.find("false structures")
    assert (structures.n, structures.value) == (1, pytest.approx(100 / 26))
    assert structures.mask == "all slices but 2 at each end"


def test_every_number_names_its_reference_unit_and_mask():
    found = evaluate(volume(scan()), volume(truth()), source=volume(scan()), masks=masks(), settings={"n_slabs": 2})
    for row in found.rows():
        assert row["unit"]
        assert row["mask"]
        assert (row["value"] is None) == (row["reason"] is not None and row["value"] is None)
    assert {row["reference"] for row in found.rows() if row["name"] in ("NRMSE", "PSNR", "SSIM", "recovery")} == {"T2"}
    assert found.find("PSNR").data_range == 7.0
    assert "data range 7 SUVbw [g/mL]" in found.definitions["SSIM"]


def test_json_has_a_version_the_definitions_and_no_nan():
    found = evaluate(volume(scan()), volume(truth()), source=volume(scan()), masks=masks(), settings=T1)
    text = json.dumps(found.to_json(), allow_nan=False)
    loaded = json.loads(text)
    assert loaded["schema_version"] == 1
    assert loaded["settings"]["ring_outer_mm"] == 14.0
    assert {"NRMSE", "recovery", "false structures", "SUVpeak"} <= loaded["definitions"].keys()
    assert len(loaded["lesions"]) == 3 * 4
    assert loaded["definitions"]["reference"].startswith("T1")


@pytest.mark.filterwarnings("error")
def test_all_zero_images_give_reasons_and_no_numbers():
    zeros = volume(np.zeros(SHAPE))
    found = evaluate(zeros, zeros, source=zeros, masks=masks(), settings=T1)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.value("NRMSE") is None
    assert found.find("NRMSE").reason == "the mask is empty"
    assert found.value("false structures") is None
    assert found.find("COV").reason.startswith("no liver level")
    assert any("body mask is empty" in warning for warning in found.warnings)


def test_zero_prediction_of_a_real_reference_misses_everything():
    found = evaluate(volume(np.zeros(SHAPE)), volume(truth()), masks=masks(), settings=T1)
    assert found.value("NRMSE") == pytest.approx(1.0)
    assert found.value("relative bias") == pytest.approx(-1.0)
    assert found.value("omissions") == 3.0


def test_becquerels_become_suv_where_all_allow_it():
    reference = volume(2500.0 * truth(), Unit.BQML, suv_rule=FixedRule(1 / 2500.0))
    found = evaluate(volume(truth()), reference, masks=masks(), settings=T1)
    assert found.unit == "SUVbw [g/mL]"
    assert found.value("NRMSE") < 1e-6
    assert found.warnings == ()


def test_becquerels_stay_with_a_warning_where_they_do_not():
    image = volume(2500.0 * truth(), Unit.BQML, suv_rule=FixedRule(None))
    found = evaluate(image, image, masks=masks(), settings=T1)
    assert found.unit == "Bq/mL"
    assert "not SUV" in found.warnings[0]
    assert found.find("SSIM").data_range == pytest.approx(2500.0 * truth().max(), rel=1e-5)
    assert found.lesions[0].mtv_fixed_ml is None
    assert found.find("peak bias") is not None


def test_results_do_not_depend_on_the_unit():
    names = ("NRMSE", "relative bias", "COV", "false structures", "recovery")
    in_suv = evaluate(volume(scan()), volume(truth()), masks=masks(), settings=T1)
    factor = 2048.0
    rule = FixedRule(None)
    prediction = volume(factor * scan(), Unit.BQML, suv_rule=rule)
    in_bq = evaluate(prediction, volume(factor * truth(), Unit.BQML, suv_rule=rule), masks=masks(), settings=T1)
    for name in names:
        assert in_bq.value(name) == pytest.approx(in_suv.value(name), rel=1e-5)


def test_masks_are_found_where_none_are_given():
    found = evaluate(volume(scan(0.1)), volume(truth()), settings=T1)
    sphere = found.places["liver sphere"]
    assert sphere["name"] == "homogeneous sphere 30 mm (automatic)"
    assert masks()["liver"][tuple(sphere["centre_index_zyx"])]
    assert found.lesions == ()


def test_several_arms_share_their_regions():
    arms = {"identity": volume(scan()), "half": volume(0.5 * truth())}
    found = evaluate_arms(arms, volume(truth()), masks=masks(), settings=T1)
    assert found.arms == ("identity", "half", "reference")
    assert found.value("NRMSE", arm="half") == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("name", ["reference", "source", BEST_GAUSSIAN])
def test_names_of_arms_that_mean_something_are_refused(name):
    with pytest.raises(InputError, match=f"'{name}' is kept"):
        evaluate_arms({name: volume(truth())}, volume(truth()))


def test_body_mask_can_be_given_as_a_volume():
    body = np.zeros(SHAPE)
    body[10:20, 10:30, 10:30] = 1
    found = evaluate(
        volume(truth()), volume(truth()), masks={"body": volume(body, Unit.UNITLESS)}, settings={"n_slabs": 0}
    )
    assert found.find("NRMSE").mask == "body"
    assert found.places["body"]["voxels"] == 4000


def test_other_grids_are_refused_with_the_remedy():
    reference = volume(truth())
    other = make_volume(array=truth(), spacing_mm=(4.0, 4.0, 4.1), unit=Unit.SUV_BODY_WEIGHT)
    with pytest.raises(InputError, match=r"must share a grid.*Resample the prediction first: --resample"):
        evaluate(other, reference)
    with pytest.raises(InputError, match="must share the grid of the reference"):
        evaluate(reference, reference, masks={"liver": other})
    with pytest.raises(InputError, match="must have the shape of the reference"):
        evaluate(reference, reference, masks={"liver": np.ones((2, 2, 2))})


def test_units_that_do_not_meet_are_refused():
    reference = volume(truth(), Unit.BQML, suv_rule=FixedRule(None))
    with pytest.raises(InputError, match=r"prediction in SUVbw .*states none\. Convert them first"):
        evaluate(volume(truth()), reference)


def test_nan_is_refused():
    image = truth()
    image[0, 0, 0] = math.nan
    with pytest.raises(UnsafeInputError, match="prediction has NaN"):
        evaluate(volume(image), volume(truth()))


def test_unknown_settings_and_tasks_are_refused():
    image = volume(truth())
    with pytest.raises(InputError, match="Did you mean 'ring_inner_mm'"):
        evaluate(image, image, settings={"ring_iner_mm": 7.0})
    with pytest.raises(InputError, match="'reference_kind' must be valid"):
        evaluate(image, image, settings={"reference_kind": "T3"})
    with pytest.raises(InputError, match="task of an evaluation must be one of"):
        evaluate(image, image, task="weather")


def test_frames_are_refused():
    frames = make_volume((2, 4, 5, 6), axes=("frame", "z", "y", "x"))
    with pytest.raises(InputError, match="must have axes"):
        evaluate(frames, frames)


def test_settings_are_frozen_and_recorded():
    settings = EvaluationSettings(reference_kind="T0", n_slabs=1)
    found = evaluate(volume(truth()), volume(truth()), settings=settings)
    assert found.settings["reference_kind"] == "T0"
    assert found.reference_kind == "T0"
    assert "defined against T1" in found.find("false structures").reason


def test_full_counts_and_their_best_gaussian_are_controls():
    found = evaluate(
        volume(truth()), volume(truth()), source=volume(scan(1.2)), full_counts=volume(scan(0.3)), masks=masks(),
        settings=T1,
    )  # fmt: skip
    assert found.arms[0] == "prediction"
    full, filtered = (found.value("NRMSE", arm=name) for name in ("full counts", "best Gaussian of full counts"))
    assert 0 < filtered < full
    assert found.find("width", arm="best Gaussian of full counts").value > 0


def test_equal_noise_gaussian_follows_the_first_arm():
    arms = {"model": volume(scan(0.3)), "other": volume(scan(0.2))}
    found = evaluate_arms(arms, volume(truth()), source=volume(scan(1.2)), masks=masks(), settings=T1)
    assert found.value("SD", arm=EQUAL_NOISE_GAUSSIAN) == pytest.approx(found.value("SD", arm="model"), rel=0.05)


def test_noise_of_spect_is_what_differs_from_the_noise_free_reference():
    # a model that shows the reference's own slope in the liver, and a flat level added: no noise of its own
    spect = {"unit": Unit.BQML, "modality": "NM"}
    prediction = volume(smooth(scan(), 7.0, SPACING), **spect)
    given = {"source": volume(scan(), **spect), "masks": masks(), "task": "lowcount-spect"}
    found = evaluate(prediction, volume(truth(), **spect), settings=T1, **given)
    assert found.value("width", arm=EQUAL_NOISE_GAUSSIAN) == pytest.approx(7.0, abs=0.1)
    noise = {arm: found.value("residual noise", arm=arm) for arm in found.arms if arm != "reference"}
    assert noise[EQUAL_NOISE_GAUSSIAN] == pytest.approx(noise["prediction"], rel=0.02)
    assert 1.5 * noise["prediction"] < noise["source"] == pytest.approx(0.4 / 2**0.5, rel=0.15)
    # the best that a Gaussian can do stands beside a model that leaves less than any: not one of 40 mm
    exact = evaluate(volume(truth(), **spect), volume(truth(), **spect), settings=T1, **given)
    assert exact.value("residual noise") == pytest.approx(0.0, abs=1e-6)
    assert 5.0 < exact.value("width", arm=EQUAL_NOISE_GAUSSIAN) < 20.0
    scanned = evaluate(prediction, volume(truth(), **spect), settings={"reference_kind": "T2"}, **given)
    assert scanned.value("residual noise") is None
    assert scanned.value("SD", arm=EQUAL_NOISE_GAUSSIAN) == pytest.approx(scanned.value("SD"), rel=0.05)


def test_organs_have_mean_maximum_and_peak():
    found = evaluate(volume(scan()), volume(truth()), masks=masks(), settings=T1)
    mean, peak, maximum = (found.value(f"SUV{name}", mask="liver") for name in ("mean", "peak", "max"))
    assert mean < peak < maximum
    assert found.value("SUVpeak", mask="liver", arm="reference") is not None


def test_decisions_are_taken_within_each_image():
    regions = {**masks(), "blood_pool": masks()["liver"]}
    found = evaluate(volume(2 * truth()), volume(truth()), masks=regions, settings=T1)
    for lesion in found.lesions:
        assert lesion.peak == pytest.approx(2 * lesion.peak_reference, rel=1e-5)
        assert lesion.liver_ratio == pytest.approx(lesion.liver_ratio_reference, rel=1e-5)
        assert lesion.blood_pool_ratio == pytest.approx(lesion.blood_pool_ratio_reference, rel=1e-5)
        assert (lesion.category, lesion.measurable) == (lesion.category_reference, lesion.measurable_reference)
    assert found.value("Deauville category flips") == 0
    assert found.value("PERCIST measurable flips") == 0


def test_a_flattened_lesion_flips_its_category():
    flat = truth()
    flat[masks()["lesions"] == 2] = 2.0
    found = evaluate(volume(flat), volume(truth()), masks=masks(), settings=T1)
    assert found.value("Deauville category flips") >= 1
