"""Batches of random patches of prepared cases: a function of the seed and the number of the batch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from torch.utils.data import IterableDataset, get_worker_info

from nmsynth.core.plan import Plan
from nmsynth.data.prepared import PreparedCase

Batch = dict[str, torch.Tensor]
FloatArray = npt.NDArray[np.float32]

AXES = ("z", "y", "x")


class MethodBatches(IterableDataset[Batch]):
    """Endless batches; see :class:`nmsynth.models.method.MethodBatch` for what is in one.

    Batch ``b`` of process ``r`` of ``n`` is drawn from ``(seed, b n + r)`` alone, so that a training that is resumed,
    or read by another number of workers, sees the same data.

    Parameters
    ----------
    cases
        Of the training split.
    plan
        Patch, augmentation, batch size and seed.
    start
        Batches already drawn, to resume.
    paired
        Whether source and target come from one case; else from two drawn apart.
    rank, world
        Number of this process, and of all.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        plan: Plan,
        *,
        start: int = 0,
        paired: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.cases = list(cases)
        self.plan = plan
        self.start = start
        self.paired = paired
        self.rank = rank
        self.world = world
        self._places: dict[str, list[npt.NDArray[np.int64]]] = {}

    def __iter__(self) -> Iterator[Batch]:
        """Batches in their order, or every ``n``-th of them for each of ``n`` workers."""
        worker = get_worker_info()
        number, step = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while True:
            yield self.draw(number)
            number += step

    def draw(self, number: int) -> Batch:
        """One batch."""
        rng = np.random.default_rng((self.plan.schedule.seed, number * self.world + self.rank))
        parts = [self._patch(rng) for _ in range(self.plan.schedule.batch)]
        if not self.paired:
            others = [self._patch(rng) for _ in parts]
            for part, other in zip(parts, others, strict=True):
                part["target"] = other["target"]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    def _patch(self, rng: np.random.Generator) -> Batch:
        """One patch with its conditions."""
        case = self.cases[int(rng.integers(len(self.cases)))]
        layers, told = case.levels[int(rng.integers(len(case.levels)))]
        n = len(case.layers)
        stack = self._crop(case, [*layers, n - 3, n - 2, n - 1], rng)
        stack = self._flip(stack, rng)
        source = stack[: len(layers)]
        if self.plan.augmentation.source_noise:
            noise = rng.standard_normal(source.shape).astype(np.float32)
            source = source + np.float32(self.plan.augmentation.source_noise) * noise
        target, weight, labels = (stack[k : k + 1] for k in range(len(layers), len(layers) + 3))
        batch = {"source": source, "target": target, "weight": weight, "labels": labels}
        if self.plan.spatial_dims == 2:
            batch = _as_slices(batch, self.plan.context)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)) for name, v in batch.items()}
        tensors["condition"] = torch.tensor(told, dtype=torch.float32)
        return tensors

    def _crop(self, case: PreparedCase, layers: list[int], rng: np.random.Generator) -> FloatArray:
        """Layers of a patch, ``(layer, z, y, x)``, turned and zoomed as the plan says."""
        augmentation = self.plan.augmentation
        size = (self.plan.patch[0] + self.plan.context - 1, *self.plan.patch[1:])
        warped = augmentation.rotation_degrees > 0 or augmentation.zoom > 0 or augmentation.shift_mm > 0
        margin = _margin(self.plan, size) if warped else (0, 0, 0)
        wide = tuple(n + 2 * m for n, m in zip(size, margin, strict=True))
        corner = self._corner(case, size, rng)
        start = [c - m for c, m in zip(corner, margin, strict=True)]
        stack = read_window(case.layers, layers, start, wide)
        return _warp(stack, self.plan, size, rng) if warped else stack

    def _corner(self, case: PreparedCase, size: tuple[int, ...], rng: np.random.Generator) -> list[int]:
        """Where a patch starts: at a labelled region, or anywhere that its centre is in the body."""
        regions = self._regions(case)
        in_region = rng.random() < self.plan.schedule.region_share and len(regions) > 1
        places = regions[int(rng.integers(1, len(regions)))] if in_region else regions[0]
        centre = places[int(rng.integers(len(places)))]
        jitter = [int(rng.integers(-(n // 4), n // 4 + 1)) for n in size]
        room = [max(0, s - n) for s, n in zip(case.layers.shape[1:], size, strict=True)]
        # where the image is smaller than the patch, it lies in its middle
        least = [min(0, (s - n) // 2) for s, n in zip(case.layers.shape[1:], size, strict=True)]
        return [
            int(np.clip(c + j - n // 2, 0, r)) if r or not low else low
            for c, j, n, r, low in zip(centre, jitter, size, room, least, strict=True)
        ]

    def _regions(self, case: PreparedCase) -> list[npt.NDArray[np.int64]]:
        """Voxels of the body, then of each labelled region, found once."""
        if case.case_id not in self._places:
            body = np.argwhere(np.asarray(case.weight) >= 1.0)
            if not len(body):
                body = np.argwhere(np.ones(case.weight.shape, dtype=bool))
            labels = np.asarray(case.labels)
            numbers = np.unique(labels[labels > 0])
            self._places[case.case_id] = [body, *(np.argwhere(labels == n) for n in numbers)]
        return self._places[case.case_id]

    def _flip(self, stack: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Flip each of the plan's axes half the time."""
        for axis in self.plan.augmentation.flip_axes:
            if rng.random() < 0.5:
                stack = np.flip(stack, 1 + AXES.index(axis))
        return stack


def read_window(layers: FloatArray, chosen: Sequence[int], start: Sequence[int], size: Sequence[int]) -> FloatArray:
    """A window of some layers, ``(layer, z, y, x)``; beyond the border images go on, weights and labels are 0.

    Parameters
    ----------
    layers
        Shape ``(layer, z, y, x)``; the last two are weight and labels.
    chosen
        Layers that are read.
    start, size
        Of the window along ``(z, y, x)``; it may reach beyond the image.
    """
    shape = layers.shape[1:]
    inner = [(max(0, a), min(n, a + w)) for a, w, n in zip(start, size, shape, strict=True)]
    window = tuple(slice(a, b) for a, b in inner)
    stack = np.stack([layers[(k, *window)] for k in chosen]).astype(np.float32)
    padding = [(a - s, s + w - b) for (a, b), s, w in zip(inner, start, size, strict=True)]
    if any(p > 0 for pair in padding for p in pair):
        images = np.pad(stack[:-2], [(0, 0), *padding], mode="edge")
        stack = np.concatenate([images, np.pad(stack[-2:], [(0, 0), *padding])])
    return stack


def _as_slices(batch: dict[str, FloatArray], context: int) -> dict[str, FloatArray]:
    """A patch of one slice, ``(channel, y, x)``; the sources' slices become channels, source by source."""
    source = batch["source"]
    flat = {name: value[:, context // 2] for name, value in batch.items()}
    flat["source"] = source.reshape(-1, *source.shape[2:])
    return flat


def _margin(plan: Plan, size: tuple[int, ...]) -> tuple[int, int, int]:
    """Voxels around a patch that turning, zooming and shifting it may reach."""
    augmentation = plan.augmentation
    half = [n / 2 for n in size]
    angle = math.radians(min(augmentation.rotation_degrees, 45.0))
    reach = 1 / (1 - augmentation.zoom)
    y = (half[1] * math.cos(angle) + half[2] * plan.spacing_mm[2] / plan.spacing_mm[1] * math.sin(angle)) * reach
    x = (half[2] * math.cos(angle) + half[1] * plan.spacing_mm[1] / plan.spacing_mm[2] * math.sin(angle)) * reach
    shifts = [augmentation.shift_mm / s for s in plan.spacing_mm]
    extra = [half[0] * (reach - 1) if size[0] > 1 else 0.0, y - half[1], x - half[2]]
    z_margin, y_margin, x_margin = (math.ceil(e + s) for e, s in zip(extra, shifts, strict=True))
    return (z_margin if size[0] > 1 else 0), y_margin, x_margin


def _warp(stack: FloatArray, plan: Plan, size: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Turn and zoom all layers of a wide window alike, shift the sources, and keep the patch in the middle."""
    augmentation = plan.augmentation
    angle = math.radians(rng.uniform(-1, 1) * augmentation.rotation_degrees)
    zoom = math.exp(rng.uniform(-1, 1) * math.log1p(augmentation.zoom))
    shift_mm = rng.uniform(-1, 1, 3) * augmentation.shift_mm * (np.asarray(size) > 1)
    spacing = np.asarray(plan.spacing_mm)
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    # rows z, y, x in voxels: from a voxel of the patch to one of the window, both counted from their middles
    matrix = np.array(
        [
            [1.0 / zoom if size[0] > 1 else 1.0, 0.0, 0.0],
            [0.0, cos, -sin * spacing[2] / spacing[1]],
            [0.0, sin * spacing[1] / spacing[2], cos],
        ]
    )
    wide = np.asarray(stack.shape[1:])
    n_sources = len(stack) - 3
    out = []
    for layers, mode, offset in (
        (slice(0, n_sources), "bilinear", shift_mm / spacing),
        (slice(n_sources, n_sources + 1), "bilinear", np.zeros(3)),
        (slice(n_sources + 1, None), "nearest", np.zeros(3)),
    ):
        out.append(_sampled(stack[layers], matrix, offset, size, wide, mode))
    return np.concatenate(out)


def _sampled(
    stack: FloatArray,
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    size: tuple[int, ...],
    wide: npt.NDArray[np.int64],
    mode: str,
) -> FloatArray:
    """Layers at the places that a matrix and an offset (z, y, x) give, by torch's sampler, whose axes are (x, y, z)."""
    # normalised coordinates with align_corners=False: u = 2 i / n, counted from the middle
    to_unit = 2.0 / np.where(wide > 1, wide, 1)
    from_unit = np.asarray(size) / 2.0
    theta = np.concatenate([to_unit[:, None] * matrix * from_unit[None, :], (to_unit * offset)[:, None]], axis=1)
    flipped = theta[::-1][:, [2, 1, 0, 3]]
    grid = F.affine_grid(torch.from_numpy(flipped.copy()).float()[None], [1, 1, *size], align_corners=False)
    sampled = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(stack))[None], grid, mode=mode, padding_mode="border", align_corners=False
    )
    return np.asarray(sampled[0].numpy(), dtype=np.float32)
