"""What happens between the steps of a training: validation, the best weights, the last state, logs, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from nmsynth.core.plan import Plan
from nmsynth.core.progress import Progress
from nmsynth.data.feed import Feed
from nmsynth.data.prepared import PreparedCase
from nmsynth.training.checkpoint import SCHEMA_VERSION, save_json, save_tensors
from nmsynth.training.curve_log import CurveLog
from nmsynth.training.method_module import MethodModule
from nmsynth.training.sample_picture import Picture, sample_picture, save_picture
from nmsynth.training.validation import NUMBERS, ValidationScore, answer_case, score_method

LAST, BEST, CURVE = "last.ckpt", "best.pt", "curve.json"
TRAIN_LOG, VALIDATION_LOG, SAMPLES = "train.csv", "validation.csv", "samples"
LOG_EVERY = 20
"""Steps between rows of the log of losses."""
SAVE_AFTER_S = 180.0
"""Longest time between checkpoints [s]."""

NO_PAIRS = (
    "No validation subject has both a source and a target: there is no score, and the last averaged weights are kept."
)
"""Of a training without pairs: in its validation curve and its log."""

Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StageRun:
    """Where and how far a stage is trained."""

    folder: Path
    stop: int
    """Step of the stage at which this run ends."""
    before: int
    """Steps of the stages before."""
    total: int
    """Steps of all stages."""
    save_every: int
    progress: Progress


class Keeper(Callback):
    """Validates, keeps the best weights and the last state, logs, and tells how far a training is.

    With several processes the first one does so while the others wait.

    Parameters
    ----------
    run
        Where, and how far.
    plan
        Of the training.
    held
        Validation pairs. Without any there is no score, and no weights are the best.
    feed
        Batches, which know how long they were waited for.
    state
        As the last checkpoint of this stage has it; ``None`` at its beginning.
    shown
        Case with a source that is pictured where there are no validation pairs.
    """

    def __init__(
        self,
        run: StageRun,
        plan: Plan,
        held: Sequence[PreparedCase],
        feed: Feed,
        state: dict[str, Any] | None,
        shown: PreparedCase | None = None,
    ) -> None:
        self.run = run
        self.plan = plan
        self.held = held
        self.shown = shown
        self.feed = feed
        self.first_step = int(state["step"]) if state else 0
        self.spent_before_s = float(state["seconds"]) if state else 0.0
        self.curve = read_curve(run.folder, self.first_step)
        self.stopped_early = False
        self.began = self.saved_at = time.monotonic()
        self.train_log: CurveLog | None = None
        self.validation_log: CurveLog | None = None
        self.failed: BaseException | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the logs."""
        del pl_module
        self.began = self.saved_at = time.monotonic()
        if trainer.is_global_zero:
            self.train_log = CurveLog(self.run.folder / TRAIN_LOG, start=self.first_step)
            self.validation_log = CurveLog(self.run.folder / VALIDATION_LOG, start=self.first_step)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After an optimiser step: log, validate, save, tell."""
        del outputs, batch
        module: MethodModule = pl_module  # type: ignore[assignment]
        if (batch_idx + 1) % self.plan.schedule.accumulate:
            return
        step = module.step
        if trainer.is_global_zero and (step % LOG_EVERY == 0 or step in (1, module.steps)):
            self._log(trainer, module)
        due = step % self.plan.schedule.validate_every == 0 or step == module.steps
        if due:
            self._validate(trainer, module)
        if trainer.is_global_zero:
            late = time.monotonic() - self.saved_at > SAVE_AFTER_S
            if due or late or step % self.run.save_every == 0 or step == self.run.stop:
                self._save(module)
            self._tell(module)

    def _log(self, trainer: lightning.Trainer, module: MethodModule) -> None:
        """A row of losses."""
        values = {"learning_rate": module.last_learning_rate, **module.logged()}
        row = {"step": module.step, "seconds": self._seconds(), "waiting": self._waiting(), **values}
        if self.train_log is not None:
            self.train_log.write(row)
        for logger in trainer.loggers:
            logger.log_metrics({f"train/{k}": v for k, v in row.items() if k != "step"}, step=module.step)

    def _validate(self, trainer: lightning.Trainer, module: MethodModule) -> None:
        """Score the averaged weights by the first process; stop all of them if nothing improves any more.

        Without a pair to score by, the curve has points without a score.
        """
        if trainer.is_global_zero:
            module.logged()  # nothing is kept of a training that diverged
            score = self._score(trainer, module)
            values = dict.fromkeys(NUMBERS) if score is None else score.to_json()
            point = {"step": module.step, "seconds": self._seconds(), "waiting": self._waiting(), **values}
            best = min(scores_of(self.curve), default=float("inf"))
            self.curve.append(point)
            if score is not None and (score.score < best or not (self.run.folder / BEST).is_file()):
                save_tensors(self.run.folder / BEST, module.average.state_dict())
            note = {} if self.held else {"note": NO_PAIRS}
            save_json(self.run.folder / CURVE, {"schema_version": SCHEMA_VERSION, **note, "points": self.curve})
            if self.validation_log is not None:
                self.validation_log.write(point)
            for logger in trainer.loggers:
                shown = {f"val/{k}": v for k, v in point.items() if k != "step" and v is not None}
                logger.log_metrics(shown, step=module.step)
            self.stopped_early = out_of_patience(self.curve, self.plan.schedule.patience)
        self.stopped_early = bool(trainer.strategy.broadcast(self.stopped_early))  # which the others wait for
        trainer.should_stop = trainer.should_stop or self.stopped_early

    def _score(self, trainer: lightning.Trainer, module: MethodModule) -> ValidationScore | None:
        """Score, with a picture of the first case; without pairs a picture alone."""
        pictures: list[Picture] = []

        def seen(case: PreparedCase, level: int, image: np.ndarray, target: np.ndarray) -> None:
            if not pictures:
                pictures.append(sample_picture(self.plan, case, level, image, target))

        average, device, score = module.average.eval(), str(module.device), None
        if self.held:
            score = score_method(average, self.plan, self.held, stage=module.stage, device=device, seen=seen)
        elif self.shown is not None and module.stage not in average.rebuilding_stages:
            image = answer_case(average, self.plan, self.shown, 0, device=device)
            pictures.append(sample_picture(self.plan, self.shown, 0, image))
        if pictures:
            save_picture(self.run.folder / SAMPLES / f"step-{module.step:06d}.png", pictures[0])
            for logger in trainer.loggers:
                logger.experiment.add_image("sample", pictures[0], module.step, dataformats="HWC")  # type: ignore[attr-defined]
        return score

    def _save(self, module: MethodModule) -> None:
        """The last state, whole or not at all."""
        module.logged()
        content = {"schema_version": SCHEMA_VERSION, "seconds": self._seconds(), **module.to_state()}
        save_tensors(self.run.folder / LAST, content)
        self.saved_at = time.monotonic()

    def _tell(self, module: MethodModule) -> None:
        """How far, how long still, how good."""
        run = self.run
        each = (time.monotonic() - self.began) / (module.step - self.first_step)
        told = f"training {module.stage}, {duration(each * (run.total - run.before - module.step))} left"
        if scores := scores_of(self.curve):
            told += f", best score {min(scores):.4g}"
        run.progress(told, (run.before + module.step) / run.total)

    def _seconds(self) -> float:
        """Time that this stage has taken, interruptions left out [s]."""
        return round(self.spent_before_s + time.monotonic() - self.began, 3)

    def _waiting(self) -> float:
        """Share of the time of this run that was spent waiting for batches."""
        return round(self.feed.waited_s / max(1e-9, time.monotonic() - self.began), 4)


def read_curve(folder: Path, last_step: int) -> list[Point]:
    """Points of the validation curve up to a step."""
    path = folder / CURVE
    if not path.is_file():
        return []
    points: list[Point] = json.loads(path.read_text(encoding="utf-8"))["points"]
    return [p for p in points if p["step"] <= last_step]


def scores_of(curve: Sequence[Point]) -> list[float]:
    """Scores of a validation curve; none of a training that has no pair to be compared by."""
    return [p["score"] for p in curve if p["score"] is not None]


def out_of_patience(curve: Sequence[Point], patience: int) -> bool:
    """Whether as many validations in turn as a plan bears brought no better score; never where it bears 0.

    Examples
    --------
    >>> curve = [{"score": 2.0}, {"score": 1.0}, {"score": 1.5}, {"score": 1.0}]
    >>> out_of_patience(curve, 2), out_of_patience(curve, 3), out_of_patience(curve, 0)
    (True, False, False)
    """
    scores = scores_of(curve)
    if not patience or not scores:
        return False
    return len(scores) - 1 - scores.index(min(scores)) >= patience


def duration(seconds: float) -> str:
    """Time as people say it.

    Examples
    --------
    >>> duration(42), duration(600), duration(3 * 3600 + 1200)
    ('42 s', '10 min', '3 h 20 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
