"""Tiny cases, plans and methods that tests of training share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import AugmentationPlan, ImagePlan, Plan, SchedulePlan
from nmsynth.core.units import Unit
from nmsynth.data.prepared import PreparedCase
from nmsynth.models.method import Method, MethodSetting, regression_loss

LINEAR = Normalisation(kind="linear", scale=2.0)


def image_plan(name: str = "pet", **changes: Any) -> ImagePlan:
    values = {"modality": "PT", "unit": Unit.SUV_BODY_WEIGHT, "normalisation": LINEAR} | changes
    return ImagePlan(name=name, **values)


def tiny_plan(*, schedule: dict[str, Any] | None = None, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "task": "pet-to-pet",
        "sources": (image_plan(),),
        "target": image_plan("target"),
        "spacing_mm": (4.0, 4.0, 4.0),
        "patch": (4, 8, 8),
        "channels": (4, 4),
        "augmentation": AugmentationPlan(rotation_degrees=10.0, zoom=0.05),
        "schedule": SchedulePlan(
            **({"steps": 12, "batch": 1, "warmup": 2, "validate_every": 5, "validation_cases": 1} | (schedule or {}))
        ),
    }
    return Plan(**(values | changes))


def tiny_case(number: int, *, split: str = "train", shape: tuple[int, ...] = (6, 12, 12)) -> PreparedCase:
    """Smooth bodies; the source is the target with noise."""
    rng = np.random.default_rng(number)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    body = (y**2 + x**2 + 0 * z < 0.8).astype(np.float32)
    target = body * (1 + 0.5 * np.sin(3 * x + number) + 0 * z).astype(np.float32)
    source = target + 0.3 * rng.standard_normal(shape).astype(np.float32)
    labels = np.zeros(shape, dtype=np.float32)
    labels[2:4, 5:7, 5:7] = 1
    layers = np.stack([source, target, np.where(body > 0, 1.0, 0.05), labels]).astype(np.float32)
    record = {
        "spacing_mm": [4.0, 4.0, 4.0],
        "target_normalisation": LINEAR.typical().to_json(),
    }
    return PreparedCase(f"c{number}", f"s{number}", split, layers, (((0,), ()),), record)


def tiny_cases() -> tuple[list[PreparedCase], list[PreparedCase]]:
    return [tiny_case(1), tiny_case(2)], [tiny_case(3, split="validation")]


class TwoGroups(Method):
    """Two stages, two groups, batch normalisation, dropout, noise: all that resuming must keep."""

    stages = ("warm", "main")
    stage_shares = (0.4, 0.6)

    def __init__(self, setting: MethodSetting) -> None:
        super().__init__(setting)
        self.generator = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv3d(4, 1, 3, padding=1)
        )
        self.discriminator = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 1, 1))
        self.register_buffer("table", torch.tensor([0.0, float("inf")]))

    def groups(self, stage: str) -> dict[str, list[nn.Parameter]]:
        groups = {"generator": list(self.generator.parameters())}
        return groups if stage == "warm" else groups | {"discriminator": list(self.discriminator.parameters())}

    def losses(self, batch, group: str, stage: str) -> dict[str, torch.Tensor]:
        noise = 0.1 * torch.randn_like(batch["source"])
        answer = self.generator(batch["source"] + noise)
        if group == "discriminator":
            real, fake = self.discriminator(batch["target"]), self.discriminator(answer.detach())
            return {"total": (1 - real).square().mean() + fake.square().mean()}
        error = regression_loss(answer, batch["target"], batch["weight"])
        if stage == "warm":
            return {"total": error}
        fooled = (1 - self.discriminator(answer)).square().mean()
        return {"total": error + 0.1 * fooled, "fooled": fooled}

    def forward(self, source, condition, noise=None) -> torch.Tensor:
        del condition, noise
        answer: torch.Tensor = self.generator(source)
        return answer


TWO_GROUPS = "tests.training.methods:TwoGroups"


def folder_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["method"]
