"""How long a step and an answer take here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nmsynth.core.plan import Plan
from nmsynth.inference.method_predictor import WINDOWS_AT_ONCE
from nmsynth.models.method import Method, MethodBatch
from nmsynth.models.methods import MethodSpec, build_method

N_TIMED = 3
"""Steps that are timed, after one that is not."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of a method on a machine."""

    step_s: float
    """Of an optimiser step, all groups and accumulated batches together [s]."""
    answer_s: float
    """Of the answer for one patch, as two are computed together, or for one slice of a patch's size in 2D [s]."""


def measure_speed(spec: MethodSpec, plan: Plan, *, device: str = "cpu", threads: int | None = None) -> Speed:
    """Time a few steps and answers on random patches; of several stages the last.

    Parameters
    ----------
    spec, plan
        Method and plan.
    device
        Where it is to be trained.
    threads
        With which; torch's own choice when unset. On a busy machine two take several times as long as one.
    """
    if threads is not None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return measure_speed(spec, plan, device=device)
        finally:
            torch.set_num_threads(before)
    method = build_method(spec, plan, allow_import=True).to(device)
    batch = random_batch(plan, device=device)
    stage = method.stages[-1]
    where = torch.device(device).type

    def step() -> None:
        """Gradients of every group, in the plan's precision."""
        for group in method.groups(stage):
            with torch.autocast(where, torch.bfloat16, enabled=plan.schedule.precision == "bf16"):
                loss = method.losses(batch, group, stage)["total"]
            torch.autograd.backward(loss)

    def answer() -> None:
        """As many patches as a prediction computes at once."""
        _answer(method, batch, plan)

    step_s = _median_time(step, device) * plan.schedule.accumulate
    method.eval()
    with torch.inference_mode():
        return Speed(step_s, _median_time(answer, device) / _at_once(plan))


def random_batch(plan: Plan, *, device: str = "cpu") -> MethodBatch:
    """A batch of noise in the shapes of a plan."""
    n, shape = plan.schedule.batch, plan.network_patch
    return {
        "source": torch.randn(n, plan.n_source_channels, *shape, device=device),
        "target": torch.randn(n, 1, *shape, device=device),
        "condition": torch.zeros(n, plan.n_conditions, device=device),
        "weight": torch.ones(n, 1, *shape, device=device),
    }


def _answer(method: Method, batch: MethodBatch, plan: Plan) -> torch.Tensor:
    """The answer for as many patches as a prediction computes at once."""
    n = _at_once(plan)
    source = batch["source"][:1].expand(n, *(-1,) * (plan.spatial_dims + 1)).contiguous()
    noise = torch.randn(n, *method.noise_shape(plan.network_patch), device=source.device) if method.stochastic else None
    found: torch.Tensor = method(source, batch["condition"][:1].expand(n, -1), noise)
    return found


def _at_once(plan: Plan) -> int:
    """Patches that a prediction computes at once, as far as it takes them from one window; slices count alone."""
    return WINDOWS_AT_ONCE if plan.spatial_dims == 3 else 1


def _median_time(run: Callable[[], object], device: str) -> float:
    """Median of a few runs after one that is not timed [s]."""
    times = []
    for _ in range(N_TIMED + 1):
        started = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
