"""The volume: frozen, strict about its affine, resampled in space."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.geometry import affine_from_axes, to_world
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from tests.core.test_geometry import FLIPPED, rotated
from tests.helpers import make_volume

SCAN = Acquisition(injected_activity_bq=7e7, body_mass_kg=70.0, height_m=1.75, sex="M")


def test_volume_is_frozen():
    volume = make_volume()
    with pytest.raises(FrozenInstanceError, match="unit"):
        volume.unit = Unit.COUNTS
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0] = 1.0


def test_making_a_volume_leaves_the_callers_array_writable():
    array = np.zeros((2, 3, 4), np.float32)
    Volume(array=array, affine=affine_from_axes(spacing_mm=(1, 1, 1)), unit=Unit.BQML, modality="PT")
    array[0] = 1.0


def test_axes_and_dimensions_must_agree():
    with pytest.raises(InputError, match="one name for each array axis"):
        make_volume((2, 3, 4, 5))


@pytest.mark.parametrize("affine", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_affine_must_be_invertible(affine):
    with pytest.raises(InputError, match="invertible"):
        make_volume(affine=affine)


def test_shape_spacing_and_voxel_volume():
    volume = make_volume((2, 6, 8, 10), axes=("frame", "z", "y", "x"))
    assert volume.spatial_shape == (6, 8, 10)
    assert volume.spacing_mm == (3.0, 4.0, 5.0)
    assert volume.voxel_volume_ml == pytest.approx(0.06)


def test_hash_depends_on_values_shape_and_grid():
    volume = make_volume()
    assert volume.sha256 == make_volume().sha256
    assert volume.sha256 != make_volume(seed=1).sha256
    assert volume.sha256 != make_volume(spacing_mm=(3, 4, 6)).sha256


def test_uniform_body_has_suv_one():
    volume = make_volume(array=np.full((2, 3, 4), 1000.0), acquisition=SCAN, suv_rule=SuvRule(decay_rule="ADMIN"))
    suv = volume.to_suv()
    np.testing.assert_allclose(suv.array, 1.0)
    assert suv.unit is Unit.SUV_BODY_WEIGHT
    assert suv.to_suv() is suv
    np.testing.assert_allclose(suv.to_suv("lbm-james").array, volume.to_suv("lbm-james").array, rtol=1e-6)


def test_factor_of_each_slice():
    rule = SuvRule(decay_rule="NONE", slice_decay=(1.0, 2.0))
    suv = make_volume(array=np.full((2, 3, 4), 1000.0), acquisition=SCAN, suv_rule=rule).to_suv()
    np.testing.assert_allclose(suv.array[:, 0, 0], [1.0, 2.0])


def test_no_rule_no_suv():
    with pytest.raises(SuvError, match="needs a PET image"):
        make_volume(unit=Unit.HOUNSFIELD, modality="CT").to_suv()


def test_warnings_are_said_once():
    assert make_volume().with_warnings(["a", "b"]).with_warnings(["b", "c"]).warnings == ("a", "b", "c")


@pytest.mark.parametrize("affine", [FLIPPED, rotated(FLIPPED), rotated(affine_from_axes(spacing_mm=(2, 3, 2.5)))])
def test_resampling_follows_space(affine):
    """A linear function of position is resampled exactly by linear interpolation."""
    source_affine = affine_from_axes(spacing_mm=(6.0, 6.0, 6.0), origin_mm=(-150, -150, -150))
    indices = np.stack(np.meshgrid(*[np.arange(51)] * 3, indexing="ij"), axis=-1)
    direction = np.array([0.3, -0.7, 1.1])
    field = (to_world(source_affine, indices.reshape(-1, 3)) @ direction).reshape(51, 51, 51)
    source = make_volume(array=field, affine=source_affine)
    other = make_volume((5, 6, 7), affine=affine)
    target = np.stack(np.meshgrid(*[np.arange(n) for n in (5, 6, 7)], indexing="ij"), axis=-1).reshape(-1, 3)
    expected = (to_world(affine, target) @ direction).reshape(5, 6, 7)
    np.testing.assert_allclose(source.resample_to(other).array, expected, atol=1e-3)
    assert source.resample_to(other).has_grid_of(other)


def test_planar_views_cannot_be_resampled():
    with pytest.raises(InputError, match="axes ending"):
        make_volume(axes=("view", "y", "x")).resample_to(make_volume())
