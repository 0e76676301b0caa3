"""A planar model on real counts: a measured series is thinned, and the answer scored on the counts that were taken out.

    python -m benchmarks.real_planar --series ../shared/data/planar_static --model lowcount-planar --tracer MAA \
        --out benchmarks/results/real_planar

Each count is kept with the probability ``f``. The kept and the removed counts are independent Poisson counts of one
expectation, so that the complement, scaled by ``f / (1 - f)``, is a reference that has nothing of the source's noise.
Its own noise is known and taken off: where ``c`` are its counts and ``s`` is the scale, ``mean((p - s c)^2) - s^2
mean(c)`` is without bias the squared error of ``p`` against the expectation. The error is relative to the mean, in the
field where there are counts. Beside the model stand the source and the Gaussian that is best on this very reference.
Differences of the model to both are view by view and draw by draw. One patient: whole views with all their draws are
drawn for the intervals, which say nothing of other patients, and of few views little. Only numbers are written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.planar_realism import field_slices

from nmsynth.io import read
from nmsynth.metrics.agreement import cluster_bootstrap
from nmsynth.models.classical import best_gaussian
from nmsynth.models.registry import show_model
from nmsynth.workflows.synthesis import synthesize_study
from nmsynth.workflows.thinning import ThinSettings, thin_series

Image = npt.NDArray[np.float64]

FRACTIONS = (0.5, 0.25, 0.125)
OTHERS = ("source", "best Gaussian")


def relative_error(image: Image, complement: Image, scale: float) -> float:
    """Root mean square error against the expectation over its mean, the noise of the complement taken off.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> counts = rng.poisson(8.0, (400, 400)).astype(float)
    >>> round(relative_error(np.full((400, 400), 5.0), counts, 0.5), 2)  # the expectation is 4
    0.25
    """
    squared = ((image - scale * complement) ** 2).mean() - scale**2 * complement.mean()
    return float(np.sqrt(max(squared, 0.0)) / (scale * complement.mean()))


def score(series: Path, model: str, tracer: str, fraction: float, seed: int) -> list[dict[str, Any]]:
    """Errors of every view at one fraction."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        thin_series(ThinSettings(source=series, count_fraction=fraction, seed=seed), work / "thin")
        settings = {"tracer": tracer} if tracer else None
        synthesize_study(work / "thin" / "scan", work / "out", model=model, settings=settings)
        source = read(work / "thin" / "scan")
        complement = read(work / "thin" / "reference" / "complement").array.astype(np.float64)
        synthetic = read(work / "out").array.astype(np.float64)
    rows = []
    scale = fraction / (1 - fraction)
    for view in range(len(complement)):
        field = field_slices(source.array[view] + complement[view])
        kept, rest, answer = (a[view][field].astype(np.float64) for a in (source.array, complement, synthetic))
        # the complement's own noise is the same for every width, so the best is the best against the expectation too
        smooth = best_gaussian(kept[None], scale * rest[None], np.ones_like(kept[None]), source.spacing_mm)
        arms = {"synthetic": answer, "source": kept, "best Gaussian": smooth.image[0].astype(np.float64)}
        rows.append(
            {
                "fraction": fraction,
                "seed": seed,
                "view": view,
                "gaussian_fwhm_mm": smooth.fwhm_mm,
                "error": {name: relative_error(image, rest, scale) for name, image in arms.items()},
                "total_counts": float(answer.sum() / kept.sum() - 1),
            }
        )
    return rows


def over_views(rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> list[float] | None:
    """Median over views and draws, and its interval, for which whole views are drawn."""
    views = sorted({row["view"] for row in rows})
    groups = [np.array([value(row) for row in rows if row["view"] == view]) for view in views]
    found = cluster_bootstrap(groups)
    return None if found is None else [found.value, found.lower, found.upper]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians and intervals at each fraction: of the errors, and of the model's less those of the others."""
    table = []
    for fraction in FRACTIONS:
        own = [row for row in rows if row["fraction"] == fraction]
        if not own:
            continue
        line: dict[str, Any] = {
            "fraction": fraction,
            "n_views": len({row["view"] for row in own}),
            "n_draws": len({row["seed"] for row in own}),
        }
        for arm in ("synthetic", *OTHERS):
            line[arm] = over_views(own, lambda row, arm=arm: row["error"][arm])
        for arm in OTHERS:
            line[f"synthetic less {arm}"] = over_views(
                own, lambda row, arm=arm: row["error"]["synthetic"] - row["error"][arm]
            )
        line["total_counts"] = [min(r["total_counts"] for r in own), max(r["total_counts"] for r in own)]
        table.append(line)
    return table


def main() -> None:
    """Thin, synthesise, score, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--model", default="lowcount-planar")
    parser.add_argument("--tracer", default="", help="What the series does not state itself.")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = [
        row
        for fraction in FRACTIONS
        for seed in range(given.draws)
        for row in score(given.series, given.model, given.tracer, fraction, seed)
    ]
    card = show_model(given.model)
    table = summary(rows)
    result = {
        "schema_version": 2,
        "model": {"name": card.name, "sha256": card.sha256},
        "tracer": given.tracer,
        "summary": table,
        "rows": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "real_planar.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for line in table:
        print(line)


if __name__ == "__main__":
    main()
