"""How the learning rate rises and falls over a training."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, *, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine from 1 to 0.01.

    Examples
    --------
    >>> [round(learning_rate_factor(s, steps=12, warmup=2), 3) for s in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.505, 0.01]
    """
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
