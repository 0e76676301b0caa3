"""Whether a training had come to rest when it ended: only then is its result a method's, and not its schedule's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_GAIN = 0.02
"""Relative improvement of the best score over the last third of the steps below which a training has converged."""
LEAST_POINTS = 6
"""Validations below which nothing is said."""


def converged(
    curve: Sequence[Mapping[str, Any]], *, least_gain: float = LEAST_GAIN, least_points: int = LEAST_POINTS
) -> tuple[bool, str]:
    """Judge a validation curve.

    Converged is a training whose best score improved by less than 2 % over the last third of its steps. A falling
    learning rate brings any training to rest, so this says that longer training *by this schedule* gives little; it
    does not say that a longer schedule would not.

    Parameters
    ----------
    curve
        Points of ``curve.json`` with ``step`` and ``score``; smaller scores are better.
    least_gain
        Relative improvement that still counts.
    least_points
        Validations that are needed to judge.

    Returns
    -------
        Whether it converged, and why in a sentence.

    Examples
    --------
    >>> flat = [{"step": s, "score": 1.0 / min(s, 4)} for s in range(1, 10)]
    >>> converged(flat)
    (True, 'best score 0.25, improved by 0.0 % over the last third of 9 steps')
    """
    points = sorted(curve, key=lambda p: p["step"])
    if len(points) < least_points:
        return False, f"{len(points)} validations are too few to judge; {least_points} are needed"
    scores = [float(p["score"]) for p in points]
    if not all(math.isfinite(s) for s in scores):
        return False, "a validation score is not finite"
    last = points[-1]["step"]
    early = [s for p, s in zip(points, scores, strict=True) if p["step"] <= last * 2 / 3]
    if not early or len(early) == len(scores):
        return False, "no validation lies before, or none in, the last third of the steps"
    before, best = min(early), min(scores)
    gain = (before - best) / abs(before) if before else 0.0
    why = f"best score {best:.4g}, improved by {100 * gain:.1f} % over the last third of {last} steps"
    return gain < least_gain, why
