"""``nmsynth train``: a recipe and a dataset to a model package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress


def train(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe or family of nmsynth ('recipes' lists them), a class, or a TOML file."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path("runs"),
    data: Annotated[
        Path | None,
        typer.Option(help="Manifest of a dataset, or its folder.", show_default="what the recipe simulates"),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Plan, as 'nmsynth plan --recipe RECIPE' writes it.", show_default="made from the dataset"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time that training should take on this machine.", show_default="by the plan")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Cross-validate over this many folds.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Only this fold.", show_default="all")] = None,
    without_idea: Annotated[
        bool, typer.Option("--without-idea", help="The same network without what is special to the recipe's task.")
    ] = False,
    start_from: Annotated[str | None, typer.Option("--from", help="Model to go on from, for fine-tuning.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that train together on this machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that draw patches.", show_default="a thread beside the training")
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process that trains.", show_default="by torch")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--restart", help="Continue from the last checkpoint.")] = True,
    set_: options.Assignments = None,
    as_json: options.Json = False,
) -> None:
    """Train a model by RECIPE; interrupted, it goes on where it stopped.

    --set changes values of the plan, such as schedule.steps=2000, or of the method: method.arguments.loss=l2.
    """
    from nmsynth.workflows.method_recipes import is_method_recipe
    from nmsynth.workflows.training import recipe_names, train_recipe

    terminal = terminal_of(context)
    changes = options.assignments(set_)
    given = {
        "plan": plan, "minutes": minutes, "folds": folds, "fold": fold, "start_from": start_from,
        "device": device, "devices": devices, "nodes": nodes, "workers": workers, "threads": threads,
        "resume": resume, "without_idea": without_idea,
    }  # fmt: skip
    with redirect_stdout(sys.stderr):  # the training loop draws its bar on stdout, which is for results
        if recipe in recipe_names() or (recipe.endswith(".toml") and not is_method_recipe(recipe)):
            _refuse(given, _OF_METHODS, recipe)
            packages = [
                train_recipe(
                    recipe,
                    output=output,
                    data=data,
                    resume=resume,
                    overrides=changes,
                    progress=terminal.progress_lines(),
                )
            ]
        else:
            with terminal.long_progress() as progress:
                packages = _train_method(recipe, data, output, given, changes, progress)
    if as_json and packages:
        terminal.print_json({"schema_version": 1, "package": str(packages[0]), "packages": [str(p) for p in packages]})
        return
    for package in packages:
        terminal.print_line(f"Wrote the model package {package}")


_OF_METHODS = {
    "plan": None,
    "minutes": None,
    "folds": None,
    "fold": None,
    "start_from": None,
    "device": "auto",
    "devices": 1,
    "nodes": 1,
    "workers": 0,
    "threads": None,
    "without_idea": False,
}
"""Options of methods that recipes with a schedule of their own do not take, as they are when not given."""


def _refuse(given: dict[str, Any], unset: dict[str, Any], recipe: str) -> None:
    """Refuse options that a recipe does not take."""
    for name, value in unset.items():
        if given[name] != value:
            option = {"start_from": "from"}.get(name, name.replace("_", "-"))
            raise InputError(f"The recipe '{recipe}' has a schedule of its own and takes no --{option}. Leave it out.")


def _train_method(
    recipe: str, data: Path | None, output: Path, given: dict[str, Any], changes: dict[str, Any], progress: Progress
) -> list[Path]:
    """Train a method, with the changes that go to the method, and those that go to the plan."""
    from nmsynth.workflows.method_recipes import load_method_recipe, without_idea
    from nmsynth.workflows.method_training import remove_trainings, train_on_dataset, training_options

    of_recipe = {key: value for key, value in changes.items() if key.split(".")[0] in ("method", "data", "name")}
    of_plan = {key: value for key, value in changes.items() if key not in of_recipe}
    loaded = load_method_recipe(recipe, of_recipe)
    must_hold: tuple[str, ...] = ()
    if given["without_idea"]:
        must_hold = tuple(loaded.without_idea.plan) if loaded.without_idea else ()
        loaded = without_idea(loaded)
    how = training_options(**{name: given[name] for name in ("workers", "threads", "device", "devices", "nodes")})
    if not given["resume"] and how.is_first:
        remove_trainings(output)
    trained = train_on_dataset(
        loaded,
        data,
        output,
        plan=given["plan"],
        minutes=given["minutes"],
        folds=given["folds"],
        fold=given["fold"],
        start_from=given["start_from"],
        options=how,
        overrides=of_plan,
        must_hold=must_hold,
        progress=progress,
    )
    return [t.package for t in trained] if how.is_first else []
