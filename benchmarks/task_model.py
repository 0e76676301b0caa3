"""The model of a task, from its recipe to a package with the numbers of its proof in the card.

    python -m benchmarks.task_model lowcount-planar --subjects 20 --out runs/lowcount-planar

Simulates the recipe's patients, trains the network and beside it the same network without what is special to the task,
proves both (``benchmarks.task_proof``), and writes the numbers into the card (``benchmarks.card_metrics``), whose first
sentence says whether it beats its baselines. The package is then OUT/model/package/NAME and the proof OUT/NAME.json.
Interrupted, the same command goes on where it stopped. Where the verdict is worth it, ``nmsynth/weights`` takes the
package and ``nmsynth/recipes/tasks`` its name; what came out stands there as one of the ``[[attempts]]``. After three
that do not beat the baselines, ``--baseline`` packages the Gaussian filter whose widths the same patients teach, as
OUT/baseline/package/NAME-gaussian, which a task may have as its default (``default_is_baseline``).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.card_metrics import write_card, write_metrics
from benchmarks.task_proof import prove

from nmsynth.models.package import read_card
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_recipes import load_method_recipe, model_recipe_names, without_idea
from nmsynth.workflows.method_training import (
    PREPARED,
    prepare_run,
    simulated_dataset,
    train_on_dataset,
    training_options,
)
from nmsynth.workflows.task_proof import ProofOptions

if TYPE_CHECKING:
    from nmsynth.workflows.method_recipes import MethodRecipe


@dataclass(frozen=True, slots=True)
class Training:
    """One of the two networks of a task."""

    task: str
    is_ablation: bool
    out: Path
    minutes: float | None

    @property
    def recipe(self) -> MethodRecipe:
        """As it is trained."""
        recipe = load_method_recipe(self.task)
        return without_idea(recipe) if self.is_ablation else recipe

    @property
    def run(self) -> Path:
        """Folder of the training."""
        return self.out / ("without-idea" if self.is_ablation else "model")

    @property
    def package(self) -> Path:
        """Of the model, once it is trained."""
        return self.run / "package" / self.recipe.name


def train(training: Training) -> None:
    """Train and package one network; the one without the idea on the patients of the other, as prepared for it."""
    model, options = training.out / "model", training_options(threads=1, device="cpu")
    dataset, prepared = (model / "dataset", model / PREPARED) if training.is_ablation else (None, None)
    train_on_dataset(
        training.recipe, dataset, training.run, minutes=training.minutes, options=options, prepared_by=prepared
    )


BASELINE_STEPS = 300
"""Of a filter that has a width for each axis to learn."""
BASELINE_SUMMARY = (
    "No network beat the baselines of this task: this is one, a Gaussian filter whose widths were learned."
)
"""Before what the card says of a network."""


def baseline_recipe(recipe: MethodRecipe) -> MethodRecipe:
    """The learned Gaussian filter on the images of a recipe; its card has the text of the recipe's but the summary."""
    from nmsynth.models.methods import MethodSpec

    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-gaussian",
            "title": f"{recipe.title}, by a Gaussian filter",
            "idea": "",
            "without_idea": None,
            "interval_samples": 0,
            "method": MethodSpec(name="learned-gaussian"),
            "plan": {**recipe.plan, "schedule.steps": BASELINE_STEPS},
        }
    )


def package_baseline(model: Training, folder: Path) -> None:
    """Train the filter on the patients of the network; only where source and target are one kind of image."""
    recipe = baseline_recipe(model.recipe)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dataset").exists():
        (folder / "dataset").symlink_to((model.run / "dataset").absolute())
    (trained,) = train_on_dataset(recipe, None, folder, options=training_options(threads=1, device="cpu"))
    card = read_card(trained.package)
    summary = f"{BASELINE_SUMMARY} {card.summary}"
    write_card(trained.package, card.model_copy(update={"summary": summary}))


def main() -> None:
    """Simulate, train, prove, and fill the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=model_recipe_names())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=20, help="of each test of the proof")
    parser.add_argument("--minutes", type=float, help="of each training here, where it is not by the recipe's steps")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--baseline", action="store_true", help="package the learned Gaussian beside them")
    given = parser.parse_args()
    model, ablation = (Training(given.task, k, given.out, given.minutes) for k in (False, True))
    simulated_dataset(model.recipe, model.run / "dataset")
    missing = [training for training in (model, ablation) if not training.package.is_dir()]
    if missing:
        options = training_options(threads=1, device="cpu")
        prepare_run(model.recipe, None, model.run, minutes=given.minutes, options=options)
    run_jobs(train, missing, workers=min(given.workers, 2))
    proof = ProofOptions(given.task, str(model.package), str(ablation.package), model.run, given.subjects)
    prove(proof, given.out / "proof", given.out, workers=given.workers)
    write_metrics(model.package, [given.out / f"{given.task}.json"])
    if given.baseline:
        package_baseline(model, given.out / "baseline")


if __name__ == "__main__":
    main()
