"""Gaussian point spread, in plane and along the axis."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nmsynth.physics.operator import LinearOperator

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""


def gaussian_kernel(fwhm_mm: float, spacing_mm: float) -> torch.Tensor:
    """Normalised symmetric kernel: the Gaussian integrated over each sample's width.

    Returns
    -------
        Shape ``(2 r + 1,)``, sum one; ``(1,)`` for a width of zero.
    """
    sigma = fwhm_mm / FWHM_PER_SIGMA / spacing_mm
    if sigma < 0.05:
        return torch.ones(1)
    radius = max(1, math.ceil(3.5 * sigma))
    edges = torch.arange(-radius - 0.5, radius + 1.0, dtype=torch.float64)
    kernel = torch.erf(edges / (math.sqrt(2) * sigma)).diff()
    return (kernel / kernel.sum()).to(torch.float32)


def _convolve_axis(x: torch.Tensor, kernel: torch.Tensor, axis: int) -> torch.Tensor:
    """Convolve one axis with zeros outside, by shifted sums (fast for short kernels)."""
    n = x.shape[axis]
    radius = kernel.numel() // 2
    if radius == 0:
        return x * float(kernel[0])
    moved = x.movedim(axis, -1)
    shape = moved.shape
    rows = moved.reshape(1, -1, n) if radius > 24 else None
    if rows is not None:
        filtered = F.conv1d(rows.transpose(0, 1), kernel.to(x).view(1, 1, -1), padding=radius)
        return filtered.reshape(shape).movedim(-1, axis)
    out = x * float(kernel[radius])
    for step in range(1, min(radius, n - 1) + 1):
        weight = float(kernel[radius + step])
        out.narrow(axis, step, n - step).add_(x.narrow(axis, 0, n - step), alpha=weight)
        out.narrow(axis, 0, n - step).add_(x.narrow(axis, step, n - step), alpha=weight)
    return out


class GaussianBlur(LinearOperator):
    """Convolution with a separable Gaussian, zeros outside; self-adjoint.

    Parameters
    ----------
    fwhm_mm, spacing_mm
        Full width at half maximum and sample spacing [mm] for each axis of the argument; a width of zero leaves
        the axis as it is.
    """

    def __init__(self, fwhm_mm: tuple[float, ...], spacing_mm: tuple[float, ...]) -> None:
        self.fwhm_mm = fwhm_mm
        self._kernels = [gaussian_kernel(f, s) for f, s in zip(fwhm_mm, spacing_mm, strict=True)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Blur; same shape as the argument."""
        for axis, kernel in enumerate(self._kernels):
            if kernel.numel() > 1:
                x = _convolve_axis(x, kernel, axis)
        return x

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Blur: the kernel is symmetric."""
        return self.forward(y)


class PlaneMixing(LinearOperator):
    """Mixing of counts between neighbouring planes, the last axis; self-adjoint up to the end planes.

    Rebinning of oblique coincidences and axial filters spread each count over planes, which correlates the noise of
    neighbours. Kernel ``(a, 1 - 2 a, a)``: the correlation of neighbours is
    ``2 a (1 - 2 a) / ((1 - 2 a)**2 + 2 a**2)``. Counts that leave the stack are kept in the end plane.
    """

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix; same shape, same sum."""
        a = self.fraction
        if a == 0 or x.shape[-1] == 1:
            return x
        out = x * (1 - 2 * a)
        out[..., 1:].add_(x[..., :-1], alpha=a)
        out[..., :-1].add_(x[..., 1:], alpha=a)
        out[..., 0].add_(x[..., 0], alpha=a)
        out[..., -1].add_(x[..., -1], alpha=a)
        return out

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Mix: the matrix is symmetric."""
        return self.forward(y)

    @staticmethod
    def fraction_for_correlation(correlation: float) -> float:
        """The fraction ``a`` whose neighbours correlate by ``correlation`` (0 to 2/3), by bisection."""
        low, high = 0.0, 0.25
        for _ in range(40):
            a = (low + high) / 2
            centre = 1 - 2 * a
            if 2 * a * centre / (centre**2 + 2 * a**2) < correlation:
                low = a
            else:
                high = a
        return (low + high) / 2
