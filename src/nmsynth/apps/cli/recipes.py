"""``nmsynth recipes``: which recipes there are, and what is in one."""

from __future__ import annotations

from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of

app = typer.Typer(help="List and show recipes of methods, models and simulated datasets.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe.")]


@app.callback()
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List the recipes: methods and models, which 'train' takes, then datasets, which 'simulate cohort' makes."""
    if context.invoked_subcommand is not None:
        return
    from nmsynth.workflows.recipe_list import list_recipes

    terminal = terminal_of(context)
    found = list_recipes()
    if as_json:
        terminal.print_json({"schema_version": 1, "recipes": [entry.to_json() for entry in found]})
        return
    rows = [(e.name, e.of, e.family, e.takes_and_gives, e.simulates or None) for e in found]
    terminal.print_table(("name", "of", "family", "from -> to", "simulates"), rows)


@app.command("show")
def show(context: typer.Context, name: Name, as_json: options.Json = False) -> None:
    """Print a recipe as TOML, to be copied and changed."""
    from nmsynth.workflows.recipe_list import recipe_text, recipe_values

    terminal = terminal_of(context)
    if as_json:
        terminal.print_json({"schema_version": 1, "name": name, "recipe": recipe_values(name)})
        return
    for line in recipe_text(name).splitlines():
        terminal.print_line(line)
