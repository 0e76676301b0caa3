"""Families of simulated patients: who can be scanned, and over which length of the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import (
    Grid,
    LesionPlan,
    Phantom,
    WholeBodySettings,
    whole_body_patient,
)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A patient that can be drawn on any grid."""

    name: str
    """Pseudonym; one subject never stands in two splits."""
    body_mass_kg: float
    field_mm: float
    """Width of the field of view that holds the body [mm]."""
    z_range_mm: tuple[float, float]
    """First and last plane worth scanning [mm]."""
    render: Callable[[Grid], Phantom] = field(repr=False)


def whole_body_subject(seed: int, *, randomised: bool = False, head: bool = False) -> Subject:
    """A procedural adult, plausible or with uptakes and shapes randomised beyond it; one in six without lesions.

    Parameters
    ----------
    seed
        Of the patient.
    randomised
        Draw uptakes, contrasts and additional structures wider than is plausible.
    head
        Only head and neck, arms down, in a small field of view.
    """
    rng = np.random.default_rng((seed, 17))
    arms = "down" if head else str(rng.choice(("up", "down")))
    settings = replace(WholeBodySettings.training() if randomised else WholeBodySettings(), arms=arms)
    count = 0 if rng.random() < 1 / 6 else int(rng.integers(20, 90))
    plan = LesionPlan(count=count, diameter_mm=(5.0, 45.0), contrast=(1.4, 10.0))
    patient = whole_body_patient(seed, lesions=plan, settings=settings)
    low, high = patient.extent_mm
    girth = float(np.clip((patient.frame.bmi / 25.0) ** 0.5, 0.85, 1.25))
    width = 260.0 if head else min(600.0, (430.0 if arms == "up" else 540.0) * girth)
    kind = "head" if head else "randomised" if randomised else "whole-body"
    return Subject(
        name=f"{kind}-{seed}",
        body_mass_kg=patient.body_mass_kg,
        field_mm=width,
        z_range_mm=(high - 250.0 if head else low, high),
        render=patient.render,
    )


def families_available(data: Path | None) -> dict[str, bool]:
    """Whether each family can be made: procedural ones always, others where their folder is present."""
    present = {name: data is not None and (data / name).is_dir() for name in ("brain_labels", "torso_ct", "sts_triples")}
    procedural = dict.fromkeys(("whole-body", "randomised", "head"), True)
    return {**procedural, **{name.replace("_", "-"): ok for name, ok in present.items()}}


def make_subject(family: str, subject_seed: int, case_seed: int, data: Path | None) -> Subject:
    """Make a subject of a family.

    Parameters
    ----------
    family
        Name of the family.
    subject_seed
        Seed of a procedural patient, or the number of a real anatomy in its folder.
    case_seed
        Seed of what differs between the cases of one real anatomy: uptakes, lesions.
    data
        Folder of real data, for the families that need it.

    Raises
    ------
    InputError
        If the family is unknown.
    """
    if family in ("whole-body", "randomised", "head"):
        return whole_body_subject(subject_seed, randomised=family == "randomised", head=family == "head")
    if family not in _REAL_ANATOMY or data is None:
        raise InputError(f"A patient family must be one of {sorted(families_available(data))}; found '{family}'.")
    return _REAL_ANATOMY[family](data / family.replace("-", "_"), subject_seed, case_seed)


_REAL_ANATOMY: dict[str, Callable[[Path, int, int], Subject]] = {}
"""Makers of subjects from real anatomy, by family."""
