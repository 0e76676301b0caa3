"""Tables of lesions: uptake with biases, and volumes, ratios and decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nmsynth.report.tables import shown_value
from nmsynth.report.text import MISSING, number, percent


def lesion_table(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Lines of the table of lesions: facts of each lesion, its reference values, and biases of each arm."""
    lesions: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = lesions.setdefault(
            str(row["lesion"]),
            {
                "name": str(row["lesion"]),
                "diameter": number(row.get("diameter_mm")),
                "contrast": number(row.get("reference_contrast")),
                "reference": [number(row.get(f"{key}_reference")) for key in ("mean", "maximum", "peak")],
                "arms": {},
                "size": row.get("diameter_mm"),
            },
        )
        biases = [row.get(f"{key}_bias") for key in ("mean", "maximum", "peak")]
        entry["arms"][row["arm"]] = {
            "values": [number(row.get(key)) for key in ("mean", "maximum", "peak")],
            "biases": [percent(b if isinstance(b, (int, float)) else None) for b in biases],
            "recovery": shown_value({"name": "recovery", "unit": "1"}, row.get("recovery")),
        }
    lines = list(lesions.values())
    lines.sort(key=lambda line: -line["size"] if isinstance(line["size"], (int, float)) else math.inf)
    return [line for line in lines if any(arm in line["arms"] for arm in arms)]


DECISION_VALUES = (
    ("MTV 41 % [mL]", "mtv_relative_ml", "mtv_relative_reference_ml"),
    ("TLG 41 % [mL × SUV]", "tlg_relative", "tlg_relative_reference"),
    ("MTV SUV 4 [mL]", "mtv_fixed_ml", "mtv_fixed_reference_ml"),
    ("TLG SUV 4 [mL × SUV]", "tlg_fixed", "tlg_fixed_reference"),
    ("peak / liver", "liver_ratio", "liver_ratio_reference"),
    ("peak / blood pool", "blood_pool_ratio", "blood_pool_ratio_reference"),
    ("Deauville", "category", "category_reference"),
    ("PERCIST measurable", "measurable", "measurable_reference"),
)
"""Title, key and key of the reference of each column of the table of volumes and decisions."""


def decision_table(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> dict[str, Any] | None:
    """Volumes, ratios and categories of each lesion: the reference's and each arm's; ``None`` where none is given.

    A category that differs from the reference's is marked.
    """
    columns = [
        c for c in DECISION_VALUES if any(row.get(c[1]) is not None or row.get(c[2]) is not None for row in rows)
    ]
    if not columns:
        return None
    lesions: dict[str, dict[str, Any]] = {}
    for row in rows:
        own = lesions.setdefault(str(row["lesion"]), {"size": row.get("diameter_mm"), "reference": row, "arms": {}})
        own["arms"][row["arm"]] = row
    ordered = sorted(lesions.items(), key=lambda item: -float(item[1]["size"] or 0.0))
    lines = []
    for name, entry in ordered:
        cells = [("reference", [(number(entry["reference"].get(key)), False) for _, _, key in columns])]
        for arm in arms:
            row = entry["arms"].get(arm)
            cells.append(
                (arm, [(MISSING, False)] * len(columns) if row is None else [_decision(row, c) for c in columns])
            )
        lines.append({"name": name, "diameter": number(entry["size"]), "cells": cells})
    return {"titles": [title for title, _, _ in columns], "lines": lines}


def _decision(row: Mapping[str, Any], column: tuple[str, str, str]) -> tuple[str, bool]:
    """Value of an arm, and whether it is a decision that the reference does not share."""
    _, key, key_reference = column
    value, expected = row.get(key), row.get(key_reference)
    flipped = key in ("category", "measurable") and None not in (value, expected) and value != expected
    return number(value), flipped
