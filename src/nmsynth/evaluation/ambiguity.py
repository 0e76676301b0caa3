"""What a model knows where a source leaves its target open: error, coverage, decisions, and the fall back to the mean.

A model that draws a brain's uptake from its anatomy can be right only as far as the two hang together. On simulated
subjects that is known and can be set to nothing. The mean to fall back to is then not one number for all: a scan mixes
thin cortex with its neighbours, so that a brain with atrophy shows less uptake though its tissue takes up the same. An
honest model answers with the population's uptake in the anatomy of the subject, its intervals hold what they promise,
and no decision follows from its images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.agreement import Interval, cluster_bootstrap, paired_difference, rank_correlation
from nmsynth.metrics.intervals import covered_share
from nmsynth.metrics.observer import area_under_curve

FloatArray = npt.NDArray[np.float64]

THRESHOLD_DEVIATIONS = 2.0
"""Standard deviations of the healthy above their mean at which a composite is called abnormal."""
LEAST_HEALTHY = 3
"""Healthy subjects from which a threshold is told."""
DEFINITIONS = {
    "error": "mean over regions of the absolute difference to the truth; median over subjects",
    "error of anatomy's mean": "the same of the population's uptake in the anatomy of each subject",
    "less anatomy's mean": (
        "the error less that of the population's uptake in the anatomy of each subject, paired; median"
    ),
    "less population mean": (
        "the error less that of the training subjects' mean of each region, paired; median; below zero by partial "
        "volume alone"
    ),
    "coverage": "share of regions within their intervals; mean over subjects",
    "half width": "mean over regions of half of the interval; median over subjects",
    "AUC": (
        "area under the ROC curve of the image's composite for those who have the disease, severity above 0, against "
        "those who have not"
    ),
    "AUC of truth": "the same of the composite of the true image, which no image can pass",
    "AUC of anatomy": "the same of the population's uptake in the anatomy",
    "AUC of biomarker": "the same of the biomarker alone",
    "AUC less biomarker": "area of the image less that of the biomarker, paired",
    "threshold": (
        f"composite of the true image beyond which it is called abnormal: mean and {THRESHOLD_DEVIATIONS:g} standard "
        "deviations of the subjects without disease; of these regions and this simulator alone"
    ),
    "AUC beyond threshold": "area for those whose true composite lies beyond the threshold, whoever has the disease",
    "severity correlation": "Spearman's, of the composite with the severity of those who have the disease",
    "spread over truth": "standard deviation of the composite over that of its truth; 0 is one answer for all",
    "spread beyond anatomy": (
        "standard deviation of the composite less that of the population's uptake in the anatomy, over the same of the "
        "truth; 0 says nothing beyond the anatomy"
    ),
}
"""Of the numbers of :func:`summarise_ambiguity`."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionAnswers:
    """What a model says of the regions of some subjects, beside what is true.

    Attributes
    ----------
    truth, mean, half_width, anatomy
        Of each region: true value, mean of the samples, half of the interval, and the population's uptake in the
        anatomy of the subject; shape ``(subject, region)``.
    population_mean
        Of each region over the training subjects, shape ``(region,)``.
    composite, true_composite, anatomy_composite
        Number of the image that a decision is taken by, raised by disease, its true value, and that of the population's
        uptake in the anatomy, shape ``(subject,)``.
    severity
        Of the disease, 0 for none, shape ``(subject,)``.
    biomarker
        Raised by disease, shape ``(subject,)``; ``None`` where none speaks of this disease.
    """

    truth: FloatArray
    mean: FloatArray
    half_width: FloatArray
    anatomy: FloatArray
    population_mean: FloatArray
    composite: FloatArray
    true_composite: FloatArray
    anatomy_composite: FloatArray
    severity: FloatArray
    biomarker: FloatArray | None = None

    def __post_init__(self) -> None:
        n, r = self.truth.shape
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (n, r), "half_width": (n, r), "anatomy": (n, r), "population_mean": (r,), "composite": (n,),
            "true_composite": (n,), "anatomy_composite": (n,), "severity": (n,), "biomarker": (n,),
        }  # fmt: skip
        for name, shape in shapes.items():
            found = getattr(self, name)
            if not (found is None and name == "biomarker") and np.shape(found) != shape:
                raise InputError(f"Answers of {n} subjects and {r} regions need {name} of shape {shape}.")


def summarise_ambiguity(answers: RegionAnswers) -> dict[str, Interval | None]:
    """The numbers of :data:`DEFINITIONS`, each with its 95 % interval over subjects.

    Areas are ``None`` where all or none have the disease, those of a biomarker where none is given, a threshold with
    fewer than three healthy subjects, and a correlation where fewer than three have the disease.
    """
    error = np.abs(answers.mean - answers.truth).mean(axis=1)
    of_anatomy = np.abs(answers.anatomy - answers.truth).mean(axis=1)
    of_mean = np.abs(answers.population_mean - answers.truth).mean(axis=1)
    covered = [covered_share(a, b) for a, b in zip(answers.mean - answers.truth, answers.half_width, strict=True)]
    sick = answers.severity > 0
    image, truth, anatomy = answers.composite, answers.true_composite, answers.anatomy_composite
    beyond = np.column_stack([image - anatomy, truth - anatomy])
    of_sick = np.column_stack([image, answers.severity])[sick]
    return {
        "error": _over_subjects(error, np.median),
        "error of anatomy's mean": _over_subjects(of_anatomy, np.median),
        "less anatomy's mean": paired_difference(error, of_anatomy),
        "less population mean": paired_difference(error, of_mean),
        "coverage": _over_subjects(np.asarray(covered), np.mean),
        "half width": _over_subjects(answers.half_width.mean(axis=1), np.median),
        **_decisions(answers, sick),
        "severity correlation": _over_rows(of_sick, _correlation) if sick.sum() >= 3 else None,
        "spread over truth": _over_rows(np.column_stack([image, truth]), _spread_ratio),
        "spread beyond anatomy": _over_rows(beyond, _spread_ratio),
    }


def _decisions(answers: RegionAnswers, sick: npt.NDArray[np.bool_]) -> dict[str, Interval | None]:
    """Areas under the ROC curve of the image and of what stands beside it, and the threshold."""
    image, truth, biomarker = answers.composite, answers.true_composite, answers.biomarker

    def area(values: FloatArray, of: npt.NDArray[np.bool_]) -> Interval | None:
        """Of some values; ``None`` where there is one kind of subjects alone."""
        both = bool(of.any() and not of.all())
        return _over_rows(np.column_stack([values, of]), _auc) if both else None

    healthy = truth[~sick]
    threshold = _over_subjects(healthy, _threshold) if len(healthy) >= LEAST_HEALTHY else None
    beyond = None if threshold is None else area(image, truth > threshold.value)
    both = bool(sick.any() and not sick.all())
    paired = None
    if biomarker is not None and both:
        paired = _over_rows(
            np.column_stack([image, sick, biomarker]), lambda rows: _auc(rows[:, :2]) - _auc(rows[:, [2, 1]])
        )
    return {
        "AUC": area(image, sick),
        "AUC of truth": area(truth, sick),
        "AUC of anatomy": area(answers.anatomy_composite, sick),
        "AUC of biomarker": None if biomarker is None else area(biomarker, sick),
        "AUC less biomarker": paired,
        "threshold": threshold,
        "AUC beyond threshold": beyond,
    }


def to_json(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    """Value and bounds of each number, rounded."""
    return {name: None if interval is None else interval.rounded() for name, interval in found.items()}


def _over_subjects(values: FloatArray, statistic: Callable[[FloatArray], Any]) -> Interval | None:
    """A statistic of one value a subject."""
    return cluster_bootstrap([values[k : k + 1] for k in range(len(values))], statistic=lambda v: float(statistic(v)))


def _over_rows(rows: FloatArray, statistic: Callable[[FloatArray], float]) -> Interval | None:
    """A statistic of one row a subject."""
    return cluster_bootstrap([rows[k : k + 1] for k in range(len(rows))], statistic=statistic)


def _threshold(healthy: FloatArray) -> float:
    """Composite beyond which few of the healthy lie."""
    return float(healthy.mean() + THRESHOLD_DEVIATIONS * healthy.std())


def _auc(rows: FloatArray) -> float:
    """Of value and kind of a draw of subjects; a half where it holds only one kind."""
    sick = rows[:, 1] > 0
    if sick.all() or not sick.any():
        return 0.5
    return area_under_curve(rows[sick, 0], rows[~sick, 0])


def _correlation(rows: FloatArray) -> float:
    """Spearman's of two columns."""
    return rank_correlation(rows[:, 0], rows[:, 1])


def _spread_ratio(rows: FloatArray) -> float:
    """Standard deviation of the first column over that of the second."""
    true = float(rows[:, 1].std())
    return float(rows[:, 0].std()) / true if true > 0 else 0.0
