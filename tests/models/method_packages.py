"""Tiny methods with their plans and packages."""

from pathlib import Path
from typing import Any

import torch

from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ConditionPlan, ImagePlan, Plan
from nmsynth.core.units import Unit
from nmsynth.inference import MethodModel
from nmsynth.models.card import Card
from nmsynth.models.envelope import Tracer
from nmsynth.models.method import Method
from nmsynth.models.method_package import save_method_package
from nmsynth.models.methods import MethodSpec, build_method
from nmsynth.models.plan_envelope import envelope_from_plan

FDG = Tracer(name="FDG", radionuclide="F-18", agents=("FDG", "fluorodeoxyglucose"))
PET = ImagePlan(
    name="pet", modality="PT", unit=Unit.SUV_BODY_WEIGHT, normalisation=Normalisation(kind="linear", scale=4.0)
)
CT = ImagePlan(
    name="ct",
    modality="CT",
    unit=Unit.HOUNSFIELD,
    normalisation=Normalisation(kind="window", scale=1000.0, low=-1000.0, high=1000.0),
    fill=-1000.0,
    optional=True,
)
COUNTS = ConditionPlan(name="count_fraction", kind="logarithm")


def make_plan(**changes: Any) -> Plan:
    """PET to PET at 4 mm, told the counts."""
    fields: dict[str, Any] = {
        "task": "lowcount-pet",
        "sources": (PET,),
        "target": PET,
        "conditions": (COUNTS,),
        "spacing_mm": (4.0, 4.0, 4.0),
        "patch": (8, 16, 16),
        "channels": (4, 8),
    }
    return Plan(**(fields | changes))


def make_method_card(plan: Plan | None = None, family: str = "unet", **changes: Any) -> Card:
    """Card of a tiny method."""
    plan = plan or make_plan()
    fields: dict[str, Any] = {
        "name": "tiny-method",
        "version": "0.1.0",
        "task": plan.task,
        "method": MethodSpec(name=family),
        "plan": plan,
        "inputs": tuple(source.name for source in plan.sources),
        "envelope": envelope_from_plan(plan, tracers=(FDG,)),
    }
    return Card(**(fields | changes))


def tiny_method(card: Card, seed: int = 0, *, for_training: bool = True) -> Method:
    """The method of a card with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    assert card.method is not None
    assert card.plan is not None
    method = build_method(card.method, card.plan, allow_import=True, for_training=for_training)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return method.eval().requires_grad_(False)


def silenced(method: Method) -> Method:
    """The same method with weights of zero: it gives back its first source where its plan is residual."""
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
    return method


def tiny_model(card: Card, *, silent: bool = False) -> MethodModel:
    """Model of a tiny method with random weights, or a silenced one."""
    method = tiny_method(card, for_training=False)
    return MethodModel(card.model_copy(update={"sha256": "0" * 64}), silenced(method) if silent else method)


def save_tiny_method(folder: Path, card: Card | None = None, **options: Any) -> Path:
    """Package in ``folder / name``."""
    card = card or make_method_card()
    save_method_package(folder / card.name, method=tiny_method(card), card=card, **options)
    return folder / card.name
