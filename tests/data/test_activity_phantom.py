import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.data.activity_phantom import activity_phantom, resample_mean, scan_activity_phantom
from nmsynth.data.spect_scan import SpectStudy
from nmsynth.physics.gamma_camera import SpectReconstruction
from nmsynth.physics.materials import linear_attenuation, mu_at_511, mu_at_energy
from nmsynth.physics.phantom import Grid
from nmsynth.physics.phantom.tracers import TRACERS
from nmsynth.physics.spect import SpectOrbit
from tests.helpers import make_volume

STUDY = SpectStudy(
    TRACERS["MDP"], orbit=SpectOrbit(16), voxel_mm=10.0, field_mm=240.0, mismatched=False,
    reconstruction=SpectReconstruction(6, 4),
)  # fmt: skip


def cylinder(radius_mm=80.0, spacing_mm=(7.0, 5.0, 5.0), shape=(10, 40, 40), value=1.0, **fields):
    """A cylinder along z, its middle at the middle of the grid, which is the origin."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    inside = np.hypot(axes[1][:, None], axes[2]) < radius_mm
    origin = (axes[2][0], axes[1][0], axes[0][0])
    array = np.broadcast_to(inside * value, shape)
    return make_volume(array=array, spacing_mm=spacing_mm, origin_mm=origin, modality="NM", **fields)


def water(**given):
    return activity_phantom(cylinder(value=7.0), cylinder(), materials={1: "water"}, **given)


@pytest.mark.parametrize("spacing", [1.0, 2.5, 4.0, 9.0])
def test_resampling_keeps_what_an_image_holds(spacing):
    volume = make_volume(spacing_mm=(3.0, 4.0, 5.0))
    n = math.ceil(90.0 / spacing)
    low = volume.affine[:3, 3][::-1] - np.array([20.0, 20.0, 20.0])
    found = resample_mean(volume, Grid((n, n, n), (spacing,) * 3, tuple(low)))
    held = volume.array.sum(dtype=np.float64) * volume.voxel_volume_ml
    assert found.sum(dtype=np.float64) * spacing**3 / 1000 == pytest.approx(held, rel=1e-5)


def test_a_voxel_of_the_grid_is_the_mean_of_what_it_overlaps():
    volume = make_volume(array=np.array([1.0, 3.0]).reshape(2, 1, 1), spacing_mm=(2.0, 2.0, 2.0), origin_mm=(0, 0, 0))
    # voxels [-1, 1] and [1, 3]; wanted are [0, 3], which holds 1 mm of one and 2 mm of the other, and [3, 6]
    found = resample_mean(volume, Grid((2, 1, 1), (3.0, 2.0, 2.0), (1.5, 0.0, 0.0)))
    assert found[:, 0, 0] == pytest.approx([(1.0 + 2 * 3.0) / 3, 0.0])


def test_activity_is_scaled_to_its_total():
    phantom = water(total_activity_bq=50e6)
    assert phantom.total_activity_bq == pytest.approx(50e6, rel=1e-5)
    assert water().activity.array.max() == 7.0
    assert phantom.mu_map.array.max() == pytest.approx(linear_attenuation("water", 511.0))
    assert phantom.field_mm == pytest.approx(160.0, abs=15.0)
    assert phantom.z_range_mm == pytest.approx((-35.0, 35.0))


def test_attenuation_in_every_form_is_that_of_water():
    of_water = {e: linear_attenuation("water", e) for e in (140.5, 511.0)}
    source = cylinder()
    maps = (
        (cylinder(value=of_water[140.5], unit=Unit.PER_CENTIMETRE), {"mu_energy_kev": 140.5}),
        (cylinder(value=1000.0, unit=Unit.HOUNSFIELD).with_array(1000 * source.array - 1000), {}),
    )
    for mu_map, given in maps:
        found = activity_phantom(source, mu_map, **given).mu_map.array
        assert found.max() == pytest.approx(of_water[511.0], rel=0.01)
        assert found.min() == pytest.approx(0.0, abs=1e-6)


def test_attenuation_goes_to_another_energy_and_back():
    mu = np.linspace(0.0, 0.25, 50, dtype=np.float32)
    for energy in (112.9, 140.5, 208.4):
        assert mu_at_511(mu_at_energy(mu, energy), energy) == pytest.approx(mu, abs=1e-6)


def test_axes_that_run_the_other_way_give_the_same_phantom():
    volume = cylinder(value=7.0)
    marked = volume.array.copy()
    marked[0, 20, 25] = 50.0
    straight = volume.with_array(marked)
    affine = straight.affine.copy()
    for axis in range(3):
        affine[:3, 3] += affine[:3, axis] * (straight.shape[axis] - 1)
        affine[:3, axis] *= -1
    turned = straight.with_array(marked[::-1, ::-1, ::-1].copy(), affine=affine)
    one, other = (activity_phantom(v, cylinder(), materials={1: "water"}) for v in (straight, turned))
    assert np.allclose(one.activity.affine, other.activity.affine)
    assert (one.activity.array == other.activity.array).all()


def test_scan_finds_the_activity_of_the_user_and_states_no_suv():
    phantom = water(total_activity_bq=200e6)
    found = scan_activity_phantom(phantom, study=STUDY)
    facts = found.facts
    assert facts["share_in_field"] == pytest.approx(1.0, abs=1e-4)
    held = found.truth.array.sum(dtype=np.float64) * found.truth.voxel_volume_ml
    assert held == pytest.approx(200e6, rel=1e-4)
    y, x = (np.abs(np.arange(n) - (n - 1) / 2) * 10.0 < 40 for n in found.truth.shape[1:])
    inner = np.ix_(range(2, 5), np.flatnonzero(y), np.flatnonzero(x))
    assert found.noise_free.array[inner].mean() == pytest.approx(found.truth.array[inner].mean(), rel=0.03)
    assert found.noise_free.acquisition.radionuclide == "Tc-99m"
    with pytest.raises(SuvError, match="injected"):
        found.scans[0].to_suv()


def test_a_part_of_the_phantom_says_what_it_leaves_out():
    found = scan_activity_phantom(water(), study=STUDY, z_range_mm=(-10.0, 10.0))
    assert found.truth.shape[0] == 2
    assert found.facts["share_in_field"] == pytest.approx(20 / 70, rel=1e-3)


def test_unclear_input_is_refused():
    source, mu_map = cylinder(), cylinder()
    with pytest.raises(InputError, match="total must be given"):
        activity_phantom(source.with_array(source.array, unit=Unit.RELATIVE), mu_map, materials={1: "water"})
    with pytest.raises(InputError, match="not negative"):
        activity_phantom(source.with_array(-source.array), mu_map, materials={1: "water"})
    with pytest.raises(InputError, match="above 0 Bq"):
        water(total_activity_bq=0.0)
    with pytest.raises(InputError, match="found 'iron'"):
        activity_phantom(source, mu_map, materials={1: "iron"})
    with pytest.raises(InputError, match="1/cm or HU"):
        activity_phantom(source, mu_map)
    with pytest.raises(InputError, match="belongs to a photon energy"):
        activity_phantom(source, mu_map.with_array(mu_map.array, unit=Unit.PER_CENTIMETRE))
    oblique = affine_from_axes(spacing_mm=(3.0, 4.0, 5.0))
    oblique[0, 1] = 1.0
    with pytest.raises(InputError, match="oblique"):
        activity_phantom(source, make_volume(affine=oblique), materials={1: "water"})
