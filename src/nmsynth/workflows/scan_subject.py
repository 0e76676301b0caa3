"""Who a simulated scan is of: what draws them, their habitus, and what of them is scanned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.physics.displacement import BodyMotion
    from nmsynth.physics.phantom import Grid, LesionPlan, Phantom, WholeBodyPatient
    from nmsynth.physics.phantom.brain import BrainPatient

BONE_SITES = ("spine", "ribs", "pelvis", "femur", "skull", "sternum", "shoulder")
"""Where lesions of a bone scan lie."""
WORN_JOINTS = (0, 8)
"""How many degenerative sites a bone scan shows, drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class ScanSubject:
    """A patient or an object, as a scan takes it."""

    render: Callable[[Grid], Phantom]
    z_range_mm: tuple[float, float]
    """First and last plane that is scanned [mm]."""
    field_mm: float
    """Width of the field of view [mm]."""
    body_mass_kg: float = 75.0
    height_m: float = 1.75
    sex: str = "O"
    painted: bool = False
    """Whether its attenuation is that of painted organs, not of a CT or of an object."""
    brain: BrainPatient | None = None
    """The brain, of one with regions."""
    patient: WholeBodyPatient | None = None
    """The procedural patient, of one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else is known of it, for the record. JSON values."""
    count_share: float = 1.0
    """Share of the counts of a study that falls into what is imaged, such as a part of the heart beat."""
    repeat: tuple[int, int] = (0, 0)
    """Which of the scans of one seed; see :func:`nmsynth.data.spect_scan.scan_spect`."""

    @property
    def habitus(self) -> dict[str, Any]:
        """Mass, height and sex, by the names of the scans' arguments."""
        return {"body_mass_kg": self.body_mass_kg, "height_m": self.height_m, "sex": self.sex}

    def motion(self, seed: int) -> BodyMotion | None:
        """Breathing and arms of a procedural patient between CT and emission, drawn; none of others."""
        if self.patient is None:
            return None
        import numpy as np

        from nmsynth.physics.displacement import draw_body_motion

        return draw_body_motion(
            np.random.default_rng((seed, 59)),
            diaphragm_mm=self.patient.diaphragm_mm,
            arms_beyond_mm=self.patient.trunk_half_width_mm,
        )


def of_patient(
    patient: WholeBodyPatient,
    *,
    z_range_mm: tuple[float, float],
    field_mm: float,
    render: Callable[[Grid], Phantom] | None = None,
    **more: Any,
) -> ScanSubject:
    """A procedural patient as the subject of a scan."""
    return ScanSubject(
        render=render or patient.render, z_range_mm=z_range_mm, field_mm=field_mm, painted=True,
        body_mass_kg=patient.body_mass_kg, height_m=patient.frame.height_m, sex=patient.frame.sex, patient=patient,
        **more,
    )  # fmt: skip


def scan_fractions(count_fraction: float, share: float = 1.0, further: Sequence[float] = ()) -> tuple[float, ...]:
    """Counts of the full scan, of further ones, and of the scan asked for where it is another, over those of the study.

    Examples
    --------
    >>> scan_fractions(1.0), scan_fractions(0.25), scan_fractions(0.25, further=[0.5])
    ((1.0,), (1.0, 0.25), (1.0, 0.5, 0.25))
    """
    if count_fraction == 1 and not further:
        return (share,)
    return (share, *(share * fraction for fraction in further), share * count_fraction)


def check_further(fractions: Sequence[float], file_format: str) -> None:
    """Refuse further counts that no scan can have, or that are not written.

    Raises
    ------
    InputError
        If a fraction is impossible, or DICOM is asked for.
    """
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"Further fractions must lie above 0 and at most at 1; found {tuple(fractions)}.")
    if fractions and file_format == "dicom":
        raise InputError("Scans at further fractions are written as NIfTI; DICOM was asked for. Leave one out.")


def shortened(z_range_mm: tuple[float, float], length_mm: float | None) -> tuple[float, float]:
    """Planes about the same middle, at most as long as asked for.

    Examples
    --------
    >>> shortened((0.0, 100.0), 40.0)
    (30.0, 70.0)
    """
    low, high = z_range_mm
    if length_mm is None or length_mm >= high - low:
        return z_range_mm
    middle = (low + high) / 2
    return middle - length_mm / 2, middle + length_mm / 2


def bone_lesions(count: int | None) -> LesionPlan:
    """Plan of the lesions of a bone scan: in bone, of any shape but spheres; drawn in number when unset."""
    from nmsynth.physics.phantom import LesionPlan

    return LesionPlan(
        count=count, diameter_mm=(8.0, 35.0), contrast=(2.0, 8.0), shapes=("ellipsoid", "irregular"), sites=BONE_SITES
    )
