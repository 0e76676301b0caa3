"""Intervals from samples, widened until they hold what they promise.

Samples of a generative model spread by what the model leaves open, which need not be as far as it errs. On cases that
it was not fitted to, each error is divided by the spread of the samples there; the quantile of these scores is the
factor by which the spread becomes an interval that holds the truth as often as asked for [Lei2018]_. Errors of one
subject hang together, so that subjects are counted, not values [Lee2023]_; the promise is on average over subjects and
their regions, not within each.

References
----------
.. [Lei2018] J. Lei et al., Distribution-free predictive inference for regression, J Am Stat Assoc 113:1094-1111, 2018,
   section 5.2 (locally weighted split conformal inference).
.. [Lee2023] Y. Lee, R. F. Barber, R. Willett, Distribution-free inference with hierarchical data, arXiv:2306.06342,
   2023 (hierarchical conformal prediction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

FLOOR_SHARE = 0.25
"""Least spread over the median one: where the samples agree by chance, an interval still has a width."""
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Widening:
    """How a spread becomes half of an interval: ``factor * sqrt(spread² + floor²)``."""

    factor: float
    floor: float
    """In the unit of the values."""

    def half_width(self, spread: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Half of the interval for a standard deviation of samples, or many.

        Examples
        --------
        >>> Widening(factor=2.0, floor=3.0).half_width([4.0, 0.0])
        array([10.,  6.])
        """
        return np.asarray(self.factor * np.hypot(np.asarray(spread, dtype=np.float64), self.floor))


def calibrated(
    errors: npt.ArrayLike,
    spreads: npt.ArrayLike,
    *,
    coverage: float,
    subjects: npt.ArrayLike | None = None,
    floor_share: float = FLOOR_SHARE,
) -> Widening:
    """The widening by which intervals hold a share of the values.

    Subjects, not values, are what can be exchanged for a new one: each counts once, its values by equal parts, and one
    more, the new one, is taken to lie outside.

    Parameters
    ----------
    errors
        Value less the mean of the samples.
    spreads
        Standard deviation of the samples, same shape.
    coverage
        Share of the values that intervals hold, above 0 and below 1.
    subjects
        Number of the subject of each value, same shape; each value is its own where unset.
    floor_share
        Least spread over the median one; 0 where values of two images have no common scale.

    Raises
    ------
    InputError
        If there are fewer subjects than the share needs: nine for 90 %.

    Examples
    --------
    >>> found = calibrated(np.arange(1.0, 100.0), np.full(99, 10.0), coverage=0.9)
    >>> round(float(found.half_width(10.0)), 1)
    90.0
    """
    error, spread = np.abs(np.ravel(errors)).astype(np.float64), np.ravel(spreads).astype(np.float64)
    if not 0 < coverage < 1:
        raise InputError(f"A coverage must lie above 0 and below 1; found {coverage}.")
    of = np.arange(len(error)) if subjects is None else np.ravel(subjects)
    _, number, counts = np.unique(of, return_inverse=True, return_counts=True)
    if len(counts) < least_values(coverage):
        raise InputError(
            f"Intervals that hold {100 * coverage:g} % need at least {least_values(coverage)} subjects to be "
            f"calibrated on; found {len(counts)}. Give more cases."
        )
    # samples that never differ have no scale of their own
    floor = floor_share * (float(np.median(spread)) or float(np.median(error)))
    scores = error / np.maximum(np.hypot(spread, floor), np.finfo(np.float64).tiny)
    order = np.argsort(scores)
    held = np.cumsum(1.0 / counts[number[order]]) / (len(counts) + 1)
    reached = int(np.searchsorted(held, coverage - 1e-9))
    return Widening(float(scores[order[min(reached, len(order) - 1)]]), floor)


def least_values(coverage: float) -> int:
    """Subjects that a calibration needs.

    Examples
    --------
    >>> least_values(0.9), least_values(0.95)
    (9, 19)
    """
    return math.ceil(round(coverage / (1 - coverage), 6))


def covered_share(errors: npt.ArrayLike, half_widths: npt.ArrayLike) -> float:
    """Share of the values that lie within their intervals.

    Parameters
    ----------
    errors
        Value less the middle of the interval.
    half_widths
        Half of each interval, same shape.
    """
    return float((np.abs(errors) <= np.asarray(half_widths)).mean())
