"""Bias of simulated PET images, matched and mismatched: cylinder, spheres, liver.

    python -m benchmarks.pet_physics --out benchmarks/results/pet_physics

Every condition is one scan of the same object; what differs is what the reconstruction believes, or how it works. All
figures are of noise-free data (T1) against the true activity (T0); noise beside, from Poisson counts of the protocol.

1. Uniform cylinder of 200 mm: mean, standard deviation and difference of middle and rim.
2. Spheres of 10 to 37 mm at 4 to 1: contrast recovery, mean and maximum, with and without resolution model.
3. Procedural patient with arms down, about the top of the liver: liver, its dome, lung.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth.data.scan import ReferenceScan
from nmsynth.data.simulation import (
    FINE,
    GUARD_PLANES,
    PRIOR_ITERATIONS,
    PRIOR_STRENGTH,
    ScanDraw,
    block_mean,
    fine_grid,
    majority_label,
    planes_last,
)
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.pet import ExpectedScan, Mismatch, expected_scan
from nmsynth.physics.pet_penalised import reconstruct_penalised
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.phantom import LesionPlan, Organ, Phantom, WholeBodySettings, whole_body_patient
from nmsynth.physics.phantom.quality import SPHERE_DIAMETERS_MM, image_quality, uniform_cylinder

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TIMING_PS = 400.0
BREATH_MM, ARMS_MM = 12.0, (30.0, 15.0)
"""Displacements between CT and emission, chosen [mm]: arms towards the back and away from the trunk."""
PATIENT_SEED = 9301
VOXEL_MM = 6.0
"""Of the patient's scan [mm]."""


@dataclass(frozen=True)
class Condition:
    """What the reconstruction believes and how it works."""

    name: str
    mismatch: Mismatch = field(default_factory=Mismatch)
    resolution_model: bool = False
    timed: bool = False
    attenuation_corrected: bool = True
    penalised: bool = False


def wrong(**values: Any) -> Mismatch:
    """A mismatch of some parts."""
    return Mismatch(**values)


EVERYTHING = {
    "scatter_scale": 0.85,
    "resolution_scale": 1.15,
    "randoms_scale": 1.03,
    "randoms_noise": 0.1,
    "mu_shift_mm": (3.0, 3.0, 0.0),
}
CONDITIONS = (
    Condition("matched"),
    Condition("scatter estimate 15 % low", wrong(scatter_scale=0.85)),
    Condition("scatter estimate 15 % high", wrong(scatter_scale=1.15)),
    Condition("randoms 3 % high, 10 % noise", wrong(randoms_scale=1.03, randoms_noise=0.1)),
    Condition("attenuation 5 mm to the side", wrong(mu_shift_mm=(0.0, 5.0, 0.0))),
    Condition("everything wrong", wrong(**EVERYTHING)),
    Condition("no attenuation correction", attenuation_corrected=False),
    Condition("relative difference prior", penalised=True),
    Condition("resolution model", resolution_model=True),
    Condition("resolution model 15 % wide", wrong(resolution_scale=1.15), resolution_model=True),
    Condition("resolution model 15 % narrow", wrong(resolution_scale=0.85), resolution_model=True),
    Condition("resolution model, everything wrong", wrong(**EVERYTHING), resolution_model=True),
    Condition("time of flight", timed=True),
    Condition("time of flight, everything wrong", wrong(**EVERYTHING), timed=True),
)


def moved(name: str, *, timed: bool = False, **values: Any) -> Condition:
    """A condition of the patient alone: attenuation of another breath or other arms."""
    return Condition(name, wrong(mu_motion=BodyMotion(**values)), timed=timed)


def images_of(phantom: Phantom, draw: ScanDraw, condition: Condition, *, noisy: int = 0) -> npt.NDArray[np.float32]:
    """T1 and noisy scans, SUV, shape ``(1 + noisy, z, y, x)`` without guard planes."""
    width = draw.scanner.fwhm_mm * condition.mismatch.resolution_scale if condition.resolution_model else 0.0
    settings = replace(draw.osem, resolution_fwhm_mm=width)
    scan: ExpectedScan = expected_scan(
        planes_last(phantom.activity),
        planes_last(phantom.mu_map),
        fine_pixel_mm=draw.osem.pixel_mm / FINE,
        n_fine_planes=FINE,
        scanner=replace(draw.scanner, timing_ps=TIMING_PS if condition.timed else None),
        protocol=draw.protocol,
        settings=settings,
        mismatch=condition.mismatch,
        generator=torch.Generator().manual_seed(1),
    )
    fractions = (None, *([1.0] * noisy))
    generator = torch.Generator().manual_seed(2)
    if condition.penalised:
        found = reconstruct_penalised(
            scan, fractions, settings, generator, strength=PRIOR_STRENGTH, n_iterations=PRIOR_ITERATIONS
        )
    else:
        found = reconstruct_fractions(
            scan, fractions, settings, generator, attenuation_corrected=condition.attenuation_corrected
        )
    return np.asarray(found[:, GUARD_PLANES:-GUARD_PLANES].numpy() / draw.protocol.bqml_per_suv, dtype=np.float32)


def inner(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A fine array without guard planes."""
    return array[GUARD_PLANES * FINE : -GUARD_PLANES * FINE]


def draw_of(reference: ReferenceScan, body_mass_kg: float) -> ScanDraw:
    """A scan in which nothing is wrong."""
    return replace(reference, mismatched=False).draw(body_mass_kg, (1.0,), np.random.default_rng(0))


def cylinder() -> list[dict[str, Any]]:
    """Mean, spread and difference of middle and rim of a uniform cylinder, and noise, over the truth."""
    reference = ReferenceScan(field_mm=272.0, n_iterations=4)
    draw = draw_of(reference, 75.0)
    phantom = uniform_cylinder(fine_grid(draw, n_planes=10, start_mm=0.0), radius_mm=100.0, length_mm=400.0, suv=2.0)
    axis = (np.arange(draw.osem.n_pixels) - (draw.osem.n_pixels - 1) / 2) * draw.osem.pixel_mm
    radius = np.hypot(axis[:, None], axis[None])
    rows = []
    for condition in CONDITIONS:
        images = images_of(phantom, draw, condition, noisy=3) / 2.0
        t1, noise = images[0], images[1:] - images[0]
        zones = {"mean": radius < 80, "middle": radius < 30, "rim": (radius > 65) & (radius < 85)}
        means = {name: float(t1[:, zone].mean()) for name, zone in zones.items()}
        rows.append(
            {
                "condition": condition.name,
                **means,
                "flatness": float(t1[:, zones["mean"]].std() / means["mean"]),
                "noise": float(noise[..., zones["mean"]].std() / means["mean"]),
            }
        )
    return rows


def spheres() -> list[dict[str, Any]]:
    """Contrast recovery of the spheres, ``(found / background - 1) / 3``, mean and maximum."""
    reference = ReferenceScan(voxel_mm=3.0, plane_mm=3.0, field_mm=330.0, n_iterations=4, axial_correlation=0.0)
    rows = []
    kept = [c for c in CONDITIONS if c.attenuation_corrected and not c.timed]
    long = replace(reference, n_iterations=12, filter_fwhm_mm=0.0)
    runs = [(c, reference, c.name) for c in kept]
    runs += [
        (c, long, f"{c.name}, 12 iterations, no filter") for c in kept if c.name in ("matched", "resolution model")
    ]
    for condition, given, name in runs:
        draw = draw_of(given, 10.0)
        phantom = image_quality(fine_grid(draw, n_planes=20, start_mm=-30.0), lung_insert=False)
        t1 = images_of(phantom, draw, condition)[0]
        truth, labels = block_mean(inner(phantom.activity)), majority_label(inner(phantom.lesion_labels), 0.5)
        even = ndimage.binary_erosion(np.abs(truth - 1) < 1e-3, iterations=4)
        background = float(t1[even].mean())
        row: dict[str, Any] = {"condition": name, "background": background}
        for lesion in phantom.lesions:
            values = t1[labels == lesion.index] / background
            row[f"mean {lesion.diameter_mm:g}"] = float((values.mean() - 1) / 3)
            row[f"max {lesion.diameter_mm:g}"] = float((values.max() - 1) / 3)
        rows.append(row)
    return rows


def patient() -> list[dict[str, Any]]:
    """Bias of the liver, of its dome and of the lung of a procedural patient with arms down."""
    settings = WholeBodySettings(
        height_m=(1.75, 1.75), bmi=(25.0, 25.0), sex="M", arms="down", injection_site_probability=0.0
    )
    person = whole_body_patient(PATIENT_SEED, lesions=LesionPlan(count=0), settings=settings)
    coarse = person.render(person.grid((8.0, 8.0, 8.0)))
    top_mm = float(coarse.grid.axes()[0][np.argwhere(coarse.labels == Organ.LIVER)[:, 0].max()])
    reference = ReferenceScan(voxel_mm=VOXEL_MM, plane_mm=VOXEL_MM, field_mm=600.0)
    draw = draw_of(reference, person.body_mass_kg)
    n_planes = 24
    middle_mm = top_mm - 30.0
    start_mm = middle_mm - n_planes * VOXEL_MM / 2
    phantom = person.render(fine_grid(draw, n_planes=n_planes, start_mm=start_mm))
    truth, labels = block_mean(inner(phantom.activity)), majority_label(inner(phantom.labels), 0.6)
    spacing = (VOXEL_MM,) * 3
    liver = ndimage.binary_erosion(labels == Organ.LIVER, iterations=2)
    lung = ndimage.binary_erosion(labels == Organ.LUNG, iterations=2)
    to_lung = ndimage.distance_transform_edt(labels != Organ.LUNG, spacing)
    regions = {"liver": liver & (to_lung > 35.0), "dome": liver & (to_lung < 20.0), "lung": lung}
    dome_mm = 30.0 - 5.0  # from the middle of the stack; the dome lies somewhat under the top
    arms_mm = _arms_beyond(phantom, draw)
    breath = {"breathing_mm": BREATH_MM, "diaphragm_mm": dome_mm}
    arms = {"arms_mm": ARMS_MM, "arms_beyond_mm": arms_mm + 5.0, "step_mm": 10.0}
    conditions = (
        *CONDITIONS,
        moved("breath 12 mm deeper in CT", **{**breath, "breathing_mm": -BREATH_MM}),
        moved("breath 12 mm shallower in CT", **breath),
        moved("arms moved", **arms),
        moved("time of flight, breath deeper in CT", timed=True, **{**breath, "breathing_mm": -BREATH_MM}),
        moved("time of flight, arms moved", timed=True, **arms),
    )
    rows = []
    for condition in conditions:
        images = images_of(phantom, draw, condition, noisy=1)
        row: dict[str, Any] = {"condition": condition.name}
        for name, region in regions.items():
            row[name] = float(images[0][region].mean() / truth[region].mean())
        row["liver noise"] = float((images[1] - images[0])[regions["liver"]].std() / images[0][regions["liver"]].mean())
        rows.append(row)
    return rows


def _arms_beyond(phantom: Phantom, draw: ScanDraw) -> float:
    """Distance from the middle beyond which there are arms alone: the gap beside the trunk in the lower planes [mm]."""
    body = phantom.mu_map[: phantom.mu_map.shape[0] // 3] > 0.05
    axis = np.abs((np.arange(body.shape[2]) - (body.shape[2] - 1) / 2) * draw.osem.pixel_mm / FINE)
    filled = ndimage.gaussian_filter1d(body.sum((0, 1)).astype(float), 3.0)
    near = (axis > 120.0) & (axis < 220.0)
    return float(axis[near][np.argmin(filled[near])])


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    """A table with a row for each condition."""
    lines = ["| condition | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return lines + [f"| {row['condition']} | " + " | ".join(f"{row[c]:.3f}" for c in columns) + " |" for row in rows]


def to_markdown(record: dict[str, Any]) -> str:
    """The tables."""
    sizes = [f"{d:g}" for d in SPHERE_DIAMETERS_MM]
    lines = [
        "## Uniform cylinder",
        "",
        "Found over true activity; standard deviation of T1 and noise over the mean.",
        "",
    ]
    lines += table(record["cylinder"], ("mean", "middle", "rim", "flatness", "noise"))
    lines += ["", "## Contrast recovery of spheres, 4 to 1", "", "Mean over the sphere, by diameter [mm].", ""]
    lines += table(record["spheres"], tuple(f"mean {s}" for s in sizes))
    lines += ["", "Greatest voxel: above 1 the image overshoots.", ""]
    lines += table(record["spheres"], tuple(f"max {s}" for s in sizes))
    lines += ["", "## Patient, arms down", "", "Found over true activity, and noise of the liver over its mean.", ""]
    lines += table(record["patient"], ("liver", "dome", "lung", "liver noise"))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write ``pet_physics.json`` and ``pet_physics.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record = {"schema_version": 1, "cylinder": cylinder(), "spheres": spheres(), "patient": patient()}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "pet_physics.json").write_text(json.dumps(record, indent=2) + "\n")
    (options.out / "pet_physics.md").write_text(to_markdown(record))


if __name__ == "__main__":
    main()
