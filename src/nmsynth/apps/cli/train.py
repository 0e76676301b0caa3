"""``nmsynth train``: a recipe from simulated patients to a model package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe of nmsynth, or a TOML file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path("runs"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Manifest of a dataset, or its folder, as 'nmsynth simulate cohort' makes one.",
            show_default="the cohort of the recipe, simulated",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--restart", help="Continue from the last checkpoint.")] = True,
    set_: options.Assignments = None,
    as_json: options.Json = False,
) -> None:
    """Train a model by RECIPE; interrupted, it goes on where it stopped."""
    from nmsynth.workflows.training import train_recipe

    terminal = terminal_of(context)
    changes = options.assignments(set_)
    with redirect_stdout(sys.stderr):  # the training loop draws its bar on stdout, which is for results
        package = train_recipe(
            recipe, output=output, data=data, resume=resume, overrides=changes, progress=terminal.progress_lines()
        )
    if as_json:
        terminal.print_json({"schema_version": 1, "package": str(package)})
    else:
        terminal.print_line(f"Wrote the model package {package}")
