"""The plan of a training: what goes in and comes out, on which grid and scale, how large the network, how long.

A plan is written by ``nmsynth plan`` from the fingerprint of a dataset, may be edited, and is saved with the model. The
same plan on the same data trains the same model.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from nmsynth.core.config import Settings, read_config
from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.units import Unit

Triple = tuple[int, int, int]

SCHEMA_VERSION = 1
_SHORT_ARRAY = re.compile(r"= \[\n((?:    [-+.\w\"]+,\n)+)\]")
"""An array of plain values that tomli_w spreads over several lines."""


class ImagePlan(Settings):
    """One kind of image that a model takes or gives."""

    name: str
    """What tells it apart: ``pet``, ``ct``, ``t1``."""
    modality: str
    """DICOM modality: ``PT``, ``NM``, ``CT``, ``MR``."""
    unit: Unit
    """Unit that values are converted to before they are normalised."""
    normalisation: Normalisation
    fill: float = 0.0
    """Value where the image has no field of view [its unit]."""
    attenuation_corrected: bool | None = None
    """Of PET and SPECT: whether all images of the dataset are corrected for attenuation, or none is; unset where it is
    not known or they differ."""
    tracers: tuple[tuple[str, str], ...] = ()
    """Radionuclide and radiopharmaceutical of each tracer in the dataset, as the images state them."""
    references: tuple[tuple[str, str], ...] = ()
    """Of ratios: each tracer in the dataset and the region that it is relative to, as the images state them."""
    optional: bool = False
    """Whether a case may lack it; it is then filled, and a number tells the network so."""


SOURCE_TRACER, TARGET_TRACER = "source_tracer", "target_tracer"
"""Conditions by which a model of several tracers is told which its source shows, and which it imitates."""


class ConditionPlan(Settings):
    """A fact of a scan that the network is told: count fraction, tracer, time after injection."""

    name: str
    kind: Literal["number", "logarithm", "category"] = "number"
    offset: float = 0.0
    """Subtracted from the number, or from its natural logarithm."""
    scale: float = Field(default=1.0, gt=0)
    categories: tuple[str, ...] = ()
    """Of ``category``, in the order of their columns."""
    optional: bool = False
    """Whether a scan may leave it unsaid; a further number tells the network whether it is said."""

    @property
    def width(self) -> int:
        """Numbers that it takes."""
        return (len(self.categories) if self.kind == "category" else 1) + self.optional

    def encode_or_leave(self, value: float | str | None) -> list[float]:
        """Numbers of a value that may be unsaid, the last of an optional one telling whether it is.

        Raises
        ------
        InputError
            If it is unsaid and not optional, or as :meth:`encode`.

        Examples
        --------
        >>> age = ConditionPlan(name="age", offset=70.0, scale=10.0, optional=True)
        >>> age.encode_or_leave(80), age.encode_or_leave(None)
        ([1.0, 1.0], [0.0, 0.0])
        """
        if value is None:
            if not self.optional:
                raise InputError(f"The plan needs the condition '{self.name}' of each scan; it is not given. State it.")
            return [0.0] * self.width
        return [*self.encode(value), 1.0] if self.optional else self.encode(value)

    def encode(self, value: float | str) -> list[float]:
        """Numbers of order one.

        Raises
        ------
        InputError
            If the value is not of the kind, or a category is not known.

        Examples
        --------
        >>> ConditionPlan(name="tracer", kind="category", categories=("FDG", "FES")).encode("FES")
        [0.0, 1.0]
        """
        if self.kind == "category":
            if str(value) not in self.categories:
                known = ", ".join(self.categories)
                raise InputError(f"The condition '{self.name}' must be one of {known}; found '{value}'.")
            return [float(str(value) == c) for c in self.categories]
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (self.kind == "logarithm" and number <= 0):
            raise InputError(
                f"The condition '{self.name}' must be a finite{' positive' if self.kind == 'logarithm' else ''} "
                f"number; found '{value}'."
            )
        return [((math.log(number) if self.kind == "logarithm" else number) - self.offset) / self.scale]


class AugmentationPlan(Settings):
    """How patches are varied. Nothing here changes a quantity: no image is rescaled against another."""

    flip_axes: tuple[Literal["z", "y", "x"], ...] = ("x",)
    """Axes that are flipped half the time."""
    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in the plane, source and target alike."""
    zoom: float = Field(default=0.0, ge=0, lt=0.5)
    """Largest relative zoom, source and target alike."""
    shift_mm: float = Field(default=0.0, ge=0)
    """Largest shift of the source against the target, for pairs that are not exactly aligned."""
    source_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of noise added to normalised sources."""
    plain_share: float = Field(default=0.0, ge=0, le=1)
    """Share of patches that are neither turned, zoomed nor shifted: interpolation takes some of the noise that images
    have which are answered."""
    condition_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the patches in which each optional condition is left unsaid."""


class CoarsePlan(Settings):
    """What of a source is kept where it is reliable: over distances at which its noise averages out.

    Of an answer ``a`` to a source ``s`` and a Gaussian ``G``, ``a + share G(s - a)`` is given: the network adds what is
    fine, and smooths no shallow defect or faint lesion that many counts show together.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    """Of the coarse difference that is taken back; 0 leaves the answer to the network."""
    fwhm_mm: float = Field(default=15.0, gt=0)
    """Full width at half maximum of the Gaussian [mm], in the plane alone for single slices."""
    standing_out: float = Field(default=0.0, ge=0)
    """What does not stand out of its surroundings is left out, as noise does not, and a lesion does: of a coarse
    difference ``c`` the part ``max(0, 1 - k n / c^2)`` is taken back, ``k`` this number and ``n`` the mean of ``c^2``
    about it at the level of the answer there, as noise grows with activity; 0 takes all back."""


class SchedulePlan(Settings):
    """How long and how fast."""

    steps: int = Field(default=10_000, ge=1)
    """Optimiser steps."""
    batch: int = Field(default=2, ge=1)
    """Patches a process and forward pass."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are added for one step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises; then it falls by a cosine to a hundredth."""
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    average_decay: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the exponential average of the weights, which is what is validated and shipped."""
    precision: Literal["fp32", "bf16"] = "fp32"
    validate_every: int = Field(default=500, ge=1)
    """Steps between validations."""
    patience: int = Field(default=0, ge=0)
    """Validations without a better score after which training stops; 0 never."""
    validation_cases: int = Field(default=4, ge=1)
    """Whole images that each validation predicts."""
    validation_samples: int = Field(default=1, ge=1)
    """Samples of a stochastic method whose mean is an image that is validated. Of one sample the error is least where
    samples do not differ."""
    score: Literal["error", "regional"] = "regional"
    """What the best checkpoint is chosen by: mean absolute error in the body, or half of that and half the mean
    absolute error of the means of the labelled regions (lesions, organs), where there are any."""
    region_share: float = Field(default=0.33, ge=0, le=1)
    """Share of patches centred in a labelled region."""
    outside_share: float = Field(default=0.0, ge=0, le=1)
    """Share of patches centred anywhere in the image, so that a network also learns that air is air: windows of an
    answer lie there too. Others are centred in the body or a region."""
    learns_ends: bool = False
    """Whether 2.5D networks also learn the slices at the ends of an image, which lack neighbours: the last is repeated,
    as where an image is answered."""
    seed: int = 1


class Plan(Settings):
    """A whole plan, as in ``plan.toml``."""

    schema_version: Literal[1] = 1
    task: str
    """Such as ``ct-to-pet``."""
    sources: tuple[ImagePlan, ...] = Field(min_length=1)
    target: ImagePlan
    conditions: tuple[ConditionPlan, ...] = ()
    tracer_pairs: tuple[tuple[str, str], ...] = ()
    """Tracers of source and target that training cases have together, of a model that is told both; others are
    refused."""
    residual: bool = False
    """Whether networks predict the difference to the first source, which then is on the target's scale."""
    same_calibration: bool = False
    """Whether a target comes from the counts of its first source by the same calibration, so that their ratio is
    learned though the source states no unit: of images that differ in their corrections alone."""
    target_time: str = ""
    """When the target shows the tracer of the first source, in words, where that is another time, as ``30 to 60 min``:
    activity is not kept, and the times of the source are not those of the target."""
    spacing_mm: tuple[float, float, float]
    """Voxel size along ``(z, y, x)`` at which the networks work [mm]."""
    dimensions: Literal["2d", "2.5d", "3d"] = "3d"
    context: int = Field(default=1, ge=1)
    """Slices that a 2.5D network sees for the one it gives; odd."""
    patch: Triple
    """Voxels along ``(z, y, x)``; one slice along z in 2D and 2.5D."""
    windows: Literal["patch", "slice"] = "slice"
    """Windows by which an image is answered: ``patch``, of the size of what networks were trained on, blended where
    they overlap, an image that is smaller widened by its border; or ``slice``, in 2D and 2.5D whole slices, of methods
    with one code for an image the whole image. Networks normalise features over their window, and where it holds more
    air than a patch they answer otherwise than they learned. Plans from before the choice have ``slice``."""
    channels: tuple[int, ...] = (16, 32, 64)
    """Width of each level of a U-Net, finest first; every further level halves what is long enough."""
    coarse: CoarsePlan = CoarsePlan()
    augmentation: AugmentationPlan = AugmentationPlan()
    schedule: SchedulePlan = SchedulePlan()
    fingerprint: dict[str, Any] = Field(default_factory=dict)
    """What the plan was made from; not read."""

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        """Refuse a plan whose parts contradict each other."""
        if any(s <= 0 for s in self.spacing_mm) or any(n < 1 for n in self.patch):
            raise ValueError("spacing and patch must be positive")
        if self.dimensions != "3d" and self.patch[0] != 1:
            raise ValueError(f"a {self.dimensions} plan has patches of one slice; found {self.patch[0]}")
        if self.dimensions == "2.5d" and (self.context < 3 or self.context % 2 == 0):
            raise ValueError(f"a 2.5d plan needs an odd context of at least 3 slices; found {self.context}")
        if self.dimensions != "2.5d" and self.context != 1:
            raise ValueError("only a 2.5d plan has a context of slices")
        if self.residual and self.sources[0].normalisation != self.target.normalisation:
            raise ValueError("a residual needs the first source on the target's scale: give both one normalisation")
        if self.coarse.share and not self.residual:
            raise ValueError("what is coarse can be kept of a source on the target's scale: the plan is no residual")
        if self.target.normalisation.kind == "level" and self.sources[0].normalisation.kind != "level":
            raise ValueError("a target with a level of its own needs a first source with one, whose scale it is given")
        if self.same_calibration and self.target.normalisation.kind != "level":
            raise ValueError("a target of the first source's calibration is normalised by that source's level")
        names = [s.name for s in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("sources must have different names")
        return self

    @property
    def target_level_of_source(self) -> bool:
        """Whether the target is normalised by the level of the first source.

        So it is where both are calibrated, or calibrated alike, and their ratio is learned; else each has its own
        level, as that ratio means nothing.
        """
        known = self.same_calibration or not self.target.unit.has_unknown_scale
        return self.target.normalisation.kind == "level" and known

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the networks, 2 or 3."""
        return 3 if self.dimensions == "3d" else 2

    @property
    def n_source_channels(self) -> int:
        """Channels that a network takes."""
        return len(self.sources) * self.context

    @property
    def n_conditions(self) -> int:
        """Numbers that a network is told beside the images."""
        return sum(c.width for c in self.conditions) + sum(s.optional for s in self.sources)

    @property
    def condition_columns(self) -> list[tuple[ConditionPlan, slice]]:
        """Each condition with its place among the numbers that a network is told."""
        found, start = [], 0
        for condition in self.conditions:
            found.append((condition, slice(start, start + condition.width)))
            start += condition.width
        return found

    @property
    def network_patch(self) -> tuple[int, ...]:
        """Size of the patches that a network sees, along ``(z, y, x)`` or ``(y, x)``."""
        return self.patch if self.spatial_dims == 3 else self.patch[1:]


def read_plan(path: Path, overrides: dict[str, Any] | None = None) -> Plan:
    """Read a plan from TOML.

    Raises
    ------
    InputError
        If the file is not there, a key is unknown or the plan contradicts itself.
    """
    return read_config(Path(path), Plan, overrides=overrides)


def plan_to_toml(plan: Plan) -> str:
    """A plan as TOML; what is not set is left out."""
    import tomli_w

    head = "# How nmsynth trains on this dataset. Edit what you know better; the same plan trains the same model.\n"
    text = tomli_w.dumps(plan.model_dump(mode="json", exclude_none=True))
    return head + _SHORT_ARRAY.sub(lambda found: f"= [{' '.join(found[1].split()).rstrip(',')}]", text)


def check_same_images(plan: Plan, found: dict[str, str]) -> None:
    """Refuse a plan for other images than those of a dataset.

    Parameters
    ----------
    plan
        To be used.
    found
        Modality of each image of the dataset, by name; the target's under ``target``.

    Raises
    ------
    InputError
        For the first image that is not there or of another modality.
    """
    for image, key in [(s, s.name) for s in plan.sources] + [(plan.target, "target")]:
        if not found or (key not in found and image.optional):
            continue
        if key not in found:
            raise InputError(
                f"The plan needs the source '{image.name}' ({image.modality}); the dataset has "
                f"{', '.join(sorted(found))}. Plan this dataset, or name its images as the plan does."
            )
        if found[key] != image.modality:
            raise InputError(
                f"The plan was made for {image.modality} as {key}; the dataset has {found[key]}. "
                "Run 'nmsynth plan' on this dataset."
            )


def check_same_inputs(plan: Plan, other: Plan) -> None:
    """Refuse to go on from a model that was made for other inputs.

    Parameters
    ----------
    plan
        To be trained by.
    other
        Of the model whose weights are taken.

    Raises
    ------
    InputError
        For the first part in which they differ.
    """
    for name in (
        "sources",
        "target",
        "conditions",
        "residual",
        "same_calibration",
        "dimensions",
        "context",
        "spacing_mm",
    ):
        wanted, found = getattr(plan, name), getattr(other, name)
        if wanted != found:
            raise InputError(
                f"A model is fine-tuned on what it was trained for; its '{name}' are {_words(found)}, the plan's "
                f"{_words(wanted)}. Leave the plan out, so that the model's is taken, or train without the model."
            )


def _words(part: Any) -> str:
    """A part of a plan in a line."""
    if isinstance(part, ImagePlan):
        n = part.normalisation
        return f"{part.name} ({part.modality} [{part.unit.value}], {n.kind}, {n.offset:g} and {n.scale:g})"
    if isinstance(part, ConditionPlan):
        return f"{part.name} ({part.kind}, {part.offset:g} and {part.scale:g}{', '.join(('', *part.categories))})"
    return ", ".join(_words(p) for p in part) or "none" if isinstance(part, tuple) else str(part)
