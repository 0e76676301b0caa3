"""``table.json`` of a benchmark: its rows with what is needed to read them, and the same as flat tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nmsynth.data.body import CT_THRESHOLD_HU, MR_THRESHOLD
from nmsynth.evaluation.league import SCHEMA_VERSION, RunResult, comparable, league_rows, region_verdict
from nmsynth.evaluation.league_measures import MEASURES
from nmsynth.metrics.convergence import LARGEST_IMPROVEMENT, LEAST_POINTS
from nmsynth.metrics.regions import BODY_SMOOTHING_FWHM_MM, BODY_THRESHOLD_FRACTION

BODY_TEXT = {
    "CT": f"body contour of the target: largest component above {CT_THRESHOLD_HU:g} HU, filled slice by slice",
    "MR": f"body contour of the target: above {MR_THRESHOLD:g} of the 99th percentile, largest component, filled",
    "PT": (
        f"body contour of the target: smoothed by {BODY_SMOOTHING_FWHM_MM:g} mm, above {BODY_THRESHOLD_FRACTION:g} of "
        "the mean of the voxels above the image's mean, filled slice by slice"
    ),
}
"""Mask by modality of the target, one for every method; a mask ``body`` of the dataset takes its place."""


def league_table(
    results: Sequence[RunResult],
    *,
    tasks: Sequence[Mapping[str, Any]],
    planned: Mapping[tuple[str, str], int],
    suite: Mapping[str, Any],
    failed: Sequence[Mapping[str, Any]] = (),
    rank: bool,
    n_bootstrap: int,
) -> dict[str, Any]:
    """The whole table, JSON values.

    Parameters
    ----------
    results
        Of all runs that are done; those of folds that not every method has are left out, so that rows compare.
    tasks
        ``name``, ``title``, ``score`` and ``aims`` of each.
    planned
        Runs that a task and method should have.
    suite
        What is printed of the suite.
    failed
        Runs that failed, with their reason.
    rank
        Whether the suite may be ranked.
    n_bootstrap
        Draws of patients.
    """
    scores = {str(t["name"]): str(t["score"]) for t in tasks}
    done, results = results, comparable(results)
    rows = league_rows(results, scores=scores, planned=planned, rank=rank, n_bootstrap=n_bootstrap)
    described = []
    for task in tasks:
        own = [r for r in rows if r["task"] == task["name"]]
        of_task = [r for r in results if r.task == task["name"]]
        first = of_task[0] if of_task else None
        described.append({
            **task,
            "n_runs": len(of_task),
            "n_runs_left_out": sum(r.task == task["name"] for r in done) - len(of_task),
            "n_runs_planned": sum(n for (name, _), n in planned.items() if name == task["name"]),
            "n_patients": len({c.subject for r in of_task for c in r.cases}),
            "unit": first.unit if first else None,
            "modality": first.modality if first else None,
            "data_range": first.data_range if first else None,
            "body": BODY_TEXT.get(first.modality, BODY_TEXT["PT"]) if first else None,
            "region_verdict": region_verdict(own),
            "region_means": region_means_of_patients(of_task),
        })  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": dict(suite),
        "ranked": rank,
        "measures": {name: {"label": m[0], "unit": m[1], "meaning": m[2]} for name, m in MEASURES.items()},
        "statistics": {
            "statistic": "mean over patients of each patient's mean over images, count levels and seeds",
            "interval": f"95 % percentile bootstrap over patients, {n_bootstrap} draws",
            "differences": "paired over patients, method minus reference",
            "converged": (
                f"best validation score improved by less than {100 * LARGEST_IMPROVEMENT:g} % over the last third of "
                f"the steps, in every run; unknown below {LEAST_POINTS} validations"
            ),
        },
        "tasks": described,
        "rows": rows,
        "failed": list(failed),
    }


def region_means_of_patients(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Of each patient the true mean of the labelled regions, such as SUVmean of tumours, and that of each method.

    Parameters
    ----------
    results
        Of one task.

    Returns
    -------
        One row a patient, ``subject``, ``truth`` and ``methods`` [unit of the target], means over images, levels and
        seeds; none where no region was measured, or by a version that did not keep them.
    """
    found: dict[str, dict[str, list[float]]] = {}
    truth: dict[str, list[float]] = {}
    for result in results:
        for case in result.cases:
            if "region_truth" in case.metrics and "region_mean" in case.metrics:
                truth.setdefault(case.subject, []).append(case.metrics["region_truth"])
                own = found.setdefault(case.subject, {})
                own.setdefault(result.method, []).append(case.metrics["region_mean"])
    return [
        {
            "subject": subject,
            "truth": float(np.mean(truth[subject])),
            "methods": {method: float(np.mean(values)) for method, values in found[subject].items()},
        }
        for subject in sorted(found)
    ]


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table as columns."""
    skipped = ("metrics", "by_level", "curves", "to_baseline", "to_unet", "region_to_baseline", "region_to_unet")
    flat = {key: value for key, value in row.items() if key not in skipped}
    for name, found in row["metrics"].items():
        if found is not None:
            flat |= {name: found["value"], f"{name}_lower": found["lower"], f"{name}_upper": found["upper"]}
    for key in skipped[3:]:
        found = row[key]
        if found is not None:
            flat |= {f"{key}_method": found["to"], key: found["value"]}
            flat |= {f"{key}_lower": found["lower"], f"{key}_upper": found["upper"]}
    for level in row["by_level"]:
        for name, found in level["metrics"].items():
            if found is not None and name == row["score"]:
                flat[f"{name} ({level['level']})"] = found["value"]
    return flat


def flat_run(result: RunResult) -> dict[str, Any]:
    """A run as columns, with the means of its measures over its images."""
    flat = result.model_dump(mode="json", exclude={"cases", "curve", "schema_version"})
    for name in sorted({name for case in result.cases for name in case.metrics}):
        flat[name] = float(np.mean([case.metrics[name] for case in result.cases if name in case.metrics]))
    return flat


def flat_patients(result: RunResult) -> Iterator[dict[str, Any]]:
    """Every image of a run as columns."""
    for case in result.cases:
        yield {
            "task": result.task, "method": result.method, "fold": result.fold, "seed": result.seed,
            "subject": case.subject, "case": case.case, "level": case.level, "count_fraction": case.count_fraction,
            **case.metrics,
        }  # fmt: skip
