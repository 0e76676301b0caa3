"""The marks that say an image is synthetic, simulated or derived: how they are written and how they are found."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.provenance import Provenance

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SYNTHETIC_MARK = "SYNTHETIC, RESEARCH ONLY"
"""Begins SeriesDescription and ImageComments of a synthetic or simulated image."""
DERIVED_MARK = "DERIVED, RESEARCH ONLY"
"""The same for an image that only was converted."""
MANUFACTURER = "nmsynth"
"""Manufacturer of the contributing equipment."""
SERIES_TIME, UNKNOWN = "series time", "unknown"
"""What an output states of its decay reference: that it is SeriesDate and SeriesTime, or that its source had none."""
_DECAY_REFERENCE = "decay_reference"
_LONG_STRING = 64
_SHORT_TEXT = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def software_version() -> str:
    """Version of nmsynth."""
    import nmsynth

    return str(nmsynth.__version__)


def plain(text: object, length: int) -> str:
    """Text on one line for a DICOM string: no control characters, no backslash, cut to ``length`` characters."""
    return _CONTROL.sub(" ", str(text)).replace("\\", "/").strip()[:length].rstrip()


def ascii_text(text: object, length: int) -> str:
    """As :func:`plain`, and readable in every character set."""
    return plain(str(text).encode("ascii", "replace").decode(), length)


def code(value: str, meaning: str) -> Dataset:
    """Item of a code sequence in the scheme DCM."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


@dataclass(frozen=True, slots=True)
class Marks:
    """What is said about an output, the same on every slice."""

    provenance: Provenance
    created: datetime
    count_fraction: float | None = None
    notes: tuple[str, ...] = ()
    """What was changed in the header and why, one sentence each."""
    decay_reference: str | None = None
    """:data:`SERIES_TIME` where a rule resolved it, :data:`UNKNOWN` where one is needed and none did."""

    @property
    def is_artificial(self) -> bool:
        """Whether SyntheticData is YES."""
        return self.provenance.synthetic or self.provenance.simulated

    @property
    def text(self) -> str:
        """Mark that begins descriptions."""
        return SYNTHETIC_MARK if self.is_artificial else DERIVED_MARK

    def series_description(self, original: object) -> str:
        """Mark, then what the source said, at most 64 characters."""
        said = plain(original, 4 * _LONG_STRING)
        for mark in (SYNTHETIC_MARK, DERIVED_MARK):
            said = said.removeprefix(mark).lstrip(": ")
        kind = "simulated " if self.provenance.simulated and not self.provenance.synthetic else ""
        kind = "" if said.startswith(kind.strip() or "\0") else kind
        return plain(f"{self.text}: {kind}{said}".rstrip(": "), _LONG_STRING)

    def image_comments(self, original: object) -> str:
        """Mark, then what the source said."""
        said = str(original or "").removeprefix(self.text).lstrip(". ")
        return f"{self.text}. {said}"[:10240].rstrip()

    def derivation_description(self) -> str:
        """Model, version, weights, notes and settings, at most 1024 characters."""
        made = "Synthesised" if self.provenance.synthetic else "Simulated" if self.provenance.simulated else "Derived"
        parts = [f"{made} by nmsynth {self.provenance.nmsynth_version or software_version()}. Research use only."]
        if self.provenance.model:
            parts.append(f"Model {self.provenance.model}.")
        if self.provenance.model_sha256:
            parts.append(f"Weights sha256 {self.provenance.model_sha256}.")
        if self.count_fraction is not None:
            parts.append(f"Count fraction {self.count_fraction:.6g}.")
        parts += self.notes
        if self.provenance.settings:
            settings = json.dumps(self.provenance.settings, sort_keys=True, default=str, separators=(",", ":"))
            parts.append(f"Settings {settings}")
        return ascii_text(" ".join(parts), _SHORT_TEXT)

    def equipment(self) -> Dataset:
        """Item of ContributingEquipmentSequence that names nmsynth, with JSON for :func:`find_provenance`."""
        from pydicom.dataset import Dataset

        item = Dataset()
        synthesising = self.provenance.simulated and not self.provenance.synthetic
        purpose = ("109100", "Synthesizing Equipment") if synthesising else ("109102", "Processing Equipment")
        item.PurposeOfReferenceCodeSequence = [code(*purpose)]
        item.Manufacturer = MANUFACTURER
        item.ManufacturerModelName = ascii_text(self.provenance.model or "nmsynth", _LONG_STRING)
        item.SoftwareVersions = ascii_text(software_version(), _LONG_STRING)
        item.ContributionDateTime = self.created.strftime("%Y%m%d%H%M%S.%f")
        item.ContributionDescription = self._contribution()
        return item

    def _contribution(self) -> str:
        """Provenance as JSON of at most 1024 characters; settings, then parents, are left out where they do not fit."""
        record: dict[str, Any] = {
            "schema_version": 1,
            **({_DECAY_REFERENCE: self.decay_reference} if self.decay_reference else {}),
            "use": "research use only",
            "synthetic": self.provenance.synthetic,
            "simulated": self.provenance.simulated,
            "model": self.provenance.model,
            "model_sha256": self.provenance.model_sha256,
            "nmsynth_version": self.provenance.nmsynth_version or software_version(),
            "count_fraction": self.count_fraction,
            "parents": list(self.provenance.parents[:4]),
            "settings": self.provenance.settings,
        }
        for name in ("settings", "parents", "model"):
            text = json.dumps(record, separators=(",", ":"), default=str)
            if len(text) <= _SHORT_TEXT:
                return text
            record.pop(name)
        return json.dumps(record, separators=(",", ":"), default=str)[:_SHORT_TEXT]


def find_provenance(header: Dataset) -> tuple[Provenance, float | None]:
    """Provenance and count fraction that nmsynth left in a DICOM header.

    Another program's image is synthetic where SyntheticData is YES.

    Returns
    -------
        Provenance, and the count fraction of a simulated scan or ``None``.
    """
    marked = str(header.get("SyntheticData", "") or "").strip().upper() == "YES"
    for item in reversed(list(header.get("ContributingEquipmentSequence", None) or [])):
        if str(item.get("Manufacturer", "") or "") != MANUFACTURER:
            continue
        try:
            record = json.loads(str(item.get("ContributionDescription", "") or ""))
            return _provenance(record, marked=marked), _fraction(record)
        except (ValueError, TypeError, AttributeError, RecursionError):
            break
    return Provenance(synthetic=marked), None


def stated_decay_reference(contribution: str) -> str | None:
    """What a contribution of nmsynth, its JSON, says of the decay reference; ``None`` if nothing, as older ones do."""
    try:
        record = json.loads(contribution)
    except (ValueError, RecursionError):
        return None
    stated = record.get(_DECAY_REFERENCE) if isinstance(record, dict) else None
    return stated if stated in (SERIES_TIME, UNKNOWN) else None


def _provenance(record: dict[str, Any], *, marked: bool) -> Provenance:
    """Provenance from the JSON of a contribution."""
    settings, parents = record.get("settings"), record.get("parents")
    simulated = record.get("simulated") is True
    texts = {name: record.get(name) for name in ("model", "model_sha256", "nmsynth_version")}
    return Provenance(
        synthetic=record.get("synthetic") is True or (marked and not simulated),
        simulated=simulated,
        parents=tuple(str(parent) for parent in parents) if isinstance(parents, list) else (),
        settings=settings if isinstance(settings, dict) else {},
        **{name: text if isinstance(text, str) else None for name, text in texts.items()},
    )


def _fraction(record: dict[str, Any]) -> float | None:
    """Count fraction, if it is one."""
    value = record.get("count_fraction")
    return float(value) if isinstance(value, int | float) and 0 < value <= 1 else None


def marks_of(
    provenance: Provenance,
    acquisition: Acquisition,
    *,
    created: datetime,
    notes: tuple[str, ...] = (),
    decay_reference: str | None = None,
) -> Marks:
    """Marks of a volume with this history."""
    return Marks(
        provenance=provenance,
        created=created,
        count_fraction=acquisition.simulated_count_fraction,
        notes=notes,
        decay_reference=decay_reference,
    )
