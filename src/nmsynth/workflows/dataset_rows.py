"""What a plan will refuse of a manifest, before any image is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.data.manifest import ManifestRow

LEARNED = ("source", "condition", "target")
"""Roles that a plan is made of."""


def check_rows(rows: Sequence[ManifestRow]) -> list[tuple[str, str]]:
    """Cases and what is wrong with the dataset: no source that all have, a slip among the numbers of a condition.

    Parameters
    ----------
    rows
        Of the whole manifest; those of test cases, which a plan does not see, are left out, and of cases without a
        source all but their target.
    """
    from nmsynth.data.plan_rules import condition_numbers

    with_source = {row.case for row in rows if row.role == "source"}
    seen = [row for row in rows if row.split != "test" and row.role in LEARNED and row.case in with_source]
    values: dict[str, list[tuple[str, str]]] = {}
    channels: dict[str, set[str]] = {}
    for row in seen:
        for name, value in row.facts.items():
            values.setdefault(name, []).append((value, row.case))
        if row.role != "target":
            channels.setdefault(row.channel, set()).add(row.case)
    found = []
    cases = {case for members in channels.values() for case in members}
    if channels and not any(members == cases for members in channels.values()):
        counts = ", ".join(f"{name} in {len(members)}" for name, members in channels.items())
        found.append(("", f"one source must be there in every case; of {len(cases)} cases found {counts}"))
    for name, stated in values.items():
        texts, of = [v for v, _ in stated], [case for _, case in stated]
        try:
            condition_numbers(name, texts, of)
        except InputError as error:
            found.append((next(case for case in of if f"case '{case}'" in str(error)), str(error)))
    return found
