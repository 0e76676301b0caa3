"""TOML files that come with nmsynth: recipes, studies, tasks, suites, texts of cards."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

RECIPES = "nmsynth.recipes"
"""Package that holds them, by kind in folders; recipes of models with a network of their own lie in it itself."""


def bundled_folder(folder: str = "") -> Traversable:
    """A folder of the package, or the package itself."""
    root = resources.files(RECIPES)
    return root / folder if folder else root


def bundled_names(folder: str = "") -> list[str]:
    """Names of the TOML files in a folder, in order."""
    files = bundled_folder(folder).iterdir()
    return sorted(p.name.removesuffix(".toml") for p in files if p.name.endswith(".toml"))


def bundled_file(name: str, folder: str = "") -> AbstractContextManager[Path]:
    """The file of a name, to be opened within the context."""
    return resources.as_file(bundled_folder(folder) / f"{name}.toml")
