"""A recipe of a family: which data, which plan, which method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from nmsynth.core.config import Settings
from nmsynth.models.methods import MethodSpec


class DataRecipe(Settings):
    """What a dataset must hold, and how it is made where none is given."""

    sources: tuple[str, ...] = ()
    """Modalities of the sources, such as ``MR``; any when empty."""
    target: str = ""
    """Modality of the target; any when empty."""
    simulate: str = ""
    """Recipe of ``nmsynth simulate cohort`` that makes such a dataset."""
    subjects: int = Field(default=20, ge=3)
    """Subjects that are simulated."""


class Ablation(Settings):
    """What takes the idea of a recipe away, and nothing else."""

    method: MethodSpec | None = None
    """Family and arguments in the place of the recipe's; those of the recipe when unset."""
    plan: dict[str, Any] = Field(default_factory=dict)
    """Values in the place of the recipe's, by the same keys."""
    first_sources: int = Field(default=0, ge=0)
    """Sources of the plan that are left, the first ones; all when 0."""


class MethodRecipe(Settings):
    """A whole recipe, as in the TOML files of :mod:`nmsynth.recipes.methods` and ``recipes/models``."""

    schema_version: Literal[1] = 1
    name: str
    title: str = ""
    """The method in a line."""
    reproduces: str = ""
    """The publication that it follows."""
    differs: tuple[str, ...] = ()
    """What is not as published, a sentence each."""
    idea: str = ""
    """What is special to the task in how its model is made, in a sentence."""
    without_idea: Ablation | None = None
    """The same network without it."""
    interval_samples: int = Field(default=0, ge=0)
    """Samples of a stochastic method from whose spread intervals are made, calibrated on the patients held for
    validation; none when 0."""
    interval_sides_together: bool = False
    """Whether labels that differ by 100 are the two sides of one region, as those of simulated brains are."""
    first_sources: int = Field(default=0, ge=0)
    """Sources of the dataset that the plan has, the first ones; all when 0."""
    card: str = ""
    """Text of the card in :mod:`nmsynth.recipes.cards`, for a model that is trained on what the recipe simulates."""
    data: DataRecipe = DataRecipe()
    method: MethodSpec
    plan: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the plan of the dataset; keys may be dotted, such as ``"schedule.steps"``."""
