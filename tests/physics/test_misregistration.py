"""Displacement between two scans: as stated, measured on the image, and bounded."""

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.misregistration import Misregistration
from nmsynth.physics.phantom import Grid

GRID = Grid.centred((40, 60, 60), (3.0, 4.0, 4.0), -60.0)
EVERYWHERE = np.ones(GRID.shape, bool)


def _ball(centre_mm, radius_mm=16.0):
    z, y, x = GRID.axes()
    squares = ((a - c) ** 2 for a, c in zip(np.meshgrid(z, y, x, indexing="ij"), centre_mm, strict=True))
    return (sum(squares) < radius_mm**2).astype(np.float32)


def _centroid(image):
    index = ndimage.center_of_mass(image)
    return np.array([o + s * i for o, s, i in zip(GRID.origin_mm, GRID.spacing_mm, index, strict=True)])


def test_a_shift_moves_the_image_by_what_it_says():
    motion = Misregistration(shift_mm=(4.5, -6.0, 3.0))
    moved = motion.apply(_ball((0.0, 10.0, -20.0)), GRID)
    assert _centroid(moved) - _centroid(_ball((0.0, 10.0, -20.0))) == pytest.approx((4.5, -6.0, 3.0), abs=0.05)
    assert motion.facts(GRID, EVERYWHERE) == {
        "mean_mm": pytest.approx(np.sqrt(4.5**2 + 36 + 9), rel=1e-4),
        "max_mm": pytest.approx(np.sqrt(4.5**2 + 36 + 9), rel=1e-4),
    }


def test_a_turn_about_z_takes_the_left_to_the_back():
    """A positive turn about z takes x (left) towards y (back): 20 degrees at 50 mm."""
    motion = Misregistration(rotation_deg=(20.0, 0.0, 0.0))
    moved = _centroid(motion.apply(_ball((0.0, 0.0, 50.0)), GRID))
    angle = np.deg2rad(20.0)
    assert moved == pytest.approx((0.0, 50 * np.sin(angle), 50 * np.cos(angle)), abs=0.4)


def test_displacement_of_a_rigid_motion_is_position_minus_origin():
    motion = Misregistration(shift_mm=(1.0, 2.0, 3.0), rotation_deg=(5.0, -3.0, 2.0), centre_mm=(10.0, 0.0, 5.0))
    u = motion.displacement_mm(GRID)
    z, y, x = GRID.axes()
    p = np.array([z[7], y[9], x[50]])
    rotation = motion._rotation()
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    q = p - u[:, 7, 9, 50]
    back = rotation @ (q - (10.0, 0.0, 5.0)) + (10.0, 0.0, 5.0) + (1.0, 2.0, 3.0)
    assert back == pytest.approx(p, abs=1e-3)


def test_breathing_moves_the_liver_and_leaves_spine_and_far_organs():
    motion = Misregistration(breathing_mm=12.0, diaphragm_mm=0.0)
    u = motion.displacement_mm(GRID)
    z, y, x = GRID.axes()
    k, liver, spine = np.abs(z).argmin(), np.abs(y + 20).argmin(), np.abs(y - 70).argmin()
    middle = np.abs(x).argmin()
    assert u[0, k, liver, middle] == pytest.approx(12.0, rel=0.02)
    assert abs(u[0, k, spine, middle]) < 0.2
    assert motion.facts(GRID, EVERYWHERE)["max_mm"] < 12.0 * np.sqrt(1 + 0.25**2) + 1e-3
    moved = _centroid(motion.apply(_ball((0.0, -20.0, 0.0)), GRID))
    assert moved[0] == pytest.approx(12.0, abs=1.0)


def test_arms_beside_the_head_swing_each_for_itself():
    grid = Grid.centred((80, 20, 130), (4.0, 10.0, 4.0), 0.0)
    u = Misregistration(arms_mm=(-20.0, 10.0), shoulder_mm=60.0).displacement_mm(grid)
    z, _, x = grid.axes()
    right, head, left = (np.abs(x - at).argmin() for at in (-180.0, 50.0, 180.0))
    assert (u[2, z <= 60.0] == 0).all()
    assert u[2, z >= 260.0][:, :, right] == pytest.approx(-20.0, abs=0.01)
    assert u[2, z >= 260.0][:, :, left] == pytest.approx(10.0, abs=0.01)
    assert np.abs(u[2, :, :, head]).max() < 0.01
    assert (u[:2] == 0).all()


def test_the_smooth_field_has_its_size_and_folds_nowhere():
    motion = Misregistration(smooth_mm=3.0, smooth_pitch_mm=40.0, seed=5)
    u = motion.displacement_mm(GRID)
    assert u.std() == pytest.approx(3.0, rel=0.4)
    for axis, spacing in enumerate(GRID.spacing_mm):
        assert np.abs(np.diff(u[axis], axis=axis)).max() < spacing
    assert np.allclose(motion.displacement_mm(GRID, slice(3, 5)), u[:, 3:5], atol=1e-4)
    assert (Misregistration(smooth_mm=3.0, smooth_pitch_mm=40.0, seed=6).displacement_mm(GRID) != u).any()


def test_no_motion_changes_nothing_and_a_draw_is_its_seeds():
    image = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    assert np.allclose(Misregistration().apply(image, GRID), image)
    one = Misregistration.draw(3, centre_mm=(0.0, 0.0, 0.0), diaphragm_mm=10.0)
    assert one == Misregistration.draw(3, centre_mm=(0.0, 0.0, 0.0), diaphragm_mm=10.0)
    assert one != Misregistration.draw(4, centre_mm=(0.0, 0.0, 0.0), diaphragm_mm=10.0)
    bare = Misregistration.draw(3, centre_mm=(0.0, 0.0, 0.0))
    assert (bare.breathing_mm, bare.arms_mm) == (0.0, (0.0, 0.0))
    assert Misregistration.draw(3, centre_mm=(0.0, 0.0, 0.0), shoulder_mm=9.0).arms_mm != (0.0, 0.0)


def test_impossible_motions_are_refused():
    with pytest.raises(InputError, match="at most 100 mm"):
        Misregistration(shift_mm=(0.0, 200.0, 0.0))
    with pytest.raises(InputError, match="folds nowhere"):
        Misregistration(smooth_mm=20.0)
    with pytest.raises(InputError, match="finite"):
        Misregistration(breathing_mm=float("nan"))
    with pytest.raises(InputError, match="grid's shape"):
        Misregistration().apply(np.zeros((2, 2, 2), np.float32), GRID)
