"""Fewer counts from a reconstructed PET image: only the noise that is missing is added."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.noise import poisson
from nmsynth.physics.noise_texture import Measure, NoiseTexture, measure_fine_noise, measure_noise
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix
from nmsynth.physics.psf import FWHM_PER_SIGMA, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings, osem, post_filter
from nmsynth.physics.scatter import randoms_of, scatter_of

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

SOFT_TISSUE_PER_CM = 0.096
"""Attenuation of soft tissue at 511 keV [1/cm], taken for all that lies inside the body contour."""
SCATTER_FRACTION, RANDOMS_FRACTION = 0.33, 0.25
"""Taken for every source, over trues plus themselves."""
_PILOT_PLANES = 41
"""Most planes around the homogeneous region in which the noise is calibrated."""
_PILOT_DRAWS = (2, 3, 7)
"""Scans drawn in each round of the calibration."""
_WIDEST_FILTER_MM, _MOST_MIXING = 20.0, 0.25
STRUCTURE_RATIO = 1.1
"""Standard deviation of a region over that of its fine noise extrapolated, above which it holds structure."""
_NEGATIVE_SHARE = 0.01
"""Share of negative voxels from which an image counts as one that a linear reconstruction made."""


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


def _square(image: torch.Tensor, n: int) -> torch.Tensor:
    """Pad ``(y, x, plane)`` with zeros to a square of ``n``."""
    pad_y, pad_x = n - image.shape[0], n - image.shape[1]
    return torch.nn.functional.pad(image, (0, 0, pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))


def _check_noise(noise: NoiseTexture) -> None:
    """Refuse a source whose noise cannot tell its counts."""
    if not 1e-5 < noise.cov < 1:
        raise InputError(
            "A source must show noise, with a relative standard deviation above 0 and below 1 in its homogeneous "
            f"region; found {noise.cov:.3g}. Give a measured series with a larger uniform organ."
        )


def _bisect(function: Callable[[float], float], wanted: float, high: float) -> float:
    """Where a growing function reaches a value, between 0 and ``high``; an end where it does not."""
    low = 0.0
    for _ in range(7):
        middle = (low + high) / 2
        if function(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class CountReducer:
    """Adds to an image the noise that separates its counts from fewer.

    The image is taken as the mean of a scan, projected with attenuation from its own contour, scatter and randoms, and
    reconstructed twice, from Poisson counts and from their expectation; the difference is noise of the right texture.
    A scan at fraction ``f`` has the variance ``v / f``, of which the source already holds ``v``: noise of variance
    ``v (1 / f - 1)``, that is of the fraction ``f / (1 - f)``, is added. The source is not blurred again, and as only
    a difference of two reconstructions is used, nothing is gained from data made on the reconstruction's own grid.

    Counts of the source are not in an image; they are found so that the noise made at fraction 1 has the relative
    standard deviation measured in ``region``, and the post-filter and mixing so that its neighbours correlate as there.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``, proportional to activity concentration. Negative values are kept: they enter the
        projection, whose expected counts are at least 0.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm]; square in plane.
    region
        Homogeneous region, such as the liver. A sphere of 3 cm holds some 25 independent voxels and leaves the
        variance uncertain by a quarter; some thousand voxels bring that to a few per cent.

    Attributes
    ----------
    noise, made
        Noise measured in the region of the source, and that which is made at fraction 1: they differ where the
        model cannot follow, or where the region is structured.
    structured
        Whether the region varies by more than its fine noise explains, as a brain does. Only its second differences,
        to which anatomy adds little, are then reproduced; else all of its variance is.

    Notes
    -----
    The source's own noise stays in it: the result is a scan *of the source*, which is a noisy reference and no truth.
    Elsewhere than in the region the noise follows from the activity and the contour alone; bed positions, lungs and
    arms above the head are not known.
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
        _check_noise(self.noise)
        _check_noise(measure_fine_noise(image, region))
        n = max(image.shape[1:])
        n += n % 2
        self._n = n
        self._geometry = SinogramGeometry(n_views=max(64, min(n, 192)), n_bins=n, bin_mm=spacing_mm[1])
        self.body_contour = body_contour(image, spacing_mm)
        self.settings = OsemSettings(
            n_pixels=n,
            pixel_mm=spacing_mm[1],
            plane_mm=spacing_mm[0],
            n_iterations=2,
            n_subsets=16,
            filter_fwhm_mm=5.0,
            axial_filter_fwhm_mm=0.0,
        )
        self.mixing = PlaneMixing(0.0)
        self._projector = SliceProjector(
            n, spacing_mm[1], self._geometry, matrix=scaled_matrix(n, spacing_mm[1], self._geometry)
        )
        mu_map = _square(self._planes_last(self.body_contour.astype(np.float32) * SOFT_TISSUE_PER_CM), n)
        self._survival = attenuation_factors(mu_map, self._projector)
        self._lines = self._project(image)
        total = float(self._lines.sum())
        if total <= 0:
            raise InputError("Counts can only be reduced where there is activity; the image has none above 0.")
        self._counts_per_line = 1e5 * image.shape[0] / total  # 1e5 trues a plane, before calibration
        self.counts_scale = 1.0
        self.made = self._calibrate(region, measure_fine_noise)
        self.structured = self.noise.cov > STRUCTURE_RATIO * self.made.cov
        if not self.structured:
            self.made = self._calibrate(region, measure_noise)

    def _project(self, image: FloatArray) -> torch.Tensor:
        """Attenuated line integrals of an image, at least 0, shape ``(view, bin, plane)``."""
        square = _square(self._planes_last(image), self._n)
        return self._projector.forward(square).clamp_min(0) * self._survival

    def with_image(self, image: FloatArray) -> CountReducer:
        """The same calibration for another image of the same patient, such as one with inserted lesions."""
        other = copy.copy(self)
        other.image = image
        other._lines = self._project(image)
        return other

    @staticmethod
    def _planes_last(image: FloatArray) -> torch.Tensor:
        """``(z, y, x) -> (y, x, z)``."""
        return torch.from_numpy(np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.float32))

    @property
    def prompts_per_plane(self) -> FloatArray:
        """Prompts that the source was found to hold, shape ``(plane,)``; an overlap of bed positions counts as one."""
        share = 1 + SCATTER_FRACTION / (1 - SCATTER_FRACTION) + RANDOMS_FRACTION / (1 - RANDOMS_FRACTION)
        trues = self._lines.sum((0, 1)) * (self._counts_per_line * self.counts_scale)
        return np.asarray((share * trues).numpy())

    def _calibrate(self, region: BoolArray, measure: Measure) -> NoiseTexture:
        """Find filters, mixing and counts that reproduce the noise in the region; return what is made with them."""
        generator = torch.Generator().manual_seed(0)
        centre = round(float(np.argwhere(region)[:, 0].mean()))
        half = _PILOT_PLANES // 2
        planes = slice(max(0, centre - half), min(self.image.shape[0], centre + half + 1))
        box = tuple(slice(max(0, int(i.min()) - 8), int(i.max()) + 9) for i in np.nonzero(region)[1:])
        window, level = (slice(None), *box), np.float32(self.image[region].mean())
        local, wanted = region[planes][window], measure(self.image, region)

        def texture(draws: torch.Tensor, measured: Measure) -> NoiseTexture:
            """Mean over draws of the noise in the region after the post-filter."""
            filtered = [self._cropped(post_filter(draw, self.settings))[window] for draw in draws]
            return NoiseTexture.mean_of([measured(noise + level, local) for noise in filtered])

        for n_draws in _PILOT_DRAWS:
            self.mixing = PlaneMixing(0.0)
            self.settings = replace(self.settings, axial_filter_fwhm_mm=0.0)
            draws = self._noise(planes, 1.0, generator, n_draws=n_draws)
            draws = self._match_texture(draws, wanted, lambda noise: texture(noise, measure))
            self.counts_scale *= (texture(draws, measure).cov / wanted.cov) ** 2
        return texture(self._noise(planes, 1.0, generator, n_draws=3), measure_noise)

    def _match_texture(
        self, draws: torch.Tensor, wanted: NoiseTexture, texture: Callable[[torch.Tensor], NoiseTexture]
    ) -> torch.Tensor:
        """Set mixing and filters so that neighbours correlate as wanted, and return the draws mixed.

        Planes are reconstructed one by one, so mixing images is mixing counts as far as noise is linear. Where the
        widest mixing is not enough, an axial filter is added.
        """
        few = draws[:2]

        def axial_of_mixing(share: float) -> float:
            """Correlation of neighbouring planes that a mixing gives."""
            return texture(PlaneMixing(share).forward(few)).axial_correlation

        self.mixing = PlaneMixing(_bisect(axial_of_mixing, wanted.axial_correlation, _MOST_MIXING))
        few = self.mixing.forward(few)

        def axial_of_filter(width_mm: float) -> float:
            """Correlation of neighbouring planes that an axial filter gives."""
            self.settings = replace(self.settings, axial_filter_fwhm_mm=width_mm)
            return texture(few).axial_correlation

        def in_plane_of_filter(width_mm: float) -> float:
            """Correlation of neighbours in plane that a filter gives."""
            self.settings = replace(self.settings, filter_fwhm_mm=width_mm)
            return texture(few).in_plane_correlation

        if self.mixing.fraction > 0.99 * _MOST_MIXING:
            axial = _bisect(axial_of_filter, wanted.axial_correlation, _WIDEST_FILTER_MM)
            self.settings = replace(self.settings, axial_filter_fwhm_mm=axial)
        width = _bisect(in_plane_of_filter, wanted.in_plane_correlation, _WIDEST_FILTER_MM)
        self.settings = replace(self.settings, filter_fwhm_mm=width)
        return self.mixing.forward(draws)

    def _cropped(self, square: torch.Tensor) -> FloatArray:
        """The image's part of a padded square, ``(y, x, plane) -> (z, y, x)``."""
        n_y, n_x = self.image.shape[1:]
        top, left = (self._n - n_y) // 2, (self._n - n_x) // 2
        return np.asarray(square.permute(2, 0, 1).numpy()[:, top : top + n_y, left : left + n_x])

    def _noise(self, planes: slice, fraction: float, generator: torch.Generator, *, n_draws: int = 1) -> torch.Tensor:
        """Noise of scans at a fraction of the counts before the post-filter, shape ``(draw, y, x, plane)``."""
        lines, survival = self._lines[..., planes].contiguous(), self._survival[..., planes].contiguous()
        per_line = self._counts_per_line * self.counts_scale * fraction
        trues = lines * per_line
        scatters = scatter_of(
            trues,
            fraction=SCATTER_FRACTION,
            width_mm=220.0,
            axial_width_mm=80.0,
            bin_mm=self.spacing_mm[1],
            plane_mm=self.spacing_mm[0],
        )
        background = scatters + randoms_of(trues, fraction=RANDOMS_FRACTION, bin_mm=self.spacing_mm[1])
        expected = trues + background
        scans = [expected, *(poisson(expected, generator) for _ in range(n_draws))]
        mixed = self.mixing.forward(background)
        images = osem(
            torch.cat([self.mixing.forward(scan) for scan in scans], -1),
            torch.cat([mixed] * len(scans), -1),
            torch.cat([survival * per_line] * len(scans), -1),
            self._geometry,
            self.settings,
            filtered=False,
        )
        stack = images.reshape(self._n, self._n, len(scans), -1).permute(2, 0, 1, 3)
        return stack[1:] - stack[:1]

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
            Shape and unit of the image. Where noise would make a voxel that was not negative negative, it is 0, as in
            any reconstruction by expectation maximisation; an image of which more than 1 % is negative was made
            otherwise, and its noise is added as it is.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"A count fraction must lie above 0 and at most at 1; found {fraction}.")
        if fraction == 1:
            return self.image.copy()
        draws = self._noise(slice(0, self.image.shape[0]), fraction / (1 - fraction), generator)
        reduced = self.image + self._cropped(post_filter(draws[0], self.settings))
        if np.mean(self.image < 0) > _NEGATIVE_SHARE:
            return reduced.astype(np.float32)
        return np.where(reduced < 0, np.minimum(self.image, 0), reduced).astype(np.float32)
