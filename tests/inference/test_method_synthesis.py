"""A synthesis with a method keeps quantities, says what it was told, and gives its samples."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from nmsynth.core.errors import EnvelopeError, InputError, SuvError, UnsafeInputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.normalisation import Normalisation, activity_level
from nmsynth.core.plan import ConditionPlan, ImagePlan
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.data.known_attenuation import attenuation_of
from nmsynth.data.orientation import turned
from nmsynth.inference import MethodModel, load_model, synthesize
from nmsynth.inference.guard import ALL_ZERO
from nmsynth.inference.method_inputs import method_inputs
from nmsynth.inference.method_synthesis import back_on_grid
from nmsynth.inference.settings import SynthesisSettings
from nmsynth.inference.synthesis import in_unit
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.models.card import IntervalCard, TypicalCard
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.physics.materials import mu_from_hu
from tests.data.test_orientation import STORED
from tests.helpers import make_volume
from tests.metrics.test_head_fluid import ball
from tests.models.method_packages import (
    COUNTS,
    CT,
    PET,
    make_method_card,
    make_plan,
    save_tiny_method,
    tiny_model,
)
from tests.models.packages import FDG, make_pet

SETTINGS = {"threads": 1, "conditions": {"count_fraction": 0.25}}
GRID = (4.0, 4.0, 4.0)
GIVEN = replace(
    FDG,
    injected_activity_bq=3e8,
    body_mass_kg=70.0,
    half_life_s=6586.2,
    decay_correction="START",
    injection_time=datetime(2020, 1, 1, 9),
    reference_time=datetime(2020, 1, 1, 10),
)
BY_DECAY = SuvRule(time_rule="a", decay_rule="START")


def pet(**fields):
    """Scan in Bq/mL with an SUV, on the plan's grid unless said otherwise."""
    return make_pet((10, 24, 20), **({"spacing_mm": GRID, "acquisition": GIVEN, "suv_rule": BY_DECAY} | fields))


def ct_of(volume, **fields):
    """CT of a scan's field of view."""
    array = np.random.default_rng(5).normal(0.0, 300.0, volume.shape)
    return make_volume(array=array, affine=volume.affine, unit=Unit.HOUNSFIELD, modality="CT", **fields)


@pytest.fixture
def identity():
    """Model that gives back its source."""
    return tiny_model(make_method_card(make_plan(residual=True)), silent=True)


@pytest.fixture
def model():
    """Deterministic model with random weights."""
    return tiny_model(make_method_card())


def test_grid_unit_acquisition_and_suv_survive(identity):
    source = pet()
    image = synthesize(source, identity, settings=SETTINGS).image
    np.testing.assert_allclose(image.array, source.array, rtol=1e-5, atol=1e-2)
    assert image.has_grid_of(source)
    assert (image.unit, image.modality, image.acquisition) == (source.unit, "PT", source.acquisition)
    np.testing.assert_allclose(image.to_suv().array, source.to_suv().array, rtol=1e-5, atol=1e-5)
    assert (image.provenance.synthetic, image.provenance.model) == (True, "tiny-method 0.1.0")


def test_twice_the_activity_of_twice_the_injection_is_twice_the_image(model):
    once = pet()
    twice = once.with_array(2 * once.array, acquisition=replace(GIVEN, injected_activity_bq=6e8))
    first, second = (synthesize(volume, model, settings=SETTINGS).image for volume in (once, twice))
    np.testing.assert_allclose(second.array, 2 * first.array, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("unit", [Unit.BQML, Unit.COUNTS, Unit.RELATIVE])
def test_a_level_takes_any_scale_and_gives_it_back(unit):
    level = ImagePlan(name="spect", modality="NM", unit=Unit.BQML, normalisation=Normalisation(kind="level", scale=3.0))
    plan = make_plan(sources=(level,), target=level, conditions=())
    model = tiny_model(make_method_card(plan, envelope=envelope_from_plan(plan)))
    volume = pet(modality="NM", unit=unit, suv_rule=None)
    once, thousandfold = (
        synthesize(volume.with_array(f * volume.array), model, settings={"threads": 1}).image for f in (1.0, 1000.0)
    )
    assert (once.unit, thousandfold.unit) == (unit, unit)
    np.testing.assert_allclose(thousandfold.array, 1000 * once.array, rtol=1e-3, atol=1e-3 * float(once.array.max()))


def test_a_target_on_another_scale_of_the_level_is_undone_by_it():
    scaled = Normalisation(kind="level", scale=6.0)
    source = ImagePlan(
        name="spect", modality="NM", unit=Unit.BQML, normalisation=Normalisation(kind="level", scale=3.0)
    )
    plan = make_plan(
        sources=(source,), target=source.model_copy(update={"normalisation": scaled}), conditions=(), residual=False
    )
    model = tiny_model(make_method_card(plan, envelope=envelope_from_plan(plan)))
    volume = pet(modality="NM", suv_rule=None)
    inputs = method_inputs(volume, model, SynthesisSettings(threads=1))
    assert inputs.target_scale.scale == pytest.approx(6.0 * activity_level(volume.array, volume.spacing_mm))


@pytest.mark.parametrize(("unit", "corrected"), [(Unit.RELATIVE, False), (Unit.BQML, True)])
def test_what_the_model_corrected_is_said_and_counts_where_it_has_a_unit(unit, corrected):
    level = Normalisation(kind="level", scale=3.0)
    uncorrected = ImagePlan(
        name="pet", modality="PT", unit=Unit.RELATIVE, normalisation=level, attenuation_corrected=False
    )
    target = uncorrected.model_copy(update={"attenuation_corrected": True})
    plan = make_plan(sources=(uncorrected,), target=target, conditions=(), residual=True, same_calibration=True)
    model = tiny_model(make_method_card(plan, envelope=envelope_from_plan(plan)))
    source = pet(unit=unit, suv_rule=None, acquisition=replace(GIVEN, corrections=("DECY", "RAN")))
    made = synthesize(source, model, settings={"threads": 1})
    assert made.image.unit is unit
    assert made.image.acquisition.attenuation_correction == "synthetic, nmsynth"
    assert ("ATTN" in made.image.acquisition.corrections) == corrected
    assert not any("activity in the body" in flag for flag in made.flags)
    with pytest.raises(EnvelopeError, match="must not have been applied, found it among the corrections"):
        synthesize(replace(source, acquisition=replace(GIVEN, corrections=("DECY", "ATTN"))), model)


def test_factors_of_slices_go_back_slice_by_slice(identity):
    decay = tuple(1.0 + 0.1 * k for k in range(10))
    rule = SuvRule(time_rule="a", decay_rule="NONE", slice_decay=decay)
    source = pet(suv_rule=rule)
    image = synthesize(source, identity, settings=SETTINGS).image
    np.testing.assert_allclose(image.array, source.array, rtol=1e-5, atol=1e-2)


def test_another_grid_is_left_and_come_back_to_with_a_flag(identity):
    z, y, x = np.indices((16, 40, 40))
    smooth = 5000.0 * np.exp(-((z - 7) ** 2 / 30 + ((y - 20) ** 2 + (x - 18) ** 2) / 150))
    source = pet(array=smooth, spacing_mm=(3.0, 2.5, 2.5))
    result = synthesize(source, identity, settings=SETTINGS)
    assert result.image.has_grid_of(source)
    assert any("interpolated linearly to the source's" in flag for flag in result.flags)
    assert result.record["run"]["grid"] == [12, 25, 25]
    assert abs(float(result.image.array.sum()) / float(smooth.sum()) - 1) < 0.01
    assert np.abs(result.image.array - smooth).max() < 0.08 * smooth.max()


@pytest.mark.parametrize("turn", STORED.values(), ids=STORED)
@pytest.mark.parametrize("spacing", [GRID, (3.0, 4.0, 5.0)])
def test_the_answer_to_one_image_is_one_image_however_it_is_stored(model, turn, spacing):
    source = pet(spacing_mm=spacing)
    expected = synthesize(source, model, settings=SETTINGS)
    found = synthesize(turned(source, turn), model, settings=SETTINGS)
    assert found.image.has_grid_of(turned(source, turn))
    interpolated = [any("interpolated linearly" in flag for flag in made.flags) for made in (found, expected)]
    assert interpolated == [spacing != GRID] * 2
    expected_there = turned(expected.image, turn).array
    np.testing.assert_allclose(found.image.array, expected_there, rtol=1e-4, atol=1e-4 * float(expected_there.max()))


def test_borders_go_on_where_an_image_comes_back_from_a_coarse_grid():
    coarse = make_volume(
        (2, 4, 4), array=np.full((2, 4, 4), 7.0), spacing_mm=(8.0, 8.0, 8.0), origin_mm=(2.0, 2.0, 2.0)
    )
    fine = make_volume((4, 8, 8), affine=affine_from_axes(spacing_mm=GRID))
    np.testing.assert_allclose(back_on_grid(coarse, fine).array, 7.0, rtol=1e-6)


def test_another_modality_stays_on_the_plans_grid_in_its_unit():
    ct = CT.model_copy(update={"optional": False})
    card = make_method_card(make_plan(sources=(ct,), target=PET, conditions=(), task="ct-to-pet"))
    source = make_volume(
        (8, 40, 40), spacing_mm=(4.0, 2.0, 2.0), modality="CT", unit=Unit.HOUNSFIELD, acquisition=GIVEN
    )
    result = synthesize(source, tiny_model(card), settings={"threads": 1})
    image = result.image
    assert (image.modality, image.unit, image.shape) == ("PT", Unit.SUV_BODY_WEIGHT, (8, 20, 20))
    assert image.acquisition.body_mass_kg == 70.0
    assert image.acquisition.injected_activity_bq is None
    assert image.acquisition.series_description == "synthetic tracer-like PT"
    with pytest.raises(SuvError, match="for which nothing was injected"):
        image.to_suv()
    assert result.record["checks"].keys() == {"minimum", "maximum"}
    assert "the image has the model's grid, not that of the input" in result.flags


def test_another_tracer_is_imitated_and_the_administration_of_the_source_is_not_its():
    known = (("FDG", "pons"), ("florbetapir", "whole cerebellum"))
    ratio = PET.model_copy(update={"unit": Unit.SUVR, "references": known})
    told = ConditionPlan(name="target_tracer", kind="category", categories=("FDG", "florbetapir"))
    model = tiny_model(make_method_card(make_plan(target=ratio, conditions=(told,), task="tracer-to-tracer")))
    settings = {"threads": 1, "conditions": {"target_tracer": "florbetapir"}}
    image = synthesize(pet(), model, settings=settings).image
    assert (image.unit, image.modality) == (Unit.SUVR, "PT")
    assert image.acquisition.series_description == "synthetic florbetapir-like PT"
    assert image.acquisition.radiopharmaceutical is None
    assert image.provenance.settings["reference_region"] == "whole cerebellum"
    with pytest.raises(SuvError, match="florbetapir-like"):
        image.to_suv()


def test_several_inputs_are_taken_by_role_and_an_optional_one_may_be_missing():
    model = tiny_model(make_method_card(make_plan(sources=(PET, CT))))
    source = pet()
    both = synthesize({"pet": source, "ct": ct_of(source)}, model, settings=SETTINGS)
    alone = synthesize(source, model, settings=SETTINGS)
    assert both.image.provenance.parents == (source.sha256, ct_of(source).sha256)
    assert set(both.record["inputs"]) == {"pet", "ct"}
    assert "the optional input ct was not given" in alone.flags
    assert not np.array_equal(both.image.array, alone.image.array)


def test_a_further_input_must_show_the_same_place_in_the_planned_unit():
    model = tiny_model(make_method_card(make_plan(sources=(PET, CT))))
    source = pet()
    ct = ct_of(source)
    shifted = np.array(source.affine)
    shifted[2, 3] += 12.0
    part = synthesize({"pet": source, "ct": replace(ct, affine=shifted)}, model, settings=SETTINGS)
    assert "the input ct covers 70 % of the first; the rest is filled" in part.flags
    shifted[2, 3] += 1000.0
    with pytest.raises(EnvelopeError, match="do not meet"):
        synthesize({"pet": source, "ct": replace(ct, affine=shifted)}, model, settings=SETTINGS)
    with pytest.raises(EnvelopeError, match="input ct must be in HU; found counts"):
        synthesize({"pet": source, "ct": replace(ct, unit=Unit.COUNTS)}, model, settings=SETTINGS)
    with pytest.raises(EnvelopeError, match="input ct must be CT; found PT"):
        synthesize({"pet": source, "ct": source}, model, settings=SETTINGS)


def test_a_further_input_must_share_the_frame_of_reference_where_both_state_one():
    model = tiny_model(make_method_card(make_plan(sources=(PET, CT))))
    here, there, unknown = (replace(GIVEN, frame_of_reference_uid=uid) for uid in ("1.2.3", "1.2.4", None))
    source = pet(acquisition=here)
    for acquisition in (here, unknown):
        synthesize({"pet": source, "ct": ct_of(source, acquisition=acquisition)}, model, settings=SETTINGS)
    with pytest.raises(EnvelopeError, match="must share the frame of reference of the first; they state two"):
        synthesize({"pet": source, "ct": ct_of(source, acquisition=there)}, model, settings=SETTINGS)
    with pytest.raises(InputError, match=r"inputs pet, ct \(needed: pet\); found ct"):
        synthesize({"ct": ct_of(source)}, model, settings=SETTINGS)


def test_a_condition_must_be_stated_and_known(model):
    with pytest.raises(InputError, match=r"is told count_fraction of each scan.*--condition count_fraction=VALUE"):
        synthesize(pet(), model, settings={"threads": 1})
    with pytest.raises(InputError, match="Did you mean 'count_fraction'"):
        synthesize(pet(), model, settings={"conditions": {"count_fractoin": 1}})
    stated = synthesize(pet(acquisition=replace(GIVEN, simulated_count_fraction=0.1)), model, settings={"threads": 1})
    assert stated.record["conditions"] == {"count_fraction": "0.1"}


def test_a_category_is_told_by_its_name():
    tracer = ConditionPlan(name="tracer", kind="category", categories=("FDG", "FES"))
    model = tiny_model(make_method_card(make_plan(conditions=(COUNTS, tracer))))
    settings = SETTINGS | {"conditions": {"count_fraction": 0.25, "tracer": "FES"}}
    assert synthesize(pet(), model, settings=settings).record["conditions"]["tracer"] == "FES"
    with pytest.raises(InputError, match="must be one of FDG, FES; found 'PSMA'"):
        synthesize(pet(), model, settings=SETTINGS | {"conditions": {"count_fraction": 1, "tracer": "PSMA"}})


def test_a_stochastic_method_gives_samples_whose_mean_is_the_image():
    target = PET.model_copy(update={"normalisation": Normalisation(kind="asinh", scale=10.0, knee=0.5)})
    model = tiny_model(make_method_card(make_plan(sources=(target,), target=target), family="cvae"))
    settings = SETTINGS | {"n_samples": 3, "seed": 5}
    first, again = (synthesize(pet(), model, settings=settings) for _ in range(2))
    other = synthesize(pet(), model, settings=settings | {"seed": 6})
    assert len(first.samples) == 3
    assert first.interval is None
    np.testing.assert_allclose(
        first.image.array, np.mean([s.array for s in first.samples], axis=0), rtol=1e-5, atol=1e-3
    )
    assert not np.array_equal(first.samples[0].array, first.samples[1].array)
    np.testing.assert_array_equal(first.image.array, again.image.array)
    assert not np.array_equal(first.image.array, other.image.array)
    assert all(s.provenance.synthetic and s.unit is Unit.BQML and s.has_grid_of(pet()) for s in first.samples)
    assert first.image.provenance.settings["n_samples"] == first.record["run"]["n_samples"] == 3


def test_calibrated_samples_have_intervals_that_are_drawn_as_many_as_they_take():
    target = PET.model_copy(update={"unit": Unit.BQML, "normalisation": Normalisation(kind="linear", scale=9000.0)})
    interval = IntervalCard(
        coverage=0.9, n_samples=5, voxel_factor=2.0, voxel_floor=30.0, region_factor=1.0, region_floor=0.0, n_cases=9,
        n_regions=9,
    )  # fmt: skip
    card = make_method_card(make_plan(sources=(target,), target=target), family="cvae", interval=interval)
    found = synthesize(pet(), tiny_model(card), settings=SETTINGS)
    assert len(found.samples) == found.record["interval"]["n_samples"] == 5
    lower, upper = found.interval
    spread = np.std([s.array for s in found.samples], axis=0, ddof=1)
    np.testing.assert_allclose((upper.array - lower.array) / 2, 2 * np.hypot(spread, 30.0), rtol=1e-3)
    np.testing.assert_allclose((upper.array + lower.array) / 2, found.image.array, rtol=1e-4, atol=0.1)
    fewer = synthesize(pet(), tiny_model(card), settings=SETTINGS | {"n_samples": 3})
    assert fewer.interval is None
    assert "no intervals: they are calibrated for 5 samples, and 3 were drawn" in fewer.flags
    otherwise = synthesize(pet(), tiny_model(card), settings=SETTINGS | {"overlap": 0.25})
    assert otherwise.interval is None
    assert any("for the model's own sampling steps and overlap" in flag for flag in otherwise.flags)


def test_a_source_unlike_those_of_the_training_is_flagged():
    numbers = [2.0, 3.0, 4.0, 5.0, 6.0, 0.3, 0.3, 6.0, 4.5, 4.4]
    wide = TypicalCard(mean=numbers, sd=[1e3] * 10, limit=4.0, n_images=30)
    narrow = wide.model_copy(update={"sd": (*wide.sd[:7], 1e-3, *wide.sd[8:])})
    for card, told in ((wide, False), (narrow, True)):
        model = tiny_model(make_method_card(typical=card))
        flags = synthesize(pet(), model, settings=SETTINGS).flags
        assert any("its volume of the body lies" in flag for flag in flags) == told


def test_a_head_with_more_fluid_than_those_of_the_training_is_flagged():
    image, _ = ball(0.4)
    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    plan = make_plan(sources=(mr,), target=CT.model_copy(update={"optional": False}), conditions=())
    affine = affine_from_axes(spacing_mm=GRID)
    source = make_volume(array=np.abs(image), affine=affine, modality="MR", unit=Unit.RELATIVE)
    for fluid, told in (((0.1, 0.3), True), ((0.1, 0.5), False), (None, False)):
        typical = TypicalCard(mean=[0.0] * 10, sd=[1e3] * 10, limit=4.0, n_images=30, fluid=fluid)
        model = tiny_model(make_method_card(plan, typical=typical))
        flags = method_inputs(source, model, SynthesisSettings()).flags
        assert any("share of fluid within the skull is 40 %" in flag and "atrophy" in flag for flag in flags) == told


def test_steps_of_sampling_are_set_for_one_synthesis():
    model = tiny_model(make_method_card(family="flow"))
    settings = SETTINGS | {"n_samples": 1}
    usual, short, again = (synthesize(pet(), model, settings=settings | s) for s in ({}, {"sampling_steps": 2}, {}))
    assert [r.record["run"]["sampling_steps"] for r in (usual, short, again)] == [4, 2, 4]
    assert not np.array_equal(usual.image.array, short.image.array)
    np.testing.assert_array_equal(usual.image.array, again.image.array)


def test_the_record_is_json_and_names_method_and_plan(model):
    result = synthesize(pet(), model, settings=SETTINGS)
    record = json.loads(json.dumps(result.record, allow_nan=False))
    assert record["method"] == {"name": "unet", "plan_sha256": model.plan_sha256}
    assert record["model"]["sha256"] == model.sha256
    assert record["run"]["n_windows"] == 8
    assert (record["seed"], record["synthetic"]) == (0, True)
    assert result.samples == ()
    assert record["flags"] == list(result.flags)


def test_a_package_is_loaded_as_what_its_card_says(tmp_path):
    folder = save_tiny_method(tmp_path)
    loaded = load_model(folder)
    assert isinstance(loaded, MethodModel)
    assert (loaded.name, loaded.version, len(loaded.sha256)) == ("tiny-method", "0.1.0", 64)
    assert synthesize(pet(), folder, settings=SETTINGS).record["model"]["sha256"] == loaded.sha256


def test_an_empty_scan_is_empty_again_but_no_other_modality_comes_of_it(model):
    zero = pet(array=np.zeros((10, 24, 20)))
    result = synthesize(zero, model, settings=SETTINGS)
    assert not result.image.array.any()
    assert ALL_ZERO in result.flags
    ct = tiny_model(make_method_card(make_plan(target=CT.model_copy(update={"optional": False}))))
    with pytest.raises(UnsafeInputError, match="zero everywhere"):
        synthesize(zero, ct, settings=SETTINGS)


def test_outside_the_envelope_nothing_is_computed(model):
    with pytest.raises(EnvelopeError, match="in-plane voxel size"):
        synthesize(pet(spacing_mm=(4.0, 9.0, 9.0)), model, settings=SETTINGS)
    with pytest.raises(EnvelopeError, match="this one is synthetic"):
        synthesize(synthesize(pet(), model, settings=SETTINGS).image, model, settings=SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": True}, "heads is not one of this model"),
        ({"significance": "high"}, "significance is not one"),
        ({"backend": "openvino"}, "runs on torch"),
        ({"sampling_steps": 3}, "that sample in steps; this one answers in one"),
    ],
)
def test_settings_of_other_models_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        synthesize(pet(), model, settings=SETTINGS | settings)


def test_a_unit_may_be_asked_for(model):
    assert synthesize(pet(), model, settings=SETTINGS | {"unit": "SUVbw [g/mL]"}).image.unit is Unit.SUV_BODY_WEIGHT


def test_counts_that_gains_were_applied_to_are_relative():
    level = Normalisation(kind="level", scale=3.0)
    uncorrected = ImagePlan(
        name="nm", modality="NM", unit=Unit.RELATIVE, normalisation=level, attenuation_corrected=False
    )
    target = uncorrected.model_copy(update={"attenuation_corrected": True})
    plan = make_plan(sources=(uncorrected,), target=target, conditions=(), residual=True, same_calibration=True)
    model = tiny_model(make_method_card(plan, envelope=envelope_from_plan(plan)))
    source = pet(unit=Unit.COUNTS, modality="NM", suv_rule=None, acquisition=replace(GIVEN, corrections=()))
    image = synthesize(source, model, settings={"threads": 1}).image
    assert (image.unit, image.acquisition.attenuation_correction) == (Unit.RELATIVE, "synthetic, nmsynth")
    assert "ATTN" not in image.acquisition.corrections


@pytest.mark.parametrize("energy_kev", [511.0, 140.5])
def test_the_attenuation_of_a_synthetic_ct_may_be_asked_for(energy_kev, tmp_path):
    mr = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    ct = CT.model_copy(update={"optional": False})
    model = tiny_model(make_method_card(make_plan(sources=(mr,), target=ct, conditions=(), task="mr-to-ct")))
    source = make_volume((8, 24, 20), spacing_mm=GRID, modality="MR", unit=Unit.RELATIVE)
    hu = synthesize(source, model, settings={"threads": 1}).image
    settings = {"threads": 1, "unit": "1/cm", "energy_kev": energy_kev}
    made = synthesize(source, model, settings=settings)
    assert (made.image.unit, made.image.modality) == (Unit.PER_CENTIMETRE, "CT")
    np.testing.assert_allclose(made.image.array, mu_from_hu(hu.array, energy_kev=energy_kev), rtol=1e-5)
    written = read(write_nifti(made.image, tmp_path / "mu.nii.gz"))
    assert written.provenance.settings["attenuation_kev"] == energy_kev
    assert "120 kVp" in written.provenance.settings["attenuation_from"]
    if energy_kev == 511.0:
        attenuation_of(written)
    else:
        with pytest.raises(InputError, match=r"must be of 511 keV here; this one is of 140\.5 keV"):
            attenuation_of(written)
    known = in_unit(hu.with_array(np.full(hu.shape, 0.0)), Unit.PER_CENTIMETRE, energy_kev=energy_kev)
    assert float(known.array.mean()) == pytest.approx({511.0: 0.096, 140.5: 0.154}[energy_kev], abs=5e-4)  # water


def test_attenuation_is_that_of_a_ct_alone(model):
    with pytest.raises(InputError, match="or 1/cm of a model that gives CT numbers"):
        synthesize(pet(), model, settings=SETTINGS | {"unit": "1/cm"})
