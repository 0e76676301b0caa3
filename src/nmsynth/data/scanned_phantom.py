"""A scanned phantom as volumes with their acquisition and SUV rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.provenance import Provenance
from nmsynth.core.suv import resolve_suv
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.simulation import (
    FINE,
    PRIOR_STRENGTH,
    ScanDraw,
    SimulatedCase,
)
from nmsynth.physics.beds import BedPlan, BedPosition
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.pet import PetProtocol
from nmsynth.physics.phantom import Lesion

INJECTION_TIME = datetime(2000, 1, 1, 12, 0, 0)
"""Injection of every simulated study, so that the same seed gives the same files."""


@dataclass(frozen=True, slots=True, eq=False)
class ScannedPhantom:
    """All that is known of a simulated study; images in Bq/mL on one grid."""

    scans: tuple[Volume, ...]
    """One for each count fraction asked for."""
    noise_free: Volume
    truth: Volume
    lesion_labels: npt.NDArray[np.uint8]
    organ_labels: npt.NDArray[np.uint8]
    mu_map: npt.NDArray[np.float32]
    lesions: tuple[Lesion, ...]
    draw: ScanDraw
    beds: tuple[BedPosition, ...] = ()
    """Bed positions, where the scan had them."""
    motion: BodyMotion | None = None
    """Of the body between CT and emission, in heights of the phantom."""
    others: Mapping[str, tuple[Volume, ...]] = field(default_factory=dict)
    """Other images of the same counts by name: of noise-free data, then of each scan. One that is not corrected for
    attenuation is in a relative unit."""

    @property
    def attenuation(self) -> Volume:
        """The true attenuation at 511 keV on the grid of the scan [1/cm]."""
        known = Provenance(simulated=True, settings={"image": "mu map", "energy_kev": 511.0})
        return self.noise_free.with_array(
            self.mu_map, unit=Unit.PER_CENTIMETRE, modality="CT", suv_rule=None, provenance=known
        )


def assemble_scan(
    cases: Sequence[SimulatedCase],
    acquisition: Acquisition,
    *,
    lesions: tuple[Lesion, ...],
    start_mm: float,
    seed: int,
) -> ScannedPhantom:
    """Blocks of planes in SUV, scanned by one draw, as volumes in Bq/mL.

    Parameters
    ----------
    cases
        Blocks from the lowest on; they share a draw.
    acquisition
        As :func:`scan_acquisition` gives it.
    lesions
        Of all blocks.
    start_mm
        Where the first block starts, as given to :func:`nmsynth.data.simulation.fine_grid` [mm].
    seed
        Recorded with each image.
    """
    draw = cases[0].draw
    edge = -(draw.osem.n_pixels - 1) / 2 * draw.osem.pixel_mm
    first_z = start_mm + draw.osem.plane_mm * (FINE - 1) / (2 * FINE)
    affine = affine_from_axes(
        spacing_mm=(draw.osem.plane_mm, draw.osem.pixel_mm, draw.osem.pixel_mm), origin_mm=(edge, edge, first_z)
    )

    def volume(parts: list[npt.NDArray[np.float32]], kind: str, fraction: float | None) -> Volume:
        """Blocks of an image in SUV as one volume in Bq/mL."""
        array = np.concatenate(parts) * np.float32(draw.protocol.bqml_per_suv)
        stated = replace(acquisition, simulated_count_fraction=fraction)
        return _volume(array, affine, stated, {"image": kind, "seed": seed, "count_fraction": fraction})

    def other(name: str, k: int) -> Volume:
        """Another image of the same counts: noise-free for ``k = 0``, then of each scan."""
        fraction = None if k == 0 else draw.fractions[k - 1]
        image = volume([c.others[name][k] for c in cases], f"{name}{' (T1)' if k == 0 else ''}", fraction)
        if name == "penalised":
            return _penalised(image)
        return uncorrected(image) if name == "uncorrected" else image

    return ScannedPhantom(
        scans=tuple(volume([c.scans[k] for c in cases], "scan", f) for k, f in enumerate(draw.fractions)),
        noise_free=volume([c.noise_free for c in cases], "noise-free (T1)", None),
        truth=volume([c.truth for c in cases], "true activity (T0)", None),
        lesion_labels=np.concatenate([c.lesion_labels for c in cases]),
        organ_labels=np.concatenate([c.organ_labels for c in cases]),
        mu_map=np.concatenate([c.mu_map for c in cases]),
        lesions=lesions,
        draw=draw,
        others={name: tuple(other(name, k) for k in range(1 + len(draw.fractions))) for name in cases[0].others},
    )


def uncorrected(image: Volume) -> Volume:
    """An image without correction for attenuation and scatter, which holds no activity concentration."""
    left = tuple(c for c in image.acquisition.corrections if c not in ("ATTN", "SCAT"))
    stated = replace(image.acquisition, corrections=left)
    return replace(
        image, unit=Unit.RELATIVE, acquisition=stated, suv_rule=resolve_suv(stated, unit=Unit.RELATIVE, time_rule="a")
    )


def _penalised(image: Volume) -> Volume:
    """An image by penalised likelihood."""
    stated = f"BSREM, relative difference prior, {PRIOR_STRENGTH:g}"
    return replace(image, acquisition=replace(image.acquisition, reconstruction=stated))


def _volume(
    array: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], stated: Acquisition, settings: dict[str, Any]
) -> Volume:
    """A simulated image in Bq/mL with its SUV rule."""
    return Volume(
        array=array,
        affine=affine,
        unit=Unit.BQML,
        modality="PT",
        acquisition=stated,
        provenance=Provenance(simulated=True, settings=settings),
        suv_rule=resolve_suv(stated, unit=Unit.BQML, time_rule="a"),
    )


def _mean_decay_time_s(protocol: PetProtocol) -> float:
    """Time from the start at which the activity equals its mean over the scan, ``ln(mean decay) / -l`` [s]."""
    return -math.log(protocol.mean_decay) * protocol.half_life_s / math.log(2)


def with_bed_times(
    stated: Acquisition, protocol: PetProtocol, plan: BedPlan, beds: tuple[BedPosition, ...]
) -> Acquisition:
    """Times slice by slice; a slice of two beds states that of the bed with the greater weight, as headers do."""
    start = INJECTION_TIME + timedelta(seconds=protocol.uptake_time_s)
    delays = [beds[int(bed)].delay_s for bed in plan.weights(beds).argmax(0)]
    return replace(
        stated,
        acquisition_times=tuple(start + timedelta(seconds=delay) for delay in delays),
        frame_reference_times_s=tuple(delay + _mean_decay_time_s(protocol) for delay in delays),
    )


def scan_acquisition(
    draw: ScanDraw,
    *,
    body_mass_kg: float,
    height_m: float,
    sex: str,
    radiopharmaceutical: str = "Fluorodeoxyglucose F^18^",
    body_part: str = "WHOLEBODY",
) -> Acquisition:
    """What the header of a simulated scan states."""
    start = INJECTION_TIME + timedelta(seconds=draw.protocol.uptake_time_s)
    return Acquisition(
        radionuclide="F-18",
        radiopharmaceutical=radiopharmaceutical,
        half_life_s=draw.protocol.half_life_s,
        injected_activity_bq=draw.protocol.injected_activity_bq,
        injection_time=INJECTION_TIME,
        reference_time=start,
        decay_correction="START",
        corrections=("DECY", "ATTN", "SCAT", "RAN", "NORM", "DTIM"),
        body_mass_kg=round(body_mass_kg, 2),
        height_m=round(height_m, 3),
        sex=sex,
        series_time=start,
        acquisition_times=(start,),
        frame_reference_times_s=(_mean_decay_time_s(draw.protocol),),
        frame_durations_s=(draw.protocol.duration_s,),
        manufacturer="nmsynth simulator",
        scanner="slice stack",
        reconstruction=f"OSEM {draw.osem.n_iterations}i{draw.osem.n_subsets}s, {draw.osem.filter_fwhm_mm:g} mm",
        body_part=body_part,
        patient_position="HFS",
    )
