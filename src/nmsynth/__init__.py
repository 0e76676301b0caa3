"""Synthesis of nuclear medicine images. Research use only.

The names below are the public interface; each is imported on first use, so that ``import nmsynth`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmsynth.core.errors import (
        EnvelopeError,
        InputError,
        MissingExtraError,
        NmsynthError,
        NumericalError,
        RefusalError,
        SuvError,
        UnsafeInputError,
    )
    from nmsynth.core.units import SuvKind, Unit
    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.evaluate import evaluate
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.inference.predictor import load_model
    from nmsynth.inference.synthesize import Synthesis, synthesize
    from nmsynth.io import find_series, read, write
    from nmsynth.workflows.pet_simulation import simulate_pet

__version__ = "0.3.0"

_HOME_OF = {
    "EnvelopeError": "nmsynth.core.errors",
    "InputError": "nmsynth.core.errors",
    "Metrics": "nmsynth.evaluation.schema",
    "MissingExtraError": "nmsynth.core.errors",
    "NmsynthError": "nmsynth.core.errors",
    "NumericalError": "nmsynth.core.errors",
    "RefusalError": "nmsynth.core.errors",
    "SuvError": "nmsynth.core.errors",
    "SuvKind": "nmsynth.core.units",
    "Synthesis": "nmsynth.inference.synthesize",
    "Unit": "nmsynth.core.units",
    "UnsafeInputError": "nmsynth.core.errors",
    "Volume": "nmsynth.core.volume",
    "evaluate": "nmsynth.evaluation.evaluate",
    "find_series": "nmsynth.io",
    "load_model": "nmsynth.inference.predictor",
    "read": "nmsynth.io",
    "simulate_pet": "nmsynth.workflows.pet_simulation",
    "synthesize": "nmsynth.inference.synthesize",
    "write": "nmsynth.io",
}
"""Module of each public name."""

__all__ = [
    "EnvelopeError",
    "InputError",
    "Metrics",
    "MissingExtraError",
    "NmsynthError",
    "NumericalError",
    "RefusalError",
    "SuvError",
    "SuvKind",
    "Synthesis",
    "Unit",
    "UnsafeInputError",
    "Volume",
    "__version__",
    "evaluate",
    "find_series",
    "load_model",
    "read",
    "simulate_pet",
    "synthesize",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nmsynth' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
