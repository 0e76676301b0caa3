"""The envelope of a plan follows its first source."""

import pytest
from pydantic import ValidationError

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.units import Unit
from nmsynth.models.envelope import Envelope
from nmsynth.models.plan_envelope import envelope_from_plan
from tests.helpers import make_volume
from tests.models.method_packages import CT, FDG, PET, make_plan
from tests.models.packages import make_pet


def test_an_activity_may_be_half_to_twice_as_coarse_and_has_its_tracer():
    envelope = envelope_from_plan(make_plan(spacing_mm=(3.0, 4.0, 4.0)), tracers=(FDG,))
    assert envelope.modality == ("PT",)
    assert envelope.units == (Unit.SUV_BODY_WEIGHT, Unit.BQML)
    assert (envelope.axial_voxel_mm, envelope.in_plane_voxel_mm) == ((1.5, 6.0), (2.0, 8.0))
    assert envelope.minimum_grid == (4, 4, 4)
    assert envelope.requires_attenuation_correction


def test_unknown_tracers_are_said_with_every_image():
    envelope = envelope_from_plan(make_plan())
    assert envelope.any_tracer
    flags = envelope.check(make_pet(spacing_mm=(4.0, 4.0, 4.0), acquisition=Acquisition(corrections=("ATTN",))))
    assert flags == ("it is not stated for which tracers the model was trained",)


def test_a_plan_for_uncorrected_images_refuses_corrected_ones():
    uncorrected = PET.model_copy(update={"attenuation_corrected": False})
    envelope = envelope_from_plan(make_plan(sources=(uncorrected,)))
    scan = make_pet(spacing_mm=(4.0, 4.0, 4.0), acquisition=Acquisition(corrections=("DECY", "RAN")))
    assert envelope.check(scan) == ("it is not stated for which tracers the model was trained",)
    corrected = make_pet(spacing_mm=(4.0, 4.0, 4.0), acquisition=Acquisition(corrections=("DECY", "ATTN")))
    assert any("must not have been applied" in v for v in envelope.violations(corrected))
    silent = make_pet(spacing_mm=(4.0, 4.0, 4.0), acquisition=Acquisition(corrections=()))
    assert any("was not applied must be stated" in v for v in envelope.violations(silent))


@pytest.mark.parametrize("stated", [True, False, None])
def test_spect_is_asked_for_what_all_images_of_the_training_state(stated):
    spect = PET.model_copy(update={"modality": "NM", "unit": Unit.BQML, "attenuation_corrected": stated})
    envelope = envelope_from_plan(make_plan(sources=(spect,)))
    assert envelope.requires_attenuation_correction is (stated is True)
    assert envelope.refuses_attenuation_correction is (stated is False)


@pytest.mark.parametrize(("shapes", "single"), [((1, 1), True), ((40, 60), False), ((1, 60), None), (None, None)])
def test_images_have_one_slice_where_all_of_the_dataset_had(shapes, single):
    found = {} if shapes is None else {"shapes": {"least": [shapes[0], 9, 9], "most": [shapes[1], 9, 9]}}
    plan = make_plan(fingerprint={"sources": {"pet": found}})
    assert envelope_from_plan(plan).single_slices is single


def test_an_anatomical_image_may_be_far_finer_and_has_no_tracer():
    ct = CT.model_copy(update={"optional": False})
    envelope = envelope_from_plan(make_plan(sources=(ct,), target=PET), tracers=(FDG,))
    assert (envelope.tracers, envelope.in_plane_voxel_mm) == ((), (0.4, 8.0))
    fine = make_volume((8, 20, 20), spacing_mm=(1.0, 1.0, 1.0), modality="CT", unit=Unit.HOUNSFIELD)
    assert envelope.check(fine) == ()


def test_an_envelope_of_activity_without_tracers_is_refused():
    with pytest.raises(ValidationError, match="names the tracers"):
        Envelope(axial_voxel_mm=(1, 2), in_plane_voxel_mm=(1, 2), tracers=())
