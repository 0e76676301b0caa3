"""Finding a liver-like homogeneous sphere in a scan that has no masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from nmsynth.metrics.regions import Mask, Spacing, bounding_box, smooth, sphere_kernel, sphere_weights

LIVER_SPHERE_DIAMETER_MM = 30.0
"""Of the PERCIST liver sphere."""
SEARCH_SMOOTHING_FWHM_MM = 8.0
LEVEL_RANGE = (1.5, 5.0)
"""Mean of a liver-like sphere over the median of the body."""

REGION_TOLERANCE, REGION_RADIUS_MM, REGION_SMOOTHING_FWHM_MM = 0.15, 60.0, 12.0
"""Of the region grown around the sphere: relative deviation, largest radius [mm], smoothing [mm]."""


@dataclass(frozen=True, slots=True)
class HomogeneousSphere:
    """Where the most homogeneous liver-like sphere lies."""

    centre_index: tuple[int, int, int]
    diameter_mm: float
    mean: float
    """Of the smoothed image [unit of the image]."""
    cov: float
    """SD over mean of the smoothed image in the sphere."""


def find_homogeneous_sphere(
    image: npt.ArrayLike,
    spacing_mm: Spacing,
    body: npt.ArrayLike,
    *,
    diameter_mm: float = LIVER_SPHERE_DIAMETER_MM,
    level_range: tuple[float, float] = LEVEL_RANGE,
    smoothing_fwhm_mm: float = SEARCH_SMOOTHING_FWHM_MM,
    exclude: npt.ArrayLike | None = None,
    within: npt.ArrayLike | None = None,
) -> HomogeneousSphere | None:
    """Place a sphere where a liver-like level varies least.

    The image is smoothed (8 mm, so that structure and not noise decides; the place is then not one where the noise
    happens to be low). Of all voxel-centred spheres that lie wholly in the body, and whose mean is 1.5 to 5 times the
    body's median, the one with the smallest SD / mean is taken, the first in array order where two are equal.
    Where no sphere has such a level, any positive level will do. It is a liver in most FDG scans; nothing here knows
    anatomy, so the report shows where it lies.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    body
        Body mask, shape ``(z, y, x)``.
    diameter_mm
        Of the sphere [mm].
    level_range
        Bounds of the sphere's mean over the body's median.
    exclude, within
        Voxels that the sphere must not touch, such as lesions; voxels in which it must lie, such as a liver mask.

    Returns
    -------
        ``None`` where no sphere fits.
    """
    allowed = np.asarray(body, dtype=bool)
    if within is not None:
        allowed = allowed & np.asarray(within, dtype=bool)
    if exclude is not None:
        allowed = allowed & ~np.asarray(exclude, dtype=bool)
    if not allowed.any():
        return None
    fits = _inside_by(allowed, diameter_mm / 2.0, spacing_mm)
    if not fits.any():
        return None
    array = smooth(image, smoothing_fwhm_mm, spacing_mm).astype(np.float64)
    mean, cov = _local_statistics(array, spacing_mm, diameter_mm)
    level = float(np.median(array[np.asarray(body, dtype=bool)]))
    liver_like = fits & (mean > 0)
    if within is None and level > 0:
        leveled = liver_like & (mean >= level_range[0] * level) & (mean <= level_range[1] * level)
        liver_like = leveled if leveled.any() else liver_like
    if not liver_like.any():
        return None
    best = int(np.argmin(np.where(liver_like, cov, np.inf)))
    z, y, x = np.unravel_index(best, array.shape)
    return HomogeneousSphere((int(z), int(y), int(x)), diameter_mm, float(mean[z, y, x]), float(cov[z, y, x]))


def grow_region(
    image: npt.ArrayLike,
    spacing_mm: Spacing,
    sphere: HomogeneousSphere,
    allowed: npt.ArrayLike,
    *,
    tolerance: float = REGION_TOLERANCE,
    radius_mm: float = REGION_RADIUS_MM,
    smoothing_fwhm_mm: float = REGION_SMOOTHING_FWHM_MM,
) -> Mask:
    """Grow a sphere to the homogeneous region around it, for what a small sphere cannot show, such as correlation.

    Taken are the voxels within ``radius_mm`` of its centre that are face-connected to the centre where the image,
    smoothed by 12 mm, is within 15 % of its value at the centre.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    sphere
        From :func:`find_homogeneous_sphere`.
    allowed
        Voxels that may be taken, such as the body without lesions.
    tolerance, radius_mm, smoothing_fwhm_mm
        As above.

    Returns
    -------
        Shape ``(z, y, x)``; empty where the centre is not allowed.
    """
    inside = np.asarray(allowed, dtype=bool)
    ball = sphere_weights(
        (inside.shape[0], inside.shape[1], inside.shape[2]),
        spacing_mm,
        centre_index=sphere.centre_index,
        diameter_mm=2.0 * radius_mm,
    )
    box = bounding_box(ball >= 0.5, spacing_mm, 2.0 * smoothing_fwhm_mm)
    smoothed = smooth(np.asarray(image)[box], smoothing_fwhm_mm, spacing_mm)
    z, y, x = (index - part.start for index, part in zip(sphere.centre_index, box, strict=True))
    level = float(smoothed[z, y, x])
    near = (np.abs(smoothed - level) <= tolerance * abs(level)) & inside[box] & (ball[box] >= 0.5)
    labels, _ = ndimage.label(near)
    region = np.zeros(inside.shape, dtype=bool)
    region[box] = (labels == labels[z, y, x]) & (labels > 0)
    return region


def _inside_by(mask: Mask, depth_mm: float, spacing_mm: Spacing) -> Mask:
    """Voxels whose distance to the outside of the mask, and of the image, is more than a depth."""
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm))
    return distance[1:-1, 1:-1, 1:-1] > depth_mm


def _local_statistics(
    array: npt.NDArray[np.float64], spacing_mm: Spacing, diameter_mm: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean, and SD over mean, in the sphere around each voxel."""
    kernel = sphere_kernel(spacing_mm, diameter_mm=diameter_mm)
    kernel = kernel / kernel.sum()
    scale = float(np.abs(array).max()) or 1.0
    scaled = array / scale
    mean = np.asarray(signal.oaconvolve(scaled, kernel, mode="same"))
    square = np.asarray(signal.oaconvolve(scaled**2, kernel, mode="same"))
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    cov = np.divide(deviation, mean, out=np.full_like(mean, math.inf), where=mean > 1e-6)
    return mean * scale, cov
