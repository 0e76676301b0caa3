"""Patients by the reference protocol with known truth, for calibration and tests; never for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.physics.phantom import LesionPlan, Organ, whole_body_patient

FloatArray = npt.NDArray[np.float32]

CALIBRATION_SEEDS = range(8800, 8806)
"""Patients on whom evidence thresholds are calibrated."""
TUNING_SEEDS = range(8900, 8903)
"""Patients on whom classical filters are tuned."""
REPORTED_SEEDS = range(9000, 9100)
"""Patients that are reported; training draws its patients below 100 000 with other first seeds, and never these."""
_LENGTH_MM = 256.0
_ABOVE_LIVER_MM = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePatient:
    """One patient: images in SUV, shape ``(z, y, x)``."""

    case_id: str
    spacing_mm: tuple[float, float, float]
    noise_free: FloatArray
    """T1."""
    truth: FloatArray
    """T0."""
    full: FloatArray
    """T2."""
    scans: dict[float, list[FloatArray]]
    """Realisations by count fraction."""
    lesions: npt.NDArray[np.uint8]
    """Number of the lesion in each voxel."""
    liver: npt.NDArray[np.bool_]
    diameters_mm: dict[int, float]
    """By number of the lesion [mm]."""

    @property
    def liver_level(self) -> float:
        """Mean of the liver in the noise-free image [SUV]."""
        return float(self.noise_free[self.liver].mean())


def reference_patient(
    seed: int, fractions: Sequence[float], *, n_realisations: int = 1, lesions: bool = True
) -> ReferencePatient:
    """A procedural patient around the liver, scanned by the reference protocol.

    Isolated lesions of 7 to 34 mm and of contrast 2.5 to 6, as many of 60 as find room.

    Parameters
    ----------
    seed
        Of patient, imperfections and noise.
    fractions
        Counts of each scan over those of the protocol.
    n_realisations
        Independent scans at each fraction.
    lesions
        Whether there are any.
    """
    plan = LesionPlan(
        count=60 if lesions else 0, diameter_mm=(7.0, 34.0), contrast=(2.5, 6.0), isolated=True, necrosis=0.0
    )
    patient = whole_body_patient(seed, lesions=plan)
    coarse = patient.render(patient.grid((8.0, 8.0, 8.0)))
    planes = np.argwhere(coarse.labels == Organ.LIVER)[:, 0]
    middle = float(coarse.grid.axes()[0][int(np.median(planes))]) + _ABOVE_LIVER_MM
    study = scan_phantom(
        patient.render,
        reference=ReferenceScan(),
        body_mass_kg=patient.body_mass_kg,
        height_m=patient.frame.height_m,
        sex=patient.frame.sex,
        z_range_mm=(middle - _LENGTH_MM / 2, middle + _LENGTH_MM / 2),
        fractions=(1.0, *(f for f in fractions for _ in range(n_realisations))),
        seed=seed,
    )
    to_suv = np.float32(1.0 / study.draw.protocol.bqml_per_suv)
    scans = [np.asarray(scan.array) * to_suv for scan in study.scans]
    return ReferencePatient(
        case_id=f"simulated-{seed}",
        spacing_mm=study.noise_free.spacing_mm,
        noise_free=study.noise_free.array * to_suv,
        truth=study.truth.array * to_suv,
        full=scans[0],
        scans={f: scans[1 + k * n_realisations : 1 + (k + 1) * n_realisations] for k, f in enumerate(fractions)},
        lesions=study.lesion_labels,
        liver=(study.organ_labels == Organ.LIVER) & (study.lesion_labels == 0),
        diameters_mm={lesion.index: lesion.diameter_mm for lesion in study.lesions},
    )
