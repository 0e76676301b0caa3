"""Parallel-beam projection of a stack of slices by a sparse matrix."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.operator import LinearOperator

CACHED_BYTES = 2_500_000
"""Size of the planes that a sparse product takes at once, about what a core's own cache holds."""


@dataclass(frozen=True, slots=True)
class SinogramGeometry:
    """Sampling of a parallel-beam sinogram.

    Views are equally spaced over 180 degrees, the first at ``0`` (rays along ``y``); bins are centred on the
    axis of rotation.
    """

    n_views: int
    n_bins: int
    bin_mm: float

    def __post_init__(self) -> None:
        if self.n_views < 1 or self.n_bins < 1 or not self.bin_mm > 0:
            raise InputError(
                f"A sinogram needs at least one view and bin of positive width; found {self.n_views} views, "
                f"{self.n_bins} bins of {self.bin_mm} mm."
            )


def _footprint_integral(offset: npt.NDArray[np.float64], wide: float, narrow: float) -> npt.NDArray[np.float64]:
    """Integral from minus infinity to ``offset`` of a unit-area trapezoid: box ``wide`` convolved with ``narrow``."""
    half_top, half_base = (wide - narrow) / 2, (wide + narrow) / 2
    u = np.clip(offset, -half_base, half_base)
    flat = np.clip(u, -half_top, half_top) + half_top
    left = np.clip(u + half_base, 0, narrow)
    right = np.clip(u - half_top, 0, narrow)
    slopes = (left**2 / 2 + right * narrow - right**2 / 2) / max(narrow, 1e-12)
    return np.asarray((flat + slopes) / wide, dtype=np.float64)


def system_matrix(n_pixels: int, pixel_mm: float, geometry: SinogramGeometry) -> scipy.sparse.csr_matrix:
    """Matrix of mean chord lengths [mm] of square pixels in strips.

    A pixel's shadow at angle theta is the trapezoid of two boxes of widths ``p |cos|`` and ``p |sin|``;
    its area over a bin, times ``p**2`` and over the bin's width, is the mean over the strip of the line
    integral through the pixel [DeMan2004]_. Exact for images constant in each pixel.

    Parameters
    ----------
    n_pixels
        Pixels along each side of the square slice.
    pixel_mm
        Side of a pixel [mm].
    geometry
        Sampling of the sinogram.

    Returns
    -------
        Sparse matrix, shape ``(n_views * n_bins, n_pixels * n_pixels)``, float32 [mm];
        rows ordered ``(view, bin)``, columns ``(y, x)``.

    References
    ----------
    .. [DeMan2004] B. De Man, S. Basu, Phys Med Biol 49:2463-2475, 2004.
    """
    centre = (n_pixels - 1) / 2
    positions = (np.arange(n_pixels) - centre) * pixel_mm
    y, x = np.meshgrid(positions, positions, indexing="ij")
    width = geometry.bin_mm
    column = np.arange(n_pixels * n_pixels, dtype=np.int32)
    n_reach = int(np.ceil(np.sqrt(2) * pixel_mm / width)) + 1
    values, rows, columns = [], [], []
    for view in range(geometry.n_views):
        angle = np.pi * view / geometry.n_views
        sides = sorted((abs(np.cos(angle)) * pixel_mm, abs(np.sin(angle)) * pixel_mm))
        t = (x * np.cos(angle) + y * np.sin(angle)).ravel() / width + geometry.n_bins / 2
        first = np.floor(t - sum(sides) / (2 * width)).astype(np.int32)
        lower = _footprint_integral((first - t) * width, sides[1], sides[0])
        for step in range(n_reach):
            upper = _footprint_integral((first + step + 1 - t) * width, sides[1], sides[0])
            weight = (upper - lower) * pixel_mm**2 / width
            lower = upper
            inside = (weight > 1e-7 * pixel_mm) & (first + step >= 0) & (first + step < geometry.n_bins)
            values.append(weight[inside].astype(np.float32))
            rows.append((first[inside] + step + view * geometry.n_bins).astype(np.int32))
            columns.append(column[inside])
    shape = (geometry.n_views * geometry.n_bins, n_pixels * n_pixels)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return scipy.sparse.coo_matrix(entries, shape=shape).tocsr()


def to_torch(matrix: scipy.sparse.csr_matrix) -> torch.Tensor:
    """The same matrix as a torch CSR tensor."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            check_invariants=False,
        )


def sparse_product(matrix: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """``matrix @ planes``; on a CPU a few planes at a time, so that what is gathered stays in the cache."""
    n_rows, n_planes = planes.shape
    n_at_once = max(8, CACHED_BYTES // (n_rows * planes.element_size()))
    if planes.device.type != "cpu" or n_planes <= n_at_once:
        return matrix @ planes
    return torch.cat([matrix @ part.contiguous() for part in torch.split(planes, n_at_once, dim=1)], dim=1)


class SliceProjector(LinearOperator):
    """Line integrals of every slice of a stack, ``(y, x, plane) -> (view, bin, plane)``.

    Parameters
    ----------
    n_pixels, pixel_mm
        Side of the square slice in pixels, and of a pixel [mm].
    geometry
        Sampling of the sinogram.
    views
        Indices of the views to keep, for ordered subsets; all when ``None``.
    """

    def __init__(
        self,
        n_pixels: int,
        pixel_mm: float,
        geometry: SinogramGeometry,
        views: tuple[int, ...] | None = None,
        *,
        matrix: scipy.sparse.csr_matrix | None = None,
    ) -> None:
        self.n_pixels = n_pixels
        self.pixel_mm = pixel_mm
        self.geometry = geometry
        self.views = tuple(range(geometry.n_views)) if views is None else views
        full = system_matrix(n_pixels, pixel_mm, geometry) if matrix is None else matrix
        if views is not None:
            bins = np.arange(geometry.n_bins)
            full = full[(np.asarray(views)[:, None] * geometry.n_bins + bins).ravel()]
        self._rows = full
        self._matrix = to_torch(full)

    @cached_property
    def _transpose(self) -> torch.Tensor:
        """The adjoint's matrix, made when first needed: what only projects never sorts it."""
        return to_torch(self._rows.T.tocsr())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape ``(view, bin, plane)`` [value mm], of ``x``, shape ``(y, x, plane)``."""
        if x.shape[:2] != (self.n_pixels, self.n_pixels):
            raise InputError(f"The projector takes slices of {self.n_pixels} squared; found {tuple(x.shape[:2])}.")
        sinogram = sparse_product(self._matrix.to(x), x.reshape(self.n_pixels**2, -1))
        return sinogram.reshape(len(self.views), self.geometry.n_bins, -1)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Back-projection, shape ``(y, x, plane)``, of ``y``, shape ``(view, bin, plane)``."""
        image = sparse_product(self._transpose.to(y), y.reshape(len(self.views) * self.geometry.n_bins, -1))
        return image.reshape(self.n_pixels, self.n_pixels, -1)


@lru_cache(maxsize=4)
def _cached_matrix(n_pixels: int, relative_pixel: float, n_views: int, n_bins: int) -> scipy.sparse.csr_matrix:
    """Matrix for bins of width one, so that it serves every voxel size."""
    return system_matrix(n_pixels, relative_pixel, SinogramGeometry(n_views, n_bins, 1.0))


def scaled_matrix(n_pixels: int, pixel_mm: float, geometry: SinogramGeometry) -> scipy.sparse.csr_matrix:
    """As :func:`system_matrix`, kept for further calls with the same ratio of pixel to bin.

    Lengths scale with the bin: ``A(p, b) = b A(p / b, 1)``.
    """
    relative = round(pixel_mm / geometry.bin_mm, 6)
    matrix = _cached_matrix(n_pixels, relative, geometry.n_views, geometry.n_bins).copy()
    matrix.data = matrix.data * np.float32(geometry.bin_mm)
    return matrix
