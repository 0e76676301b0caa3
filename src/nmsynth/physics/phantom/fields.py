"""Smooth random fields that have a value anywhere, quick on grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.physics.phantom.grid import FloatArray


def _bspline_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four cubic B-spline weights for offsets ``t`` in [0, 1), shape ``(n, 4)``."""
    u = 1.0 - t
    return np.stack([u**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * u**2 + 3 * u**3, t**3], axis=-1) / 6.0


@dataclass(frozen=True, eq=False)
class SmoothField:
    """Periodic cubic B-spline through a lattice of normal numbers; mean about 0, variance about 1.

    Attributes
    ----------
    lattice
        Coefficients, shape ``(n, n, n)``.
    pitch_mm
        Distance between coefficients [mm]; the correlation length is about 1.3 of it.
    """

    lattice: FloatArray
    pitch_mm: float

    @classmethod
    def random(cls, rng: np.random.Generator, pitch_mm: float, n: int = 24) -> SmoothField:
        """Draw a field with period ``n * pitch_mm`` [mm]."""
        # A cubic B-spline of white noise has a third of its variance lost along each axis: 1 / 0.479 per axis.
        lattice = rng.standard_normal((n, n, n)).astype(np.float32) / np.float32(0.4794**1.5)
        return cls(lattice, pitch_mm)

    def _matrix(self, axis_mm: NDArray[np.floating]) -> FloatArray:
        """Interpolation matrix from the lattice to positions on one axis."""
        position = np.asarray(axis_mm, dtype=np.float64) / self.pitch_mm
        first = np.floor(position).astype(np.int64)
        indices = (first[:, None] + np.arange(-1, 3)) % self.lattice.shape[0]
        matrix = np.zeros((len(axis_mm), self.lattice.shape[0]), dtype=np.float64)
        np.add.at(matrix, (np.arange(len(axis_mm))[:, None], indices), _bspline_weights(position - first))
        return matrix.astype(np.float32)

    def on_axes(self, z: NDArray[np.floating], y: NDArray[np.floating], x: NDArray[np.floating]) -> FloatArray:
        """Values on the grid spanned by three axes [mm], shape ``(len(z), len(y), len(x))``."""
        values = np.tensordot(self._matrix(z), self.lattice, axes=(1, 0))
        values = np.matmul(self._matrix(y), values)
        result: FloatArray = np.matmul(values, self._matrix(x).T)
        return result

    def at(self, z: NDArray[np.floating], y: NDArray[np.floating], x: NDArray[np.floating]) -> FloatArray:
        """Values at scattered points [mm], shape ``(n,)``."""
        position = np.stack([z, y, x]).astype(np.float64) / self.pitch_mm
        values: FloatArray = ndimage.map_coordinates(self.lattice, position, order=3, mode="grid-wrap", prefilter=False)
        return values
