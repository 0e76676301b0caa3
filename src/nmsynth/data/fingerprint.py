"""The fingerprint of a dataset: what a plan is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import activity_level
from nmsynth.core.progress import Progress, silent
from nmsynth.core.units import Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES, Volume
from nmsynth.data.body import body_contour
from nmsynth.data.manifest import ManifestRow, by_case
from nmsynth.data.manifest_images import comparable, naming
from nmsynth.data.orientation import turn_to_patient, turned
from nmsynth.data.prepared import read_image
from nmsynth.data.sides import count_sides, side_of

TARGET = ""
"""Name of the target among the kinds of images; sources have names."""
PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)


@dataclass(slots=True)
class ImageStatistics:
    """What is found of one kind of image over all cases."""

    modality: str
    unit: str
    n_images: int = 0
    n_cases: int = 0
    spacings_mm: list[tuple[float, float, float]] = field(default_factory=list)
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    extents_mm: list[tuple[float, float, float]] = field(default_factory=list)
    corrected: list[bool] = field(default_factory=list)
    """Whether each image that states its corrections is corrected for attenuation."""
    tracers: list[tuple[str, str]] = field(default_factory=list)
    """Radionuclide and radiopharmaceutical that images state, each pair once."""
    references: list[tuple[str, str]] = field(default_factory=list)
    """Tracer and reference region of ratios, as images state them, each pair once."""
    percentiles: list[list[float]] = field(default_factory=list)
    """Of the values in the body, one list an image; see :data:`PERCENTILES`."""
    levels: list[float] = field(default_factory=list)
    """Of images of SPECT and planar cameras, which have no scale of their own."""

    def median(self, name: str) -> tuple[float, float, float]:
        """Median over the images of ``spacings_mm``, ``shapes`` or ``extents_mm``."""
        z, y, x = (float(v) for v in np.median(np.asarray(getattr(self, name)), axis=0))
        return z, y, x

    def percentile(self, which: float) -> float:
        """Median over the images of a percentile in the body."""
        return float(np.median([p[PERCENTILES.index(which)] for p in self.percentiles]))

    def peak_over_level(self) -> float:
        """Median over the images of the 99.5th percentile in the body over the level."""
        highest = [p[PERCENTILES.index(99.5)] for p in self.percentiles]
        return float(np.median(np.asarray(highest) / np.asarray(self.levels)))

    @property
    def attenuation_corrected(self) -> bool | None:
        """Whether all images are corrected for attenuation, or none; ``None`` where they differ or do not say."""
        return self.corrected[0] if self.corrected and len(set(self.corrected)) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """JSON values: medians and ranges."""
        summary: dict[str, Any] = {k: v for k, v in asdict(self).items() if not isinstance(v, list)}
        for name in ("spacings_mm", "shapes"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            summary[name] = {
                "median": [round(float(v), 4) for v in np.median(values, axis=0)],
                "least": [round(float(v), 4) for v in values.min(axis=0)],
                "most": [round(float(v), 4) for v in values.max(axis=0)],
            }
        summary["body_percentiles"] = {f"{p:g}": round(self.percentile(p), 4) for p in PERCENTILES}
        return summary


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is found in a dataset."""

    n_cases: int
    n_subjects: int
    target: ImageStatistics
    sources: dict[str, ImageStatistics]
    conditions: dict[str, list[str]]
    """Values of each fact that scans state, by name, one an image."""
    regions: bool
    """Whether there are masks of lesions or organs."""
    stated_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Case of each value of ``conditions``, in the same order; a case that is not among them leaves it unsaid."""
    sides: Mapping[str, int] = field(default_factory=dict)
    """Cases of each side; see :mod:`nmsynth.data.sides`. Empty where all are pairs."""

    @property
    def n_with_source(self) -> int:
        """Cases that have a source."""
        return self.n_cases - self.sides.get("target", 0)

    @property
    def n_with_target(self) -> int:
        """Cases that have a target."""
        return self.n_cases - self.sides.get("source", 0)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "n_cases": self.n_cases,
            "n_subjects": self.n_subjects,
            **({"sides": dict(self.sides)} if self.sides else {}),
            "target": self.target.to_json(),
            "sources": {name: s.to_json() for name, s in self.sources.items()},
            "conditions": {name: sorted(set(values))[:20] for name, values in self.conditions.items()},
            "regions": self.regions,
        }


def take_fingerprint(rows: Sequence[ManifestRow], root: Path, *, progress: Progress = silent) -> Fingerprint:
    """Read the images of a manifest and keep their statistics.

    Of a case with a target alone, only the target counts: what else it has, and states, no network is shown.

    Parameters
    ----------
    rows
        Of all cases that a training may see; test cases should be left out.
    root
        Folder that paths are relative to.
    progress
        Told what is done and the share of it.

    Raises
    ------
    InputError
        If images of one kind differ in modality or unit, or one cannot be read; the message names the case.
    SuvError
        If PET in Bq/mL or another SUV states too little for an SUV by body weight.
    """
    cases = by_case(rows)
    kinds: dict[str, ImageStatistics] = {}
    conditions: dict[str, list[str]] = {}
    stated_by: dict[str, list[str]] = {}
    for number, members in enumerate(cases.values()):
        seen: set[str] = set()
        told = side_of(members) != "target"
        for row in members:
            if row.role not in (("source", "condition", "target") if told else ("target",)):
                continue
            key = TARGET if row.role == "target" else row.channel
            with naming(row):
                volume = comparable(read_image(row, root))
                volume = turned(volume, turn_to_patient(volume))  # as networks see it
                known = kinds.setdefault(key, ImageStatistics(volume.modality, volume.unit.value))
                _add(known, volume, row, key)
            known.n_cases += key not in seen
            seen.add(key)
            for name, value in _facts(row).items() if told else ():
                conditions.setdefault(name, []).append(value)
                stated_by.setdefault(name, []).append(row.case)
        progress("reading the dataset", (number + 1) / len(cases))
    sources = {key: known for key, known in kinds.items() if key != TARGET}
    if TARGET not in kinds or not sources:
        raise InputError("A dataset needs sources and a target; it has not both. Correct the manifest.")
    regions = any(r.role == "mask" and r.name != "body" for r in rows)
    subjects = {r.subject for r in rows}
    sides = count_sides(cases)
    sides = sides if sides["pair"] < len(cases) else {}
    return Fingerprint(len(cases), len(subjects), kinds[TARGET], sources, conditions, regions, stated_by, sides)


def _facts(row: ManifestRow) -> dict[str, str]:
    """What an image states that a network may be told."""
    facts = row.facts
    if row.count_fraction is not None and row.role != "target":
        facts["count_fraction"] = f"{row.count_fraction:.9g}"
    return facts


def _add(known: ImageStatistics, volume: Volume, row: ManifestRow, key: str) -> None:
    """Add an image to the statistics of its kind."""
    key = key or "target"
    if (volume.modality, volume.unit.value) != (known.modality, known.unit):
        raise InputError(
            f"Images of one kind must have one modality and unit; '{key}' is {known.modality} in {known.unit}, but in "
            f"case '{row.case}' {volume.modality} in {volume.unit.value}. Run 'nmsynth dataset check'."
        )
    slices = {volume.spatial_shape[0] == 1, *(shape[0] == 1 for shape in known.shapes)}
    if len(slices) > 1:
        raise InputError(
            f"Images of one kind must be all of one slice, or all of several; '{key}' of case '{row.case}' has "
            f"{volume.spatial_shape[0]}, others not. Leave one kind out."
        )
    acquisition = volume.acquisition
    if acquisition.radionuclide and acquisition.radiopharmaceutical:
        tracer = (acquisition.radionuclide, acquisition.radiopharmaceutical)
        known.tracers += [tracer] if tracer not in known.tracers else []
    stated = volume.provenance.settings
    if volume.unit is Unit.SUVR and "tracer" in stated and "reference_region" in stated:
        reference = (str(stated["tracer"]), str(stated["reference_region"]))
        known.references += [reference] if reference not in known.references else []
    corrected = volume.acquisition.is_attenuation_corrected
    if volume.modality in ACTIVITY_MODALITIES and corrected is not None:
        known.corrected.append(corrected)
    values = volume.array[body_contour(volume)]
    known.n_images += 1
    known.spacings_mm.append(volume.spacing_mm)
    known.shapes.append(volume.spatial_shape)
    z, y, x = (n * s for n, s in zip(volume.spatial_shape, volume.spacing_mm, strict=True))
    known.extents_mm.append((z, y, x))
    if volume.modality == "NM" or (volume.modality == "PT" and volume.unit.has_unknown_scale):
        known.levels.append(activity_level(volume.array, volume.spacing_mm))
    known.percentiles.append([float(v) for v in np.percentile(values, PERCENTILES)])
