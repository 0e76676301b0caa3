"""The model of scatter in SPECT against photons followed one by one.

    python -m benchmarks.spect_scatter --out benchmarks/results/spect_scatter

A cylinder of water, 200 mm wide and 240 mm long, with a line on its axis or a uniform source. Photons are followed by
random numbers through Compton scatterings of any order; at each, the chance to reach an ideal camera of parallel
holes, and to be counted in its window, is added up (forced detection). Compared are the counts of the middle 24 mm:
scatter over primaries, of the first and of all orders, and the width of the profile of scatter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nmsynth.physics.compton import ELECTRON_KEV, differential_cross_section, total_cross_section
from nmsynth.physics.compton import water_compton_attenuation as compton_of_water
from nmsynth.physics.energy_window import EMISSIONS, EnergyWindow
from nmsynth.physics.materials import linear_attenuation
from nmsynth.physics.spect import SpectOrbit, SpectProjector
from nmsynth.physics.spect_scatter import first_order_scatter

RADIUS_MM, HALF_LENGTH_MM, SLAB_MM = 100.0, 120.0, 12.0
ORDERS = 6
PIXEL_MM, N_PIXELS = 6.0, 48
ENERGIES = np.linspace(60.0, 560.0, 501)
CASES = (("Tc-99m", 140.5), ("I-123", 159.0), ("Lu-177", 208.4), ("Lu-177", 112.9))
FloatArray = npt.NDArray[np.float64]


MU = np.array([linear_attenuation("water", float(np.clip(e, 80, 600))) / 10 for e in ENERGIES])
"""Of water [1/mm]; below the table as at its end."""
SHARE = np.minimum(1.0, np.array([compton_of_water(float(e)) / 10 for e in ENERGIES]) / MU)
"""Compton scattering over all attenuation."""


def attenuation(energies: FloatArray) -> FloatArray:
    """Of water [1/mm]."""
    return np.interp(energies, ENERGIES, MU)


def way_out(place: FloatArray, direction: FloatArray) -> FloatArray:
    """Distance to the surface of the cylinder, whose axis is z [mm]."""
    a = (direction[:, :2] ** 2).sum(1).clip(1e-12)
    b = (place[:, :2] * direction[:, :2]).sum(1)
    c = (place[:, :2] ** 2).sum(1) - RADIUS_MM**2
    side = (-b + np.sqrt(np.maximum(b**2 - a * c, 0))) / a
    with np.errstate(divide="ignore"):
        end = (np.sign(direction[:, 2]) * HALF_LENGTH_MM - place[:, 2]) / direction[:, 2]
    return np.minimum(side, np.where(np.abs(direction[:, 2]) > 1e-9, end, np.inf))


def scattered_cosine(energies: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Cosines drawn from the formula of Klein and Nishina, by rejection."""
    cosine = np.empty_like(energies)
    left = np.arange(len(energies))
    while len(left):
        drawn = rng.uniform(-1, 1, len(left))
        k = 1 / (1 + energies[left] / ELECTRON_KEV * (1 - drawn))
        kept = rng.uniform(0, 2, len(left)) < k**2 * (k + 1 / k - (1 - drawn**2))
        cosine[left[kept]] = drawn[kept]
        left = left[~kept]
    return cosine


def turned(direction: FloatArray, cosine: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Directions turned by an angle about a random azimuth."""
    other = np.where(np.abs(direction[:, [2]]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(direction, other)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(direction, u)
    phi = rng.uniform(0, 2 * np.pi, len(direction))[:, None]
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))[:, None]
    out = cosine[:, None] * direction + sine * (np.cos(phi) * u + np.sin(phi) * v)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def isotropic(n: int, rng: np.random.Generator) -> FloatArray:
    """Directions of equal chance."""
    drawn = rng.normal(size=(n, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def follow(
    nuclide: str, window: EnergyWindow, source_mm: float, n: int, rng: np.random.Generator
) -> tuple[list[float], FloatArray]:
    """Counts of each order in the slab, primaries first, for each decay; and the profile of all scatter across."""
    camera = np.array([0.0, 1.0, 0.0])
    bins = np.arange(-N_PIXELS / 2, N_PIXELS / 2 + 1) * PIXEL_MM
    table = np.array([window.share(float(e)) for e in ENERGIES])
    totals = [total_cross_section(float(e)) for e in ENERGIES]
    forward = float(differential_cross_section(1.0, 1.0))  # r^2 at any energy
    counts, profile = [0.0] * (ORDERS + 1), np.zeros(N_PIXELS)
    for energy, abundance in EMISSIONS[nuclide]:
        if energy < 0.9 * window.bounds_kev[0]:
            continue
        radius = source_mm * np.sqrt(rng.uniform(size=n))
        phi = rng.uniform(0, 2 * np.pi, n)
        z = rng.uniform(-HALF_LENGTH_MM, HALF_LENGTH_MM, n)
        place = np.stack((radius * np.cos(phi), radius * np.sin(phi), z), 1)
        energies, weight = np.full(n, energy), np.full(n, abundance / n)
        direct = np.exp(-attenuation(energies) * way_out(place, np.broadcast_to(camera, place.shape)))
        slab = np.abs(place[:, 2]) < SLAB_MM
        counts[0] += float((weight * direct * window.share(energy))[slab].sum())
        direction = isotropic(n, rng)
        for order in range(1, ORDERS + 1):
            mu = attenuation(energies)
            inside = 1 - np.exp(-mu * way_out(place, direction))  # forced to interact before it leaves
            step = -np.log1p(-rng.uniform(size=len(mu)) * inside) / mu
            place = place + step[:, None] * direction
            weight = weight * inside * np.interp(energies, ENERGIES, SHARE)
            cosine = direction @ camera
            k = 1 / (1 + energies / ELECTRON_KEV * (1 - cosine))
            seen = k * energies
            per_sr = forward * k**2 * (k + 1 / k - (1 - cosine**2)) / 2 / np.interp(energies, ENERGIES, totals)
            out = np.exp(-attenuation(seen) * way_out(place, np.broadcast_to(camera, place.shape)))
            found = weight * 4 * np.pi * per_sr * out * np.interp(seen, ENERGIES, table)
            slab = np.abs(place[:, 2]) < SLAB_MM
            counts[order] += float(found[slab].sum())
            profile += np.histogram(place[slab, 0], bins, weights=found[slab])[0]
            cosine = scattered_cosine(energies, rng)
            direction = turned(direction, cosine, rng)
            energies = energies / (1 + energies / ELECTRON_KEV * (1 - cosine))
    return counts, profile


def model(nuclide: str, window: EnergyWindow, source_mm: float) -> tuple[float, FloatArray]:
    """Scatter over primaries by the model in the slab, and its profile."""
    n_planes = round(2 * HALF_LENGTH_MM / PIXEL_MM)
    fine = (np.arange(N_PIXELS * 8) - (N_PIXELS * 8 - 1) / 2) * PIXEL_MM / 8
    radius = np.hypot(fine[:, None], fine)
    discs = [(radius < r).reshape(N_PIXELS, 8, N_PIXELS, 8).mean((1, 3)) for r in (source_mm, RADIUS_MM)]
    activity, body = (torch.tensor(d, dtype=torch.float32)[..., None].expand(-1, -1, n_planes) for d in discs)
    mu = body * linear_attenuation("water", window.centre_kev)
    orbit = SpectOrbit(1, radius_mm=150.0)
    system = SpectProjector(N_PIXELS, PIXEL_MM, PIXEL_MM, orbit, mu_map=mu)
    ideal = first_order_scatter(
        activity, mu, pixel_mm=PIXEL_MM, plane_mm=PIXEL_MM, orbit=orbit, response=None, radionuclide=nuclide,
        window=window,
    )[0]  # fmt: skip
    half = round(SLAB_MM / PIXEL_MM)
    slab = slice(n_planes // 2 - half, n_planes // 2 + half)
    primaries = float(system.forward(activity)[0][:, slab].sum())
    return float(ideal[:, slab].sum()) / primaries, ideal[:, slab].sum(1).numpy().astype(np.float64)


def spread_mm(profile: FloatArray) -> float:
    """Standard deviation of a profile [mm]."""
    x = (np.arange(len(profile)) - (len(profile) - 1) / 2) * PIXEL_MM
    return float(np.sqrt((profile * x**2).sum() / profile.sum()))


def compare(nuclide: str, kev: float, source: str, n: int, seed: int = 0) -> dict[str, Any]:
    """One row of the table."""
    window = EnergyWindow(kev, 20.0)
    radius = RADIUS_MM if source == "uniform" else 3.0
    counts, profile = follow(nuclide, window, radius, n, np.random.default_rng(seed))
    ratio, shape = model(nuclide, window, radius)
    return {
        "radionuclide": nuclide, "window [keV]": kev, "source": source, "model": ratio,
        "followed, first order": counts[1] / counts[0], "followed, all orders": sum(counts[1:]) / counts[0],
        "spread of the model [mm]": spread_mm(shape), "spread followed [mm]": spread_mm(profile),
    }  # fmt: skip


def main() -> None:
    """Compare and write ``spect_scatter.json`` and ``spect_scatter.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photons", type=int, default=100_000)
    options = parser.parse_args()
    rows = [compare(n, e, s, options.photons) for n, e in CASES for s in ("line", "uniform")]
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"schema_version": 1, "photons": options.photons, "rows": rows}
    (options.out / "spect_scatter.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += [
        "| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in r.values()) + " |" for r in rows
    ]
    (options.out / "spect_scatter.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
