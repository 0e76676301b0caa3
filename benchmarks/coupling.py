r"""What a model of the brain knows, and whether it knows what it does not: three couplings of anatomy and uptake.

    python -m benchmarks.coupling_models mr-to-amyloid --out runs/coupling/mr-to-amyloid

trains the three models and calls this; of models that are trained already

    python -m benchmarks.coupling --task mr-to-amyloid --run none=RUN-none --run published=RUN-published \
        --run strong=RUN-strong --subjects 60 --out benchmarks/results/coupling

Each model meets subjects of its own coupling, by seeds that no dataset has. Its samples give the mean of each region
and, by the calibration in its card, an interval; both are compared with the noise-free image. The cortical composite
decides who has the disease. Beside it stands what the anatomy alone lets one say: the uptake of the training subjects'
tissues, imaged through the anatomy of each subject, whose true regions it knows. A scan mixes thin cortex with its
neighbours, so that with no coupling at all a brain with atrophy shows less; that much an honest model may say, and no
more. A model that is told optional facts, such as a biomarker, is measured with them and without them. Other MR and
other scanners, the tests of the task that are not as trained, are measured for ``--shifts``. OUT gets a JSON for
``benchmarks.card_metrics`` and a table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from benchmarks.task_proof import markdown

from nmsynth.apps.cli.options import named_paths
from nmsynth.core.volume import Volume
from nmsynth.data.prepared import PreparedCase, open_prepared
from nmsynth.evaluation.ambiguity import DEFINITIONS, RegionAnswers, summarise_ambiguity, to_json
from nmsynth.io import read
from nmsynth.io.atomic import atomic_file
from nmsynth.metrics.intervals import Widening
from nmsynth.metrics.suvr import COMPOSITES, composite_ratio
from nmsynth.models.registry import show_model
from nmsynth.physics.phantom.brain_disease import PATHOLOGY
from nmsynth.physics.phantom.brain_regions import BrainRegion
from nmsynth.workflows.brain_baselines import POPULATION_UPTAKE, told_tracers
from nmsynth.workflows.calibration import regions_of
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_training import PACKAGE, PREPARED
from nmsynth.workflows.study_output import REFERENCE_FOLDER, read_record
from nmsynth.workflows.study_recipe import StudyPlan
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_proof import fitted_image
from nmsynth.workflows.task_study import (
    on_grid_of_target,
    plan_task_studies,
    simulate_task_study,
    study_masks,
    synthesize_task_study,
)
from nmsynth.workflows.tasks import TaskSpec, TaskTest, load_task

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.models.card import IntervalCard

TRACER_OF = {"mr-to-fdg": "FDG", "mr-to-amyloid": "florbetapir", "tracer-to-tracer": ""}
"""Tracer that each task imitates; named by its tests where it is empty."""
COMPOSITE_OF = {"metabolism": "metabolic cortex", "amyloid": "amyloid cortex"}
"""By which a decision is taken, by what the tracer shows."""
FALLS = ("metabolic cortex",)
"""Composites that disease lowers."""
NO_COUPLING = "none"
WITHHELD = "nothing told"
FIRST_SEED = SEEDS_FROM + 2500
"""Seeds of these subjects; those of demonstrations and closed loops are smaller."""
SCHEMA_VERSION = 2
"""Of the JSON and of what is kept of a subject; 1 had neither the anatomy's mean nor a biomarker."""
COLLAPSE_BETTER, COLLAPSE_WORSE = 0.05, 0.10
"""By how much of its error a model may be better or worse than the anatomy's mean and still be called fallen back."""
COLLAPSE_SPREAD = 0.25
"""Spread beyond the anatomy over that of the truth, up to which nothing is said beyond it."""
FloatArray = npt.NDArray[np.float64]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """One row: a test of the task, and whether optional facts are withheld."""

    task: TaskSpec
    coupling: str
    test: TaskTest
    withheld: tuple[str, ...] = ()
    """Names of the facts that the model is not told."""
    has_options: bool = False
    """Whether the model may be told optional facts."""

    @property
    def tracers(self) -> tuple[str, str]:
        """Of source and target; the first is empty where the source shows none."""
        choices = self.test.changes.get("choices", ())
        if choices:
            return choices[0]["tracer"], choices[0]["target_tracer"]
        return "", TRACER_OF[self.task.name]

    @property
    def composite(self) -> str:
        """That decides."""
        return COMPOSITE_OF[PATHOLOGY[self.tracers[1]]]

    @property
    def is_blind(self) -> bool:
        """Whether nothing that the model is given speaks of the disease where the coupling is none."""
        told = self.has_options and not self.withheld
        source, target = (PATHOLOGY.get(tracer) for tracer in self.tracers)
        return self.coupling == NO_COUPLING and not told and source != target

    @property
    def name(self) -> str:
        """The coupling, and what else the row is."""
        is_plain = self.test == self.task.tests[0] and TRACER_OF[self.task.name]
        return ", ".join(
            [self.coupling, *([] if is_plain else [self.test.name]), *([WITHHELD] if self.withheld else [])]
        )


def arms_of(task: TaskSpec, coupling: str, optional: tuple[str, ...], *, shifts: bool) -> Iterator[Arm]:
    """Rows of one coupling: all tests as trained, the first without optional facts too, and shifted ones if wanted."""
    for number, test in enumerate(test for test in task.tests if shifts or not test.shifted):
        yield Arm(task, coupling, test, has_options=bool(optional))
        if optional and number == 0:
            yield Arm(task, coupling, test, withheld=optional, has_options=True)


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject to be answered, in the arms of one test."""

    plan: StudyPlan
    model: Path
    run: Path
    answers: tuple[tuple[Arm, Path], ...]
    """Arms, which differ in what is withheld, and the place of each answer."""


def answer(subject: Subject) -> None:
    """Simulate, synthesise, and keep the means of regions in truth, image, samples and the anatomy's mean."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        study = simulate_task_study(subject.answers[0][0].task, subject.plan, work)[0]
        record = read_record(work / "study" / REFERENCE_FOLDER)
        source = read(next(iter(study.sources.values())))
        anatomy = fitted_image(subject.run, POPULATION_UPTAKE, study, source, work)
        masks = study_masks(study)

        def means(image: Volume) -> dict[str, float]:
            """Of each region."""
            array = on_grid_of_target(image, study.target).array
            return {name: float(array[np.asarray(mask)].mean(dtype=np.float64)) for name, mask in masks.items()}

        known = {
            "severity": record.get("target_brain", record["brain"])["severity"],
            "atrophy": record["brain"]["atrophy"],
            "biomarker": record["told"]["biomarker"],
            "truth": means(study.target),
            "anatomy": means(anatomy),
        }
        for number, (arm, place) in enumerate(subject.answers):
            rows = [
                replace(row, conditions=tuple(c for c in row.conditions if c[0] not in arm.withheld))
                for row in study.rows
            ]
            # other samples for every subject: what one set of codes has in common would count as the model's
            made, _ = synthesize_task_study(
                replace(study, rows=tuple(rows)), str(subject.model), work / f"synthetic-{number}.nii.gz",
                seed=subject.plan.settings["seed"],
            )  # fmt: skip
            result = {**known, "image": means(made.image), "samples": [means(sample) for sample in made.samples]}
            with atomic_file(place) as temporary:
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


def gather(results: list[Table], mean: dict[str, float], widening: Widening, composite: str) -> RegionAnswers:
    """Answers over regions that all have, of the subjects in whom no region of the composite is too small."""
    wanted = COMPOSITES[composite]
    results = [r for r in results if all(n in r[of] for n in wanted for of in ("truth", "image", "anatomy"))]
    if not results or not all(n in mean for n in wanted):
        raise SystemExit(f"A region of {composite} is too small in all subjects to be measured. Take finer voxels.")
    names = [n for n in mean if all(n in r["truth"] and n in r["image"] and n in r["anatomy"] for r in results)]

    def of(what: str) -> FloatArray:
        """Means of all regions, shape ``(subject, region)``."""
        return np.array([[r[what][n] for n in names] for r in results])

    truth, image, anatomy = of("truth"), of("image"), of("anatomy")
    spread = np.array([np.std([[s[n] for n in names] for s in r["samples"]], axis=0, ddof=1) for r in results])

    def composites(values: FloatArray) -> FloatArray:
        """The composite of each subject, so that disease raises it."""
        found = [composite_ratio(dict(zip(names, row, strict=True)), composite) for row in values]
        return sign_of(composite) * np.array(found, dtype=np.float64)

    speaks = composite == COMPOSITE_OF["amyloid"]
    return RegionAnswers(
        truth, image, widening.half_width(spread), anatomy, np.array([mean[n] for n in names]), composites(image),
        composites(truth), composites(anatomy), np.array([r["severity"] for r in results]),
        np.array([r["biomarker"] for r in results]) if speaks else None,
    )  # fmt: skip


def sign_of(composite: str) -> float:
    """By which a composite is multiplied so that disease raises it."""
    return -1.0 if composite in FALLS else 1.0


def verdicts_of(found: Table, nominal: float, arm: Arm) -> dict[str, str]:
    """What the numbers of a row say: of coverage always, of the fall back to the mean where nothing can be known."""

    def holds(value: float, bounds: list[float]) -> bool:
        """Whether a value lies in an interval."""
        return bounds[1] <= value <= bounds[2]

    coverage = found["coverage"]
    side = "within the interval" if holds(nominal, coverage) else "passed" if coverage[1] > nominal else "not reached"
    said = {"coverage": f"nominal {nominal:.2f} {side}"}
    paired = found["AUC less biomarker"]
    if paired is not None and arm.has_options and not arm.withheld:
        said["biomarker"] = "the image adds to it" if paired[1] > 0 else "the image adds nothing that is told apart"
    if not arm.is_blind:
        return said
    if found["AUC"] is not None:
        said["decision"] = f"AUC 0.5 {'within' if holds(0.5, found['AUC']) else 'outside'} the interval"
    error, spread = found["error of anatomy's mean"][0], found["spread beyond anatomy"]
    value, lower, upper = found["less anatomy's mean"]
    if upper < -COLLAPSE_BETTER * error:
        said["collapse"] = "better than can be known: look for a leak"
    elif lower > COLLAPSE_WORSE * error:
        said["collapse"] = "no: worse than the anatomy's mean"
    elif spread[0] > COLLAPSE_SPREAD:
        said["collapse"] = "no: it varies beyond the anatomy"
    else:
        near = -COLLAPSE_BETTER * error <= value <= COLLAPSE_WORSE * error
        said["collapse"] = "collapses to the mean" if near else "not told apart from the mean"
    return said


def answered(arms: Sequence[Arm], run: Path, subjects: int, scratch: Path, workers: int) -> list[list[Path]]:
    """Places of the answers of the arms of one test, of each arm those of all subjects; missing ones are made."""
    package, _ = package_of(run)
    interval_of(package, run, arms[0].coupling)  # before any time is lost
    digest = show_model(package).sha256[:12]
    folders = [scratch / f"{digest}{'-withheld' if arm.withheld else ''}" for arm in arms]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    changes = {**arms[0].test.changes, "settings.coupling": arms[0].coupling}
    plans = plan_task_studies(arms[0].task, subjects, FIRST_SEED, changes)
    places = [[folder / f"{plan.key(schema=SCHEMA_VERSION)}.json" for plan in plans] for folder in folders]
    jobs = []
    for plan, *own in zip(plans, *places, strict=True):
        missing = tuple((arm, place) for arm, place in zip(arms, own, strict=True) if not place.is_file())
        jobs += [Subject(plan, package, run, missing)] if missing else []
    run_jobs(answer, jobs, workers=workers)
    return places


def measure(arm: Arm, run: Path, subjects: int, scratch: Path, workers: int) -> Table:
    """Numbers of one row."""
    package, plan = package_of(run)
    model = show_model(package)
    interval, widening = interval_of(package, run, arm.coupling)
    (places,) = answered((arm,), run, subjects, scratch, workers)
    results = [json.loads(place.read_text(encoding="utf-8")) for place in places]
    cases = [case for case in open_prepared(run / PREPARED) if case.split == "train"]
    # a model of several tracers is compared with those of the same pair
    own = [case for case in cases if told_tracers(plan, case, 0) in ((), arm.tracers)]
    answers = gather(results, population(own), widening, arm.composite)
    found = to_json(summarise_ambiguity(answers))
    if found["threshold"] is not None and sign_of(arm.composite) < 0:
        value, lower, upper = found["threshold"]
        found["threshold"] = [-value, -upper, -lower]
    return {
        "model": {"name": model.name, "sha256": model.sha256}, "subjects": len(answers.severity), "test": arm.test.name,
        "told": WITHHELD if arm.withheld else "as trained", "composite": arm.composite,
        "nominal coverage": interval.coverage, **found, "verdicts": verdicts_of(found, interval.coverage, arm),
    }  # fmt: skip


def interval_of(package: Path, run: Path, coupling: str) -> tuple[IntervalCard, Widening]:
    """How a model's samples become intervals, and intervals of regions; refused where they are not calibrated."""
    interval = show_model(package).interval
    if interval is None or interval.region_factor is None:
        raise SystemExit(f"The model of {coupling} has no calibrated intervals; run: nmsynth models calibrate {run}")
    return interval, Widening(interval.region_factor, interval.region_floor)


def package_of(run: Path) -> tuple[Path, Plan]:
    """Package of a training, and its plan."""
    packages = sorted(path.parent for path in (run / PACKAGE).glob("*/card.json"))
    if len(packages) != 1:
        raise SystemExit(f"A run must have one model; found {len(packages)} in {run}. Train it first.")
    plan = show_model(packages[0]).plan
    if plan is None:
        raise SystemExit("Couplings are measured of methods with a plan; the model has none. Train one of the task.")
    return packages[0], plan


SHOWN = {
    "error of regions": "error",
    "less anatomy's mean": "less anatomy's mean",
    "half width": "half width",
    "AUC of truth": "AUC of truth",
    "AUC of image": "AUC",
    "AUC of biomarker": "AUC of biomarker",
    "image less biomarker": "AUC less biomarker",
    "AUC beyond threshold": "AUC beyond threshold",
    "severity": "severity correlation",
    "spread beyond anatomy": "spread beyond anatomy",
}
"""Columns of the table, by their numbers."""


def rows_of(couplings: dict[str, Table]) -> list[Table]:
    """The table, one line a row of the JSON."""

    def told(value: Any) -> str:
        """A number with its interval."""
        return "–" if value is None else f"{value[0]:.3g} ({value[1]:.3g} to {value[2]:.3g})"

    table = []
    for name, own in couplings.items():
        line: Table = {"coupling": name, "n": own["subjects"]}
        line |= {heading: told(own[number]) for heading, number in SHOWN.items()}
        line["coverage (nominal)"] = f"{told(own['coverage'])} ({own['nominal coverage']:.2f})"
        line["threshold"] = "–" if own["threshold"] is None else f"{own['composite']} {own['threshold'][0]:.3g}"
        line["verdict"] = "; ".join(f"{what}: {says}" for what, says in own["verdicts"].items())
        table.append(line)
    return table


def write_table(task: str, couplings: dict[str, Table], out: Path) -> None:
    """Write the numbers as JSON and as a table, and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "schema_version": SCHEMA_VERSION, "task": task, "definitions": DEFINITIONS, "couplings": couplings,
    }  # fmt: skip
    (out / f"{task}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    said = "\n".join(f"- {name}: {text}." for name, text in DEFINITIONS.items())
    text = f"{markdown(rows_of(couplings))}\n\nIntervals are of 95 % over subjects.\n\n{said}\n"
    (out / f"{task}.md").write_text(text, encoding="utf-8")
    print(text)


def compare(
    task: TaskSpec, runs: dict[str, Path], *, subjects: int, shifts: tuple[str, ...], scratch: Path, workers: int
) -> dict[str, Table]:
    """All rows of all couplings, by name."""
    found = {}
    for coupling, run in runs.items():
        _, plan = package_of(run)
        optional = tuple(condition.name for condition in plan.conditions if condition.optional)
        arms = arms_of(task, coupling, optional, shifts=coupling in shifts)
        for _, own in itertools.groupby(arms, key=lambda arm: arm.test.name):
            of_test = tuple(own)
            answered(of_test, run, subjects, scratch, workers)  # each subject once for all of them
            for arm in of_test:
                found[arm.name] = measure(arm, run, subjects, scratch, workers)
    return found


def main() -> None:
    """Measure what is asked for; subjects that are done are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TRACER_OF), required=True)
    parser.add_argument("--run", action="append", required=True, metavar="COUPLING=RUN")
    parser.add_argument("--subjects", type=int, default=60, help="of each row")
    parser.add_argument(
        "--shifts", nargs="*", default=["published"], metavar="COUPLING", help="measured on another MR and scanner too"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/coupling"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    couplings = compare(
        load_task(given.task), named_paths(given.run, option="--run"), subjects=given.subjects,
        shifts=tuple(given.shifts), scratch=given.scratch, workers=given.workers,
    )  # fmt: skip
    write_table(given.task, couplings, given.out)


if __name__ == "__main__":
    main()
