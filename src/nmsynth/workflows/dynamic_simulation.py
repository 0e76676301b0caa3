"""Simulate a dynamic PET study of a head and write it with what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.study_output import REFERENCE_FOLDER, SCHEMA_VERSION, staged_output, write_json, write_mask

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.dynamic_scan import ScannedDynamic

DRAWN_MM = 2.0
"""Voxels of a drawn head [mm], half of those of its scan."""
_STATED = ("image", "window_min", "reference_region", "fit_start_min")
"""What the record repeats of an image's provenance."""


class SimulateDynamicSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracer: str = "FDG"
    """FDG, florbetaben, flutemetamol, florbetapir or FDOPA."""
    severity: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of disease: plaques for a tracer of amyloid, loss of striatal influx for FDOPA; FDG has none."""
    labels: Path | None = None
    """A NIfTI map of FreeSurfer numbers instead of a procedural head."""
    head: Literal["patient", "drawn"] = "patient"
    """Without such a map: the head of a procedural patient, whose brain is grey and white matter, or one that is drawn
    with the regions of a brain."""
    frames_s: tuple[float, ...] | None = None
    """Lengths of the frames from the injection on [s]; the tracer's own when unset."""
    voxel_mm: float = Field(default=3.0, ge=2.0, le=8.0)
    length_mm: float = Field(default=160.0, ge=24.0, le=300.0)
    """Length that is scanned, down from the top of the head [mm]."""
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the injected activity."""
    repeat: int = Field(default=0, ge=0)
    """Which of the scans of one subject, as of a test and a retest: other counts of the same expectation."""
    parts_min: tuple[float, ...] = ()
    """Ends of successive parts of the scan, from the injection on [min], of each of which a static image is written."""
    seen_min: float | None = Field(default=None, gt=0)
    """Parts that end later are left out, as of a scan that was stopped; all are written when unset."""
    seed: int = Field(default=0, ge=0)

    @property
    def unused(self) -> set[str]:
        """Fields that are left out of records while nothing is asked for by them."""
        empty = {name for name in ("parts_min", "seen_min", "repeat") if not getattr(self, name)}
        usual = {name for name, value in (("count_fraction", 1), ("head", "patient")) if getattr(self, name) == value}
        return empty | usual


def simulate_dynamic(
    settings: SimulateDynamicSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a dynamic PET study of a head and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for ``scan.nii.gz`` (frames, Bq/mL, decay-corrected to the injection) and ``plasma.csv`` (minutes, SUV);
        ``early``, ``late`` and ``suvr``, where the frames cover their windows; ``minutes-00-10`` and so on for parts;
        and, by tracer, ``patlak`` (FDG), ``patlak_reference`` (FDOPA) or ``r1``, ``bp`` and ``dvr`` (amyloid). Its
        folder ``reference`` gets ``noise_free`` (T1) and ``truth`` (T0) by frame; ``early``, ``late`` and ``suvr`` of
        the truth (T0) and, with ``_noise_free``, of T1, with parts also the parametric images; ``ki_true``,
        ``ki_reference_true`` or ``dvr_true`` and ``bp_true``; ``organs``, ``regions`` and ``brain_regions``, which are
        those of the brain alone by the same numbers; and ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    from nmsynth.data.parametric import (
        left_out,
        parametric_images,
        part_images,
        plasma_integral,
        static_images,
        true_images,
    )
    from nmsynth.io.nifti import write_nifti

    with staged_output(Path(output), overwrite=overwrite, inputs=(settings.labels,)) as work:
        study = dynamic_study(settings, progress=part_of(progress, 0.0, 0.85))
        folder = work / REFERENCE_FOLDER
        folder.mkdir(parents=True)
        parts = part_images(study, study.scan, settings.parts_min, seen_min=settings.seen_min)
        derived = {
            **static_images(study, study.scan, "of the scan"),
            **parametric_images(study, study.scan, ""),
            **parts,
        }
        known = {
            "noise_free": study.noise_free,
            "truth": study.truth,
            **static_images(study, study.truth, "true (T0)"),
            **{f"{n}_noise_free": v for n, v in static_images(study, study.noise_free, "noise-free (T1)").items()},
            **true_images(study),
        }
        if parts:  # what the whole scan would give without noise, for a model of its first minutes
            whole = parametric_images(study, study.noise_free, "noise-free (T1)")
            known |= {f"{name}_noise_free": volume for name, volume in whole.items()}
        for name, volume in {"scan": study.scan, **derived}.items():
            write_nifti(volume, work / f"{name}.nii.gz")
        for name, volume in known.items():
            write_nifti(volume, folder / f"{name}.nii.gz")
        rows = (f"{t:.5f},{p:.6f}" for t, p in zip(study.minutes, study.plasma_suv, strict=True))
        (work / "plasma.csv").write_text("minutes,plasma_suv\n" + "\n".join(rows) + "\n", encoding="utf-8")
        static = known["ki_true"] if "ki_true" in known else next(v for n, v in known.items() if n.endswith("_true"))
        write_mask(study.organ_labels, static, folder / "organs.nii.gz")
        write_mask(study.head.labels, static, folder / "regions.nii.gz")
        write_mask(study.head.brain_labels, static, folder / "brain_regions.nii.gz")
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"labels", *settings.unused}),
            "reference": "known truth: T0 truth, T1 noise_free, parameters by region and as images",
            "images": {name: _described(volume) for name, volume in derived.items()},
            "reference_images": {name: _described(volume) for name, volume in known.items()},
            "left_out": left_out(study),
            **study.facts,
        }
        if parts:
            seen = settings.seen_min or settings.parts_min[-1]
            record["told"] = {"seen_min": seen, "plasma_integral": plasma_integral(study, seen)}
        write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def dynamic_study(settings: SimulateDynamicSettings, *, progress: Progress = silent) -> ScannedDynamic:
    """Scan the head of the settings, in memory."""
    import numpy as np

    from nmsynth.data.dynamic_scan import scan_head_dynamic, scan_labels_dynamic
    from nmsynth.data.families import read_upright
    from nmsynth.data.scan import ReferenceScan
    from nmsynth.physics.phantom import LesionPlan, WholeBodySettings, whole_body_patient
    from nmsynth.physics.phantom.head_map import head_map

    shared: dict[str, Any] = {
        "tracer": settings.tracer,
        "severity": settings.severity,
        "frames_s": settings.frames_s,
        "reference": ReferenceScan(
            voxel_mm=settings.voxel_mm, plane_mm=settings.voxel_mm, field_mm=288.0, duration_s=1.0
        ),
        "length_mm": settings.length_mm,
        "count_fraction": settings.count_fraction,
        "repeat": settings.repeat,
        "seed": settings.seed,
        "progress": progress,
    }
    if settings.labels is not None:
        labels, spacing = read_upright(settings.labels, unit="1", modality="MR")
        return scan_labels_dynamic(labels, spacing, **shared)
    if settings.head == "drawn":
        labels, spacing = head_map(settings.seed, spacing_mm=DRAWN_MM)
        mass_kg = np.random.default_rng((settings.seed, 59)).normal(75.0, 12.0)
        return scan_labels_dynamic(labels, spacing, body_mass_kg=float(np.clip(mass_kg, 45.0, 120.0)), **shared)
    patient = whole_body_patient(settings.seed, lesions=LesionPlan(count=0), settings=WholeBodySettings(arms="down"))
    return scan_head_dynamic(patient, **shared)


def _described(volume: Volume) -> dict[str, Any]:
    """Unit of an image and how it was made."""
    kept = {k: v for k, v in volume.provenance.settings.items() if k in _STATED}
    return {"unit": volume.unit.value, **kept}
