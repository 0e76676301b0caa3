"""Which sides of a translation a case shows: source and target, or one of them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmsynth.data.manifest import ManifestRow

PAIR, SOURCE, TARGET = SIDES = ("pair", "source", "target")
"""A source and its target; a source alone; a target alone."""


def side_of(rows: Iterable[ManifestRow]) -> str:
    """Side of a case by its rows; empty where it has neither a source nor a target."""
    roles = {row.role for row in rows}
    if {SOURCE, TARGET} <= roles:
        return PAIR
    return SOURCE if SOURCE in roles else TARGET if TARGET in roles else ""


def count_sides(cases: Mapping[str, Iterable[ManifestRow]]) -> dict[str, int]:
    """How many cases are of each side."""
    found = Counter(side_of(rows) for rows in cases.values())
    return {side: found[side] for side in SIDES}


def sides_in_words(counts: Mapping[str, int]) -> str:
    """How many cases are of each side, as people say it.

    Examples
    --------
    >>> sides_in_words({"pair": 2, "source": 1, "target": 0})
    '2 pairs, 1 source alone and 0 targets alone'
    """
    pairs, sources, targets = (f"{counts[s]} {s}{'' if counts[s] == 1 else 's'}" for s in SIDES)
    return f"{pairs}, {sources} alone and {targets} alone"
