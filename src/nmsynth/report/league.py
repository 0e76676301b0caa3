"""One self-contained HTML page on a benchmark: a table a task, what differs, images in one window, curves."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.evaluation.league_measures import MEASURES
from nmsynth.io.atomic import atomic_file
from nmsynth.report.html import TEMPLATES
from nmsynth.report.league_pictures import curve_svg, difference_picture, example_picture
from nmsynth.report.pictures import BANNER
from nmsynth.report.text import MISSING, number, printable

FIRST_COLUMNS = ("mae", "region_error", "recovery", "bone_mae_150", "bone_mae_300", "bone_dice_150", "bone_dice_300")
"""Measures that stand first, where they were measured."""
LAST_COLUMNS = ("bias", "nrmse", "ssim", "sample_mae", "spread")
UPTAKE_COLUMNS = ("region_bias", "region_mean", "region_truth")
"""Measures of regions that stand after their error where an uptake is made from another kind of image."""
INPUT = "input"
"""Baseline that stands where source and target are one kind of image."""

Row = Mapping[str, Any]


def write_league_page(path: Path, table: Mapping[str, Any], examples: Mapping[tuple[str, str], Path]) -> Path:
    """Write the page, replacing one that is there.

    Parameters
    ----------
    path
        HTML file.
    table
        As :func:`nmsynth.evaluation.league_table.league_table` gives it.
    examples
        Slices (``.npz``) by task and method; pictures are left out where there are none.
    """
    tasks = [_task(task, table, examples) for task in table["tasks"]]
    suite = table["suite"]
    context = {
        "banner": BANNER,
        "title": f"Benchmark {suite['name']}",
        "subtitle": suite["title"],
        "ranked": table["ranked"],
        "facts": _facts(table),
        "tasks": tasks,
        "failed": table["failed"],
        "statistics": table["statistics"],
        "measures": [
            (m["label"], m["meaning"]) for n, m in table["measures"].items() if any(n in t["measured"] for t in tasks)
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    page = environment.get_template("league.html.j2").render(**context, style=style).lstrip()
    with atomic_file(path, overwrite=True) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows as they are shown: by rank; then models that have none, then baselines, each in the order of the suite."""
    return sorted(rows, key=lambda r: (r["rank"] is None, r["rank"] or 0, r["kind"] != "model"))


def columns_of(task: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Measures of the table of a task, in their order: those that some row has."""
    found = {name for row in rows for name, value in row["metrics"].items() if value is not None}
    is_made = task["modality"] in ACTIVITY_MODALITIES and all(row["method"] != INPUT for row in rows)
    first = list(dict.fromkeys((task["score"], *FIRST_COLUMNS)))
    if is_made:
        after = first.index("region_error") + 1
        first[after:after] = UPTAKE_COLUMNS
    return [name for name in (*first, *LAST_COLUMNS) if name in found]


def _facts(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands below the heading."""
    suite = table["suite"]
    spent = f"{suite['steps']} steps" if suite["steps"] else f"{suite['cpu_minutes']:g} CPU minutes"
    done, planned = (sum(t[key] for t in table["tasks"]) for key in ("n_runs", "n_runs_planned"))
    return [
        ("purpose", "plumbing only" if suite["purpose"] == "plumbing" else "to be quoted"),
        ("a training", spent),
        ("folds", f"{len(suite['run_folds']) or suite['folds']} of {suite['folds']}"),
        ("seeds", ", ".join(str(s) for s in suite["seeds"])),
        ("runs done", f"{done} of {planned}"),
        ("nmsynth", suite["version"]),
    ]


def _task(
    task: Mapping[str, Any], table: Mapping[str, Any], examples: Mapping[tuple[str, str], Path]
) -> dict[str, Any]:
    """What the page shows of a task."""
    rows = ordered([r for r in table["rows"] if r["task"] == task["name"]])
    found = {name for row in rows for name, value in row["metrics"].items() if value is not None}
    columns = columns_of(task, rows)
    unit = (task["unit"] or "").partition(" [")[0]
    slices = {row["method"]: examples[task["name"], row["method"]] for row in rows
              if (task["name"], row["method"]) in examples}  # fmt: skip
    return {
        **task,
        "unit": unit,
        "score_label": MEASURES[task["score"]][0],
        "measured": found,
        "heads": [_head(name, unit, task) for name in columns],
        "lines": [_line(row, columns) for row in rows],
        "levels": _levels(rows, task["score"]),
        "patients": _patients(task, rows),
        "differences": _embedded(difference_picture(rows, unit=unit), "Paired differences to the best baseline."),
        "example": _embedded(
            example_picture(slices, modality=task["modality"] or "", unit=unit),
            "One test image: target, source and every method, in one window.",
        ),
    }


def _head(name: str, unit: str, task: Mapping[str, Any]) -> dict[str, str]:
    """Head of a column: label, unit, and what to aim at."""
    label, kind, _ = MEASURES[name]
    aim = task["aims"].get(name)
    return {
        "label": label,
        "unit": f"[{unit}]" if kind == "unit" else "",
        "aim": "" if aim is None else f"aim {number(aim)}",
        "main": "main" if name == task["score"] else "",
    }


def _line(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """A row as it is printed."""
    training = row["kind"] == "model"
    verdict = {True: "yes", False: "no", None: "unknown"}[row["converged"]] if training else MISSING
    late = row["late_improvement"]
    return {
        "method": row["method"],
        "kind": row["kind"],
        "detail": row["detail"],
        "place": number(row["rank"]) if row["rank"] else f"not ranked: {row['not_ranked']}",
        "ranked": row["rank"] is not None,
        "cells": [_cell(row["metrics"].get(name)) for name in columns],
        "median": number((row["metrics"].get(row["score"]) or {}).get("median")),
        "to_baseline": _cell(row["to_baseline"], signed=True),
        "to_unet": _cell(row["to_unet"], signed=True),
        "patients": row["n_patients"],
        "runs": f"{row['n_runs']}/{row['n_runs_planned']}",
        "converged": verdict,
        "late": "" if late is None else f"{100 * late:.1f} % late",
        "curve": curve_svg(row["curves"]) if training else None,
        "steps": number(row["steps"]),
        "cpu": number(row["cpu_minutes"]),
        "predict": number(row["predict_s"]),
        "parameters": _short(row["parameters"]),
        "memory": MISSING if row["peak_memory_mb"] is None else f"{row['peak_memory_mb'] / 1000:.2g}",
        "device": row["device"],
    }


def _cell(found: Mapping[str, Any] | None, *, signed: bool = False) -> tuple[str, str]:
    """Value and interval as text."""
    if found is None:
        return MISSING, ""

    def text(value: float) -> str:
        """A number, with its sign where that says which is better."""
        shown = number(value)
        return f"+{shown}" if signed and value > 0 else shown

    if found["n"] < 2:  # an interval over one patient says nothing
        return text(found["value"]), "one patient"
    return text(found["value"]), f"{text(found['lower'])} to {text(found['upper'])}"


def _short(count: int) -> str:
    """Parameters in thousands or millions."""
    if not count:
        return MISSING
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def _levels(rows: Sequence[Row], score: str) -> dict[str, Any] | None:
    """The score of each method by class of counts; ``None`` where there is one class."""
    names = list(dict.fromkeys(level["level"] for row in rows for level in row["by_level"]))
    if len(names) < 2:
        return None
    lines = []
    for row in rows:
        cells = {level["level"]: _cell(level["metrics"].get(score)) for level in row["by_level"]}
        lines.append((row["method"], [cells.get(name, (MISSING, "")) for name in names]))
    return {"names": names, "lines": lines, "label": MEASURES[score][0]}


def _patients(task: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any] | None:
    """True and predicted means of the regions of each patient; ``None`` where they are not known."""
    known = task.get("region_means") or []
    names = [row["method"] for row in rows if any(row["method"] in patient["methods"] for patient in known)]
    if not names:
        return None
    lines = [(p["subject"], [number(p["truth"]), *(number(p["methods"].get(name)) for name in names)]) for p in known]
    return {"names": ["true", *names], "lines": lines}


def _embedded(png: bytes | None, text: str) -> dict[str, Any] | None:
    """Picture for the template, its bytes as a data URI."""
    if png is None:
        return None
    data = base64.b64encode(png).decode("ascii")
    return {"uri": Markup("data:image/png;base64,{}").format(data), "alt": f"{BANNER}. {text}"}
