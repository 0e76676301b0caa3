"""Synthesis: a checked input, a model, and an output that says where it comes from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.inference.card_model import Progress
from nmsynth.inference.guard import check_input, check_output
from nmsynth.inference.method_model import MethodModel
from nmsynth.inference.predictor import Model, load_model
from nmsynth.inference.settings import SynthesisSettings, resolve_settings
from nmsynth.inference.synthesis import RECORD_SCHEMA_VERSION, Synthesis, common_record, in_unit, provenance_of

__all__ = ["RECORD_SCHEMA_VERSION", "Synthesis", "SynthesisSettings", "resolve_settings", "synthesize"]


def synthesize(
    source: Volume | Mapping[str, Volume],
    model: Model | MethodModel | str | Path = "lowcount-pet",
    *,
    settings: SynthesisSettings | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Synthesis:
    """Synthesise an image.

    Grid, acquisition, SUV rule and unit stay those of the source where the output is of its kind, as it is of
    ``lowcount-pet``; see :func:`~nmsynth.inference.method_synthesis.synthesize_with_method` for models that take or
    give others. The output is marked as synthetic.

    Parameters
    ----------
    source
        A volume, or volumes by role as the card's ``inputs`` names them.
    model
        A loaded model, or its name or path.
    settings
        Settings, or their values by name.
    progress
        Told how many of how many tiles are done.

    Returns
    -------
        The image with its record.

    Raises
    ------
    InputError
        If a role, setting or model is not known.
    EnvelopeError
        If the input is outside what the model was tested for, or is itself synthetic.
    UnsafeInputError
        If the input's values are not usable.
    NumericalError
        If the network gives NaN or infinity.
    """
    started = time.perf_counter()
    chosen = resolve_settings(settings)
    loaded = model if isinstance(model, Model | MethodModel) else load_model(model)
    load_s = time.perf_counter() - started
    if isinstance(loaded, MethodModel):
        from nmsynth.inference.method_synthesis import synthesize_with_method
        from nmsynth.inference.planar_synthesis import is_planar, synthesize_views

        compute = synthesize_views if is_planar(source, loaded) else synthesize_with_method
        synthesis = compute(source, loaded, chosen, progress=progress)
    else:
        synthesis = _with_network(source, loaded, chosen, progress)
    total_s = time.perf_counter() - started
    synthesis.record["times_s"] = {"load_model": round(load_s, 3), "total": round(total_s, 3)}
    return synthesis


def _with_network(
    source: Volume | Mapping[str, Volume], loaded: Model, chosen: SynthesisSettings, progress: Progress | None
) -> Synthesis:
    """Synthesis with a network that takes one image and keeps its grid and unit."""
    if chosen.conditions:
        raise InputError(f"The model {loaded.name} is told no conditions; found {', '.join(chosen.conditions)}.")
    volume = _only_input(source, loaded.card.inputs)
    flags = list(
        loaded.envelope.check(
            volume,
            tracer=chosen.tracer,
            attenuation_corrected=chosen.attenuation_corrected,
            model=loaded.name,
        )
    )
    state = check_input(volume)
    flags += state.flags
    wanted = in_unit(volume, chosen.unit)
    numbers: dict[str, float] = {}
    if state.is_zero:
        outputs = {"image": np.zeros_like(wanted.array)}
        run: dict[str, Any] = {}
    else:
        outputs = loaded.predict(
            wanted.array,
            significance=chosen.significance,
            backend=chosen.backend,
            device=chosen.device,
            threads=chosen.threads,
            precision=chosen.precision,
            max_tile_voxels=chosen.max_tile_voxels,
            heads=chosen.heads,
            progress=progress,
        )
        run = dict(loaded.last_run)
        found, numbers = check_output(outputs["image"], wanted)
        flags += found
    record = common_record(loaded, chosen, volume) | {
        "output": {"unit": wanted.unit.value, "negative_values": loaded.card.negative_values},
        "run": run,
        "checks": numbers,
        "flags": list(dict.fromkeys(flags)),
        "warnings": list(volume.warnings),
    }
    images = {name: _output(array, name, wanted, loaded, chosen, flags) for name, array in outputs.items()}
    return Synthesis(images["image"], images, (), None, tuple(dict.fromkeys(flags)), record)


def _only_input(source: Volume | Mapping[str, Volume], roles: tuple[str, ...]) -> Volume:
    """Return the one input of a model with one role."""
    if isinstance(source, Volume):
        return source
    if set(source) != set(roles) or len(roles) != 1:
        found = ", ".join(map(str, source)) or "none"
        raise InputError(f"This model takes the inputs {', '.join(roles)}; found {found}. Pass one image for each.")
    return source[roles[0]]


def _output(
    array: np.ndarray[Any, np.dtype[np.float32]],
    role: str,
    source: Volume,
    model: Model,
    settings: SynthesisSettings,
    flags: list[str],
) -> Volume:
    """Output image with its provenance."""
    provenance = provenance_of(
        model,
        (source,),
        {
            "significance": settings.significance,
            "threshold": model.threshold(settings.significance),
            "seed": settings.seed,
            "precision": settings.precision,
            "axial_padding": model.card.axial_padding,
        },
    )
    image = source.with_array(array, provenance=provenance)
    if role == "evidence":
        image = source.with_array(array, provenance=provenance, unit=Unit.UNITLESS, suv_rule=None)
    return image.with_warnings(flags)
