"""Simulate a dynamic PET study of a head and write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.simulation import REFERENCE_FOLDER, SCHEMA_VERSION, staged_output, write_json, write_mask


class SimulateDynamicSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames_s: tuple[float, ...] | None = None
    """Lengths of the frames from the injection on [s]; 26 frames of an hour when unset."""
    voxel_mm: float = Field(default=3.0, ge=2.0, le=8.0)
    length_mm: float = Field(default=160.0, ge=24.0, le=300.0)
    """Length that is scanned, down from the top of the head [mm]."""
    seed: int = Field(default=0, ge=0)


def simulate_dynamic(
    settings: SimulateDynamicSettings, output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Simulate a dynamic FDG study of a procedural patient's head and write it.

    Parameters
    ----------
    settings
        What is simulated.
    output
        Folder for ``scan.nii.gz`` (frames, Bq/mL, decay-corrected to the injection), ``plasma.csv`` (minutes, SUV) and
        ``patlak.nii.gz``. Its folder ``reference`` gets ``noise_free`` (T1) and ``truth`` (T0) by frame, ``influx``,
        ``organs`` and ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    from nmsynth.data.dynamic_scan import FDG_HOUR_S, scan_head_dynamic
    from nmsynth.data.scan import ReferenceScan
    from nmsynth.io.nifti import write_nifti
    from nmsynth.physics.phantom import LesionPlan, WholeBodySettings, whole_body_patient

    with staged_output(Path(output), overwrite=overwrite) as work:
        study = scan_head_dynamic(
            whole_body_patient(settings.seed, lesions=LesionPlan(count=0), settings=WholeBodySettings(arms="down")),
            frames_s=settings.frames_s or FDG_HOUR_S,
            reference=ReferenceScan(
                voxel_mm=settings.voxel_mm, plane_mm=settings.voxel_mm, field_mm=288.0, duration_s=1.0
            ),
            length_mm=settings.length_mm,
            seed=settings.seed,
            progress=part_of(progress, 0.0, 0.9),
        )
        folder = work / REFERENCE_FOLDER
        folder.mkdir(parents=True)
        write_nifti(study.scan, work / "scan.nii.gz")
        write_nifti(study.patlak, work / "patlak.nii.gz")
        rows = (f"{t:.5f},{p:.6f}" for t, p in zip(study.minutes, study.plasma_suv, strict=True))
        (work / "plasma.csv").write_text("minutes,plasma_suv\n" + "\n".join(rows) + "\n", encoding="utf-8")
        for name in ("noise_free", "truth", "influx"):
            write_nifti(getattr(study, name), folder / f"{name}.nii.gz")
        write_mask(study.organ_labels, study.patlak, folder / "organs.nii.gz")
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json"),
            "reference": "known truth: T0 truth, T1 noise_free, true influx",
            **study.facts,
        }
        write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record
