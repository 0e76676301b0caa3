"""One step of a model as a graph that other programs can run, and proof that it gives the same numbers.

A graph is the network alone: normalised images in, a normalised image out. Units, grids and normalisation stand in the
card, which every export carries.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nmsynth.core.errors import NumericalError, UnsafeInputError
from nmsynth.models.card import Card
from nmsynth.models.method import Method
from nmsynth.models.method_package import load_method
from nmsynth.models.package import load_network

FloatArray = npt.NDArray[np.float32]
Runner = Callable[[Mapping[str, FloatArray]], FloatArray]
"""Runs an exported graph on arrays by name."""

LARGEST_DIFFERENCE = 1e-4
"""Over the largest magnitude of the answer; an export that differs by more is not written."""
EXAMPLE_SIZE = {2: 64, 3: 24}
"""Voxels along an axis with which a graph is recorded, by the number of dimensions; fewer where a patch has fewer."""


class MethodStep(nn.Module):
    """A method as a network of as many arguments as it has inputs.

    Parameters
    ----------
    method
        In evaluation mode.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.names = ["source"]
        self.names += ["condition"] if method.setting.n_conditions else []
        self.names += ["noise"] if method.stochastic else []

    def forward(self, source: torch.Tensor, *further: torch.Tensor) -> torch.Tensor:
        """Answer of the method, ``(batch, 1, ...)``."""
        given = dict(zip(self.names[1:], further, strict=True))
        condition = given.get("condition", source.new_zeros((source.shape[0], 0)))
        answer: torch.Tensor = self.method(source, condition, given.get("noise"))
        return answer


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What is exported: a network, the names of its inputs and an example of each.

    ``any_size`` and ``any_batch`` say whether the graph holds for images of any size and for any number of them, as far
    as was tried, or only as in the example. ``method`` is ``None`` for a network that takes one image.
    """

    card: Card
    network: nn.Module
    method: Method | None
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    any_size: bool
    any_batch: bool

    def example(self, sizes: tuple[int, ...] | None = None, *, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """Random inputs for an image of these sizes."""
        return example_inputs(self.method, sizes or self.sizes, batch=batch)

    @property
    def spatial_axes(self) -> tuple[str, ...]:
        """Names of the axes after batch and channel."""
        return ("z", "y", "x")[-len(self.sizes) :]


def load_step(folder: Path, card: Card, *, allow_import: bool = False) -> Step:
    """Load a model and find out whether its graph holds for images of any size.

    Raises
    ------
    InputError, UnsafeInputError
        As loading does, or if the model cannot be recorded as a graph.
    """
    if card.network is not None:
        network = load_network(folder, card)
        strides: Any = network.stride
        return Step(
            card, network, None, ("image",), tuple(max(8, 4 * int(s)) for s in strides), any_size=True, any_batch=True
        )
    method = load_method(folder, card, allow_import=allow_import)
    step = MethodStep(method).eval()
    most = EXAMPLE_SIZE[method.setting.spatial_dims]
    # one more than a patch, so that what is padded is recorded too
    odd = tuple(min(n, most) + 1 for n in method.setting.patch)
    names = tuple(step.names)
    graph = _trace(step, example_inputs(method, odd), card.name)
    smaller, larger = tuple(max(2, 2 * n // 3) for n in odd), tuple(n + 6 for n in odd)
    any_size = all(_holds(graph, step, example_inputs(method, sizes)) for sizes in (smaller, larger))
    sizes = odd if any_size else tuple(method.setting.patch)
    graph = graph if any_size else _trace(step, example_inputs(method, sizes), card.name)
    any_batch = _holds(graph, step, example_inputs(method, sizes, batch=2))
    return Step(card, step, method, names, sizes, any_size, any_batch)


def example_inputs(method: Method | None, sizes: tuple[int, ...], *, batch: int = 1) -> tuple[torch.Tensor, ...]:
    """Random inputs of a step, always the same for the same sizes."""
    generator = torch.Generator().manual_seed(sum(sizes) + batch)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    if method is None:
        return (draw(batch, 1, *sizes),)
    inputs = [draw(batch, method.setting.n_sources, *sizes)]
    if method.setting.n_conditions:
        inputs.append(draw(batch, method.setting.n_conditions))
    if method.stochastic:
        inputs.append(draw(batch, *method.noise_shape(sizes)))
    return tuple(inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Without gradients and without the warnings of tracing: whether a graph holds is tested instead."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def traced(step: Step) -> Any:
    """The graph as TorchScript.

    Raises
    ------
    UnsafeInputError
        If the network cannot be recorded.
    """
    return _trace(step.network, step.example(), step.card.name)


def _trace(network: nn.Module, example: tuple[torch.Tensor, ...], name: str) -> Any:
    """Record a network at an example."""
    try:
        with quiet():
            graph: Any = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UnsafeInputError(f"The network of {name} cannot be recorded as a graph: {reason}.") from None
    return graph


def _holds(graph: Any, network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether a graph answers as the network does."""
    with quiet():
        try:
            return relative_difference(graph(*inputs).numpy(), network(*inputs).numpy()) <= LARGEST_DIFFERENCE
        except (RuntimeError, ValueError):
            return False


def relative_difference(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Largest difference over the largest magnitude of what is expected; infinite where shapes differ."""
    a, b = np.asarray(found), np.asarray(expected)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-12))


def check_parity(step: Step, run: Runner, *, kind: str) -> float:
    """Largest relative difference of an exported graph and the network, at two sizes where it takes any.

    Raises
    ------
    NumericalError
        If it is above :data:`LARGEST_DIFFERENCE`.
    """
    tried = [step.example()]
    if step.any_size:
        strides: Any = getattr(step.network, "stride", (2,) * len(step.sizes)) if step.method is None else None
        grown = tuple(n + (int(strides[k]) if strides else 3) for k, n in enumerate(step.sizes))
        tried.append(step.example(grown))
    worst = 0.0
    for inputs in tried:
        with quiet():
            expected = step.network(*inputs).numpy()
        given = {name: value.numpy() for name, value in zip(step.names, inputs, strict=True)}
        worst = max(worst, relative_difference(run(given), expected))
    if not worst <= LARGEST_DIFFERENCE:
        raise NumericalError(
            f"The {kind} of {step.card.name} must give what the network gives; it differs by {worst:.1e} of the "
            "largest value. Nothing was written."
        )
    return worst
