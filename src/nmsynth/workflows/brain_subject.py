"""A brain from a label map, drawn or the user's: what is asked for, the subject, its truth on an image's grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.physics.phantom.brain import BrainPatient
    from nmsynth.physics.phantom.lesions import LesionPlan

MARGIN_MM = 20.0
"""Above and below the brain that is scanned [mm]."""
FURTHER_SEED = 1_000_000_007
"""Added to the seed for the uptake of a further tracer."""


class BrainSettings(BaseModel):
    """Disease and atrophy of a brain; part of the settings of a simulation."""

    disease: Literal["normal", "alzheimer", "parkinson"] | None = None
    severity: float | None = Field(default=None, ge=0, le=1)
    """Of the disease's uptake pattern; drawn when unset."""
    atrophy: float | None = Field(default=None, ge=0, le=1)
    """Of the anatomy; drawn by ``coupling`` when that is set, else none."""
    coupling: Literal["none", "published", "strong"] | None = None
    """How atrophy and severity hang together; see `nmsynth.physics.phantom.brain_disease.draw_brain_subject`."""
    healthy_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the subjects of a disease whose severity is 0, whatever their anatomy."""

    @property
    def asks_for_disease(self) -> bool:
        """Whether anything of it is set."""
        stated = any(v is not None for v in (self.disease, self.severity, self.atrophy, self.coupling))
        return stated or self.healthy_share > 0


def draw_brain(
    settings: BrainSettings,
    labels: Path | None,
    *,
    tracer: str,
    seed: int,
    lesions: LesionPlan | None,
    first: str | None = None,
) -> BrainPatient:
    """Read a brain label map, or draw one where none is given, and draw the subject of the settings.

    Parameters
    ----------
    settings
        Disease and atrophy.
    labels
        The map.
    tracer
        Whose uptake the brain has.
    seed
        Of head, subject and uptake.
    lesions
        To be placed.
    first
        Tracer whose pathology the severity of the settings is of, where it is another; the regions of the two vary by
        themselves.

    Raises
    ------
    InputError
        If severity, coupling or a share of healthy subjects is given without a disease, or the map is no brain.
    """
    import numpy as np

    from nmsynth.data.families import read_upright
    from nmsynth.physics.phantom.brain import brain_patient
    from nmsynth.physics.phantom.brain_disease import draw_brain_subject, subject_for
    from nmsynth.physics.phantom.head_map import head_map

    of_disease = settings.severity is not None or settings.coupling is not None or settings.healthy_share > 0
    if settings.disease is None and of_disease:
        raise InputError(
            "A severity, a coupling or a share of healthy subjects belongs to a disease; none was named. Add one, such "
            "as alzheimer."
        )
    atrophy = settings.atrophy
    if atrophy is None and settings.coupling is None:
        atrophy = 0.0
    subject = draw_brain_subject(
        np.random.default_rng((seed, 43)),
        disease=settings.disease or "normal",
        coupling=settings.coupling or "none",
        severity=settings.severity,
        atrophy=atrophy,
        healthy_share=settings.healthy_share,
    )
    array, spacing = head_map(seed) if labels is None else read_upright(labels, unit="1", modality="MR")
    if first is not None and first != tracer:
        subject, seed = subject_for(subject, tracer=tracer, first=first), seed + FURTHER_SEED
    return brain_patient(
        array, spacing, seed=seed, tracer=tracer, subject=subject, lesions=lesions, body_mass_kg=75.0, height_m=1.75
    )


def brain_facts(patient: BrainPatient) -> dict[str, Any]:
    """Size, sex, scanned planes and field of view of a brain, as scans take them."""
    import numpy as np

    grid = patient.source.grid
    planes = np.flatnonzero((patient.regions > 0).any(axis=(1, 2)))
    z = grid.axes()[0]
    low, high = patient.extent_mm
    return {
        "body_mass_kg": patient.body_mass_kg,
        "height_m": patient.height_m,
        "sex": patient.sex,
        "z_range_mm": (max(low, float(z[planes[0]]) - MARGIN_MM), min(high, float(z[planes[-1]]) + MARGIN_MM)),
        "field_mm": max(n * s for n, s in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)) * 1.1,
    }


def brain_regions_on(patient: BrainPatient, image: Volume) -> npt.NDArray[np.uint8]:
    """Region of each voxel of a simulated image, shape ``(z, y, x)``."""
    from nmsynth.physics.phantom.grid import Grid

    z, y, x = image.spatial_shape
    # the last column is the position of voxel (0, 0, 0) as (left, posterior, superior)
    origin = (float(image.affine[2, 3]), float(image.affine[1, 3]), float(image.affine[0, 3]))
    return patient.regions_on(Grid((z, y, x), image.spacing_mm, origin))


def brain_ratio(patient: BrainPatient, image: Volume) -> Volume:
    """A simulated image over its mean in the tracer's reference region, which the provenance names.

    Raises
    ------
    InputError
        If less than a millilitre of that region was scanned.
    """
    import numpy as np

    from nmsynth.core.units import Unit
    from nmsynth.metrics.suvr import suvr
    from nmsynth.physics.phantom.brain_regions import RIGHT

    tracer = patient.tracer
    inside = np.isin(brain_regions_on(patient, image) % RIGHT, tracer.reference)
    start_min = tracer.uptake_time_s / 60
    stated = {
        "tracer": tracer.name,
        "reference_region": " and ".join(region.words for region in tracer.reference),
        "window_min": [start_min, start_min + tracer.duration_s / 60],
    }
    return image.with_array(
        suvr(image.array, inside, voxel_volume_ml=image.voxel_volume_ml),
        unit=Unit.SUVR,
        suv_rule=None,
        provenance=replace(image.provenance, settings={**image.provenance.settings, **stated}),
    )


def told_of_brain(patient: BrainPatient, *, seed: int, target: str) -> dict[str, float | str]:
    """What a model may be told of the subject beside the images, by name: tracers, age and biomarker."""
    import numpy as np

    from nmsynth.physics.phantom.brain_scalars import draw_brain_scalars

    tracer = patient.tracer.name
    scalars = draw_brain_scalars(np.random.default_rng((seed, 47)), patient.subject, tracer=tracer)
    return {
        "source_tracer": tracer,
        "target_tracer": target,
        "age": round(scalars.age_y, 1),
        "biomarker": round(scalars.biomarker, 3),
    }
