import json

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.registration import RegistrationSettings, register
from tests.helpers import make_volume

SPACING = (4.0, 3.0, 3.0)
SHAPE = (16, 36, 36)


def limb(shift_mm=(0.0, 0.0, 0.0), bend_mm=0.0):
    """A limb with a bone and a tumour, displaced, in CT numbers and as uptake."""
    z, y, x = (n * s for n, s in zip(np.indices(SHAPE, dtype=float), SPACING, strict=True))
    z, y, x = (a - s for a, s in zip((z, y, x), shift_mm, strict=True))
    y = y - bend_mm * np.exp(-(((x - 75) / 20) ** 2) - ((z - 32) / 20) ** 2)
    body = ((y - 52) / 36) ** 2 + ((x - 54) / 34) ** 2 < 1 + 0.1 * np.sin(z / 12)
    bone = (y - 60) ** 2 + (x - 54 - z / 8) ** 2 < 9**2
    tumour = (z - 30) ** 2 + (y - 40) ** 2 + (x - 45) ** 2 < 10**2
    ct = np.where(bone, 700.0, np.where(tumour, 60.0, np.where(body, 30.0, -1000.0)))
    uptake = np.where(tumour, 5.0, np.where(bone, 0.4, np.where(body, 0.8, 0.0)))
    ct = ndimage.gaussian_filter(ct, 0.5)
    uptake = ndimage.gaussian_filter(uptake, 0.8) + 0.02 * np.random.default_rng(0).random(SHAPE)
    return (
        make_volume(array=ct, spacing_mm=SPACING, unit=Unit.HOUNSFIELD, modality="CT"),
        make_volume(array=uptake, spacing_mm=SPACING, unit=Unit.SUV_BODY_WEIGHT),
        make_volume(array=tumour, spacing_mm=SPACING, unit=Unit.UNITLESS),
    )


@pytest.mark.parametrize("by", ["intensity", "contour"])
def test_a_known_shift_is_recovered(by):
    shift = (3.0, -5.0, 4.0)
    fixed, moving = limb()[1], limb(shift)[0]
    found = register(fixed, moving, RegistrationSettings(how="rigid", by=by))
    point = (-20.0 + 54.0, 10.0 + 52.0, 30.0 + 30.0)
    moved = np.subtract(found.transform.TransformPoint(point), point)[::-1]
    axes = slice(None) if by == "intensity" else slice(1, None)  # the contour of a limb says little of its length
    assert np.abs(moved - shift)[axes].max() < (0.5 if by == "intensity" else 1.0)
    assert found.record["taken"] == [by]
    assert found.record["after"]["dice"] > found.record["before"]["dice"]


def test_a_bladder_does_not_hide_the_tissue_that_uptake_is_compared_by():
    uptake, moving = limb()[1], limb((3.0, -5.0, 4.0))[0]
    hot = np.array(uptake.array)
    hot[6:8, 14:16, 16:18] = 400.0
    settings = RegistrationSettings(how="rigid", by="intensity")
    found = register(uptake.with_array(hot), moving, settings)
    assert found.record["taken"] == ["intensity"]
    assert found.record["before"]["mutual_information"] > 0.2  # 0.002 over the range up to the bladder
    point = (-20.0 + 54.0, 10.0 + 52.0, 30.0 + 30.0)
    moved = np.subtract(found.transform.TransformPoint(point), point)[::-1]
    assert np.abs(moved - (3.0, -5.0, 4.0)).max() < 0.5


def test_a_smooth_deformation_is_reduced_and_the_tumour_stays():
    _, fixed, tumour = limb()
    moving = limb(bend_mm=9.0)[0]
    record = register(fixed, moving, RegistrationSettings(how="deformable", by="contour"), keep=tumour).record
    before, after = record["before"], record["after"]
    assert after["dice"] > before["dice"]
    assert after["contour_p95_mm"] < before["contour_p95_mm"]
    assert after["contour_mean_mm"] < 0.7 * before["contour_mean_mm"]
    assert record["displacement"]["keep_largest_mm"] < 1.0
    assert record["displacement"]["smallest_volume_ratio"] > 0.2
    assert json.loads(json.dumps(record)) == record


def test_the_same_images_give_the_same_transform_and_do_not_move():
    ct, uptake, _ = limb()
    settings = RegistrationSettings(how="deformable", by="contour")
    first, second = (register(uptake, ct, settings) for _ in range(2))
    assert first.record == second.record
    assert first.record["displacement"]["p95_mm"] < 1.5


def test_a_moved_image_lies_on_the_grid_asked_for():
    fixed, moving = limb()[1], limb((0.0, 6.0, 0.0))[0]
    found = register(fixed, moving, RegistrationSettings(how="rigid"))
    moved = found.apply(moving, fixed)
    assert moved.has_grid_of(fixed)
    assert moved.unit is Unit.HOUNSFIELD
    truth = limb()[0].array
    inside = truth > -200
    assert np.abs(moved.array - truth)[inside].mean() < 0.5 * np.abs(moving.array - truth)[inside].mean()


def test_images_that_do_not_overlap_are_refused():
    ct, uptake, _ = limb()
    away = make_volume(array=ct.array, spacing_mm=SPACING, origin_mm=(900.0, 0.0, 0.0), unit=ct.unit, modality="CT")
    with pytest.raises(InputError, match="must overlap"):
        register(uptake, away)


def test_a_sheared_grid_is_refused():
    ct, uptake, _ = limb()
    affine = np.array(ct.affine)
    affine[0, 0] = 2.0
    with pytest.raises(InputError, match="right angles"):
        register(uptake, make_volume(array=ct.array, affine=affine, unit=ct.unit, modality="CT"))


def marrow(bone_mm=0.0):
    """A limb whose bone may lie elsewhere inside the same skin, as CT and as an MR in which marrow is bright."""
    z, y, x = (n * s for n, s in zip(np.indices(SHAPE, dtype=float), SPACING, strict=True))
    body = ((y - 52) / 36) ** 2 + ((x - 54) / 34) ** 2 < 1 + 0.1 * np.sin(z / 12)
    bone = (y - 56) ** 2 + (x - 50 - bone_mm) ** 2 < 10**2
    ct = ndimage.gaussian_filter(np.where(bone, 700.0, np.where(body, 30.0, -1000.0)), 0.5)
    mr = ndimage.gaussian_filter(np.where(bone, 600.0, np.where(body, 300.0, 0.0)), 0.5)
    return (
        make_volume(array=ct, spacing_mm=SPACING, unit=Unit.HOUNSFIELD, modality="CT"),
        make_volume(array=mr, spacing_mm=SPACING, unit=Unit.RELATIVE, modality="MR"),
        bone,
    )


def as_ct(mr):
    """The CT that such an MR shows."""
    array = np.interp(mr.array, [0.0, 300.0, 600.0], [-1000.0, 30.0, 700.0])
    return mr.with_array(array, unit=Unit.HOUNSFIELD, modality="CT")


def test_a_bone_is_laid_over_by_a_synthetic_image():
    ct, _, bone = marrow()
    _, mr, away = marrow(bone_mm=6.0)
    settings = RegistrationSettings(how="deformable", by="synthesis")
    found = register(ct, mr, settings, synthesise=as_ct)
    assert "synthesis" in found.record["taken"]
    assert found.record["after"]["mutual_information"] > found.record["before"]["mutual_information"]
    moved = found.apply(mr, ct).array > 450
    inside = ndimage.binary_erosion(ct.array > -200, iterations=3)

    def dice(a, b):
        return 2 * (a & b & inside).sum() / ((a & inside).sum() + (b & inside).sum())

    assert dice(moved, bone) > dice(away, bone) + 0.15


def test_a_synthetic_image_that_misleads_is_not_followed():
    ct, mr, _ = marrow()
    wrong = marrow(bone_mm=8.0)[0]
    settings = RegistrationSettings(how="deformable", by="synthesis")
    assert "synthesis" not in register(ct, mr, settings, synthesise=lambda _: wrong).record["taken"]


def test_a_synthetic_image_needs_a_model_of_the_fixed_kind_and_a_deformation():
    ct, mr, _ = marrow()
    settings = RegistrationSettings(how="deformable", by="synthesis")
    with pytest.raises(InputError, match="'synthesis' without one"):
        register(ct, mr, settings)
    with pytest.raises(InputError, match="must be of the kind it is compared with; found MR"):
        register(ct, mr, settings, synthesise=lambda volume: volume)
    with pytest.raises(InputError, match="the registration is rigid"):
        register(ct, mr, RegistrationSettings(by="synthesis"), synthesise=as_ct)
