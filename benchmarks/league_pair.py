"""Two methods of a benchmark paired over patients, from its committed results.

    python -m benchmarks.league_pair benchmarks/results/sts ct-pet-registered anchored tissue-lookup

The tables of a benchmark show differences to the best baseline and to the U-Net; this shows any other. A value is the
mean over patients of each patient's mean over images, levels and seeds, its interval a percentile bootstrap over
patients, as in the tables; the median patient stands beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

DRAWS = 20_000


def by_patient(results: Path, task: str, method: str, measure: str) -> dict[str, float]:
    """Mean of a measure of each patient."""
    values: dict[str, list[float]] = {}
    for path in sorted(results.glob(f"{task}--{method}--fold-*.json")):
        for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
            values.setdefault(case["subject"], []).append(case["metrics"][measure])
    if not values:
        raise SystemExit(f"There are no results of '{method}' on '{task}'.")
    return {subject: float(np.mean(found)) for subject, found in values.items()}


def paired(first: dict[str, float], second: dict[str, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Differences of the patients that both have, and the 95 % interval of their mean."""
    own = np.array([first[s] - second[s] for s in sorted(first.keys() & second.keys())])
    means = own[np.random.default_rng(0).integers(0, own.size, (DRAWS, own.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return own, (float(low), float(high))


def main() -> None:
    """Print the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("task")
    parser.add_argument("method")
    parser.add_argument("reference")
    parser.add_argument("--measure", default="mae")
    given = parser.parse_args()
    sides = [by_patient(given.results, given.task, m, given.measure) for m in (given.method, given.reference)]
    own, (low, high) = paired(*sides)
    print(f"{given.task}, {given.measure}: {given.method} less {given.reference}, {own.size} patients")
    print(f"mean {own.mean():.4f} ({low:.4f} to {high:.4f}), median {np.median(own):.4f}, less in {(own < 0).sum()}")


if __name__ == "__main__":
    main()
