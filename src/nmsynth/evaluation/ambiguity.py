"""What a model knows where a source leaves its target open: error, coverage, decisions, and the fall back to the mean.

A model that draws a brain's uptake from its anatomy can be right only as far as the two hang together. On simulated
subjects that is known and can be set to nothing; an honest model then answers with the population's mean, its intervals
hold what they promise, and no decision can be taken from its images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.agreement import Interval, cluster_bootstrap, paired_difference
from nmsynth.metrics.intervals import covered_share
from nmsynth.metrics.observer import area_under_curve

FloatArray = npt.NDArray[np.float64]

DEFINITIONS = {
    "error": "mean over regions of the absolute difference to the truth; median over subjects",
    "less population mean": "the same less that of the training subjects' mean of each region, paired; median",
    "coverage": "share of regions within their intervals; mean over subjects",
    "half width": "mean over regions of half of the interval; median over subjects",
    "AUC": "area under the ROC curve of the composite for those who have the disease against those who have not",
    "severity correlation": "Spearman's, of the composite with the severity of those who have the disease",
    "spread over truth": "standard deviation of the composite over that of its truth; 0 is one answer for all",
}
"""Of the numbers of :func:`summarise_ambiguity`."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionAnswers:
    """What a model says of the regions of some subjects, beside what is true.

    Attributes
    ----------
    truth, mean, half_width
        Of each region: true value, mean of the samples, half of the interval; shape ``(subject, region)``.
    population_mean
        Of each region over the training subjects, shape ``(region,)``.
    composite, true_composite
        Number of the image that a decision is taken by, raised by disease, and its true value, shape ``(subject,)``.
    severity
        Of the disease, 0 for none, shape ``(subject,)``.
    """

    truth: FloatArray
    mean: FloatArray
    half_width: FloatArray
    population_mean: FloatArray
    composite: FloatArray
    true_composite: FloatArray
    severity: FloatArray

    def __post_init__(self) -> None:
        n, r = self.truth.shape
        shapes = {
            "mean": (n, r), "half_width": (n, r), "population_mean": (r,), "composite": (n,), "true_composite": (n,),
            "severity": (n,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise InputError(f"Answers of {n} subjects and {r} regions need {name} of shape {shape}.")


def summarise_ambiguity(answers: RegionAnswers) -> dict[str, Interval | None]:
    """The numbers of :data:`DEFINITIONS`, each with its 95 % interval over subjects.

    ``AUC`` is ``None`` where all or none have the disease, and a correlation where fewer than three have it.
    """
    error = np.abs(answers.mean - answers.truth).mean(axis=1)
    of_mean = np.abs(answers.population_mean - answers.truth).mean(axis=1)
    covered = [covered_share(a, b) for a, b in zip(answers.mean - answers.truth, answers.half_width, strict=True)]
    sick = answers.severity > 0
    decisions = np.column_stack([answers.composite, answers.severity, answers.true_composite])
    both = bool(sick.any() and not sick.all())
    return {
        "error": _over_subjects(error, np.median),
        "less population mean": paired_difference(error, of_mean),
        "coverage": _over_subjects(np.asarray(covered), np.mean),
        "half width": _over_subjects(answers.half_width.mean(axis=1), np.median),
        "AUC": _over_rows(decisions, _auc) if both else None,
        "severity correlation": _over_rows(decisions[sick], _severity_correlation) if sick.sum() >= 3 else None,
        "spread over truth": _over_rows(decisions, _spread_ratio),
    }


def to_json(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    """Value and bounds of each number, rounded."""
    return {name: None if interval is None else interval.rounded() for name, interval in found.items()}


def _over_subjects(values: FloatArray, statistic: Any) -> Interval | None:
    """A statistic of one value a subject."""
    return cluster_bootstrap([values[k : k + 1] for k in range(len(values))], statistic=lambda v: float(statistic(v)))


def _over_rows(rows: FloatArray, statistic: Any) -> Interval | None:
    """A statistic of one row a subject."""
    return cluster_bootstrap([rows[k : k + 1] for k in range(len(rows))], statistic=statistic)


def _auc(rows: FloatArray) -> float:
    """Of a draw of subjects; a half where it holds only one kind."""
    sick = rows[:, 1] > 0
    if sick.all() or not sick.any():
        return 0.5
    return area_under_curve(rows[sick, 0], rows[~sick, 0])


def _severity_correlation(rows: FloatArray) -> float:
    """Spearman's; 0 where nothing varies."""
    from scipy import stats

    if np.ptp(rows[:, 0]) == 0 or np.ptp(rows[:, 1]) == 0:
        return 0.0
    return float(stats.spearmanr(rows[:, 0], rows[:, 1]).statistic)


def _spread_ratio(rows: FloatArray) -> float:
    """Standard deviation of the composite over that of its truth."""
    true = float(rows[:, 2].std())
    return float(rows[:, 0].std()) / true if true > 0 else 0.0
