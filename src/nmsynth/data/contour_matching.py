"""A smooth displacement that lays one contour of a body over another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.data.body_contours import Image
from nmsynth.metrics.regions import FWHM_PER_SIGMA

FloatArray = npt.NDArray[np.float64]

STEP = 0.5
"""Of the distance that is left, by which contours are moved in one iteration."""


def match_contours(
    fixed: Image,
    moving: Image,
    *,
    spacing_mm: tuple[float, float, float],
    reach_mm: float,
    smoothness_mm: float,
    iterations: int,
    largest_mm: float,
    free: Image,
) -> FloatArray:
    """Displacement that makes two maps of signed distances equal near their contours.

    Demons [Thirion1998]_ on distances: at each iteration a voxel near a contour moves along the gradient of the fixed
    map by half of the difference that is left, and the whole field is smoothed. Contours so move along their normals,
    what lies between follows smoothly, and nothing turns or slides without need.

    Parameters
    ----------
    fixed, moving
        Signed distances on one grid, shape ``(z, y, x)``, positive inside [mm].
    spacing_mm
        Of the grid [mm].
    reach_mm
        Voxels further from both contours than this give no force, and no difference counts for more [mm].
    smoothness_mm
        FWHM of the Gaussian that smooths the field at each iteration [mm].
    iterations
        Number of them.
    largest_mm
        Most that a voxel moves along an axis [mm].
    free
        Share of the displacement that a voxel may have, 0 to 1, shape ``(z, y, x)``.

    Returns
    -------
        Shape ``(3, z, y, x)`` [mm along the axes of the grid]: the fixed voxel ``x`` shows what is at ``x + u(x)``.

    References
    ----------
    .. [Thirion1998] J.-P. Thirion, Medical Image Analysis 2(3):243-260, 1998.
    """
    voxel_mm = np.asarray(spacing_mm, dtype=np.float32)[:, None, None, None]
    sigma = [smoothness_mm / FWHM_PER_SIGMA / s for s in spacing_mm]
    index = np.indices(fixed.shape, dtype=np.float32)
    target = np.clip(fixed, -reach_mm, reach_mm)
    source = np.clip(moving, -reach_mm, reach_mm)
    slope = np.stack([np.gradient(target, size, axis=axis) for axis, size in enumerate(spacing_mm)])
    # the gradient of a distance is 1: a smaller one is where maps meet, and says nothing
    slope /= np.maximum((slope**2).sum(axis=0), 0.25)
    field = np.zeros_like(index)
    for _ in range(iterations):
        here = ndimage.map_coordinates(source, index + field / voxel_mm, order=1, mode="nearest")
        left = np.where((np.abs(here) < reach_mm) | (np.abs(target) < reach_mm), target - here, 0.0)
        field += STEP * left * slope
        np.clip(field, -largest_mm, largest_mm, out=field)
        field = np.stack([ndimage.gaussian_filter(part, sigma, mode="nearest", truncate=3.0) for part in field]) * free
    return np.asarray(field, dtype=np.float64)
