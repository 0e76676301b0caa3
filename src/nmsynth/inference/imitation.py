"""Activity that nobody injected, or at a time when nobody scanned: what such a synthetic image says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nmsynth.core.plan import TARGET_TRACER, Plan
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.models.envelope import printable
from nmsynth.models.plan_envelope import tracer_names


@dataclass(frozen=True, slots=True)
class Imitation:
    """A tracer that an image imitates, and what a ratio of it is relative to."""

    tracer: str
    """Short name; empty where it is not known."""
    modality: str
    unit: Unit
    reference_region: str = ""
    time: str = ""
    """After the injection that there was, where only the time is another; in words."""

    @property
    def description(self) -> str:
        """Such as ``synthetic FDG-like PT``, or ``synthetic FDG PT of 30 to 60 min``."""
        if self.time:
            return f"synthetic {self.tracer or 'tracer'} {self.modality} of {self.time}"
        return f"synthetic {self.tracer or 'tracer'}-like {self.modality}"

    @property
    def suv_rule(self) -> SuvRule:
        """Why there is no SUV."""
        why = "when nothing was scanned" if self.time else "for which nothing was injected"
        return SuvRule(reason=f"SUV refused: the image is {self.description}, {why}. Use a scan for SUV.")

    @property
    def facts(self) -> dict[str, str]:
        """For the provenance: what is imitated, in which unit, relative to what."""
        found = {
            "imitates": self.tracer, "unit": self.unit.value, "reference_region": self.reference_region,
            "time": self.time,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}


def imitation_of(plan: Plan, facts: Mapping[str, str]) -> Imitation | None:
    """What the answer of a model imitates; ``None`` where it is of the tracer of its source, or of none.

    Parameters
    ----------
    plan
        Of the model.
    facts
        Conditions as they are stated, by name.
    """
    target, first = plan.target, plan.sources[0]
    if target.modality not in ACTIVITY_MODALITIES:
        return None
    other = bool(target.tracers and first.tracers) and target.tracers != first.tracers
    other = other or any(condition.name == TARGET_TRACER for condition in plan.conditions)
    time = printable(plan.target_time)
    if first.modality == target.modality and target.unit is not Unit.SUVR and not other and not time:
        return None
    references = dict(target.references)
    names = tuple(references) or tracer_names(target) or (tracer_names(first) if time else ())
    tracer = facts.get(TARGET_TRACER, names[0] if len(names) == 1 else "")
    return Imitation(printable(tracer), target.modality, target.unit, references.get(tracer, ""), time)
