"""Attenuation of coincidences along lines of response."""

from __future__ import annotations

import torch

from nmsynth.physics.projector import SliceProjector


def attenuation_factors(mu_map: torch.Tensor, projector: SliceProjector) -> torch.Tensor:
    """Survival probability of both photons on each line, ``exp(-integral of mu)``.

    Parameters
    ----------
    mu_map
        Linear attenuation coefficient at 511 keV [1/cm], shape ``(y, x, plane)``.
    projector
        Line integrals in mm of the same slices.

    Returns
    -------
        Shape ``(view, bin, plane)``, between 0 and 1.
    """
    return torch.exp(-projector.forward(mu_map) / 10.0)
