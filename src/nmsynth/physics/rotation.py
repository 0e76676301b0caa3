"""Rotation of slices about the axis of the scanner, by a sparse matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse


def rotation_matrix(n_pixels: int, angle_rad: float) -> scipy.sparse.csr_matrix:
    """Matrix that resamples a square slice, turned by an angle, with bilinear weights.

    Row ``(y, x)`` of the result reads the slice at ``(y cos + x sin, x cos - y sin)`` about the centre: what lay at
    that point comes to lie at ``(y, x)``. What turns out of the square is lost; weights that fall outside are left out.

    Parameters
    ----------
    n_pixels
        Pixels along each side.
    angle_rad
        Angle of the turn [rad].

    Returns
    -------
        Shape ``(n_pixels**2, n_pixels**2)``, float32, at most four entries a row.
    """
    centre = (n_pixels - 1) / 2
    positions = np.arange(n_pixels) - centre
    y, x = np.meshgrid(positions, positions, indexing="ij")
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    source_y = (y * cos + x * sin + centre).ravel()
    source_x = (x * cos - y * sin + centre).ravel()
    near_y, near_x = np.floor(source_y).astype(np.int32), np.floor(source_x).astype(np.int32)
    part_y, part_x = source_y - near_y, source_x - near_x
    row = np.arange(n_pixels**2, dtype=np.int32)
    rows: list[npt.NDArray[np.int32]] = []
    columns: list[npt.NDArray[np.int32]] = []
    values: list[npt.NDArray[np.float32]] = []
    for step_y, weight_y in ((0, 1 - part_y), (1, part_y)):
        for step_x, weight_x in ((0, 1 - part_x), (1, part_x)):
            at_y, at_x, weight = near_y + step_y, near_x + step_x, weight_y * weight_x
            kept = (at_y >= 0) & (at_y < n_pixels) & (at_x >= 0) & (at_x < n_pixels) & (weight > 1e-6)
            rows.append(row[kept])
            columns.append((at_y * n_pixels + at_x)[kept].astype(np.int32))
            values.append(weight[kept].astype(np.float32))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return scipy.sparse.coo_matrix(entries, shape=(n_pixels**2, n_pixels**2)).tocsr()
