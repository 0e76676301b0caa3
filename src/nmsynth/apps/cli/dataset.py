"""``nmsynth dataset``: look at a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of

app = typer.Typer(help="Look at a dataset.", no_args_is_help=True)


@app.callback()
def dataset() -> None:
    """Look at a dataset."""


@app.command("check")
def check(
    context: typer.Context,
    manifest: Annotated[Path, typer.Argument(metavar="DATASET", help="Manifest, or the folder that holds it.")],
    as_json: options.Json = False,
) -> None:
    """Open every image of DATASET and tell what would spoil a training; exit status 2 where there is an error."""
    from nmsynth.workflows.dataset_check import check_dataset

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        result = check_dataset(manifest, progress=progress)
    findings = result["findings"]
    n_errors = sum(f["level"] == "error" for f in findings)
    if as_json:
        terminal.print_json(result)
    else:
        splits = ", ".join(f"{name} {n}" for name, n in result["splits"].items())
        terminal.print_line(f"{result['cases']} cases, {result['images']} images, subjects: {splits}")
        if findings:
            terminal.print_table(("level", "case", "role", "name", "what"), [tuple(f.values()) for f in findings])
        else:
            terminal.print_line("Nothing is wrong with it")
    if n_errors:
        raise typer.Exit(2)
