"""What training in bfloat16 brings on this CPU, and whether what is learned suffers.

    python -m benchmarks.precision --out benchmarks/results/precision

Speed: a step of each family (losses, backward) in fp32 and in bf16, which take turns in one process on one thread;
CPU time. Learning: the network of a recipe on its simulated patients, trained in both from the same seeds for as many
steps, batch by batch the same; what differs between seeds is the measure of what differs between precisions.
Validation is in fp32 for both, as is every use of a trained model.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from benchmarks.training_speed import SIZES, plan_of

from nmsynth.inference.backend import fast_precision
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.training.speed import random_batch
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.method_training import simulated_dataset, train_on_dataset, training_options
from nmsynth.workflows.planning import plan_dataset

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan

PRECISIONS = ("fp32", "bf16")
PLANNED = "as planned for a CPU"
FAMILIES = ("unet", "cvae", "pix2pix", "cyclegan", "swin", "ldm", "flow", "ddpm", "gain")
N_TURNS = 5


def step_times(spec: MethodSpec, plan: Plan) -> dict[str, list[float]]:
    """CPU time of a step of the last stage in either precision, turn by turn [s]."""
    torch.manual_seed(1)
    method, batch = build_method(spec, plan), random_batch(plan)
    stage = method.stages[-1]

    def step(precision: str) -> float:
        """Gradients of every group [s]."""
        started = time.process_time()
        for group in method.groups(stage):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = method.losses(batch, group, stage)["total"]
            torch.autograd.backward(loss)
        return time.process_time() - started

    for precision in PRECISIONS:
        step(precision)
    turns = [{precision: step(precision) for precision in PRECISIONS} for _ in range(N_TURNS)]
    return {precision: [turn[precision] for turn in turns] for precision in PRECISIONS}


def speed_row(family: str, size: str) -> dict[str, Any]:
    """Of a family and a size of plan: times, and how much faster bf16 is, turn by turn."""
    times = step_times(MethodSpec(name=family), plan_of(SIZES[size]))
    ratios = [a / b for a, b in zip(*(times[p] for p in PRECISIONS), strict=True)]
    return {
        "family": family,
        "plan": size,
        "step_s": {p: round(statistics.median(times[p]), 4) for p in PRECISIONS},
        "faster": round(statistics.median(ratios), 2),
        "faster_of_each_turn": [round(r, 2) for r in ratios],
    }


@dataclass(frozen=True, slots=True)
class Learning:
    """One training."""

    recipe: str
    precision: str
    seed: int
    steps: int
    out: Path

    @property
    def run(self) -> Path:
        """Its folder."""
        return self.out / f"{self.recipe}-{self.precision}-{self.seed}"


def learn(job: Learning) -> None:
    """Train, or what is left of it."""
    recipe = load_method_recipe(job.recipe)
    changes = {"schedule.precision": job.precision, "schedule.seed": job.seed, "schedule.steps": job.steps}
    dataset = job.out / f"{job.recipe}-dataset"
    plan = plan_dataset(dataset, device="cpu", method=recipe.method, overrides={**recipe.plan, **changes})
    options = training_options(threads=1, device="cpu")
    train_on_dataset(recipe, dataset, job.run, plan=plan, options=options)


def learned(job: Learning) -> dict[str, Any]:
    """Errors of the validations, and at the end the error of the level; relative, weights averaged."""
    with (job.run / "training" / "0-main" / "validation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "recipe": job.recipe,
        "precision": job.precision,
        "seed": job.seed,
        "steps": job.steps,
        "validation_error": [round(float(row["error"]), 4) for row in rows],
        "bias_at_the_end": round(float(rows[-1]["bias"]), 4),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/precision"))
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"), help="folder of the trainings")
    parser.add_argument("--recipe", default="lowcount-planar")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    speeds = [speed_row(family, PLANNED) for family in FAMILIES]
    speeds += [speed_row("unet", size) for size in SIZES if size != PLANNED]
    recipe = load_method_recipe(given.recipe, {"data.subjects": given.subjects})
    simulated_dataset(recipe, given.runs / f"{given.recipe}-dataset")
    jobs = [
        Learning(given.recipe, precision, seed, given.steps, given.runs)
        for seed in range(1, given.seeds + 1)
        for precision in PRECISIONS
    ]
    run_jobs(learn, jobs, workers=given.workers)
    result = {
        "schema_version": 1,
        "machine": {"processor": platform.machine(), "torch": torch.__version__, "planned": fast_precision("cpu")},
        "speed": speeds,
        "learning": [learned(job) for job in jobs],
    }
    for row in (*speeds, *result["learning"]):
        print(json.dumps(row))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
