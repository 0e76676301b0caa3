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
    """Keep each count with probability ``fraction``: binomial thinning, exact for measured counts.

    Thinned Poisson counts are Poisson with ``fraction`` of the expectation, and independent of those removed
    (``counts`` less the result), against which an image of them may be scored.

    Raises
    ------
    InputError
        If the fraction lies outside 0 to 1, or a count is not a whole number from 0 on: a processed image has no counts
        to thin.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"A count fraction must lie above 0 and at most at 1; found {fraction}.")
    whole = bool(torch.isfinite(counts).all()) and bool((counts >= 0).all()) and bool((counts == counts.round()).all())
    if not whole:
        raise InputError(
            "Only measured counts, whole numbers from 0 on, can be thinned; found others. Give raw projections or "
            "planar counts, not a processed image."
        )
    given = counts.to(torch.float32)
    return torch.binomial(given, torch.full_like(given, fraction), generator=generator)
