"""Synthesis: a checked input, a model, and an output that says where it comes from."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nmsynth.core.errors import InputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import SuvKind, Unit
from nmsynth.core.volume import Volume
from nmsynth.inference.guard import check_input, check_output
from nmsynth.inference.predictor import Model, Progress, load_model

RECORD_SCHEMA_VERSION = 1


class SynthesisSettings(BaseModel):
    """How to synthesise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    significance: Literal["low", "standard", "high"] | float = "standard"
    """Level of evidence at which structure is kept, as calibrated in the card, or an evidence logit."""
    seed: int = 0
    """Of models that draw samples; this release has none, so it is only recorded."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """``auto`` takes OpenVINO where it is installed and the device is a CPU."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:1`` or ``auto``."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of a CPU; all cores when unset."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network; ``bf16`` is faster and departs by up to 0.5 % of the largest value."""
    max_tile_voxels: int | None = Field(default=None, ge=1)
    """Most voxels of a tile; by memory when unset. Does not change the result."""
    unit: Unit | None = None
    """Unit of the output; the source's when unset. Only an SUV can be asked for."""
    tracer: str | None = Field(default=None, max_length=64)
    """Radiopharmaceutical as you state it; used only where the source states none."""
    heads: bool = False
    """Also return the network's ``mean``, ``contrast`` and ``evidence`` images."""


@dataclass(frozen=True, slots=True, eq=False)
class Synthesis:
    """What a synthesis gives."""

    image: Volume
    """The synthetic image."""
    images: dict[str, Volume]
    """By role: ``image``, and the heads where they were asked for."""
    samples: tuple[Volume, ...]
    """Samples of a stochastic model; empty for ``lowcount-pet``."""
    interval: tuple[Volume, Volume] | None
    """Lower and upper bound a voxel, where the model gives one; ``lowcount-pet`` gives none."""
    flags: tuple[str, ...]
    """What a reader of the image should know."""
    record: dict[str, Any]
    """How it was made, as JSON values: model, settings, input, run, flags, times."""


def synthesize(
    source: Volume | Mapping[str, Volume],
    model: Model | str | Path = "lowcount-pet",
    *,
    settings: SynthesisSettings | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Synthesis:
    """Synthesise an image.

    Grid, acquisition, SUV rule and unit stay those of the source; the output is marked as synthetic.

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
    loaded = model if isinstance(model, Model) else load_model(model)
    load_s = time.perf_counter() - started
    volume = _only_input(source, loaded.card.inputs)
    flags = list(loaded.envelope.check(volume, tracer=chosen.tracer, model=loaded.name))
    state = check_input(volume)
    flags += state.flags
    wanted = _in_unit(volume, chosen.unit)
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
    record = {
        "schema_version": RECORD_SCHEMA_VERSION,
        "nmsynth_version": _nmsynth_version(),
        "synthetic": True,
        "intended_use": loaded.card.intended_use,
        "model": {"name": loaded.name, "version": loaded.version, "task": loaded.card.task, "sha256": loaded.sha256},
        "settings": chosen.model_dump(mode="json"),
        "seed": chosen.seed,
        "input": _described(volume),
        "output": {"unit": wanted.unit.value, "negative_values": loaded.card.negative_values},
        "run": run,
        "checks": numbers,
        "flags": list(dict.fromkeys(flags)),
        "warnings": list(volume.warnings),
        "times_s": {"load_model": round(load_s, 3), "total": round(time.perf_counter() - started, 3)},
    }
    images = {name: _output(array, name, wanted, loaded, chosen, flags) for name, array in outputs.items()}
    return Synthesis(images["image"], images, (), None, tuple(dict.fromkeys(flags)), record)


def resolve_settings(settings: SynthesisSettings | Mapping[str, Any] | None) -> SynthesisSettings:
    """Return settings from their values by name.

    Raises
    ------
    InputError
        If a key is not known, naming the nearest, or a value does not suit it.
    """
    if isinstance(settings, SynthesisSettings):
        return settings
    values = dict(settings or {})
    known = list(SynthesisSettings.model_fields)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise InputError(f"A setting must be one of {', '.join(known)}; found {key!r}. Did you mean {near[0]!r}?")
    try:
        return SynthesisSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"The setting {first['loc'][0]!r} does not hold: {first['msg']}.") from None


def _only_input(source: Volume | Mapping[str, Volume], roles: tuple[str, ...]) -> Volume:
    """Return the one input of a model with one role."""
    if isinstance(source, Volume):
        return source
    if set(source) != set(roles) or len(roles) != 1:
        found = ", ".join(map(str, source)) or "none"
        raise InputError(f"This model takes the inputs {', '.join(roles)}; found {found}. Pass one image for each.")
    return source[roles[0]]


def _in_unit(volume: Volume, unit: Unit | None) -> Volume:
    """Volume in the unit of the output."""
    if unit is None or unit is volume.unit:
        return volume
    if not unit.is_suv:
        raise InputError(f"The output's unit must be the source's ({volume.unit.value}) or an SUV; found {unit.value}.")
    return volume.to_suv(next(kind for kind in SuvKind if kind.unit is unit))


def _output(
    array: np.ndarray[Any, np.dtype[np.float32]],
    role: str,
    source: Volume,
    model: Model,
    settings: SynthesisSettings,
    flags: list[str],
) -> Volume:
    """Output image with its provenance."""
    uid = source.acquisition.series_uid
    provenance = Provenance(
        synthetic=True,
        simulated=source.provenance.simulated,
        model=f"{model.name} {model.version}",
        model_sha256=model.sha256,
        parents=(uid if uid else source.sha256,),
        settings={
            "task": model.card.task,
            "significance": settings.significance,
            "threshold": model.threshold(settings.significance),
            "seed": settings.seed,
            "precision": settings.precision,
            "axial_padding": model.card.axial_padding,
        },
        nmsynth_version=_nmsynth_version(),
    )
    image = source.with_array(array, provenance=provenance)
    if role == "evidence":
        image = source.with_array(array, provenance=provenance, unit=Unit.UNITLESS, suv_rule=None)
    return image.with_warnings(flags)


def _described(volume: Volume) -> dict[str, Any]:
    """Facts of an input that identify no patient."""
    return {
        "series_uid": volume.acquisition.series_uid,
        "sha256": volume.sha256,
        "shape": list(volume.shape),
        "spacing_mm": [round(s, 6) for s in volume.spacing_mm],
        "unit": volume.unit.value,
        "modality": volume.modality,
        "simulated": volume.provenance.simulated,
    }


def _nmsynth_version() -> str:
    """Version of nmsynth."""
    from nmsynth import __version__

    return __version__
