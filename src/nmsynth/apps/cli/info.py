"""``nmsynth info``: what series a path holds, and what SUV they allow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of, text_of


def info(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder, zip or file: DICOM or NIfTI.")],
    series_uid: options.SeriesUid = None,
    unit: options.UnitOption = None,
    modality: options.Modality = None,
    as_json: options.Json = False,
) -> None:
    """Say what PATH holds: series, grid, unit, SUV rule, warnings. Names no patient."""
    from nmsynth.workflows.study import describe_study

    terminal = terminal_of(context)
    description = describe_study(path, series_uid=series_uid, unit=unit, modality=modality)
    if as_json:
        terminal.print_json(description)
        return
    series = [item["facts"] for item in description["series"]]
    image = description["image"]
    if image is None:
        columns = tuple(dict.fromkeys(key for facts in series for key in facts))
        terminal.print_table(columns, [[text_of(facts.get(column)) for column in columns] for facts in series])
        terminal.print_line("Several series: choose one with --series-uid to see its image and SUV.")
        return
    for facts in series:
        terminal.print_pairs(facts, title="Series")
    terminal.print_pairs(image["facts"], title="Image")
    if any(value is not None for value in image["suv"].values()):
        terminal.print_pairs(image["suv"], title="SUV")
    if image["warnings"]:
        terminal.print_line("Warnings")
        for warning in image["warnings"]:
            terminal.print_line(f"  {warning}")
