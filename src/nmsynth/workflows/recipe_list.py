"""All recipes that come with nmsynth: of methods, of models, and of simulated datasets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nmsynth.core.config import nearest
from nmsynth.core.errors import InputError
from nmsynth.workflows.bundled import bundled_folder, bundled_names

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FOLDERS = ("studies", "", "methods", "models")
"""Where recipes lie; of two of one name the later is shown."""


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """A recipe in a line."""

    name: str
    of: str
    """``method``, ``model`` or ``dataset``."""
    family: str
    """Family of a method, network of a model, command of ``nmsynth simulate`` of a dataset."""
    takes: tuple[str, ...]
    """Modalities of the sources, or what is simulated; empty where any."""
    gives: str
    """Modality of the target; empty where any."""
    simulates: str = ""
    """Dataset that is made where none is given."""
    title: str = ""
    reproduces: str = ""

    @property
    def takes_and_gives(self) -> str | None:
        """Such as ``MR -> PT``; none of a dataset."""
        if self.of == "dataset":
            return None
        return f"{' + '.join(self.takes) or 'any'} -> {self.gives or 'any'}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def list_recipes() -> list[RecipeEntry]:
    """Every recipe that comes with nmsynth, methods first."""
    from nmsynth.workflows.method_recipes import load_method_recipe, method_recipe_names, model_recipe_names
    from nmsynth.workflows.study_recipe import load_study_recipe, study_recipe_names
    from nmsynth.workflows.training import load_recipe, recipe_names

    entries = []
    for of, names in (("method", method_recipe_names()), ("model", model_recipe_names())):
        for name in names:
            m = load_method_recipe(name)
            entries.append(
                RecipeEntry(
                    name, of, m.method.name, m.data.sources, m.data.target, m.data.simulate, m.title, m.reproduces
                )
            )
    for name in recipe_names():
        whole = load_recipe(name)
        entries.append(RecipeEntry(name, "model", whole.network.name, ("PT",), "PT", name, whole.task))
    for name in study_recipe_names():
        study = load_study_recipe(name)
        if study is not None:
            entries.append(RecipeEntry(name, "dataset", study.kind, (), ""))
    return entries


def recipe_text(name: str) -> str:
    """The TOML of a recipe.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    return _file_of(name).read_text(encoding="utf-8")


def recipe_values(name: str) -> dict[str, Any]:
    """The values of a recipe as they stand in its TOML."""
    import tomllib

    return tomllib.loads(recipe_text(name))


def _file_of(name: str) -> Traversable:
    """TOML file of a recipe."""
    found = {known: folder for folder in FOLDERS for known in bundled_names(folder)}
    if name not in found:
        close = nearest(name, found)
        remedy = f"Did you mean '{close}'?" if close else "'nmsynth recipes' lists them."
        raise InputError(f"There is no recipe '{name}'. {remedy}")
    return bundled_folder(found[name]) / f"{name}.toml"
