"""Small builders and checks that several tests use."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume


def require_peer(name: str) -> str:
    """Path of a peer program; skip the test without it, or fail if ``NMSYNTH_REQUIRE_PEERS=1``."""
    beside_python = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside_python) if beside_python.exists() else None)
    if found is not None:
        return found
    message = f"needs the program {name}"
    if os.environ.get("NMSYNTH_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def make_volume(
    shape: tuple[int, ...] = (6, 8, 10),
    *,
    spacing_mm: tuple[float, float, float] = (3.0, 4.0, 5.0),
    origin_mm: tuple[float, float, float] = (-20.0, 10.0, 30.0),
    array: Any = None,
    unit: Unit = Unit.BQML,
    modality: str = "PT",
    seed: int = 0,
    **fields: Any,
) -> Volume:
    """Volume of random positive values, ``(z, y, x)``, on an anisotropic, shifted grid."""
    values = np.random.default_rng(seed).uniform(0.0, 5000.0, shape) if array is None else np.asarray(array)
    affine = fields.pop("affine", affine_from_axes(spacing_mm=spacing_mm, origin_mm=origin_mm))
    return Volume(array=values.astype(np.float32), affine=affine, unit=unit, modality=modality, **fields)
