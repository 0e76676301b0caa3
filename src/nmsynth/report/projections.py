"""Grids, planes and projections as a reader expects them: head up, patient's right on the left of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.geometry import affine_from_axes, directions_of, to_indices, to_world
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume

Image = npt.NDArray[np.float32]
View = Literal["axial", "coronal", "sagittal"]

VIEWS: tuple[View, ...] = ("axial", "coronal", "sagittal")
"""The three planes."""

AXIS_OF: dict[View, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Axis of the display grid that is normal to each plane."""

ALIGNED_COSINE = 0.999
"""Smallest cosine between an axis of the grid and an axis of the patient for a grid shown without interpolation."""

AIR_HU = -1024.0
"""What is shown outside the field of view of CT [HU]."""

MAX_OBLIQUE_VOXELS = 40_000_000
"""Most voxels of the upright grid that an oblique image is interpolated to."""


@dataclass(frozen=True, slots=True)
class Upright:
    """An image on an upright grid: axes to the head, to posterior, to the left.

    ``array`` has axes ``(z, y, x)``; ``affine`` is diagonal but for the origin, with positive spacing.
    """

    array: Image
    affine: npt.NDArray[np.float64]
    interpolated: bool
    """Whether values were interpolated for display."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along ``(z, y, x)`` [mm]."""
        z, y, x = (float(size) for size in np.abs(self.affine[[2, 1, 0], [0, 1, 2]]))
        return z, y, x


def in_display_unit(volume: Volume) -> tuple[Volume, str | None]:
    """Give the volume as SUV where it can be, else as it is with the reason why not.

    Returns
    -------
        Volume, and ``None`` or one sentence.
    """
    if volume.axes != SPATIAL_AXES:
        raise InputError(
            f"A report shows volumes with axes {SPATIAL_AXES}; found {volume.axes}. Pass one frame or their mean."
        )
    if volume.unit.is_suv or volume.unit is not Unit.BQML:
        return volume, None
    try:
        return volume.to_suv(), None
    except SuvError as error:
        return volume, str(error)


def upright(volume: Volume) -> Upright:
    """Turn an image upright by its affine: transposed and flipped where the axes allow it, else interpolated.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``, any orientation.
    """
    directions = directions_of(volume.affine)
    # Rows of the display grid: superior (LPS z), posterior (y), left (x).
    order = [int(np.argmax(np.abs(directions[world]))) for world in (2, 1, 0)]
    aligned = sorted(order) == [0, 1, 2] and all(
        abs(directions[world, axis]) >= ALIGNED_COSINE for world, axis in zip((2, 1, 0), order, strict=True)
    )
    if not aligned:
        return _interpolated(volume)
    array = np.transpose(volume.array, order)
    corner = np.zeros(3)
    spacing = [volume.spacing_mm[axis] for axis in order]
    for position, (world, axis) in enumerate(zip((2, 1, 0), order, strict=True)):
        if directions[world, axis] < 0:
            array = np.flip(array, axis=position)
            corner[axis] = volume.shape[axis] - 1
    origin = to_world(volume.affine, corner[None])[0]
    affine = affine_from_axes(
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
    return Upright(np.nan_to_num(array, posinf=0.0, neginf=0.0), affine, interpolated=False)


def _interpolated(volume: Volume) -> Upright:
    """Interpolate an oblique image to an upright grid that holds its corners."""
    shape = volume.spatial_shape
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1).T
    positions = to_world(volume.affine, corners)
    low, high = positions.min(axis=0), positions.max(axis=0)
    directions = np.abs(directions_of(volume.affine))
    spacing = [volume.spacing_mm[int(np.argmax(directions[world]))] for world in (2, 1, 0)]
    extent = [float(high[world] - low[world]) for world in (2, 1, 0)]
    counts = [math.ceil(length / size - 1e-6) + 1 for length, size in zip(extent, spacing, strict=True)]
    enlarge = max(1.0, (math.prod(counts) / MAX_OBLIQUE_VOXELS) ** (1 / 3))
    counts = [max(int(n / enlarge), 1) for n in counts]
    affine = affine_from_axes(
        spacing_mm=(spacing[0] * enlarge, spacing[1] * enlarge, spacing[2] * enlarge),
        origin_mm=(float(low[0]), float(low[1]), float(low[2])),
    )
    return _on_grid(volume, affine, (counts[0], counts[1], counts[2]))


def _on_grid(volume: Volume, affine: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Upright:
    """Interpolate an image linearly to an upright grid."""
    grid = Volume(np.broadcast_to(np.float32(0), shape), affine, volume.unit, volume.modality)
    array = np.nan_to_num(volume.resample_to(grid).array, posinf=0.0, neginf=0.0)
    return Upright(array, affine, interpolated=True)


def upright_like(volume: Volume, first: Upright) -> Upright:
    """Turn an image upright on the grid of another; interpolated only where the grids differ, with air around CT."""
    if volume.unit is Unit.HOUNSFIELD:  # outside its grid an image is 0
        shifted = _like(volume.with_array(volume.array - AIR_HU), first)
        return Upright(shifted.array + AIR_HU, shifted.affine, shifted.interpolated)
    return _like(volume, first)


def _like(volume: Volume, first: Upright) -> Upright:
    """An image on an upright grid, 0 outside its own."""
    turned = upright(volume)
    same = turned.array.shape == first.array.shape and np.allclose(turned.affine, first.affine, atol=1e-2)
    if same:
        return turned
    z, y, x = first.array.shape
    return _on_grid(volume, first.affine, (z, y, x))


def index_in(grid: Upright, affine: npt.ArrayLike, index: npt.ArrayLike) -> tuple[float, float, float]:
    """Fractional index on an upright grid of a point given by its index on another grid."""
    found = to_indices(grid.affine, to_world(affine, np.asarray(index, dtype=np.float64)[None]))[0]
    return float(found[0]), float(found[1]), float(found[2])


def nearest_voxel(grid: Upright, index: tuple[float, float, float]) -> tuple[int, int, int]:
    """Nearest voxel inside the grid."""
    z, y, x = (min(max(round(i), 0), n - 1) for i, n in zip(index, grid.array.shape, strict=True))
    return z, y, x


def as_picture(plane: Image, view: View) -> Image:
    """Rows and columns of a picture from a plane of an upright grid.

    Axial: anterior up. Coronal and sagittal: head up. Patient's right, or anterior in a sagittal picture, is on the
    left.

    Parameters
    ----------
    plane
        Shape ``(y, x)``, ``(z, x)`` or ``(z, y)`` for axial, coronal, sagittal.
    """
    return plane if view == "axial" else plane[::-1]


def cut(array: Image, view: View, index: tuple[int, int, int]) -> Image:
    """Picture of the plane through a voxel; see :func:`as_picture`."""
    axis = AXIS_OF[view]
    return as_picture(np.take(array, index[axis], axis=axis), view)


def project(array: Image, view: View) -> Image:
    """Picture of the maximum-intensity projection: ``coronal`` is the anterior view, ``sagittal`` the lateral one."""
    return as_picture(np.asarray(array.max(axis=AXIS_OF[view])), view)


def pixel_mm(spacing_mm: tuple[float, float, float], view: View) -> tuple[float, float]:
    """Height and width of a picture's pixel [mm]."""
    height, width = (size for axis, size in enumerate(spacing_mm) if axis != AXIS_OF[view])
    return height, width


def marks(view: View) -> tuple[str, str]:
    """Letters at the left and the right edge of a picture."""
    return ("A", "P") if view == "sagittal" else ("R", "L")


def crosshair(view: View, index: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of a voxel in a picture."""
    row, column = (i for axis, i in enumerate(index) if axis != AXIS_OF[view])
    rows = next(n for axis, n in enumerate(shape) if axis != AXIS_OF[view])
    return (row, column) if view == "axial" else (rows - 1 - row, column)


def body_box(
    arrays: list[Image], level: float, *, margin_mm: float, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """Smallest box that holds every voxel above a level, widened by a margin; the whole grid where there is none.

    Single noisy voxels in air are kept out: a plane belongs to the box if at least 0.5 % of it, or two voxels, exceed
    the level in any of the images.
    """
    shape: tuple[int, ...] = arrays[0].shape
    inside = np.zeros(shape, dtype=bool)
    for array in arrays:
        inside |= array > level
    parts: list[slice] = []
    for axis, size in enumerate(spacing_mm):
        others = tuple(i for i in range(3) if i != axis)
        share = inside.sum(axis=others)
        hits = np.flatnonzero(share >= max(2, 0.005 * inside.size / shape[axis]))
        if not hits.size:
            return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
        margin = math.ceil(margin_mm / size)
        parts.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + margin + 1, shape[axis])))
    return parts[0], parts[1], parts[2]
