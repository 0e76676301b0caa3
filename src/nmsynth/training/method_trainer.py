"""Train a method by a plan: stage after stage, resumable at any moment, with the best weights at the end."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from nmsynth.core.errors import InputError
from nmsynth.core.plan import Plan
from nmsynth.core.progress import Progress, silent
from nmsynth.data.method_patches import MethodBatches
from nmsynth.data.prepared import PreparedCase
from nmsynth.models.method import Method
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.training.method_module import MethodModule

LAST, BEST, CURVE, DONE = "last.ckpt", "best.pt", "curve.json", "done.json"


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What does not change the weights."""

    workers: int = 0
    """Processes that read patches."""
    threads: int | None = None
    """Threads of torch; all cores when unset."""
    device: str = "auto"
    devices: int = 1
    """Processes that train together."""
    nodes: int = 1
    save_every: int = 100
    """Steps between checkpoints from which a training resumes."""
    stop_after: int | None = None
    """Stop at this step of all, to be resumed later; the schedule stays the plan's."""
    progress: Progress = silent


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
        For training, and for choosing the best weights; of different subjects.
    folder
        Gets a folder a stage: ``last.ckpt``, ``best.pt``, ``curve.json`` (the validation curve) and logs.
    options
        Workers, threads, devices.
    start_from
        Method whose weights are taken to begin with, for fine-tuning.
    allow_import
        Whether ``spec`` may name a class of another package.

    Raises
    ------
    InputError
        If a subject stands on both sides, or the folder belongs to another training.
    """
    options = options or TrainingOptions()
    _check_subjects(cases, held)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, spec, plan)
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    torch.manual_seed(plan.schedule.seed)
    method = build_method(spec, plan, allow_import=allow_import)
    if start_from is not None:
        method.load_state_dict(start_from.state_dict(), strict=False)
    begun = 0
    for number, (stage, share) in enumerate(zip(method.stages, method.stage_shares, strict=True)):
        steps = max(1, round(plan.schedule.steps * share))
        stop = None if options.stop_after is None else options.stop_after - begun
        if stop is not None and stop <= 0:
            break
        _train_stage(method, plan, stage, steps, cases, held, folder / f"{number}-{stage}", options, stop)
        begun += steps
    return method.eval()


def _train_stage(
    method: Method,
    plan: Plan,
    stage: str,
    steps: int,
    cases: Sequence[PreparedCase],
    held: Sequence[PreparedCase],
    folder: Path,
    options: TrainingOptions,
    stop_after: int | None,
) -> None:
    """Train one stage, or what is left of it, and put its best averaged weights into the method."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / DONE
    if not done.is_file():
        module = MethodModule(method, plan, stage=stage, steps=steps, held=held)
        _fit(module, plan, cases, folder, options, min(steps, stop_after or steps))
        if int(module.done) >= steps or module.stopped_early:
            done.write_text(json.dumps({"schema_version": 1, "steps": int(module.done)}) + "\n")
    weights = folder / BEST
    if weights.is_file():
        method.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))


def _fit(
    module: MethodModule, plan: Plan, cases: Sequence[PreparedCase], folder: Path, options: TrainingOptions, stop: int
) -> None:
    """Run Lightning over the steps that are left."""
    checkpoint = folder / LAST
    resumed = checkpoint.is_file()
    start = 0
    if resumed:
        start = int(torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]["done"])
    s = plan.schedule
    if start >= stop:
        return
    batches = MethodBatches(cases, plan, start=start * s.accumulate, paired=module.method.paired)
    trainer = lightning.Trainer(
        default_root_dir=folder,
        accelerator=_accelerator(options.device),
        devices=options.devices,
        num_nodes=options.nodes,
        max_steps=-1,
        max_epochs=1,
        limit_train_batches=(stop - start) * s.accumulate,
        precision="bf16-mixed" if s.precision == "bf16" else "32-true",
        num_sanity_val_steps=0,
        limit_val_batches=0,
        log_every_n_steps=20,
        enable_model_summary=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        logger=[
            CSVLogger(folder, name="csv", version=f"from-{start}"),  # a resumed run keeps what was logged
            TensorBoardLogger(folder, name="tensorboard", version=""),
        ],
        callbacks=[_Keeper(folder, options, stop)],
    )
    with warnings.catch_warnings():
        for text in (".*does not have many workers.*", ".*IterableDataset.*", ".*LeafSpec.*", ".*val_dataloader.*"):
            warnings.filterwarnings("ignore", message=text)
        loader = DataLoader(batches, batch_size=None, num_workers=options.workers)
        if resumed:
            _restore(module, trainer, checkpoint)
        trainer.fit(module, loader)


def _restore(module: MethodModule, trainer: lightning.Trainer, checkpoint: Path) -> None:
    """Weights, averages and step at once; the optimisers as soon as Lightning has made them."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=False)
    module.load_state_dict(saved["state_dict"])
    module.restored = saved["optimisers"]
    del trainer


class _Keeper(Callback):
    """Validates, keeps the best weights and the last state, tells how far a training is."""

    def __init__(self, folder: Path, options: TrainingOptions, stop: int) -> None:
        self.folder = folder
        self.options = options
        self.stop = stop
        self.began = time.monotonic()
        self.first_step = 0
        path = folder / CURVE
        self.curve: list[dict[str, Any]] = json.loads(path.read_text())["points"] if path.is_file() else []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Give the optimisers the state that they had."""
        del trainer
        self.first_step = int(pl_module.done)
        self.curve = [p for p in self.curve if p["step"] <= self.first_step]
        if pl_module.restored is not None:
            optimisers = pl_module.optimizers(use_pl_optimizer=False)
            optimisers = optimisers if isinstance(optimisers, list) else [optimisers]
            for optimiser, state in zip(optimisers, pl_module.restored, strict=True):
                optimiser.load_state_dict(state)
            pl_module.restored = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """After an optimiser step: validate, save, tell."""
        step = int(pl_module.done)
        s = pl_module.plan.schedule
        validated = step and step % s.validate_every == 0 and (not self.curve or self.curve[-1]["step"] < step)
        if validated or (step == self.stop and (not self.curve or self.curve[-1]["step"] < step)):
            self._validate(trainer, pl_module, step)
        if step and (step % self.options.save_every == 0 or step == self.stop or validated):
            self._save(pl_module)
        spent = time.monotonic() - self.began
        ran = max(1, step - self.first_step)
        left = spent / ran * (self.stop - step)
        self.options.progress(f"training {pl_module.stage}, {left / 60:.0f} min left", step / pl_module.steps)

    def _validate(self, trainer: lightning.Trainer, module: Any, step: int) -> None:
        """Score the averaged weights and keep them if they are the best."""
        from nmsynth.training.validation import score_method

        score = score_method(module.average.eval(), module.plan, module.held, device=str(module.device))
        point = {"step": step, **score.to_json()}
        best = min((p["score"] for p in self.curve), default=float("inf"))
        self.curve.append(point)
        for name, value in score.to_json().items():
            if value is not None:
                for logger in trainer.loggers:
                    logger.log_metrics({f"val/{name}": value}, step=step)
        if score.score < best:
            _replace(self.folder / BEST, module.average.state_dict())
        temporary = self.folder / f".{CURVE}"
        temporary.write_text(json.dumps({"schema_version": 1, "points": self.curve}) + "\n")
        temporary.replace(self.folder / CURVE)
        since = step - min(self.curve, key=lambda p: p["score"])["step"]
        if (
            module.plan.schedule.patience
            and since >= module.plan.schedule.patience * module.plan.schedule.validate_every
        ):
            module.stopped_early = True
            trainer.should_stop = True

    def _save(self, module: Any) -> None:
        """The last state, whole or not at all."""
        optimisers = module.optimizers(use_pl_optimizer=False)
        optimisers = optimisers if isinstance(optimisers, list) else [optimisers]
        states = [optimiser.state_dict() for optimiser in optimisers]
        _replace(self.folder / LAST, {"state_dict": module.state_dict(), "optimisers": states})


def _replace(path: Path, content: Any) -> None:
    """Write beside a file, then rename, so that a kill at any moment leaves a whole file."""
    temporary = path.with_name(f".{path.name}")
    torch.save(content, temporary)
    temporary.replace(path)


def _accelerator(device: str) -> str:
    """What Lightning calls a device."""
    return {"cpu": "cpu", "auto": "auto"}.get(device, "gpu")


def _check_subjects(cases: Sequence[PreparedCase], held: Sequence[PreparedCase]) -> None:
    """Refuse a subject on both sides, or an empty side."""
    both = sorted({c.subject for c in cases} & {c.subject for c in held})
    if both:
        raise InputError(f"A subject must not train and validate; '{both[0]}' does. Correct the splits.")
    if not cases or not held:
        raise InputError(
            f"A training needs cases to train on and to validate with; found {len(cases)} and {len(held)}. Add subjects."
        )


def _claim(folder: Path, spec: MethodSpec, plan: Plan) -> None:
    """Write what is trained, or refuse a folder that holds another training."""
    path = folder / "method.json"
    resolved = {"schema_version": 1, "method": spec.model_dump(mode="json"), "plan": plan.model_dump(mode="json")}
    if path.is_file():
        found = json.loads(path.read_text())
        if (found["method"], found["plan"]) != (resolved["method"], resolved["plan"]):
            raise InputError(
                "A training folder belongs to one method and plan; the folder holds another. Give another folder, or "
                "go on with what it was begun with."
            )
        return
    path.write_text(json.dumps(resolved, indent=2) + "\n")
