"""A synthetic CT has air where its source shows that nobody is, and is left alone where a body may be."""

import numpy as np
import pytest

from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import Unit
from nmsynth.inference import synthesize
from nmsynth.inference.air import AIR_HU, open_air, with_open_air
from tests.helpers import make_volume
from tests.models.method_packages import CT, make_method_card, make_plan, tiny_model

SPACING = (4.0, 4.0, 4.0)
SHAPE = (12, 48, 64)


def body():
    """A trunk and an arm that does not meet it, in a field of air."""
    _, y, x = np.indices(SHAPE)
    trunk = ((y - 24) / 16.0) ** 2 + ((x - 26) / 20.0) ** 2 <= 1
    arm = (y - 24) ** 2 + (x - 56) ** 2 <= 4**2
    return trunk | arm


def image(modality, unit, seed=0):
    """The body with noise in and about it."""
    noise = np.abs(np.random.default_rng(seed).normal(0.0, 0.02, SHAPE))
    return make_volume(array=body() + noise, spacing_mm=SPACING, unit=unit, modality=modality)


def ct(shape=SHAPE, spacing=SPACING):
    """What a network that learned nothing of air may leave there."""
    return make_volume(array=np.full(shape, -940.0), spacing_mm=spacing, unit=Unit.HOUNSFIELD, modality="CT")


@pytest.mark.parametrize(("modality", "unit", "far_mm"), [("MR", Unit.RELATIVE, 5.0), ("PT", Unit.RELATIVE, 15.0)])
def test_air_is_what_lies_beyond_the_outline_by_its_clearance(modality, unit, far_mm):
    from scipy import ndimage

    air = open_air(image(modality, unit), ct())
    away_mm = ndimage.distance_transform_edt(~body(), SPACING)
    assert not air[body()].any()
    assert not air[away_mm < far_mm - 5.0].any()
    assert air[away_mm > far_mm + 9.0].all()
    cleared = with_open_air(ct(), air).array
    assert set(np.unique(cleared[air])) == {AIR_HU}
    assert set(np.unique(cleared[~air])) == {-940.0}


def test_air_lies_on_the_grid_of_the_answer_and_outside_the_field_of_the_source():
    wide = ct((24, 60, 60), (2.0, 5.0, 5.0))
    air = open_air(image("MR", Unit.RELATIVE), wide)
    assert air.shape == wide.shape
    assert air[:, 50:].all()
    assert not air[4:20, 15:22, 15:25].any()


def test_a_source_that_is_nothing_but_body_or_shows_none_tells_no_air():
    full = make_volume(array=np.ones(SHAPE), spacing_mm=SPACING, unit=Unit.RELATIVE, modality="MR")
    assert open_air(full, ct()) is None
    assert open_air(full.with_array(np.zeros(SHAPE)), ct()) is None
    assert with_open_air(ct(), None).array.max() == -940.0


def test_images_of_other_units_are_left_alone():
    pet = image("PT", Unit.BQML)
    assert with_open_air(pet, np.ones(SHAPE, bool)) is pet


def test_a_synthetic_ct_has_air_about_the_body_and_its_attenuation_none():
    mr = image("MR", Unit.RELATIVE)
    source = ImagePlan(name="mr", modality="MR", unit=Unit.RELATIVE, normalisation=Normalisation(kind="robust"))
    model = tiny_model(make_method_card(make_plan(sources=(source,), target=CT, conditions=())))
    result = synthesize(mr, model, settings={"threads": 1})
    air = open_air(mr, result.image)
    assert 0.2 < air.mean() < 0.8
    assert set(np.unique(result.image.array[air])) == {AIR_HU}
    assert np.unique(result.image.array[~air]).size > 100
    assert result.record["checks"]["open_air_share"] == pytest.approx(air.mean(), abs=1e-4)
    mu = synthesize(mr, model, settings={"threads": 1, "unit": "1/cm"}).image
    assert mu.array[air].max() == 0.0
