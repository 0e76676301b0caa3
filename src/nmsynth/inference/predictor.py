"""A model ready to use: its network, run tile by tile."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import EnvelopeError, InputError, NumericalError, RefusalError
from nmsynth.inference.backend import Backend, make_backend
from nmsynth.inference.card_model import CardModel, Progress
from nmsynth.inference.tiling import (
    FloatImage,
    Tile,
    pad,
    padding_for,
    plan_tiles,
    tile_voxels_in_memory,
    triple,
)
from nmsynth.models.card import SIGNIFICANCE_LEVELS
from nmsynth.models.envelope import spacing_violations
from nmsynth.models.package import load_network, read_card
from nmsynth.models.registry import find_model

if TYPE_CHECKING:
    from torch import nn

    from nmsynth.inference.method_model import MethodModel

HEADS = ("mean", "contrast", "evidence")
"""Outputs of the network, in their order."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Model(CardModel):
    """A network with its card; reusable, and not to be used by two threads at once.

    Parameters
    ----------
    card
        What the model is.
    network
        Takes ``(1, 1, z, y, x)``, returns ``(1, 3, z, y, x)``; see :mod:`nmsynth.models.unet`.
    """

    network: nn.Module
    last_run: dict[str, Any] = field(default_factory=dict, init=False)
    """How the last prediction was run: backend, device, tiles and times. JSON values."""
    _backends: dict[tuple[str, str, int | None, str], Backend] = field(default_factory=dict, init=False, repr=False)

    def threshold(self, significance: str | float) -> float:
        """Evidence logit at which structure is kept, for a level of the card or a number.

        Raises
        ------
        InputError
            If it is neither.
        """
        if isinstance(significance, str):
            if significance not in self.card.significance:
                raise InputError(f"significance must be {', '.join(SIGNIFICANCE_LEVELS)}; found {significance!r}.")
            return self.card.significance[significance]
        if not math.isfinite(significance):
            raise InputError(f"significance must be a level or a finite logit; found {significance}.")
        return float(significance)

    def predict(
        self,
        array: npt.ArrayLike,
        spacing_mm: tuple[float, float, float] | None = None,
        *,
        significance: str | float = "standard",
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        max_tile_voxels: int | None = None,
        heads: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, FloatImage]:
        """Run the network over an image of any size.

        Twice the input gives twice the output. Negative values go in as they are; the output is not clipped.

        Parameters
        ----------
        array
            Image, shape ``(z, y, x)``, in one of the units of the envelope.
        spacing_mm
            Voxel size along ``(z, y, x)`` [mm]; checked against the envelope where given.
        significance
            Level of evidence at which structure is kept, ``"low"``, ``"standard"``, ``"high"``, or an evidence logit.
        backend, device, threads, precision
            As :func:`nmsynth.inference.backend.make_backend` takes them.
        max_tile_voxels
            Most voxels of a tile, margin included; by memory when unset. Tiles do not change the result.
        heads
            Also return ``mean``, ``contrast`` and ``evidence``.
        progress
            Told after each tile.

        Returns
        -------
            ``image``, and the heads if asked for, shape ``(z, y, x)``, float32, unit of the input.

        Raises
        ------
        InputError
            If the array is not three-dimensional or not finite.
        EnvelopeError
            If the voxel size is outside the envelope.
        NumericalError
            If the network gives NaN or infinity.
        """
        image = np.asarray(array, dtype=np.float32)
        if image.ndim != 3 or not image.size or not np.isfinite(image).all():
            raise InputError(f"The image must have axes (z, y, x) and finite values; found shape {image.shape} or NaN.")
        if spacing_mm is not None and (found := spacing_violations(self.envelope, spacing_mm)):
            raise EnvelopeError(f"The image is outside what {self.name} was tested for: {'; '.join(found)}.")
        threshold = self.threshold(significance)
        key = (backend, device, threads, precision)
        if key not in self._backends:
            self._backends[key] = make_backend(
                self.network, backend=backend, device=device, threads=threads, precision=precision
            )
        chosen = self._backends[key]
        run = _Run(self, chosen, threshold, heads, progress)
        limit = tile_voxels_in_memory(chosen.tile_voxels) if max_tile_voxels is None else max_tile_voxels
        outputs = run.over(image, limit, may_raise_limit=max_tile_voxels is None)
        self.last_run = run.record
        return outputs


class _Run:
    """One pass of a backend over an image."""

    def __init__(
        self, model: Model, backend: Backend, threshold: float, heads: bool, progress: Progress | None
    ) -> None:
        self.model = model
        self.backend = backend
        self.threshold = threshold
        self.names = ("image", *HEADS) if heads else ("image",)
        self.progress = progress
        self.margin = triple(model.network.margin)  # type: ignore[arg-type]
        self.stride = triple(model.network.stride)  # type: ignore[arg-type]
        self.record: dict[str, Any] = {
            "backend": backend.name,
            "device": backend.device,
            "precision": backend.precision,
            "axial_padding": model.card.axial_padding,
            "threshold": threshold,
        }

    def over(self, image: FloatImage, limit: int, *, may_raise_limit: bool) -> dict[str, FloatImage]:
        """Outputs for an image; tiles are made smaller until memory suffices."""
        started = time.perf_counter()
        axial = self.model.card.axial_padding
        shape = triple(image.shape)
        padding = padding_for(shape, margin=self.margin, stride=self.stride, axial=axial)
        exponent = _exponent(image)
        # A power of two changes no bit of a mantissa; it keeps any unit within the range of fp32.
        padded = pad(np.ldexp(image, -exponent), padding, axial=axial)
        inner = tuple(slice(before, before + n) for (before, _), n in zip(padding, shape, strict=True))
        least = plan_smallest(triple(padded.shape), self.margin, self.stride)
        limit = max(limit, least) if may_raise_limit else limit
        while True:
            tiles = plan_tiles(
                triple(padded.shape),
                margin=self.margin,
                stride=self.stride,
                max_voxels=limit,
            )
            try:
                outputs = self._tiles(padded, tiles)
                break
            except MemoryError:
                voxels = _size(tiles[0])
                if voxels <= least:
                    raise RefusalError(
                        f"Memory must hold a tile of {voxels} voxels, the smallest this network can use; it does not. "
                        "Close other programs, or use a machine with more memory."
                    ) from None
                limit = max(least, voxels // 2)
                _log.warning("not enough memory for a tile of %d voxels; going on with %d", voxels, limit)
        self.record |= {
            "tile": [s.stop - s.start for s in tiles[0].window],
            "n_tiles": len(tiles),
            "network_s": round(time.perf_counter() - started, 3),
        }
        scaled = {n: v[inner] if n == "evidence" else np.ldexp(v[inner], exponent) for n, v in outputs.items()}
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in scaled.items()}

    def _tiles(self, padded: FloatImage, tiles: tuple[Tile, ...]) -> dict[str, FloatImage]:
        """Outputs for a padded image, tile by tile."""
        import torch

        from nmsynth.models.fusion import fuse

        outputs = {name: np.empty(padded.shape, dtype=np.float32) for name in self.names}
        for index, tile in enumerate(tiles):
            heads = self.backend(padded[tile.window])[(slice(None), *tile.core_in_window)]
            if not np.isfinite(heads).all():
                raise NumericalError(
                    f"The network of {self.model.name} gave NaN or infinity in tile {index + 1} of {len(tiles)}; "
                    "nothing was written. Verify the model and look at the input's values."
                )
            outputs["image"][tile.core] = fuse(torch.from_numpy(heads)[None], self.threshold)[0, 0].numpy()
            for channel, name in enumerate(HEADS):
                if name in outputs:
                    outputs[name][tile.core] = heads[channel]
            if index == 0:
                self.record["first_voxel_time"] = time.time()
                _log.info("first voxel computed")
            if self.progress is not None:
                self.progress(index + 1, len(tiles))
        return outputs


def plan_smallest(shape: tuple[int, int, int], margin: tuple[int, int, int], stride: tuple[int, int, int]) -> int:
    """Voxels of the smallest tile that an image of a padded shape can be cut into."""
    return math.prod(min(n, 2 * (-(-m // s) * s) + s) for n, m, s in zip(shape, margin, stride, strict=True))


def load_model(name_or_path: str | Path, *, allow_import: bool = False) -> Model | MethodModel:
    """Load a model by name, or a package by path.

    Parameters
    ----------
    name_or_path
        Of a shipped model, one in a folder of ``NMSYNTH_MODELS``, the folder of a package, or ``hub:OWNER/NAME``.
    allow_import
        Whether a package may name a class of another package, which is then imported: it can run any program.

    Returns
    -------
        A network that keeps grid and unit of its one input, or a method with its plan, as the card says.

    Raises
    ------
    InputError
        If there is none of that name; the message gives the nearest.
    UnsafeInputError
        If its files are another format, damaged or changed.
    """
    path = find_model(name_or_path)
    card = read_card(path)
    if card.network is not None:
        return Model(card, load_network(path, card))
    from nmsynth.inference.method_model import MethodModel
    from nmsynth.models.method_package import load_method

    return MethodModel(card, load_method(path, card, allow_import=allow_import))


def load_network_model(name_or_path: str | Path) -> Model:
    """Load a model that is a network and no method, by name or path; errors as of :func:`load_model`.

    Raises
    ------
    InputError
        If the model is a method.
    """
    path = find_model(name_or_path)
    card = read_card(path)
    return Model(card, load_network(path, card))


def _exponent(image: FloatImage) -> int:
    """Power of two just above the largest magnitude."""
    return int(np.frexp(max(float(image.max()), -float(image.min())))[1])


def _size(tile: Tile) -> int:
    """Voxels of a tile, margin included."""
    return math.prod(s.stop - s.start for s in tile.window)
