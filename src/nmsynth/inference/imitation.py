"""Activity that nobody injected: what a synthetic PET or SPECT of another modality or tracer says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nmsynth.core.plan import Plan
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.models.envelope import printable
from nmsynth.models.plan_envelope import tracer_names

TARGET_TRACER = "target_tracer"
"""Condition by which a model of several tracers is told which it imitates."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """A tracer that an image imitates, and what a ratio of it is relative to."""

    tracer: str
    """Short name; empty where it is not known."""
    modality: str
    unit: Unit
    reference_region: str = ""

    @property
    def description(self) -> str:
        """Such as ``synthetic FDG-like PT``."""
        return f"synthetic {self.tracer or 'tracer'}-like {self.modality}"

    @property
    def suv_rule(self) -> SuvRule:
        """Why there is no SUV."""
        return SuvRule(
            reason=f"SUV refused: the image is {self.description}, for which nothing was injected. Use a scan for SUV."
        )

    @property
    def facts(self) -> dict[str, str]:
        """For the provenance: what is imitated, in which unit, relative to what."""
        found = {"imitates": self.tracer, "unit": self.unit.value, "reference_region": self.reference_region}
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
    if first.modality == target.modality and target.unit is not Unit.SUVR and not other:
        return None
    references = dict(target.references)
    names = tuple(references) or tracer_names(target)
    tracer = facts.get(TARGET_TRACER, names[0] if len(names) == 1 else "")
    return Imitation(printable(tracer), target.modality, target.unit, references.get(tracer, ""))
