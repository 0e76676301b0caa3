"""Train a method by a plan: stage after stage, resumable at any moment, with the best weights at the end."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from nmsynth.core.errors import InputError
from nmsynth.core.plan import Plan
from nmsynth.core.progress import Progress, silent
from nmsynth.data.feed import Feed
from nmsynth.data.method_patches import MethodBatches
from nmsynth.data.prepared import PreparedCase
from nmsynth.io.room import check_room
from nmsynth.models.method import Method
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.training.checkpoint import load_tensors, save_json
from nmsynth.training.keeper import BEST, LAST, NO_PAIRS, Keeper, StageRun, out_of_patience, read_curve
from nmsynth.training.method_module import MethodModule
from nmsynth.training.processes import process_number, wait_for_all

_LOGGER = logging.getLogger(__name__)

DONE, METHOD_FILE = "done.json", "method.json"
LONGEST_VALIDATION = timedelta(hours=6)
"""How long processes wait for the one that validates."""
_EXPECTED_WARNINGS = (
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*val_dataloader.*",
    ".*find_unused_parameters=True was specified.*",
    ".*Grad strides do not match.*",
)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What does not change the weights, but for the number of processes, which changes how many patches a step sees."""

    workers: int = 0
    """Processes that draw patches; a thread beside the training where 0."""
    threads: int | None = None
    """Threads of torch a process; its own choice when unset. Sums depend on it in their last bit."""
    device: str = "auto"
    devices: int = 1
    """Processes a machine that train together."""
    nodes: int = 1
    """Machines that train together."""
    save_every: int = 100
    """Steps between checkpoints from which a training resumes; there is one at every validation and every three
    minutes, too."""
    stop_after: int | None = None
    """Stop at this step of all, to be resumed later; the schedule stays the plan's."""
    progress: Progress = silent

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        """Whether this process prepares, saves and tells."""
        return self.processes == 1 or process_number() == 0


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage of a training."""

    name: str
    steps: int
    before: int
    """Steps of the stages before."""
    total: int
    """Steps of all stages."""
    folder: Path


def train_method(
    spec: MethodSpec,
    plan: Plan,
    cases: Sequence[PreparedCase],
    held: Sequence[PreparedCase],
    folder: Path,
    *,
    options: TrainingOptions | None = None,
    start_from: Method | None = None,
    allow_import: bool = True,
) -> Method:
    """Train a method and return it with its best averaged weights, in evaluation mode.

    Parameters
    ----------
    spec, plan
        Which method, and how. Saved as ``method.json``; a folder that holds another training is refused.
    cases, held
        For training, and for choosing the best weights; of different subjects. To train on, a method that learns
        without pairs takes cases with a source or a target alone, too. Its answers are compared with pairs; where none
        are held it has no score, and ends with its last averaged weights.
    folder
        Gets a folder a stage: ``last.ckpt``, ``best.pt``, ``curve.json`` (the validation curve), ``train.csv``,
        ``validation.csv``, ``samples`` and ``tensorboard``.
    options
        Workers, threads, devices.
    start_from
        Method whose weights are taken to begin with, for fine-tuning; parts that it lacks begin fresh.
    allow_import
        Whether ``spec`` may name a class of another package.

    Raises
    ------
    InputError
        If a subject stands on both sides, there are too few cases of a side, patience is asked for without a score, the
        folder belongs to another training, ``start_from`` is of another shape, or the disk is full.
    NumericalError
        If the loss becomes NaN or infinite.
    """
    options = options or TrainingOptions()
    _check_subjects(cases, held)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(plan.schedule.seed)
    method = build_method(spec, plan, allow_import=allow_import)
    cases, held = _usable(method, plan, cases, held)
    folder.mkdir(parents=True, exist_ok=True)
    if options.is_first:
        _claim(folder, spec, plan)
        if not held:
            _LOGGER.warning("%s", NO_PAIRS)
    if start_from is not None:
        take_weights(method, start_from)
    # weights, averages, two moments, and the best: a checkpoint is written beside the one that it replaces
    check_room(folder, 10 * sum(p.numel() * 4 for p in method.parameters()), what="Checkpoints")
    for stage in _stages(method, plan, folder):
        if options.stop_after is not None and options.stop_after <= stage.before:
            break
        _train_stage(method, plan, stage, cases, held, options)
    return method.eval()


def take_weights(method: Method, trained: Method) -> None:
    """Begin with the weights of a trained method, as far as it has them.

    Raises
    ------
    InputError
        If the two are of different kinds or sizes.
    """
    own, given = method.state_dict(), trained.state_dict()
    other = sorted(name for name in given if name not in own or own[name].shape != given[name].shape)
    if other or not given:
        raise InputError(
            "Fine-tuning needs a model of the same method, arguments and plan; "
            f"{len(other)} of its {len(given)} tensors have no place, such as '{(other or ['-'])[0]}'. Take the recipe "
            "and plan of that model."
        )
    method.load_state_dict(given, strict=False)


def _stages(method: Method, plan: Plan, folder: Path) -> list[_Stage]:
    """Stages with their shares of the steps."""
    steps = [max(1, round(plan.schedule.steps * share)) for share in method.stage_shares]
    return [
        _Stage(name, n, sum(steps[:k]), sum(steps), folder / f"{k}-{name}")
        for k, (name, n) in enumerate(zip(method.stages, steps, strict=True))
    ]


def _train_stage(
    method: Method,
    plan: Plan,
    stage: _Stage,
    cases: Sequence[PreparedCase],
    held: Sequence[PreparedCase],
    options: TrainingOptions,
) -> None:
    """Train one stage, or what is left of it, and put its best averaged weights into the method."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    done = stage.folder / DONE
    if not done.is_file():
        stop = stage.steps if options.stop_after is None else min(stage.steps, options.stop_after - stage.before)
        step, finished = _fit(method, plan, stage, cases, held, options, stop)
        if finished and options.is_first:
            save_json(done, {"schema_version": 1, "steps": step, "stopped_early": step < stage.steps})
        wait_for_all()
    best, last = stage.folder / BEST, stage.folder / LAST
    if best.is_file():
        method.load_state_dict(load_tensors(best))
    elif last.is_file():
        method.load_state_dict(load_tensors(last)["average"])


def _fit(
    method: Method,
    plan: Plan,
    stage: _Stage,
    cases: Sequence[PreparedCase],
    held: Sequence[PreparedCase],
    options: TrainingOptions,
    stop: int,
) -> tuple[int, bool]:
    """Run Lightning over the steps that are left; the step reached, and whether the stage is finished."""
    s = plan.schedule
    checkpoint = stage.folder / LAST
    state = load_tensors(checkpoint) if checkpoint.is_file() else None
    start = int(state["step"]) if state else 0
    if out_of_patience(read_curve(stage.folder, start), s.patience):
        return start, True
    if start >= stop:
        return start, start >= stage.steps
    with _quiet():
        run = StageRun(stage.folder, stop, stage.before, stage.total, options.save_every, options.progress)
        module = MethodModule(method, plan, stage=stage.name, steps=stage.steps)
        if state is not None:
            module.from_state(state)
        batches = MethodBatches(
            cases,
            plan,
            start=start * s.accumulate,
            paired=method.paired,
            rank=process_number() if options.processes > 1 else 0,
            world=options.processes,
        )
        accelerator = _accelerator(options.device)
        feed = Feed(batches, (stop - start) * s.accumulate, workers=options.workers, pin=accelerator == "gpu")
        keeper = Keeper(run, plan, held, feed, state, next((case for case in cases if case.has_source), None))
        trainer = _trainer(plan, stage.folder, keeper, accelerator, options, start)
        if plan.spatial_dims == 3:
            _channels_last(module)
        trainer.fit(module, feed)
    method.to("cpu")
    return module.step, module.step >= stage.steps or keeper.stopped_early


def _channels_last(module: torch.nn.Module) -> None:
    """Lay kernels of volumes out channels last, which convolutions compute faster; not so in 2D on a CPU.

    ``Module.to`` would ask it of tensors of four axes too, which have no such layout.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 5:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last_3d)


def _trainer(
    plan: Plan, folder: Path, keeper: Keeper, accelerator: str, options: TrainingOptions, start: int
) -> lightning.Trainer:
    """Lightning's trainer, of which validation and checkpoints are taken over by the keeper."""
    strategy: str | Strategy = "auto"
    if options.processes > 1:
        # an adversarial method has parameters without a gradient in every backward pass
        strategy = DDPStrategy(find_unused_parameters=True, timeout=LONGEST_VALIDATION)
    return lightning.Trainer(
        default_root_dir=folder,
        accelerator=accelerator,
        devices=options.devices,
        num_nodes=options.nodes,
        strategy=strategy,
        max_steps=-1,
        max_epochs=1,
        precision="bf16-mixed" if plan.schedule.precision == "bf16" else "32-true",
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        # what a killed run drew beyond its last checkpoint is drawn again
        logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=start + 1 if start else None),
        callbacks=[keeper],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's information and hints out of what the user reads; its warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _accelerator(device: str) -> str:
    """What Lightning calls a device."""
    if device == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return "cpu" if device == "cpu" else "gpu"


def _check_subjects(cases: Sequence[PreparedCase], held: Sequence[PreparedCase]) -> None:
    """Refuse a subject on both sides."""
    both = sorted({c.subject for c in cases} & {c.subject for c in held})
    if both:
        raise InputError(f"A subject must not train and validate; '{both[0]}' does. Correct the splits.")


def _usable(
    method: Method, plan: Plan, cases: Sequence[PreparedCase], held: Sequence[PreparedCase]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """The cases that a method can learn from, and the pairs that it can be compared by; refused where they are too few.

    A method that learns without pairs may have none to be compared by.
    """
    pairs = [case for case in held if case.is_pair]
    if method.paired:
        whole = [case for case in cases if case.is_pair]
        if not whole or not pairs:
            raise InputError(
                f"A training needs cases to train on and to validate with; found {len(whole)} and {len(pairs)}. "
                "Add subjects."
            )
        return whole, pairs
    n_sources, n_targets = sum(case.has_source for case in cases), sum(case.has_target for case in cases)
    if not n_sources or not n_targets:
        raise InputError(
            "A training without pairs needs cases with a source and cases with a target to train on; found "
            f"{n_sources} and {n_targets}. Add subjects."
        )
    if not pairs and plan.schedule.patience:
        raise InputError(
            "Patience goes by the score of validation pairs; no validation subject has both a source and a target, "
            f"and schedule.patience is {plan.schedule.patience}. Set it to 0, or add pairs."
        )
    return list(cases), pairs


def _claim(folder: Path, spec: MethodSpec, plan: Plan) -> None:
    """Write what is trained, or refuse a folder that holds another training."""
    path = folder / METHOD_FILE
    resolved: dict[str, Any] = {
        "schema_version": 1,
        "method": spec.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
    }
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if (found["method"], found["plan"]) != (resolved["method"], resolved["plan"]):
            raise InputError(
                "A training folder belongs to one method and plan; the folder holds another. Give another folder, or "
                "go on with what it was begun with."
            )
        return
    save_json(path, resolved)
