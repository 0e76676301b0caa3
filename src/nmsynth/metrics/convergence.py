"""Whether a training had come to its end, by its validation curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LAST_SHARE = 1.0 / 3.0
"""Share of the steps, the last ones, over which the score must hardly improve."""
LARGEST_IMPROVEMENT = 0.02
"""Of the best score, over that share, for a training to count as converged."""
LEAST_POINTS = 6
"""Validations below which nothing can be said."""


def late_improvement(points: Sequence[Mapping[str, Any]]) -> float | None:
    """By how much the best score fell over the last third of a training, relative to the best before it.

    Parameters
    ----------
    points
        Validation curve: ``step`` and ``score``, smaller is better.

    Returns
    -------
        0 where nothing improved; ``None`` for fewer than six validations, or none in one of the parts.

    Examples
    --------
    >>> late_improvement([{"step": s, "score": v} for s, v in enumerate((8, 6, 5, 4, 4, 3), 1)])
    0.25
    """
    if len(points) < LEAST_POINTS:
        return None
    steps = np.asarray([p["step"] for p in points], dtype=np.float64)
    scores = np.asarray([p["score"] for p in points], dtype=np.float64)
    early = steps <= steps.max() * (1.0 - LAST_SHARE) + 1e-9
    if not early.any() or early.all() or not np.isfinite(scores).all():
        return None
    before, after = float(scores[early].min()), float(scores.min())
    return (before - after) / abs(before) if before else 0.0


def converged(points: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the best score improved by less than 2 % over the last third of the steps; ``None`` if too few points."""
    improvement = late_improvement(points)
    return None if improvement is None else improvement < LARGEST_IMPROVEMENT
