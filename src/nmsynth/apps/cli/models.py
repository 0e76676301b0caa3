"""``nmsynth models``: which models there are, their cards, their checksums."""

from __future__ import annotations

from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of

app = typer.Typer(help="List, show and verify models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, or a folder that holds a model package.")]


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List the models that are installed."""
    from nmsynth.models.registry import list_models

    terminal = terminal_of(context)
    found = [
        {
            "name": entry.name,
            "version": entry.card.version if entry.card else None,
            "task": entry.card.task if entry.card else None,
            "shipped": entry.shipped,
            "summary": entry.card.summary if entry.card else None,
            "problem": entry.problem,
        }
        for entry in list_models()
    ]
    if as_json:
        terminal.print_json({"schema_version": 1, "models": found})
    elif found:
        rows = [[row["name"], row["version"], row["task"], row["problem"] or row["summary"]] for row in found]
        terminal.print_table(("name", "version", "task", "summary"), rows)
    else:
        terminal.print_line("No model is installed.")


@app.command("show")
def show(context: typer.Context, name: Name, as_json: options.Json = False) -> None:
    """Show the card of a model: data, envelope, performance, limits."""
    from nmsynth.models.registry import show_model

    terminal = terminal_of(context)
    card = show_model(name)
    if as_json:
        terminal.print_json(card.model_dump(mode="json"))
        return
    for line in card.to_markdown().splitlines():
        terminal.print_line(line)


@app.command("verify")
def verify(context: typer.Context, name: Name, as_json: options.Json = False) -> None:
    """Check that a model's files are whole and are those its card names."""
    from nmsynth.models.registry import verify_model

    terminal = terminal_of(context)
    card = verify_model(name)
    result = {"name": card.name, "version": card.version, "sha256": card.sha256}
    if as_json:
        terminal.print_json({"schema_version": 1, **result})
    else:
        terminal.print_pairs(result, title="The model is whole: its weights are those that its card names.")
