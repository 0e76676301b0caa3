"""Regions: body mask, lesion masks, rings and spheres, with distances in millimetres on anisotropic voxels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError

Spacing = tuple[float, float, float]
Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""
BODY_SMOOTHING_FWHM_MM = 8.0
BODY_THRESHOLD_FRACTION = 0.2
"""Of the mean of those voxels that exceed the image's mean, after smoothing."""
BODY_CLOSING_MM = 10.0
SUBSAMPLES = 8
"""Points per axis and voxel with which partial-volume weights are counted."""


def smooth(image: npt.ArrayLike, fwhm_mm: float, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Gaussian smoothing with a width in millimetres; edges continue the nearest voxel.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    fwhm_mm
        Full width at half maximum [mm]; 0 leaves the image as it is.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    array = np.asarray(image, dtype=np.float32)
    if fwhm_mm <= 0:
        return array
    sigma = [fwhm_mm / FWHM_PER_SIGMA / size for size in spacing_mm]
    return np.asarray(ndimage.gaussian_filter(array, sigma, mode="nearest"), dtype=np.float32)


def body_threshold(image: npt.ArrayLike) -> float:
    """Level above which a smoothed PET image is body: 0.2 of the mean of the voxels above the image's mean.

    Twice the image gives twice the threshold; a hot bladder moves it little because it is a mean over the body.
    """
    array = np.asarray(image, dtype=np.float64)
    above = array[array > array.mean()] if array.size else array
    return BODY_THRESHOLD_FRACTION * float(above.mean()) if above.size else math.inf


def body_mask(
    image: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    threshold: float | None = None,
    closing_mm: float = BODY_CLOSING_MM,
    smoothing_fwhm_mm: float = BODY_SMOOTHING_FWHM_MM,
) -> Mask:
    """Body of a PET image: smooth, threshold, close, fill holes slice by slice, keep the largest component.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``, not negative where it matters.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    threshold
        Level of the smoothed image [unit of the image]; ``None`` takes :func:`body_threshold`.
    closing_mm
        Radius of the closing in each transaxial slice [mm].
    smoothing_fwhm_mm
        Width of the Gaussian before the threshold [mm].

    Returns
    -------
        Shape ``(z, y, x)``; empty where the image is zero throughout.
    """
    array = smooth(image, smoothing_fwhm_mm, spacing_mm)
    level = body_threshold(array) if threshold is None else threshold
    mask = np.asarray(array > level)
    if not mask.any():
        return mask
    disc = _disc(closing_mm, spacing_mm[1:])
    reach = max(disc.shape) // 2
    for z in range(mask.shape[0]):
        padded = np.pad(mask[z], reach)
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(padded, disc))
        mask[z] = np.asarray(closed)[reach : reach + mask.shape[1], reach : reach + mask.shape[2]]
    return largest_component(mask)


def _disc(radius_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Disc of a radius in millimetres as a structuring element, never smaller than the centre voxel."""
    reach = [math.floor(radius_mm / size) for size in spacing_mm]
    axes = np.meshgrid(*[np.arange(-n, n + 1) * size for n, size in zip(reach, spacing_mm, strict=True)], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes))
    return np.asarray(distance <= radius_mm + 1e-9)


def largest_component(mask: npt.ArrayLike) -> Mask:
    """Largest face-connected component; the first in array order where two are equal."""
    labels, count = ndimage.label(np.asarray(mask, dtype=bool))
    if count == 0:
        return np.asarray(mask, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def split_lesions(mask: npt.ArrayLike) -> list[Mask]:
    """Lesions of a mask, without their numbers; see :func:`numbered_lesions`."""
    return list(numbered_lesions(mask).values())


def numbered_lesions(mask: npt.ArrayLike) -> dict[int, Mask]:
    """Lesions of a mask by number: its labels, or its 26-connected components from 1 where it is binary.

    Parameters
    ----------
    mask
        Shape ``(z, y, x)``: labels 1, 2, … or a single non-zero value.
    """
    labels = np.asarray(np.rint(np.asarray(mask, dtype=np.float64)), dtype=np.int64)
    values = [int(value) for value in np.unique(labels) if value > 0]
    if len(values) <= 1:
        components, count = ndimage.label(labels > 0, structure=np.ones((3, 3, 3), dtype=bool))
        labels, values = components, list(range(1, count + 1))
    return {value: np.asarray(labels == value) for value in values}


def volume_ml(mask: npt.ArrayLike, spacing_mm: Spacing) -> float:
    """Volume of a mask [mL]."""
    return float(np.count_nonzero(np.asarray(mask))) * math.prod(spacing_mm) / 1000.0


def equivalent_diameter_mm(mask: npt.ArrayLike, spacing_mm: Spacing) -> float:
    """Diameter [mm] of the sphere that has the volume of the mask."""
    return float((6.0 * volume_ml(mask, spacing_mm) * 1000.0 / math.pi) ** (1.0 / 3.0))


def bounding_box(mask: npt.ArrayLike, spacing_mm: Spacing, margin_mm: float) -> tuple[slice, slice, slice]:
    """Smallest box around a mask that is not empty, widened by ``margin_mm`` and cut at the image's edge."""
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        raise InputError("A region must hold at least one voxel; found an empty mask. Leave it out.")
    box: list[slice] = []
    for axis, size in enumerate(spacing_mm):
        others = tuple(i for i in range(3) if i != axis)
        hits = np.flatnonzero(inside.any(axis=others))
        margin = math.ceil(margin_mm / size)
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + margin + 1, inside.shape[axis])))
    return box[0], box[1], box[2]


def ring_mask(
    lesion: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    inner_mm: float = 7.0,
    outer_mm: float = 14.0,
    exclude: npt.ArrayLike | None = None,
    within: npt.ArrayLike | None = None,
) -> Mask:
    """Shell around a lesion: voxels whose distance to it lies in [inner_mm, outer_mm].

    The distance is Euclidean, in mm, from the centre of a voxel to the centre of the nearest voxel of the lesion.

    Parameters
    ----------
    lesion
        Shape ``(z, y, x)``, not empty.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    inner_mm, outer_mm
        Bounds of the distance [mm].
    exclude
        Voxels never taken, such as the other lesions.
    within
        Voxels alone taken, such as the body.
    """
    inside = np.asarray(lesion, dtype=bool)
    box = bounding_box(inside, spacing_mm, outer_mm + max(spacing_mm))
    distance = np.asarray(ndimage.distance_transform_edt(~inside[box], sampling=spacing_mm))
    ring = np.zeros(inside.shape, dtype=bool)
    ring[box] = (distance >= inner_mm) & (distance <= outer_mm)
    if exclude is not None:
        ring &= ~np.asarray(exclude, dtype=bool)
    if within is not None:
        ring &= np.asarray(within, dtype=bool)
    return ring


def sphere_kernel(
    spacing_mm: Spacing, *, diameter_mm: float, offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> FloatArray:
    """Fraction of each voxel that lies in a sphere, around the voxel in which the sphere is centred.

    Parameters
    ----------
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    diameter_mm
        Diameter of the sphere [mm].
    offset_mm
        Centre of the sphere relative to the centre of the kernel's middle voxel [mm], along ``(z, y, x)``.

    Returns
    -------
        Odd shape; values in [0, 1], counted on 8 points per axis and voxel; sums to volume / voxel volume.
    """
    radius = diameter_mm / 2.0
    squares: list[FloatArray] = []
    fine = (np.arange(SUBSAMPLES) + 0.5) / SUBSAMPLES - 0.5
    for size, offset in zip(spacing_mm, offset_mm, strict=True):
        reach = math.ceil((radius + abs(offset)) / size - 0.5)
        positions = (np.arange(-reach, reach + 1)[:, None] + fine) * size - offset
        squares.append(np.asarray(positions.ravel() ** 2, dtype=np.float64))
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= radius**2
    shape = tuple(n for square in squares for n in (square.size // SUBSAMPLES, SUBSAMPLES))
    return np.asarray(inside.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float64)


def sphere_weights(
    shape: tuple[int, int, int], spacing_mm: Spacing, *, centre_index: tuple[float, float, float], diameter_mm: float
) -> FloatArray:
    """Partial-volume weights of a sphere on a grid.

    Parameters
    ----------
    shape
        Of the grid, ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    centre_index
        Centre of the sphere as fractional array indices ``(z, y, x)``.
    diameter_mm
        Diameter [mm].

    Returns
    -------
        Shape ``shape``, in [0, 1].
    """
    nearest = [math.floor(value + 0.5) for value in centre_index]
    offset = [(value - middle) * size for value, middle, size in zip(centre_index, nearest, spacing_mm, strict=True)]
    kernel = sphere_kernel(spacing_mm, diameter_mm=diameter_mm, offset_mm=(offset[0], offset[1], offset[2]))
    weights = np.zeros(shape)
    target, part = [], []
    for middle, width, length in zip(nearest, kernel.shape, shape, strict=True):
        start = middle - width // 2
        low, high = max(start, 0), min(start + width, length)
        if low >= high:
            return weights
        target.append(slice(low, high))
        part.append(slice(low - start, high - start))
    weights[tuple(target)] = kernel[tuple(part)]
    return weights


def sphere_mask(
    shape: tuple[int, int, int], spacing_mm: Spacing, *, centre_index: tuple[float, float, float], diameter_mm: float
) -> Mask:
    """Voxels at least half inside a sphere; see :func:`sphere_weights`."""
    return sphere_weights(shape, spacing_mm, centre_index=centre_index, diameter_mm=diameter_mm) >= 0.5
