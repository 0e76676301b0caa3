"""From a dataset to a model of any family: plan, prepare, train, package; fold after fold where asked for."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, MissingExtraError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.calibration import ON_VALIDATION, calibrate_intervals
from nmsynth.workflows.image_files import files_state, is_prepared
from nmsynth.workflows.method_cases import learnable_rows, training_splits
from nmsynth.workflows.method_packaging import write_method_package
from nmsynth.workflows.method_preparation import is_prepared_by, modalities_of, prepare_dataset
from nmsynth.workflows.method_start import StartingModel, fine_tuning_plan, load_start
from nmsynth.workflows.planning import PLAN_FILE, plan_dataset, plan_for_minutes, root_of
from nmsynth.workflows.typical_sources import typical_sources

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.folds import Split
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.method import Method
    from nmsynth.training.method_recipe import MethodRecipe
    from nmsynth.training.method_trainer import TrainingOptions

PREPARED, PACKAGE = "prepared", "package"
METHOD_RECORD = "method.json"
"""In the folder of a training that was begun."""
ASKED = "plan-asked.json"
"""What the plan of a run was made by, so that the same call goes on with it."""
SPLIT, SPLITS = "split.json", ("train", "validation", "test")
"""Subjects of a training, beside its checkpoints, and their parts."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedMethod:
    """What a training gives."""

    name: str
    folder: Path
    """Of the training: checkpoints, curve and logs."""
    package: Path
    """Of the model."""
    split: Split
    method: Method
    plan: Plan


def train_on_dataset(
    recipe: MethodRecipe,
    dataset: Path | None,
    output: Path,
    *,
    plan: Plan | Path | None = None,
    minutes: float | None = None,
    folds: int | None = None,
    fold: int | None = None,
    options: TrainingOptions | None = None,
    start_from: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    must_hold: Collection[str] = (),
    prepared_by: Path | None = None,
    progress: Progress = silent,
) -> list[TrainedMethod]:
    """Train a method on a dataset; interrupted, the same call goes on where it stopped.

    Parameters
    ----------
    recipe
        The method, and what it changes of the plan. One that learns from pairs is given the cases that have both a
        source and a target, and the log says how many are left out.
    dataset
        Manifest, or its folder; what the recipe simulates when unset.
    output
        Gets ``plan.toml``, ``prepared`` (cases as training reads them), ``training`` or ``fold-N``, and ``package``.
    plan
        To be used as it is: what it states otherwise than the recipe is followed, and told in the log. Made from the
        dataset, with the recipe's changes, when unset. A folder that was begun keeps its plan.
    minutes
        Time that a training should take here, from which the steps follow; for a plan that is not yet made. A folder
        that was begun by other minutes, or by none, is refused.
    folds
        Number of folds of a cross-validation; by the manifest's splits when unset.
    fold
        The one fold to train; all when unset.
    options
        Workers, threads, devices.
    start_from
        Model whose weights are taken to begin with.
    overrides
        Values of the plan by dotted key.
    must_hold
        Keys of the recipe's plan that the plan may not state otherwise, unless ``overrides`` do.
    prepared_by
        Prepared cases of another run of this dataset; linked to, and not prepared again, where grid, units,
        normalisation and conditions of the two plans are the same.

    Raises
    ------
    MissingExtraError
        If the extra ``train`` is not installed.
    InputError
        If the dataset, the plan or the folds do not fit, before any image is prepared; or if images have changed since
        a training in the folder was begun.
    """
    try:
        import nmsynth.training.method_trainer  # noqa: F401 - before any time is lost
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Training needs the extra 'train'; '{error.name}' is not installed. Run: pip install 'nmsynth[train]'"
        ) from error
    if fold is not None and not (folds and 0 <= fold < folds):
        raise InputError(f"A fold is one of 0 to {(folds or 1) - 1} of the folds asked for; found {fold}.")
    options = options or training_options()
    started = load_start(start_from, recipe.method)
    ready = prepare_run(
        recipe, dataset, output, plan=plan, minutes=minutes, folds=folds, options=options, started=started,
        overrides=overrides, must_hold=must_hold, prepared_by=prepared_by, progress=progress,
    )  # fmt: skip
    chosen = [fold] if fold is not None else list(range(len(ready.splits)))
    trained = []
    for number, k in enumerate(chosen):
        share = 0.95 / len(chosen)
        told = part_of(progress, 0.05 + number * share, 0.05 + (number + 1) * share)
        how = options if options.progress is not silent else replace(options, progress=told)
        name = recipe.name if folds is None else f"{recipe.name}-fold-{k}"
        place = output / ("training" if folds is None else f"fold-{k}")
        part = None if folds is None else (k, folds)
        trained.append(_train_one(recipe, name, ready, ready.splits[k], place, started, how, part, dataset is None))
    return trained


@dataclass(frozen=True, slots=True, eq=False)
class ReadyRun:
    """What a run trains on."""

    plan: Plan
    prepared: list[PreparedCase]
    splits: list[Split]
    """One for each fold."""


def prepare_run(
    recipe: MethodRecipe,
    dataset: Path | None,
    output: Path,
    *,
    plan: Plan | Path | None = None,
    minutes: float | None = None,
    folds: int | None = None,
    options: TrainingOptions | None = None,
    started: StartingModel | None = None,
    overrides: Mapping[str, Any] | None = None,
    must_hold: Collection[str] = (),
    prepared_by: Path | None = None,
    progress: Progress = silent,
) -> ReadyRun:
    """All of :func:`train_on_dataset` that comes before the training itself: dataset, plan, prepared cases.

    Parameters
    ----------
    recipe, dataset, output, plan, minutes, folds, options, overrides, must_hold, prepared_by, progress
        As in :func:`train_on_dataset`.
    started
        Model whose weights are taken to begin with.
    """
    from nmsynth.core.plan import read_plan
    from nmsynth.data.manifest import by_case, read_manifest

    options = options or training_options()
    if dataset is None:
        dataset = output / "dataset"
        if options.is_first:
            simulated_dataset(recipe, dataset, progress=progress)
        _wait(options, (output / PLAN_FILE).is_file, "the dataset")
    rows = read_manifest(dataset)
    _checkmodalities_of(recipe, rows)
    used = by_case(learnable_rows(rows, recipe.method, told=options.is_first))
    splits = training_splits([row for of_case in used.values() for row in of_case], folds)
    _wait(options, (output / PLAN_FILE).is_file, "the plan")
    if options.is_first:
        given = read_plan(plan) if isinstance(plan, Path) else plan
        told = part_of(progress, 0.0, 0.02)
        resolved = _settled_plan(recipe, dataset, output, given, minutes, overrides, started, options, told, must_hold)
    else:
        resolved = read_plan(output / PLAN_FILE)
    folder = output / PREPARED
    if options.is_first:
        if prepared_by is not None and not folder.exists() and is_prepared_by(resolved, rows, prepared_by):
            folder.symlink_to(prepared_by.absolute(), target_is_directory=True)
        begun = any(output.glob(f"*/{METHOD_RECORD}"))
        told = part_of(progress, 0.02, 0.05)
        prepared = prepare_dataset(
            dataset, resolved, folder, cases=list(used), one_sided=True, renew=not begun, progress=told
        )
    else:
        states = {case: files_state(of_case, root_of(dataset)) for case, of_case in used.items()}
        _wait(options, lambda: is_prepared(folder, states), "the cases")
        prepared = prepare_dataset(dataset, resolved, folder, cases=list(used), one_sided=True)
    return ReadyRun(resolved, prepared, splits)


def _train_one(
    recipe: MethodRecipe,
    name: str,
    ready: ReadyRun,
    split: Split,
    folder: Path,
    started: StartingModel | None,
    options: TrainingOptions,
    fold: tuple[int, int] | None,
    on_own_data: bool,
) -> TrainedMethod:
    """Train and package one model."""
    from nmsynth.training.checkpoint import save_json
    from nmsynth.training.method_trainer import train_method

    plan, prepared = ready.plan, ready.prepared
    method = train_method(
        recipe.method,
        plan,
        [c for c in prepared if c.subject in split.train],
        [c for c in prepared if c.subject in split.validation],
        folder,
        options=options,
        start_from=None if started is None else started.method,
    )
    package = folder.parent / PACKAGE / name
    if options.is_first:
        save_json(folder / SPLIT, {"schema_version": 1, **{part: list(getattr(split, part)) for part in SPLITS}})
        interval = None
        held = [c for c in prepared if c.subject in split.validation and c.is_pair]
        if recipe.interval_samples and method.stochastic and held:
            interval = calibrate_intervals(
                method.eval(), plan, held, n_samples=recipe.interval_samples, note=ON_VALIDATION,
                sides_together=recipe.interval_sides_together,
            )  # fmt: skip
        typical = typical_sources([c for c in prepared if c.subject in split.train and c.has_source], plan)
        write_method_package(
            recipe, name, method, plan, split, folder, package, fold=fold, on_own_data=on_own_data, interval=interval,
            typical=typical,
        )  # fmt: skip
    return TrainedMethod(name, folder, package, split, method, plan)


def _wait(options: TrainingOptions, ready: Callable[[], bool], what: str) -> None:
    """Let all but the first of several processes wait for what it makes."""
    from nmsynth.training.processes import wait_until

    if not options.is_first:
        wait_until(ready, what=what)


def split_of_run(run: Path, fold: Mapping[str, int] | None, splits: Mapping[str, str]) -> Split:
    """Subjects of a training of a run, as it noted them, or as it chose them before it did.

    Parameters
    ----------
    run
        Folder of the run.
    fold
        ``number`` and ``of``, of a cross-validation.
    splits
        Split of each subject by the manifest.
    """
    from nmsynth.data.folds import Split, cross_validation, split_by_manifest

    noted = _read_json(run / ("training" if fold is None else f"fold-{fold['number']}") / SPLIT)
    if noted is not None:
        return Split(*(tuple(noted[part]) for part in SPLITS))
    return split_by_manifest(splits) if fold is None else cross_validation(splits, fold["of"])[fold["number"]]


def remove_trainings(output: Path) -> None:
    """Remove the trainings of a run, known by their ``method.json``; its plan and prepared cases stay.

    Of cases whose images have changed the next training prepares new ones.
    """
    for record in output.glob(f"*/{METHOD_RECORD}"):
        shutil.rmtree(record.parent)


def training_options(**values: Any) -> TrainingOptions:
    """What does not change the weights; see :class:`nmsynth.training.method_trainer.TrainingOptions`."""
    from nmsynth.training.method_trainer import TrainingOptions

    return TrainingOptions(**values)


def simulated_dataset(recipe: MethodRecipe, folder: Path, *, progress: Progress = silent) -> Path:
    """The dataset that a recipe simulates, made where it is not yet there.

    Raises
    ------
    InputError
        If the recipe simulates none.
    """
    from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset

    if not recipe.data.simulate:
        wanted = f"{', '.join(recipe.data.sources) or 'sources'} and {recipe.data.target or 'targets'}"
        raise InputError(
            f"The recipe '{recipe.name}' needs a dataset of {wanted}; none is given. Pass --data with its manifest."
        )
    settings = SimulateCohortSettings(recipe=recipe.data.simulate, subjects=recipe.data.subjects)
    simulate_dataset(settings, folder, progress=progress)
    return folder


def _checkmodalities_of(recipe: MethodRecipe, rows: Sequence[ManifestRow]) -> None:
    """Refuse a dataset of other modalities than the recipe is for, as far as the manifest states them."""
    found = modalities_of(rows)
    target = found.pop("target", "")
    if recipe.data.target and target and target != recipe.data.target:
        raise InputError(
            f"The recipe '{recipe.name}' makes {recipe.data.target}; the dataset's target is {target}. Take a recipe "
            "for it, or a family by its name."
        )
    if recipe.data.sources and found and not set(recipe.data.sources) <= set(found.values()):
        raise InputError(
            f"The recipe '{recipe.name}' takes {', '.join(recipe.data.sources)}; the dataset's sources are "
            f"{', '.join(sorted(set(found.values())))}. Take a recipe for them, or a family by its name."
        )


def _settled_plan(
    recipe: MethodRecipe,
    dataset: Path,
    output: Path,
    plan: Plan | None,
    minutes: float | None,
    overrides: Mapping[str, Any] | None,
    started: StartingModel | None,
    options: TrainingOptions,
    progress: Progress,
    must_hold: Collection[str],
) -> Plan:
    """The plan of a run: the one it was begun with, the one given, or one made now."""
    from nmsynth.core.config import override, resolve
    from nmsynth.core.plan import Plan, check_same_inputs, plan_to_toml, read_plan
    from nmsynth.io.atomic import atomic_file

    path = output / PLAN_FILE
    asked = {
        "schema_version": 1,
        "plan": None if plan is None else plan.model_dump(mode="json"),
        "minutes": minutes,
        "overrides": dict(overrides or {}),
    }
    asked = json.loads(json.dumps(asked))  # tuples as they come back
    # what is made anew may differ by the memory that is free and by how fast the machine is just now
    before = _read_json(output / ASKED) or {}
    if path.is_file() and (before == asked or (plan is None and not overrides and minutes is None)):
        found = read_plan(path)
        _check_held(recipe, found, set(must_hold) - set(before.get("overrides", {})))
        return found
    if path.is_file() and minutes is not None:
        raise InputError(
            f"A run keeps the plan that it was begun with; {minutes:g} minutes are asked for, and it was begun "
            f"otherwise, with {read_plan(path).schedule.steps} steps. Give another output folder, or leave the plan's "
            "options out to go on."
        )
    made = plan
    if made is None:
        values = {**recipe.plan, **(overrides or {})}
        made = plan_dataset(dataset, device=options.device, overrides=values, progress=progress)
        made = made if started is None else fine_tuning_plan(made, started.plan)
    if plan is not None or started is not None:
        made = resolve(Plan, override(made.model_dump(mode="json"), overrides or {}), where="the plan")
    if recipe.first_sources:
        made = made.model_copy(update={"sources": made.sources[: recipe.first_sources]})
    if plan is not None:
        _tell_overruled(recipe, made, set(overrides or {}))
    _check_held(recipe, made, set(must_hold) - set(overrides or {}))
    if started is not None:
        check_same_inputs(made, started.plan)
    if minutes is not None:
        wished = plan is not None or "patch" in {**recipe.plan, **(overrides or {})}
        made = plan_for_minutes(
            made, minutes, method=recipe.method, device=options.device, threads=options.threads, keep_patch=wished
        )
    if path.is_file() and read_plan(path) != made:
        raise InputError(
            "A run keeps the plan that it was begun with; another is asked for. Give another output folder, or leave "
            "the plan's options out to go on."
        )
    for name, text in ((ASKED, json.dumps(asked, indent=1) + "\n"), (PLAN_FILE, plan_to_toml(made))):
        with atomic_file(output / name, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return made


def overruled_keys(recipe: MethodRecipe, plan: Plan) -> list[str]:
    """Keys of a recipe's plan that a plan states otherwise, as the recipe writes them."""
    from nmsynth.core.config import override, resolve
    from nmsynth.core.plan import Plan

    values = plan.model_dump(mode="json")
    found = []
    for key, value in recipe.plan.items():
        try:
            alike = resolve(Plan, override(values, {key: value})).model_dump(mode="json") == values
        except InputError:  # it contradicts the rest of the plan
            alike = False
        if not alike:
            found.append(key)
    return found


def _tell_overruled(recipe: MethodRecipe, plan: Plan, asked: set[str]) -> None:
    """Say in the log what of a recipe a plan replaces, but for what was asked for."""
    keys = [key for key in overruled_keys(recipe, plan) if key not in asked]
    if keys:
        _LOGGER.warning(
            "The plan that is given is followed where it differs from the recipe '%s': %s.",
            recipe.name,
            ", ".join(keys),
        )


def _check_held(recipe: MethodRecipe, plan: Plan, must_hold: Collection[str]) -> None:
    """Refuse a plan that states otherwise what a recipe is about."""
    keys = [key for key in overruled_keys(recipe, plan) if key in must_hold]
    if keys:
        raise InputError(
            f"'{recipe.name}' differs from its recipe by {', '.join(keys)}; the plan that is given, or that the run "
            "was begun with, states that otherwise, so that nothing would differ. Leave --plan out, or give another "
            "output folder."
        )


def _read_json(path: Path) -> Any:
    """What a file holds; ``None`` where there is none, or it is none of JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
