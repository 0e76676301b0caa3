"""A tiny package and a PET volume that its envelope takes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.volume import Volume
from nmsynth.models.card import Card, DataSource, Metric, NetworkSpec
from nmsynth.models.envelope import Envelope, Tracer
from nmsynth.models.package import save_package
from nmsynth.models.unet import HomogeneousUNet
from tests.helpers import make_volume

FDG = Acquisition(
    radionuclide="F-18", radiopharmaceutical="Fluorodeoxyglucose F^18^", corrections=("DECY", "ATTN", "SCAT")
)


def tiny_network(seed: int = 0) -> HomogeneousUNet:
    """Two levels, a few hundred random weights."""
    torch.manual_seed(seed)
    return HomogeneousUNet(channels=(4, 6)).eval().requires_grad_(False)


def make_card(**changes: Any) -> Card:
    """Card of :func:`tiny_network`."""
    envelope = Envelope(
        axial_voxel_mm=(1.5, 6.0),
        in_plane_voxel_mm=(1.5, 6.0),
        tracers=(Tracer(name="FDG", radionuclide="F-18", agents=("FDG", "fluorodeoxyglucose")),),
        minimum_grid=(4, 8, 8),
        body_regions=("WHOLEBODY",),
    )
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": "0.0.1",
        "network": NetworkSpec(name="HomogeneousUNet", arguments={"channels": [4, 6]}),
        "significance": {"low": -1.0, "standard": 0.0, "high": 1.5},
        "envelope": envelope,
        "data": (DataSource(name="procedural phantom", licence="Apache-2.0", use="train"),),
        "metrics": (Metric(name="NRMSE", value=0.2, low=0.1, high=0.3),),
        "failures": ("Has learned nothing.",),
    }
    return Card(**(fields | changes))


def save_tiny(folder: Path, **changes: Any) -> Path:
    """Package in ``folder / name``."""
    card = make_card(**changes)
    save_package(folder / card.name, network=tiny_network(), card=card)
    return folder / card.name


def make_pet(shape: tuple[int, int, int] = (10, 24, 20), **fields: Any) -> Volume:
    """Noisy warm body with a hot sphere, FDG, in Bq/mL."""
    rng = np.random.default_rng(3)
    z, y, x = np.indices(shape)
    centre = [(n - 1) / 2 for n in shape]
    body = ((y - centre[1]) / (0.4 * shape[1])) ** 2 + ((x - centre[2]) / (0.4 * shape[2])) ** 2 < 1
    hot = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 9
    array = 5000.0 * body * rng.normal(1.0, 0.2, shape) + 20000.0 * hot + rng.normal(0.0, 20.0, shape)
    settings: dict[str, Any] = {"array": array, "spacing_mm": (3.0, 4.0, 4.0), "acquisition": FDG}
    return make_volume(**(settings | fields))
