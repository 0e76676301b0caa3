r"""How far a model reaches from the first minutes of a scan, beside what these minutes give directly.

    python -m benchmarks.early_windows --task early-to-influx --model MODEL --run RUN --subjects 20 --out OUT
    python -m benchmarks.early_windows --task early-to-late --model MODEL --run RUN --subjects 20 --out OUT

Each subject, by seeds that no dataset has, is scanned for an hour, twice at full counts and twice at a quarter.
Model and direct estimates see the first 10, 20 or 30 minutes. Direct are a Patlak plot of the second half of what was
seen, of the influx with the patient's own plasma without noise (generous), of a late image carried on by the usual
course of the plasma; and the last ten minutes that were seen, as they are, times one factor, and times a factor of
each region, of the influx over the integral of that plasma; factors are fitted to the training patients of ``RUN``.
All are compared with the whole hour without noise in the regions of the brain: bias of each region; mean and largest
of its size over regions; what a second scan of the same counts changes, which is counting noise alone, as nothing in
the subject changes between them; and how much nearer the model is than each direct estimate, paired. Each stands over
subjects with an interval. Needs about 3 minutes of CPU a subject.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.plan import read_plan
from nmsynth.core.volume import Volume
from nmsynth.data.dynamic_scan import ScannedDynamic
from nmsynth.data.parametric import parametric_images, part_images, plasma_integral, static_images
from nmsynth.data.prepared import open_prepared
from nmsynth.evaluation.ambiguity import to_json
from nmsynth.inference import load_model, synthesize
from nmsynth.inference.method_model import MethodModel
from nmsynth.io.atomic import atomic_file
from nmsynth.metrics.agreement import bootstrap_interval, paired_difference
from nmsynth.metrics.correction import organ_errors
from nmsynth.models.registry import show_model
from nmsynth.physics.kinetic_regions import BRAIN
from nmsynth.workflows.benchmark_baselines import Presented
from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, dynamic_study
from nmsynth.workflows.early_baselines import (
    LAST_PART,
    OVER_PLASMA,
    PartFactors,
    influx_seen,
    late_of_seen,
    part_factors,
)
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_training import PREPARED
from nmsynth.workflows.planning import PLAN_FILE
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import LEAST_REGION_VOXELS, on_grid_of_target, plan_task_studies
from nmsynth.workflows.tasks import load_task

WINDOWS_MIN = (10.0, 20.0, 30.0)
FRACTIONS = (1.0, 0.25)
FIRST_SEED = SEEDS_FROM + 3000
"""Seeds of these subjects; those of other benchmarks are smaller."""
INFLUX = "early-to-influx"
MODEL = "model"
DEFINITIONS = {
    "bias": "relative difference of the mean of a region to the whole hour without noise; median over subjects",
    "error, mean": "size of the bias, mean over regions; median over subjects",
    "error, largest": "size of the bias, largest over regions; median over subjects",
    "counting repeatability": (
        "standard deviation of the bias of a region between two scans of one subject, root mean square over regions; "
        "median over subjects; of counts alone: between a test and a retest in patients metabolism changes too"
    ),
    "model less direct": "error, mean, of the model less that of a direct estimate, paired; median over subjects",
}
"""Of the numbers of :func:`summary`."""
Errors = dict[str, float]
"""By region."""
Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject to be scanned and answered."""

    task: str
    model: str
    factors: PartFactors
    settings: dict[str, Any]
    place: Path


def target_of(study: ScannedDynamic, task: str) -> Volume:
    """The whole hour without noise."""
    if task == INFLUX:
        return parametric_images(study, study.noise_free, "noise-free")["patlak"]
    return static_images(study, study.noise_free, "noise-free")["late"].to_suv()


def direct(
    study: ScannedDynamic, task: str, factors: PartFactors, until_min: float, parts: dict[str, Volume]
) -> dict[str, Image]:
    """What the minutes that were seen give without a model, by name."""
    last, n = list(parts.values())[-1].to_suv().array, len(parts)
    frames = study.scan.array / np.float32(study.bqml_per_suv)
    labels = study.head.brain_labels
    if task == INFLUX:
        integral = plasma_integral(study, until_min)
        return {
            "Patlak, plasma without noise": influx_seen(
                frames, study.frames_min, study.plasma_suv, study.minutes, until_min
            ),
            "last part over plasma, one factor": factors(last, n, plasma_integral=integral),
            "last part over plasma, by region": factors(last, n, labels=labels, plasma_integral=integral),
        }
    low, high = study.tracer.late_min
    return {
        "Patlak, usual plasma": late_of_seen(frames, study.frames_min, until_min, (low, high)),
        "last part": np.asarray(last),
        "last part, one factor": factors(last, n),
        "last part, by region": factors(last, n, labels=labels),
    }


def answers(
    study: ScannedDynamic, task: str, model: MethodModel, factors: PartFactors, target: Volume
) -> dict[str, dict[str, Image]]:
    """Images by window, of the model and direct."""
    found = {}
    known = {c.name for c in model.plan.conditions}
    for window in WINDOWS_MIN:
        parts = part_images(study, study.scan, WINDOWS_MIN, seen_min=window)
        told = {"seen_min": window, "plasma_integral": plasma_integral(study, window)}
        settings = {"threads": 1, "conditions": {n: v for n, v in told.items() if n in known}}
        image = on_grid_of_target(synthesize(parts, model, settings=settings).image, target)  # SUV, or influx
        found[f"{window:g} min"] = {MODEL: image.array, **direct(study, task, factors, window, parts)}
    return found


def measure(subject: Subject) -> None:
    """Scan one subject four times, and keep the errors of the means of regions of the brain."""
    model = load_model(subject.model)
    if not isinstance(model, MethodModel):
        raise SystemExit("The model must be a method with a plan.")
    result: dict[str, Any] = {}
    for fraction in FRACTIONS:
        for repeat in (0, 1):
            given = {**subject.settings, "count_fraction": fraction, "repeat": repeat, "seen_min": None}
            study = dynamic_study(SimulateDynamicSettings(**given))
            target = target_of(study, subject.task)
            regions = {n: study.head.labels == k for k, n in enumerate(study.head.names) if n in BRAIN}
            regions = {name: mask for name, mask in regions.items() if mask.sum() >= LEAST_REGION_VOXELS}
            for window, images in answers(study, subject.task, model, subject.factors, target).items():
                for arm, image in images.items():
                    errors = organ_errors(image, target.array, regions)
                    result.setdefault(f"{fraction:g}", {}).setdefault(window, {}).setdefault(arm, []).append(errors)
    with atomic_file(subject.place) as temporary:
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")


def summary(subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of :data:`DEFINITIONS` of each window, counts and arm, over subjects.

    Parameters
    ----------
    subjects
        Of each: by counts, window and arm the errors by region of a test and of its retest.
    """
    found: dict[str, Any] = {}
    for fraction, windows in subjects[0].items():
        for window, arms in windows.items():
            own = {arm: [tuple(s[fraction][window][arm]) for s in subjects] for arm in arms}
            sizes = {arm: [_mean_size(test) for test, _ in pairs] for arm, pairs in own.items()}
            told = {arm: _of_arm(pairs) for arm, pairs in own.items()}
            for arm in arms:
                if arm != MODEL:
                    told[arm] |= to_json({"model less direct": paired_difference(sizes[MODEL], sizes[arm])})
            found.setdefault(f"{fraction} of the counts", {})[window] = told
    return found


def _of_arm(pairs: list[tuple[Errors, Errors]]) -> dict[str, Any]:
    """Numbers of one arm, of test and retest of each subject."""
    regions = list(dict.fromkeys(name for test, _ in pairs for name in test))
    largest = [max(abs(error) for error in test.values()) for test, _ in pairs]
    apart = [[test[n] - retest[n] for n in test if n in retest] for test, retest in pairs]
    bias = {name: bootstrap_interval([test[name] for test, _ in pairs if name in test]) for name in regions}
    found = {
        "error, mean": bootstrap_interval([_mean_size(test) for test, _ in pairs]),
        "error, largest": bootstrap_interval(largest),
        "counting repeatability": bootstrap_interval([float(np.sqrt(np.mean(np.square(v)) / 2)) for v in apart]),
    }
    return {"bias": to_json(bias), **to_json(found)}


def _mean_size(errors: Errors) -> float:
    """Mean over regions of the size of their errors, so that grey and white matter do not cancel."""
    return float(np.mean(np.abs(list(errors.values()))))


def fitted_factors(run: Path, task: str) -> PartFactors:
    """Factors of the last part by the training patients of a run."""
    plan = read_plan(run / PLAN_FILE)
    cases = [case for case in open_prepared(run / PREPARED) if case.split == "train"]
    shown = [Presented(case, k, "") for case in cases for k in range(len(case.levels))]
    return part_factors(OVER_PLASMA if task == INFLUX else LAST_PART, plan, shown)


def main() -> None:
    """Measure what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("early-to-late", INFLUX), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run", type=Path, required=True, help="Training, to whose patients factors are fitted.")
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/early_windows"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    card = show_model(given.model)
    folder = given.scratch / card.sha256[:12]
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_task_studies(load_task(given.task), given.subjects, FIRST_SEED)
    factors = fitted_factors(given.run, given.task)
    how = {"windows_min": WINDOWS_MIN, "fractions": FRACTIONS, "regions": sorted(BRAIN), "factors": repr(factors)}
    jobs = [
        Subject(given.task, given.model, factors, plan.settings, folder / f"{plan.key(**how)}.json") for plan in plans
    ]
    run_jobs(measure, [job for job in jobs if not job.place.is_file()], workers=given.workers)
    results = [json.loads(job.place.read_text(encoding="utf-8")) for job in jobs]
    text = json.dumps(
        {
            "schema_version": 2,
            "task": given.task,
            "model": {"name": card.name, "sha256": card.sha256},
            "subjects": given.subjects,
            "definitions": DEFINITIONS,
            "relative errors": summary(results),
        },
        indent=1,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.task}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
