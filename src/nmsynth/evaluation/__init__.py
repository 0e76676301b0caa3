"""How near a prediction comes to a reference."""

from nmsynth.evaluation.cohort import CohortEntry, CohortTable, cohort_table, compare_arms
from nmsynth.evaluation.evaluate import evaluate, evaluate_arms
from nmsynth.evaluation.schema import LesionResult, Metrics
from nmsynth.evaluation.settings import EvaluationSettings

__all__ = [
    "CohortEntry",
    "CohortTable",
    "EvaluationSettings",
    "LesionResult",
    "Metrics",
    "cohort_table",
    "compare_arms",
    "evaluate",
    "evaluate_arms",
]
