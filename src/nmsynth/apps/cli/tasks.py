"""``nmsynth tasks``: what nmsynth is made for, with which model, and by which numbers that must beat its baselines."""

from __future__ import annotations

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


def tasks(context: typer.Context, as_json: options.Json = False) -> None:
    """List the tasks: what each does, its model, and the primary numbers that judge it; --json has all numbers."""
    from nmsynth.workflows.tasks import load_task, task_names

    terminal = terminal_of(context)
    found = [load_task(name) for name in task_names()]
    if as_json:
        terminal.print_json({"schema_version": 1, "tasks": [task.model_dump(mode="json") for task in found]})
        return
    rows = [
        (
            *(task.name, task.title, f"{task.model} (a baseline)" if task.default_is_baseline else task.model or None),
            "; ".join(task.primary),
        )
        for task in found
    ]
    terminal.print_table(("task", "what it does", "model", "judged first by"), rows)
    if any(not task.model for task in found):
        terminal.print_line("Tasks without a model take one of your own: nmsynth demo OUT --task TASK --model FOLDER.")
