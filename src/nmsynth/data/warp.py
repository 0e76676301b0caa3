"""Patches turned in the plane, zoomed and shifted: one geometry for sources, target and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from nmsynth.core.plan import Plan

FloatArray = npt.NDArray[np.float32]

N_LABELLED = 2
"""Layers at the end of a stack that are not interpolated: weight and labels."""


@dataclass(frozen=True, slots=True)
class Warp:
    """From a voxel of a patch to one of its image, both counted from the middle of the patch along ``(z, y, x)``.

    ``(y', x') = plane (y, x) + shift`` and ``z' = depth z + shift``: turning stays in the plane, so depth and plane are
    interpolated one after the other, which is the same as at once and several times as fast.
    """

    depth: float
    """Voxels along z for one of the patch."""
    plane: npt.NDArray[np.float64]
    """Shape ``(2, 2)``, rows and columns ``(y, x)``."""
    shift: npt.NDArray[np.float64]
    """Of the sources against the target, along ``(z, y, x)`` [voxels]."""
    margin: tuple[int, int, int]
    """Voxels around a patch that it may reach, along ``(z, y, x)``."""

    @classmethod
    def of(
        cls,
        spacing_mm: Sequence[float],
        size: Sequence[int],
        *,
        degrees: float = 0.0,
        zoom: float = 1.0,
        shift_mm: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> Warp:
        """A warp by an angle from y to x, by which what is shown turns, a factor by which it grows, and a shift.

        Parameters
        ----------
        spacing_mm
            Voxel size along ``(z, y, x)`` [mm].
        size
            Of the patch along ``(z, y, x)``.
        degrees
            Angle in the plane.
        zoom
            Above 1 shows things larger; the axis z of a single slice is not zoomed.
        shift_mm
            How far the sources move against the target, along ``(z, y, x)`` [mm].
        """
        angle = math.radians(degrees)
        cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
        _, y_mm, x_mm = spacing_mm
        plane = np.array([[cos, sin * x_mm / y_mm], [-sin * y_mm / x_mm, cos]])
        depth = 1.0 / zoom if size[0] > 1 else 1.0
        shift = -np.asarray(shift_mm, dtype=np.float64) / np.asarray(spacing_mm)
        half = (np.asarray(size[1:]) - 1) / 2
        reach = [(size[0] - 1) / 2 * depth, *(np.abs(plane) @ half)]
        inside = (np.asarray(size) - 1) / 2
        z, y, x = (max(0, math.ceil(r - i + abs(s) + 1)) for r, i, s in zip(reach, inside, shift, strict=True))
        return cls(depth, plane, shift, (z if size[0] > 1 else 0, y, x))

    @classmethod
    def drawn(cls, plan: Plan, size: Sequence[int], rng: np.random.Generator) -> Warp:
        """A random warp, as large as a plan allows."""
        a = plan.augmentation
        degrees = rng.uniform(-1, 1) * a.rotation_degrees
        zoom = math.exp(rng.uniform(-1, 1) * math.log1p(a.zoom))
        shift_mm = rng.uniform(-1, 1, 3) * a.shift_mm * (np.asarray(size) > 1)
        return cls.of(plan.spacing_mm, size, degrees=degrees, zoom=zoom, shift_mm=shift_mm.tolist())


def is_warped(plan: Plan) -> bool:
    """Whether a plan turns, zooms or shifts patches."""
    a = plan.augmentation
    return a.rotation_degrees > 0 or a.zoom > 0 or a.shift_mm > 0


def warp_stack(
    stack: FloatArray, warp: Warp, middle: Sequence[float], size: Sequence[int], *, target_slices: int | None = None
) -> FloatArray:
    """Layers of a patch: sources and target interpolated, weight and labels by the nearest voxel.

    Parameters
    ----------
    stack
        What was read of an image, shape ``(layer, z, y, x)``: sources, target, weight, labels.
    warp
        Its shift moves the sources only.
    middle
        Where the middle of the patch lies in it, along ``(z, y, x)`` [voxels].
    size
        Of the patch, along ``(z, y, x)``.
    target_slices
        How many slices of target, weight and labels are wanted around the middle one, where the sources have more
        (2.5D); the others are 0. An even number less than those of the patch; all of them where not given.

    Returns
    -------
        Shape ``(layer, *size)``; beyond the border images go on, weight and labels are 0.
    """
    n, n_sources, n_images = len(stack), len(stack) - 1 - N_LABELLED, len(stack) - N_LABELLED
    wanted = size[0] if target_slices is None else target_slices
    still = np.asarray(middle, dtype=np.float64)
    grid = _grid(stack.shape[2:], warp.plane, still[1:], size[1:])
    labels = (slice(n_images, n), wanted, still[0], grid, False)
    if wanted == size[0] and not warp.shift.any():
        parts = [(slice(0, n_images), size[0], still[0], grid, True), labels]
    else:
        moved = still + warp.shift
        moved_grid = _grid(stack.shape[2:], warp.plane, moved[1:], size[1:]) if warp.shift.any() else grid
        sources = (slice(0, n_sources), size[0], moved[0], moved_grid, True)
        parts = [sources, (slice(n_sources, n_images), wanted, still[0], grid, True), labels]
    out = np.zeros((len(stack), *size), dtype=np.float32)
    for layers, n_slices, depth, places, smooth in parts:
        skipped = (size[0] - n_slices) // 2
        deep = _along_z(stack[layers], warp.depth, depth, n_slices, smooth=smooth)
        out[layers, skipped : skipped + n_slices] = _in_plane(deep, places, smooth=smooth)
    return out


def _along_z(stack: FloatArray, step: float, centre: float, n: int, *, smooth: bool) -> FloatArray:
    """Slices at ``n`` places ``step`` apart around a centre, shape ``(layer, n, y, x)``."""
    last = stack.shape[1] - 1
    place = centre + step * (np.arange(n) - (n - 1) / 2)
    if not smooth:
        nearest = np.rint(place).astype(int)
        chosen = stack[:, np.clip(nearest, 0, last)]
        chosen[:, (nearest < 0) | (nearest > last)] = 0.0
        return chosen
    place = np.clip(place, 0.0, last)
    lower = np.floor(place).astype(int)
    share = (place - lower).astype(np.float32)
    below = stack[:, lower]
    if not share.any():
        return below
    out: FloatArray = below + share[:, None, None] * (stack[:, np.minimum(lower + 1, last)] - below)
    return out


def _grid(
    whole: Sequence[int], plane: npt.NDArray[np.float64], centre: npt.NDArray[np.float64], size: Sequence[int]
) -> torch.Tensor:
    """Places that a matrix ``(y, x)`` gives around a centre, for torch's sampler of axes ``(x, y)``."""
    (n_y, n_x), (rows, columns) = size, whole
    y, x = np.arange(n_y)[:, None] - (n_y - 1) / 2, np.arange(n_x)[None] - (n_x - 1) / 2
    # with align_corners=False the first voxel's centre lies at -1 + 1/n
    grid = np.empty((1, n_y, n_x, 2), dtype=np.float32)
    grid[0, ..., 0] = (2 * (centre[1] + plane[1, 0] * y + plane[1, 1] * x) + 1) / columns - 1
    grid[0, ..., 1] = (2 * (centre[0] + plane[0, 0] * y + plane[0, 1] * x) + 1) / rows - 1
    return torch.from_numpy(grid)


def _in_plane(stack: FloatArray, grid: torch.Tensor, *, smooth: bool) -> FloatArray:
    """Slices at the places of a grid."""
    rows, columns = stack.shape[2:]
    sampled = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(stack)).reshape(1, -1, rows, columns),
        grid,
        mode="bilinear" if smooth else "nearest",
        padding_mode="border" if smooth else "zeros",
        align_corners=False,
    )
    return np.asarray(sampled.numpy().reshape(*stack.shape[:2], *grid.shape[1:3]))
