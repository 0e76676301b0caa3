"""How long a step takes here."""

from __future__ import annotations

import time

import torch

from nmsynth.core.plan import Plan
from nmsynth.models.methods import MethodSpec, build_method

N_TIMED = 3
"""Steps that are timed, after one that is not."""


def seconds_per_step(spec: MethodSpec, plan: Plan, *, device: str = "cpu") -> float:
    """Time of an optimiser step on random patches, all groups and accumulated batches together [s].

    Parameters
    ----------
    spec, plan
        Method and plan.
    device
        Where it is to be trained.
    """
    method = build_method(spec, plan, allow_import=True).to(device)
    shape = plan.network_patch
    batch = {
        "source": torch.randn(plan.schedule.batch, plan.n_source_channels, *shape, device=device),
        "target": torch.randn(plan.schedule.batch, 1, *shape, device=device),
        "condition": torch.zeros(plan.schedule.batch, plan.n_conditions, device=device),
        "weight": torch.ones(plan.schedule.batch, 1, *shape, device=device),
    }
    spent = 0.0
    for number in range(N_TIMED + 1):
        started = time.perf_counter()
        for group in method.groups(method.stages[-1]):
            method.losses(batch, group, method.stages[-1])["total"].backward()  # type: ignore[arg-type]
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        spent += time.perf_counter() - started if number else 0.0
    return spent / N_TIMED * plan.schedule.accumulate
