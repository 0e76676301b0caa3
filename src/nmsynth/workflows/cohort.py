"""Simulate the cohort of a recipe: every case on its own, resumable, over processes."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmsynth.training.experiment import SimulationRecipe


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
    unknown = sorted(set(recipe.families) - set(available))
    if unknown:
        raise InputError(f"Patient families must be among {sorted(available)}; found {unknown}. Correct the recipe.")
    for order, (family, n_cases) in enumerate(recipe.families.items()):
        if not available[family]:
            continue
        for index in range(n_cases):
            seed = recipe.seed * 1_000_000 + order * 100_000 + index
            subject = subject_of(family, index)
            digest = int(hashlib.sha256(f"{recipe.seed}/{family}/{subject}".encode()).hexdigest()[:8], 16)
            split = "validation" if digest / 0xFFFFFFFF < recipe.validation_share else "train"
            plans.append(CasePlan(f"{family}-{index:05d}", family, subject, seed, split))
    plans.sort(key=lambda p: (p.case_id[-5:], p.family))
    return plans


def subject_of(family: str, index: int) -> int:
    """Seed or number of the subject of a family's case: real anatomies recur, procedural ones never."""
    n_real = {"brain-labels": 15, "torso-ct": 1, "sts-triples": 22}.get(family)
    return index % n_real if n_real else 10_000 + index


def _simulate_one(plan: CasePlan, recipe: SimulationRecipe, folder: Path) -> str:
    """Simulate and save one case, in a process of its own with one thread."""
    import numpy as np
    import torch

    from nmsynth.data.cohort import write_case
    from nmsynth.data.families import make_subject
    from nmsynth.data.simulation import ScanRanges, draw_scan, fine_grid, simulate_case

    torch.set_num_threads(1)
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
    start = rng.uniform(low, max(low + 1.0, high - length))
    phantom = subject.render(fine_grid(draw, n_planes=recipe.planes, start_mm=float(start)))
    case = simulate_case(phantom, draw, generator=torch.Generator().manual_seed(plan.case_seed))
    write_case(folder, plan.case_id, subject.name, plan.split, case)
    return plan.case_id


def simulate_cohort(
    recipe: SimulationRecipe,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Callable[[str, float], None] | None = None,
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
    n_workers = workers or os.cpu_count() or 1
    done = len(plans) - len(missing)
    if n_workers == 1:
        for plan in missing:
            _simulate_one(plan, recipe, folder)
            done += 1
            if progress is not None:
                progress("simulating patients", done / len(plans))
        return [p.case_id for p in plans]
    import multiprocessing

    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_simulate_one, p, recipe, folder) for p in missing]):
            future.result()
            done += 1
            if progress is not None:
                progress("simulating patients", done / len(plans))
    return [p.case_id for p in plans]
