"""How like an image is to those of a training: a few numbers of each, compared with their mean and spread.

What lies outside the training of a model is not always told by a header: an unusual anatomy, a contrast that no
subject had, another part of the body. The numbers are coarse on purpose: quantiles of brightness in the body, the
shares of its darkest and brightest thirds by Otsu's thresholds, its volume and its width. An image is as far from the
training as its most unusual number is, in standard deviations. A small distance promises nothing; a large one is a
reason to look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NAMES = (
    *(f"{100 * q:g}th percentile of brightness" for q in QUANTILES), "share of dark parts", "share of bright parts",
    "volume of the body", "depth of the body", "width of the body",
)  # fmt: skip
"""Of the numbers, in their order."""
LEAST_LIMIT = 4.0
"""Distance below which nothing is called unusual [standard deviations]."""
MARGIN = 1.2
"""Of the limit over the largest distance within the training."""
LEAST_SPREAD = 1e-3
"""Of a number, relative to its mean or absolute: what never varied in training would be unusual at once."""
MOST_VOXELS = 50_000
FloatArray = npt.NDArray[np.float64]


def image_numbers(
    image: npt.ArrayLike, body: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> FloatArray:
    """The numbers of an image, in the order of :data:`NAMES`.

    Parameters
    ----------
    image
        Normalised values, shape ``(z, y, x)``.
    body
        Where the body is, same shape; not empty.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    from skimage.filters import threshold_multiotsu

    values = np.asarray(image, dtype=np.float64)[body]
    if not values.size:
        raise InputError("The numbers of an image are of its body; the mask is empty. Give another.")
    some = values[:: max(1, values.size // MOST_VOXELS)]
    dark = bright = 0.0
    if len(np.unique(some)) > 3:
        low, high = threshold_multiotsu(some, classes=3)  # type: ignore[no-untyped-call]
        dark, bright = float((some <= low).mean()), float((some > high).mean())
    extents = []
    for axis in (1, 2):
        seen = np.flatnonzero(body.any(axis=tuple(k for k in range(3) if k != axis)))
        extents.append((seen[-1] - seen[0] + 1) * spacing_mm[axis])
    volume_ml = float(body.sum()) * math.prod(spacing_mm) / 1000.0
    return np.array([*np.quantile(some, QUANTILES), dark, bright, math.log(volume_ml), *np.log(extents)])


@dataclass(frozen=True, slots=True)
class Typical:
    """What the images of a training are like."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    limit: float
    """Distance from which an image is called unusual [standard deviations]."""

    def distance(self, numbers: npt.ArrayLike) -> tuple[float, str]:
        """How far the most unusual number of an image is from the training [standard deviations], and which it is."""
        z = np.abs((np.asarray(numbers, dtype=np.float64) - self.mean) / np.asarray(self.sd))
        worst = int(np.argmax(z))
        return float(z[worst]), NAMES[worst]


def typical_of(numbers: Sequence[npt.ArrayLike]) -> Typical:
    """Mean, spread and limit of the numbers of training images.

    Raises
    ------
    InputError
        If there are fewer than three images.
    """
    table = np.asarray(numbers, dtype=np.float64)
    if table.ndim != 2 or len(table) < 3:
        raise InputError(f"What is typical takes at least three images; found {len(table)}. Give more.")
    mean = table.mean(axis=0)
    sd = np.maximum(table.std(axis=0, ddof=1), LEAST_SPREAD * np.maximum(np.abs(mean), 1.0))
    largest = float((np.abs(table - mean) / sd).max())
    return Typical(tuple(map(float, mean)), tuple(map(float, sd)), max(LEAST_LIMIT, MARGIN * largest))
