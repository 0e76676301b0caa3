r"""How far a model reaches from the first minutes of a scan, beside what these minutes give directly.

    python -m benchmarks.early_windows --task early-to-influx --model MODEL --subjects 20 --out benchmarks/results/early
    python -m benchmarks.early_windows --task early-to-late --model MODEL --subjects 20 --out benchmarks/results/early

Each subject, by seeds that no dataset has, is scanned for an hour, twice at full counts and twice at a quarter.
Model and direct estimate see the first 10, 20 or 30 minutes. Direct is a Patlak plot of the second half of what was
seen, with the true plasma, or of a late image the last ten minutes that were seen. Both are compared with the whole
hour without noise, in regions of the brain: bias, absolute error, and the difference of test and retest, each over
subjects with an interval.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.volume import Volume
from nmsynth.data.dynamic_scan import ScannedDynamic
from nmsynth.data.parametric import parametric_images, part_images, plasma_integral, static_images
from nmsynth.inference import load_model, synthesize
from nmsynth.inference.method_model import MethodModel
from nmsynth.io.atomic import atomic_file
from nmsynth.metrics.agreement import bootstrap_interval
from nmsynth.metrics.correction import organ_errors
from nmsynth.models.registry import show_model
from nmsynth.physics.kinetic_regions import BRAIN
from nmsynth.physics.kinetics import patlak_image
from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, dynamic_study
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import LEAST_VOXELS, on_grid_of_target, plan_task_studies
from nmsynth.workflows.tasks import load_task

FRAMES_S = (60.0,) * 10 + (300.0,) * 10
"""Finer than those of the recipe, so that a Patlak plot of few minutes has its frames."""
WINDOWS_MIN = (10.0, 20.0, 30.0)
FRACTIONS = (1.0, 0.25)
FIRST_SEED = SEEDS_FROM + 3000
"""Seeds of these subjects; those of other benchmarks are smaller."""
INFLUX = "early-to-influx"


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject to be scanned and answered."""

    task: str
    model: str
    settings: dict[str, Any]
    place: Path


def target_of(study: ScannedDynamic, task: str) -> Volume:
    """The whole hour without noise."""
    if task == INFLUX:
        return parametric_images(study, study.noise_free, "noise-free")["patlak"]
    return static_images(study, study.noise_free, "noise-free")["late"].to_suv()


def direct(study: ScannedDynamic, task: str, until_min: float, parts: dict[str, Volume]) -> npt.NDArray[np.float32]:
    """What the minutes that were seen give without a model."""
    if task != INFLUX:
        return np.asarray(list(parts.values())[-1].to_suv().array)
    seen = study.frames_min[:, 1] <= until_min + 1e-6
    frames = study.scan.array[seen] / np.float32(study.bqml_per_suv)
    return patlak_image(frames, study.frames_min[seen], study.plasma_suv, study.minutes, start_min=until_min / 2)


def answers(
    study: ScannedDynamic, task: str, model: MethodModel, target: Volume
) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
    """Images by window, of the model and direct."""
    found = {}
    known = {c.name for c in model.plan.conditions}
    for window in WINDOWS_MIN:
        parts = part_images(study, study.scan, WINDOWS_MIN, seen_min=window)
        told = {"seen_min": window, "plasma_integral": plasma_integral(study, window)}
        settings = {"threads": 1, "conditions": {n: v for n, v in told.items() if n in known}}
        image = on_grid_of_target(synthesize(parts, model, settings=settings).image, target)  # SUV, or influx
        found[f"{window:g} min"] = {"model": image.array, "direct": direct(study, task, window, parts)}
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
            study = dynamic_study(SimulateDynamicSettings(**{**given, "frames_s": FRAMES_S}))
            target = target_of(study, subject.task)
            regions = {n: study.head.labels == k for k, n in enumerate(study.head.names) if n in BRAIN}
            regions = {name: mask for name, mask in regions.items() if mask.sum() >= LEAST_VOXELS}
            for window, images in answers(study, subject.task, model, target).items():
                for arm, image in images.items():
                    errors = organ_errors(image, target.array, regions)
                    result.setdefault(f"{fraction:g}", {}).setdefault(window, {}).setdefault(arm, []).append(errors)
    with atomic_file(subject.place) as temporary:
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")


def summary(subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """Bias, absolute error and repeatability of each window, counts and arm, over subjects."""
    found: dict[str, Any] = {}
    for fraction, windows in subjects[0].items():
        for window, arms in windows.items():
            for arm in arms:
                pairs = [s[fraction][window][arm] for s in subjects]
                first = [list(test.values()) for test, _ in pairs]
                apart = [[test[n] - retest[n] for n in test if n in retest] for test, retest in pairs]
                numbers = {
                    "bias": [float(np.mean(v)) for v in first],
                    "absolute error": [float(np.median(np.abs(v))) for v in first],
                    "test less retest": [float(np.sqrt(np.mean(np.square(v)) / 2)) for v in apart],
                }
                intervals = {name: bootstrap_interval(values) for name, values in numbers.items()}
                told = {name: None if i is None else i.rounded() for name, i in intervals.items()}
                found.setdefault(f"{fraction} of the counts", {}).setdefault(window, {})[arm] = told
    return found


def main() -> None:
    """Measure what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("early-to-late", INFLUX), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/early_windows"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    card = show_model(given.model)
    folder = given.scratch / card.sha256[:12]
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_task_studies(load_task(given.task), given.subjects, FIRST_SEED)
    how = {"frames_s": FRAMES_S, "windows_min": WINDOWS_MIN, "fractions": FRACTIONS, "regions": sorted(BRAIN)}
    jobs = [Subject(given.task, given.model, plan.settings, folder / f"{plan.key(**how)}.json") for plan in plans]
    run_jobs(measure, [job for job in jobs if not job.place.is_file()], workers=given.workers)
    results = [json.loads(job.place.read_text(encoding="utf-8")) for job in jobs]
    text = json.dumps(
        {
            "schema_version": 1,
            "model": {"name": card.name, "sha256": card.sha256},
            "subjects": given.subjects,
            "relative errors": summary(results),
        },
        indent=1,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.task}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
