"""One run of a benchmark: a method on one fold of a task, from training to measures, taken up where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nmsynth import __version__
from nmsynth.core.errors import InputError, NmsynthError
from nmsynth.core.replacement import replace_text
from nmsynth.workflows.benchmark_baselines import (
    Presented,
    body_of,
    fit_baseline,
    source_volume,
    target_of,
)
from nmsynth.workflows.benchmark_budget import Budget, Speed, budget_of, clock_of, measured_speed
from nmsynth.workflows.benchmark_data import TaskFolder, level_label, levels_to_test
from nmsynth.workflows.benchmark_meter import Meter, peak_memory_mb
from nmsynth.workflows.benchmark_scale import (
    answer_scale,
    has_own_scale,
    is_one_kind,
    range_of,
    range_on_scale,
    source_on_scale,
)
from nmsynth.workflows.benchmark_suite import RunSpec, Suite, content_of, settings_digest

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.evaluation.league import CaseResult, RunResult
    from nmsynth.models.method import Method
    from nmsynth.training.method_recipe import MethodRecipe

FloatImage = npt.NDArray[np.float32]
Predict = Callable[[Presented], tuple[FloatImage, list[FloatImage]]]
"""Image and samples, in the unit of the target."""

RESULT = "result.json"
EXAMPLE = "example.npz"
"""Two slices of the first test image with its source and target, for the page."""
BEGUN = "begun.json"
"""Settings and images that a training was begun with."""
OVERLAP = 0.25
"""Of the windows of a prediction, as in validation."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunJob:
    """One run, as a process takes it."""

    suite: Suite
    run: RunSpec
    inputs: TaskFolder
    output: Path
    """Of the benchmark."""
    device: str
    """``cpu`` or ``cuda``."""

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.output / self.run.folder


def method_plan(job: RunJob) -> tuple[MethodRecipe, Plan]:
    """The recipe of a run, and the plan of its task with what the recipe changes, on the task's grid.

    Raises
    ------
    InputError
        If the recipe changes what all methods of a task must share.
    """
    from nmsynth.core.config import override, resolve
    from nmsynth.core.plan import Plan
    from nmsynth.workflows.method_recipes import load_method_recipe

    method, base = job.run.method, job.inputs.plan
    recipe = load_method_recipe(method.recipe, method.overrides)
    changes = {"schedule.seed": job.run.seed, **recipe.plan}
    plan = resolve(Plan, override(base.model_dump(mode="json"), changes), where=f"the plan of '{method.name}'")
    if plan.spacing_mm != base.spacing_mm or plan.target.unit is not base.target.unit:
        raise InputError(
            f"Methods of one task share its grid and unit; '{method.name}' changes them. Take that out of its recipe."
        )
    if has_own_scale(plan) is not has_own_scale(base):
        raise InputError(
            f"Methods of one task are measured on one scale; '{method.name}' learns that of the target otherwise than "
            "the task's plan says. State 'same_calibration' or 'target.normalisation' in the plan of the task."
        )
    return recipe, plan


def measure_speed(job: RunJob) -> Speed | None:
    """What the method of a run costs here, measured once for all its runs; ``None`` where the suite states steps."""
    if job.run.kind == "baseline" or job.suite.steps is not None:
        return None
    recipe, plan = method_plan(job)
    train, held, _ = _split_cases(job, job.inputs.prepared(plan))
    edited = content_of("recipe", job.run.method.recipe)
    name = "-".join([job.run.method.name, *(digest[:8] for digest in edited.values())])
    path = job.inputs.folder / "speed" / f"{name}.json"
    return measured_speed(path, recipe.method, plan, train, held, device=job.device)


def run_one(job: RunJob) -> None:
    """Run, measure, and write ``result.json``; a run that fails leaves its reason in ``status.json``."""
    meter = Meter(job.folder)
    meter.write("running", stage="begun", share=0.0)
    try:
        result = _run_baseline(job, meter) if job.run.kind == "baseline" else _run_model(job, meter)
    except NmsynthError as error:
        meter.write("failed", reason=str(error))
    except Exception as error:  # one method that fails must not stop the others
        _LOGGER.debug("run failed", exc_info=True)
        meter.write("failed", reason=f"unexpected {type(error).__name__}")
    else:
        text = json.dumps(result.model_dump(mode="json"), allow_nan=False) + "\n"
        replace_text(job.folder / RESULT, text)
        meter.write("done")


def _run_baseline(job: RunJob, meter: Meter) -> RunResult:
    """Fit a baseline to the training patients and test it."""
    cases, split = job.inputs.prepared(), job.inputs.splits[job.run.fold]
    _, _, test = _split_cases(job, cases)
    tested = presented(job, test, tested_only=True)
    seen = {*split.train, *split.validation}  # as models do; who is for testing by the manifest is seen by none
    training = presented(job, [c for c in cases if c.subject in seen], tested_only=False)
    fitted = fit_baseline(job.run.method.name, job.inputs.plan, training, tested)
    measured, seconds = _test(job, tested, lambda shown: (fitted.predict(shown), []), meter, fitted.region_value)
    return _result(job, meter, measured, predict_s=seconds, detail=fitted.detail)


def _run_model(job: RunJob, meter: Meter) -> RunResult:
    """Train a method, or what is left of it, and test it."""
    from nmsynth.metrics.convergence import converged
    from nmsynth.training.method_trainer import TrainingOptions, train_method

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it greets at the start of each training
    recipe, plan = method_plan(job)
    train, held, test = _split_cases(job, job.inputs.prepared(plan))
    _begin(job, plan)
    budget = _budget(job)
    warmup = min(plan.schedule.warmup, budget.steps // 10)
    changes = {"steps": budget.steps, "validate_every": budget.validate_every, "warmup": warmup, "patience": 0}
    plan = plan.model_copy(update={"schedule": plan.schedule.model_copy(update=changes)})
    options = TrainingOptions(threads=1, device=job.device, progress=meter.told)
    folder = job.folder / "training"
    method = train_method(recipe.method, plan, train, held, folder, options=options)
    own = {case.case_id: case for case in test}
    base = [case for case in job.inputs.prepared() if case.case_id in own]
    predict = _predictor(job, method.to(job.device), plan, own)
    measured, seconds = _test(job, presented(job, base, tested_only=True), predict, meter, None)
    curve = _curve(folder)
    shipped = tuple(method.shipped())
    return _result(
        job, meter, measured, predict_s=seconds, detail=_detail(recipe), steps=budget.steps,
        seconds_per_step=budget.seconds_per_step, curve=curve, converged=converged(curve),
        n_samples=job.suite.samples if method.stochastic else 1,
        parameters=sum(p.numel() for name, p in method.named_parameters() if name.startswith(shipped)),
    )  # fmt: skip


def _begin(job: RunJob, plan: Plan) -> None:
    """Go on with a training of the same settings and images, and leave one of others behind."""
    path = job.folder / BEGUN
    now = {"settings": settings_digest(job.suite, job.run), "images": job.inputs.images_sha256(plan)}
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != now:
        shutil.rmtree(job.folder / "training", ignore_errors=True)
        (job.folder / "budget.json").unlink(missing_ok=True)
    replace_text(path, json.dumps(now) + "\n")


def _budget(job: RunJob) -> Budget:
    """Steps of a run; one that was begun keeps those it began with."""
    path = job.folder / "budget.json"
    if path.is_file():
        return Budget(**json.loads(path.read_text(encoding="utf-8")))
    budget = budget_of(job.suite, measure_speed(job))
    values = {
        "steps": budget.steps,
        "validate_every": budget.validate_every,
        "seconds_per_step": budget.seconds_per_step,
    }
    replace_text(path, json.dumps(values) + "\n")
    return budget


def _predictor(job: RunJob, method: Method, plan: Plan, cases: dict[str, PreparedCase]) -> Predict:
    """A model as what predicts an image; the mean over samples is taken in the unit of the target."""
    from nmsynth.inference.method_predictor import PredictionSettings, predict_method

    settings = PredictionSettings(seed=0, n_samples=job.suite.samples, overlap=OVERLAP, device=job.device)

    def predict(shown: Presented) -> tuple[FloatImage, list[FloatImage]]:
        """Image and samples."""
        case = cases[shown.case.case_id]
        told = case.levels[shown.level][1]
        image, samples = predict_method(method, plan, case.source(shown.level), told, settings)
        invert = answer_scale(plan, case, shown.level).invert
        if not samples:
            return invert(image), []
        drawn = [invert(s) for s in samples]
        return np.asarray(np.mean(drawn, axis=0), dtype=np.float32), drawn

    return predict


def presented(job: RunJob, cases: list[PreparedCase], *, tested_only: bool) -> list[Presented]:
    """Cases at their count levels: all of them, or those that are tested."""
    fractions, task = job.inputs.fractions(), job.run.task
    found = []
    for case in cases:
        known = fractions[case.case_id]
        own = [known[min(k, len(known) - 1)] if known else None for k in range(len(case.levels))]
        levels = levels_to_test(own, task.test_levels) if tested_only else range(len(own))
        found += [Presented(case, k, level_label(own[k], task.level_edges), own[k]) for k in levels]
    return found


def _split_cases(
    job: RunJob, cases: list[PreparedCase]
) -> tuple[list[PreparedCase], list[PreparedCase], list[PreparedCase]]:
    """Cases that train, that choose the best weights, and that are tested."""
    split = job.inputs.splits[job.run.fold]

    def of(subjects: tuple[str, ...]) -> list[PreparedCase]:
        """Cases of some subjects."""
        return [case for case in cases if case.subject in subjects]

    return of(split.train), of(split.validation), of(split.test)


def _test(
    job: RunJob,
    tested: list[Presented],
    predict: Predict,
    meter: Meter,
    region_value: Callable[[Presented], float] | None,
) -> tuple[list[CaseResult], float]:
    """Measures of every test image, and the time that a prediction takes [s]."""
    from nmsynth.evaluation.league import CaseResult
    from nmsynth.evaluation.league_measures import Truth, measure_case

    plan, clock, spent = job.inputs.plan, clock_of(job.device), 0.0
    found = []
    for number, shown in enumerate(tested):
        case = shown.case
        truth = Truth(
            target_of(plan, case), body_of(case), np.asarray(case.labels), case.spacing_mm, plan.target.modality,
            range_on_scale(plan, case),
        )  # fmt: skip
        began = clock()
        image, samples = predict(shown)
        spent += clock() - began
        value = None if region_value is None else region_value(shown)
        metrics = measure_case(image, truth, samples=samples, region_value=value)
        if metrics:
            found.append(CaseResult(
                subject=case.subject, case=case.case_id, level=shown.label, count_fraction=shown.fraction,
                metrics=metrics,
            ))  # fmt: skip
        if number == 0:
            _save_example(job, shown, image, truth.target)
        meter.told("testing", (number + 1) / len(tested))
    return found, spent / max(len(tested), 1)


def _save_example(job: RunJob, shown: Presented, image: FloatImage, target: FloatImage) -> None:
    """An axial and a coronal slice of source, target and prediction; the same slices for every method."""
    labels, body = np.asarray(shown.case.labels) > 0, body_of(shown.case)
    seen = labels if labels.any() else body
    z, y = int(seen.sum(axis=(1, 2)).argmax()), int(seen.sum(axis=(0, 2)).argmax())
    plan = job.inputs.plan
    alike = is_one_kind(plan)
    source = source_on_scale(plan, shown.case, shown.level) if alike else source_volume(plan, shown).array
    images = {"source": source, "target": target, "prediction": image}
    slices = {f"{name}_axial": array[z] for name, array in images.items()}
    slices |= {f"{name}_coronal": array[:, y] for name, array in images.items()}
    facts = {"spacing_mm": np.asarray(shown.case.spacing_mm), "affine": np.asarray(shown.case.record["affine"])}
    np.savez_compressed(job.folder / EXAMPLE, **{**slices, **facts})


def _curve(folder: Path) -> tuple[dict[str, Any], ...]:
    """Validation curve of the last stage."""
    paths = sorted(folder.glob("*/curve.json"), key=lambda p: int(p.parent.name.partition("-")[0]))
    return tuple(json.loads(paths[-1].read_text(encoding="utf-8"))["points"]) if paths else ()


def _detail(recipe: MethodRecipe) -> str:
    """Family and arguments of a model."""
    arguments = ", ".join(f"{name}={value}" for name, value in recipe.method.arguments.items())
    return f"{recipe.method.name} {arguments}".strip()


def _result(job: RunJob, meter: Meter, cases: list[CaseResult], *, predict_s: float, **facts: Any) -> RunResult:
    """The result of a run."""
    from nmsynth.evaluation.league import RunResult

    plan, run = job.inputs.plan, job.run
    return RunResult(
        task=run.task.name, method=run.method.name, kind=run.kind, fold=run.fold, seed=run.seed,
        settings_sha256=settings_digest(job.suite, run), data_sha256=job.inputs.data_sha256,
        unit=plan.target.unit.value, modality=plan.target.modality, data_range=range_of(plan),
        cases=tuple(cases), cpu_s=round(meter.cpu_s, 2), wall_s=round(meter.wall_s, 2), predict_s=round(predict_s, 4),
        device="cpu" if run.kind == "baseline" else job.device, peak_memory_mb=peak_memory_mb(), version=__version__,
        **facts,
    )  # fmt: skip
