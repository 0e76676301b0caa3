"""The proof of a task: a model beside its baselines, on simulated patients and scanners that it was not trained on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.numbered import numbered
from nmsynth.core.progress import Progress, silent
from nmsynth.core.replacement import replace_text
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.normal_limits import normals_digest
from nmsynth.workflows.planning import PLAN_FILE
from nmsynth.workflows.region_intervals import intervals_of_study, with_intervals
from nmsynth.workflows.task_study import (
    NOISE,
    TaskStudy,
    at_level,
    evaluate_task_study,
    numbers_of,
    plan_task_studies,
    simulate_task_study,
    study_masks,
    synthesize_task_study,
)
from nmsynth.workflows.task_verdict import BETTER, NOT_TOLD, TOO_FEW, WORSE, Judgement, judge
from nmsynth.workflows.tasks import Proof, TaskSpec, load_task

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.evaluation.proof import ProofSummary, Wanted
    from nmsynth.workflows.benchmark_baselines import FittedBaseline
    from nmsynth.workflows.study_recipe import StudyPlan

SCHEMA_VERSION = 3
"""Of what is kept of a patient, and so what is measured; 1 had no scaled Gaussian and other full counts, 2 no noise."""
SEED = 9000
"""Of the studies of proofs; those of datasets and of demonstrations are others."""
AT_ONCE = {
    "draws.count_fraction": ("scan", "settings.further_fractions"),
    "draws.sparse_factor": ("sparse", "settings.further_sparse_factors"),
}
"""Keys of the recipe of studies of which one study shows all levels: its image, and the key of further levels."""
DATASET = "dataset"
"""Folder of a run with the patients that it simulated."""
_DECIDING = ("masks", "organs", "binding", "ratios", "named_regions", "same_calibration", "compared_source")
"""What of a task, besides its numbers, decides what is measured of a patient."""
ABLATION = "without the idea"
"""Arm of the same network without what is special to the task."""


@dataclass(frozen=True, slots=True)
class ProofOptions:
    """What is proved."""

    task: str
    model: str
    """Name or folder."""
    ablation: str = ""
    """Model of the same network without what is special to the task."""
    run: Path | None = None
    """Folder of the training, whose prepared cases the task's baselines are fitted to."""
    n_subjects: int = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One patient in one test, at one level or at all that one study shows."""

    options: ProofOptions
    plan: StudyPlan
    test: str
    levels: tuple[tuple[str, str, Path], ...]
    """Label, name of the source where the study shows several levels, and place of the result of each."""


@dataclass(frozen=True, slots=True)
class LevelProof:
    """One test at one level."""

    test: str
    level: str
    summary: ProofSummary
    n_subjects: int


@dataclass(frozen=True, slots=True)
class TaskProof:
    """All tests of a task."""

    task: TaskSpec
    model: dict[str, str]
    """Name and sha256."""
    ablation: dict[str, str]
    levels: tuple[LevelProof, ...]
    fitted: tuple[str, ...] = field(default=())
    """Baselines that were fitted to the training patients."""

    def baselines(self, level: LevelProof, proof: Proof | None = None) -> list[str]:
        """Arms that the model must beat, of a number; in what is not judged at equal noise when unset.

        These are all but controls, which have more counts or the model's own noise. At equal noise they are the
        Gaussian that leaves as much as the model, and those others of which the patients do not tell that they leave
        more.
        """
        from nmsynth.evaluation.evaluate import PREDICTION, REFERENCE
        from nmsynth.evaluation.preparation import BEST_FULL_GAUSSIAN, EQUAL_NOISE_GAUSSIAN, FULL_COUNTS

        controls = (REFERENCE, FULL_COUNTS, BEST_FULL_GAUSSIAN, EQUAL_NOISE_GAUSSIAN, ABLATION)
        arms = [arm for arm in level.summary.arms if arm not in (PREDICTION, *controls)]
        if proof is None or not proof.at_equal_noise:
            return arms
        equal = [arm for arm in level.summary.arms if arm == EQUAL_NOISE_GAUSSIAN]
        return [*equal, *(arm for arm in arms if not level.summary.is_better(NOISE, [arm]))]

    def rows(self) -> list[dict[str, Any]]:
        """One row a test, level and arm: each number over patients with its interval, and of how many if not of all."""
        table = []
        for level in self.levels:
            for arm, numbers in level.summary.arms.items():
                row: dict[str, Any] = {"test": level.test, "level": level.level, "method": arm}
                for heading in self.headings:
                    found = numbers.get(heading)
                    of = "" if found is None or found.n == level.n_subjects else f", n = {found.n}"
                    row[heading] = (
                        "–" if found is None else f"{found.value:.3g} ({found.lower:.3g} to {found.upper:.3g}{of})"
                    )
                table.append(row)
        return table

    def verdicts(self) -> list[dict[str, Any]]:
        """One row a test, level and number: whether the model is better or worse than every or any baseline.

        With an ablation each has a second verdict, against that alone.
        """
        table = []
        for level in self.levels:
            for proof in self.task.proof:
                if proof.wanted == "told" or proof.heading not in level.summary.arms.get("prediction", {}):
                    continue
                row = {"test": level.test, "level": level.level, "number": proof.heading}
                row["verdict"] = _verdict(level.summary, proof.heading, self.baselines(level, proof))
                if self.ablation:
                    row[ABLATION] = _verdict(level.summary, proof.heading, [ABLATION])
                    if proof.at_equal_noise and row[ABLATION] == BETTER and level.summary.is_worse(NOISE, [ABLATION]):
                        row[ABLATION] = NOT_TOLD  # it left more noise
                table.append(row)
        return table

    @property
    def headings(self) -> list[str]:
        """Of the numbers, and of the noise where some are judged at equal noise."""
        return [*(proof.heading for proof in self.task.proof), *([NOISE] if self.task.is_at_equal_noise else [])]

    def judgement(self) -> Judgement:
        """Whether the model beats its baselines, by the task's primary numbers."""
        return judge(self.task, self.verdicts())

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task.name,
            "model": self.model,
            "ablation": self.ablation,
            "fitted_baselines": list(self.fitted),
            "numbers": {
                p.heading: p.model_dump(include={"wanted", "unit", "summary", "primary", "at_equal_noise"})
                for p in self.task.proof
            }
            | ({NOISE: _noise_facts(self.task)} if self.task.is_at_equal_noise else {}),
            "levels": [
                {
                    "test": level.test,
                    "level": level.level,
                    "n_subjects": level.n_subjects,
                    "baselines": self.baselines(level),
                    "baselines_at_equal_noise": {
                        p.heading: self.baselines(level, p) for p in self.task.proof if p.at_equal_noise
                    },
                    **level.summary.to_json(),
                }
                for level in self.levels
            ],
            "verdicts": self.verdicts(),
            "judgement": self.judgement().to_json(),
        }


def _noise_facts(task: TaskSpec) -> dict[str, Any]:
    """What the noise of an arm is, as of the other numbers."""
    from nmsynth.evaluation.evaluate import noise_measure
    from nmsynth.evaluation.preparation import RESIDUAL_NOISE

    relative = noise_measure(task.name, task.reference_kind) == RESIDUAL_NOISE
    return {"wanted": "lower", "unit": "1" if relative else "unit of the image", "summary": "median"}


def _verdict(summary: ProofSummary, number: str, against: Sequence[str]) -> str:
    """Whether the model is better than all of some arms in a number, worse than one, or neither is told."""
    if summary.is_better(number, against):
        return BETTER
    if summary.is_worse(number, against):
        return WORSE
    return TOO_FEW if summary.has_too_few(number, against) else NOT_TOLD


def prove_task(
    options: ProofOptions, scratch: Path, *, workers: int | None = None, progress: Progress = silent
) -> TaskProof:
    """Simulate patients, synthesise, measure and summarise; what is done is kept in a folder.

    Parameters
    ----------
    options
        What is proved.
    scratch
        Folder for the numbers of single patients, without images; a call with the same models goes on there.
    workers
        Processes.
    progress
        Told after each patient.

    Raises
    ------
    InputError
        If the task has no simulated studies, or its baselines need a training that is not given.
    """
    from nmsynth.evaluation.proof import summarise_proof

    task = load_task(options.task)
    if task.baselines and options.run is None:
        raise InputError(
            f"Baselines of the task {task.name} are fitted to its training patients; no training is named. Give the "
            "folder of the run."
        )
    model, ablation = _identity(options.model), _identity(options.ablation)
    folder = scratch / task.name / f"{model['sha256'][:12]}-{ablation.get('sha256', '')[:12] or 'alone'}"
    jobs = _jobs(task, options, folder)
    missing = [job for job in jobs if not all(place.is_file() for _, _, place in job.levels)]
    folder.mkdir(parents=True, exist_ok=True)
    run_jobs(_prove_one, missing, workers=workers, stage="proving", done=len(jobs) - len(missing), progress=progress)
    levels = []
    wanted: dict[str, Wanted] = {proof.heading: proof.wanted for proof in task.proof}
    if task.is_at_equal_noise:
        wanted[NOISE] = "lower"
    means, correlations = (
        [proof.heading for proof in task.proof if proof.summary == kind] for kind in ("mean", "correlation")
    )
    places: dict[tuple[str, str], list[Path]] = {}
    for job in jobs:
        for level, _, place in job.levels:
            places.setdefault((job.test, level), []).append(place)
    for (test, level), own in places.items():
        patients = [json.loads(place.read_text(encoding="utf-8"))["arms"] for place in own]
        summary = summarise_proof(patients, wanted, means=means, correlations=correlations)
        levels.append(LevelProof(test, level, summary, len(patients)))
    return TaskProof(task, model, ablation, tuple(levels), task.baselines)


def _identity(model: str) -> dict[str, str]:
    """Name and sha256 of a model; nothing where there is none."""
    from nmsynth.models.registry import show_model

    if not model:
        return {}
    card = show_model(model)
    return {"name": card.name, "sha256": card.sha256}


def _jobs(task: TaskSpec, options: ProofOptions, folder: Path) -> list[_Job]:
    """All patients in all tests at all levels; one is the same at every level, and scanned once for all that it can."""
    jobs = []
    measured = {
        "proof": [[proof.measure, proof.mask, proof.heading] for proof in task.proof],
        "noise": task.is_at_equal_noise,
        "baselines": list(task.baselines) if options.run is not None else [],
        "measured_against": [task.measured_against, task.reference_kind, SCHEMA_VERSION],
        "task": task.model_dump(mode="json", include=set(_DECIDING)),
        "normals": normals_digest(task.normals),
        "plan": "" if options.run is None else (options.run / PLAN_FILE).read_text(encoding="utf-8"),
    }
    for test in task.tests:
        for changes, levels in levels_of(task):
            for plan in plan_task_studies(task, options.n_subjects, SEED, {**test.changes, **changes}):
                name = plan.key(**measured)
                places = tuple((label, image, folder / f"{name}-{k}.json") for k, (label, image) in enumerate(levels))
                jobs.append(_Job(options, plan, test.name, places))
    return jobs


def levels_of(task: TaskSpec) -> list[tuple[dict[str, Any], list[tuple[str, str]]]]:
    """What is simulated for the levels of a task: changes of its studies, and the levels that one of them shows.

    Returns
    -------
        Of each simulation the changes by dotted key, and label and source of each level; the source is unnamed where a
        study shows one level.
    """
    if task.levels is None:
        return [({}, [("", "")])]
    labelled, key = task.levels.labelled(), task.levels.key
    if key not in AT_ONCE:
        return [({key: [value]}, [(label, "")]) for value, label in labelled]
    image, further = AT_ONCE[key]
    (first, _), *others = labelled
    changes = {key: [first], further: [value for value, _ in others]}
    return [(changes, [(label, numbered(image, k)) for k, (_, label) in enumerate(labelled)])]


def _prove_one(job: _Job) -> None:
    """Measure one patient, and keep the numbers."""
    task = load_task(job.options.task)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        studies = simulate_task_study(task, job.plan, work)
        for number, (_, image, place) in enumerate(job.levels):
            folder = work / f"level-{number}"
            folder.mkdir()
            cases = [_measure(job, at_level(study, image), folder) for study in studies]
            result = {"schema_version": SCHEMA_VERSION, "case": job.plan.case_id, "arms": mean_over_views(cases)}
            replace_text(place, json.dumps(result, indent=1) + "\n")


def _measure(job: _Job, case: TaskStudy, work: Path) -> dict[str, dict[str, float | None]]:
    """Numbers of every arm of one case."""
    options, task = job.options, case.task
    # noise of its own for each patient: what one draw has in common would count as the model's
    seed = int(job.plan.settings["seed"])
    synthesis, source = synthesize_task_study(case, options.model, work / f"{case.case}-synthetic.nii.gz", seed=seed)
    arms: dict[str, Volume] = {"prediction": synthesis.image}
    if options.ablation:
        other, _ = synthesize_task_study(case, options.ablation, work / f"{case.case}-other.nii.gz", seed=seed)
        arms[ABLATION] = other.image
    if options.run is not None:
        arms |= {name: fitted_image(options.run, name, case, source, work) for name in task.baselines}
    masks = study_masks(case)
    metrics = evaluate_task_study(case, arms, source, masks=masks)
    return numbers_of(task, with_intervals(metrics, intervals_of_study(case, synthesis, options.model, masks)))


def mean_over_views(cases: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, dict[str, float | None]]:
    """Mean over the views of a patient, of those that have a number."""
    found: dict[str, dict[str, float | None]] = {}
    for arm in cases[0]:
        for number in cases[0][arm]:
            values = [case[arm][number] for case in cases if arm in case]
            known = [value for value in values if value is not None]
            found.setdefault(arm, {})[number] = sum(known) / len(known) if known else None
    return found


def fitted_image(run: Path, name: str, case: TaskStudy, source: Volume, work: Path) -> Volume:
    """What a baseline that was fitted to the training patients of a run makes of a case, on the grid of its plan.

    A filter comes at the counts of the source, as a synthesis does, and says so.

    Parameters
    ----------
    run
        Folder of the training.
    name
        Of the baseline.
    case
        With its rows.
    source
        That the image is compared with.
    work
        Folder for the prepared case.
    """
    import numpy as np

    from nmsynth.core.volume import Volume
    from nmsynth.data.prepared import open_prepared, prepare_case
    from nmsynth.workflows.benchmark_baselines import FILTER_FAMILIES, Presented
    from nmsynth.workflows.early_baselines import PATLAK, patlak_of_study

    if name == PATLAK:
        return patlak_of_study(case)
    plan = _plan_of(run)
    folder = work / "prepared"
    if not (folder / f"{case.case}.json").is_file():
        prepare_case(case.case, list(case.rows), case.folder, plan, folder)
    prepared = open_prepared(folder, [case.case])[0]
    label = _counts_of(case.rows, plan)[0] if name in FILTER_FAMILIES else ""
    fitted = _fitted(run, name, label)
    image = fitted.predict(Presented(prepared, 0, label))
    affine = np.asarray(prepared.record["affine"], dtype=np.float64)
    found = Volume(image, affine, source.unit if fitted.keeps_scale else plan.target.unit, plan.target.modality)
    return replace(found, acquisition=source.acquisition) if name in FILTER_FAMILIES else found


def _counts_of(rows: Sequence[ManifestRow], plan: Plan) -> list[str]:
    """Class of counts of each level of a case: a filter is tuned for each; of those that state none it is one."""
    name = plan.sources[0].name
    own = [row.count_fraction for row in rows if row.role in ("source", "condition") and row.channel == name]
    return ["" if fraction is None else f"{fraction:g}" for fraction in own] or [""]


@cache
def _plan_of(run: Path) -> Plan:
    """Plan of a run."""
    from nmsynth.core.plan import read_plan

    return read_plan(run / PLAN_FILE)


@cache
def _fitted(run: Path, name: str, label: str) -> FittedBaseline:
    """A baseline fitted to the training patients of a run, for one class of counts, once a process.

    Where no training patient was scanned at such counts, or the run does not hold the dataset that says so, a filter is
    tuned on all.
    """
    from nmsynth.data.manifest import by_case, read_manifest
    from nmsynth.data.prepared import open_prepared
    from nmsynth.workflows.benchmark_baselines import Presented, fit_baseline
    from nmsynth.workflows.method_training import PREPARED

    cases = [case for case in open_prepared(run / PREPARED) if case.split == "train"]
    known = by_case(read_manifest(run / DATASET)) if label and (run / DATASET).is_dir() else {}
    shown = []
    for case in cases:
        labels = _counts_of(known.get(case.case_id, ()), _plan_of(run)) if label else [""]
        shown += [Presented(case, k, labels[min(k, len(labels) - 1)]) for k in range(len(case.levels))]
    return fit_baseline(name, _plan_of(run), shown, [Presented(cases[0], 0, label)])
