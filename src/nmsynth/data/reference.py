"""Patients by the reference protocol with known truth, for calibration and tests; never for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.metrics.regions import ring_mask
from nmsynth.physics.phantom import LesionPlan, Organ, whole_body_patient

FloatArray = npt.NDArray[np.float32]

CALIBRATION_SEEDS = range(8800, 8806)
"""Patients on whom evidence thresholds are calibrated."""
TUNING_SEEDS = range(8900, 8903)
"""Patients on whom classical filters are tuned."""
REPORTED_SEEDS = range(9000, 9100)
"""Patients that are reported; training draws its patients below 100 000 with other first seeds, and never these."""
RING_VARIATION = 0.25
"""Largest relative standard deviation of T1 in the ring of a lesion that is scored."""
LEAST_CONTRAST = 0.2
"""Least contrast in T1, lesion over ring less one, of a lesion that is scored."""
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

    Isolated lesions of 7 to 34 mm and of contrast 2.5 to 6, as many of 120 as find room. A ratio of contrasts means
    something only where the reference has one, so lesions are scored that stand out in T1 by a fifth of their ring,
    and whose ring in T1 is even within a quarter; the others stay in the images and out of every ring.

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
        count=120 if lesions else 0, diameter_mm=(7.0, 34.0), contrast=(2.5, 6.0), isolated=True, necrosis=0.0
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
        lesions=scored_lesions(study.noise_free.array, study.lesion_labels, study.noise_free.spacing_mm),
        liver=(study.organ_labels == Organ.LIVER) & (study.lesion_labels == 0),
        diameters_mm={lesion.index: lesion.diameter_mm for lesion in study.lesions},
    )


def scored_lesions(
    noise_free: FloatArray, labels: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]
) -> npt.NDArray[np.uint8]:
    """The labels of lesions that stand out in the noise-free image from an even ring; others are set to 0.

    Parameters
    ----------
    noise_free, labels
        T1 and the number of the lesion in each voxel, shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    kept = labels.copy()
    for number in np.unique(labels[labels > 0]):
        lesion = labels == number
        ring = noise_free[ring_mask(lesion, spacing_mm, exclude=labels > 0)]
        level = float(ring.mean()) if ring.size else 0.0
        even = level > 0 and float(ring.std()) <= RING_VARIATION * level
        if not even or float(noise_free[lesion].mean()) < (1 + LEAST_CONTRAST) * level:
            kept[lesion] = 0
    return kept
