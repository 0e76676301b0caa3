"""Whom a PET study is of, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.workflows.brain_subject import brain_facts, draw_brain
from nmsynth.workflows.scan_subject import ScanSubject, of_patient, shortened

if TYPE_CHECKING:
    from nmsynth.physics.phantom import Grid, Phantom
    from nmsynth.workflows.pet_simulation import SimulatePetSettings


def pet_subject(settings: SimulatePetSettings) -> ScanSubject:
    """The subject of the settings: a patient, a brain, a patient from labels, or a quality phantom.

    Raises
    ------
    InputError
        If the settings of one kind of subject are given with another.
    """
    from nmsynth.physics import phantom as phantoms

    of_brain = settings.phantom == "brain" or settings.tracer is not None or settings.asks_for_disease
    of_labels = settings.labels is not None and settings.label_kind == "brain"
    if of_brain and not of_labels and (settings.phantom != "brain" or settings.labels is not None):
        raise InputError(
            "Tracer, disease, severity, atrophy and coupling are those of a brain; found none. Give --phantom brain, "
            "or --labels with --label-kind brain, or leave them out."
        )
    _refuse_idle(settings, of_brain or of_labels)
    plan = phantoms.LesionPlan(
        count=settings.lesions,
        diameter_mm=settings.lesion_diameter_mm,
        contrast=settings.lesion_contrast,
        isolated=settings.lesions is not None,
    )
    if of_brain:
        placed = plan if settings.lesions else None
        brain = draw_brain(
            settings, settings.labels, tracer=settings.tracer or "FDG", seed=settings.seed, lesions=placed
        )
        facts = brain_facts(brain)
        planes = shortened(facts.pop("z_range_mm"), settings.length_mm)
        return ScanSubject(brain.render, z_range_mm=planes, painted=True, brain=brain, **facts)
    if settings.labels is not None:
        return _label_patient(settings, plan)
    if settings.phantom == "whole-body":
        patient = phantoms.whole_body_patient(settings.seed, lesions=plan)
        return of_patient(patient, z_range_mm=shortened(patient.extent_mm, settings.length_mm), field_mm=600.0)
    planes = shortened((-110.0, 110.0), settings.length_mm)
    return ScanSubject(quality_phantom(settings.phantom), z_range_mm=planes, field_mm=400.0)


def _refuse_idle(settings: SimulatePetSettings, of_brain: bool) -> None:
    """Refuse settings that would change nothing."""
    if settings.ct is not None and (settings.labels is None or of_brain):
        found = "labels of a brain" if settings.labels is not None else "no labels"
        raise InputError(
            f"A CT belongs to organ labels, whose attenuation it gives; found {found}. Give --labels of organs, or "
            "leave the CT out."
        )
    if not of_brain and settings.labels is None:
        refuse_lesions(settings.phantom, settings.lesions)


def refuse_lesions(phantom: str, lesions: int | None) -> None:
    """Refuse lesions in an object.

    Raises
    ------
    InputError
        If the phantom is no patient and has lesions to hold.
    """
    if phantom != "whole-body" and lesions:
        raise InputError(
            f"Lesions are put into a patient or a brain; found {lesions} for the phantom '{phantom}'. Leave them out."
        )


def quality_phantom(name: str) -> Callable[[Grid], Phantom]:
    """What draws a quality phantom about the origin: ``nema``, ``cylinder``, ``derenzo`` or ``jaszczak``."""
    from nmsynth.physics import phantom as phantoms

    draws: dict[str, Callable[..., Phantom]] = {
        "nema": phantoms.image_quality,
        "cylinder": phantoms.uniform_cylinder,
        "derenzo": phantoms.derenzo,
        "jaszczak": phantoms.jaszczak,
    }
    draw = draws[name]
    return lambda grid: draw(grid, centre_mm=(0.0, 0.0, 0.0))


def _label_patient(settings: SimulatePetSettings, plan: Any) -> ScanSubject:
    """A patient from a label map of the user's."""
    from nmsynth.data.families import read_upright
    from nmsynth.physics import phantom as phantoms

    if settings.labels is None:
        raise InputError("A label map is needed; none was given. Pass its path.")
    labels, spacing = read_upright(settings.labels, unit="1", modality="CT")
    ct = None if settings.ct is None else read_upright(settings.ct, unit="HU", modality="CT")[0]
    numbers = labels.astype("int32")
    placed = plan if settings.lesions else None

    def render(grid: Grid) -> Phantom:
        """Draw the patient on a grid."""
        if settings.label_kind == "brain":
            return phantoms.from_brain_labels(numbers, spacing, seed=settings.seed, grid=grid, lesions=placed)
        return phantoms.from_organ_labels(numbers, spacing, seed=settings.seed, ct_hu=ct, grid=grid, lesions=placed)

    return ScanSubject(
        render,
        z_range_mm=shortened((0.0, labels.shape[0] * spacing[0]), settings.length_mm),
        field_mm=max(n * s for n, s in zip(labels.shape[1:], spacing[1:], strict=True)) * 1.1,
        painted=settings.ct is None,
    )
