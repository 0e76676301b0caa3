"""How much of what is coarse a network should take back from its source: the choice behind ``coarse`` of a plan.

    python -m benchmarks.coarse --task sparse-spect --model runs/sparse-spect/model/package/sparse-spect \
        --widths 10 13 --standing-out 1 2 3 --out benchmarks/results/coarse

Patients that no training, proof or demonstration has are simulated in each test as trained, at all levels of the task.
The network answers once, without taking anything back; then the coarse difference to the source is taken back by each
choice, and the numbers of the task and the noise are measured, beside the Gaussian of the source that leaves as much
noise. OUT/MODEL.json has them over patients, as a proof summarises them, and the primary ones are printed. It serves to
choose: whether the choice beats the baselines is for ``benchmarks.task_model``, on other patients.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nmsynth.core.plan import CoarsePlan
from nmsynth.core.replacement import replace_text
from nmsynth.evaluation.evaluate import PREDICTION
from nmsynth.evaluation.preparation import BEST_GAUSSIAN, EQUAL_NOISE_GAUSSIAN
from nmsynth.evaluation.proof import Wanted, summarise_proof
from nmsynth.inference import MethodModel, load_model, synthesize
from nmsynth.inference.method_predictor import coarse_difference
from nmsynth.io import read
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.study_recipe import StudyPlan
from nmsynth.workflows.task_proof import levels_of, mean_over_views
from nmsynth.workflows.task_study import (
    NOISE,
    TaskStudy,
    at_level,
    evaluate_task_study,
    numbers_of,
    plan_task_studies,
    simulate_task_study,
    study_masks,
)
from nmsynth.workflows.tasks import TaskSpec, load_task

SEED = 7000
"""Of the patients; those of datasets, demonstrations and proofs are others."""
Arms = dict[str, dict[str, float | None]]
"""Numbers by arm."""
SHOWN = (PREDICTION, EQUAL_NOISE_GAUSSIAN, BEST_GAUSSIAN)


@dataclass(frozen=True, slots=True)
class Job:
    """One patient in one test."""

    task: str
    model: str
    plan: StudyPlan
    test: str
    levels: tuple[tuple[str, str], ...]
    choices: tuple[CoarsePlan, ...]
    place: Path


def without_coarse(model: str) -> MethodModel:
    """The model as it answers by itself."""
    found = load_model(model)
    if not isinstance(found, MethodModel) or not found.plan.residual:
        raise SystemExit("What is coarse can be taken back of a source on the target's scale; the model has none.")
    plan = found.plan.model_copy(update={"coarse": CoarsePlan()})
    return replace(found, card=found.card.model_copy(update={"plan": plan}))


def measured(case: TaskStudy, job: Job, model: MethodModel) -> list[Arms]:
    """Numbers of every arm of one image, of each choice."""
    source = read(next(iter(case.sources.values())))
    answer = synthesize(source, model, settings={"threads": 1}).image
    masks, found = study_masks(case), []
    for choice in job.choices:
        given_back = coarse_difference(answer.array, source.array, choice, source.spacing_mm)
        image = answer.with_array(answer.array + given_back)
        metrics = evaluate_task_study(case, {PREDICTION: image}, source, masks=masks)
        found.append(numbers_of(case.task, metrics))
    return found


def measure(job: Job) -> None:
    """One patient: of each level and choice the numbers of every arm."""
    task, model, levels = load_task(job.task), without_coarse(job.model), []
    with tempfile.TemporaryDirectory() as scratch:
        studies = simulate_task_study(task, job.plan, Path(scratch))
        for _, image in job.levels:
            views = [measured(at_level(study, image), job, model) for study in studies]
            levels.append([mean_over_views(of_choice) for of_choice in zip(*views, strict=True)])
    replace_text(job.place, json.dumps(levels) + "\n")


def summarised(task: TaskSpec, jobs: list[Job]) -> list[dict[str, Any]]:
    """One row a test, level, choice and arm, its numbers over patients."""
    wanted: dict[str, Wanted] = {proof.heading: proof.wanted for proof in task.proof} | {NOISE: "lower"}
    means = [proof.heading for proof in task.proof if proof.summary == "mean"]
    patients: dict[tuple[str, str, CoarsePlan], list[Arms]] = defaultdict(list)
    for job in jobs:
        for (level, _), choices in zip(job.levels, json.loads(job.place.read_text()), strict=True):
            for choice, arms in zip(job.choices, choices, strict=True):
                patients[job.test, level, choice].append(arms)
    rows = []
    for (test, level, choice), own in patients.items():
        arms = summarise_proof(own, wanted, means=means).arms
        rows += [
            {"test": test, "level": level, **choice.model_dump(), "image": arm}
            | {number: found.value for number, found in arms[arm].items()}
            for arm in SHOWN
            if arm in arms
        ]
    return rows


def main() -> None:
    """Simulate, answer, measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.75])
    parser.add_argument("--widths", type=float, nargs="+", default=[10.0, 15.0, 25.0, 40.0])
    parser.add_argument("--standing-out", type=float, nargs="+", default=[0.0])
    parser.add_argument("--subjects", type=int, default=3, help="patients of each test")
    parser.add_argument("--tests", nargs="+", help="names of tests; all as trained when unset")
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    task, name = load_task(given.task), without_coarse(given.model).name
    asked = itertools.product(given.shares, given.widths, given.standing_out)
    choices = (CoarsePlan(), *(CoarsePlan(share=s, fwhm_mm=w, standing_out=k) for s, w, k in asked))
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [
            Job(given.task, given.model, plan, test.name, tuple(levels), choices, Path(scratch) / f"{k}-{n}-{i}.json")
            for k, test in enumerate(task.tests)
            if (test.name in given.tests if given.tests else not test.shifted)
            for n, (changes, levels) in enumerate(levels_of(task))
            for i, plan in enumerate(plan_task_studies(task, given.subjects, SEED, {**test.changes, **changes}))
        ]
        run_jobs(measure, jobs, workers=given.workers, stage="measuring")
        rows = summarised(task, jobs)
    record = {"task": task.name, "model": name, "subjects": given.subjects, "seed": SEED, "rows": rows}
    given.out.mkdir(parents=True, exist_ok=True)
    replace_text(given.out / f"{name}.json", json.dumps(record, indent=1) + "\n")
    shown = [*(proof.heading for proof in task.proof if proof.primary), NOISE]
    print("| test | level | share | width [mm] | standing out | image | " + " | ".join(shown) + " |")
    print("|" + "---|" * (6 + len(shown)))
    for row in rows:
        values = " | ".join(f"{row[n]:.3g}" if n in row else "–" for n in shown)
        told = " | ".join(f"{row[name]:g}" for name in CoarsePlan.model_fields)
        print(f"| {row['test']} | {row['level']} | {told} | {row['image']} | {values} |")


if __name__ == "__main__":
    main()
