"""Simulate a PET study: from a procedural patient, a label map, a quality phantom, or a series of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.anatomical_images import (
    Companion,
    check_companions,
    companion_subject,
    write_companion_series,
    write_companions,
)
from nmsynth.workflows.brain_subject import (
    FURTHER_SEED,
    BrainSettings,
    brain_ratio,
    brain_regions_on,
    told_of_brain,
)
from nmsynth.workflows.scan_subject import check_further, scan_fractions
from nmsynth.workflows.series_reduction import reduce_series
from nmsynth.workflows.study_output import (
    REFERENCE_FOLDER,
    SCHEMA_VERSION,
    describe_lesions,
    staged_output,
    write_json,
    write_mask,
    write_pet_scan,
)

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.anatomical_images import AnatomicalSubject
    from nmsynth.data.known_attenuation import Attenuation
    from nmsynth.data.scan import ReferenceScan
    from nmsynth.data.scanned_phantom import ScannedPhantom
    from nmsynth.physics.phantom.brain import BrainPatient
    from nmsynth.workflows.scan_subject import ScanSubject


PetTracer = Literal["FDG", "florbetapir", "early-florbetapir", "flortaucipir", "FDOPA"]
"""Tracers of brains that are imaged by PET."""
_TAKEN = ("pet", "scan", "ct", "mr", "uncorrected", "penalised", REFERENCE_FOLDER)
"""Names of folders and images of a study."""


class SimulatePetSettings(BrainSettings):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path | None = None
    """A PET series of the user's, whose counts are reduced; everything below but lesions is then unused."""
    series_uid: str | None = None
    """Which series of the source."""
    unit: str | None = None
    modality: str | None = None
    """Unit and modality of a NIfTI source without a sidecar."""
    phantom: Literal["whole-body", "brain", "nema", "cylinder", "derenzo", "jaszczak"] = "whole-body"
    """``brain`` is a head drawn by the seed; see :func:`nmsynth.physics.phantom.head_map.head_map`."""
    labels: Path | None = None
    """A NIfTI label map instead of a phantom."""
    label_kind: Literal["organ", "brain"] = "organ"
    """Numbering of the labels: TotalSegmentator v2 or FreeSurfer."""
    tracer: PetTracer | None = None
    """Of a brain, with the protocol that goes with it; when unset FDG, by the reference protocol."""
    target_tracer: PetTracer | None = None
    """Of the noise-free ratio image of a brain among what is known, scanned in the same subject; that of the scan when
    unset."""
    ct: Path | None = None
    """NIfTI CT of an organ label map [HU]."""
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the protocol, or of the source."""
    further_fractions: tuple[float, ...] = ()
    """Counts of further scans of the study, written as ``scan_1`` and so on, in NIfTI."""
    seed: int = Field(default=0, ge=0)
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions to place; drawn for a procedural patient when unset, none elsewhere."""
    lesion_diameter_mm: tuple[float, float] = (8.0, 30.0)
    """Range of diameters of lesions [mm]."""
    lesion_contrast: tuple[float, float] = (2.5, 6.0)
    """Range of lesion over background."""
    voxel_mm: float = Field(default=4.0, ge=1.0, le=8.0)
    """Voxel of the reconstruction [mm]."""
    length_mm: float | None = Field(default=None, gt=0)
    """Length that is scanned, about the middle of the body [mm]; the whole body when unset."""
    beds: bool = False
    """Scan in overlapping bed positions, one after another, instead of all planes for the same time."""
    file_format: Literal["dicom", "nifti"] = "dicom"
    """Format of the scan."""
    timestamp: bool = False
    """Write the time of creation; without it the same seed gives the same files."""
    also: tuple[Literal["uncorrected", "penalised"], ...] = ()
    """Further images of the same counts: without correction for attenuation and scatter, or by penalised likelihood."""
    scanner: Literal["reference", "bgo-with-septa"] = "reference"
    """Protocol, resolution and counts; see :mod:`nmsynth.data.protocols`. The voxels are those of the settings."""
    timing_ps: float | None = Field(default=None, ge=50, le=2000)
    """Timing resolution of time of flight, FWHM [ps]; without time of flight when unset."""
    attenuation: dict[str, Path] = Field(default_factory=dict)
    """Images by name with each of whose attenuation the same counts are reconstructed once more: CT [HU] of 120 kVp, or
    maps at 511 keV [1/cm], in the frame of the scan."""
    companions: tuple[Companion, ...] = ()
    """CT and MR beside the scan of a phantom, the couch under it, CT and MR displaced against it."""

    @property
    def unused(self) -> set[str]:
        """Fields that are left out of records and UIDs while nothing is asked for by them; of maps it is always so."""
        optional = ("companions", "beds", "also", "timing_ps", "further_fractions", "target_tracer", "healthy_share")
        empty = {name for name in optional if not getattr(self, name)}
        return {*empty, "attenuation", *({"scanner"} if self.scanner == "reference" else ())}

    @property
    def study_seed(self) -> str:
        """Text from which the UIDs of the study follow."""
        unused = {"timestamp", "count_fraction", "file_format", *self.unused}
        return f"nmsynth simulate pet {self.model_dump_json(exclude=unused)}"

    def created(self) -> datetime | None:
        """The time of creation, where it is to be written."""
        return datetime.now() if self.timestamp else None


def simulate_pet(
    settings: SimulatePetSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a PET study and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for the scan: DICOM files, or ``scan.nii.gz``. Its folder ``reference`` gets, in NIfTI, what is known of
        the study: ``full_count``, ``noise_free`` (T1), ``truth`` (T0), ``mu_map``, ``lesions`` and ``organs`` for a
        phantom; ``regions`` and ``suvr`` (T1) for a brain; ``noisy_reference`` and ``lesions`` for a series; ``ct`` and
        ``mr`` with companions, which are also written in DICOM; and ``simulation.json``. Where there are several
        series, each has a folder: ``pet``, ``ct``, ``mr``, ``uncorrected``, ``penalised``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    inputs = (settings.source, settings.labels, settings.ct, *settings.attenuation.values())
    if check_companions(settings.companions) and settings.source:
        raise InputError("CT and MR are made beside the scan of a phantom; a series was given. Leave them out.")
    check_further(settings.further_fractions, settings.file_format)
    if settings.source and (settings.also or settings.timing_ps or settings.attenuation or settings.further_fractions):
        raise InputError(
            "Other reconstructions, further fractions and time of flight need the counts of a phantom. Leave them out."
        )
    _check_names(settings.attenuation)
    with staged_output(Path(output), overwrite=overwrite, inputs=inputs) as work:
        return reduce_series(settings, work, progress) if settings.source else _scan_phantom(settings, work, progress)


def _check_names(attenuation: Mapping[str, Path]) -> None:
    """Refuse names of images that are taken, or that are no names of folders."""
    for name in attenuation:
        if name in _TAKEN or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise InputError(
                "An attenuation map needs a name of small letters, digits and hyphens that is not one of "
                f"{', '.join(_TAKEN)}; found '{name:.30}'. Name it otherwise."
            )


def _attenuation_maps(settings: SimulatePetSettings) -> dict[str, Attenuation]:
    """The maps of the settings, as a scan takes them."""
    from nmsynth.data.known_attenuation import attenuation_of
    from nmsynth.io import read

    maps = {}
    for name, path in settings.attenuation.items():
        bare = path.name.lower().endswith((".nii", ".nii.gz"))
        try:
            image = read(path)
        except InputError:
            if not bare:
                raise
            image = read(path, unit="HU", modality="CT")  # NIfTI without a sidecar
        maps[name] = attenuation_of(image)
    return maps


def _scan_phantom(settings: SimulatePetSettings, work: Path, progress: Progress) -> dict[str, Any]:
    """Scan a phantom and write it with its truth."""
    from nmsynth.io.nifti import write_nifti

    scanned = _scan(settings, progress=part_of(progress, 0.0, 0.8))
    study, scan = scanned.study, scanned.study.scans[-1]
    _write_scans(settings, study, work)
    folder = work / REFERENCE_FOLDER
    folder.mkdir()
    known = {
        "full_count": study.scans[0],
        "noise_free": study.noise_free,
        "truth": study.truth,
        "mu_map": study.attenuation,
        **{f"noise_free_{name}": images[0] for name, images in study.others.items()},
    }
    for name, volume in known.items():
        write_nifti(volume, folder / f"{name}.nii.gz")
    write_mask(study.lesion_labels, scan, folder / "lesions.nii.gz")
    write_mask(study.organ_labels, scan, folder / "organs.nii.gz")
    record = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"source", "labels", "ct", *settings.unused}),
        "reference": "known truth: T0 truth, T1 noise_free, T2 full_count",
        "scan": study.draw.to_json(),
        "body_motion": None if study.motion is None else asdict(study.motion),
        "beds": [{"first_plane": bed.first_plane, "delay_s": bed.delay_s, "decay": bed.decay} for bed in study.beds],
        "lesions": describe_lesions(study.lesions),
    }
    if settings.attenuation:
        record["attenuation"] = sorted(settings.attenuation)
    brain = scanned.subject.brain
    if brain is not None:
        write_mask(brain_regions_on(brain, scan), scan, folder / "regions.nii.gz")
        record |= _write_ratio(settings, scanned, brain, folder)
    if scanned.anatomy is not None:
        record["anatomy"] = _write_anatomy(settings, study, scanned.anatomy, work, part_of(progress, 0.8, 1.0))
    write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def _write_ratio(settings: SimulatePetSettings, scanned: _Scanned, brain: BrainPatient, folder: Path) -> dict[str, Any]:
    """Write the noise-free ratio image of the target's tracer, and say what is known of the brain."""
    from nmsynth.io.nifti import write_nifti

    facts: dict[str, Any] = {"brain": brain.to_json()}
    shown, image = brain, scanned.study.noise_free
    target = settings.target_tracer or brain.tracer.name
    if target != brain.tracer.name:
        shown, image = _scan_further(settings, scanned, brain, target)
        facts["target_brain"] = shown.to_json()
    try:
        write_nifti(brain_ratio(shown, image), folder / "suvr.nii.gz")
    except InputError as error:
        facts["left_out"] = {"suvr": str(error)}  # a short scan need not reach the reference region
    return {**facts, "told": told_of_brain(brain, seed=settings.seed, target=target)}


def _write_scans(settings: SimulatePetSettings, study: ScannedPhantom, work: Path) -> None:
    """Write the scan, and the other images of its counts, in the format asked for."""
    from nmsynth.io.nifti import write_nifti

    alone = settings.file_format == "dicom" and not settings.companions and not study.others
    name = "scan" if settings.file_format == "nifti" else "pet"
    study_seed = settings.study_seed
    write_pet_scan(
        study.scans[-1], work if alone else work / name, file_format=settings.file_format, study=study_seed,
        fraction=settings.count_fraction, created=settings.created(),
    )  # fmt: skip
    for number in range(1, 1 + len(settings.further_fractions)):
        write_nifti(study.scans[number], work / f"scan_{number}.nii.gz")
    for number, (other, images) in enumerate(study.others.items(), 11):
        write_pet_scan(
            images[-1], work / other, file_format=settings.file_format, study=study_seed, kind=other,
            fraction=settings.count_fraction, created=settings.created(), series_number=number,
        )  # fmt: skip


def _write_anatomy(
    settings: SimulatePetSettings, study: ScannedPhantom, subject: AnatomicalSubject, work: Path, progress: Progress
) -> dict[str, Any]:
    """Write CT and MR, and say what they are."""
    images = write_companions(subject, study.scans[-1], work / REFERENCE_FOLDER, progress=progress)
    if settings.file_format == "dicom":
        write_companion_series(images, work, study_seed=settings.study_seed, created=settings.created())
    return images.facts


def _reference(settings: SimulatePetSettings, subject: ScanSubject) -> ReferenceScan:
    """The scan of the settings, by the protocol of the scanner, or of the tracer."""
    from nmsynth.data.protocols import protocol_named

    named = protocol_named(settings.scanner, plane_mm=settings.voxel_mm, with_beds=settings.beds)
    reference = replace(named, voxel_mm=settings.voxel_mm, field_mm=subject.field_mm)
    if settings.timing_ps is not None:
        reference = replace(reference, timing_ps=settings.timing_ps)
    if subject.brain is not None:
        reference = reference.with_tracer(subject.brain.tracer, body_mass_kg=subject.body_mass_kg)
    return reference


def _scan_further(
    settings: SimulatePetSettings, scanned: _Scanned, brain: BrainPatient, tracer: str
) -> tuple[BrainPatient, Volume]:
    """The same subject with another tracer, and the noise-free image of it."""
    from nmsynth.data.scan import scan_phantom
    from nmsynth.workflows.brain_subject import draw_brain

    further = draw_brain(
        settings, settings.labels, tracer=tracer, seed=settings.seed, lesions=None, first=brain.tracer.name
    )
    subject = replace(scanned.subject, render=further.render, brain=further)
    study = scan_phantom(
        further.render, reference=_reference(settings, subject), z_range_mm=subject.z_range_mm, fractions=(1.0,),
        seed=settings.seed + FURTHER_SEED, **subject.habitus,
    )  # fmt: skip
    return further, study.noise_free


def scan_study(settings: SimulatePetSettings, *, progress: Progress = silent) -> ScannedPhantom:
    """Scan the phantom of the settings at full counts and at the fraction asked for, in memory."""
    return _scan(settings, progress=progress).study


@dataclass(frozen=True, slots=True, eq=False)
class _Scanned:
    """A study, and whom it is of."""

    study: ScannedPhantom
    subject: ScanSubject
    anatomy: AnatomicalSubject | None
    """The subject as other scanners see it, where that was asked for."""


def _scan(settings: SimulatePetSettings, *, progress: Progress) -> _Scanned:
    """Scan the subject of the settings."""
    from nmsynth.data.scan import scan_phantom
    from nmsynth.data.scan_memory import available_bytes, check_memory
    from nmsynth.workflows.pet_subject import pet_subject

    subject = pet_subject(settings)
    reference = _reference(settings, subject)
    check_memory(reference, available_bytes())
    anatomy = companion_subject(
        subject.render, check_companions(settings.companions), seed=settings.seed, z_range_mm=subject.z_range_mm,
        field_mm=subject.field_mm, tissues=subject.painted,
    )  # fmt: skip
    maps = _attenuation_maps(settings)
    study = scan_phantom(
        subject.render if anatomy is None else anatomy.render, reference=reference, z_range_mm=subject.z_range_mm,
        fractions=scan_fractions(settings.count_fraction, further=settings.further_fractions), seed=settings.seed,
        also=settings.also, maps=maps, motion=subject.motion(settings.seed), progress=progress, **subject.habitus,
    )  # fmt: skip
    return _Scanned(study, subject, anatomy)
