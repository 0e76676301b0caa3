"""Simulate a SPECT study of a phantom and write it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.anatomical_images import check_companions, companion_subject, write_companions
from nmsynth.workflows.brain_subject import brain_regions_on
from nmsynth.workflows.scan_subject import check_further, scan_fractions, shortened
from nmsynth.workflows.spect_settings import SimulateSpectSettings, study_of
from nmsynth.workflows.spect_subject import check_subject, spect_subject
from nmsynth.workflows.study_output import (
    REFERENCE_FOLDER,
    SCHEMA_VERSION,
    describe_lesions,
    staged_output,
    write_json,
    write_mask,
)

if TYPE_CHECKING:
    from nmsynth.data.anatomical_images import AnatomicalSubject
    from nmsynth.data.spect_scan import ScannedSpect
    from nmsynth.workflows.scan_subject import ScanSubject

__all__ = ["SimulateSpectSettings", "scan_spect_study", "simulate_spect", "study_of"]
_OF_ACTIVITY = ("total_mbq", "radionuclide", "unit", "mu_unit", "mu_kev", "mu_materials", "slice_unit")
"""Settings that describe an activity of the user's."""


def simulate_spect(
    settings: SimulateSpectSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a SPECT study and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for ``scan.nii.gz`` and ``projections.npy`` (counts, axes (view, plane, bin), float32), or in DICOM the
        folders ``scan`` (RECON TOMO, Bq/mL) and ``projections`` (TOMO, counts). Its folder ``reference`` gets
        ``full_count``, ``noise_free`` (T1), ``truth`` (T0), ``mu_map``, ``lesions``, ``organs``, of a heart
        ``segments``, of a brain ``regions``, with companions ``ct`` and ``mr``, and ``simulation.json``. Further images
        of the same counts, ``uncorrected.nii.gz`` and ``sparse.nii.gz``, lie beside the scan, as do those at further
        fractions.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    from nmsynth.io.nifti import write_nifti

    check_companions(settings.companions)
    check_further(settings.further_fractions, settings.file_format)
    inputs = (settings.activity, settings.mu, settings.labels)
    with staged_output(Path(output), overwrite=overwrite, inputs=inputs) as work:
        scanned = _scan(settings, progress=part_of(progress, 0.0, 0.9))
        study, like = scanned.study, scanned.study.scans[-1]
        folder = work / REFERENCE_FOLDER
        folder.mkdir(parents=True)
        _write_scan(settings, study, work)
        for name, volume in study.others.items():
            write_nifti(volume, work / f"{name}.nii.gz")
        for number in range(1, 1 + len(settings.further_fractions)):
            write_nifti(study.scans[number], work / f"scan_{number}.nii.gz")
        for name in ("noise_free", "truth", "mu_map"):
            write_nifti(getattr(study, name), folder / f"{name}.nii.gz")
        write_nifti(study.scans[0], folder / "full_count.nii.gz")
        masks = {"lesions": study.lesion_labels, "organs": study.organ_labels, "segments": study.segment_labels}
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"activity", "mu", "labels", *settings.unused}),
            "reference": "known truth: T0 truth, T1 noise_free, T2 full_count",
            "scan": study.facts,
            "lesions": describe_lesions(study.lesions),
        }
        if scanned.subject is not None:
            record |= scanned.subject.facts
            brain = scanned.subject.brain
            if brain is not None:
                masks["regions"] = brain_regions_on(brain, like)
                record["brain"] = brain.to_json()
        for name, mask in masks.items():
            if mask is not None:
                write_mask(mask, like, folder / f"{name}.nii.gz")
        if scanned.anatomy is not None:
            record["anatomy"] = write_companions(scanned.anatomy, like, folder).facts
        write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def _write_scan(settings: SimulateSpectSettings, study: ScannedSpect, work: Path) -> None:
    """Write scan and projections in the format asked for."""
    import numpy as np

    from nmsynth.io.nifti import write_nifti

    scan, projections = study.scans[-1], study.projections[-1]
    if settings.file_format == "nifti":
        write_nifti(scan, work / "scan.nii.gz")
        np.save(work / "projections.npy", projections)
        return
    from nmsynth.io.dicom_nm_module import NmCamera, NmRotation
    from nmsynth.io.dicom_nm_new import NewSeries, write_new_projections, write_new_tomogram

    of_study = study_of(settings)
    orbit = study.facts["orbit"]
    radii = orbit["radius_mm"] if isinstance(orbit["radius_mm"], tuple) else (orbit["radius_mm"],) * settings.n_views
    rotation = NmRotation(orbit["first_deg"], orbit["arc_deg"], tuple(radii), settings.seconds_per_view)
    camera = NmCamera(of_study.camera.window.bounds_kev, of_study.camera.collimator)
    unused = {"count_fraction", "file_format", *settings.unused}
    seed = f"nmsynth simulate spect {settings.model_dump_json(exclude=unused)}"
    of_scan = f"{seed} fraction {settings.count_fraction:g}"
    told = f"{settings.tracer}, {settings.count_fraction:g} of the counts"
    write_new_tomogram(
        scan, work / "scan", camera=camera, rotation=rotation,
        series=NewSeries(f"{of_scan} volume", seed, 1, f"simulated SPECT {told}"),
    )  # fmt: skip
    write_new_projections(
        projections, work / "projections", camera=camera, rotation=rotation,
        series=NewSeries(f"{of_scan} projections", seed, 2, f"simulated projections {told}"),
        pixel_mm=(settings.voxel_mm,) * 2, acquisition=scan.acquisition, provenance=scan.provenance,
    )  # fmt: skip


def scan_spect_study(
    settings: SimulateSpectSettings, *, fractions: tuple[float, ...] = (), progress: Progress = silent
) -> ScannedSpect:
    """Scan the phantom of the settings at full counts and at the fraction asked for, in memory.

    Parameters
    ----------
    settings
        What is scanned.
    fractions
        Further counts, over those of the study; their scans come last. Of a phantom that nmsynth draws.
    """
    return _scan(settings, fractions, progress=progress).study


@dataclass(frozen=True, slots=True, eq=False)
class _Scanned:
    """A study, and whom it is of."""

    study: ScannedSpect
    subject: ScanSubject | None = None
    """None of an activity of the user's."""
    anatomy: AnatomicalSubject | None = None
    """The subject as other scanners see it, where that was asked for."""


def _scan(settings: SimulateSpectSettings, further: tuple[float, ...] = (), *, progress: Progress) -> _Scanned:
    """Scan the subject of the settings."""
    from nmsynth.data.spect_scan import scan_spect

    if settings.activity is not None or settings.mu is not None:
        return _Scanned(_scan_activity(settings, progress))
    idle = [name for name in _OF_ACTIVITY if getattr(settings, name) is not None]
    if idle:
        raise InputError(f"'{idle[0]}' belongs to an activity of your own; none was given. Give it, or leave it out.")
    check_subject(settings)
    study = study_of(settings)
    subject = spect_subject(settings)
    anatomy = companion_subject(
        subject.render, check_companions(settings.companions), seed=settings.seed, z_range_mm=subject.z_range_mm,
        field_mm=subject.field_mm, tissues=subject.painted,
    )  # fmt: skip
    scanned = scan_spect(
        subject.render if anatomy is None else anatomy.render,
        study=replace(study, field_mm=subject.field_mm),
        z_range_mm=subject.z_range_mm,
        fractions=(
            *scan_fractions(settings.count_fraction, subject.count_share, settings.further_fractions),
            *(subject.count_share * fraction for fraction in further),
        ),
        seed=settings.seed, repeat=subject.repeat, motion=subject.motion(settings.seed), progress=progress,
        **subject.habitus,
    )  # fmt: skip
    return _Scanned(scanned, subject, anatomy)


def _scan_activity(settings: SimulateSpectSettings, progress: Progress) -> ScannedSpect:
    """Scan the user's activity in the user's attenuation."""
    from nmsynth.data.activity_phantom import scan_activity_phantom
    from nmsynth.workflows.activity_input import read_activity_phantom

    if settings.companions:
        raise InputError("CT and MR are made of phantoms that nmsynth draws; an activity was given. Leave them out.")
    if settings.activity is None or settings.mu is None:
        raise InputError("A phantom of your own needs activity and attenuation; one is missing. Give both.")
    if settings.lesions is not None or settings.region is not None:
        raise InputError("Lesions and region belong to a procedural patient; activity was given. Leave them out.")
    phantom = read_activity_phantom(
        settings.activity, settings.mu, total_mbq=settings.total_mbq, unit=settings.unit, mu_unit=settings.mu_unit,
        mu_kev=settings.mu_kev, mu_materials=settings.mu_materials, slice_unit=settings.slice_unit,
    )  # fmt: skip
    return scan_activity_phantom(
        phantom,
        study=replace(study_of(settings), field_mm=phantom.field_mm + 4 * settings.voxel_mm),
        z_range_mm=shortened(phantom.z_range_mm, settings.length_mm),
        fractions=scan_fractions(settings.count_fraction),
        seed=settings.seed,
        progress=progress,
    )
