"""Values of lesions, measured on every image of a report in one way.

A row is a dictionary with the keys of an evaluation's lesion rows: ``arm``, ``lesion``, ``diameter_mm``,
``reference_contrast``, ``recovery``, and ``mean``, ``maximum``, ``peak`` each
alone, with ``_reference`` and with ``_bias``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.metrics.quantitative import region_mean, suv_max, suv_peak
from nmsynth.metrics.recovery import recovery
from nmsynth.metrics.regions import Mask, ring_mask, sphere_mask
from nmsynth.report.projections import Image

REACH_MM = 26.0
"""Margin around a lesion that its ring (to 14 mm outside) and its SUVpeak sphere (12.4 mm wide) need [mm]."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion on the display grid."""

    name: str
    centre_index: tuple[float, float, float]
    diameter_mm: float
    contrast: float | None = None


def lesion_from_row(
    row: Mapping[str, Any], position: int
) -> tuple[str, tuple[float, float, float], float, float | None]:
    """Name, centre index, diameter [mm] and contrast of a lesion given as a mapping.

    The centre is ``centre_index`` or ``centre`` (z, y, x), or the three keys ``z``, ``y``, ``x``.
    """
    centre = row.get("centre_index", row.get("centre"))
    if centre is None and all(key in row for key in "zyx"):
        centre = [row[key] for key in "zyx"]
    diameter = row.get("diameter_mm")
    numbers = [*(centre if isinstance(centre, Sequence | np.ndarray) else ()), diameter]
    if len(numbers) != 4 or not all(_is_finite(value) for value in numbers) or float(numbers[3]) <= 0:
        raise InputError(
            f"A lesion needs centre_index (z, y, x) and a positive diameter_mm; lesion {position} of the list has the "
            f"keys {sorted(str(key) for key in row)}. Give both as finite numbers."
        )
    z, y, x, size = (float(value) for value in numbers)
    contrast = row.get("contrast")
    name = str(row.get("name", row.get("index", position)))
    return name, (z, y, x), size, float(contrast) if _is_finite(contrast) and contrast is not None else None


def _is_finite(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float, np.number)) and math.isfinite(float(value))


def _box(lesion: Lesion, shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    """Part of the grid around a lesion that its measurement needs."""
    reach = lesion.diameter_mm / 2 + REACH_MM
    return tuple(
        slice(max(math.floor(c - reach / s), 0), max(min(math.ceil(c + reach / s) + 1, n), 1))
        for c, s, n in zip(lesion.centre_index, spacing_mm, shape, strict=True)
    )


def _sphere(lesion: Lesion, box: tuple[slice, ...], spacing_mm: tuple[float, float, float]) -> Mask:
    """Voxels of a box that belong to a lesion, at least the nearest one."""
    z, y, x = (c - part.start for c, part in zip(lesion.centre_index, box, strict=True))
    n_z, n_y, n_x = (max(part.stop - part.start, 0) for part in box)
    mask = np.asarray(
        sphere_mask((n_z, n_y, n_x), spacing_mm, centre_index=(z, y, x), diameter_mm=lesion.diameter_mm), dtype=bool
    )
    nearest = (round(z), round(y), round(x))
    if not mask.any() and all(0 <= i < n for i, n in zip(nearest, mask.shape, strict=True)):
        mask[nearest] = True
    return mask


def measure_lesions(
    images: Mapping[str, Image],
    lesions: Sequence[Lesion],
    spacing_mm: tuple[float, float, float],
    *,
    reference: str,
) -> list[dict[str, Any]]:
    """Measure every lesion in every image against the reference; lesions outside the grid are left out.

    Parameters
    ----------
    images
        Arrays on one grid, shape ``(z, y, x)``, one unit.
    lesions
        Spheres on that grid.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    reference
        Name of the image that the others are compared with.

    Returns
    -------
        One row for each lesion and image but the reference.
    """
    shape = images[reference].shape
    rows: list[dict[str, Any]] = []
    for lesion in lesions:
        if not all(-0.5 <= c <= n - 0.5 for c, n in zip(lesion.centre_index, shape, strict=True)):
            continue
        box = _box(lesion, shape, spacing_mm)
        mask = _sphere(lesion, box, spacing_mm)
        if not mask.any():
            continue
        others = np.zeros(mask.shape, dtype=bool)
        for other in lesions:
            if other is not lesion and _near(lesion, other, spacing_mm):
                others |= _sphere(other, box, spacing_mm)
        ring = ring_mask(mask, spacing_mm, exclude=others & ~mask)
        cropped = {name: array[box] for name, array in images.items()}
        rows += _rows_of(lesion, cropped, mask, ring, spacing_mm, reference)
    return rows


def _rows_of(
    lesion: Lesion,
    images: Mapping[str, Image],
    mask: Mask,
    ring: Mask,
    spacing_mm: tuple[float, float, float],
    reference: str,
) -> list[dict[str, Any]]:
    """Rows of one lesion from the images cropped around it."""
    expected = _values(images[reference], mask, spacing_mm)
    rows = []
    for name, array in images.items():
        if name == reference:
            continue
        row: dict[str, Any] = {
            "arm": name,
            "lesion": lesion.name,
            "diameter_mm": lesion.diameter_mm,
            "reference_contrast": lesion.contrast,
            "recovery": recovery(array, images[reference], mask, ring),
        }
        for key, value in _values(array, mask, spacing_mm).items():
            row[key] = value
            row[f"{key}_reference"] = expected[key]
            row[f"{key}_bias"] = relative(value, expected[key])
        rows.append(row)
    return rows


def _values(array: Image, mask: Mask, spacing_mm: tuple[float, float, float]) -> dict[str, float | None]:
    """Mean, maximum and peak of a lesion [unit of the image]."""
    peak = suv_peak(array, mask, spacing_mm)
    return {
        "mean": region_mean(array, mask),
        "maximum": suv_max(array, mask),
        "peak": None if peak is None else peak.value,
    }


def _near(lesion: Lesion, other: Lesion, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether another lesion may reach into the box of a lesion, by the distance of their centres."""
    offset = [(a - b) * s for a, b, s in zip(lesion.centre_index, other.centre_index, spacing_mm, strict=True)]
    return math.hypot(*offset) < lesion.diameter_mm + other.diameter_mm + 3 * REACH_MM


def relative(value: float | None, reference: float | None) -> float | None:
    """Relative difference to a reference; ``None`` where either is missing or the reference is not positive."""
    if value is None or reference is None or reference <= 0:
        return None
    return value / reference - 1.0
