r"""Write measured numbers into the card of a model package, and in its first sentence what follows of them.

    python -m benchmarks.card_metrics src/nmsynth/weights/lowcount-pet benchmarks/results/count_levels-*/table.json \
        benchmarks/results/guide/*.json
    python -m benchmarks.card_metrics src/nmsynth/weights/lowcount-mpi benchmarks/results/tasks/lowcount-mpi.json \
        benchmarks/results/heart_detection/*.json
    python -m benchmarks.card_metrics src/nmsynth/weights/mr-to-ct benchmarks/results/tasks/mr-to-ct.json \
        benchmarks/results/closed_loop/mr-to-ct-*.json

Takes the JSON of ``benchmarks.count_levels``, ``task_proof``, ``closed_loop``, ``heart_detection``, ``real_planar``,
``real_spect``, ``coupling`` and ``guide``, all that a card is to have at once. Whether the model beats its baselines is
the sentence of the proof. Numbers that were measured with other weights are refused; a guide's comparison has networks
of its own, and goes into any card of its task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.card_findings import Findings, kind_of

from nmsynth.models.card import Card, Metric
from nmsynth.models.package import CARD_FILE, CARD_PAGE, read_card
from nmsynth.workflows.task_proof import ABLATION

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


VERDICTS: dict[Any, Literal["better", "worse", "not told apart"]] = {
    "better than all": "better",
    "worse than one": "worse",
    "not told apart": "not told apart",
    "not told apart: too few": "not told apart",
}
"""Of a proof, as a card says them."""


SUMMARIES = {"mean": ", mean over patients", "correlation": ", rank correlation over patients with the truth"}
"""Of a proof, where it is not the median over patients, as a card says them."""


def metrics_of_proof(proof: dict[str, Any]) -> list[Metric]:
    """Metrics of the model in every test at every level of a proof, each beside its best baseline."""
    told = {(v["test"], v["level"], v["number"]): v for v in proof["verdicts"]}
    found = []
    for level in proof["levels"]:
        where = f"simulated, {level['test']}" + (f", {level['level']}" if level["level"] else "")
        for number, interval in level["arms"].get("prediction", {}).items():
            kind = proof["numbers"][number]
            at_noise = level.get("baselines_at_equal_noise", {}).get(number)
            baselines = level["baselines"] if at_noise is None else at_noise
            arms = {arm: level["arms"][arm].get(number, {}).get("value") for arm in baselines}
            # by the number of the verdict: the arm of which the model is least ahead, patient by patient
            ahead = {arm: level["model_less_arm"].get(arm, {}).get(number) for arm in baselines}
            ranked = sorted(((d["value"], arm) for arm, d in ahead.items() if d is not None), reverse=True)
            best = ranked[0][1] if ranked else ""
            verdicts = told.get((level["test"], level["level"], number), {})
            means = SUMMARIES.get(kind.get("summary", ""), "")
            found.append(
                Metric(
                    name=number.removesuffix(f" [{kind['unit']}]"),
                    value=interval["value"],
                    low=interval["lower"],
                    high=interval["upper"],
                    unit=kind["unit"],
                    condition=f"{where}, n = {interval['n']}{means}{'' if at_noise is None else ', at equal noise'}",
                    baseline=arms.get(best),
                    baseline_name=best or "none",
                    verdict=VERDICTS.get(verdicts.get("verdict"), ""),
                    ablation=level["arms"].get(ABLATION, {}).get(number, {}).get("value"),
                    ablation_verdict=VERDICTS.get(verdicts.get(ABLATION), ""),
                )
            )
    return found


def findings_of_file(path: Path, sha256: str, task: str = "") -> Findings:
    """Metrics and sentences of a table, a proof or any other result that was measured with these weights.

    The comparison of a guide has networks of its own, and speaks of every model of its task.
    """
    table = json.loads(path.read_text(encoding="utf-8"))
    kind = kind_of(table)
    if "levels" in table and kind is None:
        weights, found = {table["model"]["sha256"]}, Findings(tuple(metrics_of_proof(table)))
    elif kind is not None:
        weights, found = kind.weights(table), kind.convert(table)
    else:
        weights, found = {table["sha256"]}, Findings(tuple(metrics_of(table)))
    is_of_task = kind is not None and kind.key == "guide" and table["task"] == task
    if sha256 not in weights and not is_of_task:
        raise SystemExit(f"{path} was measured with other weights than those of the package")
    return found


def verdict_of(tables: Sequence[Path]) -> str:
    """What the proof among some results concludes, in a sentence; nothing without one."""
    read = (json.loads(path.read_text(encoding="utf-8")) for path in tables)
    return next((table["judgement"]["sentence"] for table in read if "judgement" in table), "")


def write_card(package: Path, card: Card) -> None:
    """Rewrite both files of a card."""
    (package / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (package / CARD_PAGE).write_text(card.to_markdown(), encoding="utf-8")


def write_metrics(package: Path, tables: Sequence[Path]) -> None:
    """Rewrite the card of a package with the numbers of tables, which must be of its weights, and their verdict."""
    card = read_card(package)
    found = [findings_of_file(path, card.sha256, card.task) for path in tables]
    metrics = [metric for own in found for metric in own.metrics]
    changes = {
        "metrics": [m.model_dump() for m in metrics],
        "findings": [sentence for own in found for sentence in own.sentences],
        "verdict": verdict_of(tables) or card.verdict,
    }
    card = Card.model_validate({**card.model_dump(), **changes})
    write_card(package, card)
    print(f"{len(metrics)} metrics written. {card.verdict}")


def main() -> None:
    """Rewrite a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("tables", type=Path, nargs="+")
    options = parser.parse_args()
    write_metrics(options.package, options.tables)


if __name__ == "__main__":
    main()
