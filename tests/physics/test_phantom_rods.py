"""Derenzo and Jaszczak phantoms hold what their geometry says."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, derenzo, jaszczak
from nmsynth.physics.phantom.rods import (
    HEIGHT_MM,
    JASZCZAK_SPHERES_MM,
    RADIUS_MM,
    ROD_DIAMETERS_MM,
    ROD_LENGTH_MM,
    disc_area,
    rod_middles,
)

GRID = Grid((50, 60, 60), (4.0, 4.0, 4.0), (-98.0, -118.0, -118.0))


def rods_ml():
    areas = [len(m) * np.pi * d**2 / 4 for m, d in zip(rod_middles(), ROD_DIAMETERS_MM, strict=True)]
    return sum(areas) * ROD_LENGTH_MM / 1000


def test_hot_rods_hold_their_volume_within_the_cylinder():
    phantom = derenzo(GRID, rod_suv=3.0)
    assert phantom.activity.sum() * GRID.voxel_ml / 3.0 == pytest.approx(rods_ml(), rel=0.005)
    cylinder_ml = np.pi * RADIUS_MM**2 * ROD_LENGTH_MM / 1000
    assert phantom.mu_map.sum() / 0.096 * GRID.voxel_ml == pytest.approx(cylinder_ml, rel=0.005)
    warm = derenzo(GRID, rod_suv=3.0, background_suv=1.0)
    assert warm.activity.sum() * GRID.voxel_ml == pytest.approx(cylinder_ml + 2 * rods_ml(), rel=0.005)


def test_rods_stand_apart_by_their_diameter_and_inside():
    middles = rod_middles()
    every = np.concatenate(middles)
    radii = np.repeat(np.array(ROD_DIAMETERS_MM) / 2, [len(m) for m in middles])
    gap = np.linalg.norm(every[:, None] - every[None], axis=-1) - radii[:, None] - radii[None]
    np.fill_diagonal(gap, np.inf)
    assert gap.min() >= ROD_DIAMETERS_MM[0] - 1e-9
    assert (np.linalg.norm(every, axis=1) + radii).max() < RADIUS_MM
    for k, (middle, diameter) in enumerate(zip(middles, ROD_DIAMETERS_MM, strict=True)):
        own = np.linalg.norm(middle[:, None] - middle[None], axis=-1)
        assert own[own > 0].min() == pytest.approx(2 * diameter)
        angle = np.rad2deg(np.arctan2(middle[:, 1], -middle[:, 0])) - 60 * k
        assert np.abs((angle + 180) % 360 - 180).max() < 30 + 1e-6


def test_jaszczak_holds_its_sections():
    cold, hot = jaszczak(GRID, background_suv=2.0), jaszczak(GRID, background_suv=2.0, sphere_contrast=4.0)
    cylinder_ml = np.pi * RADIUS_MM**2 * HEIGHT_MM / 1000
    spheres_ml = sum(np.pi / 6 * d**3 for d in JASZCZAK_SPHERES_MM) / 1000
    assert cold.activity.sum() * GRID.voxel_ml / 2 == pytest.approx(cylinder_ml - rods_ml() - spheres_ml, rel=0.005)
    excess = (hot.activity - cold.activity).sum() * GRID.voxel_ml / 8
    assert excess == pytest.approx(spheres_ml, rel=0.01)
    z = GRID.axes()[0]
    assert cold.activity[(z > -85) & (z < -10)].min() == 0  # a rod
    uniform = cold.activity[(z > 60) & (z < 88)][:, 10:50, 20:40]
    assert uniform == pytest.approx(np.full(uniform.shape, 2.0))
    assert tuple(s.diameter_mm for s in cold.lesions) == JASZCZAK_SPHERES_MM
    for sphere in cold.lesions:
        inside = cold.lesion_labels == sphere.index
        assert cold.activity[inside].min() < 0.02  # the smallest has one voxel that is nearly inside


def test_disc_fills_its_area_at_any_place():
    for middle in ((0.0, 0.0), (1.3, -0.7), (200.0, 0.0)):
        area = disc_area(GRID, middle, 4.75).sum() * 16
        assert area == pytest.approx(np.pi * 4.75**2 if middle[0] < 100 else 0.0, rel=2e-3)


def test_impossible_objects_are_refused():
    with pytest.raises(InputError, match="one to six diameters"):
        rod_middles((5.0,) * 7)
    with pytest.raises(InputError, match="rod_suv must be positive"):
        derenzo(GRID, rod_suv=0.0)
    with pytest.raises(InputError, match="background_suv must not be negative"):
        derenzo(GRID, background_suv=-1.0)
    with pytest.raises(InputError, match="one to six spheres"):
        jaszczak(GRID, sphere_diameters_mm=())
    with pytest.raises(InputError, match="sphere_contrast must not be negative"):
        jaszczak(GRID, sphere_contrast=float("nan"))
