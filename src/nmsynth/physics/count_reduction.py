"""Fewer counts from a reconstructed PET image: only the noise that is missing is added."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.noise import poisson
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix
from nmsynth.physics.psf import FWHM_PER_SIGMA, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings, osem
from nmsynth.physics.scatter import randoms_of, scatter_of

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

SOFT_TISSUE_PER_CM = 0.096
"""Attenuation of soft tissue at 511 keV [1/cm], taken for all that lies inside the body contour."""
_PILOT_PLANES = 25
"""Planes around the homogeneous region in which the noise is calibrated."""


@dataclass(frozen=True, slots=True)
class NoiseOfSource:
    """Noise measured in a homogeneous region of the source."""

    cov: float
    """Relative standard deviation."""
    in_plane_correlation: float
    """Correlation of neighbours in plane, mean of both directions."""
    axial_correlation: float


def body_contour(image: FloatArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Filled outline of the body: above 3 % of the 99.5th percentile after 10 mm smoothing, holes filled by slice.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``, any unit.
    """
    sigma = [10.0 / FWHM_PER_SIGMA / s for s in spacing_mm]
    smooth = ndimage.gaussian_filter(image, sigma)
    level = float(np.percentile(smooth, 99.5)) if smooth.any() else 0.0
    mask = smooth > max(0.03 * level, 1e-20)
    mask = ndimage.binary_opening(mask, iterations=1)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def measure_noise(image: FloatArray, region: BoolArray) -> NoiseOfSource:
    """Relative noise and correlation of neighbours in a homogeneous region, trend removed.

    Parameters
    ----------
    image, region
        Image and mask of the region, shape ``(z, y, x)``.
    """
    places = np.argwhere(region)
    if len(places) < 30:
        raise InputError(
            f"Noise is measured in a homogeneous region of at least 30 voxels; found {len(places)}. "
            "Give a larger region."
        )
    design = np.concatenate([np.ones((len(places), 1)), places - places.mean(0)], axis=1)
    values = image[region].astype(np.float64)
    trend, *_ = np.linalg.lstsq(design, values, rcond=None)
    residual = np.zeros(image.shape)
    residual[region] = values - design @ trend
    variance = float((residual[region] ** 2).sum() / max(1, len(places) - 4))

    def correlation(axis: int) -> float:
        """Correlation at lag one along an axis."""
        n = image.shape[axis]
        a, b = residual.take(range(n - 1), axis), residual.take(range(1, n), axis)
        both = region.take(range(n - 1), axis) & region.take(range(1, n), axis)
        return float((a * b)[both].mean() / variance) if both.any() and variance > 0 else 0.0

    return NoiseOfSource(
        cov=float(np.sqrt(variance) / abs(values.mean())) if values.mean() else 0.0,
        in_plane_correlation=(correlation(1) + correlation(2)) / 2,
        axial_correlation=correlation(0),
    )


def _square(image: torch.Tensor, n: int) -> torch.Tensor:
    """Pad ``(y, x, plane)`` with zeros to a square of ``n``."""
    pad_y, pad_x = n - image.shape[0], n - image.shape[1]
    return torch.nn.functional.pad(image, (0, 0, pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))


class CountReducer:
    """Adds to an image the noise that separates its counts from fewer.

    The image is taken as the mean of a scan, projected with attenuation from its own contour, scatter and randoms, and
    reconstructed twice, from Poisson counts and from their expectation; the difference is noise of the right texture.
    A scan at fraction ``f`` has the variance ``v / f``, of which the source already holds ``v``: noise of variance
    ``v (1 / f - 1)``, that is of the fraction ``f / (1 - f)``, is added. The source is not blurred again.

    Counts of the source are not in an image; they are found so that the noise made at fraction 1 has the relative
    standard deviation measured in ``region``, and the post-filter and mixing so that its neighbours correlate as there.

    Parameters
    ----------
    image
        Shape ``(z, y, x)`` [Bq/mL or SUV]; negative values count as zero activity.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm]; square in plane.
    region
        Homogeneous region, such as the liver.

    Notes
    -----
    The source's own noise stays in it: the result is a scan *of the source*, which is a noisy reference and no truth.
    """

    def __init__(self, image: FloatArray, spacing_mm: tuple[float, float, float], region: BoolArray) -> None:
        if abs(spacing_mm[1] - spacing_mm[2]) > 1e-3 * spacing_mm[1]:
            raise InputError(
                f"Counts are reduced on square pixels; found {spacing_mm[1]:.3f} x {spacing_mm[2]:.3f} mm. "
                "Resample the series to square pixels first."
            )
        self.image = image
        self.spacing_mm = spacing_mm
        self.noise = measure_noise(image, region)
        n = max(image.shape[1:])
        n += n % 2
        self._geometry = SinogramGeometry(n_views=max(64, min(n, 192)), n_bins=n, bin_mm=spacing_mm[1])
        contour = body_contour(image, spacing_mm)
        self.body_contour = contour
        self._n = n
        self.settings = OsemSettings(
            n_pixels=n,
            pixel_mm=spacing_mm[1],
            plane_mm=spacing_mm[0],
            n_iterations=2,
            n_subsets=16,
            filter_fwhm_mm=5.0,
            axial_filter_fwhm_mm=0.0,
        )
        self.mixing = PlaneMixing(PlaneMixing.fraction_for_correlation(max(0.0, self.noise.axial_correlation)))
        projector = SliceProjector(
            n, spacing_mm[1], self._geometry, matrix=scaled_matrix(n, spacing_mm[1], self._geometry)
        )
        mu_map = _square(self._planes_last(contour.astype(np.float32) * SOFT_TISSUE_PER_CM), n)
        self._projector = projector
        self._survival = attenuation_factors(mu_map, projector)
        self._lines = self._project(image)
        total = float(self._lines.sum())
        if total <= 0:
            raise InputError("Counts can only be reduced where there is activity; the image has none above 0.")
        self._counts_per_line = 1e5 * image.shape[0] / total  # 1e5 trues a plane, before calibration
        self.counts_scale = 1.0
        self._calibrate(region)

    def _project(self, image: FloatArray) -> torch.Tensor:
        """Attenuated line integrals of an image, shape ``(view, bin, plane)``."""
        square = _square(self._planes_last(np.maximum(image, 0)), self._n)
        return self._projector.forward(square) * self._survival

    def with_image(self, image: FloatArray) -> CountReducer:
        """The same calibration for another image of the same patient, such as one with inserted lesions."""
        other = copy.copy(self)
        other.image = image
        other._lines = self._project(image)
        return other

    @staticmethod
    def _planes_last(image: FloatArray) -> torch.Tensor:
        """``(z, y, x) -> (y, x, z)``."""
        return torch.from_numpy(np.ascontiguousarray(image.transpose(1, 2, 0)))

    def _calibrate(self, region: BoolArray) -> None:
        """Find the post-filter and the counts that reproduce the source's noise around the region."""
        generator = torch.Generator().manual_seed(0)
        centre = round(float(np.argwhere(region)[:, 0].mean()))
        half = _PILOT_PLANES // 2
        planes = slice(max(0, centre - half), min(self.image.shape[0], centre + half + 1))
        local = region[planes]
        mean = ndimage.uniform_filter(np.maximum(self.image[planes], 0), 3)
        widths = np.array([0.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0]) * max(1.0, self.spacing_mm[1] / 4)
        correlations = []
        for width in widths:
            self.settings = replace(self.settings, filter_fwhm_mm=float(width))
            noise = self._noise(planes, 1.0, generator)
            correlations.append(measure_noise(noise + mean.mean(), local).in_plane_correlation)
        order = np.argsort(correlations)
        width = float(np.interp(self.noise.in_plane_correlation, np.array(correlations)[order], widths[order]))
        self.settings = replace(self.settings, filter_fwhm_mm=width)
        level = abs(float(self.image[region].mean()))
        for _ in range(3):
            draws = [self._noise(planes, 1.0, generator)[local] for _ in range(4)]
            cov = float(np.sqrt(np.mean([np.var(d) for d in draws]))) / level
            if cov <= 0 or self.noise.cov <= 0:
                break
            self.counts_scale *= (cov / self.noise.cov) ** 2

    def _noise(self, planes: slice, fraction: float, generator: torch.Generator) -> FloatArray:
        """Noise of a scan at a fraction of the counts, shape ``(z, y, x)``, unit of the image."""
        lines, survival = self._lines[..., planes].contiguous(), self._survival[..., planes].contiguous()
        per_line = self._counts_per_line * self.counts_scale * fraction
        trues = lines * per_line
        scatters = scatter_of(
            trues,
            fraction=0.33,
            width_mm=220.0,
            axial_width_mm=80.0,
            bin_mm=self.spacing_mm[1],
            plane_mm=self.spacing_mm[0],
        )
        background = scatters + randoms_of(trues, fraction=0.25, bin_mm=self.spacing_mm[1])
        expected = trues + background
        counts = poisson(expected, generator)
        pair = torch.cat([self.mixing.forward(counts), self.mixing.forward(expected)], -1)
        mixed = self.mixing.forward(background)
        image = osem(
            pair, torch.cat([mixed, mixed], -1), torch.cat([survival * per_line] * 2, -1), self._geometry, self.settings
        )
        n_planes = lines.shape[-1]
        difference = (image[..., :n_planes] - image[..., n_planes:]).permute(2, 0, 1).numpy()
        top, left = (self._n - self.image.shape[1]) // 2, (self._n - self.image.shape[2]) // 2
        return difference[:, top : top + self.image.shape[1], left : left + self.image.shape[2]]

    def reduce(self, fraction: float, generator: torch.Generator) -> FloatArray:
        """The image as it would look at a fraction of its counts.

        Parameters
        ----------
        fraction
            Counts of the result over those of the source, above 0 and at most 1; at 1 the source is returned.
        generator
            Source of the noise.

        Returns
        -------
            Shape and unit of the image. Voxels inside the field keep the source's mean; where noise would make a voxel
            that was not negative negative, it is 0, as in any reconstruction by expectation maximisation.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"A count fraction must lie above 0 and at most at 1; found {fraction}.")
        if fraction == 1:
            return self.image.copy()
        noise = self._noise(slice(0, self.image.shape[0]), fraction / (1 - fraction), generator)
        reduced = self.image + noise
        return np.where(reduced < 0, np.minimum(self.image, 0), reduced).astype(np.float32)
