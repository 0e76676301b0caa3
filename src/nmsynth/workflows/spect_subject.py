"""Whom a SPECT study is of, by its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError
from nmsynth.workflows.brain_subject import brain_facts, draw_brain
from nmsynth.workflows.pet_subject import quality_phantom, refuse_lesions
from nmsynth.workflows.scan_subject import WORN_JOINTS, ScanSubject, bone_lesions, of_patient, shortened

if TYPE_CHECKING:
    from nmsynth.workflows.heart_simulation import HeartStudy
    from nmsynth.workflows.spect_settings import SimulateSpectSettings

HEAD_MM = 240.0
"""Most of a head that is scanned, down from its top [mm]."""
BODY_FIELD_MM, HEAD_FIELD_MM = 614.4, 307.2
"""Width of the field of view of a body and of a head [mm]."""


def check_subject(settings: SimulateSpectSettings) -> None:
    """Refuse settings of one kind of subject that are given with another.

    Raises
    ------
    InputError
        For the first that does not fit.
    """
    if (settings.phantom == "heart") != (settings.heart is not None):
        raise InputError("Settings of a heart belong to the phantom 'heart'. Set it, or leave them out.")
    if settings.of_brain:
        if settings.heart is not None:
            raise InputError("A scan has one subject; found a heart and labels. Give one of them.")
        if settings.tracer not in ("HMPAO", "ioflupane"):
            raise InputError(
                f"A brain is scanned with HMPAO or ioflupane; found {settings.tracer}. Choose one of them."
            )
    elif settings.asks_for_disease or settings.tracer == "ioflupane":
        raise InputError(
            "Ioflupane, disease, severity, atrophy and coupling need a brain; found none. Give --phantom brain, or "
            "--labels."
        )
    if settings.heart is not None and settings.lesions:
        raise InputError(f"A heart has defects, not lesions; found {settings.lesions}. Leave them out.")
    if settings.region is not None and (settings.of_brain or settings.phantom != "whole-body"):
        found = "labels of a brain" if settings.labels is not None else f"the phantom '{settings.phantom}'"
        raise InputError(
            f"A region is what of a patient is scanned; found '{settings.region}' with {found}. Leave it out."
        )
    if not settings.of_brain:
        refuse_lesions(settings.phantom, settings.lesions)


def spect_subject(settings: SimulateSpectSettings) -> ScanSubject:
    """The subject of the settings: a patient, a heart, a brain, or a quality phantom.

    Raises
    ------
    InputError
        If the settings of one kind of subject are given with another.
    """
    check_subject(settings)
    if settings.heart is not None:
        return _heart(settings, settings.heart)
    if settings.of_brain:
        return _brain(settings)
    if settings.phantom == "whole-body":
        return _patient(settings)
    half = settings.length_mm / 2
    return ScanSubject(quality_phantom(settings.phantom), z_range_mm=(-half, half), field_mm=BODY_FIELD_MM)


def _patient(settings: SimulateSpectSettings) -> ScanSubject:
    """Trunk or head of a procedural patient."""
    from nmsynth.physics import phantom as phantoms

    bone = settings.tracer == "MDP"
    plan = phantoms.LesionPlan(count=settings.lesions, isolated=settings.lesions is not None)
    if bone:
        plan = bone_lesions(settings.lesions)
    anatomy = phantoms.WholeBodySettings(
        arms="down" if settings.of_head else "random", degenerative=WORN_JOINTS if bone else (0, 0)
    )
    patient = phantoms.whole_body_patient(settings.seed, lesions=plan, settings=anatomy, tracer=settings.tracer)
    low, high = patient.extent_mm
    if settings.of_head:
        length = min(settings.length_mm, HEAD_MM)
        return of_patient(patient, z_range_mm=(high - length, high), field_mm=HEAD_FIELD_MM)
    middle, half = (low + high) / 2, settings.length_mm / 2
    return of_patient(patient, z_range_mm=(middle - half, middle + half), field_mm=BODY_FIELD_MM)


def _brain(settings: SimulateSpectSettings) -> ScanSubject:
    """A brain, drawn or of a label map."""
    from nmsynth.physics.phantom import LesionPlan

    plan = LesionPlan(count=settings.lesions, isolated=True) if settings.lesions else None
    brain = draw_brain(settings, settings.labels, tracer=settings.tracer, seed=settings.seed, lesions=plan)
    facts = brain_facts(brain) | {"field_mm": HEAD_FIELD_MM}
    planes = shortened(facts.pop("z_range_mm"), min(settings.length_mm, HEAD_MM))
    return ScanSubject(brain.render, z_range_mm=planes, painted=True, brain=brain, **facts)


def _heart(settings: SimulateSpectSettings, heart: HeartStudy) -> ScanSubject:
    """The heart of a patient."""
    from nmsynth.workflows import heart_simulation as hearts

    tracer = hearts.perfusion_tracer(settings.tracer, heart)
    patient, drawn = hearts.perfusion_patient(settings.seed, heart, tracer)
    planes = hearts.heart_range_mm(drawn, settings.length_mm)
    return of_patient(
        patient, z_range_mm=planes, field_mm=hearts.heart_field_mm(patient, planes, settings.voxel_mm),
        render=hearts.heart_render(patient, heart), facts={"heart": drawn.to_json()}, count_share=heart.count_share,
        repeat=heart.repeat,
    )  # fmt: skip
