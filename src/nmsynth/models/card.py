"""The model card: what a model is, what it was made from, how well it does, and where it fails."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nmsynth.core.plan import ImagePlan, Plan
from nmsynth.models.envelope import Envelope
from nmsynth.models.method_spec import MethodSpec

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Names of models: they become folder names."""

CONCEPT = "Proof of concept"
"""Beginning of the summary of a model that was proved on simulated correlation alone."""

SIGNIFICANCE_LEVELS = ("low", "standard", "high")
"""Levels of evidence at which structure is kept; ``high`` keeps only what is most surely there."""


class _Part(BaseModel):
    """A part of a card: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSpec(_Part):
    """Which network class the weights belong to."""

    name: str
    """A registered class name; see :data:`nmsynth.models.package.NETWORKS`."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the class, JSON values."""


class DataSource(_Part):
    """Data the model was trained, validated or tested on."""

    name: str
    licence: str
    use: Literal["train", "validation", "test"]
    note: str = ""


class Metric(_Part):
    """One measured number with its interval."""

    name: str
    """Such as ``"NRMSE"``."""
    value: float
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end of the interval."""
    unit: str = "1"
    condition: str = ""
    """On what it was measured, such as ``"simulated, 1/20 counts, 20 patients"``."""
    baseline: float | None = None
    """The same number for a baseline."""
    baseline_name: str = "best Gaussian"
    """Which; of several the best."""
    verdict: Literal["", "better", "worse", "not told apart"] = ""
    """Whether the model is better than every baseline, or worse than one, by paired intervals over patients."""
    ablation: float | None = None
    """The same number for the same network without what is special to the task."""
    ablation_verdict: Literal["", "better", "worse", "not told apart"] = ""
    """Whether the model is better than that, or worse."""


class IntervalCard(_Part):
    """How the spread of samples becomes an interval; see :mod:`nmsynth.metrics.intervals`."""

    coverage: float = Field(gt=0, lt=1)
    """Share of the values that intervals should hold."""
    n_samples: int = Field(ge=2)
    """Samples that the spread is taken of; as many are drawn unless said otherwise."""
    voxel_factor: float = Field(gt=0)
    voxel_floor: float = Field(ge=0)
    """Of single voxels, the floor in the unit of the target."""
    region_factor: float | None = Field(default=None, gt=0)
    region_floor: float = Field(default=0.0, ge=0)
    """Of means of regions, where there were enough."""
    sides_together: bool = False
    """Whether the two sides of a region, whose labels differ by 100, are one."""
    n_cases: int = Field(ge=1)
    """Subjects on which it was calibrated."""
    n_regions: int = Field(ge=0)
    """Regions of all of them."""
    note: str = ""


class TypicalCard(_Part):
    """What the first source of a training is like; see :mod:`nmsynth.metrics.typicality`."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    limit: float = Field(gt=0)
    """Distance from which a source is called unusual [standard deviations]."""
    n_images: int = Field(ge=3)
    fluid: tuple[float, float] | None = None
    """Of MR of heads: the usual share of fluid within the skull; see :mod:`nmsynth.metrics.head_fluid`."""


class Card(_Part):
    """What ``card.json`` of a model package holds."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    task: str = "lowcount-pet"
    summary: str = ""
    """What the model does, in a sentence or two."""
    verdict: str = ""
    """Whether it beats its baselines, in a sentence, as its proof found it; said before all else."""
    licence: str = "Apache-2.0"
    """Licence of the weights."""
    sha256: str = ""
    """Of the file of weights, in hexadecimal; filled in when the package is saved."""
    network: NetworkSpec | None = None
    """Of the homogeneous network, which has no plan."""
    method: MethodSpec | None = None
    """Of every other model: its family, which goes with :attr:`plan`."""
    plan: Plan | None = None
    """By which the method was trained: images, units, normalisation, grid, conditions."""
    inputs: tuple[str, ...] = ("pet",)
    """Roles of the input images; of a method, the names of the plan's sources."""
    significance: dict[str, float] = {}
    """Threshold of the evidence logit at each level ``low``, ``standard``, ``high``; a method has none."""
    significance_note: str = ""
    """How the thresholds were calibrated."""
    interval: IntervalCard | None = None
    """Of a stochastic method whose intervals were calibrated."""
    typical: TypicalCard | None = None
    """What the sources of the training are like, so that an unusual one is told."""
    axial_padding: Literal["reflect", "zero"] = "reflect"
    """How the image goes on beyond its first and last slice; in plane it goes on with zeros."""
    negative_values: str = "Kept: the network sees them, and the output may be slightly negative. Nothing is clipped."
    envelope: Envelope
    data: tuple[DataSource, ...] = ()
    metrics: tuple[Metric, ...] = ()
    findings: tuple[str, ...] = ()
    """What was measured beside the proof of the task, a sentence each."""
    failures: tuple[str, ...] = ()
    """Known failures and limits, a sentence each."""
    intended_use: str = "Research only. Not for diagnosis or treatment."
    training: dict[str, Any] = {}
    """Resolved recipe, seed and version of the training."""

    @field_validator("name")
    @classmethod
    def _nameable(cls, name: str) -> str:
        """Refuse a name that could not be a folder."""
        if not NAME_PATTERN.fullmatch(name) or name.endswith(".") or ".." in name:
            raise ValueError("a model name is 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit")
        return name

    @field_validator("significance")
    @classmethod
    def _levels(cls, thresholds: dict[str, float]) -> dict[str, float]:
        """Refuse thresholds that are not one rising number a level."""
        if not thresholds:
            return thresholds
        if set(thresholds) != set(SIGNIFICANCE_LEVELS):
            raise ValueError(f"significance needs the levels {', '.join(SIGNIFICANCE_LEVELS)}")
        values = [thresholds[level] for level in SIGNIFICANCE_LEVELS]
        if sorted(values) != values or not all(abs(value) < 1e6 for value in values):
            raise ValueError("significance thresholds must be finite and rise from low to high")
        return thresholds

    @model_validator(mode="after")
    def _one_model(self) -> Card:
        """Refuse a card that names no model or two, or whose inputs are not those of its plan."""
        if (self.network is None) == (self.method is None):
            raise ValueError("a card names either a network or a method")
        if (self.method is None) != (self.plan is None):
            raise ValueError("a method comes with the plan it was trained by, and a network with none")
        if self.network is not None and not self.significance:
            raise ValueError(f"significance needs the levels {', '.join(SIGNIFICANCE_LEVELS)}")
        if self.plan is not None and self.inputs != tuple(source.name for source in self.plan.sources):
            raise ValueError("the inputs of a method are the sources of its plan, in their order")
        return self

    @property
    def introduction(self) -> str:
        """Verdict and summary; that a model is a proof of concept is said even before its verdict."""
        first, stop, rest = self.summary.partition(". ")
        if not self.verdict or not first.startswith(CONCEPT):
            return f"{self.verdict} {self.summary}".strip()
        return f"{first.removesuffix('.')}. {self.verdict} {rest if stop else ''}".strip()

    def to_markdown(self) -> str:
        """Return the card as a page to read."""
        lines = [f"# {self.name} {self.version}", "", self.introduction, "", f"**{self.intended_use}**", ""]
        lines += [f"- Task: {self.task}", f"- Licence of the weights: {self.licence}", *self._model_lines()]
        lines += [f"- sha256: `{self.sha256}`"]
        if self.plan is None:
            lines += [f"- Negative values: {self.negative_values}"]
            lines += [f"- Beyond the first and last slice: {self.axial_padding}"]
        else:
            lines += ["", "## Plan", "", *plan_lines(self.plan)]
        lines += ["", "## Envelope", ""]
        lines += [f"- {key}: {value}" for key, value in self.envelope.model_dump(mode="json").items()]
        if self.significance:
            lines += ["", "## Significance", "", self.significance_note, ""]
            lines += [f"- {level}: evidence logit above {value:g}" for level, value in self.significance.items()]
        if self.interval is not None:
            lines += ["", "## Intervals", "", *_interval_lines(self.interval)]
        lines += ["", "## Data", ""] + [f"- {d.use}: {d.name} ({d.licence}) {d.note}".rstrip() for d in self.data]
        lines += ["", "## Metrics", ""]
        lines += [
            "| metric | condition | value | interval | baseline | against baselines | without the idea | against it |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_metric_row(metric) for metric in self.metrics]
        lines += ["", *(f"- {finding}" for finding in self.findings)] if self.findings else []
        lines += ["", "## Failures and limits", ""] + [f"- {failure}" for failure in self.failures]
        return "\n".join(lines) + "\n"

    def _model_lines(self) -> list[str]:
        """Which network or method."""
        if self.network is not None:
            return [f"- Network: {self.network.name} {self.network.arguments}"]
        return [f"- Method: {self.method.name} {self.method.arguments}"] if self.method is not None else []


def _interval_lines(interval: IntervalCard) -> list[str]:
    """What intervals promise and where it was found."""
    i = interval
    regions = "too few regions for intervals of them"
    if i.region_factor is not None:
        regions = f"{i.region_factor:.3g} of a region's with one of {i.region_floor:.3g}"
    return [
        f"- {100 * i.coverage:g} % intervals from {i.n_samples} samples, calibrated on {i.n_cases} patients with "
        f"{i.n_regions} regions in all{', both sides of a region together' if i.sides_together else ''}. "
        f"{i.note}".rstrip(),
        f"- Half of an interval: {i.voxel_factor:.3g} of a voxel's spread with a floor of {i.voxel_floor:.3g}; "
        f"{regions}",
    ]


def plan_lines(plan: Plan) -> list[str]:
    """What of a plan a user of its model needs to know, a line each."""
    spacing = " x ".join(f"{size:g}" for size in plan.spacing_mm)
    lines = [f"- Source: {_image_line(source)}" for source in plan.sources]
    lines += [f"- Target: {_image_line(plan.target)}"]
    lines += [f"- Voxels (z, y, x): {spacing} mm, {plan.dimensions}, patches of {plan.patch} voxels"]
    if plan.coarse.share:
        share, fwhm = 100 * plan.coarse.share, plan.coarse.fwhm_mm
        alone = ", where it stands out of its surroundings" if plan.coarse.standing_out else ""
        lines.append(f"- Kept of the source: {share:g} % of what a Gaussian of {fwhm:g} mm shows{alone}")
    for c in plan.conditions:
        kind = f"one of {', '.join(c.categories)}" if c.kind == "category" else c.kind
        lines.append(f"- Condition: {c.name}, {kind}")
    return lines


def _image_line(image: ImagePlan) -> str:
    """An image of a plan with its normalisation."""
    scale = ", ".join(
        f"{key} {value:g}" for key, value in image.normalisation.typical().to_json().items() if key != "kind"
    )
    optional = ", may be missing" if image.optional else ""
    return f"{image.name}: {image.modality} in {image.unit.value}, {image.normalisation.kind} ({scale}){optional}"


def _metric_row(metric: Metric) -> str:
    """One row of the table of metrics."""
    interval = "" if metric.low is None or metric.high is None else f"{metric.low:.3g} to {metric.high:.3g}"
    baseline = "" if metric.baseline is None else f"{metric.baseline:.3g} ({metric.baseline_name})"
    cells = (
        f"{metric.name} [{metric.unit}]",
        metric.condition,
        f"{metric.value:.3g}",
        interval,
        baseline,
        metric.verdict,
        "" if metric.ablation is None else f"{metric.ablation:.3g}",
        metric.ablation_verdict,
    )
    return f"| {' | '.join(cells)} |"
