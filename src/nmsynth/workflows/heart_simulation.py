"""The subject of a myocardial perfusion study: settings, tracer, and what draws it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from nmsynth.core.config import Settings
from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.physics.phantom import Grid, Heart, Phantom, WholeBodyPatient

HEART_DEFAULTS: dict[str, Any] = {
    "tracer": "SESTAMIBI",
    "arc_deg": 180.0,
    "first_deg": -45.0,
    "voxel_mm": 6.4,
    "length_mm": 205.0,
    "lesions": 0,
}
"""Settings of a perfusion study that are not those of other studies: right anterior to left posterior oblique."""
HEART_FIELD_MM = 409.6
"""Least width of the field: 64 pixels of 6.4 mm."""


class DefectSettings(Settings):
    """One perfusion defect; see :class:`nmsynth.physics.phantom.PerfusionDefect`."""

    segment: int = Field(ge=1, le=17)
    severity: float = Field(default=0.6, ge=0, le=1)
    extent_deg: float = Field(default=70.0, gt=0, le=360)
    transmural: float = Field(default=1.0, ge=0, le=1)
    reversible: float = Field(default=0.0, ge=0, le=1)


class HeartStudy(Settings):
    """What of the heart is imaged."""

    state: Literal["stress", "rest"] = "stress"
    """Studies of one seed in both states share their anatomy."""
    defects: tuple[DefectSettings, ...] | None = None
    """Defects; drawn when unset, none where empty."""
    n_defects: int | None = Field(default=None, ge=0, le=8)
    """How many are drawn; 0 for a heart without any."""
    gate: int | None = Field(default=None, ge=0, le=7)
    """Part of the beat, 0 at end diastole; all of it when unset."""
    abdominal_activity: float = Field(default=1.0, ge=0, le=20)
    """Factor on liver, gallbladder, bowel and stomach."""

    @property
    def count_share(self) -> float:
        """Share of the counts that falls into what is imaged."""
        return 1.0 if self.gate is None else 1 / 8

    @property
    def repeat(self) -> tuple[int, int]:
        """Tells this scan from the other state's, and from other gates'."""
        return (int(self.state == "rest"), 0 if self.gate is None else self.gate + 1)


def perfusion_patient(seed: int, study: HeartStudy, tracer: str) -> tuple[WholeBodyPatient, Heart]:
    """The patient of a perfusion study, arms up, and its heart."""
    from nmsynth.physics import phantom as phantoms

    if study.defects is not None and study.n_defects is not None:
        raise InputError("Defects are listed or drawn; both a list and a number were given. Leave one out.")
    listed = None
    if study.defects is not None:
        listed = tuple(phantoms.PerfusionDefect(**d.model_dump()) for d in study.defects)
    settings = phantoms.HeartSettings(
        rest=study.state == "rest", defects=listed, n_defects=study.n_defects,
        abdominal_activity=study.abdominal_activity,
    )  # fmt: skip
    patient = phantoms.whole_body_patient(
        seed, lesions=phantoms.LesionPlan(count=0), settings=phantoms.WholeBodySettings(arms="up"),
        tracer=tracer, heart=settings,
    )  # fmt: skip
    if patient.heart is None:
        raise InputError("A perfusion study needs a heart; the patient has none.")
    return patient, patient.heart


def perfusion_tracer(tracer: str, study: HeartStudy) -> str:
    """Name of the uptake table of a perfusion tracer in a state.

    Raises
    ------
    InputError
        If the tracer is not one of perfusion.
    """
    if tracer not in ("SESTAMIBI", "TETROFOSMIN"):
        raise InputError(f"A heart is imaged with SESTAMIBI or TETROFOSMIN; found {tracer}. Change the tracer.")
    return f"{tracer}-{study.state.upper()}"


def heart_render(patient: WholeBodyPatient, study: HeartStudy) -> Callable[[Grid], Phantom]:
    """What draws the patient at the gate of the study."""
    return lambda grid: patient.render(grid, gate=study.gate)


def heart_range_mm(heart: Heart, length_mm: float) -> tuple[float, float]:
    """Planes about the middle of the left ventricle [mm]."""
    v = heart.ventricle
    middle = v.apex_mm[0] - float(v.axes[0, 0]) * v.length_mm / 2
    return middle - length_mm / 2, middle + length_mm / 2


def heart_field_mm(patient: WholeBodyPatient, z_range_mm: tuple[float, float], voxel_mm: float) -> float:
    """Width of a field that holds the body about the heart, in steps of 8 voxels [mm]."""
    import numpy as np

    from nmsynth.physics.phantom import Grid

    coarse = 12.0
    n_z = max(1, int((z_range_mm[1] - z_range_mm[0]) / coarse))
    body = patient.render(Grid.centred((n_z, 60, 60), (coarse,) * 3, z_range_mm[0])).mu_map > 0.01
    _, y, x = np.nonzero(body)
    away = float(np.hypot(y - 29.5, x - 29.5).max()) * coarse + coarse if len(y) else 0.0
    return max(HEART_FIELD_MM, 8 * voxel_mm * math.ceil(2 * away / (8 * voxel_mm)))
