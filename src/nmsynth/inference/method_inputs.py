"""The sources of a method from volumes: checked, converted, on the plan's grid, normalised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nmsynth.core.config import nearest
from nmsynth.core.errors import EnvelopeError, InputError
from nmsynth.core.normalisation import FittedNormalisation
from nmsynth.core.plan import SOURCE_TRACER, TARGET_TRACER, ImagePlan, Plan
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.data.body import body_contour
from nmsynth.data.planned_image import as_planned, fitted_to
from nmsynth.data.prepared import encode_conditions
from nmsynth.data.resampling import covered, plan_grid, resample
from nmsynth.inference.guard import check_input
from nmsynth.inference.method_model import MethodModel
from nmsynth.inference.settings import SynthesisSettings
from nmsynth.inference.tiling import FloatImage
from nmsynth.metrics.head_fluid import NAME as FLUID
from nmsynth.metrics.head_fluid import head_fluid
from nmsynth.metrics.typicality import Typical, image_numbers
from nmsynth.models.card import TypicalCard
from nmsynth.models.envelope import Envelope, Tracer, printable
from nmsynth.models.plan_envelope import planned_units, tracer_of

_SHORTEST_NAME = 5
"""Letters of a word of a condition that names a tracer on its own."""
COVERED_SHARE = 0.99
"""Share of the first source's field of view that a further one must cover not to be flagged."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodInputs:
    """What a method is given.

    Attributes
    ----------
    volumes
        By role, as they came.
    arrays
        Normalised, shape ``(source, z, y, x)``, a missing source filled.
    condition
        Numbers that the network is told, shape ``(condition,)``.
    facts
        Conditions by name, as stated.
    affine, shape
        The plan's grid over the field of view of the first source.
    flags
        What a reader of the image should know.
    is_zero
        Whether the first source is zero everywhere.
    target_scale
        By which an answer becomes an image.
    """

    volumes: dict[str, Volume]
    arrays: FloatImage
    condition: list[float]
    facts: dict[str, str]
    affine: npt.NDArray[np.float64]
    shape: tuple[int, int, int]
    flags: tuple[str, ...]
    is_zero: bool
    target_scale: FittedNormalisation


def method_inputs(
    given: Volume | Mapping[str, Volume], model: MethodModel, settings: SynthesisSettings
) -> MethodInputs:
    """Check and prepare the sources of a method.

    Raises
    ------
    InputError
        If a role or condition is wrong or missing.
    EnvelopeError
        If the first source is outside the model's envelope, a further one is of another modality, unit or frame of
        reference than it must be or shows another place, or one is synthetic.
    UnsafeInputError
        If values are not usable.
    SuvError
        If the plan wants an SUV and none can be stated.
    """
    plan = model.plan
    volumes = _by_role(given, plan)
    first = volumes[plan.sources[0].name]
    flags = list(
        model.envelope.check(
            first,
            tracer=settings.tracer,
            attenuation_corrected=settings.attenuation_corrected,
            model=model.name,
        )
    )
    facts = stated_conditions(plan, settings.conditions, first)
    _check_told(plan, facts, first, model.envelope)
    condition = encode_conditions(plan, facts, dict.fromkeys(volumes, True))
    state = check_input(first)
    flags += state.flags
    affine, shape = plan_grid(first, plan.spacing_mm)
    arrays = []
    target_scale = plan.target.normalisation.typical()
    for image in plan.sources:
        if image.name not in volumes:
            arrays.append(image.normalisation.typical().apply(np.full(shape, image.fill, dtype=np.float32)))
            flags.append(f"the optional input {image.name} was not given")
            continue
        volume, is_first = volumes[image.name], image is plan.sources[0]
        if not is_first:
            _check_alike(volume, image, first)
            flags += _further(volume, image, affine, shape)
        planned = as_planned(volume, image, remedy="Give the image that the model's card names.")
        moved = resample(planned, affine, shape, fill=image.fill)
        typical = image.normalisation.typical()
        fitted = typical if state.is_zero else fitted_to(planned, moved, image)
        arrays.append(fitted.apply(moved.array))
        if is_first and model.card.typical is not None and not state.is_zero:
            flags += _unusual(moved, arrays[-1], model.card.typical)
        if is_first and plan.target.normalisation.kind == "level":
            target_scale = replace(target_scale, scale=target_scale.scale * fitted.scale / typical.scale)
    return MethodInputs(
        volumes, np.stack(arrays), condition, facts, affine, shape, tuple(flags), state.is_zero, target_scale
    )


def _by_role(given: Volume | Mapping[str, Volume], plan: Plan) -> dict[str, Volume]:
    """Volumes by the names of a plan's sources; those that may not be missing are there."""
    names = [source.name for source in plan.sources]
    volumes = {names[0]: given} if isinstance(given, Volume) else dict(given)
    needed = [source.name for source in plan.sources if not source.optional or source is plan.sources[0]]
    missing, unknown = [n for n in needed if n not in volumes], [n for n in volumes if n not in names]
    if missing or unknown:
        found = ", ".join(map(str, volumes)) or "none"
        raise InputError(
            f"This model takes the inputs {', '.join(names)} (needed: {', '.join(needed)}); found {found}. "
            "Pass one image for each."
        )
    return volumes


def stated_conditions(plan: Plan, conditions: Mapping[str, float | str], first: Volume) -> dict[str, str]:
    """Conditions of a plan by name, as the settings state them, or the scan itself states its count fraction.

    Raises
    ------
    InputError
        If one that is not optional is not stated, naming all such, or one is not the plan's.
    """
    known = [condition.name for condition in plan.conditions]
    for name in conditions:
        if name not in known:
            close = nearest(str(name), known)
            remedy = f"Did you mean '{close}'?" if close else "Leave it out."
            raise InputError(f"The conditions of this model are {', '.join(known) or 'none'}; found '{name}'. {remedy}")
    facts = {name: str(value) for name, value in conditions.items()}
    fraction = first.acquisition.simulated_count_fraction
    if "count_fraction" in known and fraction is not None:
        facts.setdefault("count_fraction", str(fraction))
    missing = [c.name for c in plan.conditions if c.name not in facts and not c.optional]
    if missing:
        example = f"{missing[0]}=VALUE"
        raise InputError(
            f"This model is told {', '.join(missing)} of each scan, which is not stated. Pass it in 'conditions', on "
            f"the command line as --condition {example}."
        )
    return facts


def _check_told(plan: Plan, facts: Mapping[str, str], first: Volume, envelope: Envelope) -> None:
    """Refuse tracers of source and target that were not trained together, and one of the source that is not its own."""
    told = (facts.get(SOURCE_TRACER, ""), facts.get(TARGET_TRACER, ""))
    if plan.tracer_pairs and told not in plan.tracer_pairs:
        known = "; ".join(f"{source} to {target}" for source, target in plan.tracer_pairs)
        raise EnvelopeError(
            f"A model of several tracers answers for pairs that it was trained on: {known}; found "
            f"{printable(told[0])} to {printable(told[1])}. Ask for one of these."
        )
    agent, stated = first.acquisition.radiopharmaceutical, facts.get(SOURCE_TRACER)
    if not agent or stated is None or _is_told(stated, first.acquisition.radionuclide, agent, envelope.tracers):
        return
    raise EnvelopeError(
        f"The condition {SOURCE_TRACER} must be the tracer of the scan; found '{printable(stated)}', and the scan "
        f"states {printable(agent)}. Correct the condition."
    )


def _is_told(stated: str, radionuclide: str | None, agent: str, tracers: Sequence[Tracer]) -> bool:
    """Whether a condition names the tracer of a scan: by its name or agents in the card, or by a word of the scan's."""
    known = [tracer for tracer in tracers if tracer.matches(radionuclide, agent)] or [
        tracer_of(radionuclide or "", agent)
    ]
    told, found = stated.casefold(), agent.casefold()
    if any(name.casefold() in told for tracer in known for name in (tracer.name, *tracer.agents)):
        return True
    return any(word in found for word in re.findall(rf"[a-z]{{{_SHORTEST_NAME},}}", told))


def _unusual(source: Volume, normalised: FloatImage, card: TypicalCard) -> list[str]:
    """Flags of a first source that is unlike those of the training."""
    typical, body = Typical(card.mean, card.sd, card.limit), body_contour(source)
    distance, which = typical.distance(image_numbers(normalised, body, source.spacing_mm))
    flags = []
    if distance > card.limit:
        flags.append(
            f"the source is unlike those of the training: its {which} lies {distance:.1f} standard deviations from "
            f"theirs (limit {card.limit:.1f})"
        )
    fluid = head_fluid(normalised, body, source.spacing_mm) if card.fluid is not None else None
    if card.fluid is not None and fluid is not None and not card.fluid[0] <= fluid <= card.fluid[1]:
        low, high = (100 * share for share in card.fluid)
        beyond = "; atrophy may be beyond that of the training" if fluid > card.fluid[1] else ""
        flags.append(
            f"the source is unlike those of the training: its {FLUID} is {100 * fluid:.0f} %, theirs {low:.0f} to "
            f"{high:.0f} %{beyond}"
        )
    return flags


def _check_alike(volume: Volume, image: ImagePlan, first: Volume) -> None:
    """Refuse a source beside the first that is not what the plan wants, or lies in another frame of reference."""
    if volume.modality != image.modality:
        raise EnvelopeError(
            f"The input {image.name} must be {image.modality}; found {printable(volume.modality)}. Give the image that "
            "the model's card names, each in its own role."
        )
    if volume.unit not in planned_units(image):
        units = " or ".join(unit.value for unit in planned_units(image))
        raise EnvelopeError(
            f"The input {image.name} must be in {units}; found {volume.unit.value}. Give the image that the model's "
            "card names."
        )
    own, known = (v.acquisition.frame_of_reference_uid for v in (volume, first))
    if own is not None and known is not None and own != known:
        raise EnvelopeError(
            f"The input {image.name} must share the frame of reference of the first; they state two. Give images of "
            "one scan, or register it and give the registered one as NIfTI without a sidecar."
        )


def _further(
    volume: Volume, image: ImagePlan, affine: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> list[str]:
    """Flags of a source beside the first, of which only place, kind and values are checked."""
    if volume.axes != SPATIAL_AXES:
        raise InputError(f"The input {image.name} must have the axes (z, y, x); found {volume.axes}. Give a 3D image.")
    flags = [f"{image.name}: {flag}" for flag in check_input(volume).flags]
    share = float(covered(volume, affine, shape).mean())
    if share == 0.0:
        raise EnvelopeError(
            f"The input {image.name} must show the place that the first shows; their fields of view do not meet. "
            "Give images of one patient in one frame of reference."
        )
    if share < COVERED_SHARE:
        flags.append(f"the input {image.name} covers {100 * share:.0f} % of the first; the rest is filled")
    return flags
