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
from nmsynth.core.suv import resolve_suv
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.dynamic_head import DynamicHead, coarse_mean, guard_planes, labelled_head, procedural_head
from nmsynth.data.scan import ReferenceScan
from nmsynth.data.scanned_phantom import INJECTION_TIME
from nmsynth.data.simulation import FINE, ScanDraw, block_mean, planes_last
from nmsynth.physics.dynamic_tracers import FDG_HOUR_S, DynamicTracer, dynamic_tracer
from nmsynth.physics.input_function import FloatArray, InputFunction, fine_minutes
from nmsynth.physics.kinetics import RateConstants, frame_means, late_frames, tissue_curve
from nmsynth.physics.pet import PetProtocol, expected_scan
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.phantom import WholeBodyPatient
from nmsynth.physics.rate_constants import metabolic_rates, subject_rates

REPEAT_SEED = 7_000_003
"""Times the number of a repeat, added to the seed of the counts."""

__all__ = ["FDG_HOUR_S", "ScannedDynamic", "scan_head_dynamic", "scan_labels_dynamic"]


@dataclass(frozen=True, slots=True, eq=False)
class ScannedDynamic:
    """All that is known of a dynamic study; images in Bq/mL, decay-corrected to the injection."""

    scan: Volume
    """Shape ``(frame, z, y, x)``."""
    noise_free: Volume
    """T1, of noise-free data with the same settings."""
    truth: Volume
    """T0, the mean activity of each frame."""
    head: DynamicHead
    tracer: DynamicTracer
    rates: tuple[RateConstants, ...]
    """Of this subject, by region as in ``head.names``."""
    frames_min: FloatArray
    """Start and end of each frame [min], shape ``(frame, 2)``."""
    minutes: FloatArray
    plasma_suv: FloatArray
    """Unchanged tracer in plasma at ``minutes``."""
    fit_start_min: float
    """Frames from here on are fitted by graphical analyses [min]."""
    bqml_per_suv: float
    reference: str
    """Reference region of the models; empty for a tracer that is compared with plasma."""
    facts: dict[str, Any]

    @property
    def organ_labels(self) -> npt.NDArray[np.uint8]:
        """Structures of a procedural head, regions of a labelled one, on the grid of the scan."""
        return self.head.organs

    def image(self, array: npt.NDArray[np.floating], kind: str, unit: Unit = Unit.BQML, **settings: Any) -> Volume:
        """A further image of the study on its grid, dynamic or static."""
        dynamic = array.ndim == 4
        return self.scan.with_array(
            array, unit=unit, axes=self.scan.axes if dynamic else self.scan.axes[-3:],
            frames=self.scan.frames if dynamic else (), suv_rule=self.scan.suv_rule if unit is Unit.BQML else None,
            provenance=Provenance(
                simulated=True, settings={**self.scan.provenance.settings, "image": kind, **settings}
            ),
        )  # fmt: skip

    def by_region(self, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Values by region with the texture of the activity, shape ``(z, y, x)``."""
        return coarse_mean(self.head, values)


def scan_head_dynamic(
    patient: WholeBodyPatient,
    *,
    tracer: str = "FDG",
    severity: float = 0.0,
    frames_s: tuple[float, ...] | None = None,
    reference: ReferenceScan | None = None,
    length_mm: float = 160.0,
    blood: InputFunction | None = None,
    count_fraction: float = 1.0,
    repeat: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> ScannedDynamic:
    """Scan a procedural patient's head frame by frame.

    Each structure follows its rate constants, which vary between subjects; texture within structures is that of the
    static phantom. Every frame is a scan of its own: expected counts from its mean activity and decay, Poisson, OSEM.
    Planes beyond both ends are drawn, scanned and cut off, as many as resolution and filter reach.

    Parameters
    ----------
    patient
        A patient drawn with FDG; the anatomy serves every tracer.
    tracer
        A key of :data:`nmsynth.physics.dynamic_tracers.TRACERS`.
    severity
        Of disease, from 0 to 1.
    frames_s
        Lengths of the frames, from the injection on [s]; the tracer's own when unset.
    reference
        Scanner and reconstruction; 3 mm voxels in a field of 288 mm when unset.
    length_mm
        Length that is scanned, down from the top of the head [mm].
    blood
        Input function; the tracer's, varied between subjects, when unset.
    count_fraction
        Counts of the scan over those of the injected activity.
    repeat
        Which of the scans of one subject: other counts of the same expectation.
    seed
        Of rate constants, input, imperfections and counting noise.
    """
    plan = _Plan.make(tracer, severity, frames_s, blood, (count_fraction, repeat), seed)
    given = reference or default_reference()
    draw = given.draw(patient.body_mass_kg, (1.0,), plan.rng)
    head = procedural_head(patient, given, draw.osem.n_pixels, length_mm, guard=guard_planes(draw))
    return _scan(head, plan, given, draw, progress)


def scan_labels_dynamic(
    labels: npt.NDArray[np.number],
    spacing_mm: tuple[float, float, float],
    *,
    tracer: str = "FDG",
    severity: float = 0.0,
    frames_s: tuple[float, ...] | None = None,
    reference: ReferenceScan | None = None,
    length_mm: float = 160.0,
    blood: InputFunction | None = None,
    body_mass_kg: float = 75.0,
    count_fraction: float = 1.0,
    repeat: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> ScannedDynamic:
    """Scan a head of a label map frame by frame, each region with its own curve.

    Parameters
    ----------
    labels
        FreeSurfer numbers, shape ``(z, y, x)`` with z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    body_mass_kg
        Of the patient [kg].

    Others as :func:`scan_head_dynamic` takes them.
    """
    plan = _Plan.make(tracer, severity, frames_s, blood, (count_fraction, repeat), seed)
    given = reference or default_reference()
    draw = given.draw(body_mass_kg, (1.0,), plan.rng)
    head = labelled_head(
        labels, spacing_mm, reference=given, n=draw.osem.n_pixels, length_mm=length_mm, seed=seed,
        body_mass_kg=body_mass_kg, guard=guard_planes(draw),
    )  # fmt: skip
    return _scan(head, plan, given, draw, progress)


def default_reference() -> ReferenceScan:
    """Scanner and reconstruction of a head."""
    return ReferenceScan(voxel_mm=3.0, plane_mm=3.0, field_mm=288.0, duration_s=1.0)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is given and when it is measured."""

    tracer: DynamicTracer
    severity: float
    frames_s: tuple[float, ...]
    frames_min: FloatArray
    fit_start_min: float
    blood: InputFunction
    count_fraction: float
    repeat: int
    seed: int
    rng: np.random.Generator

    @classmethod
    def make(
        cls,
        name: str,
        severity: float,
        frames_s: tuple[float, ...] | None,
        blood: InputFunction | None,
        counts: tuple[float, int],
        seed: int,
    ) -> _Plan:
        """Check and complete the arguments of a scan, before anything long begins."""
        tracer = dynamic_tracer(name)
        tracer.rates(severity)
        lengths = tracer.frames_s if frames_s is None else frames_s
        if not lengths or not all(0 < f < np.inf for f in lengths):
            raise InputError(f"A dynamic scan needs frames that last longer than 0 s; found {lengths}.")
        edges = np.concatenate([[0.0], np.cumsum(lengths)]) / 60.0
        spans = np.stack([edges[:-1], edges[1:]], axis=1)
        start = tracer.fit_start_min if edges[-1] > tracer.fit_start_min + 10 else float(edges[-1]) / 2
        late_frames(spans, start)
        given = blood or tracer.blood.varied(np.random.default_rng((seed, 43)))
        rng = np.random.default_rng((seed, 41))
        return cls(tracer, severity, lengths, spans, start, given, *counts, seed, rng)


def _scan(
    head: DynamicHead, plan: _Plan, reference: ReferenceScan, draw: ScanDraw, progress: Progress
) -> ScannedDynamic:
    """Scan a head by a plan."""
    region = _reference(head, plan.tracer, reference)  # refused now rather than after the scan
    minutes = fine_minutes(float(plan.frames_min[-1, 1]))
    plasma, whole_blood = plan.blood.plasma(minutes), plan.blood.whole_blood(minutes)
    mean_rates = plan.tracer.rates(plan.severity)
    if plan.tracer.graded:
        drawn = subject_rates(mean_rates, plan.rng)
    else:
        drawn = metabolic_rates(mean_rates, plan.rng)
    rates = tuple(drawn.get(name, drawn["other"]) for name in head.names)
    means = np.zeros((len(plan.frames_s), len(rates)))
    for k, constants in enumerate(rates):
        if head.names[k] != "outside":
            curve = tissue_curve(constants, plasma, minutes, whole_blood=whole_blood)
            means[:, k] = frame_means(curve, minutes, plan.frames_min)
    truth, noise_free, scans = _scan_frames(head, plan, reference, draw, means, progress)
    protocol = replace(draw.protocol, uptake_time_s=0.0, half_life_s=plan.tracer.half_life_s)
    at_injection = float(protocol.bqml_per_suv)
    scan = _volume(scans, head, plan, reference, draw)
    study = ScannedDynamic(
        scan=scan, noise_free=scan, truth=scan, head=head, tracer=plan.tracer, rates=rates,
        frames_min=plan.frames_min, minutes=minutes, plasma_suv=plasma, fit_start_min=plan.fit_start_min,
        bqml_per_suv=at_injection, reference=region, facts=_facts(head, plan, rates, at_injection),
    )  # fmt: skip
    return replace(
        study,
        noise_free=study.image(noise_free, "noise-free (T1)"),
        truth=study.image(truth * np.float32(at_injection), "true activity (T0)"),
    )


def _reference(head: DynamicHead, tracer: DynamicTracer, scan: ReferenceScan) -> str:
    """Reference region of a tracer's models in this head."""
    if tracer.analysis == "plasma":
        return ""
    found = head.reference(tracer.reference, scan.plane_mm * scan.voxel_mm**2 / 1000.0)
    if found is None:
        raise InputError(
            f"The analysis of {tracer.name} needs {' or '.join(tracer.reference)} in the scan; found too little. "
            "Scan a greater length, or use a label map that has it."
        )
    return found


def _scan_frames(
    head: DynamicHead,
    plan: _Plan,
    reference: ReferenceScan,
    draw: ScanDraw,
    means: FloatArray,
    progress: Progress,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """True SUV, noise-free and noisy activity at injection of every frame, shape ``(frame, z, y, x)``, no guard."""
    inner = slice(head.guard, head.guard + head.labels.shape[0])
    mu_map = planes_last(head.mu_map)
    generator = torch.Generator().manual_seed(plan.seed + REPEAT_SEED * plan.repeat)
    truth, noise_free, scans = [], [], []
    for k, (start, length) in enumerate(zip(plan.frames_min[:, 0] * 60, plan.frames_s, strict=True)):
        activity = head.fill(means[k])
        protocol = PetProtocol(
            injected_activity_bq=draw.protocol.injected_activity_bq, body_mass_kg=head.body_mass_kg,
            uptake_time_s=float(start), duration_s=float(length), half_life_s=plan.tracer.half_life_s,
        )  # fmt: skip
        expected = expected_scan(
            planes_last(activity), mu_map, fine_pixel_mm=reference.voxel_mm / FINE, n_fine_planes=FINE,
            scanner=draw.scanner, protocol=protocol, settings=draw.osem, mismatch=draw.mismatch, generator=generator,
        )  # fmt: skip
        images = reconstruct_fractions(expected, (None, plan.count_fraction), draw.osem, generator)[:, inner].numpy()
        # both are at the start of the frame; the injection's decay time makes them one series
        to_injection = np.float32(2.0 ** (float(start) / protocol.half_life_s))
        noise_free.append(images[0] * to_injection)
        scans.append(images[1] * to_injection)
        truth.append(block_mean(head.scanned(activity)))
        progress("scanning frames", (k + 1) / len(plan.frames_s))
    return np.stack(truth), np.stack(noise_free), np.stack(scans)


def _volume(
    scans: npt.NDArray[np.float32], head: DynamicHead, plan: _Plan, reference: ReferenceScan, draw: ScanDraw
) -> Volume:
    """The scan with its geometry and acquisition."""
    edge = -(draw.osem.n_pixels - 1) / 2 * reference.voxel_mm
    affine = affine_from_axes(
        spacing_mm=(reference.plane_mm, reference.voxel_mm, reference.voxel_mm), origin_mm=(edge, edge, head.first_z_mm)
    )
    timing = tuple(Frame(float(a), float(b)) for a, b in zip(plan.frames_min[:, 0] * 60, plan.frames_s, strict=True))
    acquisition = Acquisition(
        radionuclide="F-18", radiopharmaceutical=plan.tracer.radiopharmaceutical, half_life_s=plan.tracer.half_life_s,
        injected_activity_bq=draw.protocol.injected_activity_bq, injection_time=INJECTION_TIME,
        reference_time=INJECTION_TIME, decay_correction="START", body_mass_kg=round(head.body_mass_kg, 2),
        corrections=("DECY", "ATTN", "SCAT", "RAN"), series_time=INJECTION_TIME, manufacturer="nmsynth simulator",
        scanner="slice stack", body_part="HEAD", patient_position="HFS",
    )  # fmt: skip
    settings = {"image": "scan", "seed": plan.seed, "tracer": plan.tracer.name, "severity": plan.severity}
    return Volume(
        array=scans, affine=affine, unit=Unit.BQML, modality="PT", acquisition=acquisition,
        axes=("frame", "z", "y", "x"), frames=timing, provenance=Provenance(simulated=True, settings=settings),
        suv_rule=resolve_suv(acquisition, unit=Unit.BQML, time_rule="a"),
    )  # fmt: skip


def _facts(head: DynamicHead, plan: _Plan, rates: tuple[RateConstants, ...], bqml_per_suv: float) -> dict[str, Any]:
    """What is recorded of a scan, JSON values only."""
    fields = ("k1", "k2", "k3", "k4", "blood_volume")
    blood = {name: getattr(plan.blood, name) for name in ("a1", "a2", "a3", "delay_min", "whole_blood_ratio")}
    parent = plan.blood.parent
    return {
        "tracer": plan.tracer.name,
        "severity": plan.severity,
        "frames_s": [float(f) for f in plan.frames_s],
        "fit_start_min": plan.fit_start_min,
        "bqml_per_suv": bqml_per_suv,
        "regions": {str(k): name for k, name in enumerate(head.names) if k},
        "rates": {
            name: [getattr(constants, f) for f in fields]
            for name, constants in zip(head.names, rates, strict=True)
            if name != "outside"
        },
        "input": {
            **blood,
            "rates_per_min": list(plan.blood.rates_per_min),
            "parent": None if parent is None else [parent.final, parent.half_min, parent.power],
        },
    }
