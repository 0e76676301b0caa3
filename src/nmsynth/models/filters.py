"""Classical filters: identity, Gaussian, non-local means and wavelet shrinkage.

Each is a callable on an array and its voxel size, and homogeneous: twice the input gives twice the output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Spacing = tuple[float, float, float]
FloatImage = npt.NDArray[np.float32]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""
MAD_PER_SIGMA = 0.6745
"""Median absolute deviation of a normal distribution over its standard deviation."""


class Baseline(Protocol):
    """A filter with fixed parameters."""

    @property
    def name(self) -> str:
        """Name with parameters, as printed in tables."""
        ...

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:
        """Filter an image, shape ``(z, y, x)``, of voxel size ``(z, y, x)`` [mm]; same shape and unit."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The input as it is."""

    @property
    def name(self) -> str:
        """Name as printed in tables."""
        return "identity"

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:  # noqa: ARG002
        """Return the image, shape ``(z, y, x)``."""
        return np.asarray(image, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian smoothing of one width in millimetres, in 3-D."""

    fwhm_mm: float = 6.0
    """Full width at half maximum [mm]; 0 changes nothing."""

    @property
    def name(self) -> str:
        """Name with the width, as printed in tables."""
        return f"Gaussian {self.fwhm_mm:.1f} mm"

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:
        """Smooth an image, shape ``(z, y, x)``; edges continue the nearest voxel."""
        array = np.asarray(image, dtype=np.float32)
        if self.fwhm_mm <= 0:
            return array
        sigma = [self.fwhm_mm / FWHM_PER_SIGMA / size for size in spacing_mm]
        return np.asarray(ndimage.gaussian_filter(array, sigma, mode="nearest"), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class NonLocalMeans:
    """Non-local means in 3-D, fast variant (integral images), with the noise measured in each image; 2-D of one slice.

    Distances between patches are compared with ``strength`` times the noise, a robust standard deviation of what a
    small Gaussian takes off inside the object. Patches are cubes of voxels, whatever the voxel size. Where noise grows
    with the signal, low values find more like them than high ones, and a few per cent of the activity are lost.

    References
    ----------
    A. Buades et al., CVPR 2005:60-65. J. Darbon et al., ISBI 2008:1331-1334.
    """

    strength: float = 1.0
    """Filter parameter h over the noise."""
    patch_size: int = 3
    """Width of a patch [voxels]."""
    patch_distance: int = 3
    """Largest distance of patches along each axis [voxels]."""

    @property
    def name(self) -> str:
        """Name with the strength, as printed in tables."""
        return f"non-local means {self.strength:.2f}"

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:
        """Filter an image, shape ``(z, y, x)``."""
        from skimage.restoration import denoise_nl_means

        array = np.asarray(image, dtype=np.float32)
        noise = noise_level(array, spacing_mm)
        if noise <= 0:
            return array
        filtered = denoise_nl_means(
            array[0] / np.float32(noise) if array.shape[0] == 1 else array / np.float32(noise),
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            h=self.strength,
            fast_mode=True,
        )
        return np.asarray(filtered * np.float32(noise), dtype=np.float32).reshape(array.shape)


@dataclass(frozen=True, slots=True)
class Wavelet:
    """Wavelet shrinkage in 3-D, 2-D of one slice: BayesShrink by sub-band, soft thresholds, averaged over shifts.

    The threshold of a band is ``strength`` noise^2 / signal, the noise measured by the median in each band because PET
    noise is correlated, and both measured inside the object only. The plain transform is not
    shift-invariant; averaging over ``n_shifts`` shifts (cycle spinning) makes up for most of it.

    References
    ----------
    S. G. Chang et al., IEEE Trans Image Process 9(9):1532-1546, 2000 (BayesShrink).
    R. R. Coifman, D. L. Donoho, Wavelets and Statistics, 1995 (cycle spinning).
    """

    strength: float = 1.0
    """Factor on the BayesShrink threshold."""
    wavelet: str = "db2"
    """Name in PyWavelets."""
    levels: int = 3
    """Most levels; fewer where the image is small."""
    n_shifts: int = 4
    """Shifts averaged, at most 8."""

    @property
    def name(self) -> str:
        """Name with the strength, as printed in tables."""
        return f"wavelet {self.strength:.2f}"

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:
        """Filter an image, shape ``(z, y, x)``."""
        array = np.asarray(image, dtype=np.float32)
        support = object_support(array, spacing_mm)
        if not support.any():
            return array
        shifts = [(0, 0, 0), (1, 1, 1), (0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 1)]
        total = np.zeros(array.shape, dtype=np.float64)
        chosen = shifts[: max(1, min(self.n_shifts, len(shifts)))]
        for shift in chosen:
            padding = [(step if n > 1 else 0, 0) for step, n in zip(shift, array.shape, strict=True)]
            inner = tuple(slice(before, None) for before, _ in padding)
            total += self._shrink(np.pad(array, padding, mode="edge"), np.pad(support, padding))[inner]
        return np.asarray(total / len(chosen), dtype=np.float32)

    def _shrink(self, array: FloatImage, support: npt.NDArray[np.bool_]) -> FloatImage:
        """Transform, shrink each detail band, transform back."""
        import pywt

        length = pywt.Wavelet(self.wavelet).dec_len
        axes = [axis for axis, n in enumerate(array.shape) if n > 1]
        levels = min([self.levels if axes else 0, *(pywt.dwt_max_level(array.shape[axis], length) for axis in axes)])
        if levels < 1:
            return array
        coefficients = pywt.wavedecn(array, self.wavelet, mode="symmetric", level=levels, axes=axes)
        for bands in coefficients[1:]:
            for key, band in bands.items():
                bands[key] = self._soft(band, _mad_in(band, support), support)
        restored = pywt.waverecn(coefficients, self.wavelet, mode="symmetric", axes=axes)
        return np.asarray(restored[tuple(slice(n) for n in array.shape)], dtype=np.float32)

    def _soft(self, band: FloatImage, noise: float, support: npt.NDArray[np.bool_]) -> FloatImage:
        """Soft threshold of a band by BayesShrink; a band without signal goes to zero."""
        inside = band[_resize(support, band.shape)]
        if noise <= 0 or not inside.size:
            return band
        signal = math.sqrt(max(float(np.mean(inside.astype(np.float64) ** 2)) - noise**2, 0.0))
        threshold = self.strength * noise**2 / signal if signal > 0 else math.inf
        if not math.isfinite(threshold):
            return np.zeros_like(band)
        return np.asarray(np.sign(band) * np.maximum(np.abs(band) - np.float32(threshold), 0), dtype=np.float32)


def object_support(image: npt.ArrayLike, spacing_mm: Spacing) -> npt.NDArray[np.bool_]:
    """Where the object is: above 0.2 of the mean of the voxels above the mean, after 8 mm smoothing.

    Returns
    -------
        Shape of the image; the same for an image scaled by a positive number; empty for a zero image.
    """
    array = Gaussian(8.0)(image, spacing_mm)
    above = array[array > array.mean(dtype=np.float64)]
    if not above.size:
        return np.zeros(array.shape, dtype=bool)
    return np.asarray(array > 0.2 * float(above.mean(dtype=np.float64)))


def noise_level(image: npt.ArrayLike, spacing_mm: Spacing) -> float:
    """Robust SD, inside the object, of what a Gaussian of one voxel's sigma takes off [unit of the image]."""
    array = np.asarray(image, dtype=np.float32)
    support = object_support(array, spacing_mm)
    return _mad_in(array - ndimage.gaussian_filter(array, 1.0, mode="nearest"), support)


def _mad_in(values: npt.ArrayLike, support: npt.NDArray[np.bool_]) -> float:
    """Estimate the standard deviation from the median absolute deviation inside the object; 0 where it is empty."""
    array = np.asarray(values)
    inside = array[_resize(support, array.shape)]
    return float(np.median(np.abs(inside))) / MAD_PER_SIGMA if inside.size else 0.0


def _resize(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Mask at the size of a sub-band, nearest voxel."""
    if mask.shape == tuple(shape):
        return mask
    index = [
        np.minimum((np.arange(n) + 0.5) * m / n, m - 1).astype(int) for n, m in zip(shape, mask.shape, strict=True)
    ]
    return np.asarray(mask[np.ix_(*index)])
