"""The result of an evaluation: measurements, lesions, definitions, as JSON, rows and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nmsynth.core.volume import Volume
from nmsynth.metrics.measurement import Measurement

SCHEMA_VERSION = 1
"""Of the JSON of :class:`Metrics`."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a spreadsheet take a text for a formula."""
RESEARCH_NOTE = "Synthetic images are for research use only, not for diagnosis."


@dataclass(frozen=True, slots=True)
class LesionResult:
    """One lesion in one arm, beside the reference. Uptakes in the unit of the images; biases are relative."""

    arm: str
    lesion: str
    diameter_mm: float
    volume_ml: float
    size_class: str
    reference_contrast: float | None
    """Lesion over ring of the reference."""
    recovery: float | None
    mean: float | None
    mean_reference: float | None
    mean_bias: float | None
    maximum: float | None
    maximum_reference: float | None
    maximum_bias: float | None
    peak: float | None
    peak_reference: float | None
    peak_bias: float | None
    mtv_relative_ml: float | None
    mtv_relative_reference_ml: float | None
    tlg_relative: float | None
    tlg_relative_reference: float | None
    mtv_fixed_ml: float | None
    mtv_fixed_reference_ml: float | None
    tlg_fixed: float | None
    tlg_fixed_reference: float | None
    omitted: bool
    shifted: bool
    liver_ratio: float | None
    """SUVpeak over the mean of the same image's liver sphere."""
    liver_ratio_reference: float | None
    blood_pool_ratio: float | None
    """SUVpeak over the mean of the same image's blood pool."""
    blood_pool_ratio_reference: float | None
    category: int | None
    """Deauville-like category of SUVpeak."""
    category_reference: int | None
    measurable: bool | None
    """Whether SUVpeak reaches the threshold of PERCIST in the same image."""
    measurable_reference: bool | None
    centre_index: tuple[float, float, float]
    """Centre of mass, array indices ``(z, y, x)``."""

    def to_row(self) -> dict[str, Any]:
        """Flat dictionary of JSON values."""
        row = asdict(self)
        row["centre_index"] = list(self.centre_index)
        return row


@dataclass(frozen=True, slots=True)
class Metrics:
    """How near a prediction came to a reference, with everything needed to read the numbers."""

    task: str
    unit: str
    """Of the images, as compared."""
    reference_kind: str
    measurements: tuple[Measurement, ...]
    lesions: tuple[LesionResult, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of each arm: grid, unit, hash and whether it is synthetic."""
    places: Mapping[str, Any] = field(default_factory=dict)
    """Where automatic regions lie, such as the liver sphere."""
    polar_maps: Mapping[str, Any] = field(default_factory=dict)
    """Of the heart's wall, of each arm and the reference: :meth:`nmsynth.evaluation.perfusion.HeartWall.maps_of`."""
    warnings: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the prediction first."""
        return tuple(dict.fromkeys(item.arm for item in self.measurements))

    def find(self, name: str, *, mask: str | None = None, arm: str = "prediction") -> Measurement | None:
        """First measurement of a name, in a mask if one is given, of an arm; ``None`` where there is none."""
        for item in self.measurements:
            if item.name == name and item.arm == arm and mask in (None, item.mask):
                return item
        return None

    def value(self, name: str, *, mask: str | None = None, arm: str = "prediction") -> float | None:
        """Value of :meth:`find`, ``None`` where there is none."""
        found = self.find(name, mask=mask, arm=arm)
        return None if found is None else found.value

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each measurement: arm, name, value, unit, mask, reference, data_range and more."""
        return [item.to_row() for item in self.measurements]

    def lesion_rows(self) -> list[dict[str, Any]]:
        """One flat dictionary for each lesion and arm."""
        return [item.to_row() for item in self.lesions]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, with ``schema_version``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "note": RESEARCH_NOTE,
            "task": self.task,
            "unit": self.unit,
            "reference": self.reference_kind,
            "arms": list(self.arms),
            "settings": dict(self.settings),
            "definitions": dict(self.definitions),
            "images": {name: dict(facts) for name, facts in self.images.items()},
            "places": dict(self.places),
            "warnings": list(self.warnings),
            "measurements": self.rows(),
            "lesions": self.lesion_rows(),
            **({"polar_maps": dict(self.polar_maps)} if self.polar_maps else {}),
        }

    def to_csv(self) -> str:
        """Measurements as CSV; see :func:`rows_to_csv`."""
        return rows_to_csv(self.rows())


def image_facts(volume: Volume) -> dict[str, Any]:
    """Say what identifies an image, without the patient."""
    return {
        "shape": list(volume.shape),
        "spacing_mm": [round(value, 6) for value in volume.spacing_mm],
        "unit": volume.unit.value,
        "sha256": volume.sha256,
        "synthetic": volume.provenance.synthetic,
        "simulated": volume.provenance.simulated,
        "model": volume.provenance.model,
        "simulated_count_fraction": volume.acquisition.simulated_count_fraction,
    }


def escape_cell(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay.

    Examples
    --------
    >>> escape_cell("=1+1")
    "'=1+1"
    """
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    return value


def rows_to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of all their keys; texts that look like formulas are escaped, missing values empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([escape_cell(column) for column in columns])
    for row in rows:
        writer.writerow(["" if row.get(column) is None else escape_cell(row[column]) for column in columns])
    return text.getvalue()
