"""Every task that has a model, in a picture and its numbers: docs/gallery.md and docs/figures/gallery-*.png.

    python -m benchmarks.gallery --scratch runs/gallery

Runs ``nmsynth demo --task`` for each, takes the first picture of its report, and beside the numbers of that one study
those of the model's card, which are of many.
"""

from __future__ import annotations

import argparse
import base64
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.task_proof import markdown

from nmsynth.models.card import Metric
from nmsynth.models.registry import show_model
from nmsynth.workflows.task_demo import TaskDemoResult, run_task_demo
from nmsynth.workflows.tasks import TaskSpec, load_task, tasks_with_models

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
POLAR = '<section id="polar">'
"""Where a report shows polar maps."""
HEAD = """# Gallery: every task in a picture

Each picture is the first of the report that `nmsynth demo OUT --task NAME` writes: a simulated patient whom no model
was trained on; of hearts the polar maps stand below it. All that is synthetic is marked so. One study proves nothing;
the numbers of a card are medians over patients with their 95 % intervals, as `python -m benchmarks.task_proof` and the
commands in the card's task page measure them, each beside its best baseline and beside the same network without what is
special to the task. Whether a model beats its baselines is said first, by the rule of [tasks](tasks.md), and the
numbers that decide it follow; the others of the card are folded away below them. This page is written by
`python -m benchmarks.gallery`.
"""


def decides(metric: Metric, task: TaskSpec) -> bool:
    """Whether a number of a card is one of those that the task is judged by."""
    return not {metric.name, f"{metric.name} [{metric.unit}]"}.isdisjoint(task.primary)


def card_rows(metrics: Sequence[Metric]) -> list[dict[str, str]]:
    """Numbers of a card."""
    return [
        {
            "number": f"{m.name} [{m.unit}]" if m.unit != "1" else m.name,
            "measured on": m.condition,
            "model": f"{m.value:.3g}" + ("" if m.low is None or m.high is None else f" ({m.low:.3g} to {m.high:.3g})"),
            "best baseline": "" if m.baseline is None else f"{m.baseline:.3g}, {m.baseline_name}",
            "against baselines": m.verdict,
            "without the idea": (
                "" if m.ablation is None else f"{m.ablation:.3g}" + (m.ablation_verdict and f", {m.ablation_verdict}")
            ),
        }
        for m in metrics
    ]


def section(task: TaskSpec, result: TaskDemoResult, docs: Path = DOCS) -> str:
    """A task, its picture, which is written below the folder of the page, and its numbers."""
    page = result.report.read_text(encoding="utf-8")
    card = show_model(result.model)
    model = f"Model `{result.model}`{', a baseline: no network beat it' if task.default_is_baseline else ''}."
    lines = [f"## {task.title}", "", f"`{task.name}`: {task.source} → {task.target}. {model}", ""]
    lines += [f"**{card.verdict}**", ""] if card.verdict else []
    shown = {"": (page, "source, synthetic image and reference")}
    _, anchor, after = page.partition(POLAR)
    if anchor:
        shown["-polar"] = (after, "polar maps of source, synthetic image and reference")
    for suffix, (part, told) in shown.items():
        found = PICTURE.search(part)
        if found is not None:
            picture = docs / "figures" / f"gallery-{task.name}{suffix}.png"
            picture.write_bytes(base64.b64decode(found[1]))
            lines += [f"![{task.title}: {told}](figures/{picture.name})", ""]
    lines += ["This one study:", "", markdown(result.rows()), ""]
    deciding = [metric for metric in card.metrics if decides(metric, task)]
    others = [metric for metric in card.metrics if not decides(metric, task)]
    if deciding:
        lines += ["Of the card:", "", markdown(card_rows(deciding)), ""]
    if others:
        summary = f"<summary>{len(others)} further numbers of the card</summary>"
        lines += ["<details>", summary, "", markdown(card_rows(others)), "", "</details>", ""]
    lines += [*(f"- {finding}" for finding in card.findings), ""] if card.findings else []
    return "\n".join(lines)


def main() -> None:
    """Run all demonstrations, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("runs/gallery"))
    scratch = parser.parse_args().scratch
    parts = [HEAD]
    for name in tasks_with_models():
        task = load_task(name)
        parts.append(section(task, run_task_demo(task, scratch / name, overwrite=True)))
        print(f"{name} done")
    (DOCS / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
