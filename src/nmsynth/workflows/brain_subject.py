"""A brain from a label map, drawn or the user's: what is asked for, the subject, its truth on an image's grid."""

from __future__ import annotations

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


class BrainSettings(BaseModel):
    """Disease and atrophy of a brain; part of the settings of a simulation."""

    disease: Literal["normal", "alzheimer", "parkinson"] | None = None
    severity: float | None = Field(default=None, ge=0, le=1)
    """Of the disease's uptake pattern; drawn when unset."""
    atrophy: float | None = Field(default=None, ge=0, le=1)
    """Of the anatomy; drawn by ``coupling`` when that is set, else none."""
    coupling: Literal["none", "published", "strong"] | None = None
    """How atrophy and severity hang together; see `nmsynth.physics.phantom.brain_disease.draw_brain_subject`."""

    @property
    def asks_for_disease(self) -> bool:
        """Whether anything of it is set."""
        return any(v is not None for v in (self.disease, self.severity, self.atrophy, self.coupling))


def draw_brain(
    settings: BrainSettings, labels: Path | None, *, tracer: str, seed: int, lesions: LesionPlan | None
) -> BrainPatient:
    """Read a brain label map, or draw one where none is given, and draw the subject of the settings.

    Raises
    ------
    InputError
        If severity or coupling are given without a disease, or the map is no brain.
    """
    import numpy as np

    from nmsynth.data.families import read_upright
    from nmsynth.physics.phantom.brain import brain_patient
    from nmsynth.physics.phantom.brain_disease import draw_brain_subject
    from nmsynth.physics.phantom.head_map import head_map

    if settings.disease is None and (settings.severity is not None or settings.coupling is not None):
        raise InputError("A severity or a coupling belongs to a disease; none was named. Add one, such as alzheimer.")
    atrophy = settings.atrophy
    if atrophy is None and settings.coupling is None:
        atrophy = 0.0
    subject = draw_brain_subject(
        np.random.default_rng((seed, 43)),
        disease=settings.disease or "normal",
        coupling=settings.coupling or "none",
        severity=settings.severity,
        atrophy=atrophy,
    )
    array, spacing = head_map(seed) if labels is None else read_upright(labels, unit="1", modality="MR")
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
