"""Fine-tuning: a model whose weights a training begins with, and the plan that suits both it and the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.models.method import Method
    from nmsynth.models.method_spec import MethodSpec


@dataclass(frozen=True, slots=True, eq=False)
class StartingModel:
    """A model to go on from."""

    method: Method
    plan: Plan


def load_start(model: str | Path | None, spec: MethodSpec) -> StartingModel | None:
    """The model of a name or folder, for a method.

    Raises
    ------
    InputError
        If there is none, or it is of another family.
    """
    if model is None:
        return None
    from nmsynth.models.method_package import load_method
    from nmsynth.models.package import read_card
    from nmsynth.models.registry import find_model

    path = find_model(model)
    card = read_card(path)
    if card.method is None or card.plan is None:
        raise InputError(f"The model {card.name} has no plan to be fine-tuned by. Take one that 'nmsynth train' made.")
    if card.method.name != spec.name:
        raise InputError(
            f"The recipe trains '{spec.name}'; the model {card.name} is of the family '{card.method.name}'. Take a "
            "recipe of that family."
        )
    return StartingModel(load_method(path, card, allow_import=spec.is_import_path), card.plan)


def fine_tuning_plan(plan: Plan, model: Plan) -> Plan:
    """A model's plan with the schedule and augmentation of another: scales and grid belong to the weights.

    Parameters
    ----------
    plan
        Made for the data at hand.
    model
        Of the model.
    """
    update = {name: getattr(plan, name) for name in ("schedule", "augmentation", "fingerprint")}
    return model.model_copy(update=update)
