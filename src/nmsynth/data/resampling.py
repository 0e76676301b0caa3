"""Images on the grid of a plan: one physical space, another spacing, nothing aliased."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core import geometry
from nmsynth.core.volume import Volume
from nmsynth.data.orientation import turn_to_patient, turn_towards, turned, turned_grid
from nmsynth.metrics.regions import FWHM_PER_SIGMA

SAME_SPACING = 0.01
"""Relative difference of voxel sizes below which an image keeps its own grid."""


def plan_grid(
    reference: Volume, spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Grid of a spacing over the field of view of an image, its axes towards the head, posterior and left.

    However an image is stored, a network sees it in one order: the axes of the grid are those of the image, permuted
    and reversed so that they run nearest to the patient's. A single slice that is not axial (planar views) and an image
    that is tilted by more than 35 degrees against the patient keep their order.

    Parameters
    ----------
    reference
        Whose place and, but for their order and sign, directions are kept; where its voxels have the spacing within
        1 %, they are the voxels of the grid.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].

    Returns
    -------
        Affine, shape ``(4, 4)``, and number of voxels along ``(z, y, x)``.
    """
    stored, n_stored = turned_grid(reference.affine, reference.spatial_shape, turn_to_patient(reference))
    own = geometry.spacing_of(stored)
    if all(abs(a - b) <= SAME_SPACING * b for a, b in zip(own, spacing_mm, strict=True)):
        return stored, n_stored
    extent = [n * s for n, s in zip(n_stored, own, strict=True)]
    shape = [max(1, round(e / s)) for e, s in zip(extent, spacing_mm, strict=True)]
    affine = np.eye(4)
    affine[:3, :3] = geometry.directions_of(stored) * np.asarray(spacing_mm)
    first = [((e - (n - 1) * s) - o) / 2 / o for e, n, s, o in zip(extent, shape, spacing_mm, own, strict=True)]
    affine[:3, 3] = geometry.to_world(stored, [first])[0]
    return affine, (shape[0], shape[1], shape[2])


def resample(
    volume: Volume,
    affine: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    order: int = 1,
    fill: float = 0.0,
) -> Volume:
    """Interpolate an image on a grid; where the grid is coarser, after smoothing to its resolution.

    Where only the order of the voxels differs, nothing is interpolated. Values are interpolated, not summed: right for
    concentrations, SUV, HU; wrong for counts.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``.
    affine, shape
        Of the grid, ``(4, 4)`` and ``(z, y, x)``.
    order
        0 for labels, which are not smoothed, 1 linear, 3 cubic.
    fill
        Value outside the field of view.
    """
    if geometry.same_grid(volume.affine, volume.spatial_shape, affine, shape):
        return volume
    volume = turned(volume, turn_towards(volume.affine, affine))
    if geometry.same_grid(volume.affine, volume.spatial_shape, affine, shape):
        return volume
    smoothed = volume
    if order > 0:
        # the mean over a coarse voxel, as a Gaussian of its width less that of the fine one
        coarse = geometry.spacing_of(affine)
        sigma = [
            math.sqrt(max(0.0, (c / s) ** 2 - 1.0)) / FWHM_PER_SIGMA
            for c, s in zip(_along_axes(volume, affine, coarse), volume.spacing_mm, strict=True)
        ]
        if max(sigma) > 0.2:
            smoothed = volume.with_array(ndimage.gaussian_filter(volume.array, sigma, mode="nearest"))
    # A voxel's value holds for all of it: half a voxel beyond the outermost centres the image goes on, and only further
    # out is there no field of view. Interpolation towards the fill would darken the first and last slices.
    grid = Volume(np.zeros(shape, dtype=np.float32), affine, volume.unit, volume.modality)
    moved = smoothed.resample_to(grid, order=order, continued=True)
    inside = covered(volume, affine, shape)
    return moved.with_array(np.where(inside, moved.array, np.float32(fill)), source=volume.source)


def covered(volume: Volume, affine: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Voxels of a grid whose centres lie in the field of view of an image, shape ``(z, y, x)``."""
    matrix = np.linalg.inv(volume.affine) @ affine
    inside = np.ones(shape, dtype=bool)
    index = np.ogrid[tuple(slice(0, n) for n in shape)]
    for axis in range(3):
        place = matrix[axis, 3] + sum(matrix[axis, k] * index[k] for k in range(3))
        inside &= (place >= -0.5 - 1e-6) & (place <= volume.spatial_shape[axis] - 0.5 + 1e-6)
    return inside


def _along_axes(
    volume: Volume, affine: npt.NDArray[np.float64], spacing_mm: tuple[float, float, float]
) -> tuple[float, ...]:
    """Spacing of a grid along the axes of an image, which may be turned against it."""
    cosines = np.abs(geometry.directions_of(volume.affine).T @ geometry.directions_of(affine))
    return tuple(float(s) for s in (cosines / cosines.sum(axis=1, keepdims=True)) @ np.asarray(spacing_mm))
