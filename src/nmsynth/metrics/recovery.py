"""Recovery of lesion contrast, by lesion size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.metrics.quantitative import region_mean

SIZE_CLASSES_MM: tuple[tuple[str, float, float], ...] = (
    ("<10 mm", 0.0, 10.0),
    ("10-18 mm", 10.0, 18.0),
    ("18-25 mm", 18.0, 25.0),
    (">=25 mm", 25.0, math.inf),
)
"""Name, smallest and first too large diameter [mm] of each class of lesions."""


def size_class(diameter_mm: float) -> str:
    """Name of the class of a lesion's diameter; the lower bound belongs to the class.

    Examples
    --------
    >>> size_class(10.0)
    '10-18 mm'
    """
    for name, low, high in SIZE_CLASSES_MM:
        if low <= diameter_mm < high:
            return name
    return SIZE_CLASSES_MM[-1][0]


def contrast(image: npt.ArrayLike, lesion: npt.ArrayLike, ring: npt.ArrayLike) -> float | None:
    """Mean of the lesion minus mean of its ring [unit of the image]; ``None`` where one is empty."""
    inside, around = region_mean(image, np.asarray(lesion, bool)), region_mean(image, np.asarray(ring, bool))
    return None if inside is None or around is None else inside - around


def recovery(
    image: npt.ArrayLike, reference: npt.ArrayLike, lesion: npt.ArrayLike, ring: npt.ArrayLike
) -> float | None:
    """Contrast recovery: (lesion - ring) of the image over (lesion - ring) of the reference.

    With recovery R of a lesion of contrast c (lesion over ring) and a true ring, SUVmean is off by
    (1 + R(c - 1)) / c - 1: the two are one fact.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit; the reference is T1, or as stated.
    lesion, ring
        Masks, shape ``(z, y, x)``.

    Returns
    -------
        Ratio; ``None`` where a mask is empty or the reference has no positive contrast.
    """
    measured, expected = contrast(image, lesion, ring), contrast(reference, lesion, ring)
    if measured is None or expected is None or expected <= 0:
        return None
    return measured / expected


def inserted_recovery(
    image_with: npt.ArrayLike, image_without: npt.ArrayLike, inserted: npt.ArrayLike, lesion: npt.ArrayLike
) -> float | None:
    """Recovery of a lesion inserted into a real scan, whose background needs no truth.

    Mean over the lesion of (output with - output without) over the mean of what was inserted, as the scanner images it.

    Parameters
    ----------
    image_with, image_without
        Outputs for the scan with and without the lesion, from the same noise, shape ``(z, y, x)``.
    inserted
        Noise-free image of the lesion alone, same unit and shape.
    lesion
        Mask, shape ``(z, y, x)``.

    Returns
    -------
        Ratio; ``None`` where the mask is empty or nothing positive was inserted.
    """
    inside = np.asarray(lesion, dtype=bool)
    gained = region_mean(np.asarray(image_with) - np.asarray(image_without), inside)
    expected = region_mean(inserted, inside)
    return None if gained is None or expected is None or expected <= 0 else gained / expected


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Median and quartiles of a sample."""

    median: float
    lower: float
    upper: float
    n: int


def quartiles(values: Sequence[float]) -> Quartiles | None:
    """Median and quartiles by linear interpolation; ``None`` for no values."""
    if not len(values):
        return None
    lower, median, upper = np.percentile(np.asarray(values, dtype=np.float64), [25, 50, 75])
    return Quartiles(float(median), float(lower), float(upper), len(values))


def by_size(values: Sequence[float | None], diameters_mm: Sequence[float]) -> dict[str, Quartiles | None]:
    """Median and quartiles of a value over the lesions of each size class; missing values are left out."""
    groups: dict[str, list[float]] = {name: [] for name, _, _ in SIZE_CLASSES_MM}
    for value, diameter in zip(values, diameters_mm, strict=True):
        if value is not None:
            groups[size_class(diameter)].append(value)
    return {name: quartiles(group) for name, group in groups.items()}
