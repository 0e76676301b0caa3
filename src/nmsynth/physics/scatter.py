"""Smooth, object-dependent scatter, and randoms."""

from __future__ import annotations

import torch

from nmsynth.physics.psf import GaussianBlur


def scatter_of(
    trues: torch.Tensor, *, fraction: float, width_mm: float, axial_width_mm: float, bin_mm: float, plane_mm: float
) -> torch.Tensor:
    """Expected single scatter as a convolution of the attenuated trues with a broad kernel.

    The scattered sinogram is smooth, follows the object and has tails outside it; a Gaussian of some 200 mm
    along the bins, averaged over opposite neighbouring views, holds that much [Bailey1994]_. Energy and angle are not
    modelled.

    Parameters
    ----------
    trues
        Expected attenuated trues, shape ``(view, bin, plane)`` [counts].
    fraction
        Scatter over scatter plus trues in the whole sinogram.
    width_mm, axial_width_mm
        Full width at half maximum of the kernel along bins and planes [mm].

    References
    ----------
    .. [Bailey1994] D. L. Bailey, S. R. Meikle, Phys Med Biol 39:411-424, 1994.
    """
    n_views = trues.shape[0]
    stride = max(1, n_views // 16)
    kept = trues[: n_views // stride * stride].reshape(-1, stride, *trues.shape[1:]).mean(1)
    blur = GaussianBlur((0.0, width_mm, axial_width_mm), (1.0, bin_mm, plane_mm))
    smooth = blur.forward(kept)
    smooth = (smooth + torch.roll(smooth, 1, 0) + torch.roll(smooth, -1, 0)) / 3
    views = torch.arange(n_views) * smooth.shape[0] // n_views
    smooth = smooth[views]
    total = trues.sum()
    norm = smooth.sum()
    if not bool(norm > 0):
        return torch.zeros_like(trues)
    return smooth * (total / norm * fraction / (1 - fraction))


def randoms_of(trues: torch.Tensor, *, fraction: float, bin_mm: float) -> torch.Tensor:
    """Expected randoms: near uniform over a plane, somewhat higher through the object.

    Singles come from everywhere, so a plane's randoms are a constant and a broad bump, here 3 to 1; planes share a
    quarter of the mean of the stack.

    Parameters
    ----------
    trues
        Expected attenuated trues, shape ``(view, bin, plane)`` [counts].
    fraction
        Randoms over randoms plus trues in the whole sinogram.
    """
    profile = GaussianBlur((250.0, 0.0), (bin_mm, 1.0)).forward(trues.mean(0))
    profile = profile / profile.mean(0, keepdim=True).clamp_min(1e-30)
    per_plane = trues.mean((0, 1))
    level = 0.75 * per_plane + 0.25 * per_plane.mean()
    shape = (0.75 + 0.25 * profile) * level
    randoms = shape.expand(trues.shape).clone()
    total = randoms.sum()
    if not bool(total > 0):
        return torch.zeros_like(trues)
    return randoms * (trues.sum() / total * fraction / (1 - fraction))
