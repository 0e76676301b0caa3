"""Predictions without a network: a constant, the mean image of a population, the typical value of a tissue.

What a model that turns one modality into another must beat. Each is fitted on training patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

HU_EDGES = (
    *(-950.0, -900.0, -850.0, -800.0, -700.0, -600.0, -500.0, -400.0, -300.0, -200.0, -150.0, -120.0, -110.0, -100.0),
    *(-90.0, -80.0, -60.0, -40.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 100.0, 125.0),
    *(150.0, 200.0, 250.0, 300.0, 400.0, 500.0, 700.0, 900.0, 1200.0),
)
"""Bounds of the bins of a CT [HU], narrow where soft tissues lie."""
DEPTH_EDGES_MM = (5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 130.0)
"""Bounds of the classes of depth below the skin [mm]."""
N_BINS = 64
"""Bins of a source that is not in HU, each with as many training voxels."""
LEAST_VOXELS = 20
"""Training voxels below which a bin takes the value of the nearest one that has them."""
VOXELS_PER_CASE = 200_000
"""Most voxels of a case that are fitted to, drawn at random."""


@dataclass(frozen=True, slots=True)
class Example:
    """Source and target of a training case on one grid, shape ``(z, y, x)`` each."""

    source: FloatImage
    """Unit of the source."""
    target: FloatImage
    """Unit of the target."""
    body: Mask
    """Where is fitted."""
    depth_mm: FloatImage | None = None
    """Distance to the skin, 0 outside [mm]."""


@dataclass(frozen=True, slots=True)
class TissueLookup:
    """Median of the target for each bin of source values, and perhaps each class of depth.

    The median makes the least mean absolute error that a function of the source's value (and depth) can reach on the
    training patients.
    """

    edges: FloatArray
    """Bounds between the bins of source values, shape ``(bin - 1,)`` [unit of the source]."""
    depth_edges_mm: tuple[float, ...]
    """Bounds between the classes of depth [mm]; empty for one class."""
    values: FloatArray
    """Shape ``(depth, bin)`` [unit of the target]."""

    @classmethod
    def fit(
        cls,
        examples: Iterable[Example],
        *,
        edges: Sequence[float] | None = None,
        depth_edges_mm: Sequence[float] = (),
        seed: int = 0,
    ) -> TissueLookup:
        """Fit to training patients.

        Parameters
        ----------
        examples
            Not empty; with depths where ``depth_edges_mm`` are given. Taken one by one, so that only the voxels that
            are fitted to stay in memory.
        edges
            Such as :data:`HU_EDGES`; quantiles of the training voxels when unset.
        depth_edges_mm
            Such as :data:`DEPTH_EDGES_MM`.
        seed
            Of the voxels that are drawn from large cases.

        Raises
        ------
        InputError
            If there is no voxel to fit to.
        """
        rng = np.random.default_rng(seed)
        parts = [_drawn(example, rng) for example in examples]
        if not sum(part.shape[1] for part in parts):
            raise InputError("A tissue lookup is fitted to voxels of bodies; found none. Give training cases.")
        source, target, depth = np.concatenate(parts, axis=1)
        if edges is None:
            edges = np.unique(np.quantile(source, np.linspace(0, 1, N_BINS + 1)[1:-1])).tolist()
        bounds = np.asarray(edges, dtype=np.float64)
        bins, layers = np.digitize(source, bounds), np.digitize(depth, depth_edges_mm)
        whole = _medians(bins, target, bounds.size + 1)
        rows = []
        for layer in range(len(depth_edges_mm) + 1):
            here = layers == layer
            rows.append(_medians(bins[here], target[here], bounds.size + 1, fallback=whole))
        return cls(bounds, tuple(depth_edges_mm), np.stack(rows))

    def __call__(self, source: npt.ArrayLike, depth_mm: npt.ArrayLike | None = None) -> FloatImage:
        """Look up each voxel, shape of the source [unit of the target]."""
        bins = np.digitize(np.asarray(source), self.edges)
        layers = np.zeros_like(bins)
        if self.depth_edges_mm and depth_mm is not None:
            layers = np.digitize(np.asarray(depth_mm), self.depth_edges_mm)
        return np.asarray(self.values[layers, bins], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class PopulationMean:
    """Mean of the target over training patients at each place relative to the box around the body of the source.

    Bodies are scaled along each axis to one box, so that shoulders lie on shoulders as far as size alone does it.
    """

    values: FloatArray
    """Shape ``(z, y, x)`` of the common box [unit of the target]."""

    @classmethod
    def fit(
        cls,
        patients: Iterable[tuple[npt.ArrayLike, Mask, Mask]],
        *,
        shape: tuple[int, int, int] = (24, 24, 24),
    ) -> PopulationMean:
        """Fit to training patients.

        Parameters
        ----------
        patients
            Of each, on one grid, shape ``(z, y, x)``: the target, the body as the source shows it, and where the target
            is to be averaged. Taken one by one, so that only one is in memory.
        shape
            Of the common box.
        """
        total, count = np.zeros(shape), np.zeros(shape)
        for target, source_body, body in patients:
            place = np.stack(_places(source_body, shape))[:, body]
            index = tuple(np.clip(np.round(place).astype(int), 0, np.asarray(shape)[:, None] - 1))
            np.add.at(total, index, np.asarray(target)[body])
            np.add.at(count, index, 1.0)
        if not count.any():
            raise InputError("A population mean is fitted to voxels of bodies; found none. Give training cases.")
        # a box that no patient fills takes the nearest one that some do
        nearest = ndimage.distance_transform_edt(count == 0, return_distances=False, return_indices=True)
        mean = total / np.maximum(count, 1.0)
        return cls(mean[tuple(nearest)])

    def __call__(self, source_body: Mask) -> FloatImage:
        """The mean laid over a body, shape ``(z, y, x)`` [unit of the target]."""
        places = np.stack(_places(source_body, self.values.shape))
        laid = ndimage.map_coordinates(self.values, places, order=1, mode="nearest")
        return np.asarray(laid, dtype=np.float32)


def depth_below_skin(body: Mask, spacing_mm: tuple[float, float, float]) -> FloatImage:
    """Distance of each voxel of a body to its surface, 0 outside, shape ``(z, y, x)`` [mm].

    Across the axis only, in each slice, so that the ends of a slab are no skin.
    """
    padded = np.pad(body, ((0, 0), (1, 1), (1, 1)))  # so that a slice without air has a skin at the image's edge
    depths = [ndimage.distance_transform_edt(plane, sampling=spacing_mm[1:])[1:-1, 1:-1] for plane in padded]
    return np.asarray(np.stack(depths), dtype=np.float32)


def _drawn(example: Example, rng: np.random.Generator) -> FloatArray:
    """Source, target and depth of the voxels of a body, or of some of them, shape ``(3, voxel)``."""
    inside = np.flatnonzero(example.body)
    if inside.size > VOXELS_PER_CASE:
        inside = rng.choice(inside, VOXELS_PER_CASE, replace=False)
    depth = np.zeros(inside.size) if example.depth_mm is None else example.depth_mm.ravel()[inside]
    return np.stack([example.source.ravel()[inside], example.target.ravel()[inside], depth]).astype(np.float64)


def _medians(
    bins: npt.NDArray[np.intp], values: FloatArray, n_bins: int, *, fallback: FloatArray | None = None
) -> FloatArray:
    """Median of the values of each bin; one with few takes the fallback, or the nearest bin that has enough."""
    found = np.full(n_bins, np.nan)
    counts = np.bincount(bins, minlength=n_bins)
    order = np.argsort(bins, kind="stable")
    for number, part in enumerate(np.split(values[order], np.cumsum(counts)[:-1])):
        if part.size and part.size >= min(LEAST_VOXELS, values.size):
            found[number] = np.median(part)
    if fallback is not None:
        return np.where(np.isnan(found), fallback, found)
    known = np.flatnonzero(~np.isnan(found))
    if not known.size:
        return np.full(n_bins, float(np.median(values)))
    nearest = known[np.abs(np.arange(n_bins)[:, None] - known[None]).argmin(axis=1)]
    return np.asarray(found[nearest])


def _places(body: Mask, shape: tuple[int, ...]) -> list[FloatArray]:
    """Index in the common box of every voxel along each axis, shape ``(z, y, x)`` each."""
    axes = []
    for axis, n in enumerate(shape):
        hits = np.flatnonzero(body.any(axis=tuple(k for k in range(3) if k != axis)))
        low, high = (int(hits[0]), int(hits[-1])) if hits.size else (0, body.shape[axis] - 1)
        axes.append((np.arange(body.shape[axis]) - low) / max(high - low, 1) * (n - 1))
    return [np.asarray(grid) for grid in np.meshgrid(*axes, indexing="ij")]
