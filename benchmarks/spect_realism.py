"""A simulated Lu-177 DOTATATE study beside a real one, measured alike.

    python -m benchmarks.spect_realism --series ../shared/data/spect_lu177 --out benchmarks/results/spect_realism

The real series: one patient, 7.2 GBq, 3.7 h after injection, 208 keV in a window of 20 %, one bed of 1506 s, 1.95 mm
voxels, 48 iterations without subsets and without filter (conjugate gradients), scatter from three windows. Views and
collimator are not stated; 60 views by two heads of 50 s each make the time, and MEGP is taken. A simulated patient has
its height and mass; OSEM reconstructs it, at the protocol's counts and at those that the real level in the region
would have given: the same noise as in a patient with that little uptake everywhere. All images are cut to the same
length about the homogeneous liver-like sphere that is found in each without masks, and numbers alone are written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.noise_realism import correlation, residual_of, spectrum_peak
from scipy import ndimage

from nmsynth import read
from nmsynth.data.simulation import planes_last
from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
from nmsynth.metrics.regions import body_mask
from nmsynth.physics.energy_window import EnergyWindow
from nmsynth.physics.gamma_camera import (
    GammaCamera,
    GammaGrid,
    GammaMismatch,
    GammaProtocol,
    SpectReconstruction,
    draw_counts,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.materials import mu_at_energy
from nmsynth.physics.phantom import Grid, LesionPlan, Organ, WholeBodySettings, whole_body_patient
from nmsynth.physics.spect import SpectOrbit, contour_orbit
from nmsynth.physics.triple_window import triple_window_scatter

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

HEIGHT_M, MASS_KG, ACTIVITY_BQ, UPTAKE_S = 1.753, 92.987, 7.21e9, 13_440.0
HALF_LIFE_S = 574_300.0
VOXEL_MM, FIELD_MM, LENGTH_MM = 1.953, 461.0, 62.0
SEEDS = (9301,)
N_VIEWS, SECONDS_PER_VIEW = 60, 50.0
PERCENTILES = (5, 25, 50, 75, 95, 99, 99.9)
RECONSTRUCTIONS = {
    "OSEM 48 x 1": SpectReconstruction(48, 1),
    "OSEM 48 x 1, scatter from windows": SpectReconstruction(48, 1, scatter_from="windows"),
    "OSEM 16 x 6": SpectReconstruction(16, 6),
}


def edge_width(image: Image, spacing_mm: Spacing, body: Mask) -> float:
    """Median width of the edges of the hottest organs: height over steepest slope, after a Gaussian of 4 mm [mm].

    A step seen through a Gaussian of width ``F`` has a width of 1.06 ``F``.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float64), [4.0 / 2.3548 / s for s in spacing_mm])
    hot = smooth > 0.42 * np.percentile(smooth[body], 99.9)
    found, n = ndimage.label(hot)
    sizes = np.bincount(found.ravel())[1:] if n else np.zeros(0)
    large = np.isin(found, np.flatnonzero(sizes * np.prod(spacing_mm) > 10_000) + 1)
    slope = np.stack([np.gradient(smooth, s, axis=a) for a, s in enumerate(spacing_mm)])
    steepness = np.sqrt((slope**2).sum(0))
    border = large & ~ndimage.binary_erosion(large)
    border[[0, 1, 2, -3, -2, -1]] = False
    places = np.argwhere(border)
    places = places[:: max(1, len(places) // 4000)]
    normal = (slope[:, *places.T] / np.maximum(steepness[tuple(places.T)], 1e-30)).T
    reach = np.arange(-16.0, 16.1, 1.0)
    lines = places[:, :, None] + normal[:, :, None] * reach / np.array(spacing_mm)[:, None]
    values = ndimage.map_coordinates(smooth, lines.transpose(1, 0, 2), order=1, mode="nearest")
    height = values.max(1) - values.min(1)
    steepest = np.abs(np.diff(values, axis=1)).max(1)
    return float(np.median(height / np.maximum(steepest, 1e-30)))


def measure(image: Image, spacing_mm: Spacing, length_mm: float = LENGTH_MM) -> dict[str, Any]:
    """Everything that is compared, of one image in Bq/mL."""
    body = body_mask(image, spacing_mm)
    sphere = find_homogeneous_sphere(image, spacing_mm, body)
    if sphere is None:
        raise SystemExit("No homogeneous sphere was found.")
    half = round(length_mm / spacing_mm[0] / 2)
    middle = int(np.clip(sphere.centre_index[0], half, image.shape[0] - half))
    part = slice(max(0, middle - half), middle + half)
    region = grow_region(image, spacing_mm, sphere, body)
    region[: part.start], region[part.stop :] = False, False
    residual = residual_of(image, region)
    values = residual[region]
    level = float(image[region].mean())
    axial = "axial", 0
    lags = {
        f"{name} {lag}": correlation(residual, region, axis, lag)
        for name, axis in (axial, ("y", 1), ("x", 2))
        for lag in (1, 2, 3)
    }
    inside = image[part][body[part]] / level
    return {
        "level [kBq/mL]": level / 1000,
        "region [mL]": float(region.sum() * np.prod(spacing_mm) / 1000),
        "COV": float(values.std() / level),
        **lags,
        "skewness": float((values**3).mean() / values.std() ** 3),
        "NPS peak [1/mm]": spectrum_peak(residual, spacing_mm[1]),
        "edge [mm]": edge_width(image[part], spacing_mm, body[part]),
        **{f"p{p:g}": float(np.percentile(inside, p)) for p in PERCENTILES},
    }


def simulated(seed: int, real_level: float) -> dict[str, dict[str, Any]]:
    """One patient by the real protocol; then at the counts of the real level in the region, in several ways."""
    bmi = MASS_KG / HEIGHT_M**2
    settings = WholeBodySettings(
        height_m=(HEIGHT_M, HEIGHT_M), bmi=(bmi, bmi), sex="M" if seed % 2 else "F", arms="up",
        injection_site_probability=0.0,
    )  # fmt: skip
    patient = whole_body_patient(seed, lesions=LesionPlan(count=0), settings=settings, tracer="DOTATATE")
    coarse = patient.render(patient.grid((8.0, 8.0, 8.0)))
    depth = ndimage.distance_transform_edt(coarse.labels == Organ.LIVER)
    middle = float(coarse.grid.axes()[0][np.unravel_index(depth.argmax(), depth.shape)[0]])
    n, n_planes = 2 * round(FIELD_MM / VOXEL_MM / 2), round(LENGTH_MM / VOXEL_MM)
    start = middle - n_planes * VOXEL_MM / 2 + VOXEL_MM / 4
    drawn = patient.render(Grid.centred((2 * n_planes, 2 * n, 2 * n), (VOXEL_MM / 2,) * 3, start))
    bqml = drawn.activity * np.float32(ACTIVITY_BQ * 2 ** (-UPTAKE_S / HALF_LIFE_S) / (1000 * MASS_KG))
    mu = planes_last(mu_at_energy(drawn.mu_map, 208.4))
    camera = GammaCamera(
        "MEGP", EnergyWindow(208.4, 20.0), crystal_efficiency=0.5, scatter_model="compton", side_window_percent=5.0
    )
    scan = expected_gamma_scan(
        planes_last(bqml), mu, fine_factor=2, camera=camera, protocol=GammaProtocol("Lu-177", SECONDS_PER_VIEW),
        orbit=contour_orbit(SpectOrbit(N_VIEWS), mu, VOXEL_MM / 2), grid=GammaGrid(n, VOXEL_MM, VOXEL_MM),
        mismatch=GammaMismatch(1.1, 0.9, (2.0, 2.0, 4.0)),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, dict[str, Any]] = {}

    def add(name: str, how: SpectReconstruction, fraction: float) -> float:
        """Draw, reconstruct and measure; the level found."""
        counts = draw_counts(scan, generator, count_fraction=fraction)
        windows = how.scatter_from == "windows"
        image = reconstruct_spect(
            counts, scan, how, count_fraction=fraction,
            scatter_estimate=triple_window_scatter(scan, generator, count_fraction=fraction) if windows else None,
        )  # fmt: skip
        found = measure(image.permute(2, 0, 1).numpy().copy(), (VOXEL_MM,) * 3)
        rows[name] = found | {"counts": float(counts.sum()), "count fraction": fraction}
        print(seed, name, json.dumps(rows[name]), flush=True)
        return float(found["level [kBq/mL]"])

    level = add("OSEM 48 x 1, counts of the protocol", RECONSTRUCTIONS["OSEM 48 x 1"], 1.0)
    for name, how in RECONSTRUCTIONS.items():
        add(name, how, min(1.0, real_level / level))
    return rows


def to_markdown(record: dict[str, Any]) -> str:
    """One row for each image."""
    columns = [c for c in record["real series"] if c != "counts"]
    lines = ["| image | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    rows = {"real series": record["real series"], **record["simulated"]}
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[c]:.3g}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write ``spect_realism.json`` and ``spect_realism.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    source = read(options.series)
    record: dict[str, Any] = {"schema_version": 1, "real series": measure(np.array(source.array), source.spacing_mm)}
    print("real", json.dumps(record["real series"]), flush=True)
    record["simulated"] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    for k, seed in enumerate(SEEDS):
        found = simulated(seed, record["real series"]["level [kBq/mL]"])
        record["simulated"] |= {f"patient {k + 1}, {name}": row for name, row in found.items()}
        (options.out / "spect_realism.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (options.out / "spect_realism.md").write_text(to_markdown(record), encoding="utf-8")


if __name__ == "__main__":
    main()
