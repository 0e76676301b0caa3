"""A head scanned by PET from the injection on, frame by frame, with its rate constants known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nmsynth.core.acquisition import Acquisition, Frame
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.progress import Progress, silent
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.scan import INJECTION_TIME, ReferenceScan
from nmsynth.data.simulation import FINE, block_mean, majority_label, planes_last
from nmsynth.physics.input_function import FloatArray, InputFunction, fine_minutes
from nmsynth.physics.kinetics import RateConstants, frame_means, late_frames, patlak_image, tissue_curve
from nmsynth.physics.pet import PetProtocol, expected_scan, reconstruct_fractions
from nmsynth.physics.phantom import Grid, Organ, Phantom, WholeBodyPatient

FDG_HOUR_S = (10,) * 6 + (30,) * 4 + (60,) * 2 + (120,) * 5 + (300,) * 9
"""Lengths of the frames of an hour [s]."""

GREY = RateConstants(0.102, 0.130, 0.062, 0.0068, 0.05)
WHITE = RateConstants(0.054, 0.109, 0.045, 0.0058, 0.03)
OTHER = RateConstants(0.035, 0.30, 0.020, 0.0, 0.04)
NOTHING = RateConstants(0.0, 1.0, 0.0, 0.0, 0.02)
HEAD_RATES: dict[int, RateConstants] = {
    Organ.BRAIN_GREY: GREY,
    Organ.CEREBELLUM: RateConstants(0.110, 0.140, 0.050, 0.0060, 0.05),
    Organ.BRAIN_WHITE: WHITE,
    Organ.BLOOD: RateConstants(0.0, 1.0, 0.0, 0.0, 1.0),
    Organ.CSF: NOTHING,
    Organ.AIR: RateConstants(0.0, 1.0),
    Organ.FAT: RateConstants(0.010, 0.20, 0.005, 0.0, 0.01),
    Organ.BONE: RateConstants(0.010, 0.20, 0.006, 0.0, 0.02),
    Organ.MARROW: RateConstants(0.060, 0.50, 0.030, 0.0, 0.08),
}
"""FDG rate constants by structure: grey and white matter of [Huang1980]_ with blood added, others chosen.

.. [Huang1980] S.-C. Huang et al., Noninvasive determination of local cerebral metabolic rate of glucose in man, Am J
   Physiol 238:E69-E82, 1980.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ScannedDynamic:
    """All that is known of a dynamic study; images in Bq/mL, decay-corrected to the injection."""

    scan: Volume
    """Shape ``(frame, z, y, x)``."""
    noise_free: Volume
    truth: Volume
    influx: Volume
    """True ``(1 - V_b) K_i``, the slope of a Patlak plot if nothing leaves again; ``k4`` lowers what is measured."""
    patlak: Volume
    """Slope of the Patlak plot of the scan, from 30 minutes on."""
    organ_labels: npt.NDArray[np.uint8]
    minutes: FloatArray
    plasma_suv: FloatArray
    facts: dict[str, Any]


def scan_head_dynamic(
    patient: WholeBodyPatient,
    *,
    frames_s: tuple[float, ...] = FDG_HOUR_S,
    reference: ReferenceScan | None = None,
    length_mm: float = 160.0,
    blood: InputFunction | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ScannedDynamic:
    """Scan a procedural patient's head frame by frame.

    Each structure follows its rate constants (:data:`HEAD_RATES`, varied by 10 % between subjects); texture within
    structures is that of the static phantom. Every frame is a scan of its own: expected counts from its mean activity
    and decay, Poisson, OSEM.

    Parameters
    ----------
    patient
        A patient drawn with FDG.
    frames_s
        Lengths of the frames, from the injection on [s].
    reference
        Scanner and reconstruction; 3 mm voxels in a field of 288 mm when unset.
    length_mm
        Length that is scanned, down from the top of the head [mm].
    blood
        Input function.
    seed
        Of rate constants, imperfections and counting noise.
    """
    if not frames_s or not all(f > 0 for f in frames_s):
        raise InputError(f"A dynamic scan needs frames that last longer than 0 s; found {frames_s}.")
    given = reference or ReferenceScan(voxel_mm=3.0, plane_mm=3.0, field_mm=288.0, duration_s=1.0)
    rng = np.random.default_rng((seed, 41))
    draw = given.draw(patient.body_mass_kg, (1.0,), rng)
    blood = blood or InputFunction()
    edges = np.concatenate([[0.0], np.cumsum(frames_s)]) / 60.0
    spans = np.stack([edges[:-1], edges[1:]], axis=1)
    late = 30.0 if edges[-1] > 40 else float(edges[-1]) / 2
    late_frames(spans, late)  # refused now rather than after the scan
    minutes = fine_minutes(float(edges[-1]))
    plasma = blood.plasma(minutes)
    n = draw.osem.n_pixels
    phantom, first_z = _head(patient, given, n, length_mm)
    rates = {organ: _varied(r, rng) for organ, r in HEAD_RATES.items()}
    other = _varied(OTHER, rng)
    shares, organs = _shares(phantom)
    curves = {
        organ: tissue_curve(rates.get(organ, other), plasma, minutes, whole_blood=blood.whole_blood(minutes))
        for organ in organs
    }
    means = {organ: frame_means(curve, minutes, spans) for organ, curve in curves.items()}
    mu_map = planes_last(phantom.mu_map)
    generator = torch.Generator().manual_seed(seed)
    truth, noise_free, scans = [], [], []
    for k, (start, length) in enumerate(zip(edges[:-1] * 60, frames_s, strict=True)):
        table = np.zeros(256, np.float32)
        for organ in organs:
            table[organ] = means[organ][k]
        activity = table[phantom.labels] * shares
        protocol = PetProtocol(
            injected_activity_bq=draw.protocol.injected_activity_bq, body_mass_kg=patient.body_mass_kg,
            uptake_time_s=float(start), duration_s=float(length),
        )  # fmt: skip
        expected = expected_scan(
            planes_last(activity), mu_map, fine_pixel_mm=given.voxel_mm / FINE, n_fine_planes=FINE,
            scanner=draw.scanner, protocol=protocol, settings=draw.osem, mismatch=draw.mismatch, generator=generator,
        )  # fmt: skip
        images = reconstruct_fractions(expected, (None, 1.0), draw.osem, generator).numpy()
        # both are at the start of the frame; the injection's decay time makes them one series
        to_injection = np.float32(2.0 ** (float(start) / protocol.half_life_s))
        noise_free.append(images[0] * to_injection)
        scans.append(images[1] * to_injection)
        truth.append(block_mean(activity))
        progress("scanning frames", (k + 1) / len(frames_s))
    at_injection = float(replace(draw.protocol, uptake_time_s=0.0).bqml_per_suv)
    affine = affine_from_axes(
        spacing_mm=(given.plane_mm, given.voxel_mm, given.voxel_mm),
        origin_mm=(-(n - 1) / 2 * given.voxel_mm, -(n - 1) / 2 * given.voxel_mm, first_z),
    )
    timing = tuple(Frame(float(a), float(b)) for a, b in zip(edges[:-1] * 60, frames_s, strict=True))
    acquisition = Acquisition(
        radionuclide="F-18", radiopharmaceutical="Fluorodeoxyglucose F^18^", half_life_s=draw.protocol.half_life_s,
        injected_activity_bq=draw.protocol.injected_activity_bq, injection_time=INJECTION_TIME,
        reference_time=INJECTION_TIME, decay_correction="START", body_mass_kg=round(patient.body_mass_kg, 2),
        corrections=("DECY", "ATTN", "SCAT", "RAN"), series_time=INJECTION_TIME, manufacturer="nmsynth simulator",
        scanner="slice stack", body_part="HEAD", patient_position="HFS",
    )  # fmt: skip

    def volume(array: npt.NDArray[np.float32], kind: str, unit: Unit = Unit.BQML) -> Volume:
        """An image of the study."""
        dynamic = array.ndim == 4
        return Volume(
            array=array, affine=affine, unit=unit, modality="PT", acquisition=acquisition,
            axes=("frame", "z", "y", "x") if dynamic else ("z", "y", "x"), frames=timing if dynamic else (),
            provenance=Provenance(simulated=True, settings={"image": kind, "seed": seed}),
        )  # fmt: skip

    scanned: npt.NDArray[np.float32] = np.stack(scans)
    influx = np.zeros(256, np.float32)
    for organ in organs:
        constants = rates.get(organ, other)
        influx[organ] = (1 - constants.blood_volume) * constants.influx
    return ScannedDynamic(
        scan=volume(scanned, "scan"),
        noise_free=volume(np.stack(noise_free), "noise-free (T1)"),
        truth=volume(np.stack(truth) * np.float32(at_injection), "true activity (T0)"),
        influx=volume(block_mean(influx[phantom.labels] * shares), "true influx", Unit.INFLUX),
        patlak=volume(
            patlak_image(scanned / np.float32(at_injection), spans, plasma, minutes, start_min=late),
            "Patlak slope",
            Unit.INFLUX,
        ),
        organ_labels=majority_label(phantom.labels, 0.5),
        minutes=minutes,
        plasma_suv=plasma,
        facts={
            "frames_s": [float(f) for f in frames_s],
            "patlak_start_min": late,
            "bqml_per_suv": at_injection,
            "rates": {
                Organ(o).name.lower(): [
                    getattr(rates.get(o, other), k) for k in ("k1", "k2", "k3", "k4", "blood_volume")
                ]
                for o in organs
            },
        },
    )


def _varied(rates: RateConstants, rng: np.random.Generator) -> RateConstants:
    """Rate constants of one subject, 10 % about the mean."""
    k1, k2, k3, k4 = np.array([rates.k1, rates.k2, rates.k3, rates.k4]) * np.exp(0.1 * rng.standard_normal(4))
    return replace(rates, k1=float(k1), k2=float(k2), k3=float(k3), k4=float(k4))


def _head(patient: WholeBodyPatient, reference: ReferenceScan, n: int, length_mm: float) -> tuple[Phantom, float]:
    """The fine phantom of the head for ``n`` coarse pixels, and the height of its first coarse plane [mm]."""
    n_planes = max(8, round(length_mm / reference.plane_mm))
    pixel, plane = reference.voxel_mm / FINE, reference.plane_mm / FINE
    start = patient.extent_mm[1] - n_planes * reference.plane_mm
    edge = -(n * FINE - 1) / 2 * pixel
    phantom = patient.render(Grid((n_planes * FINE, n * FINE, n * FINE), (plane, pixel, pixel), (start, edge, edge)))
    return phantom, start + plane * (FINE - 1) / 2


def _shares(phantom: Phantom) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Activity of each voxel over the mean of its structure, and the structures that are there."""
    organs = [int(o) for o in np.unique(phantom.labels) if o != Organ.OUTSIDE]
    mean = np.ones(256, np.float32)
    for organ in organs:
        mean[organ] = max(float(phantom.activity[phantom.labels == organ].mean()), 1e-6)
    shares = phantom.activity / mean[phantom.labels]
    return np.where(phantom.labels == Organ.OUTSIDE, 0.0, np.clip(shares, 0.0, 2.0)).astype(np.float32), organs
