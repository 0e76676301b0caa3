"""False and missing structures, omitted and shifted lesions, and detection by a matched filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.metrics.regions import Spacing, smooth

STRUCTURE_SMOOTHING_FWHM_MM = 6.0
STRUCTURE_FRACTION = 0.35
"""Of the liver level, and of the reference, that a false structure must exceed."""
STRUCTURE_MIN_VOXELS = 4
END_SLICES = 2
"""Slices left out at each end of the axial field of view."""
OMISSION_RECOVERY = 0.25
"""A lesion whose contrast recovery is lower is omitted."""
SHIFT_FRACTION = 0.25
"""A lesion that is not omitted and whose SUVpeak is off by more is shifted."""


@dataclass(frozen=True, slots=True)
class Structures:
    """Structures in one image that the other does not have."""

    count: int
    n_slices: int
    """Slices that were searched."""
    labels: npt.NDArray[np.int32]
    """Number of the structure in each voxel, shape ``(z, y, x)``; 0 is none."""

    @property
    def per_100_slices(self) -> float | None:
        """Structures per 100 slices searched; ``None`` where no slice was left."""
        return 100.0 * self.count / self.n_slices if self.n_slices else None


def false_structures(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    liver_level: float,
    fwhm_mm: float = STRUCTURE_SMOOTHING_FWHM_MM,
    fraction: float = STRUCTURE_FRACTION,
    min_voxels: int = STRUCTURE_MIN_VOXELS,
    end_slices: int = END_SLICES,
    sign: int = 1,
) -> Structures:
    """Count what an image shows and the reference does not.

    A false structure is a face-connected component of at least 4 voxels in which the difference image - reference,
    smoothed by a Gaussian of 6 mm FWHM, exceeds 0.35 of the liver level and 0.35 of the reference, outside the two
    slices at each end.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit; the reference is T1.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    liver_level
        Mean of the liver [unit of the images], positive.
    fwhm_mm, fraction, min_voxels, end_slices
        As above.
    sign
        1 for false structures, -1 for deficits, where the image lacks what the reference shows.
    """
    if not liver_level > 0:
        raise InputError(f"False structures need a positive liver level; found {liver_level}. Give a liver mask.")
    a, b = np.asarray(image, dtype=np.float32), np.asarray(reference, dtype=np.float32)
    difference = smooth(sign * (a - b), fwhm_mm, spacing_mm)
    found = (difference > fraction * liver_level) & (difference > fraction * b)
    n_slices = max(a.shape[0] - 2 * end_slices, 0)
    if end_slices:
        found[:end_slices] = False
        found[-end_slices:] = False
    labels, _ = ndimage.label(found)
    sizes = np.bincount(labels.ravel())
    kept = np.flatnonzero(sizes >= min_voxels)
    kept = kept[kept > 0]
    numbers = np.zeros(sizes.size, dtype=np.int32)
    numbers[kept] = np.arange(1, kept.size + 1)
    return Structures(int(kept.size), n_slices, numbers[labels])


def is_omitted(recovery: float | None, *, threshold: float = OMISSION_RECOVERY) -> bool:
    """Whether a lesion is omitted: its contrast recovery is below 0.25."""
    return recovery is not None and recovery < threshold


def is_shifted(
    recovery: float | None,
    peak_bias: float | None,
    *,
    threshold: float = SHIFT_FRACTION,
    omission_threshold: float = OMISSION_RECOVERY,
) -> bool:
    """Whether a lesion that is not omitted has an SUVpeak off by more than 25 %, up or down."""
    if recovery is None or peak_bias is None or is_omitted(recovery, threshold=omission_threshold):
        return False
    return abs(peak_bias) > threshold


def matched_filter(
    difference: npt.ArrayLike, spacing_mm: Spacing, *, signal_fwhm_mm: float, background_fwhm_mm: float | None = None
) -> npt.NDArray[np.float32]:
    """Response to a blob: smoothed by its own width, less the surroundings.

    A Gaussian signal in white noise is found best by a Gaussian of its width; subtracting one of 2.5 times the width
    removes what varies slowly. The response to a constant is zero.

    Parameters
    ----------
    difference
        Image, or image minus lesion-free reference where that is known, shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    signal_fwhm_mm
        Width of the blob as imaged [mm].
    background_fwhm_mm
        Width of the surroundings [mm]; 2.5 times the blob's where ``None``.
    """
    wide = 2.5 * signal_fwhm_mm if background_fwhm_mm is None else background_fwhm_mm
    return np.asarray(smooth(difference, signal_fwhm_mm, spacing_mm) - smooth(difference, wide, spacing_mm))


@dataclass(frozen=True, slots=True)
class DetectionCase:
    """One image for a free-response curve: its filter response, its lesions and its size."""

    response: npt.NDArray[np.float32]
    """Shape ``(z, y, x)``."""
    lesions: tuple[npt.NDArray[np.bool_], ...]
    search: npt.NDArray[np.bool_]
    """Where candidates count, shape ``(z, y, x)``, such as the body without its end slices."""
    spacing_mm: Spacing
    groups: tuple[str, ...] = ()
    """Of each lesion, such as its size class or contrast class; all ``"all"`` where empty."""


@dataclass(frozen=True, slots=True)
class FrocPoint:
    """Sensitivity at one level of false alarms."""

    false_alarms_per_100_slices: float
    threshold: float
    sensitivity: dict[str, float]
    """By group and ``"all"``."""
    n_lesions: dict[str, int]


def froc(
    cases: Sequence[DetectionCase], *, false_alarms_per_100_slices: Sequence[float], tolerance_mm: float = 5.0
) -> list[FrocPoint]:
    """Free-response operating points of a filter response, with one threshold for all cases.

    A candidate is a local maximum of the response (26 neighbours) in the search region. A lesion is hit where a
    candidate above the threshold lies in it or within ``tolerance_mm`` of it; every other candidate above the
    threshold is a false alarm. The threshold is the lowest at which false alarms do not exceed the stated rate.

    Parameters
    ----------
    cases
        Images; responses on one scale, such as SUV or units of the liver level.
    false_alarms_per_100_slices
        Rates at which the sensitivity is read.
    tolerance_mm
        Distance from a lesion's voxels within which a candidate is a hit [mm].
    """
    false_scores: list[float] = []
    lesion_scores: list[tuple[str, float]] = []
    n_slices = 0
    for case in cases:
        n_slices += int(case.search.any(axis=(1, 2)).sum())
        groups = case.groups or ("all",) * len(case.lesions)
        scores, false = _score_case(case, tolerance_mm)
        lesion_scores.extend(zip(groups, scores, strict=True))
        false_scores.extend(false)
    ordered = np.sort(np.asarray(false_scores, dtype=np.float64))[::-1]
    points: list[FrocPoint] = []
    for rate in false_alarms_per_100_slices:
        allowed = math.floor(rate * n_slices / 100.0 + 1e-9)
        threshold = float(ordered[allowed]) if allowed < ordered.size else -math.inf
        points.append(_froc_point(rate, threshold, lesion_scores))
    return points


def _score_case(case: DetectionCase, tolerance_mm: float) -> tuple[list[float], list[float]]:
    """Best candidate of each lesion (-inf for none), and the candidates that belong to no lesion."""
    response = np.asarray(case.response)
    peaks = (response == ndimage.maximum_filter(response, size=3)) & case.search & (response > 0)
    claimed = np.zeros(response.shape, dtype=bool)
    scores: list[float] = []
    for lesion in case.lesions:
        distance = np.asarray(ndimage.distance_transform_edt(~lesion, sampling=case.spacing_mm))
        near = distance <= tolerance_mm
        claimed |= near
        hits = response[peaks & near]
        scores.append(float(hits.max()) if hits.size else -math.inf)
    return scores, [float(value) for value in response[peaks & ~claimed]]


def _froc_point(rate: float, threshold: float, lesion_scores: Sequence[tuple[str, float]]) -> FrocPoint:
    """Sensitivity by group above a threshold."""
    sensitivity: dict[str, float] = {}
    counts: dict[str, int] = {}
    for group in ("all", *dict.fromkeys(name for name, _ in lesion_scores if name != "all")):
        scores = [score for name, score in lesion_scores if group in ("all", name)]
        counts[group] = len(scores)
        if scores:
            sensitivity[group] = sum(score > threshold for score in scores) / len(scores)
    return FrocPoint(rate, threshold, sensitivity, counts)
