"""The Lightning module that trains any method: one optimiser a group, an average of the weights, validation by images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import nn

from nmsynth.core.plan import Plan, SchedulePlan
from nmsynth.data.prepared import PreparedCase
from nmsynth.models.method import Method


def learning_rate_factor(step: int, *, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine from 1 to 0.01."""
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


class MethodModule(lightning.LightningModule):
    """Trains one stage of a method.

    Every step begins by seeding torch from the seed and the step, so that noise, dropout and all that is drawn are the
    same however often a training is interrupted.

    Parameters
    ----------
    method
        To be trained.
    plan
        Its schedule.
    stage
        One of the method's.
    steps
        Optimiser steps of this stage.
    held
        Validation cases.
    """

    def __init__(self, method: Method, plan: Plan, *, stage: str, steps: int, held: Sequence[PreparedCase]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method = method
        self.average = copy.deepcopy(method).requires_grad_(False)
        self.plan = plan
        self.stage = stage
        self.steps = steps
        self.held = list(held)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.restored: list[dict[str, Any]] | None = None
        """State of the optimisers, until they are there to take it."""
        self.stopped_early = False

    @property
    def schedule(self) -> SchedulePlan:
        """How long and how fast."""
        return self.plan.schedule

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for each group of parameters; the learning rate is set at every step."""
        s = self.schedule
        return [
            torch.optim.AdamW(parameters, lr=s.learning_rate, weight_decay=s.weight_decay, betas=(0.9, 0.99))
            for parameters in self.method.groups(self.stage).values()
        ]

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """One batch; every ``accumulate``-th steps the optimisers."""
        s = self.schedule
        step = int(self.done)
        micro = index % s.accumulate
        torch.manual_seed(hash_of(s.seed, step, micro, self.global_rank))
        optimisers = self.optimizers()
        optimisers = optimisers if isinstance(optimisers, list) else [optimisers]
        names = list(self.method.groups(self.stage))
        factor = learning_rate_factor(step, steps=self.steps, warmup=min(s.warmup, self.steps // 2))
        last = micro == s.accumulate - 1
        for name, optimiser in zip(names, optimisers, strict=True):
            self.toggle_optimizer(optimiser)
            terms = self.method.losses(batch, name, self.stage)  # type: ignore[arg-type]
            self.manual_backward(terms["total"] / s.accumulate)
            if last:
                self.clip_gradients(optimiser, gradient_clip_val=s.gradient_clip, gradient_clip_algorithm="norm")
                for group in optimiser.param_groups:
                    group["lr"] = s.learning_rate * factor
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.untoggle_optimizer(optimiser)
            for term, value in terms.items():
                self.log(f"train/{name}/{term}", value.detach(), prog_bar=term == "total")
        if last:
            self.done += 1
            self._update_average()

    def _update_average(self) -> None:
        """Move the average towards the weights; early on faster, so that it does not remember the first ones."""
        step = int(self.done)
        decay = min(self.schedule.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(_state(self.average), _state(self.method), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value.to(mean.dtype), 1 - decay)
                else:
                    mean.copy_(value)


def _state(module: nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, in their order."""
    return [*module.parameters(), *module.buffers()]


def hash_of(*numbers: int) -> int:
    """One seed from several numbers; the same on every machine.

    Examples
    --------
    >>> hash_of(1, 2) == hash_of(1, 2), hash_of(1, 2) == hash_of(2, 1)
    (True, False)
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = ((state ^ number) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
        state ^= state >> 29
    return state % 2**63
