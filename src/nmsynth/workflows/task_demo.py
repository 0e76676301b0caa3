"""The demonstration of any task: a simulated study that no model was trained on, synthesised, evaluated, reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.workflows.dataset_simulation import KEPT_SEEDS
from nmsynth.workflows.region_intervals import RegionInterval, intervals_of_study, shown_beside, with_intervals
from nmsynth.workflows.task_study import (
    evaluate_task_study,
    of_one_calibration,
    on_grid_of_target,
    plan_task_studies,
    simulate_task_study,
    study_masks,
    synthesize_task_study,
)
from nmsynth.workflows.tasks import TaskSpec

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.inference.synthesize import Synthesis

SCHEMA_VERSION = 1
SEEDS_FROM = KEPT_SEEDS.start
"""Seeds of the studies of demonstrations; datasets for training have smaller ones."""
RECORD = "demo.json"


@dataclass(frozen=True, slots=True)
class TaskDemoResult:
    """What the demonstration of a task found."""

    task: TaskSpec
    metrics: Metrics
    report: Path
    model: str
    intervals: tuple[RegionInterval, ...] = ()
    """Of the means of regions, where the model gives some."""

    @property
    def title(self) -> str:
        """Of the table."""
        return f"{self.task.title}: one simulated study"

    def rows(self) -> list[dict[str, Any]]:
        """One row an arm, with the numbers by which the task is judged; without those that this study has none of."""
        arms = self.metrics.arms
        found = {p.heading: [self.metrics.value(p.measure, mask=p.mask, arm=a) for a in arms] for p in self.task.proof}
        columns = {heading: values for heading, values in found.items() if any(v is not None for v in values)}
        table = []
        for number, arm in enumerate(arms):
            values = {heading: column[number] for heading, column in columns.items()}
            if all(value is None for value in values.values()):
                continue
            method = f"synthetic ({self.model})" if arm == "prediction" else arm
            told = {heading: "–" if value is None else f"{value:.3g}" for heading, value in values.items()}
            table.append({"method": method, **told})
        return table

    def to_json(self) -> dict[str, Any]:
        """All measurements, and where the report is."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task.name,
            "model": self.model,
            "report": str(self.report),
            "metrics": self.metrics.to_json(),
            "regions": [interval.to_json() for interval in self.intervals],
        }


def run_task_demo(
    task: TaskSpec,
    output: Path,
    *,
    model: str | None = None,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> TaskDemoResult:
    """Simulate a study of a task, synthesise, evaluate beside the controls, and write the report.

    Parameters
    ----------
    task
        Which.
    output
        Folder: ``study`` (its images, and in ``study/reference`` what is known of it), ``synthetic.nii.gz``,
        ``metrics.json``, ``report.html``, ``demo.json``. Of planar views the anterior one.
    model
        Name or folder of a model; the task's own when unset.
    seed
        Of the study.
    changes
        Values of the recipe of studies by dotted key, such as a shorter scan.
    overwrite
        Whether an output that a demonstration wrote is replaced.

    Raises
    ------
    InputError
        If the task has no model yet and none is named, or the output may not be replaced.
    """
    from nmsynth.io.atomic import atomic_directory

    chosen = model or task.model
    if not chosen:
        raise InputError(
            f"The task {task.name} has no model yet; name one of your own with --model. To train one by the task's "
            f"recipe: nmsynth train {task.name} -o RUN."
        )
    output = Path(output)
    if output.exists() and not overwrite:
        raise InputError(f"The output '{output.name}' must not exist; it does. Choose another, or allow overwriting.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_directory(output, overwrite=overwrite, may_replace=lambda path: (path / RECORD).is_file()) as work:
        metrics, intervals = _run(task, Path(work), chosen, seed, changes or {}, progress)
    return TaskDemoResult(task, metrics, output / "report.html", chosen, tuple(intervals))


def _run(
    task: TaskSpec, work: Path, model: str, seed: int, changes: Mapping[str, Any], progress: Progress
) -> tuple[Metrics, list[RegionInterval]]:
    """All steps, written below a folder."""
    from nmsynth.workflows.evaluation import write_metrics

    progress("simulating a study", 0.0)
    plan = plan_task_studies(task, 1, SEEDS_FROM + seed, {**task.demo, **changes})[0]
    study = simulate_task_study(task, plan, work)[0]
    progress("synthesising", 0.5)
    synthesis, source = synthesize_task_study(study, model, work / "synthetic.nii.gz")
    progress("evaluating", 0.7)
    masks = study_masks(study)
    intervals = intervals_of_study(study, synthesis, model, masks)
    metrics = with_intervals(
        evaluate_task_study(study, {"prediction": synthesis.image}, source, masks=masks), intervals
    )
    write_metrics(metrics, work / "metrics.json")
    progress("writing the report", 0.85)
    _write_report(task, work, model, metrics, synthesis, study.target, source, intervals)
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "task": task.name, "model": model, "seed": seed}
    record["regions"] = [interval.to_json() for interval in intervals]
    (work / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    progress("done", 1.0)
    return metrics, intervals


def _write_report(
    task: TaskSpec,
    work: Path,
    model: str,
    metrics: Metrics,
    synthesis: Synthesis,
    target: Volume,
    source: Volume,
    intervals: Sequence[RegionInterval],
) -> None:
    """Write the page."""
    from nmsynth.evaluation.preparation import on_scale_of
    from nmsynth.evaluation.tasks import task_evaluation
    from nmsynth.models.registry import show_model
    from nmsynth.report.claim import claim_sentence
    from nmsynth.report.html import write_report
    from nmsynth.report.planar import write_planar_report

    images = {"source": source, "synthetic": synthesis.image, "reference": target, **shown_beside(synthesis)}
    notes: tuple[str, ...] = ()
    if intervals:
        covered = sum(interval.is_covered for interval in intervals)
        notes = (f"{covered} of {len(intervals)} regions have their reference within the interval of the model",)
    if task.same_calibration:
        images = {name: of_one_calibration(image, target) for name, image in images.items()}
    elif task_evaluation(task.name).scaled:
        # a source of another modality has no scale in common, and a grid of its own
        alike = {n: on_grid_of_target(v, target) for n, v in images.items() if v.modality == target.modality}
        on_scale, scaled = on_scale_of(alike, target)
        images = {name: on_scale.get(name, image) for name, image in images.items()}
        notes = (*notes, *scaled)
    documents = {"synthetic": metrics.to_json()}
    claim = claim_sentence(
        documents, main="synthetic", subject="this one simulated study", reference_kind=task.reference_kind
    )
    write = write_planar_report if task_evaluation(task.name).images == "planar" else write_report
    write(
        work / "report.html",
        images=images,
        metrics=documents,
        card=show_model(model).model_dump(mode="json"),
        record=synthesis.record,
        title=f"{task.title}: a simulated study",
        reference_kind=task.reference_kind,
        claim=claim or "No error was measured: this page supports no claim.",
        flags=(*synthesis.flags, *notes),
    )
