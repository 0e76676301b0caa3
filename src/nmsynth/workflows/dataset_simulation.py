"""Simulate a dataset: the subjects of a recipe, each in its folder, with a manifest that training takes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nmsynth import __version__
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.study_output import describe_lesions, write_json, write_mask, write_pet_scan

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.training.experiment import SimulationRecipe
    from nmsynth.workflows.cohort import CasePlan
    from nmsynth.workflows.study_recipe import StudyPlan

SCHEMA_VERSION = 1
"""Version of ``cohort.json`` and of each ``case.json``."""
RECORD = "cohort.json"
CASE_RECORD = "case.json"
"""Written last into the folder of a case, so that its presence means completeness."""


KEPT_SEEDS = range(7000, 12_000)
"""Of the studies of demonstrations, proofs and benchmarks, on which models are shown and tested."""


class SimulateCohortSettings(BaseModel):
    """What is simulated; the same settings give the same files, by any number of workers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = "lowcount-pet"
    """A recipe of a model, a recipe of studies, or a TOML file with either."""
    subjects: int = Field(default=10, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, le=100_000)
    """Not of :data:`KEPT_SEEDS`."""
    file_format: Literal["dicom", "nifti"] = "nifti"
    """Format of the scans; what is known of them is NIfTI."""
    timestamp: bool = False
    """Write the time of creation; without it the same seed gives the same files."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One case, as a process takes it."""

    plan: CasePlan | StudyPlan
    recipe: SimulationRecipe | None
    """Of a recipe of a model; that of studies is in the plan."""
    settings: SimulateCohortSettings
    folder: Path
    """Of the dataset."""


def simulate_dataset(
    settings: SimulateCohortSettings,
    output: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Simulate the subjects of a recipe into a folder; interrupted, it goes on where it stopped.

    Parameters
    ----------
    settings
        Recipe, number of subjects, seed.
    output
        Folder of the dataset: ``manifest.csv``, ``cohort.json`` with all settings, and a folder for each case. A folder
        that holds a dataset of the same settings is completed, also with more subjects than before.
    overrides
        Values of the recipe by dotted key, such as ``{"simulation.planes": 64}``.
    workers
        Processes; one for each core when unset.
    overwrite
        Whether a dataset of other settings is replaced.

    Returns
    -------
        What ``cohort.json`` holds.

    Raises
    ------
    InputError
        If the output holds something else, or a dataset of other settings without ``overwrite``.
    """
    if settings.seed in KEPT_SEEDS:
        raise InputError(
            f"The seed of a dataset must not be one of {KEPT_SEEDS.start} to {KEPT_SEEDS[-1]}, by which demonstrations "
            f"and proofs have patients that nothing was trained on; found {settings.seed}. Take another."
        )
    jobs, record = _plan(settings, Path(output), overrides)
    output = Path(output)
    _claim(output, record, overwrite=overwrite)
    missing = [job for job in jobs if not (output / job.plan.case_id / CASE_RECORD).is_file()]
    run_jobs(
        _simulate_case,
        missing,
        workers=workers,
        stage="simulating subjects",
        done=len(jobs) - len(missing),
        progress=part_of(progress, 0.0, 0.99),
    )
    _write_manifest(output, [job.plan.case_id for job in jobs])
    progress("writing the manifest", 1.0)
    return record


def _plan(
    settings: SimulateCohortSettings, output: Path, overrides: Mapping[str, Any] | None
) -> tuple[list[_Job], dict[str, Any]]:
    """The cases of the settings, and the record of the dataset."""
    from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies

    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "nmsynth": __version__,
        "settings": settings.model_dump(mode="json", exclude={"recipe"}),
    }
    studies = load_study_recipe(settings.recipe, overrides)
    if studies is not None:
        record["recipe"] = studies.model_dump(mode="json", exclude=None if studies.choices else {"choices"})
        plans = plan_studies(studies, settings.subjects, settings.seed)
        return [_Job(plan, None, settings, output) for plan in plans], record
    from nmsynth.data.families import families_available
    from nmsynth.workflows.cohort import plan_subjects
    from nmsynth.workflows.training import load_recipe

    whole = load_recipe(settings.recipe, overrides)
    recipe = whole.simulation.model_copy(update={"seed": settings.seed})
    available = families_available(recipe.data)
    record["recipe"] = {"name": whole.name, "simulation": recipe.model_dump(mode="json", exclude={"data"})}
    record["families_left_out"] = sorted(f for f in recipe.families if not available.get(f, True))
    cases = plan_subjects(recipe, settings.subjects, settings.seed, available)
    return [_Job(plan, recipe, settings, output) for plan in cases], record


def _claim(output: Path, record: dict[str, Any], *, overwrite: bool) -> None:
    """Write the record of a dataset, or refuse a folder that holds something else."""
    path = output / RECORD
    if output.exists() and not output.is_dir():
        raise InputError(f"A dataset is a folder; '{output.name}' is a file. Choose another output.")
    found = None
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    elif output.is_dir() and any(output.iterdir()):
        raise InputError(f"Only a dataset is completed or replaced; '{output.name}' holds other files. Choose another.")
    if found is not None and _comparable(found) != _comparable(record):
        if not overwrite:
            differing = sorted(k for k in record if _comparable(found).get(k) != _comparable(record)[k])
            raise InputError(
                f"The dataset in '{output.name}' was made with other settings ({', '.join(differing)}). Choose another "
                "output, give the same settings to complete it, or allow overwriting."
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    for left in output.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = output / f".{RECORD}"
    write_json(temporary, record)
    temporary.rename(path)


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the number of subjects, which may grow."""
    plain: dict[str, Any] = json.loads(json.dumps(record))
    plain["settings"] = {k: v for k, v in plain.get("settings", {}).items() if k != "subjects"}
    return plain


def _simulate_case(job: _Job) -> None:
    """Simulate one case and move its folder into place."""
    from nmsynth.workflows.study_recipe import StudyPlan, simulate_study

    final = job.folder / job.plan.case_id
    work = Path(tempfile.mkdtemp(prefix=f".{job.plan.case_id}-", suffix=".partial", dir=job.folder))
    try:
        if isinstance(job.plan, StudyPlan):
            rows, facts = simulate_study(job.plan, work, file_format=job.settings.file_format)
        else:
            rows, facts = _simulate_scans(job, work)
        stated = [{**asdict(row), "path": f"{job.plan.case_id}/{row.path}"} for row in rows]
        write_json(work / CASE_RECORD, {"schema_version": SCHEMA_VERSION, "images": stated, **facts})
        work.chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _simulate_scans(job: _Job, work: Path) -> tuple[list[ManifestRow], dict[str, Any]]:
    """A slab of a subject at every count level of a recipe of a model."""
    from nmsynth.core.units import Unit
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.scanned_phantom import assemble_scan, scan_acquisition
    from nmsynth.io.nifti import write_nifti
    from nmsynth.workflows.cohort import CasePlan, scan_case

    plan = job.plan
    if not isinstance(plan, CasePlan) or job.recipe is None:
        raise InputError("A case needs the plan of its recipe; found another.")
    case, scanned = scan_case(plan, job.recipe)
    subject = scanned.subject
    acquisition = scan_acquisition(
        case.draw, body_mass_kg=subject.body_mass_kg, height_m=subject.height_m, sex=subject.sex
    )
    study = assemble_scan([case], acquisition, lesions=scanned.lesions, start_mm=scanned.start_mm, seed=plan.case_seed)

    def row(role: str, label: str, path: Path, volume: Volume | None, fraction: float | None = None) -> ManifestRow:
        """A row of the manifest."""
        unit, modality = (Unit.UNITLESS.value, "") if volume is None else (volume.unit.value, volume.modality)
        return ManifestRow(
            plan.case_id,
            subject.name,
            plan.split,
            role,
            label,
            path.relative_to(work).as_posix(),
            fraction,
            modality,
            unit,
        )

    rows = []
    for k, (scan, fraction) in enumerate(zip(study.scans, case.fractions, strict=True)):
        path = write_pet_scan(
            scan, work / f"scan_{k}", file_format=job.settings.file_format,
            created=datetime.now() if job.settings.timestamp else None,
            study=f"nmsynth cohort {job.settings.recipe} {job.settings.seed} {plan.case_id}", fraction=fraction,
        )  # fmt: skip
        rows.append(row("source", f"scan_{k}", path, scan, fraction))
    for role, label, volume in (("target", "noise_free", study.noise_free), ("truth", "truth", study.truth)):
        path = write_nifti(volume, work / f"{label}.nii.gz")
        rows.append(row(role, label, path, volume))
    for label, mask in (("lesions", study.lesion_labels), ("organs", study.organ_labels)):
        path = work / f"{label}.nii.gz"
        write_mask(mask, study.noise_free, path)
        rows.append(row("mask", label, path, None))
    rows.append(row("anatomy", "mu_map", write_nifti(study.attenuation, work / "mu_map.nii.gz"), study.attenuation))
    facts = {
        "case": plan.case_id,
        "subject": subject.name,
        "family": plan.family,
        "count_scale": case.count_scale,
        "soft_tissue_cov_at_full_counts": case.measured_cov,
        "scan": case.draw.to_json(),
        "lesions": describe_lesions(study.lesions),
    }
    return rows, facts


def _write_manifest(output: Path, cases: list[str]) -> None:
    """Gather the rows of all cases, in the order of the plan."""
    from nmsynth.data.manifest import FILE_NAME, ManifestRow, write_manifest

    rows = []
    for case in cases:
        record = json.loads((output / case / CASE_RECORD).read_text(encoding="utf-8"))
        rows += [ManifestRow(**values) for values in record["images"]]
    temporary = output / f".{FILE_NAME}"
    write_manifest(temporary, rows)
    temporary.replace(output / FILE_NAME)
