"""The table of a benchmark from the results of its runs: means over patients, intervals, paired differences, ranks.

Pure: results in, rows out. Nothing is ranked whose training still improved, or whose runs are not all done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nmsynth.core.config import Settings
from nmsynth.core.errors import InputError
from nmsynth.evaluation.league_measures import LARGER_IS_BETTER
from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED
from nmsynth.metrics.convergence import late_improvement

FloatArray = npt.NDArray[np.float64]

SCHEMA_VERSION = 1
LEVEL = 0.95
"""Of the intervals."""
REFERENCE_METHOD = "unet"
"""The model with which every method is compared too."""
KEPT_LATER = frozenset({"region_mean", "region_truth"})
"""Measures of regions that earlier versions did not keep."""


class CaseResult(Settings):
    """Measures of one image of one patient."""

    subject: str
    case: str
    level: str = ""
    """Class of counts, where a case is presented at several."""
    count_fraction: float | None = None
    metrics: dict[str, float]


class RunResult(Settings):
    """What one run leaves: a method on one fold of a task, by one seed. Nothing in it tells the machine or a path."""

    schema_version: Literal[1] = 1
    task: str
    method: str
    kind: Literal["model", "baseline"]
    fold: int
    seed: int
    settings_sha256: str
    """Of all that decides the run but the data."""
    data_sha256: str
    """Of the table of the dataset."""
    unit: str
    """Of the target."""
    modality: str
    data_range: float
    """Of SSIM [unit of the target]; where each case is measured by a level of its own, a multiple of that."""
    detail: str = ""
    """Parameters that a baseline was tuned to, or the family and its arguments."""
    cases: tuple[CaseResult, ...] = Field(min_length=1)
    steps: int | None = None
    seconds_per_step: float | None = None
    """CPU time a step, or time on a GPU, by which the steps were chosen [s]."""
    cpu_s: float
    """CPU time of all sittings, training and testing [s]."""
    wall_s: float
    predict_s: float
    """CPU time of a predicted image, all its samples together [s]."""
    device: str = "cpu"
    parameters: int = 0
    peak_memory_mb: float | None = None
    n_samples: int = 1
    curve: tuple[dict[str, Any], ...] = ()
    """Validation curve of the last stage."""
    converged: bool | None = None
    """``None`` where there are too few validations, and for baselines."""
    version: str = ""
    """Of nmsynth."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells runs apart."""
        return self.task, self.method, self.fold, self.seed


def league_rows(
    results: Sequence[RunResult],
    *,
    scores: Mapping[str, str],
    planned: Mapping[tuple[str, str], int],
    rank: bool,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = SEED,
) -> list[dict[str, Any]]:
    """One row a task and method, JSON values.

    Parameters
    ----------
    results
        Of all runs that are done.
    scores
        Measure by which each task is ranked.
    planned
        Runs that a task and method should have.
    rank
        Whether the suite may be ranked at all.
    n_bootstrap, seed
        Of the bootstrap over patients.

    Raises
    ------
    InputError
        If results of one task were measured on different data, or one run is there twice with different results.
    """
    check_results(results)
    rows = []
    for task in dict.fromkeys(key[0] for key in planned):
        of_task = [r for r in results if r.task == task]
        score = scores[task]
        methods = [m for t, m in planned if t == task]
        found = {m: [r for r in of_task if r.method == m] for m in methods}
        made = [
            _row(task, method, found[method], planned[task, method], n_bootstrap, seed)
            for method in methods
            if found[method]
        ]
        _compare(made, found, score, n_bootstrap, seed)
        _rank(made, score, rank=rank)
        rows += made
    return rows


def comparable(results: Sequence[RunResult]) -> list[RunResult]:
    """Results of the folds that every method of a task has, so that all rows are of the same patients.

    Of a model only the seeds that every model has there are kept; a baseline draws nothing, and its one run of a fold
    stands beside all of them. A fold that only some methods have is left out until it is whole; where the methods have
    none in common, all stay.
    """
    kept: dict[str, list[RunResult]] = {}
    for task in {r.task for r in results}:
        own = [r for r in results if r.task == task]
        folds = _shared({r.method: {s.fold for s in own if s.method == r.method} for r in own})
        models = [r for r in own if r.kind == "model"]
        runs = _shared({r.method: {(s.fold, s.seed) for s in models if s.method == r.method} for r in models})
        if models:
            folds &= {fold for fold, _ in runs}
        kept[task] = [r for r in own if r.fold in folds and (r.kind == "baseline" or (r.fold, r.seed) in runs)] or own
    return [r for r in results if any(r is found for found in kept[r.task])]


def _shared(by_method: Mapping[str, set[Any]]) -> set[Any]:
    """What all methods have; nothing where there are none."""
    return set.intersection(*by_method.values()) if by_method else set()


def check_results(results: Sequence[RunResult]) -> None:
    """Refuse results that cannot stand in one table."""
    seen: dict[tuple[str, str, int, int], RunResult] = {}
    for result in results:
        twin = seen.setdefault(result.key, result)
        if twin != result:
            raise InputError(
                f"A run has one result; '{result.method}' on '{result.task}', fold {result.fold}, has two that differ. "
                "Leave one out."
            )
    for task in {r.task for r in results}:
        digests = {(r.data_sha256, r.unit, r.data_range) for r in results if r.task == task}
        if len(digests) > 1:
            raise InputError(
                f"Results of a task belong to one dataset; those of '{task}' to {len(digests)}. Run it again on one."
            )


def patient_values(results: Iterable[RunResult], metric: str, level: str | None = None) -> dict[str, float]:
    """Mean of a measure for each patient over images, count levels and seeds.

    Parameters
    ----------
    results
        Of one method on one task.
    metric
        Name of a measure; patients without it are left out.
    level
        The one class of counts; all when unset.
    """
    values: dict[str, list[float]] = {}
    for result in results:
        for case in result.cases:
            if metric in case.metrics and (level is None or case.level == level):
                values.setdefault(case.subject, []).append(case.metrics[metric])
    return {subject: float(np.mean(found)) for subject, found in sorted(values.items())}


def mean_interval(
    values: Sequence[float], *, n_bootstrap: int = N_BOOTSTRAP, seed: int = SEED
) -> dict[str, float | int] | None:
    """Mean with a 95 % percentile bootstrap interval over patients.

    The draws are those of :func:`nmsynth.metrics.agreement.bootstrap_interval` with the mean as its statistic.

    Parameters
    ----------
    values
        One a patient, shape ``(n,)``.
    n_bootstrap, seed
        Of the bootstrap.

    Returns
    -------
        ``value``, ``lower``, ``upper``, ``n``, and the ``median``, which one odd patient does not move; ``None`` for no
        values. With few patients the interval is too narrow.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        return None
    picks = np.random.default_rng(seed).integers(0, sample.size, size=(n_bootstrap, sample.size))
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    lower, upper = np.percentile(sample[picks].mean(axis=1), [tail, 100.0 - tail])
    return {
        "value": float(sample.mean()),
        "lower": float(lower),
        "upper": float(upper),
        "median": float(np.median(sample)),
        "n": int(sample.size),
    }


def difference_interval(
    values: Mapping[str, float], reference: Mapping[str, float], *, n_bootstrap: int = N_BOOTSTRAP, seed: int = SEED
) -> dict[str, float | int] | None:
    """Mean over patients of what a method's value is above another's, with its interval; patients of both alone."""
    both = sorted(set(values) & set(reference))
    return mean_interval([values[s] - reference[s] for s in both], n_bootstrap=n_bootstrap, seed=seed)


def _row(
    task: str, method: str, results: Sequence[RunResult], n_planned: int, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    """What a method reached on a task, before it is compared."""
    first = results[0]

    def interval(metric: str, level: str | None = None) -> dict[str, float | int] | None:
        """Mean over patients with its interval."""
        values = patient_values(results, metric, level)
        return mean_interval(list(values.values()), n_bootstrap=n_bootstrap, seed=seed)

    names = sorted({name for r in results for case in r.cases for name in case.metrics} - _not_kept(results))
    levels = sorted({case.level for r in results for case in r.cases if case.level}, key=_level_order(results))
    return {
        "task": task,
        "method": method,
        "kind": first.kind,
        "detail": "; ".join(dict.fromkeys(r.detail for r in results if r.detail)),
        "unit": first.unit,
        "n_patients": len({case.subject for r in results for case in r.cases}),
        "n_runs": len(results),
        "n_runs_planned": n_planned,
        "n_samples": max(r.n_samples for r in results),
        "metrics": {name: interval(name) for name in names},
        "by_level": [{"level": level, "metrics": {name: interval(name, level) for name in names}} for level in levels],
        **_costs(results),
        **_training(results),
    }


def _not_kept(results: Sequence[RunResult]) -> set[str]:
    """Measures that some run did not keep, being of an earlier version: a mean over the other folds would mislead."""
    cases = [case.metrics for r in results for case in r.cases if "region_error" in case.metrics]
    return {name for name in KEPT_LATER if any(name not in metrics for metrics in cases)}


def _level_order(results: Sequence[RunResult]) -> Callable[[str], float]:
    """Key that sorts classes of counts from many to few."""
    fractions = {case.level: case.count_fraction or 0.0 for r in results for case in r.cases}
    return lambda level: -fractions[level]


def _costs(results: Sequence[RunResult]) -> dict[str, Any]:
    """Time, parameters and memory."""
    memory = [r.peak_memory_mb for r in results if r.peak_memory_mb is not None]
    return {
        "device": "/".join(sorted({r.device for r in results})),
        "cpu_minutes": float(np.mean([r.cpu_s for r in results])) / 60.0,
        "wall_minutes": float(np.mean([r.wall_s for r in results])) / 60.0,
        "predict_s": float(np.mean([r.predict_s for r in results])),
        "parameters": max(r.parameters for r in results),
        "peak_memory_mb": max(memory) if memory else None,
    }


def _training(results: Sequence[RunResult]) -> dict[str, Any]:
    """Steps, curves, and whether every run had converged."""
    if results[0].kind == "baseline":
        return {"steps": None, "converged": None, "late_improvement": None, "curves": []}
    verdicts = [r.converged for r in results]
    late = [v for v in (late_improvement(r.curve) for r in results) if v is not None]
    return {
        "steps": min(r.steps or 0 for r in results),
        "converged": None if None in verdicts else all(verdicts),
        "late_improvement": max(late) if late else None,
        "curves": [
            {"fold": r.fold, "seed": r.seed, "points": [{"step": p["step"], "score": p["score"]} for p in r.curve]}
            for r in results
        ],
    }


def _better(metric: str) -> float:
    """1 where less is better, -1 where more is."""
    return -1.0 if metric in LARGER_IS_BETTER else 1.0


def _mean_of(row: Mapping[str, Any], metric: str) -> float:
    """Value of a measure with its sign so that less is better; infinite where it is missing."""
    found = row["metrics"].get(metric)
    return math.inf if found is None else _better(metric) * float(found["value"])


def _compare(
    rows: list[dict[str, Any]], found: Mapping[str, Sequence[RunResult]], score: str, n_bootstrap: int, seed: int
) -> None:
    """Add to each row its paired difference to the best baseline and to the U-Net, in the score and in the regions."""
    for metric, prefix in ((score, ""), ("region_error", "region_")):
        values = {row["method"]: patient_values(found[row["method"]], metric) for row in rows}
        baselines = [r for r in rows if r["kind"] == "baseline" and values[r["method"]]]
        best = min(baselines, key=lambda r: _mean_of(r, metric))["method"] if baselines else None
        for row in rows:
            for name, other in ((f"{prefix}to_baseline", best), (f"{prefix}to_unet", REFERENCE_METHOD)):
                difference = None
                if other in values and other != row["method"]:
                    difference = difference_interval(
                        values[row["method"]], values[other], n_bootstrap=n_bootstrap, seed=seed
                    )
                row[name] = None if difference is None else {"of": metric, "to": other, **difference}


def _rank(rows: list[dict[str, Any]], score: str, *, rank: bool) -> None:
    """Rank what may be ranked, best first; say of each other row why it is not."""
    able = []
    for row in rows:
        row["score"], row["rank"] = score, None
        row["not_ranked"] = _why_not(row, score, rank=rank)
        if row["not_ranked"] is None:
            able.append(row)
    for place, row in enumerate(sorted(able, key=lambda r: _mean_of(r, score)), 1):
        row["rank"] = place


def _why_not(row: Mapping[str, Any], score: str, *, rank: bool) -> str | None:
    """Why a row has no rank."""
    if not rank:
        return "the suite proves plumbing only"
    if row["n_runs"] < row["n_runs_planned"]:
        return f"{row['n_runs']} of {row['n_runs_planned']} runs"
    if row["metrics"].get(score) is None:
        return "no score"
    if row["kind"] == "baseline" or row["converged"]:
        return None
    return "too few validations" if row["converged"] is None else "still improving"


def region_verdict(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """A sentence on whether any model beats every baseline on the means of regions, such as tumour SUVmean.

    Parameters
    ----------
    rows
        Of one task.

    Returns
    -------
        ``None`` where no regions were measured, or there is no model or no baseline.
    """
    models = [r for r in rows if r["kind"] == "model" and r["region_to_baseline"] is not None]
    if not models:
        return None
    best = models[0]["region_to_baseline"]["to"]
    better = [r["method"] for r in models if r["region_to_baseline"]["upper"] < 0]
    if better:
        return f"On the means of regions {', '.join(better)} beat the best baseline, '{best}' (interval below 0)."
    return f"On the means of regions no model beats the best baseline, '{best}' (no interval lies below 0)."
