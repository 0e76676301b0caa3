"""The sentence that closes a report: what was found on this study, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nmsynth.report.tables import REFERENCE_NAMES, collect, shown_value

BEST_GAUSSIAN = "best Gaussian of the source"
"""Arm that a synthetic image is held against."""

SMALL_LESIONS = "lesions 10-18 mm"

Row = Mapping[str, Any]


def claim_sentence(
    metrics: Mapping[str, Mapping[str, Any]], *, main: str, subject: str, reference_kind: str
) -> str | None:
    """One sentence of numbers: error, recovery, false structures, each beside the source's and the best Gaussian's.

    Of a synthetic CT: its errors, the overlap of bone and the attenuation.

    Parameters
    ----------
    metrics
        As in :func:`nmsynth.report.html.write_report`.
    main
        Method in question.
    subject
        What was studied, such as ``"this one simulated patient at 1/20 of the counts"``.
    reference_kind
        ``T0``, ``T1`` or ``T2``.

    Returns
    -------
        ``None`` where the error was not measured.
    """
    rows = collect(metrics)
    error = _found(rows.get(main, ()), "NRMSE", "body")
    if error is None:
        return _of_ct(rows.get(main, ()), subject)
    parts = [_beside("NRMSE in the body was", rows, main, "NRMSE", "body")]
    where = SMALL_LESIONS if _found(rows[main], "recovery", SMALL_LESIONS) else "lesions"
    if _found(rows[main], "recovery", where):
        sizes = "lesions of 10–18 mm" if where == SMALL_LESIONS else "lesions"
        parts.append(_beside(f"the median contrast recovery of {sizes}", rows, main, "recovery", where))
    if _found(rows[main], "false structures", ""):
        parts.append(_beside("false structures per 100 slices", rows, main, "false structures", ""))
    against = REFERENCE_NAMES.get(reference_kind, reference_kind)
    return (
        f"On {subject}, against {against}, {_listed(parts)}; nothing is shown of other patients, scanners or tracers."
    )


def _listed(parts: Sequence[str]) -> str:
    """Parts of a sentence, one after the other."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _of_ct(rows: Sequence[Row], subject: str) -> str | None:
    """Sentence on a synthetic CT; ``None`` where its error was not measured."""
    error = _found(rows, "MAE", "body")
    if error is None:
        return None
    parts = [f"the mean absolute error in the body was {shown_value(error, error['value'])} HU"]
    for text, name, mask, unit in _OF_CT:
        row = _found(rows, name, mask)
        if row is not None:
            parts.append(f"{text} {shown_value(row, row['value'])}{unit}")
    return f"On {subject}, against the true CT, {_listed(parts)}; nothing is shown of other patients or scanners."


_OF_CT = (
    ("in bone", "MAE", "bone", " HU"),
    ("the overlap of dense bone", "bone Dice", "at least 300 HU", ""),
    ("the error of the attenuation at 511 keV", "attenuation bias", "body", ""),
)
"""Text, measurement, region and unit of what is said of a CT."""


def _found(rows: Sequence[Row], name: str, mask: str) -> Row | None:
    """First row of a name, against the reference, whose region is or begins with a name, and that has a value."""
    for row in rows:
        region = str(row.get("mask") or "")
        fits = region == mask if mask.startswith("lesions") else region.startswith(mask)
        if row.get("name") == name and fits and row.get("reference") != "source" and row.get("value") is not None:
            return row
    return None


def _beside(text: str, rows: Mapping[str, Sequence[Row]], main: str, name: str, mask: str) -> str:
    """A value with the source's and the best Gaussian's in brackets."""
    own = _found(rows[main], name, mask)
    others = [(title, _found(rows.get(arm, ()), name, mask)) for title, arm in _CONTROLS]
    shown = [f"{title} {shown_value(row, row['value'])}" for title, row in others if row is not None]
    value = "–" if own is None else shown_value(own, own["value"])
    return f"{text} {value}" + (f" ({', '.join(shown)})" if shown else "")


_CONTROLS = (("source", "source"), ("best Gaussian", BEST_GAUSSIAN))
"""Title and arm of what a value stands beside."""
