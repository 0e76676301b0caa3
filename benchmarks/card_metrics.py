"""Write the numbers of ``benchmarks.count_levels`` or ``benchmarks.task_proof`` into the card of a model package.

    python -m benchmarks.card_metrics src/nmsynth/weights/lowcount-pet benchmarks/results/count_levels-*/table.json
    python -m benchmarks.card_metrics src/nmsynth/weights/lowcount-mpi benchmarks/results/tasks/lowcount-mpi.json

Numbers that were measured with other weights are refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmsynth.models.card import Card, Metric
from nmsynth.models.package import CARD_FILE, CARD_PAGE, read_card

ARM = "model standard"
BASELINE = "best Gaussian of the source"
NAMES = (
    ("NRMSE", None),
    ("recovery", "lesions 10-18 mm"),
    ("recovery", "lesions >=25 mm"),
    ("peak bias", "lesions >=25 mm"),
    ("false structures", None),
)


def find(rows: list[dict[str, Any]], *, arm: str, counts: str, name: str, mask: str | None) -> dict[str, Any] | None:
    """First row that matches."""
    for row in rows:
        if row["arm"] == arm and row["counts"] == counts and row["name"] == name and mask in (None, row["mask"]):
            return row
    return None


def metrics_of(table: dict[str, Any]) -> list[Metric]:
    """Metrics of the model at standard significance at every count level of a table."""
    rows = table["rows"]
    found = []
    for counts in dict.fromkeys(row["counts"] for row in rows):
        for name, mask in NAMES:
            row = find(rows, arm=ARM, counts=counts, name=name, mask=mask)
            if row is None:
                continue
            baseline = find(rows, arm=BASELINE, counts=counts, name=name, mask=mask)
            condition = f"{row['test']} test, {counts} of the counts, {row['mask']}, n = {row['n_values']}"
            found.append(
                Metric(
                    name=name,
                    value=row["median"],
                    low=row["lower"],
                    high=row["upper"],
                    unit=row["unit"],
                    condition=condition,
                    baseline=None if baseline is None else baseline["median"],
                )
            )
    return found


VERDICTS = {
    "better than all": "better",
    "worse than one": "worse",
    "not told apart": "not told apart",
    "not told apart: too few": "not told apart",
}
"""Of a proof, as a card says them."""


def metrics_of_proof(proof: dict[str, Any]) -> list[Metric]:
    """Metrics of the model in every test at every level of a proof, each beside its best baseline."""
    told = {(v["test"], v["level"], v["number"]): VERDICTS[v["verdict"]] for v in proof["verdicts"]}
    found = []
    for level in proof["levels"]:
        where = f"simulated, {level['test']}" + (f", {level['level']}" if level["level"] else "")
        for number, interval in level["arms"].get("prediction", {}).items():
            kind = proof["numbers"][number]
            arms = {arm: level["arms"][arm].get(number, {}).get("value") for arm in level["baselines"]}
            # by the number of the verdict: the arm of which the model is least ahead, patient by patient
            ahead = {arm: level["model_less_arm"].get(arm, {}).get(number) for arm in level["baselines"]}
            ranked = sorted(((d["value"], arm) for arm, d in ahead.items() if d is not None), reverse=True)
            best = ranked[0][1] if ranked else ""
            means = ", mean over patients" if kind.get("summary") == "mean" else ""
            found.append(
                Metric(
                    name=number,
                    value=interval["value"],
                    low=interval["lower"],
                    high=interval["upper"],
                    unit=kind["unit"],
                    condition=f"{where}, n = {interval['n']}{means}",
                    baseline=arms.get(best),
                    baseline_name=best or "none",
                    verdict=told.get((level["test"], level["level"], number), ""),
                )
            )
    return found


def metrics_of_file(path: Path, sha256: str) -> list[Metric]:
    """Metrics of a table or a proof that was measured with these weights."""
    table = json.loads(path.read_text(encoding="utf-8"))
    is_proof = "levels" in table
    if (table["model"]["sha256"] if is_proof else table["sha256"]) != sha256:
        raise SystemExit(f"{path} was measured with other weights than those of the package")
    return metrics_of_proof(table) if is_proof else metrics_of(table)


def write_metrics(package: Path, tables: Sequence[Path]) -> None:
    """Rewrite the card of a package with the numbers of tables, which must be of its weights."""
    card = read_card(package)
    metrics = [metric for path in tables for metric in metrics_of_file(path, card.sha256)]
    card = Card.model_validate({**card.model_dump(), "metrics": [m.model_dump() for m in metrics]})
    (package / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (package / CARD_PAGE).write_text(card.to_markdown(), encoding="utf-8")
    print(f"{len(metrics)} metrics written")


def main() -> None:
    """Rewrite a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("tables", type=Path, nargs="+")
    options = parser.parse_args()
    write_metrics(options.package, options.tables)


if __name__ == "__main__":
    main()
