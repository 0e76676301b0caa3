"""How strong the noise of a region is, and how its neighbours correlate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NoiseTexture:
    """Noise measured in a homogeneous region."""

    cov: float
    """Relative standard deviation."""
    in_plane_correlation: float
    """Correlation of neighbours in plane, mean of both directions."""
    axial_correlation: float

    @classmethod
    def mean_of(cls, found: Sequence[NoiseTexture]) -> NoiseTexture:
        """Mean of several draws: of variances, and of correlations."""
        return cls(
            cov=float(np.sqrt(np.mean([noise.cov**2 for noise in found]))),
            in_plane_correlation=float(np.mean([noise.in_plane_correlation for noise in found])),
            axial_correlation=float(np.mean([noise.axial_correlation for noise in found])),
        )


Measure = Callable[[FloatArray, BoolArray], NoiseTexture]


def measure_noise(image: FloatArray, region: BoolArray) -> NoiseTexture:
    """Relative noise and correlation of neighbours in a homogeneous region, trend removed.

    Parameters
    ----------
    image, region
        Image and mask of the region, shape ``(z, y, x)``.
    """
    places = np.argwhere(region)
    _check_region(len(places))
    design = np.concatenate([np.ones((len(places), 1)), places - places.mean(0)], axis=1)
    values = image[region].astype(np.float64)
    trend, *_ = np.linalg.lstsq(design, values, rcond=None)
    residual = np.zeros(image.shape)
    residual[region] = values - design @ trend
    return _noise_of(residual, region, float(values.mean()), n_fitted=4)


def measure_fine_noise(image: FloatArray, region: BoolArray) -> NoiseTexture:
    """Noise and correlation of the second differences along every axis, ``(-1/2, 1, -1/2)``.

    Anatomy is smooth over three voxels where noise is not, so this holds in a brain, whose cortex would pass for noise
    in :func:`measure_noise`. What it measures can only be compared with itself.

    Parameters
    ----------
    image, region
        Image and mask of the region, shape ``(z, y, x)``.
    """
    _check_region(int(region.sum()))
    difference = image.astype(np.float64)
    for axis, n in enumerate(image.shape):
        if n >= 5:
            difference = ndimage.convolve1d(difference, [-0.5, 1.0, -0.5], axis=axis)
    return _noise_of(np.where(region, difference, 0.0), region, float(image[region].mean()), n_fitted=0)


def _check_region(n_voxels: int) -> None:
    """Refuse a region that is too small."""
    if n_voxels < 30:
        raise InputError(
            f"Noise is measured in a homogeneous region of at least 30 voxels; found {n_voxels}. Give a larger region."
        )


def _noise_of(residual: npt.NDArray[np.float64], region: BoolArray, mean: float, *, n_fitted: int) -> NoiseTexture:
    """Relative standard deviation and correlation at lag one of what is left in a region."""
    variance = float((residual[region] ** 2).sum() / max(1, int(region.sum()) - n_fitted))

    def correlation(axis: int) -> float:
        """Correlation at lag one along an axis."""
        n = residual.shape[axis]
        a, b = residual.take(range(n - 1), axis), residual.take(range(1, n), axis)
        both = region.take(range(n - 1), axis) & region.take(range(1, n), axis)
        return float((a * b)[both].mean() / variance) if both.any() and variance > 0 else 0.0

    return NoiseTexture(
        cov=float(np.sqrt(variance) / abs(mean)) if mean else 0.0,
        in_plane_correlation=(correlation(1) + correlation(2)) / 2,
        axial_correlation=correlation(0),
    )
