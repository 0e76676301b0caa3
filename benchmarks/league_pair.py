"""Two methods of a benchmark paired over patients, from its committed results.

    python -m benchmarks.league_pair benchmarks/results/sts ct-pet-registered anchored tissue-lookup

The tables of a benchmark show differences to the best baseline and to the U-Net; this shows any other. A value is the
mean over patients of each patient's mean over images, levels and seeds, its interval a percentile bootstrap over
patients, as in the tables; the median patient stands beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nmsynth.evaluation.league import RunResult, difference_interval, patient_values


def by_patient(results: Path, task: str, method: str, measure: str) -> dict[str, float]:
    """Mean of a measure of each patient."""
    paths = sorted(results.glob(f"{task}--{method}--fold-*.json"))
    values = patient_values((RunResult.model_validate_json(p.read_text(encoding="utf-8")) for p in paths), measure)
    if not values:
        raise SystemExit(f"There are no results of '{method}' on '{task}'.")
    return values


def main() -> None:
    """Print the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("task")
    parser.add_argument("method")
    parser.add_argument("reference")
    parser.add_argument("--measure", default="mae")
    given = parser.parse_args()
    own, other = (by_patient(given.results, given.task, m, given.measure) for m in (given.method, given.reference))
    found = difference_interval(own, other)
    if found is None:
        raise SystemExit("The two methods have no patient in common.")
    less = sum(own[s] < other[s] for s in own.keys() & other.keys())
    print(f"{given.task}, {given.measure}: {given.method} less {given.reference}, {found['n']} patients")
    print(
        f"mean {found['value']:.4f} ({found['lower']:.4f} to {found['upper']:.4f}), median {found['median']:.4f}, "
        f"less in {less}"
    )


if __name__ == "__main__":
    main()
