"""A synthesis keeps what belongs to the scan and says how it was made."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import EnvelopeError, InputError
from nmsynth.core.units import Unit
from nmsynth.inference import SynthesisSettings, synthesize
from nmsynth.inference.guard import ALL_ZERO
from nmsynth.inference.settings import resolve_settings
from tests.models.packages import FDG, make_pet, save_tiny

SETTINGS = {"backend": "torch", "threads": 1}


def test_geometry_acquisition_and_unit_are_kept_and_the_image_is_marked(model):
    source = make_pet(acquisition=replace(FDG, series_uid="1.2.3"), warnings=("weight missing",))
    result = synthesize(source, model, settings=SETTINGS)
    image = result.image
    assert image.has_grid_of(source)
    assert (image.unit, image.acquisition, image.suv_rule) == (source.unit, source.acquisition, source.suv_rule)
    assert image.provenance.synthetic
    assert image.provenance.model == "tiny 0.0.1"
    assert image.provenance.model_sha256 == model.sha256
    assert image.provenance.parents == ("1.2.3",)
    assert image.provenance.settings["significance"] == "standard"
    assert image.warnings[0] == "weight missing"
    assert result.images == {"image": image}
    assert (result.samples, result.interval) == ((), None)
    assert not source.provenance.synthetic


def test_a_parent_without_a_uid_is_named_by_its_hash(model):
    source = make_pet()
    assert synthesize(source, model, settings=SETTINGS).image.provenance.parents == (source.sha256,)


def test_the_record_is_json_and_complete(model):
    record = json.loads(json.dumps(synthesize(make_pet(), model, settings=SETTINGS).record, allow_nan=False))
    assert record["schema_version"] == 1
    assert record["synthetic"] is True
    assert record["model"] == {"name": "tiny", "version": "0.0.1", "task": "lowcount-pet", "sha256": model.sha256}
    assert record["settings"]["significance"] == "standard"
    assert record["seed"] == 0
    assert record["run"]["device"] == "cpu"
    assert record["input"]["unit"] == "Bq/mL"
    assert {"load_model", "total"} <= set(record["times_s"])


def test_an_untrained_network_is_flagged_for_its_activity(model):
    result = synthesize(make_pet(), model, settings=SETTINGS)
    assert any("activity in the body changed" in flag for flag in result.flags)
    assert result.flags == tuple(result.record["flags"])
    assert set(result.flags) <= set(result.image.warnings)


def test_twice_the_activity_gives_twice_the_image(model):
    source = make_pet()
    once, twice = (synthesize(v, model, settings=SETTINGS).image for v in (source, source.with_array(2 * source.array)))
    np.testing.assert_array_equal(twice.array, 2 * once.array)


def test_the_same_input_gives_the_same_image(model):
    first, second = (synthesize(make_pet(), model, settings=SETTINGS).image for _ in range(2))
    assert first.sha256 == second.sha256


def test_a_model_is_taken_by_path_and_an_input_by_role(tmp_path):
    result = synthesize({"pet": make_pet()}, save_tiny(tmp_path), settings=SETTINGS)
    assert result.record["model"]["name"] == "tiny"


def test_an_unknown_role_is_a_mistake(model):
    with pytest.raises(InputError, match="takes the inputs pet; found ct"):
        synthesize({"ct": make_pet()}, model)


def test_an_unknown_setting_gets_the_nearest(model):
    with pytest.raises(InputError, match=r"found 'significanse'\. Did you mean 'significance'"):
        synthesize(make_pet(), model, settings={"significanse": "low"})


@pytest.mark.parametrize("name", ["SUVbw", "suvbw", "SUVbw [g/mL]", Unit.SUV_BODY_WEIGHT])
def test_a_unit_is_named_as_everywhere(name):
    assert resolve_settings({"unit": name}).unit is Unit.SUV_BODY_WEIGHT
    with pytest.raises(InputError, match=r"'unit' does not hold: .*A unit must be one of Bq/mL, .*found 'bananas'"):
        resolve_settings({"unit": "bananas"})


@pytest.mark.parametrize("values", [{"threads": 0}, {"significance": "very"}, {"unit": "bananas"}])
def test_a_setting_of_the_wrong_kind_is_a_mistake(model, values):
    with pytest.raises(InputError, match=f"setting '{next(iter(values))}' does not hold"):
        synthesize(make_pet(), model, settings=values)


def test_an_output_is_no_input(model):
    image = synthesize(make_pet(), model, settings=SETTINGS).image
    with pytest.raises(EnvelopeError, match="this one is synthetic"):
        synthesize(image, model)


def test_fault_74_a_scan_outside_the_envelope_is_refused_before_the_network_runs(model):
    with pytest.raises(EnvelopeError, match="outside what tiny was tested for: unit"):
        synthesize(make_pet(unit=Unit.COUNTS), model)
    assert not model.last_run


def test_fault_30_an_empty_scan_gives_an_empty_image_with_a_flag(model):
    result = synthesize(make_pet(array=np.zeros((10, 24, 20))), model)
    assert not result.image.array.any()
    assert result.flags == (ALL_ZERO,)
    assert not model.last_run


def test_heads_are_returned_when_asked_for_and_evidence_has_no_unit(model):
    images = synthesize(make_pet(), model, settings=SynthesisSettings(backend="torch", heads=True)).images
    assert set(images) == {"image", "mean", "contrast", "evidence"}
    assert images["contrast"].unit is Unit.BQML
    assert images["evidence"].unit is Unit.UNITLESS


def test_an_output_in_another_unit_than_an_suv_is_a_mistake(model):
    with pytest.raises(InputError, match="unit must be the source's"):
        synthesize(make_pet(), model, settings={"unit": "counts"})


def test_a_simulated_scan_stays_marked_as_simulated(model):
    source = make_pet()
    source = replace(source, provenance=replace(source.provenance, simulated=True))
    assert synthesize(source, model, settings=SETTINGS).image.provenance.simulated
