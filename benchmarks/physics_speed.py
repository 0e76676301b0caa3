"""Projection and reconstruction against implementations nobody here wrote, as ratios in one run.

    python -m benchmarks.physics_speed --out benchmarks/results/physics_speed

PET: line integrals of one slice against ``skimage.transform.radon``. SPECT: a view of attenuated, blurred integrals
against a plain rotate-and-sum in torch (``grid_sample`` and one Gaussian convolution a row). Times are the best of
several runs after one that is not counted; building a system is given apart.

``--curves`` times size, views and subsets instead (``physics_curves.json``) and draws ``--figure`` from it; ``--tiny``
shows on small sizes that it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.physics_curves import TINY, CurveSizes, best_of, cost_curves, draw_curves
from skimage.transform import radon
from torch.nn import functional as F

from nmsynth.physics.collimator import COLLIMATORS
from nmsynth.physics.gamma_camera import (
    ExpectedGammaScan,
    GammaGrid,
    SpectReconstruction,
    reconstruct_spect,
)
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.psf import FWHM_PER_SIGMA
from nmsynth.physics.reconstruction import OsemSettings, osem
from nmsynth.physics.spect import CameraResponse, SpectOrbit, SpectProjector

RESPONSE = CameraResponse(COLLIMATORS["LEHR"])
PIXEL_MM = 4.8
RADIUS_MM = 320.0


def plain_spect(image: torch.Tensor, mu_map: torch.Tensor, angle: float) -> torch.Tensor:
    """One view by rotating with ``grid_sample`` and blurring each row by its own kernel; images ``(y, x, plane)``."""
    n = image.shape[0]
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]])[None]
    both = torch.stack((image, mu_map)).permute(0, 3, 1, 2).reshape(1, -1, n, n)
    turned = F.grid_sample(both, F.affine_grid(matrix, [1, both.shape[1], n, n], align_corners=False))
    activity, mu = turned.reshape(2, -1, n, n)
    activity = activity * torch.exp(-(mu.cumsum(1) - 0.5 * mu) * PIXEL_MM / 10)
    total = torch.zeros(activity.shape[0], n)
    for row in range(n):
        distance = RADIUS_MM + (row - (n - 1) / 2) * PIXEL_MM
        sigma = RESPONSE.fwhm_mm(max(0.0, distance)) / FWHM_PER_SIGMA / PIXEL_MM
        radius = max(1, math.ceil(3.5 * sigma))
        kernel = torch.erf(torch.arange(-radius - 0.5, radius + 1.0) / (math.sqrt(2) * sigma)).diff()
        kernel = kernel / kernel.sum()
        part = F.conv2d(activity[:, row][None, None], kernel.view(1, 1, 1, -1), padding=(0, radius))
        total += F.conv2d(part, kernel.view(1, 1, -1, 1), padding=(radius, 0))[0, 0]
    return total.T * PIXEL_MM


def pet_rows() -> list[dict[str, Any]]:
    """One slice of 128 x 128 and 128 views."""
    n = 128
    generator = torch.Generator().manual_seed(0)
    axis = np.arange(n) - (n - 1) / 2
    circle = torch.from_numpy((axis[:, None] ** 2 + axis[None] ** 2 < (n / 2 - 2) ** 2).astype(np.float32))
    image = torch.rand(n, n, 1, generator=generator) * circle[..., None]
    started = time.perf_counter()
    projector = SliceProjector(n, 1.0, SinogramGeometry(n, n, 1.0))
    build = time.perf_counter() - started
    sinogram = projector.forward(image)
    theta = np.arange(n) * 180.0 / n
    theirs = best_of(lambda: radon(image[..., 0].numpy(), theta=theta, circle=True))
    many = image.expand(-1, -1, 64).contiguous()
    rows = [
        {"what": "PET forward, 1 slice", "s": best_of(lambda: projector.forward(image)), "peer": theirs},
        {
            "what": "PET forward, 64 slices, for each",
            "s": best_of(lambda: projector.forward(many)) / 64,
            "peer": theirs,
        },
        {"what": "PET adjoint, 1 slice", "s": best_of(lambda: projector.adjoint(sinogram)), "peer": None},
        {"what": "PET building the system", "s": build, "peer": None},
    ]
    settings = OsemSettings(n_pixels=n, pixel_mm=4.0, n_iterations=3, n_subsets=16, resolution_fwhm_mm=5.0)
    counts = torch.rand(n, n, 64, generator=generator) * 20
    geometry = SinogramGeometry(n, n, 4.0)
    ones = torch.ones_like(counts)
    seconds = best_of(lambda: osem(counts, ones, 0.01 * ones, geometry, settings))
    return [*rows, {"what": "PET OSEM 3 x 16 with resolution, for each slice of 64", "s": seconds / 64, "peer": None}]


def spect_rows(n: int, n_planes: int) -> list[dict[str, Any]]:
    """60 views of a stack, and its reconstruction with 4 iterations of 6 subsets."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, n, n_planes, generator=generator)
    mu_map = torch.full((n, n, n_planes), 0.1)
    orbit = SpectOrbit(60, radius_mm=RADIUS_MM)
    started = time.perf_counter()
    projector = SpectProjector(n, PIXEL_MM, PIXEL_MM, orbit, response=RESPONSE, mu_map=mu_map)
    build = time.perf_counter() - started
    views = projector.forward(image)
    agreement = (plain_spect(image, mu_map, orbit.angles_rad[7]) - views[7]).norm() / views[7].norm()
    print(f"SPECT against the plain rotation, root mean square of the difference: {float(agreement):.1%}")
    plain = best_of(lambda: [plain_spect(image, mu_map, a) for a in orbit.angles_rad[:6]], 1) * 10
    grid = GammaGrid(n, PIXEL_MM, PIXEL_MM)
    scan = ExpectedGammaScan(views, views, torch.zeros_like(views), 1e-3, mu_map, RESPONSE, orbit, grid)
    name = f"SPECT {n} x {n} x {n_planes}, 60 views"
    return [
        {"what": f"{name}: forward", "s": best_of(lambda: projector.forward(image)), "peer": plain},
        {"what": f"{name}: adjoint", "s": best_of(lambda: projector.adjoint(views)), "peer": None},
        {"what": f"{name}: building the system", "s": build, "peer": None},
        {
            "what": f"{name}: OSEM 4 x 6, attenuation, response",
            "s": best_of(lambda: reconstruct_spect(views, scan, SpectReconstruction()), 1),
            "peer": None,
        },
    ]


def main() -> None:
    """Time everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curves", action="store_true", help="cost against size, views and subsets")
    parser.add_argument("--figure", type=Path, help="figure of the curves")
    parser.add_argument("--tiny", action="store_true", help="small sizes, times that mean nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    if options.curves:
        panels = cost_curves(TINY if options.tiny else CurveSizes())
        record = {"schema_version": 1, "threads": torch.get_num_threads(), "seconds": panels}
        (options.out / "physics_curves.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        draw_curves(panels, options.figure or options.out / "cost.png")
        return
    rows = [*pet_rows(), *spect_rows(64, 32), *spect_rows(128, 64)]
    record = {"schema_version": 1, "threads": torch.get_num_threads(), "rows": rows}
    (options.out / "physics_speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = ["| what | seconds | peer, seconds | peer over this |", "|---|---|---|---|"]
    for row in rows:
        peer = row["peer"]
        ratio = "" if peer is None else f"{peer / row['s']:.1f}"
        lines.append(f"| {row['what']} | {row['s']:.4f} | {'' if peer is None else f'{peer:.4f}'} | {ratio} |")
    (options.out / "physics_speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
