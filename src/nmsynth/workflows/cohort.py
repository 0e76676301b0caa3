"""The cases that a training reads: simulated by a recipe, or those of a dataset; each on its own, resumable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.workflows.jobs import run_jobs

if TYPE_CHECKING:
    from nmsynth.data.families import Subject
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.simulation import SimulatedCase
    from nmsynth.physics.phantom import Lesion
    from nmsynth.training.experiment import SimulationRecipe


_FIRST_PATIENT = 10_000
"""Seed of the first procedural patient of training; those below are for calibration, tuning and reports."""
_SEEDS_APART = 1_000_000
"""Between the patients of one seed of a dataset and the next."""


@dataclass(frozen=True, slots=True)
class CasePlan:
    """One case to simulate; a function of the recipe and its number."""

    case_id: str
    family: str
    subject_seed: int
    case_seed: int
    split: str


def plan_cases(recipe: SimulationRecipe, available: dict[str, bool]) -> list[CasePlan]:
    """The cases of a recipe, families interleaved; a family whose data is absent is left out.

    A subject's split follows from a hash of its name, so that it never changes and never differs between cases.
    """
    plans: list[CasePlan] = []
    _check_families(recipe, available)
    for order, (family, n_cases) in enumerate(recipe.families.items()):
        if not available[family]:
            continue
        for index in range(n_cases):
            seed = recipe.seed * 1_000_000 + order * 100_000 + index
            subject = subject_of(family, index)
            split = _split(recipe, family, subject, recipe.seed)
            plans.append(CasePlan(f"{family}-{index:05d}", family, subject, seed, split))
    plans.sort(key=lambda p: (p.case_id[-5:], p.family))
    return plans


def plan_subjects(recipe: SimulationRecipe, n_subjects: int, seed: int, available: dict[str, bool]) -> list[CasePlan]:
    """The first subjects of an endless cohort of a recipe; more of them only add to it.

    Families take turns so that each comes as near to its share of the recipe as it can. The first subject is for
    training and the second for validation; of all others a hash of the name decides.

    Parameters
    ----------
    recipe
        Its families give the shares.
    n_subjects
        Cases, each with a subject of its own, but for real anatomies, which recur.
    seed
        Another seed gives other patients.
    available
        Whether each family can be made; the others are left out.
    """
    _check_families(recipe, available)
    shares = {family: n for family, n in recipe.families.items() if available[family] and n > 0}
    if not shares:
        raise InputError("A cohort needs a family of patients; the data of none is there. Set simulation.data.")
    total, counted = sum(shares.values()), dict.fromkeys(shares, 0)
    plans: list[CasePlan] = []
    splits: dict[tuple[str, int], str] = {}
    for k in range(n_subjects):
        family = max(shares, key=lambda f: (shares[f] * (k + 1) / total - counted[f], shares[f]))
        index = counted[family]
        counted[family] += 1
        subject = subject_of(family, index)
        if subject >= _FIRST_PATIENT:
            subject += _SEEDS_APART * (seed + 1)
        drawn = _split(recipe, family, subject, seed)
        split = splits.setdefault((family, subject), {0: "train", 1: "validation"}.get(k, drawn))
        order = list(recipe.families).index(family)
        case_seed = seed * 1_000_000 + order * 100_000 + index
        plans.append(CasePlan(f"{family}-{index:05d}", family, subject, case_seed, split))
    return plans


def _check_families(recipe: SimulationRecipe, available: dict[str, bool]) -> None:
    """Refuse families that do not exist."""
    unknown = sorted(set(recipe.families) - set(available))
    if unknown:
        raise InputError(f"Patient families must be among {sorted(available)}; found {unknown}. Correct the recipe.")


def _split(recipe: SimulationRecipe, family: str, subject: int, seed: int) -> str:
    """Split of a subject by a hash of its name."""
    digest = int(hashlib.sha256(f"{seed}/{family}/{subject}".encode()).hexdigest()[:8], 16)
    return "validation" if digest / 0xFFFFFFFF < recipe.validation_share else "train"


def subject_of(family: str, index: int) -> int:
    """Seed or number of the subject of a family's case: real anatomies recur, procedural ones never."""
    n_real = {"brain-labels": 15, "torso-ct": 1, "sts-triples": 22}.get(family)
    return index % n_real if n_real else _FIRST_PATIENT + index


def scan_case(plan: CasePlan, recipe: SimulationRecipe) -> tuple[SimulatedCase, ScannedSubject]:
    """Draw the patient, the scanner and the slab of a case, and scan it.

    The draws are functions of the recipe and the plan alone.
    """
    import numpy as np
    import torch

    from nmsynth.data.families import make_subject
    from nmsynth.data.simulation import ScanRanges, draw_scan, fine_grid, moved_about, simulate_case
    from nmsynth.physics.displacement import draw_body_motion

    rng = np.random.default_rng((recipe.seed, plan.case_seed))
    subject = make_subject(plan.family, plan.subject_seed, plan.case_seed, recipe.data)
    draw = draw_scan(
        rng,
        field_mm=subject.field_mm,
        ranges=ScanRanges(),
        body_mass_kg=subject.body_mass_kg,
        grids=recipe.grids,
    )
    low, high = subject.z_range_mm
    length = recipe.planes * draw.osem.plane_mm
    start = float(rng.uniform(low, max(low + 1.0, high - length)))
    if recipe.body_motion and subject.diaphragm_mm is not None:
        motion = draw_body_motion(
            np.random.default_rng((recipe.seed, plan.case_seed, 59)),
            diaphragm_mm=subject.diaphragm_mm,
            arms_beyond_mm=subject.trunk_half_width_mm,
        )
        draw = moved_about(draw, motion, start + length / 2)
    phantom = subject.render(fine_grid(draw, n_planes=recipe.planes, start_mm=start))
    case = simulate_case(phantom, draw, generator=torch.Generator().manual_seed(plan.case_seed))
    return case, ScannedSubject(subject, start, phantom.lesions)


@dataclass(frozen=True, slots=True, eq=False)
class ScannedSubject:
    """Who was scanned, and where."""

    subject: Subject
    start_mm: float
    """Where the slab starts [mm]."""
    lesions: tuple[Lesion, ...]
    """In the slab and its guard planes."""


def _simulate_one(job: tuple[CasePlan, SimulationRecipe, Path]) -> None:
    """Simulate and save one case for training."""
    from nmsynth.data.cohort import write_case

    plan, recipe, folder = job
    case, scanned = scan_case(plan, recipe)
    write_case(folder, plan.case_id, scanned.subject.name, plan.split, case)


def simulate_cohort(
    recipe: SimulationRecipe, folder: Path, *, workers: int | None = None, progress: Progress = silent
) -> list[str]:
    """Simulate what is missing of a cohort and return the names of its cases.

    Parameters
    ----------
    recipe
        The simulation section of a recipe.
    folder
        Where the cases go; complete ones are kept.
    workers
        Processes; all cores when unset.
    """
    from nmsynth.data.families import families_available

    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_cases(recipe, families_available(recipe.data))
    missing = [p for p in plans if not (folder / f"{p.case_id}.json").is_file()]
    run_jobs(
        _simulate_one,
        [(plan, recipe, folder) for plan in missing],
        workers=workers,
        stage="simulating patients",
        done=len(plans) - len(missing),
        progress=progress,
    )
    return [p.case_id for p in plans]


def _import_one(job: tuple[str, list[ManifestRow], Path, Path]) -> None:
    """Read and save one case of a manifest."""
    from nmsynth.data.manifest_cohort import import_case

    import_case(*job)


def import_cohort(
    manifest: Path, folder: Path, *, workers: int | None = None, progress: Progress = silent
) -> list[str]:
    """Bring the cases of a manifest into the form that training reads, and return their names.

    Parameters
    ----------
    manifest
        CSV file, or the folder that holds ``manifest.csv``; see :func:`nmsynth.data.manifest.read_manifest`.
    folder
        Where the cases go; those of the same rows and images are kept.
    workers
        Processes; all cores when unset.

    Raises
    ------
    InputError
        If the manifest or a case does not fit, or the folder holds the cases of another dataset.
    """
    from nmsynth.data.manifest import manifest_file, read_manifest
    from nmsynth.data.manifest_cohort import cases_of

    file = manifest_file(manifest)
    cases = cases_of(read_manifest(file))
    root = file.parent
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    stamp = folder / "manifest.sha256"
    if stamp.is_file() and stamp.read_text().strip() != digest:
        raise InputError(
            "A run belongs to one dataset; the manifest has changed since it was begun. Give another output folder."
        )
    if not stamp.is_file() and any(folder.glob("*.npy")):
        raise InputError("A run belongs to one dataset; the folder holds other cases. Give another output folder.")
    stamp.write_text(digest + "\n")
    missing = [case for case in cases if not (folder / f"{case}.json").is_file()]
    run_jobs(
        _import_one,
        [(case, cases[case], root, folder) for case in missing],
        workers=workers,
        stage="reading the dataset",
        done=len(cases) - len(missing),
        progress=progress,
    )
    return list(cases)
