"""Tasks as data: what goes in and comes out, the study that shows it, its model, the numbers that judge it."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nmsynth.core.config import nearest, read_config
from nmsynth.core.errors import InputError
from nmsynth.workflows.bundled import bundled_file, bundled_names

FOLDER = "tasks"
"""Folder that holds them."""


class Proof(BaseModel):
    """A number by which a task is judged, as an evaluation measures it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str
    """Name of the measurement."""
    mask: str | None = None
    """Where it is measured; the first place where it is, when unset."""
    title: str = ""
    """Heading of its column; the name when empty."""
    wanted: Literal["lower", "higher", "zero", "one", "told"] = "lower"
    """Where its best value lies; ``zero`` of a bias, ``one`` of a recovery; ``told`` of what has no best, such as an
    uptake or the width of an interval: it stands in the tables and is not judged."""
    unit: str = "1"
    """Of its values."""
    summary: Literal["median", "mean", "correlation"] = "median"
    """Over patients; the mean of counts of few, whose median stays where it is until half of the patients change; the
    rank correlation with the same number of the reference."""
    primary: bool = False
    """Whether it decides if a model beats its baselines; stated before any model is proved."""
    at_equal_noise: bool = False
    """Whether it is judged at equal noise, as a recovery must be: what is left of a lesion is most where nothing was
    smoothed. The baselines are then the Gaussian that leaves as much noise as the model, and any other that leaves no
    more."""

    @property
    def heading(self) -> str:
        """Of its column."""
        return self.title or self.measure


class TaskLevels(BaseModel):
    """Levels at which a task is proved, the same patients at each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Of the recipe of studies, dotted, such as ``draws.count_fraction``."""
    values: tuple[float, ...] = Field(min_length=1)

    def labelled(self) -> list[tuple[float, str]]:
        """Values, each with its name: a fraction below one as ``1/8``, any other as it is.

        Examples
        --------
        >>> TaskLevels(key="draws.count_fraction", values=(0.125,)).labelled()
        [(0.125, '1/8')]
        """
        return [(v, f"1/{1 / v:g}" if v < 1 else f"{v:g}") for v in self.values]


class TaskTest(BaseModel):
    """Patients, and the camera or scanner that they are imaged with, on which a task is proved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Such as ``another camera``."""
    changes: dict[str, Any] = {}
    """Values of the recipe of studies, by dotted key."""
    shifted: bool = False
    """Whether camera, scanner or images are others than those of the training: told beside, without deciding."""


class Attempt(BaseModel):
    """A model of a task that was trained and proved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: datetime.date
    tried: str
    """What was new in it, in a sentence."""
    result: str
    """What its proof found, in a sentence."""
    beats_baselines: bool
    """By the rule of :func:`nmsynth.workflows.task_verdict.judge`."""


MOST_PRIMARY, LEAST_ATTEMPTS = 2, 3
"""Numbers that may decide, and attempts before a baseline is a task's default."""


class TaskSpec(BaseModel):
    """A task, as in ``recipes/tasks``; ``nmsynth evaluate --task`` knows it by the same name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str
    title: str
    source: str
    """What goes in, in words."""
    target: str
    """What comes out, in words."""
    study: str
    """Recipe of the simulated studies that it is shown and proved on, and trained on where its model has no other."""
    model: str = ""
    """That is taken where none is named; none has been trained yet where this is empty."""
    default_is_baseline: bool = False
    """Whether that is a packaged baseline, as no network beat its baselines."""
    attempts: tuple[Attempt, ...] = ()
    """Models that were proved, in their order."""
    reference_kind: Literal["T1", "T2"]
    """What answers are measured against: noise-free, or one scan."""
    measured_against: str = ""
    """Name of the image among what is known of a study that answers are measured against; the target of the training
    where this is empty."""
    compared_source: Literal["first", "last"] = "first"
    """Source that an answer is compared with, and its Gaussian: of parts of a scan the last, which is nearest."""
    organs: bool = False
    """Whether organs are measured."""
    same_calibration: bool = False
    """Whether source and target of a simulated study come from the same counts by the same calibration, so that what is
    made of a source without a unit is compared as it is."""
    binding: bool = False
    """Whether binding in the striatum is measured, where a study is of a brain with a tracer that binds there."""
    ratios: bool = False
    """Whether the regions of a brain are measured, in images that are ratios to a reference region."""
    named_regions: bool = False
    """Whether the regions of a brain are measured by the names that a dynamic study gives them."""
    masks: dict[str, str] = {}
    """Masks of an evaluation, by name, from the images that are known of a study, by theirs."""
    normals: tuple[str, ...] = ()
    """Normal limits of polar maps, by their names in ``recipes/normals``; those that fit a patient are taken."""
    demo: dict[str, Any] = {}
    """Values of the recipe of studies for the one that is shown, by dotted key."""
    proof: tuple[Proof, ...] = Field(min_length=1)
    """The first is what a model is compared by first."""
    baselines: tuple[str, ...] = ()
    """That are fitted to training patients, by their names in a benchmark, beside the source and its best Gaussian."""
    levels: TaskLevels | None = None
    tests: tuple[TaskTest, ...] = (TaskTest(name="as trained"),)
    """Of its proof; the patients are never those of a training."""

    @model_validator(mode="after")
    def _is_decided(self) -> TaskSpec:
        """Refuse a task without what decides, and a baseline as default before it was tried to beat it."""
        n = sum(proof.primary and proof.wanted != "told" for proof in self.proof)
        tests = [test for test in self.tests if not test.shifted]
        if not 1 <= n <= MOST_PRIMARY or not tests:
            raise ValueError(
                f"a task needs 1 to {MOST_PRIMARY} primary numbers and a test as trained; found {n} and {len(tests)}"
            )
        failed = sum(not attempt.beats_baselines for attempt in self.attempts)
        if self.default_is_baseline and (not self.model or failed < LEAST_ATTEMPTS):
            raise ValueError(
                f"a baseline is the default after {LEAST_ATTEMPTS} attempts that did not beat it, under the name of "
                f"its package; found {failed} and the name '{self.model}'"
            )
        return self

    @property
    def primary(self) -> list[str]:
        """Headings of the numbers that decide whether a model beats its baselines."""
        return [proof.heading for proof in self.proof if proof.primary]

    @property
    def is_at_equal_noise(self) -> bool:
        """Whether some number is judged at equal noise."""
        return any(proof.at_equal_noise for proof in self.proof)


def task_names() -> list[str]:
    """Names of the tasks that come with nmsynth."""
    return bundled_names(FOLDER)


def tasks_with_models() -> list[str]:
    """Names of the tasks that can be shown without a model of one's own."""
    return list(defaults())


def defaults() -> dict[str, str]:
    """Model that each task takes where none is named, of those that have one."""
    return {name: model for name in task_names() if (model := load_task(name).model)}


def load_task(name: str) -> TaskSpec:
    """The task of a name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    known = task_names()
    if name not in known:
        close = nearest(name, known)
        remedy = f"Did you mean '{close}'?" if close else f"There are: {', '.join(known)}."
        raise InputError(f"A task must be one of nmsynth's; found '{name:.40}'. {remedy}")
    with bundled_file(name, FOLDER) as path:
        return read_config(path, TaskSpec)
