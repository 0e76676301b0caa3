"""``nmsynth demo``: a simulated patient from scan to report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


def demo(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="[OUT]", help="Folder to write to.")] = Path("demo"),
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Scan a simulated patient at full and at 1/20 counts, synthesise, evaluate, and write the report to OUT."""
    from nmsynth.workflows.demo import run_demo

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        result = run_demo(output, seed=seed, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(result.to_json())
        return
    rows = result.rows()
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    terminal.print_table(columns, [[row.get(column) for column in columns] for row in rows], title=result.title)
    terminal.print_line(f"Report: {result.report}")
