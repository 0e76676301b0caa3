"""The control for circularity of a task of the brain: three trainings, and the table of what each model knows.

    python -m benchmarks.coupling_models mr-to-fdg --out runs/coupling/mr-to-fdg
    python -m benchmarks.coupling_models mr-to-fdg --published runs/mr-to-fdg/model --out runs/coupling/mr-to-fdg

For each coupling of anatomy and uptake, ``none``, ``published`` and ``strong``, simulates the patients of the recipe,
trains its network on them and measures it (``benchmarks.coupling``) on subjects of the same coupling. ``--published``
takes a training that is there, such as that of ``benchmarks.task_model``, whose weights the card speaks of. The same
command goes on where it was interrupted. OUT gets a folder for each coupling, TASK.json for
``benchmarks.card_metrics``, and TASK.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coupling import TRACER_OF, compare, write_table

from nmsynth.physics.phantom.brain_disease import COUPLINGS
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.method_training import PACKAGE, train_on_dataset, training_options
from nmsynth.workflows.tasks import load_task


@dataclass(frozen=True, slots=True)
class Training:
    """A network on patients of one coupling."""

    task: str
    coupling: str
    run: Path
    minutes: float | None

    @property
    def is_done(self) -> bool:
        """Whether its model is packaged."""
        return any((self.run / PACKAGE).glob("*/card.json"))


def trainings_of(
    task: str, out: Path, *, published: Path | None = None, minutes: float | None = None
) -> dict[str, Training]:
    """The training of each coupling; that which is given is taken as it is.

    Parameters
    ----------
    task
        Name of a task of the brain.
    out
        Folder of the trainings.
    published
        Folder of a training at the published coupling.
    minutes
        Of each training, where it is not by the recipe's steps.
    """
    given = {"published": published}
    return {c: Training(task, c, given.get(c) or out / c, minutes) for c in COUPLINGS}


def simulate(training: Training, workers: int) -> None:
    """Patients of the recipe with the coupling, where they are not there yet."""
    recipe = load_method_recipe(training.task)
    settings = SimulateCohortSettings(recipe=recipe.data.simulate, subjects=recipe.data.subjects)
    changes = {"settings.coupling": training.coupling}
    simulate_dataset(settings, training.run / "dataset", overrides=changes, workers=workers)


def train(training: Training) -> None:
    """Train and package."""
    options = training_options(threads=1, device="cpu")
    recipe = load_method_recipe(training.task)
    train_on_dataset(recipe, training.run / "dataset", training.run, minutes=training.minutes, options=options)


def main() -> None:
    """Simulate, train, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tuple(TRACER_OF))
    parser.add_argument("--published", type=Path, metavar="RUN", help="a training at the published coupling")
    parser.add_argument("--subjects", type=int, default=60, help="of each row of the table")
    parser.add_argument("--minutes", type=float, help="of each training here, where it is not by the recipe's steps")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    trainings = trainings_of(given.task, given.out, published=given.published, minutes=given.minutes)
    missing = [training for training in trainings.values() if not training.is_done]
    for training in missing:
        simulate(training, given.workers)
    run_jobs(train, missing, workers=min(given.workers, len(missing) or 1))
    couplings = compare(
        load_task(given.task), {c: training.run for c, training in trainings.items()}, subjects=given.subjects,
        shifts=("published",), scratch=given.out / "subjects", workers=given.workers,
    )  # fmt: skip
    write_table(given.task, couplings, given.out)


if __name__ == "__main__":
    main()
