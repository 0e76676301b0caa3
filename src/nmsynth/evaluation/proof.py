"""Whether a model beats what is beside it, by several numbers over patients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nmsynth.evaluation.evaluate import PREDICTION, REFERENCE
from nmsynth.metrics.agreement import (
    Interval,
    bootstrap_interval,
    cluster_bootstrap,
    paired_difference,
    rank_correlation,
)

Wanted = Literal["lower", "higher", "zero", "one", "told"]
"""Where the best value of a number lies; ``zero`` of a bias, ``one`` of a recovery; ``told`` of one that has no best,
such as an uptake or the width of an interval, and is not judged."""
Values = Mapping[str, Mapping[str, float | None]]
"""Of one patient: by arm and by number."""
LEAST_CORRELATED = 3
"""Patients from which a correlation over them is told."""
LEAST_PAIRS = 10
"""Patients in whom both arms have a number, below which nothing is said of it: intervals of fewer are too narrow."""


@dataclass(frozen=True, slots=True)
class ProofSummary:
    """Numbers of every arm over patients, and how far the model is from each arm."""

    arms: Mapping[str, Mapping[str, Interval]]
    """Median or mean over patients with its interval."""
    differences: Mapping[str, Mapping[str, Interval]]
    """Of every other arm: median or mean of the paired differences of :func:`shortfall`, model less arm, so that the
    model is better where it is negative."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""

        def plain(found: Mapping[str, Mapping[str, Interval]]) -> dict[str, Any]:
            """Intervals as dictionaries."""
            return {arm: {name: asdict(interval) for name, interval in own.items()} for arm, own in found.items()}

        return {"arms": plain(self.arms), "model_less_arm": plain(self.differences)}

    def is_better(self, number: str, than: Sequence[str]) -> bool:
        """Whether the model is better than each of some arms, with the interval of the difference below zero.

        Never with fewer than :data:`LEAST_PAIRS` pairs.
        """
        found = [self.differences[arm].get(number) for arm in than if arm in self.differences]
        return bool(found) and all(i is not None and i.n >= LEAST_PAIRS and i.upper < 0 for i in found)

    def is_worse(self, number: str, than: Sequence[str]) -> bool:
        """Whether the model is worse than one of some arms, with the interval of the difference above zero.

        Arms with fewer than :data:`LEAST_PAIRS` pairs do not count.
        """
        found = [self.differences[arm].get(number) for arm in than if arm in self.differences]
        return any(i is not None and i.n >= LEAST_PAIRS and i.lower > 0 for i in found)

    def has_too_few(self, number: str, than: Sequence[str]) -> bool:
        """Whether some arm that has the number has it in fewer than :data:`LEAST_PAIRS` pairs."""
        found = [self.differences[arm].get(number) for arm in than if arm in self.differences]
        return any(i is not None and i.n < LEAST_PAIRS for i in found)


def shortfall(value: float, wanted: Wanted) -> float:
    """How far a number is from its best, less is better; of one whose best has no bound, its negative.

    Examples
    --------
    >>> shortfall(0.8, "one"), shortfall(-3.0, "zero"), shortfall(2.0, "higher")
    (0.19999999999999996, 3.0, -2.0)
    """
    if wanted == "lower":
        return value
    if wanted == "higher":
        return -value
    return abs(value - 1.0) if wanted == "one" else abs(value)


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Mean of a sample."""
    return float(np.mean(values))


def _median(values: npt.NDArray[np.float64]) -> float:
    """Median of a sample."""
    return float(np.median(values))


def summarise_proof(
    patients: Sequence[Values],
    wanted: Mapping[str, Wanted],
    *,
    means: Collection[str] = (),
    correlations: Collection[str] = (),
) -> ProofSummary:
    """Summarise the numbers of some patients.

    Parameters
    ----------
    patients
        Of each patient the numbers of every arm, ``None`` where one is not defined.
    wanted
        Numbers that are summarised, with where their best value lies.
    means
        Those of them that are small whole numbers, such as counts of spots, whose medians stay where they are until
        half of the patients change: summarised by their means.
    correlations
        Those of them whose rank correlation over patients with the same number of the arm ``reference`` is wanted, such
        as a severity: high or low in the right patients.

    Returns
    -------
        Medians, or means, over patients with 95 % bootstrap intervals. A difference is of the patients in whom both
        arms have the number.
    """
    names = list(dict.fromkeys(arm for patient in patients for arm in patient))
    arms: dict[str, dict[str, Interval]] = {}
    differences: dict[str, dict[str, Interval]] = {}
    for arm in names:
        for number, best in wanted.items():
            if number in correlations:
                _add_correlation(patients, arm, number, arms, differences)
                continue
            statistic = _mean if number in means else _median
            own = [patient.get(arm, {}).get(number) for patient in patients]
            interval = bootstrap_interval([value for value in own if value is not None], statistic=statistic)
            if interval is not None:
                arms.setdefault(arm, {})[number] = interval
            if arm == PREDICTION or best == "told":
                continue
            of_model = [patient.get(PREDICTION, {}).get(number) for patient in patients]
            pairs = [(a, b) for a, b in zip(of_model, own, strict=True) if a is not None and b is not None]
            difference = paired_difference(
                [shortfall(a, best) for a, _ in pairs],
                [shortfall(b, best) for _, b in pairs],
                statistic=statistic,
            )
            if difference is not None:
                differences.setdefault(arm, {})[number] = difference
    return ProofSummary(arms, differences)


def _add_correlation(
    patients: Sequence[Values],
    arm: str,
    number: str,
    arms: dict[str, dict[str, Interval]],
    differences: dict[str, dict[str, Interval]],
) -> None:
    """Put the correlation of an arm's number with the reference's beside the others, and what the model lacks to it."""
    if arm == REFERENCE:
        return
    three = [[patient.get(of, {}).get(number) for of in (PREDICTION, arm, REFERENCE)] for patient in patients]
    own = [np.array([row[1:]], dtype=np.float64) for row in three if None not in row[1:]]
    if len(own) < LEAST_CORRELATED:
        return
    interval = cluster_bootstrap(own, statistic=lambda rows: rank_correlation(rows[:, 0], rows[:, 1]))
    if interval is not None:
        arms.setdefault(arm, {})[number] = interval
    both = [np.array([row], dtype=np.float64) for row in three if None not in row]
    if arm == PREDICTION or len(both) < LEAST_CORRELATED:
        return
    difference = cluster_bootstrap(
        both, statistic=lambda rows: rank_correlation(rows[:, 1], rows[:, 2]) - rank_correlation(rows[:, 0], rows[:, 2])
    )
    if difference is not None:
        differences.setdefault(arm, {})[number] = difference
