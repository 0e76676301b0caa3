"""Tiles that give the same result as the whole image.

A fully convolutional network has a finite reach. Each tile is read with that reach as margin and only its core is kept,
so a core voxel sees exactly what it would see in the whole image. Tiles begin at multiples of the stride, so that the
pooling grid is the same too; at the border of the image a tile has no margin, so that the network's own padding with
zeros falls where it falls in the whole image. All tiles have one shape, for backends that compile for a shape.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

Triple = tuple[int, int, int]
FloatImage = npt.NDArray[np.float32]

LEAST_SIZE = 16
"""Voxels to which a shorter axis is padded, since a layer cannot take less than its window."""

BYTES_PER_VOXEL = 600
"""Memory the network needs for a voxel of a tile, rounded up from what was measured: 300 with torch."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile, as index ranges along ``(z, y, x)`` of the padded image."""

    window: tuple[slice, slice, slice]
    """What is read."""
    core: tuple[slice, slice, slice]
    """What is kept; the cores of a plan cover the image once."""

    @property
    def core_in_window(self) -> tuple[slice, slice, slice]:
        """The core as indices of the window."""
        z, y, x = (
            slice(core.start - window.start, core.stop - window.start)
            for core, window in zip(self.core, self.window, strict=True)
        )
        return z, y, x


def triple(value: int | Iterable[int]) -> Triple:
    """One number for all axes, or one an axis, as ``(z, y, x)``."""
    if isinstance(value, int):
        return value, value, value
    z, y, x = (int(v) for v in value)
    return z, y, x


def round_up(value: int, multiple: int) -> int:
    """Smallest multiple that is not below a value.

    Examples
    --------
    >>> round_up(5, 4), round_up(8, 4)
    (8, 8)
    """
    return -(-value // multiple) * multiple


def padding_for(shape: Triple, *, margin: Triple, stride: Triple, axial: str) -> tuple[tuple[int, int], ...]:
    """Voxels added before and after each axis, so that sizes are multiples of the stride and not too small.

    Parameters
    ----------
    shape
        Of the image, ``(z, y, x)``.
    margin, stride
        Of the network, ``(z, y, x)``.
    axial
        ``"reflect"`` continues the image by its mirror over one margin at both ends, ``"zero"`` only fills the stride.
    """
    before = round_up(margin[0], stride[0]) if axial == "reflect" else 0
    after_z = round_up(max(shape[0] + 2 * before, LEAST_SIZE), stride[0]) - shape[0] - before
    in_plane = [(0, round_up(max(n, LEAST_SIZE), s) - n) for n, s in zip(shape[1:], stride[1:], strict=True)]
    return (before, after_z), *in_plane


def pad(image: FloatImage, padding: tuple[tuple[int, int], ...], *, axial: str) -> FloatImage:
    """Continue an image by its mirror or zeros along z, and by zeros in plane.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    padding
        As of :func:`padding_for`.
    axial
        ``"reflect"`` or ``"zero"``.
    """
    in_plane = np.pad(image, ((0, 0), *padding[1:]))
    if axial == "zero":
        return np.pad(in_plane, (padding[0], (0, 0), (0, 0)))
    along_z = (padding[0], (0, 0), (0, 0))
    return np.pad(in_plane, along_z, mode="reflect") if image.shape[0] > 1 else np.pad(in_plane, along_z, mode="edge")


def plan_tiles(shape: Triple, *, margin: Triple, stride: Triple, max_voxels: int) -> tuple[Tile, ...]:
    """Cut an image into the tiles that compute the fewest voxels.

    Parameters
    ----------
    shape
        Of the padded image, ``(z, y, x)``, multiples of ``stride``.
    margin, stride
        Of the network, ``(z, y, x)``.
    max_voxels
        Most voxels of a tile, margin included.

    Raises
    ------
    InputError
        If not even the smallest tile has so few voxels.
    """
    margin = triple(round_up(m, s) for m, s in zip(margin, stride, strict=True))
    axes = [list(_windows(n, m, s)) for n, m, s in zip(shape, margin, stride, strict=True)]
    best: tuple[int, int, Triple] | None = None
    for choice in itertools.product(*axes):
        voxels = math.prod(width for _, width in choice)
        number = math.prod(count for count, _ in choice)
        if voxels <= max_voxels and (best is None or (voxels * number, number) < best[:2]):
            best = (voxels * number, number, triple(width for _, width in choice))
    if best is None:
        least = math.prod(min(width for _, width in axis) for axis in axes)
        raise InputError(
            f"A tile of this network needs at least {least} voxels, its margin included; the limit is {max_voxels}. "
            "Raise the limit."
        )
    width = best[2]
    parts = [list(_cut(n, w, m)) for n, w, m in zip(shape, width, margin, strict=True)]
    return tuple(Tile(window=(z[0], y[0], x[0]), core=(z[1], y[1], x[1])) for z, y, x in itertools.product(*parts))


def _windows(length: int, margin: int, stride: int) -> Iterator[tuple[int, int]]:
    """Number of parts and width of each, for an axis cut into more and more parts."""
    yield 1, length
    previous = length
    for number in range(2, length // stride + 1):
        width = max(round_up(-(-(length + 2 * margin * (number - 1)) // number), stride), 2 * margin + stride)
        if width < previous:
            yield number, width
            previous = width
        if width <= 2 * margin + stride:
            return


def _cut(length: int, width: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Window and core of each part of an axis."""
    start = 0
    while start < length:
        origin = min(max(0, start - margin), length - width)
        stop = length if origin + width >= length else origin + width - margin
        yield slice(origin, origin + width), slice(start, stop)
        start = stop


def free_bytes() -> int | None:
    """Memory free on this machine [bytes], or ``None`` where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def tile_voxels_in_memory(wanted: int) -> int:
    """Voxels of a tile: as many as wanted, or fewer where half the free memory does not hold them."""
    free = free_bytes()
    return wanted if free is None else min(wanted, free // (2 * BYTES_PER_VOXEL))
