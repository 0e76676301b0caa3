"""Planar scintigraphy: anterior and posterior views, and activity from both."""

from __future__ import annotations

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.spect import SpectOrbit


def conjugate_orbit(anterior_mm: float, posterior_mm: float) -> SpectOrbit:
    """Two opposite views, the first from the front.

    Parameters
    ----------
    anterior_mm, posterior_mm
        From the middle of the slices to the face of each collimator [mm].
    """
    return SpectOrbit(2, arc_deg=360.0, radius_mm=(anterior_mm, posterior_mm))


def planar_views(projections: torch.Tensor) -> torch.Tensor:
    """Projections as they are looked at, ``(view, bin, plane) -> (view, y, x)`` with the head (last plane) on top.

    The posterior view is seen from behind, so left and right change sides between the two, as on a camera.
    """
    if projections.ndim != 3:
        raise InputError(f"Projections must have axes (view, bin, plane); found shape {tuple(projections.shape)}.")
    return projections.flip(2).transpose(1, 2).contiguous()  # (view, bin, plane) -> (view, y, x)


def conjugate_view_activity(
    anterior: torch.Tensor, posterior: torch.Tensor, transmission: torch.Tensor, *, counts_per_bq: float
) -> torch.Tensor:
    """Activity along each line by the geometric mean of opposite views [Siegel1999]_.

    ``A = sqrt(I_A I_P / T) / S`` with the transmission ``T = exp(-integral of mu)`` through the body. Exact for a point
    source at any depth, without scatter and background; an extended source of thickness ``l`` is overrated by
    ``sinh(mu l / 2) / (mu l / 2)``.

    Parameters
    ----------
    anterior, posterior
        Counts, shape ``(y, x)``, the posterior view mirrored to the anterior's sides.
    transmission
        Share of photons that pass the whole body, same shape.
    counts_per_bq
        Counts for each becquerel in air.

    Returns
    -------
        [Bq], shape ``(y, x)``.

    Raises
    ------
    InputError
        If shapes differ, counts are negative or NaN, or the transmission lies outside 0 to 1.

    References
    ----------
    .. [Siegel1999] J. A. Siegel et al., MIRD pamphlet no. 16, J Nucl Med 40:37S-61S, 1999.
    """
    if not anterior.shape == posterior.shape == transmission.shape:
        raise InputError(
            "Both views and the transmission must have the same shape; found "
            f"{tuple(anterior.shape)}, {tuple(posterior.shape)} and {tuple(transmission.shape)}."
        )
    if not (bool((anterior >= 0).all()) and bool((posterior >= 0).all())):
        raise InputError(
            "Counts must not be negative; found NaN or values below 0. Do not subtract scatter beforehand."
        )
    if not (bool((transmission > 0).all()) and bool((transmission <= 1).all()) and counts_per_bq > 0):
        raise InputError("The transmission must lie above 0 and at most at 1, and the sensitivity above 0.")
    return (anterior * posterior / transmission).sqrt() / counts_per_bq
