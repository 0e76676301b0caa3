"""How a long computation says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, from 0 to 1. What is being done may end in details
after a comma, such as the time that is left."""


def silent(stage: str, fraction: float) -> None:
    """Listen to no progress: the default of every function that takes one."""
    del stage, fraction


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """Progress of a part, told to the whole as a share from ``start`` to ``stop``.

    Examples
    --------
    >>> told = []
    >>> half = part_of(lambda stage, fraction: told.append((stage, fraction)), 0.5, 1.0)
    >>> half("reading", 0.5)
    >>> told
    [('reading', 0.75)]
    """

    def told(stage: str, fraction: float) -> None:
        progress(stage, start + (stop - start) * fraction)

    return told
