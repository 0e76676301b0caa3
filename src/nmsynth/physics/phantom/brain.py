"""Brain phantoms from label maps, for any brain tracer, with disease and atrophy, and their regional truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.brain_atrophy import atrophied
from nmsynth.physics.phantom.brain_disease import (
    BrainSubject,
    changes_uptake,
    checked_disease,
    checked_share,
    diseased_ratio,
)
from nmsynth.physics.phantom.brain_regions import CORTEX, RIGHT, BrainRegion, brain_regions, region_name
from nmsynth.physics.phantom.brain_tracers import TISSUE_OF_LABEL, BrainTracer, brain_tracer_named
from nmsynth.physics.phantom.grid import FloatArray, Grid, Phantom
from nmsynth.physics.phantom.label_tables import BRAIN_REGIONS, mu_of
from nmsynth.physics.phantom.labels import (
    LabelSource,
    checked_labels,
    largest_label,
    overlap_matrices,
    render_source,
    texture,
)
from nmsynth.physics.phantom.lesions import LesionPlan
from nmsynth.physics.phantom.organs import Organ

HEALTHY = BrainSubject("normal", 0.0, 0.0, None)
"""The label map as it is, with the uptake of health."""
_GLOBAL, _REGIONAL = 0.4, 0.5
"""Shares of the variance between subjects that a tissue class and a region have in common; the rest is of each side."""


@dataclass(frozen=True, slots=True)
class RegionTruth:
    """What is known of one region, without lesions."""

    name: str
    """With its side, as `region_name` gives it."""
    number: int
    suv: float
    """Mean [g/mL]."""
    suvr: float
    """Mean over that of the reference region."""
    volume_ml: float
    """After atrophy."""


@dataclass(frozen=True, slots=True, eq=False)
class BrainPatient:
    """A brain with its uptake drawn, to be rendered on any grid."""

    tracer: BrainTracer
    subject: BrainSubject
    worse_side: str
    """The more affected side in Parkinson's disease, ``"left"`` or ``"right"``; drawn, and unused otherwise."""
    truth: tuple[RegionTruth, ...]
    """Of every region that the map has, measured on the map's own voxels."""
    regions: NDArray[np.uint8]
    """Region of each voxel of the map, after atrophy; numbers as in `brain_regions`."""
    source: LabelSource
    seed: int
    lesions: LesionPlan | None
    body_mass_kg: float
    height_m: float
    sex: str

    @property
    def extent_mm(self) -> tuple[float, float]:
        """First and last plane that holds anything [mm]."""
        planes = np.flatnonzero((self.source.organs > 0).any(axis=(1, 2)))
        z = self.source.grid.axes()[0]
        half = self.source.grid.spacing_mm[0] / 2
        return float(z[planes[0]] - half), float(z[planes[-1]] + half)

    def render(self, grid: Grid | None = None) -> Phantom:
        """The phantom on a grid; on the map's own voxels when unset."""
        record = (self.seed, "brain_labels", self.body_mass_kg, self.height_m, self.sex)
        return render_source(self.source, grid, self.lesions, record)

    def regions_on(self, grid: Grid) -> NDArray[np.uint8]:
        """Region that fills most of each voxel of a grid, 0 where no region fills more than all else, ``(z, y, x)``."""
        return largest_label(self.regions, overlap_matrices(grid, self.source.grid))

    def to_json(self) -> dict[str, Any]:
        """Tracer, subject and regional truth, as JSON values."""
        return {
            "tracer": self.tracer.name,
            "radionuclide": self.tracer.radionuclide,
            "reference_region": [region.words for region in self.tracer.reference],
            "disease": self.subject.disease,
            "disease_changes_uptake": changes_uptake(self.subject.disease, self.tracer.name),
            "severity": self.subject.severity,
            "atrophy": self.subject.atrophy,
            "coupling": self.subject.coupling,
            "worse_side": self.worse_side if self.subject.disease == "parkinson" else None,
            "regions": [
                {"number": r.number, "name": r.name, "suv": r.suv, "suvr": r.suvr, "volume_ml": r.volume_ml}
                for r in self.truth
            ],
        }


def brain_patient(
    label_array: NDArray[np.number],
    spacing_mm: tuple[float, float, float],
    *,
    seed: int,
    tracer: str = "FDG",
    subject: BrainSubject = HEALTHY,
    spread: float = 1.0,
    textured: bool = True,
    lesions: LesionPlan | None = None,
    body_mass_kg: float = 75.0,
    height_m: float = 1.72,
    sex: str = "O",
) -> BrainPatient:
    """Draw a brain from a whole-head label map.

    Each region takes its ratio from the tracer's table, varied between subjects and sides, changed by the disease, and
    scaled so that the mean over the reference regions, by volume, is the subject's reference SUV. Texture within a
    region leaves its mean as it is. In regions of a disease that reach the reference, the ratio is to the diseased
    reference, as in an image.

    Parameters
    ----------
    label_array
        FreeSurfer numbers, cortical parcels 1000-2999 included, and 502-530 outside the brain; shape ``(z, y, x)``
        with z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    seed
        Number that draws the uptakes.
    tracer
        One of :data:`nmsynth.physics.phantom.brain_tracers.BRAIN_TRACERS`.
    subject
        Disease, severity and atrophy, from `draw_brain_subject` or given.
    spread
        Multiplies what varies between subjects; 0 gives the table.
    textured
        Whether regions have a smooth texture of 4 to 9 %.
    lesions
        Lesions to add, none by default.
    body_mass_kg, height_m, sex
        Habitus to record.

    Raises
    ------
    InputError
        If a name or label is unknown, or the map lacks the tracer's reference region.

    References
    ----------
    Tables and patterns: :mod:`nmsynth.physics.phantom.brain_tracers`, :mod:`nmsynth.physics.phantom.brain_disease`.
    """
    chosen = brain_tracer_named(tracer)
    checked_disease(subject.disease)
    checked_share("severity", subject.severity)
    if seed < 0:
        raise InputError(f"A phantom seed must not be negative, found {seed}.")
    labels = checked_labels(label_array, spacing_mm, BRAIN_REGIONS, "FreeSurfer", parcels=True)
    regions = brain_regions(labels, spacing_mm)
    labels = atrophied(labels, regions, spacing_mm, subject.atrophy)
    regions = _kept(regions, labels)
    count = np.bincount(regions.reshape(-1), minlength=256)
    volumes = np.asarray(count * (math.prod(spacing_mm) / 1000.0), dtype=np.float64)
    if not _reference_volume(chosen, volumes):
        raise InputError(
            f"Uptake of {chosen.name} is relative to {' and '.join(r.name.lower() for r in chosen.reference)}, which "
            "the label map lacks. Give a map of the whole brain, or another tracer."
        )
    rng = np.random.default_rng([seed, 13])
    worse_side = "left" if rng.random() < 0.5 else "right"
    level = _levels(chosen, subject, worse_side, volumes, rng, spread)
    grid = Grid.centred(labels.shape, spacing_mm)
    grain = texture(grid, rng, float(rng.uniform(0.04, 0.09))) if textured else np.ones(labels.shape, np.float32)
    activity = _tissue_suv(labels, chosen)
    activity[regions > 0] = level[regions[regions > 0]]
    activity *= _centred_texture(grain, regions)
    organs = _organs(labels)
    source = LabelSource(grid, activity, mu_of(organs), organs)
    return BrainPatient(
        chosen, subject, worse_side, _truth(chosen, activity, regions, volumes), regions, source, seed, lesions,
        body_mass_kg, height_m, sex,
    )  # fmt: skip


def _kept(regions: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Regions without the voxels that atrophy turned to cerebrospinal fluid."""
    fluid = np.isin(labels, (4, 43, 5, 44, 24))
    return np.where(fluid, np.uint8(0), regions)


def _reference_volume(tracer: BrainTracer, volumes: NDArray[np.float64]) -> float:
    """Volume of the reference region [mL]."""
    return float(sum(volumes[r] + volumes[r + RIGHT] for r in tracer.reference))


def _levels(
    tracer: BrainTracer,
    subject: BrainSubject,
    worse_side: str,
    volumes: NDArray[np.float64],
    rng: np.random.Generator,
    spread: float,
) -> FloatArray:
    """SUV of each region number; every region draws, whether the map has it or not."""
    reference_suv = tracer.reference_suv.median
    if spread > 0:
        reference_suv = tracer.reference_suv.draw(rng, widen=spread)
    shared = rng.standard_normal(3)
    ratio = np.zeros(256, np.float64)
    for region, table in tracer.regions.items():
        common, left, right = rng.standard_normal(3)
        for offset, own, side in ((0, left, "left"), (RIGHT, right, "right")):
            z = math.sqrt(_GLOBAL) * shared[_class_of(region)] + math.sqrt(_REGIONAL) * common
            z += math.sqrt(1 - _GLOBAL - _REGIONAL) * own
            log_sd = math.sqrt(math.log1p((spread * table.sd / table.ratio) ** 2))
            healthy = table.ratio * math.exp(log_sd * z - log_sd**2 / 2)
            ratio[region + offset] = diseased_ratio(
                region, healthy, tracer=tracer.name, disease=subject.disease, severity=subject.severity,
                worse_side=side == worse_side,
            )  # fmt: skip
    numbers = [r + offset for r in tracer.reference for offset in (0, RIGHT)]
    mean = sum(volumes[n] * ratio[n] for n in numbers) / _reference_volume(tracer, volumes)
    # the reference regions are scaled to a mean of one; all others are relative to it already
    ratio[numbers] /= mean
    return np.asarray(reference_suv * ratio, dtype=np.float32)


def _class_of(region: BrainRegion) -> int:
    """Tissue class whose subjects vary together: cortex, deep grey matter, all else."""
    if region in CORTEX:
        return 0
    return 1 if region <= BrainRegion.VENTRAL_DIENCEPHALON else 2


def _tissue_suv(labels: NDArray[np.int32], tracer: BrainTracer) -> FloatArray:
    """SUV of what lies outside the brain's regions."""
    table = np.zeros(int(labels.max()) + 1, np.float32)
    for label, tissue in TISSUE_OF_LABEL.items():
        if label < len(table):
            table[label] = tracer.tissue[tissue]
    return table[labels]


def _centred_texture(grain: FloatArray, regions: NDArray[np.uint8]) -> FloatArray:
    """Texture whose mean over each region is one."""
    flat = regions.reshape(-1)
    count = np.bincount(flat, minlength=256)
    total = np.bincount(flat, weights=grain.reshape(-1), minlength=256)
    mean = np.where(count > 0, total / np.maximum(count, 1), 1.0)
    mean[0] = 1.0
    return np.asarray(grain / mean.astype(np.float32)[regions], dtype=np.float32)


def _organs(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Structure of `Phantom.labels` by FreeSurfer number."""
    table = np.zeros(max(int(labels.max()) + 1, 64), np.uint8)
    for label, (organ, _) in BRAIN_REGIONS.items():
        if label < len(table):
            table[label] = organ
    table[[31, 63]] = Organ.CSF
    table[1000:3000] = Organ.BRAIN_GREY
    return table[labels]


def _truth(
    tracer: BrainTracer, activity: FloatArray, regions: NDArray[np.uint8], volumes: NDArray[np.float64]
) -> tuple[RegionTruth, ...]:
    """Means of each region and their ratios to the reference region."""
    flat = regions.reshape(-1)
    count = np.bincount(flat, minlength=256)
    total = np.bincount(flat, weights=activity.reshape(-1), minlength=256)
    numbers = [r + offset for r in tracer.reference for offset in (0, RIGHT)]
    reference = float(total[numbers].sum() / count[numbers].sum())
    return tuple(
        RegionTruth(
            region_name(n), n, float(total[n] / count[n]), float(total[n] / count[n]) / reference, float(volumes[n])
        )
        for n in range(1, 256)
        if count[n]
    )
