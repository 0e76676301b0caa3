"""JSON sidecar of a NIfTI image: BIDS-PET names for everybody, an ``nmsynth`` block for what BIDS has no name for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.acquisition import Acquisition, Frame
from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.geometry import FloatArray
from nmsynth.core.mr_sequence import image_kinds, scanning_sequences, sequence_words
from nmsynth.core.provenance import Provenance
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.io.bids_pet import suv_rule_of, with_injection
from nmsynth.io.json_values import (
    acquisition_from_json,
    acquisition_to_json,
    finite,
    provenance_from_json,
    provenance_to_json,
)

SCHEMA_VERSION = 1
"""Version of the ``nmsynth`` block."""
MAXIMUM_BYTES = 16 * 2**20
"""Largest sidecar that is read [byte]."""
MARK = "SYNTHETIC, RESEARCH ONLY"
"""How an image that was not measured is labelled."""
_BIDS_UNITS: dict[str, tuple[Unit, float]] = {
    "bq/ml": (Unit.BQML, 1.0),
    "bqml": (Unit.BQML, 1.0),
    "kbq/ml": (Unit.BQML, 1e3),
    "mbq/ml": (Unit.BQML, 1e6),
    "suvbw": (Unit.SUV_BODY_WEIGHT, 1.0),
    "hu": (Unit.HOUNSFIELD, 1.0),
    "counts": (Unit.COUNTS, 1.0),
}
_SEQUENCE_NAMES = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
"""Fields of an MR that say its weighting in words; of each only known words are kept."""
_BECQUEREL = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar states; ``None`` or empty where it says nothing."""

    unit: Unit | None = None
    scale: float = 1.0
    """Factor from the stored values to ``unit``."""
    modality: str | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    frames: tuple[Frame, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    warnings: tuple[str, ...] = ()
    suv_rule: SuvRule | None = None
    shape: tuple[int, ...] | None = None
    """Of the array, in array order."""
    axes: tuple[str, ...] | None = None
    affine: FloatArray | None = None
    sha256: str | None = None
    """Of the volume that was written."""


def sidecar_path(image: Path) -> Path:
    """Path of the sidecar of ``name.nii`` or ``name.nii.gz``: ``name.json`` beside it."""
    name = image.name
    for ending in (".nii.gz", ".nii"):
        if name.lower().endswith(ending):
            return image.with_name(name[: -len(ending)] + ".json")
    return image.with_name(name + ".json")


def encode_sidecar(volume: Volume) -> bytes:
    """Sidecar of a volume as UTF-8 JSON. It holds sizes, times and UIDs, and no name, number or birth date."""
    record = _bids_fields(volume)
    record["nmsynth"] = {
        "schema_version": SCHEMA_VERSION,
        "unit": volume.unit.value,
        "modality": volume.modality,
        "axes": list(volume.axes),
        "shape": list(volume.shape),
        "affine_lps_mm": volume.affine.tolist(),
        "sha256": volume.sha256,
        "acquisition": acquisition_to_json(volume.acquisition),
        "frames": [[frame.start_s, frame.duration_s] for frame in volume.frames],
        "provenance": provenance_to_json(volume.provenance),
        "suv_rule": None if volume.suv_rule is None else volume.suv_rule.to_json(),
        "warnings": list(volume.warnings),
    }
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def _bids_fields(volume: Volume) -> dict[str, Any]:
    """Fields of BIDS-PET, as far as they are known; times in seconds from TimeZero, the injection."""
    acquisition = volume.acquisition
    record: dict[str, Any] = {"Modality": volume.modality, "Units": volume.unit.value}
    if volume.provenance.synthetic or volume.provenance.simulated:
        record["ImageComments"] = MARK
    optional = {
        "Manufacturer": acquisition.manufacturer,
        "ManufacturersModelName": acquisition.scanner,
        "BodyPart": acquisition.body_part,
        "TracerName": acquisition.radiopharmaceutical,
        "TracerRadionuclide": acquisition.radionuclide and acquisition.radionuclide.replace("-", ""),
        "InjectedRadioactivity": acquisition.injected_activity_bq,
        "InjectedRadioactivityUnits": None if acquisition.injected_activity_bq is None else "Bq",
        "RadionuclideHalfLife": acquisition.half_life_s,
        "BodyWeight": acquisition.body_mass_kg,
        "BodyWeightUnits": None if acquisition.body_mass_kg is None else "kg",
        "BodyHeight": acquisition.height_m,
        "BodyHeightUnits": None if acquisition.height_m is None else "m",
        "ReconMethodName": acquisition.reconstruction,
    }
    record |= {name: value for name, value in optional.items() if value is not None}
    if volume.modality == "PT":
        decay = volume.decay_correction
        record["ImageDecayCorrected"] = decay in {"START", "ADMIN"}
        record |= _bids_times(acquisition, decay)
    if volume.frames:
        record["FrameTimesStart"] = [frame.start_s for frame in volume.frames]
        record["FrameDuration"] = [frame.duration_s for frame in volume.frames]
    elif acquisition.frame_durations_s:
        record["FrameDuration"] = list(dict.fromkeys(acquisition.frame_durations_s))
    return record


def _bids_times(acquisition: Acquisition, decay_correction: str | None) -> dict[str, Any]:
    """Times of the injection, the scan and the decay reference, which is the injection for ADMIN."""
    if acquisition.injection_time is None:
        return {}
    record: dict[str, Any] = {"TimeZero": acquisition.injection_time.strftime("%H:%M:%S"), "InjectionStart": 0.0}
    if decay_correction == "ADMIN":
        record["ImageDecayCorrectionTime"] = 0.0
    elif acquisition.reference_time is not None and decay_correction == "START":
        elapsed = acquisition.reference_time - acquisition.injection_time
        record["ImageDecayCorrectionTime"] = elapsed.total_seconds()
    if acquisition.acquisition_times:
        record["ScanStart"] = (min(acquisition.acquisition_times) - acquisition.injection_time).total_seconds()
    return record


def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar of a NIfTI image.

    Raises
    ------
    UnsafeInputError
        If it is no JSON object, has an unknown schema version, or states impossible values.
    """
    if path.stat().st_size > MAXIMUM_BYTES:
        raise UnsafeInputError(f"A sidecar must be smaller than {MAXIMUM_BYTES} bytes; this one is not. Remove it.")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnsafeInputError("The JSON sidecar of the image must be readable JSON; it is not. Restore it.") from error
    if not isinstance(record, Mapping):
        raise UnsafeInputError("The JSON sidecar of the image must hold one object; it does not. Restore it.")
    block = record.get("nmsynth")
    try:
        return _from_bids(record) if block is None else _from_block(block)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnsafeInputError(
            f"The JSON sidecar must state values of the right kind; found a {type(error).__name__} at "
            f"{str(error)!r:.80}. Restore it or write the image again."
        ) from error


def _from_block(block: Any) -> Sidecar:
    """Sidecar from the ``nmsynth`` block, which stands over the BIDS names."""
    version = block.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UnsafeInputError(
            f"The sidecar's schema_version must be {SCHEMA_VERSION}; found {version!r:.40}. "
            "Read it with the version of nmsynth that wrote it."
        )
    rule = block.get("suv_rule")
    affine = np.array(block["affine_lps_mm"], dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError("affine_lps_mm")
    return Sidecar(
        unit=Unit(block["unit"]),
        modality=str(block["modality"]),
        acquisition=acquisition_from_json(block.get("acquisition", {})),
        frames=tuple(Frame(finite(start), finite(duration)) for start, duration in block.get("frames", [])),
        provenance=provenance_from_json(block.get("provenance", {})),
        warnings=tuple(str(warning) for warning in block.get("warnings", [])),
        suv_rule=None if rule is None else SuvRule.from_json(rule),
        shape=tuple(int(n) for n in block["shape"]),
        axes=tuple(str(axis) for axis in block["axes"]),
        affine=affine,
        sha256=block.get("sha256"),
    )


def _from_bids(record: Mapping[str, Any]) -> Sidecar:
    """Sidecar of another program: unit, modality, frames, what is known of the injection, and an SUV rule of PET."""
    unit, scale = _BIDS_UNITS.get(str(record.get("Units", "")).replace(" ", "").lower(), (None, 1.0))
    starts, durations = record.get("FrameTimesStart", []), record.get("FrameDuration", [])
    frames: tuple[Frame, ...] = ()
    if isinstance(starts, list) and isinstance(durations, list) and len(starts) == len(durations):
        frames = tuple(
            Frame(finite(start), finite(duration)) for start, duration in zip(starts, durations, strict=True)
        )
    activity = _number(record.get("InjectedRadioactivity"))
    activity_scale = _BECQUEREL.get(str(record.get("InjectedRadioactivityUnits", "")).lower())
    mass, height = _number(record.get("BodyWeight")), _number(record.get("BodyHeight"))
    mass_unit, height_unit = record.get("BodyWeightUnits", "kg"), record.get("BodyHeightUnits")
    modality = record.get("Modality")
    acquisition = with_injection(
        Acquisition(
            radionuclide=_radionuclide(record.get("TracerRadionuclide")),
            radiopharmaceutical=_text(record.get("TracerName")),
            half_life_s=_number(record.get("RadionuclideHalfLife")),
            injected_activity_bq=None if activity is None or activity_scale is None else activity * activity_scale,
            body_mass_kg=mass if mass_unit == "kg" else None,
            height_m=height if height_unit == "m" else None,
            manufacturer=_text(record.get("Manufacturer")),
            scanner=_text(record.get("ManufacturersModelName")),
            reconstruction=_text(record.get("ReconMethodName")),
            body_part=_text(record.get("BodyPart")) or _text(record.get("BodyPartExamined")),
            echo_time_ms=_milliseconds(_number(record.get("EchoTime"))),
            repetition_time_ms=_milliseconds(_number(record.get("RepetitionTime"))),
            inversion_time_ms=_milliseconds(_number(record.get("InversionTime"))),
            scanning_sequence=scanning_sequences(_texts(record.get("ScanningSequence"))),
            image_kinds=image_kinds(_texts(record.get("ImageType"))),
            sequence_words=sequence_words([_text(record.get(name)) for name in _SEQUENCE_NAMES]),
            contrast_agent=None if _text(record.get("ContrastBolusIngredient")) is None else True,
        ),
        record,
    )
    return Sidecar(
        unit=unit,
        scale=scale,
        modality=None if modality is None else str(modality),
        acquisition=acquisition,
        suv_rule=suv_rule_of(acquisition, record) if unit is Unit.BQML and modality in (None, "PT") else None,
        frames=frames,
        provenance=Provenance(synthetic=MARK in str(record.get("ImageComments", "")).upper()),
    )


def _number(value: Any) -> float | None:
    """Value if it is a positive number, and not ``"n/a"`` as BIDS has it for what is unknown."""
    try:
        number = finite(value)
    except ValueError:
        return None
    return number if number > 0.0 else None


def _milliseconds(seconds: float | None) -> float | None:
    """Seconds, as BIDS has times, in milliseconds."""
    return None if seconds is None else 1000.0 * seconds


def _texts(value: Any) -> list[str]:
    """Text, or each text of a list."""
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _text(value: Any) -> str | None:
    """Value if it is text."""
    return value if isinstance(value, str) and value else None


def _radionuclide(value: Any) -> str | None:
    """``F18`` as ``F-18``."""
    text = _text(value)
    if text is None:
        return None
    element = text.rstrip("0123456789m").rstrip("-")
    return f"{element}-{text[len(element) :].lstrip('-')}" if element and element != text else text
