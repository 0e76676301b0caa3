"""The Lightning module that trains any method: one optimiser a group, and an average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from torch import nn

from nmsynth.core.errors import NumericalError
from nmsynth.core.plan import Plan, SchedulePlan
from nmsynth.models.method import Method
from nmsynth.training.learning_rate import learning_rate_factor

State = dict[str, Any]


class MethodModule(lightning.LightningModule):
    """Trains one stage of a method.

    Every batch begins by seeding torch from the seed, the step and the process, so that noise, dropout and all that is
    drawn are the same however often a training is interrupted.

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
    """

    def __init__(self, method: Method, plan: Plan, *, stage: str, steps: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method = method
        self.average: Method = copy.deepcopy(method).requires_grad_(False)
        self.schedule: SchedulePlan = plan.schedule
        self.stage = stage
        self.steps = steps
        self.step = 0
        """Optimiser steps done."""
        self.last_learning_rate = 0.0
        self.terms: dict[str, torch.Tensor] = {}
        """Terms of the losses of the last batch, ``group/term``, and the norm of each group's gradient."""
        self._optimisers: list[torch.optim.Optimizer] = []
        self._restored: list[Any] | None = None

    @property
    def learning_rate(self) -> float:
        """Of the coming step."""
        warmup = min(self.schedule.warmup, self.steps // 2)
        return self.schedule.learning_rate * learning_rate_factor(self.step, steps=self.steps, warmup=warmup)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for each group of parameters, with the method's momentum; the learning rate is set at every step."""
        s, betas = self.schedule, (self.method.momentum, 0.99)
        self._optimisers = [
            torch.optim.AdamW(parameters, lr=s.learning_rate, weight_decay=s.weight_decay, betas=betas, fused=True)
            for parameters in self.method.groups(self.stage).values()
        ]
        for optimiser, state in zip(self._optimisers, self._restored or [], strict=self._restored is not None):
            optimiser.load_state_dict(state)
        self._restored = None
        return self._optimisers

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """One batch; every ``accumulate``-th steps the optimisers."""
        s = self.schedule
        micro = index % s.accumulate
        self._seed(hash_of(s.seed, self.step, micro, self.global_rank))
        groups = self.method.groups(self.stage)
        for (name, parameters), optimiser in zip(groups.items(), self._optimisers, strict=True):
            if len(groups) > 1:
                self.toggle_optimizer(optimiser)
            terms = self.method.losses(batch, name, self.stage)  # type: ignore[arg-type]
            self.manual_backward(terms["total"] / s.accumulate)
            self.terms |= {f"{name}/{term}": value.detach() for term, value in terms.items()}
            if micro == s.accumulate - 1:
                self._step(name, parameters, optimiser)
            if len(groups) > 1:
                self.untoggle_optimizer(optimiser)
        if micro == s.accumulate - 1:
            self.step += 1
            update_average(self.average, self.method, decay=average_decay(self.step, s.average_decay))

    def _seed(self, number: int) -> None:
        """Seed what draws on the device of the training."""
        if self.device.type == "cpu":
            # the same numbers as `torch.manual_seed`, which besides keeps a traceback a call for a GPU to come
            torch.default_generator.manual_seed(number)
        else:
            torch.manual_seed(number)

    def _step(self, name: str, parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
        """Step the optimiser of a group by its clipped gradient."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.schedule.gradient_clip)
        self.terms[f"{name}/gradient"] = norm.detach()
        self.last_learning_rate = self.learning_rate
        for group in optimiser.param_groups:
            group["lr"] = self.last_learning_rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def logged(self) -> dict[str, float]:
        """Terms of the last batch as numbers.

        Raises
        ------
        NumericalError
            If one is NaN or infinite: the weights are then worth nothing.
        """
        values = {name: float(value) for name, value in self.terms.items()}
        bad = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if bad is not None:
            raise NumericalError(
                f"The loss must stay finite; at step {self.step} of stage '{self.stage}', '{bad}' is {values[bad]}. "
                "The last checkpoint is whole: train anew with a lower schedule.learning_rate, or in fp32."
            )
        return values

    def to_state(self) -> State:
        """All that a training goes on from."""
        return {
            "step": self.step,
            "method": self.method.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }

    def from_state(self, state: State) -> None:
        """Take over a state; the optimisers get theirs as soon as they are made."""
        self.step = int(state["step"])
        self.method.load_state_dict(state["method"])
        self.average.load_state_dict(state["average"])
        self._restored = list(state["optimisers"])


def average_decay(step: int, most: float) -> float:
    """Decay of the average at a step; early on smaller, so that the first weights are soon forgotten.

    Examples
    --------
    >>> average_decay(1, 0.998), average_decay(10_000, 0.998)
    (0.18181818181818182, 0.998)
    """
    return min(most, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, *, decay: float) -> None:
    """Move averaged parameters and buffers towards those of a module; whole numbers and constants are taken over."""
    torch._foreach_lerp_([p.data for p in average.parameters()], [p.data for p in module.parameters()], 1 - decay)
    for mean, value in zip(average.buffers(), module.buffers(), strict=True):
        if mean.is_floating_point():
            # where both are alike nothing moves, so that tables may hold infinity
            mean.copy_(torch.where(mean == value, value, torch.lerp(mean, value, 1 - decay)))
        else:
            mean.copy_(value)


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
