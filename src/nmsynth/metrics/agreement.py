"""Agreement of two sets of paired values: Bland-Altman, concordance, paired differences, bootstrap over patients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

FloatArray = npt.NDArray[np.float64]

N_BOOTSTRAP = 2000
SEED = 20240501
"""Seed of the bootstrap where none is given."""


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Bias and limits of agreement."""

    bias: float
    standard_deviation: float
    lower_limit: float
    upper_limit: float
    n: int
    relative: bool
    """Whether the differences were divided by the mean of each pair."""


def bland_altman(values: npt.ArrayLike, reference: npt.ArrayLike, *, relative: bool = False) -> BlandAltman | None:
    """Bias and 95 % limits of agreement, bias plus and minus 1.96 SD of the differences.

    Parameters
    ----------
    values, reference
        Paired, shape ``(n,)``, one unit.
    relative
        Divide each difference by the mean of its pair; pairs whose mean is zero are left out.

    Returns
    -------
        ``None`` for fewer than two pairs.

    References
    ----------
    J. M. Bland, D. G. Altman, Lancet 1:307-310, 1986.
    """
    a, b = _paired(values, reference)
    difference, mean = a - b, (a + b) / 2.0
    if relative:
        difference = difference[mean != 0] / mean[mean != 0]
    if difference.size < 2:
        return None
    centre, spread = float(difference.mean()), float(difference.std(ddof=1))
    return BlandAltman(centre, spread, centre - 1.96 * spread, centre + 1.96 * spread, int(difference.size), relative)


def concordance_correlation(values: npt.ArrayLike, reference: npt.ArrayLike) -> float | None:
    """Lin's concordance correlation, 2 s_ab / (s_a^2 + s_b^2 + (m_a - m_b)^2) with variances over n.

    ``None`` for fewer than two pairs, or where nothing varies and the means are equal.

    References
    ----------
    L. I. Lin, Biometrics 45(1):255-268, 1989.
    """
    a, b = _paired(values, reference)
    if a.size < 2:
        return None
    denominator = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return 2.0 * float(((a - a.mean()) * (b - b.mean())).mean()) / denominator if denominator > 0 else None


def rank_correlation(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Spearman's correlation of paired values; 0 where one of them does not vary, as nothing is told then.

    Examples
    --------
    >>> round(rank_correlation([1.0, 2.0, 9.0], [0.1, 0.2, 0.3]), 6), rank_correlation([1.0, 1.0], [0.1, 0.2])
    (1.0, 0.0)
    """
    from scipy.stats import rankdata  # spearmanr tests for significance besides, which takes ten times as long

    a, b = _paired(values, reference)
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    ranks = rankdata([a, b], axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return float(ranks[0] @ ranks[1] / np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))


def _paired(values: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float64, of one length."""
    a, b = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"Paired values must be two lists of one length; found shapes {a.shape} and {b.shape}.")
    return a, b


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with a bootstrap interval."""

    value: float
    lower: float
    upper: float
    n: int
    """Patients."""
    level: float

    def rounded(self, digits: int = 4) -> list[float]:
        """Value, lower and upper bound, as results are written.

        Examples
        --------
        >>> Interval(0.12345, 0.1, 0.2, n=9, level=0.95).rounded(2)
        [0.12, 0.1, 0.2]
        """
        return [round(float(v), digits) for v in (self.value, self.lower, self.upper)]


def _median(values: FloatArray) -> float:
    """Median, as the default statistic."""
    return float(np.median(values))


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    statistic: Callable[[FloatArray], float] = _median,
    n_bootstrap: int = N_BOOTSTRAP,
    level: float = 0.95,
    seed: int = SEED,
) -> Interval | None:
    """Percentile bootstrap over patients.

    Patients, one value each, are drawn with replacement; the bounds are percentiles of the statistic. With fewer than
    about ten patients such an interval is too narrow.

    Parameters
    ----------
    values
        One for each patient, shape ``(n,)``.
    statistic
        Of a sample; the median where not given.
    n_bootstrap
        Number of resamples.
    level
        Of the interval.
    seed
        Of the resampling: same seed, same interval.

    Returns
    -------
        ``None`` for no values; with a single patient the bounds equal the value.
    """
    sample = np.asarray(values, dtype=np.float64)
    return cluster_bootstrap(
        [sample[i : i + 1] for i in range(sample.size)],
        statistic=statistic,
        n_bootstrap=n_bootstrap,
        level=level,
        seed=seed,
    )


def cluster_bootstrap(
    groups: list[FloatArray],
    *,
    statistic: Callable[[FloatArray], float] = _median,
    n_bootstrap: int = N_BOOTSTRAP,
    level: float = 0.95,
    seed: int = SEED,
) -> Interval | None:
    """Percentile bootstrap over patients who bring several values each, such as lesions.

    Whole patients are drawn, and the statistic is of all values of those drawn.

    Parameters
    ----------
    groups
        Values of each patient, not empty.
    statistic, n_bootstrap, level, seed
        As in :func:`bootstrap_interval`.
    """
    if not groups:
        return None
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(groups), size=(n_bootstrap, len(groups)))
    draws = np.array([statistic(np.concatenate([groups[i] for i in pick])) for pick in picks])
    tail = 100.0 * (1.0 - level) / 2.0
    lower, upper = np.percentile(draws, [tail, 100.0 - tail])
    return Interval(statistic(np.concatenate(groups)), float(lower), float(upper), len(groups), level)


def paired_difference(
    values: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    relative: bool = False,
    statistic: Callable[[FloatArray], float] = _median,
    n_bootstrap: int = N_BOOTSTRAP,
    level: float = 0.95,
    seed: int = SEED,
) -> Interval | None:
    """Difference of two methods on the same patients, with a bootstrap interval over patients.

    Parameters
    ----------
    values, reference
        One for each patient, paired, shape ``(n,)``.
    relative
        Divide each difference by the patient's reference value, which must not be zero.
    statistic, n_bootstrap, level, seed
        As in :func:`bootstrap_interval`.
    """
    a, b = _paired(values, reference)
    if relative and np.any(b == 0):
        raise InputError("A relative difference needs reference values other than 0; found 0. Use the absolute one.")
    difference = (a - b) / b if relative else a - b
    return bootstrap_interval(difference, statistic=statistic, n_bootstrap=n_bootstrap, level=level, seed=seed)


def coefficient_of_repeatability(deviation: float) -> float:
    """Largest difference expected between two repeats in 95 % of cases, 1.96 sqrt(2) SD."""
    return 1.96 * math.sqrt(2.0) * deviation
