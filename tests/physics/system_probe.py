"""A probe that records which projectors, matrices, grids, widths and attenuation each side of a simulation uses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from nmsynth.physics import attenuation, gamma_camera, pet, pet_reconstruction
from nmsynth.physics.projector import SliceProjector
from nmsynth.physics.psf import GaussianBlur
from nmsynth.physics.spect import SpectProjector
from nmsynth.physics.time_of_flight import TimeOfFlightProjector

GENERATION, RECONSTRUCTION = "generation", "reconstruction"


class SystemProbe:
    """Notes what runs while data are generated and while they are reconstructed; objects are kept, so ids stay theirs.

    PET: data are made in ``pet._expected_trues``; the reconstruction is ``pet._believed_survival`` and
    ``pet_reconstruction.osem``.
    SPECT: ``gamma_camera._projected``, and whatever runs within :meth:`reconstructing`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._side: str | None = None
        self.projectors: dict[str, list[Any]] = {GENERATION: [], RECONSTRUCTION: []}
        self.widths: dict[str, set[float]] = {GENERATION: set(), RECONSTRUCTION: set()}
        self.responses: dict[str, list[Any]] = {GENERATION: [], RECONSTRUCTION: []}
        self.survival: dict[str, list[torch.Tensor]] = {GENERATION: [], RECONSTRUCTION: []}
        for kind in (SliceProjector, TimeOfFlightProjector, SpectProjector):
            for name in ("forward", "adjoint"):
                monkeypatch.setattr(kind, name, self._noting(getattr(kind, name), self._note_projector))
        monkeypatch.setattr(GaussianBlur, "forward", self._noting(GaussianBlur.forward, self._note_width))
        monkeypatch.setattr(SpectProjector, "_widths", self._noting_response(SpectProjector._widths))
        factors = attenuation.attenuation_factors
        monkeypatch.setattr(pet, "attenuation_factors", self._keeping(factors))
        monkeypatch.setattr(pet, "_expected_trues", self._within(pet._expected_trues, GENERATION))
        monkeypatch.setattr(pet, "_believed_survival", self._within(pet._believed_survival, RECONSTRUCTION))
        monkeypatch.setattr(pet_reconstruction, "osem", self._within(pet_reconstruction.osem, RECONSTRUCTION))
        monkeypatch.setattr(gamma_camera, "_projected", self._within(gamma_camera._projected, GENERATION))

    @contextmanager
    def _on(self, side: str) -> Iterator[None]:
        before, self._side = self._side, side
        try:
            yield
        finally:
            self._side = before

    @contextmanager
    def reconstructing(self) -> Iterator[None]:
        with self._on(RECONSTRUCTION):
            yield

    def _within(self, function: Callable[..., Any], side: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            with self._on(side):
                return function(*args, **named)

        return run

    def _noting(self, method: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(owner: Any, x: torch.Tensor) -> Any:
            if self._side is not None:
                note(owner)
            return method(owner, x)

        return run

    def _noting_response(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(owner: Any, response: Any) -> Any:
            if self._side is not None and response is not None:
                self.responses[self._side].append(response)
            return method(owner, response)

        return run

    def _keeping(self, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        @functools.wraps(function)
        def run(*args: Any) -> torch.Tensor:
            result = function(*args)
            if self._side is not None:
                self.survival[self._side].append(result)
            return result

        return run

    def _note_projector(self, projector: Any) -> None:
        if all(projector is not known for known in self.projectors[self._side]):
            self.projectors[self._side].append(projector)
            if isinstance(projector, SpectProjector) and projector._survival is not None:
                self.survival[self._side].append(projector._survival)

    def _note_width(self, blur: GaussianBlur) -> None:
        if blur.fwhm_mm[0]:
            self.widths[self._side].add(round(float(blur.fwhm_mm[0]), 6))

    def shared_parts(self) -> list[str]:
        """What both sides use; empty for an honest simulation. Nothing recorded on a side counts as shared."""
        made, believed = self.projectors[GENERATION], self.projectors[RECONSTRUCTION]
        if not made or not believed:
            return ["nothing was recorded"]
        found = []
        if any(a is b for a in made for b in believed):
            found.append("projector")
        if {p for a in made for p in _storages(a)} & {p for b in believed for p in _storages(b)}:
            found.append("matrix")
        if min(a.n_pixels for a in made) < 2 * max(b.n_pixels for b in believed):
            found.append("grid")
        same_response = any(a == b for a in self.responses[GENERATION] for b in self.responses[RECONSTRUCTION])
        if same_response or (self.widths[GENERATION] & self.widths[RECONSTRUCTION]):
            found.append("resolution")
        pairs = [(a, b) for a in self.survival[GENERATION] for b in self.survival[RECONSTRUCTION]]
        if any(a.data_ptr() == b.data_ptr() or (a.shape == b.shape and torch.equal(a, b)) for a, b in pairs):
            found.append("attenuation")
        return found


def _storages(projector: Any) -> list[int]:
    """Addresses of the numbers of a projector's matrices."""
    matrices = [projector._turn] if isinstance(projector, SpectProjector) else []
    matrices += [projector._matrix] if isinstance(projector, SliceProjector) else []
    matrices += projector._matrices if isinstance(projector, TimeOfFlightProjector) else []
    return [matrix.values().data_ptr() for matrix in matrices]
