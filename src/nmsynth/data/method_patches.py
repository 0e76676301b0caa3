"""Batches of random patches of prepared cases: a function of the seed and the number of the batch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from nmsynth.core.plan import Plan
from nmsynth.data.prepared import PreparedCase, target_gain
from nmsynth.data.warp import Warp, is_warped, warp_stack

Batch = dict[str, torch.Tensor]
FloatArray = npt.NDArray[np.float32]

AXES = ("z", "y", "x")
MOST_PLACES = 20_000
"""Voxels of the body, or of a region, of which one is drawn as the centre of a patch."""


class MethodBatches(IterableDataset[Batch]):
    """Endless batches; see :class:`nmsynth.models.method.MethodBatch` for what is in one.

    Batch ``b`` of process ``r`` of ``n`` is drawn from ``(seed, b n + r)`` alone, so that a training that is resumed,
    or read by another number of workers, sees the same data.

    Parameters
    ----------
    cases
        Of the training split; where ``paired``, each with a source and a target.
    plan
        Patch, augmentation, batch size and seed.
    start
        Batches already drawn, to resume.
    paired
        Whether source and target come from one case; else from two drawn apart, the source from those that have one and
        the target from those that have one.
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
        self.sources = list(cases) if paired else [case for case in cases if case.has_source]
        self.targets = list(cases) if paired else [case for case in cases if case.has_target]
        self.plan = plan
        self.start = start
        self.paired = paired
        self.rank = rank
        self.world = world
        self._places: dict[str, list[npt.NDArray[np.int32]]] = {}

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
        parts = [self._patch(self.sources, rng) for _ in range(self.plan.schedule.batch)]
        if not self.paired:
            others = [self._patch(self.targets, rng) for _ in parts]
            for part, other in zip(parts, others, strict=True):
                part["target"] = other["target"]
        # stacked by numpy, whose one thread leaves the cores to the network
        return {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in parts[0]}

    def _patch(self, cases: Sequence[PreparedCase], rng: np.random.Generator) -> dict[str, FloatArray]:
        """One patch with its conditions; of a case of one side, what it has stands for the other, which is not used."""
        case = cases[int(rng.integers(len(cases)))]
        n = len(case.layers)
        level = int(rng.integers(len(case.levels))) if case.has_source else 0
        layers, told = case.levels[level] if case.has_source else ((n - 3,), ())
        stack = self._crop(case, [*layers, n - 3 if case.has_target else layers[0], n - 2, n - 1], rng)
        stack = self._flip(stack, rng)
        source = stack[: len(layers)]
        if self.plan.augmentation.source_noise:
            noise = rng.standard_normal(source.shape).astype(np.float32)
            source = source + np.float32(self.plan.augmentation.source_noise) * noise
        target, weight, labels = (stack[k : k + 1] for k in range(len(layers), len(layers) + 3))
        gain = target_gain(self.plan, case, level)
        target = target if gain == 1.0 else np.float32(gain) * target
        batch = {"source": source, "target": target, "weight": weight, "labels": labels}
        if self.plan.spatial_dims == 2:
            batch = _as_slices(batch, self.plan.context)
        return {**batch, "condition": self._told(told, rng)}

    def _told(self, told: Sequence[float], rng: np.random.Generator) -> FloatArray:
        """Conditions, of which optional ones are left unsaid now and then."""
        numbers = np.asarray(told, dtype=np.float32)
        share = self.plan.augmentation.condition_dropout
        if not share:
            return numbers
        for condition, columns in self.plan.condition_columns:
            if condition.optional and rng.random() < share:
                numbers[columns] = 0.0
        return numbers

    def _crop(self, case: PreparedCase, layers: list[int], rng: np.random.Generator) -> FloatArray:
        """Layers of a patch, ``(layer, z, y, x)``, turned and zoomed as the plan says."""
        size = (self.plan.patch[0] + self.plan.context - 1, *self.plan.patch[1:])
        corner = self._corner(case, size, rng)
        plain = self.plan.augmentation.plain_share
        if not is_warped(self.plan) or (plain and rng.random() < plain):
            return read_window(case.layers, layers, corner, size)
        warp = Warp.drawn(self.plan, size, rng)
        wide = [n + 2 * m for n, m in zip(size, warp.margin, strict=True)]
        start = [c - m for c, m in zip(corner, warp.margin, strict=True)]
        stack, inner = _read_inside(case.layers, layers, start, wide)
        # where the middle of the patch lies in what was read; beyond its border the sampler goes on by itself
        middle = [c + (n - 1) / 2 - a for c, n, (a, _) in zip(corner, size, inner, strict=True)]
        # of what is not a source, a network for slices sees the middle one alone
        return warp_stack(stack, warp, middle, size, target_slices=1 if self.plan.spatial_dims == 2 else None)

    def _corner(self, case: PreparedCase, size: tuple[int, ...], rng: np.random.Generator) -> list[int]:
        """Where a patch starts: at a labelled region, anywhere that its centre is in the body, or anywhere at all."""
        regions = self._regions(case)
        in_region = rng.random() < self.plan.schedule.region_share and len(regions) > 1
        places = regions[int(rng.integers(1, len(regions)))] if in_region else regions[0]
        shape = case.layers.shape[1:]
        place = int(places[int(rng.integers(len(places)))])
        outside = self.plan.schedule.outside_share
        if outside and rng.random() < outside:
            place = int(rng.integers(math.prod(shape)))
        centre = np.unravel_index(place, shape)
        corner = []
        for axis, (c, n, whole) in enumerate(zip(centre, size, shape, strict=True)):
            jitter = int(rng.integers(-(n // 4), n // 4 + 1))
            beyond = self.plan.context // 2 if axis == 0 and self.plan.schedule.learns_ends else 0
            # where the image is smaller than the patch, it lies in its middle
            fits = whole + 2 * beyond >= n
            corner.append(int(np.clip(c + jitter - n // 2, -beyond, whole + beyond - n)) if fits else (whole - n) // 2)
        return corner

    def _regions(self, case: PreparedCase) -> list[npt.NDArray[np.int32]]:
        """Voxels of the body, then of each labelled region, as indices into the flat image, found once."""
        if case.case_id not in self._places:
            body = _some(np.flatnonzero(np.asarray(case.weight) >= 1.0))
            labels = np.asarray(case.labels).ravel()
            labelled = np.flatnonzero(labels > 0)
            numbers = labels[labelled]
            whole = _some(np.arange(labels.size)) if not len(body) else body
            self._places[case.case_id] = [whole, *(_some(labelled[numbers == n]) for n in np.unique(numbers))]
        return self._places[case.case_id]

    def _flip(self, stack: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Flip each of the plan's axes half the time."""
        for axis in self.plan.augmentation.flip_axes:
            if rng.random() < 0.5:
                stack = np.flip(stack, 1 + AXES.index(axis))
        return stack


def _some(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Places evenly thinned out, so that large images do not fill the memory with their voxels' numbers."""
    return places[:: max(1, -(-len(places) // MOST_PLACES))].astype(np.int32)


def read_window(layers: FloatArray, chosen: Sequence[int], start: Sequence[int], size: Sequence[int]) -> FloatArray:
    """A window of some layers, ``(layer, z, y, x)``; beyond the border images go on, weights and labels are 0.

    Parameters
    ----------
    layers
        Shape ``(layer, z, y, x)``; the last two that are chosen are weight and labels.
    chosen
        Layers that are read.
    start, size
        Of the window along ``(z, y, x)``; it may reach beyond the image.
    """
    stack, inner = _read_inside(layers, chosen, start, size)
    padding = [(a - s, s + w - b) for (a, b), s, w in zip(inner, start, size, strict=True)]
    if any(p > 0 for pair in padding for p in pair):
        images = np.pad(stack[:-2], [(0, 0), *padding], mode="edge")
        stack = np.concatenate([images, np.pad(stack[-2:], [(0, 0), *padding])])
    return stack


def _read_inside(
    layers: FloatArray, chosen: Sequence[int], start: Sequence[int], size: Sequence[int]
) -> tuple[FloatArray, list[tuple[int, int]]]:
    """The part of a window that lies in the image, and where that is along each axis."""
    inner = [(max(0, a), min(n, a + w)) for a, w, n in zip(start, size, layers.shape[1:], strict=True)]
    (z0, z1), (y0, y1), (x0, x1) = inner
    stack = np.empty((len(chosen), z1 - z0, y1 - y0, x1 - x0), dtype=np.float32)
    for k, layer in enumerate(chosen):
        stack[k] = layers[layer, z0:z1, y0:y1, x0:x1]
    return stack, inner


def _as_slices(batch: dict[str, FloatArray], context: int) -> dict[str, FloatArray]:
    """A patch of one slice, ``(channel, y, x)``; the sources' slices become channels, source by source."""
    source = batch["source"]
    flat = {name: value[:, context // 2] for name, value in batch.items()}
    flat["source"] = source.reshape(-1, *source.shape[2:])
    return flat
