"""Whether a CT or an MR beside a PET of few counts helps, and what it costs where it is missing.

    python -m benchmarks.guide --guide ct --out runs/guide-ct --results benchmarks/results/guide
    python -m benchmarks.guide --guide mr --out runs/guide-mr --results benchmarks/results/guide

Two networks of one size are trained for the same steps on the same simulated patients, each at three counts: one is
given the guide, which a third of the patients lack, so that it learns to do without; the other is not. Patients who
were not trained on are then synthesised by both, and by the first without its guide. Numbers are those of the task
lowcount-pet: medians over patients, and paired differences with intervals of 95 % over them. The guide lies where the
PET does, as after a registration without error; what it gives is the most that it can. What is done is kept in
``--out``. ``benchmarks.card_metrics`` puts the numbers, and what a missing guide costs, into a card.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmsynth.apps.cli.main import run
from nmsynth.core.numbered import numbered
from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.evaluation.proof import summarise_proof
from nmsynth.models.registry import show_model
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies
from nmsynth.workflows.task_proof import SEED
from nmsynth.workflows.task_study import (
    TaskStudy,
    at_level,
    evaluate_task_study,
    numbers_of,
    simulate_task_study,
    synthesize_task_study,
)
from nmsynth.workflows.tasks import load_task

TASK, STUDY = "lowcount-pet", "fewer-counts-pet"
FRACTIONS = (0.25, 0.1, 0.05)
Numbers = dict[str, dict[str, float | None]]
"""Of one patient at one level, by arm."""
ARMS = ("guide missing", "trained without")
"""Beside the network with its guide: the same without it, and one that was trained without."""
COMPANION = {"ct": "ct", "mr": "mr-randomised"}
MISSING_EVERY = 3
TESTED = 20
"""Patients; fewer than ten prove nothing."""
PLAN = {"channels": "[24,48,96]", "conditions": "[]", "schedule.region_share": "0.5", "schedule.score": "error"}


def changes_of(guide: str) -> dict[str, Any]:
    """Values of the recipe of studies: the guide as a source, every patient at all counts."""
    return {
        "settings.companions": [COMPANION[guide]],
        "settings.length_mm": 400.0,
        "settings.further_fractions": list(FRACTIONS[1:]),
        "draws.count_fraction": [FRACTIONS[0]],
        "roles": {guide: "source"},
    }


def manifests(folder: Path, guide: str) -> dict[str, Path]:
    """Manifests with the guide, which every third patient lacks, and without."""
    rows = read_manifest(folder / "manifest.csv")
    cases = list(dict.fromkeys(row.case for row in rows))
    lacking = set(cases[::-MISSING_EVERY])

    def is_guide(row: ManifestRow) -> bool:
        return row.role == "source" and row.name == guide

    kept = {
        "guided": [row for row in rows if not (is_guide(row) and row.case in lacking)],
        "plain": [row for row in rows if not is_guide(row)],
    }
    for name, own in kept.items():
        write_manifest(folder / f"{name}.csv", own)
    return {name: folder / f"{name}.csv" for name in kept}


def trained(manifest: Path, output: Path, steps: int) -> Path:
    """Package of a network that is trained on a manifest; a training that was interrupted goes on."""
    values = PLAN | {"schedule.steps": str(steps)}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    if run(["train", "unet", "--data", str(manifest), "--output", str(output), *words]) != 0:
        raise SystemExit(f"The training in {output.name} failed.")
    return next(path.parent for path in sorted(output.glob("package/*/card.json")))


def measured(study: TaskStudy, models: dict[str, Path], guide: str, work: Path) -> Numbers:
    """Numbers of every arm of one patient at one level."""
    bare = replace(study, rows=tuple(r for r in study.rows if r.name != guide))
    given = {"prediction": (study, "guided"), ARMS[0]: (bare, "guided"), ARMS[1]: (bare, "plain")}
    arms, source = {}, None
    for number, (arm, (shown, model)) in enumerate(given.items()):
        synthesis, source = synthesize_task_study(shown, str(models[model]), work / f"{number}.nii.gz")
        arms[arm] = synthesis.image
    if source is None:
        raise SystemExit("Nothing was synthesised.")
    return numbers_of(study.task, evaluate_task_study(study, arms, source))


def record_of(
    guide: str, models: dict[str, str], settings: dict[str, int], levels: dict[float, list[Numbers]]
) -> dict[str, Any]:
    """What is written: numbers over patients at each level, and the differences of the guided network to the others.

    Parameters
    ----------
    guide
        ``ct`` or ``mr``.
    models
        Name and sha256 of the two networks.
    settings
        Of the comparison, such as ``subjects``.
    levels
        Of each fraction of the counts the numbers of every patient.
    """
    task = load_task(TASK)
    wanted = {proof.heading: proof.wanted for proof in task.proof}
    means = [proof.heading for proof in task.proof if proof.summary == "mean"]
    return {
        "schema_version": 2,
        "task": TASK,
        "guide": guide,
        "models": models,
        **settings,
        "levels": {str(f): summarise_proof(own, wanted, means=means).to_json() for f, own in levels.items()},
    }


def lines_of(record: dict[str, Any]) -> list[str]:
    """Differences of the error, a line each."""
    lines = []
    for fraction, found in record["levels"].items():
        for arm, numbers in found["model_less_arm"].items():
            error = numbers.get("NRMSE")
            if arm in ARMS and error:
                interval = f"{error['lower']:+.4f} to {error['upper']:+.4f}"
                lines.append(f"{fraction}: guided less {arm}: NRMSE {error['value']:+.4f} ({interval})")
    return lines


def main() -> None:
    """Simulate, train twice, measure, summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guide", choices=sorted(COMPANION), required=True)
    parser.add_argument("--subjects", type=int, default=36)
    parser.add_argument("--tested", type=int, default=TESTED)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    changes = changes_of(given.guide)
    dataset = given.out / "dataset"
    simulate_dataset(SimulateCohortSettings(recipe=STUDY, subjects=given.subjects), dataset, overrides=changes)
    models = {
        name: trained(manifest, given.out / name, given.steps)
        for name, manifest in manifests(dataset, given.guide).items()
    }
    task, recipe = load_task(TASK), load_study_recipe(STUDY, changes)
    if recipe is None:
        raise SystemExit(f"There is no recipe of studies {STUDY}.")
    levels: dict[float, list[Numbers]] = {fraction: [] for fraction in FRACTIONS}
    for plan in plan_studies(recipe, given.tested, SEED):
        place = given.out / "numbers" / f"{plan.case_id}.json"
        if not place.is_file():
            with tempfile.TemporaryDirectory() as scratch:
                study = simulate_task_study(task, plan, Path(scratch))[0]
                shown = {f: at_level(study, numbered("scan", k)) for k, f in enumerate(FRACTIONS)}
                found = {str(f): measured(s, models, given.guide, Path(scratch)) for f, s in shown.items()}
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(found) + "\n", encoding="utf-8")
        numbers = json.loads(place.read_text(encoding="utf-8"))
        for fraction in FRACTIONS:
            levels[fraction].append(numbers[str(fraction)])
    known = {name: show_model(str(package)).sha256 for name, package in models.items()}
    settings = {"subjects": given.subjects, "tested": given.tested, "steps": given.steps}
    record = record_of(given.guide, known, settings, levels)
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / f"{given.guide}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for line in lines_of(record):
        print(line)


if __name__ == "__main__":
    main()
