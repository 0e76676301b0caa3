"""Isolated lesions of known size, shape and contrast, each in a quiet neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from benchmarks.independent.phantom import AIR, Phantom, smooth_field
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]

DIAMETERS_MM = (37.0, 28.0, 22.0, 18.5, 16.0, 14.0, 12.5, 11.0, 10.5, 8.0, 6.0)
"""Sizes that are tried in each patient, largest first, each changed by up to 8 %."""

RING_MM = (7.0, 14.0)
"""Distance of the ring from the edge of a lesion [mm]."""

MAX_RING_VARIATION = 0.30
"""Largest standard deviation over mean of the true activity in a ring."""

MAX_BACKGROUND_SUV = 3.0
"""Lesions are not put into hot organs."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion; centre in voxels of the fine grid, ``(z, y, x)``."""

    index: int
    diameter_mm: float
    contrast: float
    centre: tuple[float, float, float]
    shape: str
    suv: float
    background_suv: float


def _axes(centre: npt.NDArray[np.int64], reach_mm: float, phantom: Phantom) -> tuple[slice, slice, slice]:
    """Box of the fine grid that holds a ball."""
    steps = [int(np.ceil(reach_mm / s)) + 1 for s in phantom.spacing_mm]
    box = [
        slice(max(0, int(c) - k), min(n, int(c) + k + 1))
        for c, k, n in zip(centre, steps, phantom.labels.shape, strict=True)
    ]
    return box[0], box[1], box[2]


def _distance(
    box: tuple[slice, slice, slice], centre: npt.NDArray[np.int64], phantom: Phantom, factor: int = 1
) -> FloatArray:
    """Distance [mm] of the (sub-divided) voxels of a box from a centre."""
    squares = []
    for axis, (part, c, s) in enumerate(zip(box, centre, phantom.spacing_mm, strict=True)):
        n = (part.stop - part.start) * factor
        position = part.start - 0.5 + (np.arange(n) + 0.5) / factor
        squares.append((((position - c) * s) ** 2).reshape([-1 if i == axis else 1 for i in range(3)]))
    return np.sqrt(squares[0] + squares[1] + squares[2]).astype(np.float32)


def _fraction(
    rng: np.random.Generator,
    box: tuple[slice, slice, slice],
    centre: npt.NDArray[np.int64],
    diameter_mm: float,
    shape: str,
    phantom: Phantom,
) -> FloatArray:
    """Part of each voxel of the box that the lesion fills; an irregular one has the volume of the ball."""
    factor = 3
    level = _distance(box, centre, phantom, factor)
    if shape == "irregular":
        size = (level.shape[0], level.shape[1], level.shape[2])
        spacing = (phantom.spacing_mm[0] / factor, phantom.spacing_mm[1] / factor, phantom.spacing_mm[2] / factor)
        dent = np.clip(smooth_field(rng, size, spacing, 0.45 * diameter_mm), -1.5, 1.5)
        # The level is flattened inside, so that the noise moves the edge and leaves the core.
        level = level + 0.11 * diameter_mm * dent * np.minimum(1, 2 * level / diameter_mm)
    volume = np.pi / 6 * diameter_mm**3 / (np.prod(phantom.spacing_mm) / factor**3)
    n_inside = min(level.size - 1, max(1, round(float(volume))))
    filled = level <= np.partition(level.ravel(), n_inside - 1)[n_inside - 1]
    shape_in = tuple(n // factor for n in level.shape)
    blocks = filled.reshape(shape_in[0], factor, shape_in[1], factor, shape_in[2], factor)
    return blocks.mean(axis=(1, 3, 5)).astype(np.float32)


def _ring(
    box: tuple[slice, slice, slice], fraction: FloatArray, phantom: Phantom
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Ring around the lesion in the box, and the activity there."""
    outside = ndimage.distance_transform_edt(fraction < 0.5, sampling=phantom.spacing_mm)
    ring = (outside >= RING_MM[0]) & (outside <= RING_MM[1])
    return ring, phantom.activity[box][ring]


def _candidates(
    phantom: Phantom, diameter_mm: float, blocked: npt.NDArray[np.bool_], step: int, end_mm: float
) -> npt.NDArray[np.int64]:
    """Voxels, ``(n, 3)``, whose neighbourhood is inside the body, even and free."""
    # Every ``step``-th voxel is enough to find a place.
    coarse = (slice(None, None, step),) * 3
    spacing = tuple(s * step for s in phantom.spacing_mm)
    reach_mm = diameter_mm / 2 + RING_MM[1] + 2.0
    sigma = [0.5 * reach_mm / s for s in spacing]
    activity = phantom.activity[coarse]
    mean = ndimage.gaussian_filter(activity, sigma)
    square = ndimage.gaussian_filter(activity**2, sigma)
    variation = np.sqrt(np.maximum(square - mean**2, 0)) / np.maximum(mean, 1e-3)
    body = np.pad(phantom.labels[coarse] != AIR, ((1, 1), (0, 0), (0, 0)), mode="edge")
    free = ndimage.distance_transform_edt(body, sampling=spacing)[1:-1] > reach_mm
    free &= ndimage.distance_transform_edt(~blocked[coarse], sampling=spacing) > reach_mm
    free &= (variation < 0.5) & (mean > 0.25) & (mean < MAX_BACKGROUND_SUV)
    n_end = int(np.ceil((end_mm + diameter_mm / 2) / spacing[0]))
    free[:n_end] = False
    free[max(0, free.shape[0] - n_end) :] = False
    return np.argwhere(free) * step


def _order(rng: np.random.Generator, phantom: Phantom, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Some of the places in random order, each tissue as likely to come first as any other."""
    if len(places) == 0:
        return places
    tissue = phantom.labels[tuple(places.T)]
    weight = 1.0 / np.bincount(tissue)[tissue]
    chosen = rng.choice(len(places), size=min(40, len(places)), replace=False, p=weight / weight.sum())
    return np.asarray(places[chosen])


def add_lesions(
    rng: np.random.Generator, phantom: Phantom, *, keep_out: npt.NDArray[np.bool_], end_mm: float
) -> tuple[FloatArray, npt.NDArray[np.uint8], tuple[Lesion, ...]]:
    """Put lesions into a phantom.

    The activity of a lesion is its contrast times the mean of the ring 7-14 mm outside its edge; a ring stays in
    the body and holds no part of another lesion.

    Parameters
    ----------
    rng
        Source of every draw.
    phantom
        Where they go; it is not changed.
    keep_out
        Voxels that no lesion or ring may touch, shape ``(z, y, x)``.
    end_mm
        Distance of a lesion's edge from the ends of the slab [mm], at least.

    Returns
    -------
        Activity with lesions, part of each voxel filled times the index (labels at half filled), and the lesions.
    """
    activity, labels = phantom.activity.copy(), np.zeros(phantom.labels.shape, np.uint8)
    blocked = keep_out.copy()
    lesions: list[Lesion] = []
    for nominal_mm in DIAMETERS_MM:
        diameter_mm = float(nominal_mm * rng.uniform(0.92, 1.08)) if nominal_mm > 6 else nominal_mm
        shape = str(rng.choice(["sphere", "irregular"])) if diameter_mm > 9 else "sphere"
        contrast = float(rng.uniform(2.5, 6.0))
        places = _candidates(phantom, diameter_mm, blocked, 3, end_mm)
        for centre in _order(rng, phantom, places):
            box = _axes(centre, 0.75 * diameter_mm + RING_MM[1], phantom)
            from_edge = _distance(box, centre, phantom) - diameter_mm / 2
            near = phantom.activity[box][(from_edge >= RING_MM[0]) & (from_edge <= RING_MM[1])]
            if near.size == 0 or near.std() > MAX_RING_VARIATION * near.mean():
                continue
            fraction = _fraction(rng, box, centre, diameter_mm, shape, phantom)
            _, around = _ring(box, fraction, phantom)
            if around.size == 0 or around.std() > MAX_RING_VARIATION * around.mean():
                continue
            background = float(around.mean())
            suv = contrast * background
            index = len(lesions) + 1
            activity[box] += fraction * (suv - activity[box])
            labels[box][fraction >= 0.5] = index
            blocked[box] |= fraction > 0
            position = (float(centre[0]), float(centre[1]), float(centre[2]))
            lesions.append(Lesion(index, diameter_mm, contrast, position, shape, suv, background))
            break
    return activity, labels, tuple(lesions)
