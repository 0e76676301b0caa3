"""Settings of a synthesis."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit


class SynthesisSettings(BaseModel):
    """How to synthesise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    significance: Literal["low", "standard", "high"] | float = "standard"
    """Level of evidence at which structure is kept, as calibrated in the card, or an evidence logit; not of methods."""
    seed: int = Field(default=0, ge=0)
    """Of models that draw samples; of others only recorded."""
    n_samples: int | None = Field(default=None, ge=1, le=1000)
    """Answers that a stochastic model draws; the image is their mean. As many as its intervals take when unset, else
    four."""
    sampling_steps: int | None = Field(default=None, ge=1, le=10_000)
    """Network evaluations of a model that samples in steps; as it was trained when unset."""
    conditions: dict[str, float | str] = {}
    """Facts of the scan that the model's plan asks for, such as ``count_fraction``, by name."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window of a method that overlaps the next."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """``auto`` takes OpenVINO where it is installed and the device is a CPU; methods run on torch."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:1`` or ``auto``."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of a CPU; all cores when unset."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network; ``bf16`` is faster and departs by up to 0.5 % of the largest value."""
    max_tile_voxels: int | None = Field(default=None, ge=1)
    """Most voxels of a tile; by memory when unset. Does not change the result. A method has the windows of its plan."""
    unit: Unit | None = None
    """Unit of the output; the source's when unset. An SUV can be asked for, and 1/cm of a CT: its attenuation."""
    energy_kev: float = Field(default=511.0, ge=80, le=600)
    """Of the photons that an attenuation in 1/cm is of [keV]."""
    tracer: str | None = Field(default=None, max_length=64)
    """Radiopharmaceutical as you state it; used only where the source states none."""
    attenuation_corrected: bool | None = None
    """Whether the source is corrected for attenuation, as you state it; used only where the source does not."""
    heads: bool = False
    """Also return the network's ``mean``, ``contrast`` and ``evidence`` images; not of methods."""

    @field_validator("unit", mode="before")
    @classmethod
    def _unit_by_name(cls, value: object) -> object:
        """A unit as it is written elsewhere, such as ``SUVbw``."""
        try:
            return Unit.parse(value) if isinstance(value, str) else value
        except InputError as error:
            raise ValueError(str(error)) from None


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
