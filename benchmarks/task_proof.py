"""A model of a task beside its baselines, on patients and scanners that it was not trained on.

    python -m benchmarks.task_proof --task lowcount-mpi --model MODEL --without OTHER --run RUN --subjects 20 \
        --out benchmarks/results/tasks
    python -m benchmarks.task_proof --task mr-to-ct --model MODEL --run RUN --subjects 20 --out benchmarks/results/tasks

Each test of the task (``nmsynth/recipes/tasks``), at each of its levels, images the same patients, by seeds that no
dataset and no demonstration has. ``--without`` is the same network without what is special to the task; ``--run`` is
the folder of the training, to whose patients the task's baselines are fitted; with the dataset that it simulated in it,
filters are tuned for each level of counts. Whether the model beats its baselines is one sentence, by the primary
numbers of the task; recovery is judged at equal noise (``docs/tasks.md``). Medians over patients, means of counts of
spots, and their 95 % bootstrap intervals; differences are paired, and fewer than ten pairs prove nothing. What is done
is kept in ``--scratch``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nmsynth.workflows.task_proof import ProofOptions, prove_task
from nmsynth.workflows.tasks import task_names


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([str(row[c]) for c in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def prove(options: ProofOptions, scratch: Path, out: Path, *, workers: int) -> None:
    """Prove, write the numbers, and print them."""
    proof = prove_task(options, scratch, workers=workers)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{options.task}.json").write_text(json.dumps(proof.to_json(), indent=1) + "\n", encoding="utf-8")
    for title, rows in (("numbers", proof.rows()), ("the model against its baselines", proof.verdicts())):
        print(f"\n{proof.task.title}, {options.n_subjects} patients a test: {title}\n")
        print(markdown(rows))
    print(f"\n{proof.judgement().sentence}")


def main() -> None:
    """Prove what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=task_names(), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--without", default="", metavar="MODEL")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/task_proof"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    options = ProofOptions(given.task, given.model, given.without, given.run, given.subjects)
    prove(options, given.scratch, given.out, workers=given.workers)


if __name__ == "__main__":
    main()
