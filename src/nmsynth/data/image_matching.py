"""A smooth displacement that lays one image over another of the same kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import Image, Mask
from nmsynth.data.itk_images import displacement_transform, sitk, to_itk
from nmsynth.metrics.regions import FWHM_PER_SIGMA

LEVELS_MM = (4.0, 0.0)
"""FWHM by which both images are smoothed, first and last [mm]."""
PERCENTILES = (1.0, 99.0)
"""Of the fixed image, beyond which values of both count as these: a few bright voxels must not rule."""


def match_images(
    fixed: Image, moving: Image, seen: Mask, grid: Volume, *, smoothness_mm: float, iterations: int
) -> Any:
    """Displacement that makes two images of one kind equal where both are seen.

    Diffeomorphic demons [Vercauteren2009]_, which do not fold space, first on smoothed images. Where nothing is seen,
    the moving image is taken to be the fixed one, so that nothing pulls.

    Parameters
    ----------
    fixed, moving
        On one grid, in one unit, shape ``(z, y, x)``.
    seen
        Where both have values.
    grid
        Volume on that grid.
    smoothness_mm
        FWHM of the Gaussian that smooths the displacement at each iteration [mm].
    iterations
        Number of them, at each level.

    Returns
    -------
        A transform of SimpleITK, from fixed to moving points.

    References
    ----------
    .. [Vercauteren2009] T. Vercauteren et al., NeuroImage 45(1 Suppl):S61-S72, 2009.
    """
    low, high = np.percentile(fixed[seen], PERCENTILES)
    target = np.clip(fixed, low, high)
    source = np.where(seen, np.clip(moving, low, high), target)
    sigma = [smoothness_mm / FWHM_PER_SIGMA / s for s in grid.spacing_mm[::-1]]
    field = None
    for level_mm in LEVELS_MM:
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfThreads(1)
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(sigma)
        images = [_smoothed(to_itk(grid, values), level_mm / FWHM_PER_SIGMA) for values in (target, source)]
        field = demons.Execute(*images) if field is None else demons.Execute(*images, field)
    return displacement_transform(np.asarray(sitk.GetArrayFromImage(field), dtype=np.float64), grid)


def _smoothed(image: Any, sigma_mm: float) -> Any:
    """An image of SimpleITK after a Gaussian."""
    return sitk.SmoothingRecursiveGaussian(image, sigma_mm) if sigma_mm else image
