"""Scatter in SPECT from the counts of two narrow windows on either side of the main one."""

from __future__ import annotations

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.gamma_camera import ExpectedGammaScan
from nmsynth.physics.noise import poisson
from nmsynth.physics.psf import GaussianBlur


def triple_window_scatter(
    scan: ExpectedGammaScan,
    generator: torch.Generator | None = None,
    *,
    count_fraction: float = 1.0,
    fwhm_mm: float = 15.0,
) -> torch.Tensor:
    """Scatter in the main window as departments estimate it, ``(C_l / w_l + C_u / w_u) w / 2`` [Ogawa1991]_.

    Parameters
    ----------
    generator
        Of the counts in the side windows; their expectation is taken when unset.
    count_fraction
        Time of the scan over that of the protocol.
    fwhm_mm
        Gaussian that smooths the estimate [mm].

    Returns
    -------
        Shape ``(view, bin, plane)`` [counts].

    References
    ----------
    .. [Ogawa1991] K. Ogawa et al., A practical method for position-dependent Compton-scatter correction in single
       photon emission CT, IEEE Trans Med Imaging 10:408-412, 1991.
    """
    if scan.side_counts is None:
        raise InputError("Scatter is estimated from windows on either side; the camera has none. Give their width.")
    total = (scan.side_counts[0] + scan.side_counts[1]) * count_fraction
    if generator is not None:
        total = poisson(total, generator)  # the sum of two Poisson counts of one weight is one
    return GaussianBlur((0.0, fwhm_mm, fwhm_mm), (1.0, scan.grid.pixel_mm, scan.grid.plane_mm)).forward(
        total * scan.side_weight
    )
