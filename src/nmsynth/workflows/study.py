"""What a path holds, as facts to print: series, image, SUV. Names no patient."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import SuvError
from nmsynth.core.units import SuvKind

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume

_ACQUISITION_FACTS = (
    "radionuclide", "radiopharmaceutical", "injected_activity_bq", "injection_time", "reference_time",
    "decay_correction", "body_mass_kg", "height_m", "scanner", "reconstruction", "simulated_count_fraction",
)  # fmt: skip


def describe_study(
    path: Path, *, series_uid: str | None = None, unit: str | None = None, modality: str | None = None
) -> dict[str, Any]:
    """Describe the series of a path and, where it is clear which is meant, its image.

    Parameters
    ----------
    path
        Folder, zip or file.
    series_uid
        Series whose image is described.
    unit, modality
        Of a NIfTI image without a sidecar.

    Returns
    -------
        JSON values: ``schema_version``, ``series`` (none of a NIfTI image) and ``image``, which is ``None`` where
        several series are there and none was chosen.
    """
    from nmsynth.io import find_series, read

    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    found = [] if is_nifti else find_series(path)
    described = [{"facts": _facts_of(series)} for series in found]
    image = None
    if is_nifti or series_uid is not None or len(found) == 1:
        image = _describe_image(read(path, series_uid=series_uid, unit=unit, modality=modality))
    return {"schema_version": 1, "series": described, "image": image}


def _facts_of(record: Any) -> dict[str, Any]:
    """Fields of a dataclass as JSON values; paths are left out."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: _as_json(value) for name, value in values.items() if not _holds_path(value)}


def _holds_path(value: Any) -> bool:
    """Whether a value is a path or a group of paths."""
    return isinstance(value, Path) or (isinstance(value, tuple | list) and any(isinstance(v, Path) for v in value))


def _as_json(value: Any) -> Any:
    """Value that JSON can hold."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _describe_image(volume: Volume) -> dict[str, Any]:
    """Facts of an image."""
    rule = volume.suv_rule
    facts = {
        "modality": volume.modality,
        "unit": volume.unit.value,
        f"shape ({', '.join(volume.axes)})": " x ".join(str(n) for n in volume.shape),
        f"voxel ({', '.join(volume.axes[-3:])}) [mm]": " x ".join(f"{size:.4g}" for size in volume.spacing_mm),
        "minimum": float(volume.array.min()),
        "maximum": float(volume.array.max()),
        "synthetic": volume.provenance.synthetic,
        "simulated": volume.provenance.simulated,
        "model": volume.provenance.model,
    }
    facts |= {name: _as_json(getattr(volume.acquisition, name)) for name in _ACQUISITION_FACTS}
    suv: dict[str, Any] = {}
    if rule is not None:
        suv = {"time rule": rule.time_rule, "decay rule": rule.decay_rule, "refused because": rule.reason}
        suv |= {"note": "; ".join(rule.notes) or None}
        try:
            suv["SUVbw maximum"] = float(volume.to_suv(SuvKind.BODY_WEIGHT).array.max())
        except SuvError as error:
            suv["refused because"] = str(error)
    return {"facts": facts, "suv": suv, "warnings": list(volume.warnings)}
