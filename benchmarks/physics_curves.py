"""Cost of projection and reconstruction against size, views and subsets; and the figure drawn from it.

    python -m benchmarks.physics_speed --curves --out benchmarks/results/physics_speed --figure docs/figures/cost.png

PET in slices of n x n with n views, SPECT in cubes of half as many planes as pixels with attenuation and response.
Times are the best of several runs after one that is not counted; that of OSEM holds the building of its system and
the back-projection of ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nmsynth.physics.collimator import COLLIMATORS
from nmsynth.physics.gamma_camera import ExpectedGammaScan, GammaGrid, SpectReconstruction, reconstruct_spect
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.reconstruction import OsemSettings, osem
from nmsynth.physics.spect import CameraResponse, SpectOrbit, SpectProjector
from nmsynth.report.pictures import SETTINGS

RESPONSE = CameraResponse(COLLIMATORS["LEHR"])
PIXEL_MM, RADIUS_MM = 4.8, 400.0


@dataclass(frozen=True)
class CurveSizes:
    """What is varied; the first of each other list is held."""

    pet: Sequence[int] = (64, 96, 128, 192, 256)
    matrix: Sequence[int] = (32, 48, 64, 96, 128)
    views: Sequence[int] = (30, 60, 90, 120)
    subsets: Sequence[int] = (1, 2, 4, 6, 10)
    matrix_views: int = 60
    """Views where the matrix is varied."""
    views_matrix: int = 64
    """Matrix where views or subsets are varied."""
    pet_slices: int = 16
    """Slices that PET takes at once."""


TINY = CurveSizes((16, 24), (16, 24), (6, 12), (1, 2), 6, 16, 2)
"""To see that it runs."""


def best_of(call: Callable[[], Any], times: int = 3, at_least_s: float = 0.6) -> float:
    """Least seconds of several calls, after one that is not counted; more of them where one is short."""
    call()
    found: list[float] = []
    while len(found) < times or (times > 1 and sum(found) < at_least_s):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def pet_point(n: int, n_slices: int, times: int) -> dict[str, float]:
    """Seconds of forward, adjoint and one OSEM iteration of 8 subsets, for each slice."""
    generator = torch.Generator().manual_seed(0)
    geometry = SinogramGeometry(n, n, 4.0)
    projector = SliceProjector(n, 4.0, geometry)
    image = torch.rand(n, n, n_slices, generator=generator)
    sinogram = projector.forward(image)
    ones = torch.ones_like(sinogram)
    settings = OsemSettings(n_pixels=n, pixel_mm=4.0, n_iterations=1, n_subsets=8, resolution_fwhm_mm=5.0)
    return {
        "forward": best_of(lambda: projector.forward(image), times) / n_slices,
        "adjoint": best_of(lambda: projector.adjoint(sinogram), times) / n_slices,
        "OSEM, 1 iteration": best_of(lambda: osem(sinogram, ones, 0.01 * ones, geometry, settings), times) / n_slices,
    }


def spect_point(n: int, n_views: int, n_subsets: int, times: int) -> dict[str, float]:
    """Seconds of forward, adjoint and one OSEM iteration, with attenuation and response."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, n, max(1, n // 2), generator=generator)
    mu_map = torch.full_like(image, 0.1)
    orbit = SpectOrbit(n_views, radius_mm=RADIUS_MM)
    projector = SpectProjector(n, PIXEL_MM, PIXEL_MM, orbit, response=RESPONSE, mu_map=mu_map)
    views = projector.forward(image)
    grid = GammaGrid(n, PIXEL_MM, PIXEL_MM)
    scan = ExpectedGammaScan(views, views, torch.zeros_like(views), 1e-3, mu_map, RESPONSE, orbit, grid)
    once = SpectReconstruction(1, n_subsets)
    return {
        "forward": best_of(lambda: projector.forward(image), times),
        "adjoint": best_of(lambda: projector.adjoint(views), times),
        "OSEM, 1 iteration": best_of(lambda: reconstruct_spect(views, scan, once), times),
    }


def cost_curves(sizes: CurveSizes, *, times: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Seconds by panel; each point holds what was varied as ``x``."""
    n, views = sizes.views_matrix, sizes.matrix_views
    panels: dict[str, list[dict[str, Any]]] = {
        "PET, each slice: pixels and views": [{"x": m} | pet_point(m, sizes.pet_slices, times) for m in sizes.pet],
        f"SPECT, {views} views: pixels": [{"x": m} | spect_point(m, views, 6, times) for m in sizes.matrix],
        f"SPECT, {n} pixels: views": [{"x": v} | spect_point(n, v, 6, times) for v in sizes.views],
        f"SPECT, {n} pixels, {views} views: subsets": [
            {"x": s} | spect_point(n, views, s, times) for s in sizes.subsets
        ],
    }
    return panels


def draw_curves(panels: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel for each thing that is varied, both axes logarithmic."""
    with rc_context(SETTINGS):
        figure = Figure(figsize=(13.0, 3.6), dpi=90)
        FigureCanvasAgg(figure)
        for axis, (title, points) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            x = [p["x"] for p in points]
            for name, marker in (("forward", "o"), ("adjoint", "s"), ("OSEM, 1 iteration", "^")):
                axis.plot(x, [p[name] for p in points], marker=marker, markersize=4, label=name)
            what, _, varied = title.rpartition(": ")
            axis.set(xscale="log", yscale="log", title=what, xlabel=varied)
            axis.set_xticks(x, [str(v) for v in x])
            axis.minorticks_off()
            axis.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
            axis.title.set_fontsize(11)
        figure.axes[0].set_ylabel("seconds")
        figure.axes[0].legend(fontsize=8, loc="lower right")
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
