from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.myocardium import segment_number
from nmsynth.data.simulation import majority_label
from nmsynth.metrics.perfusion import BEST_SHARE, NormalLimits, best_part, perfusion_deficit, scaled, wall_ratios
from nmsynth.metrics.polar_map import LongAxis, WallRays
from nmsynth.physics.phantom import Grid
from nmsynth.workflows.heart_simulation import HeartStudy, perfusion_patient
from tests.physics.test_phantom_heart import GRID, heart_of, painted

SIZE, SPACING = 60, (2.0, 2.0, 2.0)
AFFINE = affine_from_axes(spacing_mm=SPACING, origin_mm=(-59.0, -59.0, -59.0))
LENGTH, OUTER, WALL = 84.0, 32.0, 10.0


def long_axis(azimuth_deg=45.0, descent_deg=25.0):
    """Through the middle of the grid, to the left, the front and down."""
    azimuth, descent = np.radians((azimuth_deg, descent_deg))
    along = np.array([np.cos(descent) * np.sin(azimuth), -np.cos(descent) * np.cos(azimuth), -np.sin(descent)])
    return LongAxis(tuple(-LENGTH / 2 * along), tuple(LENGTH / 2 * along))


def ventricle(axis, level_of=lambda height, _: np.ones_like(height)):
    """Wall between half ellipsoids of one middle that end at the base, and an image with uptake by height and angle."""
    index = np.indices((SIZE, SIZE, SIZE)).reshape(3, -1)
    world = (AFFINE[:3, :3] @ index + AFFINE[:3, 3:]).T
    along, anterior, lateral = axis.directions @ (world - np.asarray(axis.base_mm)).T
    out = np.hypot(anterior, lateral)
    outer = (along / LENGTH) ** 2 + (out / OUTER) ** 2
    inner = (along / (LENGTH - WALL)) ** 2 + (out / (OUTER - WALL)) ** 2
    wall = (along >= 0) & (outer <= 1) & (inner >= 1)
    level = level_of(along / (LENGTH - WALL), np.degrees(np.arctan2(anterior, lateral)) % 360)
    shape = (SIZE, SIZE, SIZE)
    return wall.reshape(shape), np.where(wall, level, 0.2).reshape(shape).astype(np.float32)


def rays_and_image(level_of=None, **axis):
    found = long_axis(**axis)
    wall, image = ventricle(found) if level_of is None else ventricle(found, level_of)
    return WallRays.through(wall, AFFINE, found), image


@pytest.mark.parametrize("directions", [{}, {"azimuth_deg": 20.0, "descent_deg": 5.0}, {"descent_deg": -10.0}])
def test_even_uptake_is_even_in_every_orientation(directions):
    rays, image = rays_and_image(**directions)
    found = rays.map_of(image)
    assert np.isfinite(found.values).all()
    assert np.nanmin(found.values) > 0.85  # voxels at the surface hold less
    assert found.area.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("directions", [{}, {"azimuth_deg": 20.0, "descent_deg": 5.0}, {"descent_deg": -10.0}])
def test_long_axis_is_found_from_the_wall(directions):
    axis = long_axis(**directions)
    found = LongAxis.of(ventricle(axis)[0], AFFINE)
    assert found.directions[0] @ axis.directions[0] > np.cos(np.radians(2.0))
    assert np.linalg.norm(np.subtract(found.base_mm, axis.base_mm)) < 3.0
    assert np.linalg.norm(np.subtract(found.apex_mm, axis.apex_mm)) < 3.0


@pytest.mark.parametrize("seed", range(6))
def test_long_axis_is_found_on_the_voxels_of_a_perfusion_study(seed):
    patient, heart = perfusion_patient(901000000 + seed, HeartStudy(n_defects=0), "SESTAMIBI-STRESS")
    ventricle, half, fine = heart.ventricle, 70.0, 3.2
    along = np.asarray(ventricle.axes[0])[::-1]  # (z, y, x) -> (x, y, z)
    middle = np.asarray(ventricle.apex_mm)[::-1] - ventricle.length_mm / 2 * along
    n = 2 * round(half / fine)
    first = middle - (n - 1) / 2 * fine
    painted = patient.render(Grid((n, n, n), (fine,) * 3, tuple(float(v) for v in first[::-1])))
    wall = majority_label(painted.segment_labels, 0.4) > 0  # on voxels of 6.4 mm
    affine = affine_from_axes(spacing_mm=(2 * fine,) * 3, origin_mm=tuple(float(v) for v in first + fine / 2))
    found = LongAxis.of(wall, affine)
    assert found.directions[0] @ along > np.cos(np.radians(4.0))
    assert found.length_mm == pytest.approx(ventricle.length_mm, abs=3.0)


def test_what_encloses_nothing_has_no_long_axis():
    for wall in (np.zeros((9, 9, 9)), np.ones((9, 9, 9)), np.eye(9)[None].repeat(9, axis=0)):
        with pytest.raises(InputError, match="must enclose a cavity"):
            LongAxis.of(wall, AFFINE)


def test_each_segment_shows_its_own_uptake():
    levels = 1.0 + 0.1 * np.arange(1, 18)
    rays, image = rays_and_image(lambda height, angle: levels[segment_number(height, angle) - 1])
    even = rays_and_image()[1]
    means = rays.map_of(image).segment_means() / rays.map_of(even).segment_means()  # without the blur of the surface
    assert means == pytest.approx(levels, rel=0.05)
    assert np.corrcoef(means, levels)[0, 1] > 0.99


def test_areas_are_those_of_a_spheroid():
    rays, image = rays_and_image()
    found = rays.map_of(image)
    a, b = LENGTH - WALL / 2, OUTER - WALL / 2
    h = np.linspace(0, 1, 4001)
    radius, ring = b * np.sqrt(1 - h**2), np.sqrt(a**2 * np.diff(h) ** 2 + np.diff(b * np.sqrt(1 - h**2)) ** 2)
    below = h[1:] * a < (LENGTH - WALL) / 3
    share = ((radius[1:] + radius[:-1]) * ring)[below].sum() / ((radius[1:] + radius[:-1]) * ring).sum()
    assert found.area[found.height < 1 / 3].sum() == pytest.approx(share, abs=0.05)


def test_wrong_wall_axis_and_grid_are_refused():
    axis = long_axis()
    wall, image = ventricle(axis)
    with pytest.raises(InputError, match="must meet the wall"):
        WallRays.through(np.zeros_like(wall), AFFINE, axis)
    with pytest.raises(InputError, match="not straight up or down"):
        WallRays.through(wall, AFFINE, LongAxis((0.0, 0.0, 0.0), (0.0, 0.0, 80.0)))
    with pytest.raises(InputError, match="grid of the wall"):
        WallRays.through(wall, AFFINE, axis).map_of(image[1:])


def normals(even, n=12, spread=0.04):
    """Maps of healthy hearts that differ by sample."""
    rng = np.random.default_rng(3)
    return [replace(even, values=even.values * (1 + spread * rng.standard_normal(even.values.shape))) for _ in range(n)]


@pytest.fixture(scope="module")
def limits_and_rays():
    rays, image = rays_and_image()
    return NormalLimits.of(normals(rays.map_of(image))), rays, image


def test_healthy_heart_lacks_nothing_at_any_scale(limits_and_rays):
    limits, rays, image = limits_and_rays
    for factor in (1.0, 250.0):
        found = perfusion_deficit(rays.map_of(factor * image), limits)
        assert (found.total_percent, found.summed_score) == (0.0, 0)


def test_absent_segments_give_their_share_of_the_wall(limits_and_rays):
    limits, rays, image = limits_and_rays
    even = rays.map_of(image)
    gone = np.isin(even.segments, (7, 8, 13))
    found = perfusion_deficit(replace(even, values=np.where(gone, 0.0, even.values)), limits)
    assert found.total_percent == pytest.approx(100 * even.area[gone].sum())
    assert found.extent_percent == pytest.approx(100 * even.area[gone].sum())
    assert found.segment_scores == tuple(4 if n in (7, 8, 13) else 0 for n in range(1, 18))
    assert found.summed_score == 12


def test_half_of_what_counts_as_absent_scores_two(limits_and_rays):
    limits, rays, image = limits_and_rays
    even = rays.map_of(image)
    gone = even.segments == 10
    best = float(np.nanmean(even.values / scaled(even)))
    half = np.where(gone, 0.65 * limits.lower * best, even.values)  # 35 % of the limit are missing
    found = perfusion_deficit(replace(even, values=half), limits)
    assert found.segment_scores[9] == 2
    assert found.total_percent == pytest.approx(50 * even.area[gone].sum(), rel=0.02)


def test_few_normals_and_empty_maps_are_refused(limits_and_rays):
    _, rays, image = limits_and_rays
    with pytest.raises(InputError, match="at least 10"):
        NormalLimits.of([rays.map_of(image)] * 9)
    with pytest.raises(InputError, match="must show uptake"):
        scaled(rays.map_of(np.zeros_like(image)))


def test_segments_of_a_map_are_those_of_the_phantom():
    """Left and right too: a map that is turned over would agree with itself."""
    _, _, segments = painted(heart_of())
    z, y, x = (float(axis[0]) for axis in GRID.axes())
    affine = affine_from_axes(spacing_mm=(2.0, 2.0, 2.0), origin_mm=(x, y, z))
    axis = LongAxis.of(segments > 0, affine)
    assert axis.directions[2][0] > 0.5  # lateral is to the left
    assert axis.directions[2][1] > 0.3  # and behind
    rays = WallRays.through(segments > 0, affine, axis)
    shown = ndimage.map_coordinates(segments, rays.places, order=0)
    found = np.broadcast_to(rays.map_of(segments).segments[..., None], shown.shape)
    inside = (rays.weights > 0.5) & (shown > 0)
    assert (found == shown)[inside].mean() > 0.85


def test_noise_raises_the_best_part_of_a_map_and_not_that_of_its_reference():
    rays, image = rays_and_image()
    even = rays.map_of(image)
    rng = np.random.default_rng(1)
    noisy = [replace(even, values=even.values * (1 + 0.15 * rng.standard_normal(even.values.shape))) for _ in range(20)]
    level = float(np.nanmean([np.nanmean(scaled(m)) for m in noisy]) / np.nanmean(scaled(even)))
    assert level < 0.93  # of its own best part: all of the wall seems to lack
    best = best_part(even)
    fair = float(np.nanmean([np.nanmean(scaled(m, best)) for m in noisy]) / np.nanmean(scaled(even)))
    assert fair == pytest.approx(1.0, abs=0.01)
    assert even.area[best].sum() == pytest.approx(BEST_SHARE, abs=0.02)


def test_ratios_of_walls_are_those_of_their_segments():
    segments = np.ones(17)
    segments[[3, 9, 14]] = 0.8  # inferior
    segments[[12, 13, 15, 16]] = 0.9  # the rest of the apical third
    found = wall_ratios(segments)
    assert found["inferior/anterior"] == pytest.approx(0.8 / (2.9 / 3))
    assert found["septal/lateral"] == pytest.approx((4.9 / 5) / (4.9 / 5))
    assert found["apex/base"] == pytest.approx(((4 * 0.9 + 0.8) / 5) / ((5 + 0.8) / 6))
    segments[16] = np.nan  # an apex that no ray meets
    assert wall_ratios(segments)["apex/base"] == pytest.approx(((3 * 0.9 + 0.8) / 4) / ((5 + 0.8) / 6))
    segments[:] = np.nan
    assert set(wall_ratios(segments).values()) == {None}
