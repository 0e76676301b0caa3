"""Where an image comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Whether an image is synthetic or simulated, by which model, and from what."""

    synthetic: bool = False
    """Made by a model."""
    simulated: bool = False
    """Made by a simulator."""
    model: str | None = None
    """Name and version of the model, such as ``"lowcount-pet 1.0.0"``."""
    model_sha256: str | None = None
    parents: tuple[str, ...] = ()
    """SeriesInstanceUIDs, or sha256 of the array where there is none, of the images it was made from."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Resolved settings that made it, JSON values only."""
    nmsynth_version: str | None = None


@dataclass(frozen=True, slots=True)
class SourceReference:
    """The place a volume was read from, so that a writer can take its headers."""

    path: Path
    format: str
    """``"dicom"`` or ``"nifti"``."""
    series_uid: str | None = None
