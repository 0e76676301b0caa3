"""Simulate a SPECT study of a phantom and write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.heart_simulation import HEART_DEFAULTS, HeartStudy, perfusion_tracer
from nmsynth.workflows.simulation import (
    REFERENCE_FOLDER,
    SCHEMA_VERSION,
    quality_phantom,
    staged_output,
    write_json,
    write_mask,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmsynth.data.spect_scan import ScannedSpect, SpectStudy
    from nmsynth.physics.phantom import Grid, Phantom

COLLIMATOR = {"Tc-99m": "LEHR", "Lu-177": "MEGP"}
"""Collimator that suits a radionuclide."""
CRYSTAL_EFFICIENCY = {"Tc-99m": 0.84, "Lu-177": 0.5}
"""Share of the photons in the window that 9.5 mm of NaI stop, by radionuclide."""
BONE_SITES = ("spine", "ribs", "pelvis", "femur", "skull", "sternum", "shoulder")
"""Where lesions of a bone scan lie."""
HEAD_MM = 240.0
"""Most of a head that is scanned, down from its top [mm]."""


class SimulateSpectSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phantom: Literal["whole-body", "heart", "nema", "cylinder", "derenzo", "jaszczak"] = "whole-body"
    tracer: Literal["MDP", "HMPAO", "DOTATATE", "SESTAMIBI", "TETROFOSMIN"] = "MDP"
    region: Literal["trunk", "head"] | None = None
    """What of a patient is scanned; the head with HMPAO and the trunk else, when unset."""
    collimator: Literal["LEHR", "LEUHR", "MEGP", "HEGP"] | None = None
    """The one that suits the radionuclide when unset."""
    n_views: int = Field(default=60, ge=8, le=360)
    """Views over the arc."""
    arc_deg: float = Field(default=360.0, gt=0, le=360)
    """Angle over which the views are spread [degrees]; less than 360 is a limited arc, or 180 for the heart."""
    first_deg: float = Field(default=0.0, ge=-360, le=360)
    """Angle of the first view, 0 from the front, 90 from the patient's left [degrees]."""
    radius_mm: float | None = Field(default=None, ge=80.0, le=450.0)
    """From the axis to the collimator [mm]; the orbit follows the body at 15 mm when unset."""
    seconds_per_view: float = Field(default=20.0, gt=0)
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the protocol."""
    n_iterations: int = Field(default=4, ge=1, le=50)
    n_subsets: int = Field(default=6, ge=1, le=60)
    attenuation_correction: bool = True
    """Whether the reconstruction knows the attenuation; the counts of a seed do not depend on it."""
    filter_fwhm_mm: float = Field(default=8.0, ge=0, le=30)
    """Gaussian applied to the image [mm]."""
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions to place; drawn for a procedural patient when unset."""
    voxel_mm: float = Field(default=4.8, ge=2.0, le=10.0)
    length_mm: float = Field(default=390.0, gt=0)
    """Length that is scanned, about the middle of the body [mm]; of a head at most 240, down from its top."""
    heart: HeartStudy | None = None
    """What of the heart is imaged, where the phantom is one."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_heart(cls, values: Any) -> Any:
        """Fill in the defaults of a perfusion study."""
        if isinstance(values, dict) and values.get("phantom") == "heart":
            return {**HEART_DEFAULTS, "heart": {}, **values}
        return values

    @property
    def of_head(self) -> bool:
        """Whether a patient's head is scanned."""
        chosen = self.region or ("head" if self.tracer == "HMPAO" else "trunk")
        return self.phantom == "whole-body" and chosen == "head"


def simulate_spect(
    settings: SimulateSpectSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a SPECT study and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for ``scan.nii.gz`` and ``projections.npy`` (counts, axes (view, plane, bin), float32). Its folder
        ``reference`` gets ``full_count``, ``noise_free`` (T1), ``truth`` (T0), ``mu_map``, ``lesions``, ``organs``,
        of a heart ``segments``, and ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    import numpy as np

    from nmsynth.io.nifti import write_nifti

    with staged_output(Path(output), overwrite=overwrite) as work:
        study = scan_spect_study(settings, progress=part_of(progress, 0.0, 0.9))
        folder = work / REFERENCE_FOLDER
        folder.mkdir(parents=True)
        write_nifti(study.scans[-1], work / "scan.nii.gz")
        np.save(work / "projections.npy", study.projections[-1])
        for name in ("noise_free", "truth", "mu_map"):
            write_nifti(getattr(study, name), folder / f"{name}.nii.gz")
        write_nifti(study.scans[0], folder / "full_count.nii.gz")
        write_mask(study.lesion_labels, study.scans[-1], folder / "lesions.nii.gz")
        write_mask(study.organ_labels, study.scans[-1], folder / "organs.nii.gz")
        if study.segment_labels is not None:
            write_mask(study.segment_labels, study.scans[-1], folder / "segments.nii.gz")
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json"),
            "reference": "known truth: T0 truth, T1 noise_free, T2 full_count",
            "scan": study.facts,
            **study.subject_facts,
            "lesions": [
                {"index": n.index, "diameter_mm": n.diameter_mm, "contrast": n.contrast, "organ": n.organ}
                for n in study.lesions
            ],
        }
        write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def scan_spect_study(settings: SimulateSpectSettings, *, progress: Progress = silent) -> ScannedSpect:
    """Scan the phantom of the settings at full counts and at the fraction asked for, in memory."""
    from nmsynth.data.spect_scan import scan_spect
    from nmsynth.physics import phantom as phantoms

    if (settings.phantom == "heart") != (settings.heart is not None):
        raise InputError("Settings of a heart belong to the phantom 'heart'. Set it, or leave them out.")
    if settings.heart is not None:
        return _scan_heart(settings, settings.heart, progress)
    study = study_of(settings)
    bone = settings.tracer == "MDP"
    plan = phantoms.LesionPlan(count=settings.lesions, isolated=settings.lesions is not None)
    if bone:
        plan = phantoms.LesionPlan(
            count=settings.lesions, diameter_mm=(8.0, 35.0), contrast=(2.0, 8.0), shapes=("ellipsoid", "irregular"),
            sites=BONE_SITES,
        )  # fmt: skip
    facts: dict[str, Any] = {"body_mass_kg": 75.0, "height_m": 1.75, "sex": "O"}
    half = (min(settings.length_mm, HEAD_MM) if settings.of_head else settings.length_mm) / 2
    middle = 0.0
    if settings.phantom == "whole-body":
        anatomy = phantoms.WholeBodySettings(
            arms="down" if settings.of_head else "random", degenerative=(0, 8) if bone else (0, 0)
        )
        patient = phantoms.whole_body_patient(settings.seed, lesions=plan, settings=anatomy, tracer=settings.tracer)
        facts = {
            "body_mass_kg": patient.body_mass_kg,
            "height_m": patient.frame.height_m,
            "sex": patient.frame.sex,
        }
        low, high = patient.extent_mm
        middle = high - half if settings.of_head else (low + high) / 2
        render: Callable[[Grid], Phantom] = patient.render
    else:
        render = quality_phantom(settings.phantom)
    fractions = (1.0,) if settings.count_fraction == 1 else (1.0, settings.count_fraction)
    return scan_spect(
        render, study=study, z_range_mm=(middle - half, middle + half), fractions=fractions,
        seed=settings.seed, progress=progress, **facts,
    )  # fmt: skip


def _scan_heart(settings: SimulateSpectSettings, heart: HeartStudy, progress: Progress) -> ScannedSpect:
    """Scan the heart of a patient."""
    from dataclasses import replace

    from nmsynth.data.spect_scan import scan_spect
    from nmsynth.workflows import heart_simulation as hearts

    if settings.lesions:
        raise InputError(f"A heart has defects, not lesions; found {settings.lesions}. Leave them out.")
    study = study_of(settings)
    patient, drawn = hearts.perfusion_patient(settings.seed, heart, study.tracer.name)
    z_range_mm = hearts.heart_range_mm(drawn, settings.length_mm)
    study = replace(study, field_mm=hearts.heart_field_mm(patient, z_range_mm, settings.voxel_mm))
    share = heart.count_share
    found = scan_spect(
        hearts.heart_render(patient, heart), study=study, body_mass_kg=patient.body_mass_kg,
        height_m=patient.frame.height_m, sex=patient.frame.sex, z_range_mm=z_range_mm,
        fractions=(share,) if settings.count_fraction == 1 else (share, share * settings.count_fraction),
        seed=settings.seed, repeat=heart.repeat, progress=progress,
    )  # fmt: skip
    return replace(found, subject_facts={"heart": drawn.to_json()})


def study_of(settings: SimulateSpectSettings) -> SpectStudy:
    """Camera, orbit and reconstruction of the settings."""
    from nmsynth.data.spect_scan import SpectStudy
    from nmsynth.physics.energy_window import EnergyWindow
    from nmsynth.physics.gamma_camera import GammaCamera, SpectReconstruction
    from nmsynth.physics.materials import PHOTON_KEV
    from nmsynth.physics.phantom.tracers import tracer_named
    from nmsynth.physics.spect import SpectOrbit

    name: str = settings.tracer
    if settings.heart is not None:
        name = perfusion_tracer(name, settings.heart)
    elif name in ("SESTAMIBI", "TETROFOSMIN"):
        raise InputError(f"{name} is imaged in the heart; found the phantom '{settings.phantom}'. Change one of them.")
    tracer = tracer_named(name)
    nuclide = tracer.radionuclide
    return SpectStudy(
        tracer=tracer,
        camera=GammaCamera(
            collimator=settings.collimator or COLLIMATOR[nuclide],
            window=EnergyWindow(PHOTON_KEV[nuclide], 20.0),
            crystal_efficiency=CRYSTAL_EFFICIENCY[nuclide],
        ),
        orbit=SpectOrbit(settings.n_views, settings.arc_deg, settings.first_deg, radius_mm=settings.radius_mm or 250.0),
        gap_mm=15.0 if settings.radius_mm is None else None,
        reconstruction=SpectReconstruction(
            n_iterations=settings.n_iterations,
            n_subsets=settings.n_subsets,
            filter_fwhm_mm=settings.filter_fwhm_mm,
            with_attenuation=settings.attenuation_correction,
        ),
        seconds_per_view=settings.seconds_per_view,
        voxel_mm=settings.voxel_mm,
        field_mm=307.2 if settings.of_head else 614.4,
    )
