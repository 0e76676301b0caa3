"""Recipes of methods by name: published ones, plain families, and TOML files of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.config import nearest, override, read_toml, resolve
from nmsynth.core.errors import InputError
from nmsynth.workflows.bundled import bundled_file, bundled_names

if TYPE_CHECKING:
    from nmsynth.training.method_recipe import MethodRecipe

METHODS_FOLDER, MODELS_FOLDER = "methods", "models"
"""Folders of the recipes of published methods, and of nmsynth's own models, each by the name of its task."""


def method_recipe_names() -> list[str]:
    """Names of the recipes of published methods."""
    return bundled_names(METHODS_FOLDER)


def model_recipe_names() -> list[str]:
    """Names of the recipes of nmsynth's own models that are methods; each is the name of a task."""
    return bundled_names(MODELS_FOLDER)


def is_method_recipe(recipe: str | Path) -> bool:
    """Whether a name or TOML file is that of a method, by its section ``method``."""
    from nmsynth.models.methods import METHODS

    if Path(recipe).suffix == ".toml":
        return "method" in read_toml(Path(recipe))
    text = str(recipe)
    return text in METHODS or text in method_recipe_names() or text in model_recipe_names() or ":" in text


def load_method_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> MethodRecipe:
    """Read a recipe of a method.

    Parameters
    ----------
    recipe
        Name of a recipe or a family, ``package.module:Class`` of any ``torch.nn.Module``, or a TOML file.
    overrides
        Values by dotted key, such as ``{"method.arguments.loss": "l2"}``.

    Raises
    ------
    InputError
        If there is none of that name, or a key is unknown.
    """
    from nmsynth.models.methods import METHODS
    from nmsynth.training.method_recipe import MethodRecipe

    text = str(recipe)
    where = f"'{Path(text).name}'"
    if Path(recipe).suffix == ".toml":
        values = read_toml(Path(recipe))
    elif text in method_recipe_names():
        with bundled_file(text, METHODS_FOLDER) as path:
            values = read_toml(path)
    elif text in model_recipe_names():
        with bundled_file(text, MODELS_FOLDER) as path:
            values = read_toml(path)
    elif text in METHODS or ":" in text:
        name = text.rpartition(":")[2].lower().replace("_", "-")
        values = {"name": name, "method": {"name": text}}
    else:
        known = [*method_recipe_names(), *model_recipe_names(), *METHODS]
        close = nearest(text, known)
        remedy = f"Did you mean '{close}'?" if close else f"There are: {', '.join(known)}."
        raise InputError(f"A recipe is a TOML file or one of nmsynth's; '{text}' is neither. {remedy}")
    return resolve(MethodRecipe, override(values, overrides or {}), where=where)


def without_idea(recipe: MethodRecipe) -> MethodRecipe:
    """The recipe of the same network without what is special to its task, under a name of its own and without a card.

    Raises
    ------
    InputError
        If the recipe has no such idea.
    """
    ablation = recipe.without_idea
    if ablation is None:
        raise InputError(
            f"The recipe '{recipe.name}' states no idea that could be left out. Those that do: "
            f"{', '.join(model_recipe_names())}."
        )
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-without-idea",
            "title": f"{recipe.title}, without what is special to it",
            "idea": "",
            "without_idea": None,
            "card": "",
            "method": ablation.method or recipe.method,
            "first_sources": ablation.first_sources or recipe.first_sources,
            "plan": {**recipe.plan, **ablation.plan},
        }
    )
