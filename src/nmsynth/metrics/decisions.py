"""Categories that a reader's decision hangs on, and how many of them flip."""

from __future__ import annotations

from collections.abc import Sequence

from nmsynth.core.errors import InputError

MARKED_RATIO = 2.0
"""Lesion over liver above which uptake is called marked, score 5."""
PERCIST_FACTOR, PERCIST_DEVIATIONS = 1.5, 2.0
"""Of the liver's mean and of its standard deviation in the threshold of PERCIST 1.0."""


def deauville_like(
    lesion_peak: float, *, liver_mean: float, blood_pool_mean: float | None = None, marked_ratio: float = MARKED_RATIO
) -> int:
    """Five-point category from a lesion's SUVpeak and the liver's mean, after the Deauville scale.

    2 at or below the blood pool, 3 at or below the liver, 4 above it, 5 above ``marked_ratio`` times it. It is a ratio
    and not a reading: 1 (no uptake) is never given, and without a blood pool the lowest category is 3.

    Parameters
    ----------
    lesion_peak
        SUVpeak of the lesion.
    liver_mean
        Mean of a 3 cm sphere in the liver, same unit, positive.
    blood_pool_mean
        Mean of the mediastinal blood pool, same unit.
    marked_ratio
        Lesion over liver above which the category is 5.

    References
    ----------
    S. F. Barrington et al., J Clin Oncol 32(27):3048-3058, 2014.
    """
    if not liver_mean > 0:
        raise InputError(f"A Deauville ratio needs a positive liver mean; found {liver_mean}. Give a liver mask.")
    if blood_pool_mean is not None and lesion_peak <= blood_pool_mean:
        return 2
    ratio = lesion_peak / liver_mean
    if ratio <= 1.0:
        return 3
    return 4 if ratio <= marked_ratio else 5


def percist_threshold(liver_mean: float, liver_deviation: float) -> float:
    """SUVpeak from which PERCIST calls a lesion measurable: 1.5 times the liver's mean plus 2 of its SD.

    PERCIST asks for SUV by lean body mass; a ratio to the liver of the same image is the same in any SUV. Noise in the
    liver raises the threshold, so that it falls where a model removes noise.

    Parameters
    ----------
    liver_mean, liver_deviation
        Mean and standard deviation in a 3 cm sphere of the liver, one unit, the mean positive.

    References
    ----------
    R. L. Wahl et al., J Nucl Med 50(Suppl 1):122S-150S, 2009.

    Examples
    --------
    >>> percist_threshold(2.0, 0.2)
    3.4
    """
    if not liver_mean > 0:
        raise InputError(f"A PERCIST threshold needs a positive liver mean; found {liver_mean}. Give a liver mask.")
    return PERCIST_FACTOR * liver_mean + PERCIST_DEVIATIONS * liver_deviation


def category_flips(categories: Sequence[int], reference: Sequence[int]) -> int:
    """Count the lesions whose category differs between an image and the reference."""
    return sum(a != b for a, b in zip(categories, reference, strict=True))
