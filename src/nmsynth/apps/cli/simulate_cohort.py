"""``nmsynth simulate cohort``: a dataset of simulated subjects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve


def cohort(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of the dataset.")],
    recipe: Annotated[
        str,
        typer.Option(help="Recipe of a model or of studies, or a TOML file; 'nmsynth simulate recipes' lists them."),
    ] = "lowcount-pet",
    subjects: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=100_000, help="Another seed gives other subjects.")] = 0,
    image_format: Annotated[
        options.OutputFormat, typer.Option("--format", help="Format of the scans; what is known of them is NIfTI.")
    ] = options.OutputFormat.NIFTI,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the files do not depend on it.", show_default="one a core")
    ] = None,
    set_: options.Assignments = None,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Write the time of creation; else a seed always gives the same files.")
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate the subjects of a recipe into a dataset with a manifest.

    OUTPUT gets manifest.csv, which 'nmsynth train --data' takes, cohort.json with all settings, and a folder for each
    case: its scans, and what is known of them. Interrupted, or asked for more subjects, the same command goes on.
    """
    from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset

    values = {
        "recipe": recipe, "subjects": subjects, "seed": seed, "file_format": image_format, "timestamp": timestamp,
    }  # fmt: skip
    settings = resolve(SimulateCohortSettings, values, where="the options")
    changes = options.assignments(set_)
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_dataset(
            settings, output, overrides=changes, workers=workers, overwrite=overwrite, progress=progress
        )
    if as_json:
        terminal.print_json(record)
        return
    terminal.print_line(f"Wrote {output / 'manifest.csv'} ({subjects} simulated subjects)")
    left_out = record.get("families_left_out")
    if left_out:
        terminal.print_line(f"  without the families whose data is not here: {', '.join(left_out)}")


def recipes(context: typer.Context, as_json: options.Json = False) -> None:
    """List the recipes that 'simulate cohort' takes."""
    from nmsynth.workflows.study_recipe import load_study_recipe, study_recipe_names
    from nmsynth.workflows.training import load_recipe, recipe_names

    rows = [{"name": name, "of": "model", "kind": load_recipe(name).task} for name in recipe_names()]
    for name in study_recipe_names():
        found = load_study_recipe(name)
        rows.append({"name": name, "of": "studies", "kind": found.kind if found else ""})
    terminal = terminal_of(context)
    if as_json:
        terminal.print_json({"schema_version": 1, "recipes": rows})
        return
    terminal.print_table(("recipe", "of", "kind"), [tuple(row.values()) for row in rows])
