"""Simulate a SPECT study of a phantom and write it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
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

COLLIMATOR = {"Tc-99m": "LEHR", "I-123": "LEHR", "Lu-177": "MEGP"}
"""Collimator that suits a radionuclide."""
CRYSTAL_EFFICIENCY = {"Tc-99m": 0.84, "I-123": 0.75, "Lu-177": 0.5}
"""Share of the photons in the window that 9.5 mm of NaI stop, by radionuclide."""
_OF_ACTIVITY = ("total_mbq", "radionuclide", "unit", "mu_unit", "mu_kev", "mu_materials", "slice_unit")
"""Settings that describe an activity of the user's."""
HEAD_MM = 240.0
"""Most of a head that is scanned, down from its top [mm]."""


class SimulateSpectSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phantom: Literal["whole-body", "nema", "cylinder"] = "whole-body"
    tracer: Literal["MDP", "HMPAO", "DOTATATE"] = "MDP"
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
    filter_fwhm_mm: float = Field(default=8.0, ge=0, le=30)
    """Gaussian applied to the image [mm]."""
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions to place; drawn for a procedural patient when unset."""
    voxel_mm: float = Field(default=4.8, ge=2.0, le=10.0)
    length_mm: float = Field(default=390.0, gt=0)
    """Length that is scanned, about the middle of the body [mm]; of a head at most 240, down from its top."""
    seed: int = Field(default=0, ge=0)
    window_kev: float | None = Field(default=None, gt=80, lt=600)
    """Centre of the energy window [keV]; the radionuclide's usual photon when unset. Lu-177 has 112.9 and 208.4."""
    window_percent: float = Field(default=20.0, gt=0, le=40)
    """Whole width of the window over its centre [%]."""
    scatter: Literal["compton", "convolution"] = "compton"
    """Scatter by energy, depth and density, or primaries convolved with 90 mm and scaled to a quarter of the counts."""
    scatter_correction: Literal["model", "windows"] = "model"
    """By the simulation's scatter, scaled wrongly by up to 15 %, or from counts in two side windows of 5 %."""
    activity: Path | None = None
    """An activity image of the user's, NIfTI or Interfile, instead of a phantom; needs ``mu``."""
    mu: Path | None = None
    """Its attenuation."""
    total_mbq: float | None = Field(default=None, gt=0)
    """Activity in that image at the start of the scan [MBq]."""
    radionuclide: Literal["Tc-99m", "I-123", "Lu-177"] | None = None
    """Of that activity; the tracer's when unset."""
    unit: str | None = None
    mu_unit: str | None = None
    """Units of the images where they state none."""
    mu_kev: float | None = Field(default=None, ge=80, le=600)
    """Photon energy of an attenuation in 1/cm [keV]."""
    mu_materials: str | None = None
    """Material of each number of the attenuation image, as ``1=water,2=cortical bone``."""
    slice_unit: Literal["mm", "pixels"] | None = None
    """What the slice thickness of an Interfile header is counted in."""

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
        ``reference`` gets ``full_count``, ``noise_free`` (T1), ``truth`` (T0), ``mu_map``, ``lesions``, ``organs`` and
        ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    import numpy as np

    from nmsynth.io.nifti import write_nifti

    with staged_output(Path(output), overwrite=overwrite, inputs=(settings.activity, settings.mu)) as work:
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
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"activity", "mu"}),
            "reference": "known truth: T0 truth, T1 noise_free, T2 full_count",
            "scan": study.facts,
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

    if settings.activity is not None or settings.mu is not None:
        return _scan_activity(settings, progress)
    idle = [name for name in _OF_ACTIVITY if getattr(settings, name) is not None]
    if idle:
        raise InputError(f"'{idle[0]}' belongs to an activity of your own; none was given. Give it, or leave it out.")
    plan = phantoms.LesionPlan(count=settings.lesions, isolated=settings.lesions is not None)
    facts: dict[str, Any] = {"body_mass_kg": 75.0, "height_m": 1.75, "sex": "O"}
    half = (min(settings.length_mm, HEAD_MM) if settings.of_head else settings.length_mm) / 2
    middle = 0.0
    if settings.phantom == "whole-body":
        anatomy = phantoms.WholeBodySettings(arms="down") if settings.of_head else None
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
        render, study=study_of(settings), z_range_mm=(middle - half, middle + half), fractions=fractions,
        seed=settings.seed, progress=progress, **facts,
    )  # fmt: skip


def _scan_activity(settings: SimulateSpectSettings, progress: Progress) -> ScannedSpect:
    """Scan the user's activity in the user's attenuation."""
    from nmsynth.data.activity_phantom import scan_activity_phantom
    from nmsynth.workflows.activity_input import read_activity_phantom

    if settings.activity is None or settings.mu is None:
        raise InputError("A phantom of your own needs activity and attenuation; one is missing. Give both.")
    if settings.lesions is not None or settings.region is not None:
        raise InputError("Lesions and region belong to a procedural patient; activity was given. Leave them out.")
    phantom = read_activity_phantom(
        settings.activity, settings.mu, total_mbq=settings.total_mbq, unit=settings.unit, mu_unit=settings.mu_unit,
        mu_kev=settings.mu_kev, mu_materials=settings.mu_materials, slice_unit=settings.slice_unit,
    )  # fmt: skip
    low, high = phantom.z_range_mm
    middle, half = (low + high) / 2, min(settings.length_mm, high - low) / 2
    return scan_activity_phantom(
        phantom,
        study=replace(study_of(settings), field_mm=phantom.field_mm + 4 * settings.voxel_mm),
        z_range_mm=(middle - half, middle + half),
        fractions=(1.0,) if settings.count_fraction == 1 else (1.0, settings.count_fraction),
        seed=settings.seed,
        progress=progress,
    )


def study_of(settings: SimulateSpectSettings) -> SpectStudy:
    """Camera, orbit and reconstruction of the settings."""
    from nmsynth.data.spect_scan import SpectStudy
    from nmsynth.physics.energy_window import EnergyWindow, crystal_efficiency
    from nmsynth.physics.gamma_camera import GammaCamera, SpectReconstruction
    from nmsynth.physics.materials import PHOTON_KEV
    from nmsynth.physics.phantom.tracers import tracer_named
    from nmsynth.physics.spect import SpectOrbit

    tracer = tracer_named(settings.tracer)
    if settings.radionuclide is not None:
        tracer = replace(tracer, radionuclide=settings.radionuclide)
    nuclide = tracer.radionuclide
    window = EnergyWindow(settings.window_kev or PHOTON_KEV[nuclide], settings.window_percent)
    return SpectStudy(
        tracer=tracer,
        camera=GammaCamera(
            collimator=settings.collimator or COLLIMATOR[nuclide],
            window=window,
            scatter_model=settings.scatter,
            side_window_percent=5.0 if settings.scatter_correction == "windows" else 0.0,
            crystal_efficiency=(
                CRYSTAL_EFFICIENCY[nuclide] if settings.window_kev is None else crystal_efficiency(window.centre_kev)
            ),
        ),
        orbit=SpectOrbit(settings.n_views, settings.arc_deg, settings.first_deg, radius_mm=settings.radius_mm or 250.0),
        gap_mm=15.0 if settings.radius_mm is None else None,
        reconstruction=SpectReconstruction(
            n_iterations=settings.n_iterations,
            n_subsets=settings.n_subsets,
            filter_fwhm_mm=settings.filter_fwhm_mm,
            scatter_from=settings.scatter_correction,
        ),
        seconds_per_view=settings.seconds_per_view,
        voxel_mm=settings.voxel_mm,
        field_mm=307.2 if settings.of_head else 614.4,
    )
