"""The base of linear operators: a forward map and its exact adjoint."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class LinearOperator(ABC):
    """A linear map between images or sinograms, with its adjoint.

    Device and dtype follow the argument. ``<A x, y> == <x, A' y>`` holds to rounding.
    """

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the operator, ``A x``."""

    @abstractmethod
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply the adjoint, ``A' y``."""

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """Compose: ``(A @ B) x = A (B x)``."""
        return ComposedOperator(self, other)


class ComposedOperator(LinearOperator):
    """The operator ``A B``."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        self.outer = outer
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply ``A (B x)``."""
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply ``B' (A' y)``."""
        return self.inner.adjoint(self.outer.adjoint(y))
