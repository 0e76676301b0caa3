"""One physical image, however it is stored, is one image to a network."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.geometry import affine_from_axes, to_world
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES
from nmsynth.data.orientation import Turn, turn_to_patient, turned
from nmsynth.data.resampling import plan_grid, resample
from tests.helpers import make_volume

NONE = Turn((0, 1, 2), (False, False, False))
STORED = {
    "RAS": Turn((0, 1, 2), (False, True, True)),
    "LPI": Turn((0, 1, 2), (True, False, False)),
    "sagittal": Turn((2, 1, 0), (False, False, True)),
}
SHAPE = (10, 14, 12)


def tilted(degrees, axis):
    """Affine of 3 x 4 x 5 mm, turned about an axis of the patient."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    k, j = [i for i in range(3) if i != axis]
    rotation = np.eye(4)
    rotation[[k, k, j, j], [k, j, k, j]] = c, -s, s, c
    return rotation @ affine_from_axes(spacing_mm=(3.0, 4.0, 5.0), origin_mm=(-20.0, 30.0, 7.0))


@pytest.mark.parametrize("spacing", [(3.0, 4.0, 5.0), (4.5, 4.0, 3.5)])
@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_a_network_sees_one_image_however_it_is_stored(spacing, stored, degrees):
    image = make_volume(SHAPE, affine=tilted(degrees, 0))
    other = turned(image, stored)
    assert not np.array_equal(other.affine, image.affine)
    (affine, shape), (found, n_found) = plan_grid(image, spacing), plan_grid(other, spacing)
    assert n_found == shape
    np.testing.assert_allclose(found, affine, atol=1e-12)
    wanted = resample(image, affine, shape).array
    np.testing.assert_allclose(resample(other, found, shape).array, wanted, rtol=1e-6, atol=1e-6)


def test_a_turn_moves_no_voxel_and_interpolates_nothing():
    image = make_volume(SHAPE)
    other = turned(image, STORED["sagittal"])
    places = to_world(image.affine, np.argwhere(np.ones(SHAPE)))
    at = {tuple(np.round(p, 6)): v for p, v in zip(places, image.array.ravel(), strict=True)}
    moved = to_world(other.affine, np.argwhere(np.ones(other.shape)))
    assert [at[tuple(np.round(p, 6))] for p in moved] == list(other.array.ravel())
    assert np.array_equal(resample(other, image.affine, SHAPE).array, image.array)


def test_what_is_stored_as_the_patient_lies_is_left_to_the_last_bit():
    image = make_volume(SHAPE, affine=tilted(12.0, 2))
    affine, shape = plan_grid(image, (3.0, 4.0, 5.0))
    assert np.array_equal(affine, image.affine)
    assert resample(image, affine, shape) is image


def test_planar_views_stay_as_the_camera_sees_them():
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -2.0, -2.0, 1.0
    views = make_volume((2, 20, 10), affine=affine, axes=PLANAR_AXES, unit=Unit.COUNTS, modality="NM")
    view = views.single_view(1)
    assert turn_to_patient(view) == NONE
    assert np.array_equal(plan_grid(view, (1.0, 2.0, 2.0))[0], view.affine)


def test_what_is_tilted_too_far_has_no_nearest_axes_and_stays():
    heart = tilted(45.0, 2) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    image = make_volume(SHAPE, affine=heart)
    assert turn_to_patient(image) == NONE


def test_factors_of_slices_go_with_their_slices():
    decay = tuple(1.0 + 0.1 * k for k in range(SHAPE[0]))
    image = make_volume(SHAPE, suv_rule=SuvRule(decay_rule="NONE", slice_decay=decay))
    assert turned(image, STORED["LPI"]).suv_rule.slice_decay == decay[::-1]
    across = turned(image, STORED["sagittal"]).suv_rule
    assert across.reason == "SUV needs the slices as acquired; convert before turning."
    assert turned(replace(image, suv_rule=None), STORED["LPI"]).suv_rule is None


def test_times_of_slices_go_with_their_slices():
    n = SHAPE[0]
    times = tuple(datetime(2025, 1, 1, 11, k) for k in range(n))
    seconds = tuple(float(k + 1) for k in range(n))
    acquisition = Acquisition(acquisition_times=times, frame_reference_times_s=seconds, frame_durations_s=(60.0,))
    image = make_volume(SHAPE, acquisition=acquisition)
    found = turned(image, STORED["LPI"]).acquisition
    assert (found.acquisition_times, found.frame_reference_times_s) == (times[::-1], seconds[::-1])
    assert found.frame_durations_s == (60.0,)
    assert turned(image, STORED["RAS"]).acquisition == acquisition


def test_axes_before_those_of_space_are_not_turned():
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    image = make_volume(array=array, axes=("frame", "z", "y", "x"))
    found = turned(image, Turn((0, 2, 1), (True, False, True)))
    assert np.array_equal(found.array, array[:, ::-1].swapaxes(2, 3)[..., ::-1])
