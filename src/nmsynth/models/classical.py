"""Baselines that a model must beat, and how each is given its best chance.

The filters are tuned on patients other than those tested; the best Gaussian even on the test itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.models.filters import (
    FWHM_PER_SIGMA,
    Baseline,
    FloatImage,
    Gaussian,
    Identity,
    NonLocalMeans,
    Spacing,
    Wavelet,
)
from nmsynth.models.total_variation import TotalVariation

__all__ = [
    "CANDIDATES",
    "FWHM_PER_SIGMA",
    "Baseline",
    "BestGaussian",
    "Gaussian",
    "Identity",
    "NonLocalMeans",
    "TotalVariation",
    "Tuned",
    "TuningCase",
    "Wavelet",
    "best_gaussian",
    "equal_noise_gaussian",
    "gaussian",
    "identity",
    "narrowest_gaussian",
    "non_local_means",
    "normalised_error",
    "tune",
    "wavelet",
]

GAUSSIAN_GRID_MM = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0)
"""Widths among which the best Gaussian is sought before it is refined."""


def identity() -> Identity:
    """Return the filter that leaves the input as it is."""
    return Identity()


def gaussian(fwhm_mm: float) -> Gaussian:
    """Gaussian smoothing of a width [mm]."""
    return Gaussian(fwhm_mm)


def non_local_means(strength: float = 1.0) -> NonLocalMeans:
    """Non-local means; ``strength`` is h over the measured noise."""
    return NonLocalMeans(strength)


def wavelet(strength: float = 1.0) -> Wavelet:
    """Wavelet shrinkage; ``strength`` is a factor on the BayesShrink threshold."""
    return Wavelet(strength)


CANDIDATES: dict[str, tuple[Baseline, ...]] = {
    "identity": (Identity(),),
    "Gaussian": tuple(Gaussian(float(width)) for width in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25)),
    "non-local means": tuple(NonLocalMeans(strength) for strength in (0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.5, 9.0)),
    "wavelet": tuple(Wavelet(strength) for strength in (0.5, 1.0, 1.5, 2.5, 4.0, 8.0, 14.0)),
    "total variation": tuple(TotalVariation(strength) for strength in (0.25, 0.5, 1.0, 1.5, 2.5, 4.0, 7.0, 12.0)),
}
"""Parameters among which each family is tuned."""


@dataclass(frozen=True, slots=True)
class TuningCase:
    """An image of a patient other than those tested, and what it should have been."""

    image: FloatImage
    """Low-count image, shape ``(z, y, x)``."""
    reference: FloatImage
    """T1, or the full-count scan, shape ``(z, y, x)``, same unit."""
    mask: npt.NDArray[np.bool_]
    """Body, shape ``(z, y, x)``."""
    spacing_mm: Spacing


Objective = Callable[[FloatImage, TuningCase], float]
"""What is made small, of a filtered image and its case."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The chosen filter and what every candidate scored."""

    baseline: Baseline
    scores: tuple[tuple[str, float], ...]


def normalised_error(filtered: FloatImage, case: TuningCase) -> float:
    """NRMSE of a filtered image in the mask of its case, the objective of tuning."""
    return _normalised_error(filtered, case.reference, case.mask)


def _normalised_error(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.NDArray[np.bool_]) -> float:
    """RMS error in the mask over the RMS of the reference there."""
    expected = np.asarray(reference)[mask].astype(np.float64)
    level = float(np.mean(expected**2)) if expected.size else 0.0
    if level <= 0:
        raise InputError(
            "Filters are tuned where the reference is not zero; found an empty or zero mask. Give a body mask."
        )
    return math.sqrt(float(np.mean((np.asarray(image)[mask] - expected) ** 2)) / level)


def tune(
    candidates: Sequence[Baseline] | str, cases: Sequence[TuningCase], objective: Objective = normalised_error
) -> Tuned:
    """Choose the candidate with the smallest mean objective over the cases.

    Parameters
    ----------
    candidates
        Filters, or the name of a family in :data:`CANDIDATES`.
    cases
        Patients other than those tested, at the count level tested.
    objective
        NRMSE in the body where not given.
    """
    if isinstance(candidates, str):
        if candidates not in CANDIDATES:
            raise InputError(f"A family of filters must be one of {sorted(CANDIDATES)}; found '{candidates}'.")
        candidates = CANDIDATES[candidates]
    if not cases or not candidates:
        raise InputError(
            f"Tuning needs cases and candidates; found {len(cases)} and {len(candidates)}. Give at least one."
        )
    scores = [
        float(np.mean([objective(candidate(case.image, case.spacing_mm), case) for case in cases]))
        for candidate in candidates
    ]
    names = (candidate.name for candidate in candidates)
    return Tuned(candidates[int(np.argmin(scores))], tuple(zip(names, scores, strict=True)))


@dataclass(frozen=True, slots=True)
class BestGaussian:
    """The Gaussian that comes nearest to the reference, and what it gives."""

    fwhm_mm: float
    nrmse: float
    image: FloatImage


def best_gaussian(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, spacing_mm: Spacing
) -> BestGaussian:
    """Smooth with the width that has the smallest NRMSE against the reference itself.

    An oracle: the width is chosen on the very test, which no filter in use could do, so a method that beats it beats
    every Gaussian. The width is sought on a grid up to 25 mm and then to 0.1 mm between the grid's neighbours.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit.
    mask
        Body, shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    from scipy.optimize import minimize_scalar

    inside = np.asarray(mask, dtype=bool)
    box = _box(inside, margin=tuple(math.ceil(25.0 / size) for size in spacing_mm))
    part, target, within = np.asarray(image, dtype=np.float32)[box], np.asarray(reference)[box], inside[box]

    def error(fwhm_mm: float) -> float:
        return _normalised_error(Gaussian(float(fwhm_mm))(part, spacing_mm), target, within)

    errors: list[float] = []
    for width in GAUSSIAN_GRID_MM:
        errors.append(error(width))
        if len(errors) > 2 and errors[-1] > errors[-2] > errors[-3]:
            break
    lowest = int(np.argmin(errors))
    low, high = GAUSSIAN_GRID_MM[max(lowest - 1, 0)], GAUSSIAN_GRID_MM[min(lowest + 1, len(GAUSSIAN_GRID_MM) - 1)]
    found = minimize_scalar(error, bounds=(low, high), method="bounded", options={"xatol": 0.1})
    width, value = float(found.x), float(found.fun)
    if errors[lowest] <= value:
        width, value = GAUSSIAN_GRID_MM[lowest], errors[lowest]
    return BestGaussian(width, value, Gaussian(width)(image, spacing_mm))


def equal_noise_gaussian(
    image: npt.ArrayLike, weights: npt.ArrayLike, deviation: float, spacing_mm: Spacing, *, widest_mm: float = 40.0
) -> Gaussian:
    """Find the Gaussian that leaves a stated standard deviation in a region.

    The control for a filter or model that removes noise: what is left of a lesion must be compared at equal noise.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    weights
        Homogeneous region, shape ``(z, y, x)``, not negative and not all zero.
    deviation
        Weighted standard deviation to reach [unit of the image].
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    widest_mm
        Largest width tried [mm].

    Returns
    -------
        To 0.05 mm; no smoothing where the image has no more noise than that, the widest where none suffices.
    """
    share = np.asarray(weights, dtype=np.float64)
    box = _box(share > 0, margin=tuple(math.ceil(widest_mm / size) for size in spacing_mm))
    part, share = np.asarray(image, dtype=np.float32)[box], share[box]
    total = float(share.sum())

    def spread(width: float) -> float:
        values = Gaussian(width)(part, spacing_mm).astype(np.float64)
        mean = float((share * values).sum()) / total
        return math.sqrt(float((share * (values - mean) ** 2).sum()) / (total - float((share**2).sum()) / total))

    return Gaussian(0.0) if spread(0.0) <= deviation else _narrowest_between(0.0, widest_mm, spread, deviation)


def narrowest_gaussian(
    image: npt.ArrayLike, spacing_mm: Spacing, noise: Callable[[FloatImage], float], wanted: float
) -> Gaussian:
    """Find the narrowest Gaussian that leaves no more noise than is wanted.

    Where noise is measured against a reference, an image that is blurred too much differs from it, too: the noise falls
    and then rises with the width. Where no Gaussian leaves as little as is wanted, it is the one that leaves least.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    noise
        Of a smoothed image.
    wanted
        In its unit.

    Returns
    -------
        To 0.05 mm; no smoothing where the image has no more noise than that.
    """
    array = np.asarray(image, dtype=np.float32)

    def left(width: float) -> float:
        return noise(Gaussian(width)(array, spacing_mm))

    found: list[float] = []
    for width in GAUSSIAN_GRID_MM:
        found.append(left(width))
        if found[-1] <= wanted or (len(found) > 2 and found[-1] > found[-2] > found[-3]):
            break
    if found[-1] > wanted:
        return Gaussian(GAUSSIAN_GRID_MM[int(np.argmin(found))])
    before, last = max(len(found) - 2, 0), len(found) - 1
    return _narrowest_between(GAUSSIAN_GRID_MM[before], GAUSSIAN_GRID_MM[last], left, wanted)


def _narrowest_between(low: float, high: float, noise: Callable[[float], float], wanted: float) -> Gaussian:
    """The narrowest between two widths [mm], to 0.05 mm, of which the wider leaves no more noise than is wanted."""
    while high - low > 0.05:
        middle = (low + high) / 2.0
        low, high = (middle, high) if noise(middle) > wanted else (low, middle)
    return Gaussian(high)


def _box(mask: npt.NDArray[np.bool_], margin: tuple[int, ...]) -> tuple[slice, ...]:
    """Smallest box around a mask with a margin in voxels; the whole image where the mask is empty."""
    box: list[slice] = []
    for axis, extra in enumerate(margin):
        hits = np.flatnonzero(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        if not hits.size:
            return tuple(slice(None) for _ in margin)
        box.append(slice(max(int(hits[0]) - extra, 0), int(hits[-1]) + extra + 1))
    return tuple(box)
