"""Time of flight: where along its line an annihilation happened, as far as the timing tells."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import scipy.sparse
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.operator import LinearOperator
from nmsynth.physics.projector import SinogramGeometry, system_matrix, to_torch
from nmsynth.physics.psf import FWHM_PER_SIGMA

LIGHT_MM_PER_PS = 0.299792458
"""Speed of light in vacuum [mm/ps]."""
_REACH_SIGMA = 3.0
"""Standard deviations beyond the field that the time bins cover: what is lost at its edge is 0.13 % at most."""
_VALUES_AT_ONCE = 2**24
"""Values of a weighted stack that are held at once, 64 MB in single precision."""


@dataclass(frozen=True, slots=True)
class TimeOfFlight:
    """Time bins along a line of response, centred on its middle.

    A difference of arrival times ``dt`` places the annihilation ``c dt / 2`` from the middle of the line, so a timing
    resolution of 500 ps is a Gaussian of 75 mm FWHM along it [Lewellen1998]_.

    References
    ----------
    .. [Lewellen1998] T. K. Lewellen, Time-of-flight PET, Semin Nucl Med 28:268-275, 1998.
    """

    timing_ps: float
    """Full width at half maximum of the coincidence timing [ps]."""
    n_bins: int
    bin_mm: float
    """Length of a bin along the line [mm]."""

    def __post_init__(self) -> None:
        sizes = (self.timing_ps, self.bin_mm)
        if self.n_bins < 1 or not all(math.isfinite(v) and v > 0 for v in sizes):
            raise InputError(
                "Time of flight needs a timing resolution above 0 ps and at least one bin of positive length; found "
                f"{self.timing_ps} ps, {self.n_bins} bins of {self.bin_mm} mm."
            )

    @classmethod
    def covering(cls, timing_ps: float, field_mm: float) -> TimeOfFlight:
        """Bins of half the kernel's width that cover a field of view and three standard deviations beyond its edge."""
        width = cls(timing_ps, 1, 1.0).fwhm_mm
        length = field_mm + 2 * _REACH_SIGMA * width / FWHM_PER_SIGMA
        return cls(timing_ps, math.ceil(length / (width / 2)), width / 2)

    @property
    def fwhm_mm(self) -> float:
        """Width of the kernel along the line, ``c timing / 2`` [mm]."""
        return LIGHT_MM_PER_PS * self.timing_ps / 2

    @property
    def offsets_mm(self) -> tuple[float, ...]:
        """Middle of each bin from the middle of the line [mm], rising along ``(-sin, cos)`` in ``(x, y)``."""
        return tuple((k - (self.n_bins - 1) / 2) * self.bin_mm for k in range(self.n_bins))

    def shares(self, along_mm: torch.Tensor) -> torch.Tensor:
        """Share of the events at a place along the line that falls into each bin.

        Parameters
        ----------
        along_mm
            From the middle of the line [mm], shape ``(pixel,)``.

        Returns
        -------
            Shape ``(pixel, time bin)``; the sum over bins is 1 less what falls beyond the first and the last.
        """
        sigma = self.fwhm_mm / FWHM_PER_SIGMA
        edges = (torch.arange(self.n_bins + 1, device=along_mm.device) - self.n_bins / 2) * self.bin_mm
        reached = torch.erf((edges.to(along_mm) - along_mm[:, None]) / (math.sqrt(2) * sigma))
        return reached.diff(dim=1) / 2


class TimeOfFlightProjector(LinearOperator):
    """Line integrals by time bin, ``(y, x, plane) -> (view, time bin, bin, plane)``.

    ``p(view, k, bin) = sum over pixels A(view, bin; pixel) w_k(u)`` with the chords ``A`` of the projector without
    timing and ``w_k`` the share of bin ``k`` at the place ``u`` of the pixel's middle along the line; the kernel is
    many pixels wide, so the pixel's own length does not matter. The adjoint uses the same numbers and is exact.

    Parameters
    ----------
    n_pixels, pixel_mm
        Side of the square slice in pixels, and of a pixel [mm].
    geometry
        Sampling of the sinogram.
    timing
        Kernel and bins.
    views
        Indices of the views to keep, for ordered subsets; all when ``None``.
    matrix
        :func:`system_matrix` of all views, where it is known already.
    """

    def __init__(
        self,
        n_pixels: int,
        pixel_mm: float,
        geometry: SinogramGeometry,
        timing: TimeOfFlight,
        views: tuple[int, ...] | None = None,
        *,
        matrix: scipy.sparse.csr_matrix | None = None,
    ) -> None:
        self.n_pixels = n_pixels
        self.pixel_mm = pixel_mm
        self.geometry = geometry
        self.timing = timing
        self.views = tuple(range(geometry.n_views)) if views is None else views
        full = system_matrix(n_pixels, pixel_mm, geometry) if matrix is None else matrix
        n = geometry.n_bins
        rows = [full[v * n : (v + 1) * n] for v in self.views]
        self._matrices = [to_torch(part) for part in rows]
        self._transposes = [to_torch(part.T.tocsr()) for part in rows]

    def _shares(self, index: int, like: torch.Tensor) -> torch.Tensor:
        """Share of each time bin at each pixel of a view, shape ``(pixel, time bin)``."""
        angle = math.pi * self.views[index] / self.geometry.n_views
        axis = (torch.arange(self.n_pixels, dtype=torch.float64) - (self.n_pixels - 1) / 2) * self.pixel_mm
        along = (axis[:, None] * math.cos(angle) - axis[None] * math.sin(angle)).reshape(-1)
        return self.timing.shares(along).to(like)

    def _chunks(self, n_planes: int) -> Iterator[slice]:
        """Planes that are weighted at once."""
        step = max(1, _VALUES_AT_ONCE // (self.n_pixels**2 * self.timing.n_bins))
        for first in range(0, n_planes, step):
            yield slice(first, min(first + step, n_planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape ``(view, time bin, bin, plane)`` [value mm], of ``x``, shape ``(y, x, plane)``."""
        if tuple(x.shape[:2]) != (self.n_pixels, self.n_pixels):
            raise InputError(f"The projector takes slices of {self.n_pixels} squared; found {tuple(x.shape[:2])}.")
        flat = x.reshape(self.n_pixels**2, -1)
        n_times, n_bins = self.timing.n_bins, self.geometry.n_bins
        out = x.new_empty(len(self.views), n_times, n_bins, flat.shape[1])
        for index, matrix in enumerate(self._matrices):
            shares = self._shares(index, x)
            for planes in self._chunks(flat.shape[1]):
                weighted = shares[:, :, None] * flat[:, None, planes]
                lines = matrix.to(x) @ weighted.reshape(self.n_pixels**2, -1)
                out[index, :, :, planes] = lines.reshape(n_bins, n_times, -1).transpose(0, 1)
        return out

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Back-projection, shape ``(y, x, plane)``, of ``y``, shape ``(view, time bin, bin, plane)``."""
        n_times, n_planes = self.timing.n_bins, y.shape[-1]
        image = y.new_zeros(self.n_pixels**2, n_planes)
        for index, transpose in enumerate(self._transposes):
            shares = self._shares(index, y)
            for planes in self._chunks(n_planes):
                lines = y[index, :, :, planes].transpose(0, 1)  # (time bin, bin, plane) -> (bin, time bin, plane)
                spread = transpose.to(y) @ lines.reshape(self.geometry.n_bins, -1)
                image[:, planes] += (spread.reshape(self.n_pixels**2, n_times, -1) * shares[:, :, None]).sum(1)
        return image.reshape(self.n_pixels, self.n_pixels, -1)


def spread_over_time(sinogram: torch.Tensor, trues: torch.Tensor) -> torch.Tensor:
    """Scatter by time bin: that of each view and plane is spread along its lines as the trues are.

    Scatter comes from inside the object and is as broad along a line as the object. Its own timing is not modelled.

    Parameters
    ----------
    sinogram
        Expected scatter over all times, shape ``(view, bin, plane)`` [counts].
    trues
        Expected attenuated trues, shape ``(view, time bin, bin, plane)`` [counts].

    Returns
    -------
        Shape ``(view, time bin, bin, plane)``; its sum over time bins is ``sinogram``.
    """
    profile = trues.sum(2, keepdim=True)
    total = profile.sum(1, keepdim=True)
    even = torch.full_like(profile, 1.0 / profile.shape[1])
    return torch.where(total > 0, profile / total.clamp_min(1e-30), even) * sinogram[:, None]


def even_over_time(sinogram: torch.Tensor, n_times: int) -> torch.Tensor:
    """Randoms by time bin: they come at any time, so each bin gets its equal share.

    Parameters
    ----------
    sinogram
        Expected randoms over all times, shape ``(view, bin, plane)`` [counts].
    """
    return (sinogram / n_times)[:, None].expand(-1, n_times, -1, -1)
