"""A method ready to use: its network with the plan that says what goes in and comes out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.plan import Plan
from nmsynth.inference.backend import available_threads, resolve_device
from nmsynth.inference.card_model import CardModel, Progress
from nmsynth.inference.tiling import FloatImage

if TYPE_CHECKING:
    from nmsynth.models.method import Method


@dataclass(eq=False)
class MethodModel(CardModel):
    """A method with its card; reusable, and not to be used by two threads at once.

    Parameters
    ----------
    card
        What the model is; it holds the plan.
    method
        In evaluation mode.
    """

    method: Method
    last_run: dict[str, Any] = field(default_factory=dict, init=False)
    """How the last prediction was run: backend, device, windows and times. JSON values."""

    @property
    def is_stochastic(self) -> bool:
        """Whether it draws samples."""
        return self.method.stochastic

    @property
    def plan(self) -> Plan:
        """By which the method was trained.

        Raises
        ------
        InputError
            If the card has none.
        """
        if self.card.plan is None:
            raise InputError(
                f"A method needs the plan of its card; that of {self.name} has none. Save it with its plan."
            )
        return self.card.plan

    @property
    def plan_sha256(self) -> str:
        """Hash of the plan as JSON."""
        return hashlib.sha256(self.plan.model_dump_json().encode()).hexdigest()

    def predict(
        self,
        source: FloatImage,
        condition: npt.ArrayLike,
        *,
        seed: int = 0,
        n_samples: int = 4,
        sampling_steps: int | None = None,
        overlap: float = 0.5,
        device: str = "cpu",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[FloatImage, list[FloatImage]]:
        """Run the method over normalised sources of any size.

        Parameters
        ----------
        source
            Normalised sources on the plan's grid, shape ``(source, z, y, x)``.
        condition
            The numbers that the network is told, shape ``(condition,)``.
        seed, n_samples, overlap
            As of :class:`~nmsynth.inference.method_predictor.PredictionSettings`.
        sampling_steps
            Network evaluations of a method that samples in steps; as it was trained when unset.
        device, threads
            Where; ``cpu``, ``cuda:1`` or ``auto``.
        progress
            Told after each window.

        Returns
        -------
            The image, and the samples of which it is the mean (none of a deterministic method), normalised, shape
            ``(z, y, x)``.

        Raises
        ------
        InputError
            If the method does not sample in steps and a number of steps is given.
        NumericalError
            If the network gives NaN or infinity.
        """
        from nmsynth.inference.method_predictor import PredictionSettings, predict_method

        started = time.perf_counter()
        n_windows = [0]

        def counted(done: int, total: int) -> None:
            n_windows[0] = total
            if progress is not None:
                progress(done, total)

        chosen = resolve_device(device)
        settings = PredictionSettings(seed=seed, n_samples=n_samples, overlap=overlap, device=chosen)
        with _threads(threads), _steps(self.method, sampling_steps) as steps:
            answer = predict_method(self.method.to(chosen), self.plan, source, condition, settings, progress=counted)
        self.last_run = {
            "backend": "torch",
            "device": chosen,
            "precision": "fp32",
            "grid": list(source.shape[1:]),
            "n_windows": n_windows[0] // max(1, len(answer[1])),
            "overlap": overlap,
            "n_samples": len(answer[1]),
            "sampling_steps": steps,
            "network_s": round(time.perf_counter() - started, 3),
        }
        return answer


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Threads of torch for one call; torch keeps them for the whole process, so they are put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or available_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _steps(method: Method, sampling_steps: int | None) -> Iterator[int | None]:
    """Number of sampling steps for one call, or as it was trained; ``None`` of a method without."""
    trained: int | None = getattr(method, "sampling_steps", None)
    if sampling_steps is None:
        yield trained
        return
    if trained is None:
        raise InputError(
            "The setting sampling_steps is for models that sample in steps; this one answers in one. Leave it out."
        )
    method.sampling_steps = sampling_steps  # type: ignore[assignment]
    try:
        yield sampling_steps
    finally:
        method.sampling_steps = trained  # type: ignore[assignment]
