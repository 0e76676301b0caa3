"""Counting statistics."""

from __future__ import annotations

import torch

from nmsynth.core.errors import InputError


def poisson(expected_counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw Poisson counts, same shape, float32.

    Raises
    ------
    InputError
        If an expectation is negative or not finite.
    """
    if not bool(torch.isfinite(expected_counts).all()) or bool((expected_counts < 0).any()):
        raise InputError(
            "Expected counts must be finite and not negative; found NaN, infinity or a negative value. "
            "Check the activity and the attenuation map."
        )
    return torch.poisson(expected_counts.to(torch.float32), generator=generator)


def thin(counts: torch.Tensor, fraction: float, generator: torch.Generator) -> torch.Tensor:
    """Keep each count with probability ``fraction``: binomial thinning, exact for integer counts.

    Thinned Poisson counts are Poisson with ``fraction`` of the expectation, independent of those removed.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"A count fraction must lie above 0 and at most at 1; found {fraction}.")
    probability = torch.full_like(counts, fraction)
    return torch.binomial(counts, probability, generator=generator)
