"""How many steps fit into the time that a benchmark gives every method, measured once on this machine."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.replacement import replace_text

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.methods import MethodSpec
    from nmsynth.workflows.benchmark_suite import Suite

TIMED_STEPS = 12
"""Steps of each stage that are timed, after two that are not; the fastest counts, as others waited for something."""
MARGIN = 1.1
"""Of the time that steps are counted for over the time that is asked for, so that no run comes out shorter."""
VALIDATION_SHARE = 0.4
"""Largest share of the time that validation may take before there are fewer of them."""
LEAST_VALIDATIONS = 6
"""As many as tell whether a training converged."""
GPU_SHARE = 1 / 6
"""Of the CPU minutes, where a suite states none for a GPU."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a method costs here: CPU time, or time where a GPU does the work."""

    step_s: float
    """An optimiser step, stages weighed by their shares [s]."""
    validation_s: float
    """A validation with saving [s]."""
    device: str


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps of a run."""

    steps: int
    validate_every: int
    seconds_per_step: float | None = None


def budget_of(suite: Suite, speed: Speed | None) -> Budget:
    """Steps of a run by the suite: stated, or what fits into its minutes and a tenth more.

    Examples
    --------
    >>> from nmsynth.workflows.benchmark_suite import load_suite
    >>> budget_of(load_suite("league"), Speed(step_s=0.5, validation_s=12.0, device="cpu"))
    Budget(steps=3600, validate_every=240, seconds_per_step=0.5)
    """
    if suite.steps is not None or speed is None:
        steps = suite.steps or 1
        return Budget(steps, max(1, steps // suite.validations))
    minutes = suite.cpu_minutes or 0.0
    if speed.device != "cpu":
        minutes = suite.gpu_minutes or minutes * GPU_SHARE
    seconds, validations = MARGIN * minutes * 60.0, suite.validations
    if validations * speed.validation_s > VALIDATION_SHARE * seconds:
        affordable = int(VALIDATION_SHARE * seconds / speed.validation_s)
        validations = max(min(LEAST_VALIDATIONS, validations), affordable)
    steps = max(20, int((seconds - validations * speed.validation_s) / speed.step_s))
    return Budget(steps, max(1, steps // validations), float(f"{speed.step_s:.3g}"))


def measured_speed(
    path: Path, spec: MethodSpec, plan: Plan, cases: list[PreparedCase], held: list[PreparedCase], *, device: str
) -> Speed:
    """What a method costs on a task, by training a few steps of it; kept in a file, so that it is measured once.

    Parameters
    ----------
    path
        JSON file that keeps it.
    spec, plan, cases, held
        As they are trained; a fresh training in a folder that is deleted.
    device
        ``cpu`` or ``cuda``.
    """
    if path.is_file():
        return Speed(**json.loads(path.read_text(encoding="utf-8")))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", suffix=".partial", dir=path.parent))
    try:
        speed = _train_a_little(spec, plan, cases, held, scratch, device)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    replace_text(path, json.dumps(asdict(speed)) + "\n")
    return speed


def _train_a_little(
    spec: MethodSpec, plan: Plan, cases: list[PreparedCase], held: list[PreparedCase], folder: Path, device: str
) -> Speed:
    """Train some steps of every stage, each with one validation at its end, and read the clock at every step."""
    from nmsynth.models.methods import build_method
    from nmsynth.training.method_trainer import TrainingOptions, train_method

    shares = build_method(spec, plan, allow_import=True).stage_shares
    n_timed = TIMED_STEPS + 3
    steps = math.ceil(n_timed / min(shares))
    schedule = plan.schedule.model_copy(update={"steps": steps, "validate_every": 10 * steps, "warmup": 1})
    clock = time.process_time if device == "cpu" else time.perf_counter
    stages: dict[str, list[float]] = {}

    def told(stage: str, fraction: float) -> None:
        """Read the clock; what is told begins with the name of the stage and a comma."""
        del fraction
        stages.setdefault(stage.partition(",")[0], []).append(clock())

    options = TrainingOptions(threads=1, device=device, save_every=10 * steps, progress=told)
    train_method(spec, plan.model_copy(update={"schedule": schedule}), cases, held, folder, options=options)
    return _speed(list(stages.values()), shares, device)


def _speed(stages: list[list[float]], shares: tuple[float, ...], device: str) -> Speed:
    """Cost of a step and of a validation from the times at the end of each step of each stage."""
    step, validation = 0.0, 0.0
    for times, share in zip(stages, shares, strict=False):
        plain = [later - earlier for earlier, later in itertools.pairwise(times[1:-1])]
        each = min(plain)
        step += share / sum(shares) * each
        validation += max(0.0, times[-1] - times[-2] - each) / len(stages)
    return Speed(max(step, 1e-6), validation, device)


def clock_of(device: str) -> Callable[[], float]:
    """Clock by which a device's work is measured."""
    return time.process_time if device == "cpu" else time.perf_counter
