"""Affines from array indices, in array order, to LPS millimetres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ORTHOGONALITY_TOLERANCE = 1e-3
"""Largest cosine between two axes of a grid that is still called orthogonal."""


def affine_from_axes(
    *, spacing_mm: tuple[float, float, float], origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> FloatArray:
    """Affine of an axis-aligned grid: z towards the head, y to posterior, x to the left.

    Parameters
    ----------
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    origin_mm
        Centre of voxel ``(0, 0, 0)`` as LPS ``(x, y, z)`` [mm].

    Returns
    -------
        Matrix, shape ``(4, 4)``; ``affine @ (z, y, x, 1)`` is ``(x, y, z, 1)`` in LPS mm.

    Examples
    --------
    >>> affine_from_axes(spacing_mm=(3.0, 4.0, 5.0)) @ (1, 0, 0, 1)
    array([0., 0., 3., 1.])
    """
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm
    affine[:3, 3] = origin_mm
    affine[3, 3] = 1.0
    return affine


def spacing_of(affine: npt.ArrayLike) -> tuple[float, float, float]:
    """Voxel size [mm] along each array axis, in array order.

    Examples
    --------
    >>> spacing_of(affine_from_axes(spacing_mm=(3.0, 4.0, 5.0)))
    (3.0, 4.0, 5.0)
    """
    matrix = np.asarray(affine, dtype=np.float64)
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def directions_of(affine: npt.ArrayLike) -> FloatArray:
    """Unit vectors of the array axes in LPS, one a column, shape ``(3, 3)``."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    return np.asarray(matrix / np.linalg.norm(matrix, axis=0), dtype=np.float64)


def is_orthogonal(affine: npt.ArrayLike, *, tolerance: float = ORTHOGONALITY_TOLERANCE) -> bool:
    """Whether the axes of the grid are at right angles, within ``tolerance`` of the cosine."""
    directions = directions_of(affine)
    off_diagonal = directions.T @ directions - np.eye(3)
    return bool(np.abs(off_diagonal).max() <= tolerance)


def to_world(affine: npt.ArrayLike, indices: npt.ArrayLike) -> FloatArray:
    """LPS positions [mm], shape ``(n, 3)``, of array indices, shape ``(n, 3)`` in array order."""
    matrix = np.asarray(affine, dtype=np.float64)
    points = np.asarray(indices, dtype=np.float64)
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def to_indices(affine: npt.ArrayLike, positions_mm: npt.ArrayLike) -> FloatArray:
    """Array indices (fractional), shape ``(n, 3)``, of LPS positions [mm], shape ``(n, 3)``."""
    return to_world(np.linalg.inv(np.asarray(affine, dtype=np.float64)), positions_mm)


def same_grid(
    affine: npt.ArrayLike,
    shape: tuple[int, ...],
    other_affine: npt.ArrayLike,
    other_shape: tuple[int, ...],
    *,
    tolerance_mm: float = 1e-2,
) -> bool:
    """Whether two grids have one shape and corners nearer than ``tolerance_mm``."""
    if tuple(shape) != tuple(other_shape):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[-3:]], indexing="ij")).reshape(3, -1).T
    distance = np.abs(to_world(affine, corners) - to_world(other_affine, corners)).max()
    return bool(distance <= tolerance_mm)
