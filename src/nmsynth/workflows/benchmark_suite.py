"""Suites of the benchmark: which methods run on which tasks, how long, in how many folds. Data, not code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from nmsynth.core.config import Settings, nearest, read_toml, resolve
from nmsynth.core.errors import InputError
from nmsynth.workflows.bundled import bundled_file, bundled_names

FOLDER = "suites"
"""Folder that holds the suites."""
FILTERS = ("input", "gaussian", "non-local-means", "wavelet", "total-variation")
"""Baselines where source and target are one kind of image."""
LOOKUPS = ("constant", "population-mean", "tissue-lookup", "tissue-lookup-depth")
"""Baselines where they are not."""
BASELINES = (*FILTERS, *LOOKUPS)
ALL_FAMILIES = "all"
"""In ``families``: every family that this version has."""


class TaskData(Settings):
    """Where the images of a task come from."""

    given: str = ""
    """Name by which ``--data NAME=PATH`` gives the dataset."""
    simulate: str = ""
    """Or the recipe of ``nmsynth simulate cohort`` that makes it."""
    subjects: int = Field(default=12, ge=4)
    """Subjects that are simulated."""
    seed: int = Field(default=0, ge=0)
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of that recipe by dotted key."""
    sources: tuple[str, ...] = ()
    """Names of the images that are the sources, whatever role the manifest gives them; its sources when empty."""
    target: str = ""
    """Name of the image that is the target; the manifest's when empty."""
    masks: tuple[str, ...] | None = None
    """Masks whose regions are measured; all when unset."""

    @model_validator(mode="after")
    def _one_origin(self) -> TaskData:
        """Refuse data from nowhere, or from two places."""
        if bool(self.given) == bool(self.simulate):
            raise ValueError("data is either given or simulated, one of the two")
        return self


class TaskSettings(Settings):
    """A task: data, plan, baselines, and what is measured."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]*$")
    title: str = ""
    data: TaskData
    plan: dict[str, Any] = Field(default_factory=dict)
    """Values of the plan of every method, by dotted key."""
    baselines: tuple[str, ...] = ()
    score: str = "mae"
    """Measure by which methods are ranked and compared."""
    aims: dict[str, float] = Field(default_factory=dict)
    """What a method should reach, by measure; printed beside the table."""
    test_levels: int = Field(default=0, ge=0)
    """Count levels of a case that are tested, spread over those below full counts; all when 0."""
    level_edges: tuple[float, ...] = ()
    """Bounds of the classes of count fractions that are told apart, falling, such as ``[0.2, 0.05]``."""

    @model_validator(mode="after")
    def _known(self) -> TaskSettings:
        """Refuse baselines and measures that do not exist."""
        from nmsynth.evaluation.league_measures import MEASURES, RANKABLE

        _check_names(self.baselines, BASELINES, "baseline")
        _check_names([self.score], RANKABLE, "score")
        _check_names(self.aims, MEASURES, "measure")
        if list(self.level_edges) != sorted(self.level_edges, reverse=True):
            raise ValueError("bounds of count levels must fall")
        return self


class MethodSettings(Settings):
    """A method beside the plain families: a recipe, and what it changes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]*$")
    recipe: str
    """Of a method, a family, or a TOML file."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of the recipe by dotted key, such as ``"method.arguments.loss"``."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks on which it runs; all when empty."""


class Suite(Settings):
    """A whole suite, as in the TOML files of :mod:`nmsynth.recipes.suites`."""

    schema_version: Literal[1] = 1
    name: str
    title: str = ""
    purpose: Literal["plumbing", "quoted"]
    """``plumbing`` proves that everything runs and is never ranked."""
    families: tuple[str, ...] = (ALL_FAMILIES,)
    """Families with their defaults; ``all`` for every one there is."""
    methods: tuple[MethodSettings, ...] = ()
    tasks: tuple[TaskSettings, ...] = Field(min_length=1)
    folds: int = Field(default=3, ge=2)
    run_folds: tuple[int, ...] = ()
    """Folds that are run; all when empty."""
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps of each run; or"""
    cpu_minutes: float | None = Field(default=None, gt=0)
    """CPU time of each training, validation included, from which its steps follow [min]."""
    gpu_minutes: float | None = Field(default=None, gt=0)
    """The same on a GPU; a sixth of ``cpu_minutes`` when unset."""
    validations: int = Field(default=15, ge=1)
    """In a training; at least 6 tell whether it converged."""
    samples: int = Field(default=4, ge=1)
    """Answers of a stochastic method whose mean is tested."""
    bootstrap: int = Field(default=2000, ge=10)
    """Draws of patients."""

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        """Refuse what cannot be run."""
        if (self.steps is None) == (self.cpu_minutes is None):
            raise ValueError("a run is as long as its steps or its cpu_minutes say, one of the two")
        if any(not 0 <= fold < self.folds for fold in self.run_folds):
            raise ValueError(f"folds are numbered from 0 to {self.folds - 1}")
        names = [t.name for t in self.tasks]
        taken = [*self.method_names(), *BASELINES]
        if len(set(names)) != len(names) or len(set(taken)) != len(taken):
            raise ValueError("tasks must have different names, and so must methods and baselines")
        for method in self.methods:
            _check_names(method.tasks, names, "task")
        return self

    def method_names(self) -> list[str]:
        """Families and recipes, in the order in which they run."""
        from nmsynth.models.methods import METHODS

        families = list(METHODS) if ALL_FAMILIES in self.families else list(self.families)
        return [*families, *(m.name for m in self.methods)]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a suite."""

    task: TaskSettings
    method: MethodSettings
    """Of a baseline its name alone."""
    kind: Literal["model", "baseline"]
    fold: int
    seed: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells runs apart; as :attr:`nmsynth.evaluation.league.RunResult.key`."""
        return self.task.name, self.method.name, self.fold, self.seed

    @property
    def folder(self) -> Path:
        """Of the run, below the benchmark's."""
        return Path("runs") / self.task.name / self.method.name / f"fold-{self.fold}-seed-{self.seed}"


def suite_names() -> list[str]:
    """Names of the suites that nmsynth brings."""
    return bundled_names(FOLDER)


def load_suite(suite: str | Path) -> Suite:
    """Read a suite.

    Parameters
    ----------
    suite
        Name of one of nmsynth's, or a TOML file.

    Raises
    ------
    InputError
        If there is none of that name, a key is unknown, or a family, recipe or baseline does not exist.
    """
    text = str(suite)
    if text.endswith(".toml"):
        found = resolve(Suite, read_toml(Path(text)), where=f"'{Path(text).name}'")
    elif text in suite_names():
        with bundled_file(text, FOLDER) as path:
            found = resolve(Suite, read_toml(path), where=f"the suite '{text}'")
    else:
        close = nearest(text, suite_names())
        remedy = f"Did you mean '{close}'?" if close else f"There are: {', '.join(suite_names())}."
        raise InputError(f"A suite is a TOML file or one of nmsynth's; '{text}' is neither. {remedy}")
    _check_methods(found)
    return found


def runs_of(suite: Suite, tasks: Iterable[str] | None = None) -> list[RunSpec]:
    """All runs, those of the first fold first, so that an early table holds every method.

    Parameters
    ----------
    suite
        Which methods, tasks, folds and seeds.
    tasks
        The tasks whose data is at hand; all when unset.
    """
    chosen = [t for t in suite.tasks if tasks is None or t.name in set(tasks)]
    named = {m.name: m for m in suite.methods}
    runs = []
    for seed in suite.seeds:
        for fold in suite.run_folds or range(suite.folds):
            for task in chosen:
                if seed == suite.seeds[0]:  # baselines draw nothing
                    settings = [MethodSettings(name=name, recipe=name) for name in task.baselines]
                    runs += [RunSpec(task, method, "baseline", fold, seed) for method in settings]
                for name in suite.method_names():
                    method = named.get(name) or MethodSettings(name=name, recipe=name)
                    if not method.tasks or task.name in method.tasks:
                        runs.append(RunSpec(task, method, "model", fold, seed))
    return runs


def settings_digest(suite: Suite, run: RunSpec) -> str:
    """Hash of all that decides a run but its data: a result of other settings is not taken for it."""
    parts: dict[str, Any] = {
        "task": run.task.model_dump(mode="json", exclude={"title", "aims", "score", "baselines"}),
        "folds": suite.folds,
        "key": run.key,
    }
    if run.kind == "model":
        spent = {"steps", "cpu_minutes", "gpu_minutes", "validations", "samples"}
        parts |= {"method": run.method.model_dump(mode="json", exclude={"tasks"})}
        parts |= suite.model_dump(mode="json", include=spent)
        parts |= content_of("recipe", run.method.recipe)
    parts |= content_of("simulate", run.task.data.simulate)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def content_of(name: str, recipe: str) -> dict[str, str]:
    """Hash of what a recipe says that is given as a TOML file, by a name; nothing of one of nmsynth's."""
    if Path(recipe).suffix != ".toml":
        return {}
    path = Path(recipe)
    return {name: hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()}


def _check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse a name that is not known, and name the nearest."""
    for name in given:
        if name not in known:
            close = nearest(name, known)
            remedy = f"did you mean '{close}'?" if close else f"there are: {', '.join(sorted(known))}"
            raise ValueError(f"there is no {what} '{name}'; {remedy}")


def _check_methods(suite: Suite) -> None:
    """Refuse families and recipes that do not exist, before anything is simulated."""
    from nmsynth.workflows.method_recipes import load_method_recipe

    for name in suite.families:
        if name != ALL_FAMILIES:
            load_method_recipe(name)
    for method in suite.methods:
        load_method_recipe(method.recipe, method.overrides)
