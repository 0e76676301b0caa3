"""Where the body is in PET, NM, CT and MR images, and how far two contours of one body lie apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import to_world
from nmsynth.core.volume import ACTIVITY_MODALITIES, SPATIAL_AXES, Volume
from nmsynth.metrics.regions import FWHM_PER_SIGMA, smooth

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

AIR_BELOW_HU = -300.0
"""CT number below which there is air or lung, after smoothing [HU]."""
EDGE_LEVEL = 0.5
"""Of the uptake or signal beneath the skin: where the edge of a blurred body lies."""
OPEN_AIR = 0.12
"""Of the median uptake: what is below it belongs to the air around the body, and the rim that hangs on to it too."""
RIM_MM = 12.0
"""How far the blur of the edge reaches into the body [mm]."""
COUCH_MM = 8.0
"""What is thinner than this in a transaxial slice of CT is no body but the couch [mm]."""
LARGEST_GRID = 2_000_000
"""Most voxels of a working grid."""
OUTSIDE_HU = -1024.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """An image on a working grid with what is body in it and what the scanner saw."""

    image: Volume
    mask: Mask
    field: Mask
    """Where the image has values: an MR that was turned onto a grid has none in the corners."""


def working_grid(volume: Volume, spacing_mm: float) -> Volume:
    """The image on a grid with about that spacing over the same field of view, smoothed before it is made coarser.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``.
    spacing_mm
        Spacing wanted [mm]; wider where the grid would have more than two million voxels.
    """
    if volume.axes != SPATIAL_AXES:
        raise InputError(f"A body is looked for in axes {SPATIAL_AXES}; found {volume.axes}. Pass one frame.")
    extent = np.asarray(volume.spacing_mm) * volume.shape
    wanted = max(spacing_mm, float(np.prod(extent) / LARGEST_GRID) ** (1 / 3))
    counts = np.maximum(np.rint(extent / wanted), 1).astype(int)
    step = volume.shape / counts  # old voxels in a new one
    affine = np.array(volume.affine)
    affine[:3, :3] = affine[:3, :3] * step
    affine[:3, 3] = to_world(volume.affine, (step - 1)[None] / 2)[0]
    spacing = tuple(np.asarray(volume.spacing_mm) * step)
    array = ndimage.affine_transform(
        antialiased(volume, spacing).array, step, (step - 1) / 2, tuple(counts), order=1, mode="nearest"
    )
    return volume.with_array(array, affine=affine, source=None)


def antialiased(volume: Volume, spacing_mm: tuple[float, ...]) -> Volume:
    """The image smoothed as a grid of that spacing [mm] needs it; as it is along axes that do not become coarser."""
    ratio = np.asarray(spacing_mm) / np.asarray(volume.spacing_mm)
    sigma = np.where(ratio > 1.2, 0.5 * np.sqrt(np.maximum(ratio**2 - 1, 0)), 0.0)
    if not sigma.any():
        return volume
    return volume.with_array(ndimage.gaussian_filter(volume.array, sigma, mode="nearest"))


def find_body(volume: Volume, *, spacing_mm: float = 2.5, level: float = EDGE_LEVEL) -> Body:
    """Body of an image on a working grid.

    CT by its number, without the couch; MR and PET by what they show beneath the skin. PET is blurred, so its edge
    depends on ``level``; :func:`same_size` finds the level that gives the body the size it has in another image.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``; ``PT``, ``NM``, ``CT`` or ``MR``.
    spacing_mm
        Of the working grid [mm].
    level
        Of the local uptake, at the edge of PET and NM.
    """
    image = working_grid(volume, spacing_mm)
    field = field_of_view(image)
    if volume.modality == "CT":
        return Body(image, _ct_body(image), field)
    if volume.modality == "MR":
        return Body(image, _mr_body(image), field)
    relative, uptake = _edge_images(image)
    return Body(image, _uptake_body(relative, uptake, level, image.spacing_mm), field)


def field_of_view(volume: Volume) -> Mask:
    """Where an image has values, shape ``(z, y, x)``.

    An image that was turned, cut or resampled onto a larger grid is filled beyond what the scanner saw: MR with 0, CT
    with -1024 HU or less. What the scanner saw is convex: in each transaxial slice the convex outline of all that is
    above the fill. PET and NM have values on their whole grid.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``.
    """
    fill = {"MR": 0.0, "CT": OUTSIDE_HU + 1}.get(volume.modality)
    if fill is None:
        return np.ones(volume.shape, dtype=bool)
    seen = np.asarray(volume.array > fill)
    return seen if seen.all() else np.stack([_convex(plane) for plane in seen])


def same_size(body: Body, other: Mask, field: Mask) -> Body:
    """The body of a PET image at the level at which it has the volume that it has in another image.

    A body has one volume, while the edge of PET is blurred and its level is a matter of taste.

    Parameters
    ----------
    body
        Of a PET or NM image; others are given back as they are.
    other
        The body in the other image, on the same grid.
    field
        Where both images have values.
    """
    if body.image.modality not in ACTIVITY_MODALITIES:
        return body
    relative, uptake = _edge_images(body.image)
    wanted = np.count_nonzero(other & field)
    low, high = 0.15, 0.9
    for _ in range(8):
        middle = (low + high) / 2
        larger = np.count_nonzero(_uptake_body(relative, uptake, middle, body.image.spacing_mm) & field) > wanted
        low, high = (middle, high) if larger else (low, middle)
    return Body(body.image, _uptake_body(relative, uptake, (low + high) / 2, body.image.spacing_mm), body.field)


def signed_distance_mm(mask: Mask, field: Mask, spacing_mm: tuple[float, ...]) -> Image:
    """Distance to the contour of a body, positive inside [mm]; where the field of view ends, there is no contour."""
    if not field.all() and field.any():
        nearest = ndimage.distance_transform_edt(~field, spacing_mm, return_distances=False, return_indices=True)
        mask = mask[tuple(nearest)]
    if mask.all() or not mask.any():
        return np.full(mask.shape, 1e3 if mask.all() else -1e3, dtype=np.float32)
    half = min(spacing_mm) / 2
    inside = ndimage.distance_transform_edt(mask, spacing_mm) - half
    outside = ndimage.distance_transform_edt(~mask, spacing_mm) - half
    return np.asarray(np.where(mask, inside, -outside), dtype=np.float32)


def contour_agreement(first: Mask, second: Mask, field: Mask, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Dice coefficient, and mean and 95th percentile of the distance between two contours [mm], where both are seen.

    Returns
    -------
        ``dice``, ``contour_mean_mm`` and ``contour_p95_mm``; the distances are 0 where no contour is seen.
    """
    size = np.count_nonzero(first & field) + np.count_nonzero(second & field)
    dice = 2 * np.count_nonzero(first & second & field) / size if size else 1.0
    maps = [signed_distance_mm(mask, field, spacing_mm) for mask in (first, second)]
    inner = ndimage.binary_erosion(field, iterations=2, border_value=1)
    near = max(spacing_mm)
    # at a voxel near one contour, the distance to the other is the difference of both maps
    apart = np.concatenate([np.abs(maps[0] - maps[1])[(np.abs(m) < near) & inner] for m in maps])
    if not apart.size:
        return {"dice": dice, "contour_mean_mm": 0.0, "contour_p95_mm": 0.0}
    return {
        "dice": dice,
        "contour_mean_mm": float(apart.mean()),
        "contour_p95_mm": float(np.percentile(apart, 95)),
    }


def on_grid(mask: Mask, image: Volume, grid: Volume) -> Mask:
    """A mask on the grid of ``image`` on another grid; false outside its field of view."""
    return np.asarray(image.with_array(mask.astype(np.float32)).resample_to(grid).array > 0.5)


def _convex(plane: Mask) -> Mask:
    """Convex outline of what is set in a slice, filled."""
    from skimage.morphology import convex_hull_image

    outline: Callable[..., Any] = convex_hull_image
    rows, columns = plane.any(axis=1), plane.any(axis=0)
    if plane.all() or min(np.count_nonzero(rows), np.count_nonzero(columns)) < 2:  # all, nothing, or a line
        return plane
    return np.asarray(outline(plane))


def _filled(mask: Mask) -> Mask:
    """Mask without the holes that lie within a transaxial slice."""
    return np.stack([np.asarray(ndimage.binary_fill_holes(plane)) for plane in mask])


def _ct_body(image: Volume) -> Mask:
    """Body in CT: tissue without what is thin, its parts of at least a tenth of the largest."""
    tissue = smooth(image.array, 3.0, image.spacing_mm) > AIR_BELOW_HU
    reach = [max(1, round(COUCH_MM / 2 / size)) for size in image.spacing_mm[1:]]
    disc = np.ones((1, 2 * reach[0] + 1, 2 * reach[1] + 1), dtype=bool)
    padded = np.pad(tissue, ((0, 0), (reach[0],) * 2, (reach[1],) * 2), mode="edge")
    opened = ndimage.binary_opening(padded, disc)[:, reach[0] : -reach[0], reach[1] : -reach[1]]
    return _filled(_parts(opened, 0.1))


def _parts(mask: Mask, share: float) -> Mask:
    """Connected parts of at least a share of the largest."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.isin(labels, np.flatnonzero((sizes > 0) & (sizes >= share * sizes.max())))


def _mr_body(image: Volume) -> Mask:
    """Body in MR: above a seventh of its bright signal, cortical bone and vessels filled."""
    array = smooth(image.array, 3.0, image.spacing_mm)
    if not (array > 0).any():
        return np.zeros(image.shape, dtype=bool)
    signal = array > 0.15 * np.percentile(array[array > 0], 95)
    padded = np.pad(signal, ((0, 0), (4, 4), (4, 4)), mode="edge")
    closed = ndimage.binary_closing(padded, np.ones((1, 3, 3)), iterations=2)[:, 4:-4, 4:-4]
    return _parts(_filled(closed), 0.01)  # arms and legs, where the image ends before they meet the trunk


def _edge_images(image: Volume) -> tuple[Image, Image]:
    """Uptake over that of its surroundings inside the body, and over the median of the body."""
    array = np.maximum(smooth(image.array, 7.0, image.spacing_mm), 0.0)
    high = array[array > 0.5 * array.mean()]
    median = float(np.median(high)) if high.size else 1.0
    median = median if median > 0 else 1.0
    uptake = array / median
    inside = uptake > 0.3
    sigma = [30.0 / FWHM_PER_SIGMA / size * 1.5 for size in image.spacing_mm]
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="nearest")
    # the mean of logarithms: a hot lesion does not push the contour into the body
    logs = np.where(inside, np.log(np.maximum(uptake, 1e-3)), 0.0).astype(np.float32)
    around = np.exp(ndimage.gaussian_filter(logs, sigma, mode="nearest") / np.maximum(weight, 1e-3))
    around = np.where(weight > 1e-3, np.maximum(around, 0.5), 1.0)
    return np.asarray(uptake / around, dtype=np.float32), np.asarray(uptake, dtype=np.float32)


def _uptake_body(relative: Image, uptake: Image, level: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Body in PET: all but the air, and the rim below the level that hangs on to the air."""
    labels, _ = ndimage.label(uptake < OPEN_AIR)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    air = np.isin(labels, np.flatnonzero((sizes > 0) & (sizes >= 0.05 * sizes.max())))
    if not air.any():
        return np.ones(uptake.shape, dtype=bool)
    rim = ndimage.distance_transform_edt(~air, spacing_mm) <= RIM_MM
    body = ~(air | (rim & (relative <= level)))
    return _filled(ndimage.binary_opening(body, np.ones((1, 3, 3))) if body.any() else body)
