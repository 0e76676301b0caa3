"""Acquisition, provenance and frames as JSON, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.provenance import Provenance

_TIMES = ("injection_time", "reference_time", "series_time")
_TEXT_LISTS = ("corrections", "scanning_sequence", "image_kinds", "sequence_words")
_NUMBER_LISTS = ("frame_reference_times_s", "frame_durations_s")
_NUMBERS = (
    "half_life_s", "injected_activity_bq", "body_mass_kg", "height_m", "echo_time_ms", "repetition_time_ms",
    "inversion_time_ms", "simulated_count_fraction",
)  # fmt: skip


def acquisition_to_json(acquisition: Acquisition) -> dict[str, Any]:
    """Every stated field; times in ISO 8601."""
    record: dict[str, Any] = {}
    for field in dataclasses.fields(acquisition):
        value = getattr(acquisition, field.name)
        if value is None or value == ():
            continue
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, tuple):
            value = [item.isoformat() if isinstance(item, datetime) else item for item in value]
        record[field.name] = value
    return record


def acquisition_from_json(record: Any) -> Acquisition:
    """Inverse of :func:`acquisition_to_json`.

    Raises
    ------
    UnsafeInputError
        If a field is unknown or has a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    known = {field.name for field in dataclasses.fields(Acquisition)}
    for name, value in _mapping(record, "acquisition").items():
        if name not in known:
            raise _wrong(f"unknown acquisition field {name!r:.60}")
        try:
            values[name] = _acquisition_value(name, value)
        except (TypeError, ValueError) as error:
            raise _wrong(f"acquisition field {name!r} has an impossible value") from error
    return Acquisition(**values)


def _acquisition_value(name: str, value: Any) -> Any:
    """One field in its own type."""
    if name in _TIMES:
        return datetime.fromisoformat(value)
    if name == "acquisition_times":
        return tuple(datetime.fromisoformat(item) for item in value)
    if name in _TEXT_LISTS:
        return tuple(str(item) for item in value)
    if name == "contrast_agent":
        if not isinstance(value, bool):
            raise ValueError("not true or false")
        return value
    if name in _NUMBER_LISTS:
        return tuple(finite(item) for item in value)
    return finite(value) if name in _NUMBERS else str(value)


def provenance_to_json(provenance: Provenance) -> dict[str, Any]:
    """Every field, as JSON values."""
    return {**dataclasses.asdict(provenance), "parents": list(provenance.parents)}


def provenance_from_json(record: Any) -> Provenance:
    """Inverse of :func:`provenance_to_json`.

    Raises
    ------
    UnsafeInputError
        If a field has a value of the wrong kind.
    """
    fields = _mapping(record, "provenance")
    flags = {name: fields.get(name, False) for name in ("synthetic", "simulated")}
    texts = {name: fields.get(name) for name in ("model", "model_sha256", "nmsynth_version")}
    parents = fields.get("parents", [])
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise _wrong("'synthetic' and 'simulated' are not true or false")
    if not all(text is None or isinstance(text, str) for text in texts.values()) or not isinstance(parents, list):
        raise _wrong("the provenance has values of the wrong kind")
    settings = dict(_mapping(fields.get("settings", {}), "settings"))
    return Provenance(
        **flags,
        **texts,  # type: ignore[arg-type]
        parents=tuple(str(parent) for parent in parents),
        settings=settings,
    )


def finite(value: Any) -> float:
    """Value as a finite number.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _mapping(record: Any, name: str) -> Mapping[str, Any]:
    """The record, if it is a JSON object."""
    if not isinstance(record, Mapping):
        raise _wrong(f"{name!r} is not an object")
    return record


def _wrong(found: str) -> UnsafeInputError:
    """Explain what is wrong in a record."""
    return UnsafeInputError(f"The JSON record must be one that nmsynth wrote; {found}. Restore it or write it again.")
