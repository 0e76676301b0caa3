r"""What a model of the brain knows, and whether it knows what it does not: three couplings of anatomy and uptake.

    for c in none published strong; do
        nmsynth simulate cohort DATA-$c --recipe mr-amyloid --subjects 100 --set settings.coupling=$c
        nmsynth train mr-to-amyloid -o RUN-$c --data DATA-$c --minutes 45
    done
    python -m benchmarks.coupling --task mr-to-amyloid --run none=RUN-none --run published=RUN-published \
        --run strong=RUN-strong --subjects 60 --out benchmarks/results/coupling

Each model meets subjects of its own coupling, by seeds that no dataset has. Its samples give the mean of each region
and, by the calibration in its card, an interval; both are compared with the noise-free image. The cortical composite
decides who has the disease. Beside it stands the mean of each region over the subjects that it was trained on: where
anatomy tells nothing, nothing better can be said. ``--withhold`` leaves out what is told beside the images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.apps.cli.options import named_paths
from nmsynth.core.volume import Volume
from nmsynth.data.prepared import PreparedCase, open_prepared
from nmsynth.evaluation.ambiguity import RegionAnswers, summarise_ambiguity, to_json
from nmsynth.inference import load_model
from nmsynth.io.atomic import atomic_file
from nmsynth.metrics.intervals import Widening
from nmsynth.metrics.suvr import composite_ratio
from nmsynth.physics.phantom.brain_regions import BrainRegion
from nmsynth.workflows.calibration import regions_of
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_training import PACKAGE, PREPARED
from nmsynth.workflows.study_recipe import StudyPlan
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import (
    on_grid_of_target,
    plan_task_studies,
    simulate_task_study,
    study_masks,
    synthesize_task_study,
)
from nmsynth.workflows.tasks import load_task

COMPOSITE = {"mr-to-fdg": "metabolic cortex", "mr-to-amyloid": "amyloid cortex"}
"""By which a decision is taken, by task."""
FALLS = ("metabolic cortex",)
"""Composites that disease lowers."""
FIRST_SEED = SEEDS_FROM + 2000
"""Seeds of these subjects; those of demonstrations and closed loops are smaller."""
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject to be answered."""

    task: str
    plan: StudyPlan
    model: Path
    place: Path
    withhold: bool


def answer(subject: Subject) -> None:
    """Simulate, synthesise, and keep the means of regions in truth, image and samples."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        study = simulate_task_study(load_task(subject.task), subject.plan, work)[0]
        if subject.withhold:
            study = replace(study, rows=tuple(replace(row, conditions=()) for row in study.rows))
        record = json.loads((work / "study" / "reference" / "simulation.json").read_text(encoding="utf-8"))
        # other samples for every subject: what one set of codes has in common would count as the model's
        seed = subject.plan.settings["seed"]
        made, _ = synthesize_task_study(study, str(subject.model), work / "synthetic.nii.gz", seed=seed)
        masks = study_masks(study)

        def means(image: Volume) -> dict[str, float]:
            """Of each region."""
            array = on_grid_of_target(image, study.target).array
            return {name: float(array[np.asarray(mask)].mean(dtype=np.float64)) for name, mask in masks.items()}

        result = {
            "severity": record["brain"]["severity"],
            "truth": means(study.target),
            "image": means(made.image),
            "samples": [means(sample) for sample in made.samples],
        }
    with atomic_file(subject.place) as temporary:
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")


def population(cases: list[PreparedCase]) -> dict[str, float]:
    """Mean of each region over training subjects."""
    gathered: dict[str, list[float]] = {}
    for case in cases:
        target = case.target_normalisation().invert(np.asarray(case.target))
        labels = regions_of(case, sides_together=True)
        for number in np.unique(labels[labels > 0]):
            mean = float(target[labels == number].mean(dtype=np.float64))
            gathered.setdefault(BrainRegion(int(number)).words, []).append(mean)
    return {name: float(np.mean(values)) for name, values in gathered.items()}


def gather(results: list[dict[str, Any]], mean: dict[str, float], widening: Widening, composite: str) -> RegionAnswers:
    """Answers over regions that every subject has."""
    names = [n for n in mean if all(n in r["truth"] and n in r["image"] for r in results)]
    truth = np.array([[r["truth"][n] for n in names] for r in results])
    image = np.array([[r["image"][n] for n in names] for r in results])
    spread = np.array([np.std([[s[n] for n in names] for s in r["samples"]], axis=0, ddof=1) for r in results])
    sign = -1.0 if composite in FALLS else 1.0

    def composites(values: FloatArray) -> FloatArray:
        """The composite of each subject, so that disease raises it."""
        found = [composite_ratio(dict(zip(names, row, strict=True)), composite) for row in values]
        if None in found:
            raise SystemExit(f"A region of {composite} is too small in some subject to be measured.")
        return sign * np.array(found)

    return RegionAnswers(
        truth, image, widening.half_width(spread), np.array([mean[n] for n in names]), composites(image),
        composites(truth), np.array([r["severity"] for r in results]),
    )  # fmt: skip


def measure(task: str, coupling: str, run: Path, subjects: int, scratch: Path, workers: int, withhold: bool) -> Any:
    """Numbers of one coupling."""
    (package,) = sorted(path.parent for path in (run / PACKAGE).glob("*/card.json"))
    model = load_model(package)
    interval = model.card.interval
    if interval is None or interval.region_factor is None:
        raise SystemExit(f"The model of {coupling} has no calibrated intervals; run: nmsynth models calibrate {run}")
    folder = scratch / f"{model.sha256[:12]}{'-withheld' if withhold else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_task_studies(load_task(task), subjects, FIRST_SEED, {"settings.coupling": coupling})
    jobs = [Subject(task, plan, package, folder / f"{plan.key()}.json", withhold) for plan in plans]
    run_jobs(answer, [job for job in jobs if not job.place.is_file()], workers=workers)
    results = [json.loads(job.place.read_text(encoding="utf-8")) for job in jobs]
    training = [case for case in open_prepared(run / PREPARED) if case.split == "train"]
    widening = Widening(interval.region_factor, interval.region_floor)
    found = summarise_ambiguity(gather(results, population(training), widening, COMPOSITE[task]))
    return {"model": {"name": model.name, "sha256": model.sha256}, "subjects": subjects, **to_json(found)}


def main() -> None:
    """Measure what is asked for; subjects that are done are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(COMPOSITE), required=True)
    parser.add_argument("--run", action="append", required=True, metavar="COUPLING=RUN")
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--withhold", action="store_true", help="Tell the model nothing beside the images.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/coupling"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    runs = named_paths(given.run, option="--run")
    found = {
        coupling: measure(given.task, coupling, run, given.subjects, given.scratch, given.workers, given.withhold)
        for coupling, run in runs.items()
    }
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"{given.task}{'-withheld' if given.withhold else ''}.json"
    text = json.dumps({"schema_version": 1, "task": given.task, "couplings": found}, indent=1)
    (given.out / name).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
