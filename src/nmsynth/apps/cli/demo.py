"""``nmsynth demo``: a simulated patient from scan to report, for any task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.apps.cli.terminal import Terminal
    from nmsynth.core.progress import Progress
    from nmsynth.workflows.demo import DemoResult
    from nmsynth.workflows.task_demo import TaskDemoResult

ALL = "all"
"""In place of a task: each that has a model."""


def demo(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="[OUT]", help="Folder to write to.")] = Path("demo"),
    task: Annotated[
        str | None,
        typer.Option(
            help="What is shown in one study; 'nmsynth tasks' lists them; 'all' for each that has a model.",
            show_default="low-count PET with tuned filters and curves",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder of a model for the task, such as your own.", show_default="the task's"),
    ] = None,
    seed: options.Seed = 0,
    set_: options.Assignments = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Scan a simulated patient, synthesise, evaluate, and write the report to OUT; low-count PET at 1/20 counts."""
    terminal = terminal_of(context)
    names: list[str | None] = [task]
    if task == ALL:
        from nmsynth.workflows.tasks import tasks_with_models

        _refuse_choices(model, set_)
        names = [*tasks_with_models()]
    results = []
    for name in names:
        place = output / str(name) if task == ALL else output
        with terminal.progress() as progress:
            result = _run(name, place, model, seed, set_, progress, overwrite=overwrite)
        results.append(result)
        if not as_json:
            _print(terminal, result)
    if as_json:
        shown = [result.to_json() for result in results]
        terminal.print_json({"schema_version": 1, "demonstrations": shown} if task == ALL else shown[0])


def _refuse_choices(model: str | None, changes: list[str] | None) -> None:
    """Refuse what is meant for one task."""
    if model is not None or changes:
        raise InputError("--model and --set belong to one task; all are asked for. Name the task, or leave them out.")


def _print(terminal: Terminal, result: DemoResult | TaskDemoResult) -> None:
    """The table, and where the report is."""
    rows = result.rows()
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    terminal.print_table(columns, [[row.get(column) for column in columns] for row in rows], title=result.title)
    terminal.print_line(f"Report: {result.report}")


def _run(
    task: str | None,
    output: Path,
    model: str | None,
    seed: int,
    changes: list[str] | None,
    progress: Progress,
    *,
    overwrite: bool,
) -> DemoResult | TaskDemoResult:
    """The demonstration of a task."""
    if task is None:
        from nmsynth.workflows.demo import run_demo

        if model is not None or changes:
            raise InputError(
                "--model and --set belong to --task, which is missing; the main demonstration has a model and scan of "
                "its own. Add --task, or leave them out."
            )
        return run_demo(output, seed=seed, overwrite=overwrite, progress=progress)
    from nmsynth.workflows.task_demo import run_task_demo
    from nmsynth.workflows.tasks import load_task

    return run_task_demo(
        load_task(task), output, model=model, seed=seed, changes=options.assignments(changes), overwrite=overwrite,
        progress=progress,
    )  # fmt: skip
