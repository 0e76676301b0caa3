"""Reconstruction by plain or one-step-late MLEM with footprints of pixels, then a filter that is not Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ReconstructionSettings:
    """What is drawn for the reconstruction of one patient."""

    n_iterations: int
    footprint: str
    """``joseph`` or ``spline``: how a pixel falls on the detector."""
    prior_weight: float
    """Weight of the relative-difference prior in the sensitivity; 0 for plain MLEM."""
    filter_name: str
    """``hann``, ``butterworth`` or ``boxes``."""
    filter_width_mm: float
    """Width of the Gaussian whose transfer function halves at the same frequency [mm]."""
    axial_weight: float
    """Weight of each neighbouring plane in the axial filter."""
    scatter_error: float
    """Relative error of the scatter estimate."""
    randoms_error: float
    mu_shift_mm: tuple[float, float]
    """Shift of the attenuation map against the emission, ``(y, x)`` [mm]."""
    mu_scale: float


def draw_reconstruction(rng: np.random.Generator) -> ReconstructionSettings:
    """Draw a reconstruction and its small mismatches."""
    is_map = rng.uniform() < 0.35
    return ReconstructionSettings(
        n_iterations=int(rng.integers(45, 66)),
        footprint=str(rng.choice(["joseph", "spline"])),
        prior_weight=rng.uniform(0.1, 0.3) if is_map else 0.0,
        filter_name=str(rng.choice(["hann", "butterworth", "boxes"])),
        filter_width_mm=rng.uniform(3.5, 5.0) if is_map else rng.uniform(4.5, 6.5),
        axial_weight=rng.uniform(0.12, 0.25),
        scatter_error=rng.uniform(-0.15, 0.15),
        randoms_error=rng.uniform(-0.02, 0.02),
        mu_shift_mm=(rng.uniform(-3.0, 3.0), rng.uniform(-3.0, 3.0)),
        mu_scale=rng.uniform(0.98, 1.02),
    )


def system_matrix(
    support: npt.NDArray[np.bool_], *, n_views: int, bin_mm: float, footprint: str
) -> scipy.sparse.csr_matrix:
    """System matrix, rows ``view * n_bins + bin``, one column per pixel of the support [mm].

    ``joseph`` interpolates linearly along the rows or columns that a ray crosses [Joseph1982]_; ``spline`` spreads each
    pixel by a quadratic B-spline as wide as three bins, whatever the angle. A linear spread by one bin at any angle is
    not offered: near 45 degrees its sums differ from bin to bin by a tenth.

    References
    ----------
    .. [Joseph1982] P. M. Joseph, IEEE Trans Med Imaging 1(3):192-196, 1982.
    """
    n = support.shape[-1]
    y, x = (np.argwhere(support).T - (n - 1) / 2).astype(np.float64)
    rows, values = [], []
    for view in range(n_views):
        angle = np.pi * view / n_views
        place = x * np.cos(angle) + y * np.sin(angle) + (n - 1) / 2
        if footprint == "joseph":
            first = np.floor(place)
            beyond = place - first
            crossing = max(abs(np.cos(angle)), abs(np.sin(angle)))
            weights = [np.maximum(0, 1 - gap / crossing) / crossing for gap in (beyond, 1 - beyond)]
        else:
            first = np.rint(place) - 1
            beyond = place - first - 1
            weights = [0.5 * (0.5 - beyond) ** 2, 0.75 - beyond**2, 0.5 * (0.5 + beyond) ** 2]
        for step, weight in enumerate(weights):
            bins = first + step
            inside = (bins >= 0) & (bins < n)
            rows.append(view * n + np.clip(bins, 0, n - 1).astype(np.int64))
            values.append(np.where(inside, weight * bin_mm, 0.0))
    columns = np.tile(np.arange(x.size), len(rows))
    shape = (n_views * n, x.size)
    matrix = scipy.sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), columns)), shape=shape)
    return matrix.tocsr().astype(np.float32)


def _transfer(frequency: npt.NDArray[np.float64], name: str, width_mm: float) -> npt.NDArray[np.float64]:
    """Transfer function of a filter at radial frequencies [1/mm]; one half at ``0.441 / width_mm``."""
    half = 0.441 / width_mm
    if name == "hann":
        return np.where(frequency < 2 * half, 0.5 * (1 + np.cos(np.pi * np.minimum(frequency / (2 * half), 1))), 0.0)
    if name == "butterworth":
        return 1 / (1 + (frequency / half) ** 4)
    return np.sinc(0.3655 * frequency / half) ** 3


def smooth(image: FloatArray, settings: ReconstructionSettings, *, pixel_mm: float) -> FloatArray:
    """Filter in plane by FFT and along ``z`` by three taps; negative undershoot is set to zero."""
    fy, fx = np.fft.fftfreq(image.shape[1], pixel_mm), np.fft.rfftfreq(image.shape[2], pixel_mm)
    transfer = _transfer(np.hypot(fy[:, None], fx), settings.filter_name, settings.filter_width_mm)
    filtered = np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape[1:])
    taps = [settings.axial_weight, 1 - 2 * settings.axial_weight, settings.axial_weight]
    return np.maximum(ndimage.convolve1d(filtered, taps, axis=0, mode="nearest"), 0).astype(np.float32)


def _prior_slope(image: FloatArray, support: npt.NDArray[np.bool_]) -> FloatArray:
    """Relative difference of each pixel from the mean of its eight neighbours, in (-1, 1); ``(pixel, plane)``."""
    full = np.zeros((*support.shape, image.shape[1]), np.float32)
    full[support] = image
    total = ndimage.uniform_filter(full, (3, 3, 1)) * 9
    around = (total[support] - image) / 8
    return (image - around) / (image + around + 1e-3)


class Reconstructor:
    """Reconstruction of one patient's planes with one scanner's settings."""

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        mu_map: FloatArray,
        background: FloatArray,
        n_views: int,
        pixel_mm: float,
    ) -> None:
        """Build the matrix and the estimated corrections.

        Parameters
        ----------
        mu_map
            True linear attenuation on the grid of the reconstruction, shape ``(z, y, x)`` [1/cm].
        background
            Estimated scatter plus randoms per exposure, shape ``(z, view, bin)``.
        """
        self.settings, self.pixel_mm = settings, pixel_mm
        shift = (0.0, settings.mu_shift_mm[0] / pixel_mm, settings.mu_shift_mm[1] / pixel_mm)
        seen = ndimage.shift(mu_map, shift, order=1, mode="constant") * settings.mu_scale
        body = ndimage.binary_fill_holes((seen > 0.01).any(axis=0))
        n_around = round(30.0 / pixel_mm)
        self.support = ndimage.binary_dilation(body, iterations=n_around)
        self.matrix = system_matrix(self.support, n_views=n_views, bin_mm=pixel_mm, footprint=settings.footprint)
        self.adjoint = self.matrix.T.tocsr()
        # (z, pixel) -> (pixel, z): one column per plane
        self.attenuation = np.exp(-(self.matrix @ np.ascontiguousarray(seen[:, self.support].T)) / 10.0)
        self.background = np.ascontiguousarray(background.reshape(background.shape[0], -1).T)
        self.sensitivity = np.maximum(self.adjoint @ self.attenuation, 1e-3)

    def reconstruct(self, prompts: FloatArray, planes: slice | None = None) -> FloatArray:
        """Reconstruct prompts per exposure, shape ``(z, view, bin)`` of the chosen planes, to SUV ``(z, y, x)``."""
        counted = np.ascontiguousarray(prompts.reshape(prompts.shape[0], -1).T)
        planes = slice(None) if planes is None else planes
        attenuation, background = self.attenuation[:, planes], self.background[:, planes]
        sensitivity = self.sensitivity[:, planes]
        image = np.ones((self.matrix.shape[1], counted.shape[1]), np.float32)
        weight = np.float32(self.settings.prior_weight)
        for _ in range(self.settings.n_iterations):
            expected = self.matrix @ image
            expected *= attenuation
            expected += background
            expected += np.float32(1e-6)
            ratio = np.divide(counted, expected, out=expected)
            ratio *= attenuation
            normal = sensitivity
            if weight > 0:
                normal = sensitivity * (1 + weight * _prior_slope(image, self.support))
            image *= (self.adjoint @ ratio) / normal
        stack = np.zeros((counted.shape[1], *self.support.shape), np.float32)
        stack[:, self.support] = image.T
        return smooth(stack, self.settings, pixel_mm=self.pixel_mm)
