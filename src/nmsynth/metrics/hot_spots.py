"""Hot spots of planar views: foci above what lies around them, how many, and how much of the body they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.metrics.regions import FWHM_PER_SIGMA

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

SMOOTHING_MM = 10.0
"""Width of the Gaussian before foci are looked for, FWHM [mm]."""
BACKGROUND_MM = 60.0
"""Foci narrower than this stand out of their background; wider ones, such as a bladder or a skull, do not [mm]."""
LEAST_RATIO = 1.5
"""Of a focus over its background."""
LEAST_LEVEL = 0.5
"""Of the mean of the body that a focus exceeds, so that none is found in near-empty places."""
LEAST_AREA_MM2 = 100.0
"""Of a focus."""


@dataclass(frozen=True, slots=True)
class HotSpotAgreement:
    """Hot spots of an image beside those of a reference."""

    found: int
    expected: int
    missed: int
    """Of the reference, that no hot spot of the image touches."""
    false: int
    """Of the image, that touch none of the reference."""


def hot_spots(views: npt.ArrayLike, body: npt.ArrayLike, pixel_mm: tuple[float, float]) -> Labels:
    """Numbered foci of planar views.

    Smoothed by 10 mm, a focus is a connected area of at least 100 mm2 inside the body that exceeds 1.5 times the
    median of the body in a square of 60 mm around, and half of the mean of the body in that view. These numbers are
    chosen.
    Foci of normal uptake (kidneys, joints, injection site) are found, too: what counts is the difference to a
    reference.

    Parameters
    ----------
    views
        Counts, shape ``(view, y, x)``; each view by itself.
    body
        Same shape.
    pixel_mm
        Along ``(y, x)`` [mm].

    Returns
    -------
        0 where none is, else the number of the focus, same shape.
    """
    array, inside = np.asarray(views, dtype=np.float64), np.asarray(body, dtype=bool)
    labels = np.zeros(array.shape, dtype=np.int32)
    size = tuple(2 * round(BACKGROUND_MM / p / 2) + 1 for p in pixel_mm)
    sigma = [SMOOTHING_MM / FWHM_PER_SIGMA / p for p in pixel_mm]
    least = LEAST_AREA_MM2 / (pixel_mm[0] * pixel_mm[1])
    n = 0
    for view, mask, out in zip(array, inside, labels, strict=True):
        if not mask.any():
            continue
        smooth = ndimage.gaussian_filter(view, sigma, mode="nearest")
        hot = mask & (smooth > LEAST_LEVEL * float(smooth[mask].mean()))
        hot &= smooth > LEAST_RATIO * _background(_filled(smooth, mask, size), hot, size)
        found, count = ndimage.label(hot)
        for number in range(1, count + 1):
            area = found == number
            if area.sum() >= least:
                n += 1
                out[area] = n
    return labels


def _background(view: npt.NDArray[np.float64], where: Mask, size: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Median of the square around each pixel of a mask; 0 far from it, where it would take its time for nothing."""
    background = np.zeros_like(view)
    found = ndimage.find_objects(where.astype(np.uint8))
    if found:
        (box,) = found
        wide = tuple(slice(max(0, b.start - n // 2), b.stop + n // 2) for b, n in zip(box, size, strict=True))
        background[wide] = ndimage.median_filter(view[wide], size=size, mode="nearest")
    return background


def _filled(view: npt.NDArray[np.float64], mask: Mask, size: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """A view whose surroundings take the mean of the body nearby, so that a median at its edge is one of the body."""
    weight = ndimage.uniform_filter(mask.astype(np.float64), size, mode="constant")
    mean = ndimage.uniform_filter(np.where(mask, view, 0.0), size, mode="constant") / np.maximum(weight, 1e-9)
    return np.where(mask, view, np.where(weight > 1e-6, mean, 0.0))


def hot_spot_index(labels: npt.ArrayLike, body: npt.ArrayLike) -> float | None:
    """Share of the body's area that hot spots take; ``None`` without a body.

    This is no bone scan index, which weighs by skeletal mass.

    Examples
    --------
    >>> hot_spot_index([[[0, 3, 3, 0]]], [[[True, True, True, True]]])
    0.5
    """
    inside = np.asarray(body, dtype=bool)
    return float((np.asarray(labels)[inside] > 0).mean()) if inside.any() else None


def hot_spot_agreement(labels: npt.ArrayLike, expected: npt.ArrayLike) -> HotSpotAgreement:
    """Which hot spots of an image and of a reference touch one another.

    Parameters
    ----------
    labels, expected
        As :func:`hot_spots` gives them, one shape.

    Examples
    --------
    >>> hot_spot_agreement([[[1, 0, 2]]], [[[1, 0, 0]]])
    HotSpotAgreement(found=2, expected=1, missed=0, false=1)
    """
    own, true = np.asarray(labels), np.asarray(expected)
    names, true_names = set(np.unique(own[own > 0])), set(np.unique(true[true > 0]))
    both = (own > 0) & (true > 0)
    return HotSpotAgreement(
        found=len(names),
        expected=len(true_names),
        missed=len(true_names - set(np.unique(true[both]))),
        false=len(names - set(np.unique(own[both]))),
    )
