"""``nmsynth plan``: how to train on a dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


class Dimensions(StrEnum):
    """What a network sees at once."""

    SLICE = "2d"
    SLICES = "2.5d"
    VOLUME = "3d"


def plan(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Manifest, or the folder that holds it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The plan, a .toml file.", show_default="DATASET/plan.toml")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe that will be trained: what it changes of a plan is written, its steps are timed."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where it will be trained: cpu, cuda or auto.")] = "auto",
    dimensions: Annotated[
        Dimensions | None, typer.Option(help="What a network sees at once.", show_default="by the images")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.", show_default="by the cases")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time that training should take on this machine.")] = None,
    family: Annotated[
        str, typer.Option(help="Family whose steps are timed for --minutes, where no recipe is named.")
    ] = "unet",
    set_: options.Assignments = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Look at DATASET and write a plan of its training: spacing, patch, normalisation, schedule. Read and edit it."""
    from nmsynth.workflows.method_recipes import load_method_recipe
    from nmsynth.workflows.planning import plan_dataset, plan_summary, write_plan

    terminal = terminal_of(context)
    loaded = None if recipe is None else load_method_recipe(recipe)
    changes = options.assignments(set_)
    with terminal.progress() as progress:
        made = plan_dataset(
            dataset,
            device=device,
            dimensions=dimensions.value if dimensions else None,
            steps=steps,
            minutes=minutes,
            family=family,
            method=None if loaded is None else loaded.method,
            overrides=changes if loaded is None else {**loaded.plan, **changes},
            progress=progress,
        )
    path = write_plan(made, dataset, output, overwrite=overwrite)
    if as_json:
        terminal.print_json({"schema_version": 1, "output": str(path), "plan": made.model_dump(mode="json")})
        return
    terminal.print_pairs(plan_summary(made), title=f"Wrote {path}")
