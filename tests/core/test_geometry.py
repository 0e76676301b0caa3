"""Affines from array order to LPS, on anisotropic, oblique and flipped grids."""

import numpy as np
import pytest

from nmsynth.core.geometry import (
    affine_from_axes,
    directions_of,
    is_orthogonal,
    same_grid,
    spacing_of,
    to_indices,
    to_world,
)

ANISOTROPIC = affine_from_axes(spacing_mm=(3.0, 4.0, 5.0), origin_mm=(-20.0, 10.0, 30.0))


def rotated(affine, degrees=25.0):
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilt = np.eye(4)
    tilt[1:3, 1:3] = turn[:2, :2]
    return turn @ tilt @ affine


FLIPPED = ANISOTROPIC @ np.diag([-1.0, 1.0, -1.0, 1.0])
GRIDS = pytest.mark.parametrize("affine", [ANISOTROPIC, rotated(ANISOTROPIC), FLIPPED, rotated(FLIPPED)])


def test_first_index_is_z():
    np.testing.assert_allclose(
        to_world(ANISOTROPIC, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]) - (-20, 10, 30), np.eye(3)[::-1] * [[3], [4], [5]]
    )


@GRIDS
def test_spacing_is_in_array_order(affine):
    assert spacing_of(affine) == pytest.approx((3.0, 4.0, 5.0))
    np.testing.assert_allclose(np.linalg.norm(directions_of(affine), axis=0), 1.0)
    assert is_orthogonal(affine)


@GRIDS
def test_indices_and_positions_are_inverse(affine):
    indices = np.random.default_rng(0).uniform(-3, 9, (20, 3))
    np.testing.assert_allclose(to_indices(affine, to_world(affine, indices)), indices, atol=1e-9)


def test_shear_is_not_orthogonal():
    sheared = ANISOTROPIC.copy()
    sheared[1, 0] = 0.1
    assert not is_orthogonal(sheared)


def test_same_grid():
    shifted = ANISOTROPIC.copy()
    shifted[0, 3] += 0.1
    assert same_grid(ANISOTROPIC, (5, 6, 7), ANISOTROPIC, (5, 6, 7))
    assert not same_grid(ANISOTROPIC, (5, 6, 7), ANISOTROPIC, (5, 6, 8))
    assert not same_grid(ANISOTROPIC, (5, 6, 7), shifted, (5, 6, 7))
    assert not same_grid(ANISOTROPIC, (5, 6, 7), FLIPPED, (5, 6, 7))
