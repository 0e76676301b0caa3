"""Muon: momentum with orthogonalised updates for the kernels of hidden layers, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_N_ITERATIONS = 5


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Move all singular values of a matrix near 1 (between about 0.7 and 1.2), by a quintic Newton-Schulz iteration.

    ``X <- a X + (b A + c A^2) X`` with ``A = X X'``, five times [Jordan2024]_.

    Parameters
    ----------
    matrix
        Shape ``(rows, columns)``.

    References
    ----------
    .. [Jordan2024] K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.float()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(_N_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: torch.Tensor = x.T if tall else x
    return out


class Muon(torch.optim.Optimizer):
    """Muon for hidden kernels, AdamW for the rest, as one optimiser.

    The update of a kernel, as a matrix of its outputs by all else, is its orthogonalised Nesterov momentum times
    ``0.2 sqrt(max(rows, columns))``, which gives it the size of an AdamW update [Liu2025]_.

    Parameters
    ----------
    network
        Its five-dimensional parameters but the first and the last are hidden kernels.
    learning_rate
        Of hidden kernels.
    other_learning_rate
        Of the rest.
    weight_decay
        Decoupled, for all.

    References
    ----------
    .. [Liu2025] J. Liu et al., Muon is scalable for LLM training, arXiv:2502.16982, 2025.
    """

    momentum = 0.95
    betas = (0.9, 0.98)

    def __init__(
        self, network: nn.Module, *, learning_rate: float, other_learning_rate: float, weight_decay: float
    ) -> None:
        kernels = [p for p in network.parameters() if p.ndim == 5]
        hidden = kernels[1:-1]
        chosen = {id(p) for p in hidden}
        rest = [p for p in network.parameters() if id(p) not in chosen]
        groups: list[dict[str, Any]] = [
            {"params": hidden, "lr": learning_rate, "hidden": True},
            {"params": rest, "lr": other_learning_rate, "hidden": False},
        ]
        super().__init__([g for g in groups if g["params"]], {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                direction = (self._hidden if group["hidden"] else self._adam)(p, p.grad)
                p.add_(direction, alpha=-group["lr"])
        return loss

    def _hidden(self, p: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Orthogonalised Nesterov momentum of a kernel."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        momentum = state["momentum"].mul_(self.momentum).add_(gradient)
        matrix = (gradient + self.momentum * momentum).reshape(p.shape[0], -1)
        out: torch.Tensor = (orthogonalise(matrix) * (0.2 * max(matrix.shape) ** 0.5)).reshape(p.shape)
        return out

    def _adam(self, p: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Bias-corrected first moment over the root of the second."""
        state = self.state[p]
        if "count" not in state:
            state.update(count=0, first=torch.zeros_like(p), second=torch.zeros_like(p))
        state["count"] += 1
        one, two = self.betas
        state["first"].lerp_(gradient, 1 - one)
        state["second"].mul_(two).addcmul_(gradient, gradient, value=1 - two)
        first = state["first"] / (1 - one ** state["count"])
        second = state["second"] / (1 - two ** state["count"])
        out: torch.Tensor = first / (second.sqrt() + 1e-8)
        return out
