"""The package of a model that was trained on a dataset, with what its training was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.folds import Split
    from nmsynth.models.card import IntervalCard, TypicalCard
    from nmsynth.models.method import Method
    from nmsynth.training.method_recipe import MethodRecipe


NEVER_COMPARED = (
    "Its answers were never compared with a true target: no patient held for validation had both a source and a "
    "target. Nothing is known of its errors, and its weights are the last ones of the training."
)
"""Failure on the card of a model that has no score."""


def write_method_package(
    recipe: MethodRecipe,
    name: str,
    method: Method,
    plan: Plan,
    split: Split,
    training: Path,
    folder: Path,
    *,
    fold: tuple[int, int] | None = None,
    on_own_data: bool = False,
    interval: IntervalCard | None = None,
    typical: TypicalCard | None = None,
) -> None:
    """Write the package of a training.

    Parameters
    ----------
    recipe, plan
        By which it was trained.
    name
        Of the model.
    method
        With its best weights.
    split
        Subjects; only their numbers are written.
    training
        Folder of the training.
    folder
        Package to make; an older one is replaced.
    fold
        Which fold of how many, of a cross-validation.
    on_own_data
        Whether the data are those that the recipe simulates, for which its card speaks.
    interval
        How samples become intervals, where that was calibrated.
    typical
        What the sources are like, where there were enough.
    """
    from nmsynth.models.card import Card
    from nmsynth.models.method_package import save_method_package
    from nmsynth.models.plan_envelope import envelope_from_plan
    from nmsynth.workflows.card_text import read_card_text

    text = read_card_text(recipe.card) if recipe.card and on_own_data else {}
    record = training_record(training)
    unknown = [NEVER_COMPARED] if record["compared"] is False else []
    envelope = {**envelope_from_plan(plan).model_dump(mode="json"), **text.pop("envelope", {})}
    card = Card.model_validate(
        {
            "name": name,
            "version": "0.1.0",
            "task": recipe.card if text else plan.task,
            "summary": recipe.title or f"{recipe.method.name} for {plan.task}, trained on a dataset of its user",
            "licence": "as the data it was trained on",
            "method": recipe.method,
            "plan": plan,
            "inputs": tuple(s.name for s in plan.sources),
            "envelope": envelope,
            "interval": interval,
            "typical": typical,
            **text,
            "failures": (*text.get("failures", recipe.differs), *unknown),
            "training": {
                "recipe": recipe.model_dump(mode="json"),
                "n_subjects": {"train": len(split.train), "validation": len(split.validation)},
                **({} if fold is None else {"fold": {"number": fold[0], "of": fold[1]}}),
                **record,
            },
        }
    )
    save_method_package(folder, method=method, card=card, overwrite=True)


def training_record(training: Path) -> dict[str, Any]:
    """What a card tells of a training: the validation curve of each stage, its time, and whether it converged.

    ``compared`` says whether its answers were compared with true targets, where that is known.

    Parameters
    ----------
    training
        Folder of the training.
    """
    from nmsynth.metrics.convergence import LARGEST_IMPROVEMENT, late_improvement

    stages = sorted(p.parent for p in training.glob("*/curve.json"))
    curves = {s.name: json.loads((s / "curve.json").read_text(encoding="utf-8"))["points"] for s in stages}
    last = curves[stages[-1].name] if stages else []
    improvement = late_improvement(last)
    return {
        "compared": any(point["score"] is not None for point in last) if last else None,
        "validation_curve": curves,
        "seconds": sum(points[-1]["seconds"] for points in curves.values() if points),
        "converged": None if improvement is None else improvement < LARGEST_IMPROVEMENT,
        "improvement_over_the_last_third": improvement,
    }
