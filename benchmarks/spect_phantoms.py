"""Public phantoms through the whole SPECT chain: what of their known activity is found.

    python -m benchmarks.spect_phantoms --data ../shared/data/spect_phantoms --out benchmarks/results/spect_phantoms

Brain perfusion, dopamine transporter, Derenzo, Jaszczak, glioblastoma and a Lu-177 DOTATATE patient, activity and
attenuation as their authors give them [Auer2023]_. Each is scanned with a matched system (the reconstruction knows
resolution, scatter and attenuation exactly) and a mismatched one (all wrong by what is drawn), and reconstructed with
attenuation, response and scatter, and with one of them left out. Numbers are of noise-free data unless said; pictures
show one noisy scan. ``--figures`` writes them apart.

.. [Auer2023] B. Auer, S. Pells, Phantoms for nuclear medicine imaging simulation, MIT licence,
   github.com/BenAuer2021/Phantoms-For-Nuclear-Medicine-Imaging-Simulation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.activity_phantom import ActivityPhantom, activity_phantom, resample_mean
from nmsynth.data.simulation import block_mean, planes_last
from nmsynth.io.interfile import read_interfile
from nmsynth.physics.energy_window import EnergyWindow, crystal_efficiency
from nmsynth.physics.gamma_camera import (
    ExpectedGammaScan,
    GammaCamera,
    GammaGrid,
    GammaMismatch,
    GammaProtocol,
    SpectReconstruction,
    draw_counts,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.materials import PHOTON_KEV, mu_at_energy
from nmsynth.physics.phantom import Grid
from nmsynth.physics.spect import SpectOrbit, contour_orbit
from nmsynth.report.pictures import SETTINGS

Image = npt.NDArray[np.float32]
FULL = "attenuation, response, scatter"
VARIANTS = {
    FULL: {},
    "no response": {"with_response": False},
    "no scatter correction": {"with_scatter": False},
    "no attenuation correction": {"with_attenuation": False},
}
MISMATCH = GammaMismatch(resolution_scale=1.1, scatter_scale=0.85, mu_shift_mm=(2.0, -2.0, 4.0))
"""As a department's knowledge of its scanner may be wrong."""
RAYLEIGH = 0.735
"""Valley over peak below which two neighbours count as resolved."""


@dataclass(frozen=True)
class Subject:
    """A phantom, how it is scanned, and what is measured in it."""

    name: str
    activity: str
    mu: str
    total_mbq: float
    measure: Callable[..., list[dict[str, Any]]]
    nuclide: str = "Tc-99m"
    collimator: str = "LEHR"
    voxel_mm: float = 3.0
    n_views: int = 60
    seconds_per_view: float = 40.0
    reconstruction: SpectReconstruction = field(default_factory=lambda: SpectReconstruction(8, 10))
    filter_mm: float = 6.0
    materials: dict[int, str] = field(default_factory=lambda: {1: "water"})
    z_mm: tuple[float, float] | None = None
    plane_mm: float = 0.0
    """Height of the plane that is shown, from the middle [mm]."""
    scale: float = 1.0
    """Black of the picture over the highest true activity."""
    margin_mm: float = 6.0
    """Around the activity in the picture."""


def read_labels(path: Path, unit: str = "relative") -> Volume:
    """An image of the public set, whose headers give slices in millimetres."""
    return read_interfile(path, unit=unit, slice_unit="mm")


def head_phantom(subject: Subject, data: Path) -> tuple[Volume, ActivityPhantom]:
    """A head whose attenuation was cut from the grid of its activity; the cut is found by their common outline."""
    source, mu = read_labels(data / subject.activity), read_labels(data / subject.mu)
    first = np.argwhere(source.array > 0).min(0) - np.argwhere(mu.array > 0).min(0)
    affine = mu.affine.copy()
    affine[:3, 3] = (source.affine @ (*first, 1.0))[:3]
    mu = mu.with_array(mu.array, affine=affine)
    phantom = activity_phantom(source, mu, total_activity_bq=subject.total_mbq * 1e6, materials=subject.materials)
    return source, phantom


def lutetium_phantom(subject: Subject, data: Path) -> tuple[Volume, ActivityPhantom]:
    """The patient, turned so that slices rise to the head and rows run to the back.

    The attenuation is a CT plus 1000 HU with a couch of 3000; activity is that of the authors' table, for 235 MBq.
    """
    flip = np.s_[::-1, ::-1]
    source, mu = read_labels(data / subject.activity), read_labels(data / subject.mu)
    gammas = {15000: 1167.645, 16000: 3847.511, 17000: 2625.665, 18000: 2576.813, 19000: 28595.65, 20000: 25746.21}
    gammas[21000] = 9210.026667
    labels = source.array[flip].copy()
    labels[labels < 15000] = 0
    activity = np.zeros_like(labels)
    for label, per_voxel in gammas.items():
        activity[labels == label] = per_voxel / 0.172688  # gammas a decay
    hu = mu.array[flip] - 1000.0
    hu[mu.array[flip] >= 3000] = -950.0  # carbon fibre, mostly air
    phantom = activity_phantom(
        source.with_array(activity), mu.with_array(hu, unit=Unit.HOUNSFIELD), total_activity_bq=subject.total_mbq * 1e6
    )
    return source.with_array(labels), phantom


def read_subject(subject: Subject, data: Path) -> tuple[Volume, ActivityPhantom]:
    """Labels and phantom."""
    if subject.nuclide == "Lu-177":
        return lutetium_phantom(subject, data)
    if len(subject.materials) > 1:
        return head_phantom(subject, data)
    source, mu = read_labels(data / subject.activity), read_labels(data / subject.mu)
    return source, activity_phantom(source, mu, total_activity_bq=subject.total_mbq * 1e6, materials=subject.materials)


def fine_grid(subject: Subject, phantom: ActivityPhantom) -> Grid:
    """Grid of the scan, twice as fine as the reconstruction's."""
    low, high = subject.z_mm or phantom.z_range_mm
    n_planes = int(np.ceil((high - low) / subject.voxel_mm - 1e-6))
    n = 2 * int(np.ceil((phantom.field_mm / subject.voxel_mm + 4) / 2))
    fine = subject.voxel_mm / 2
    start = (low + high - n_planes * subject.voxel_mm) / 2 + fine / 2
    return Grid.centred((2 * n_planes, 2 * n, 2 * n), (fine,) * 3, start)


def coarse_of(grid: Grid) -> Grid:
    """Grid of the reconstruction."""
    step = 2 * grid.spacing_mm[0]
    origin = tuple(o + step / 4 for o in grid.origin_mm)
    return Grid(tuple(n // 2 for n in grid.shape), (step,) * 3, origin)  # type: ignore[arg-type]


def camera_of(subject: Subject) -> GammaCamera:
    """The camera."""
    kev = PHOTON_KEV[subject.nuclide]
    return GammaCamera(
        collimator=subject.collimator,
        window=EnergyWindow(kev, 20.0),
        crystal_efficiency=crystal_efficiency(kev),
        scatter_model="compton",
    )


def expected_of(subject: Subject, phantom: ActivityPhantom, mismatch: GammaMismatch) -> tuple[ExpectedGammaScan, Image]:
    """Expected counts, and the true activity on the reconstruction's grid."""
    grid = fine_grid(subject, phantom)
    drawn = phantom.render(grid)
    mu = planes_last(mu_at_energy(drawn.mu_map, PHOTON_KEV[subject.nuclide]))
    scan = expected_gamma_scan(
        planes_last(drawn.activity), mu, fine_factor=2, camera=camera_of(subject),
        protocol=GammaProtocol(subject.nuclide, subject.seconds_per_view),
        orbit=contour_orbit(SpectOrbit(subject.n_views), mu, grid.spacing_mm[1]),
        grid=GammaGrid(grid.shape[1] // 2, subject.voxel_mm, subject.voxel_mm), mismatch=mismatch,
    )  # fmt: skip
    return scan, block_mean(drawn.activity)


def to_image(x: torch.Tensor) -> Image:
    """``(y, x, plane) -> (z, y, x)``."""
    return np.ascontiguousarray(x.permute(2, 0, 1).numpy())


def weights_of(mask: npt.NDArray[np.bool_], like: Volume, phantom: ActivityPhantom, grid: Grid) -> Image:
    """Share of each voxel of a grid about the camera's axis that a mask fills."""
    z, y, x = grid.origin_mm
    shifted = replace(grid, origin_mm=(z, y + phantom.centre_mm[0], x + phantom.centre_mm[1]))
    return resample_mean(like.with_array(mask.astype(np.float32)), shifted)


def mean_in(image: Image, weights: Image) -> float:
    """Mean of an image with weights."""
    return float((image * weights).sum(dtype=np.float64) / weights.sum(dtype=np.float64))


def of_regions(names: dict[int, str]) -> Callable[..., list[dict[str, Any]]]:
    """Recovery of the mean of labelled regions."""

    def measure(labels: Volume, phantom: ActivityPhantom, grid: Grid, images: dict[str, Image]) -> list[dict[str, Any]]:
        rows = []
        for label, name in names.items():
            mask = labels.array == label
            true = float(phantom.activity.array[mask].mean())
            weights = weights_of(mask, labels, phantom, grid)
            volume = float(mask.sum()) * labels.voxel_volume_ml
            rows.append(
                {"what": f"{name}, {volume:.0f} mL, mean over truth", "true": 1.0}
                | {k: mean_in(v, weights) / true for k, v in images.items()}
            )
        return rows

    return measure


def brain_rows(labels: Volume, phantom: ActivityPhantom, grid: Grid, images: dict[str, Image]) -> list[dict[str, Any]]:
    """Grey and white matter, and their ratio."""
    rows = of_regions({920: "grey matter", 230: "white matter", 1012: "striatum"})(labels, phantom, grid, images)
    ratio = {k: rows[0][k] / rows[1][k] * 920 / 230 for k in images}
    return [*rows, {"what": "grey over white", "true": 4.0} | ratio]


def dat_rows(labels: Volume, phantom: ActivityPhantom, grid: Grid, images: dict[str, Image]) -> list[dict[str, Any]]:
    """Striatal binding ratio in the true striatum, over brain more than 20 mm away from it."""
    striatum = labels.array == 800
    brain = ndimage.binary_erosion(labels.array == 100, iterations=1)
    away = ndimage.distance_transform_edt(~striatum, labels.spacing_mm) > 20
    inner = ndimage.distance_transform_edt(labels.array > 0, labels.spacing_mm) > 15
    one, other = (weights_of(m, labels, phantom, grid) for m in (striatum, brain & away & inner))
    large = weights_of(ndimage.distance_transform_edt(~striatum, labels.spacing_mm) <= 10, labels, phantom, grid)
    volume = float(one.sum())
    return [
        {"what": "binding ratio in the true striatum", "true": 7.0}
        | {k: mean_in(v, one) / mean_in(v, other) - 1 for k, v in images.items()},
        {"what": "binding ratio, counts within 10 mm over the true volume", "true": 7.0}
        | {k: float(((v - mean_in(v, other)) * large).sum()) / volume / mean_in(v, other) for k, v in images.items()},
    ]


def jaszczak_rows(
    labels: Volume, phantom: ActivityPhantom, grid: Grid, images: dict[str, Image]
) -> list[dict[str, Any]]:
    """Contrast of the cold spheres; evenness of the section without them."""
    z = (np.arange(labels.shape[0]) - (labels.shape[0] - 1) / 2) * labels.spacing_mm[0]
    solid = ndimage.binary_fill_holes((labels.array >= 5).any(0))
    solid = ndimage.binary_erosion(solid, iterations=8)
    cold = (labels.array < 5) & solid & ((z > -70) & (z < 10))[:, None, None]
    found, n = ndimage.label(ndimage.binary_opening(cold, iterations=3))
    sizes = ndimage.sum_labels(cold, found, range(1, n + 1)) * labels.voxel_volume_ml
    largest = sorted(range(n), key=lambda i: -sizes[i])[:6]
    even = weights_of(
        np.broadcast_to(ndimage.binary_erosion(solid, iterations=12), labels.shape)
        & ~ndimage.binary_dilation(cold, iterations=16) & ((z > -70) & (z < 0))[:, None, None],
        labels, phantom, grid,
    )  # fmt: skip
    rows = []
    for i in largest:
        ball = weights_of(ndimage.binary_dilation(found == i + 1, iterations=1) & cold, labels, phantom, grid)
        diameter = 2 * (3 * sizes[i] * 1000 / (4 * np.pi)) ** (1 / 3)
        rows.append(
            {"what": f"contrast of the cold sphere of {diameter:.0f} mm", "true": 1.0}
            | {k: 1 - mean_in(v, ball) / mean_in(v, even) for k, v in images.items()}
        )
    inside = even > 0.99
    rows.append(
        {"what": "standard deviation over mean where it is even", "true": 0.0}
        | {k: float(v[inside].std() / v[inside].mean()) for k, v in images.items()}
    )
    return rows


def derenzo_rows(
    labels: Volume, phantom: ActivityPhantom, grid: Grid, images: dict[str, Image]
) -> list[dict[str, Any]]:
    """Valley between neighbouring rods over their peaks, by diameter, in the mean of all planes."""
    plane = labels.array[labels.shape[0] // 2]
    rods, n = ndimage.label(plane >= 5.5)
    areas = ndimage.sum_labels(rods > 0, rods, range(1, n + 1))
    centres = np.array(ndimage.center_of_mass(rods > 0, rods, range(1, n + 1)))
    sizes = np.array([3.2, 4.8, 6.4, 7.9, 9.5, 11.1])
    kind = np.abs(2 * np.sqrt(areas / np.pi)[:, None] - sizes).argmin(1)
    middle = (np.array(plane.shape) - 1) / 2
    offset = np.array(labels.affine[1::-1, 3]) + middle * 1.0 - np.array(phantom.centre_mm)
    places = (centres - middle + offset - np.array(grid.origin_mm[1:])) / grid.spacing_mm[1]
    rows = []
    for k in range(len(sizes) - 1, -1, -1):
        own = places[kind == k]
        step = 2 * sizes[k] / grid.spacing_mm[1]
        pairs = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :] if np.hypot(*(a - b)) < 1.2 * step]
        row: dict[str, Any] = {"what": f"valley over peak, rods of {sizes[k]:g} mm", "true": 0.1}
        for name, image in images.items():
            flat = image.mean(0)
            at = lambda points, flat=flat: ndimage.map_coordinates(flat, np.array(points).T, order=1)  # noqa: E731
            peaks = (at([a for a, _ in pairs]) + at([b for _, b in pairs])) / 2
            row[name] = float(at([(a + b) / 2 for a, b in pairs]).mean() / peaks.mean())
        rows.append(row)
    return rows


SUBJECTS = (
    Subject(
        "brain-perfusion", "Brain_Perfusion_phantom.zip/Brain_Perfusion_Source_120x120x120.h33",
        "Brain_Perfusion_phantom.zip/Brain_Perfusion_Attn_72x90x77.h33", 50.0, brain_rows,
        materials={1: "cortical bone", 2: "soft tissue", 3: "soft tissue"}, plane_mm=15.0, scale=0.8,
    ),
    Subject(
        "dopamine-transporter", "DaT_phantom.zip/DaT_Source_120x120x120.h33",
        "DaT_phantom.zip/DaT_Attenuation_72x90x77.h33", 15.0, dat_rows, nuclide="I-123", seconds_per_view=60.0,
        materials={1: "cortical bone", 2: "soft tissue", 3: "soft tissue"}, filter_mm=7.0, plane_mm=10.0, scale=0.7,
    ),
    Subject(
        "derenzo", "Derenzo_phantoms.zip/Derenzo/Derenzo_220x220x161_with_bkg.h33",
        "Derenzo_phantoms.zip/Derenzo/Derenzo_222x222x161_Attn.h33", 1000.0, derenzo_rows, voxel_mm=2.0,
        z_mm=(-15.0, 15.0), n_views=120, filter_mm=0.0, reconstruction=SpectReconstruction(16, 10),
    ),
    Subject(
        "jaszczak", "Jaszczak_phantom.zip/Jaszczak_238x237x134.h33",
        "Jaszczak_phantom.zip/Jaszczak_238x237x134_Atn.h33", 600.0, jaszczak_rows, voxel_mm=3.6, plane_mm=-28.0,
        scale=1.2,
    ),
    Subject(
        "glioblastoma", "Glioblastoma_phantom.zip/Glioblastoma_Source_92x102x65.h33",
        "Glioblastoma_phantom.zip/Glioblastoma_Attn_92x102x65.h33", 50.0,
        of_regions({1: "tissue", 2: "rim, twice the tissue", 3: "rim, three times"}), plane_mm=0.0,
    ),
    Subject(
        "lutetium-patient", "patient_LuDOTATATE_phantoms.zip/patient15_LuDOTATATE_src.h33",
        "patient_LuDOTATATE_phantoms.zip/patient15_LuDOTATATE_attn.h33", 235.0,
        of_regions({15000: "liver", 16000: "spleen", 17000: "left kidney", 18000: "right kidney", 19000: "tumour 1",
                    20000: "tumour 2", 21000: "tumour 3"}),
        nuclide="Lu-177", collimator="MEGP", voxel_mm=4.8, n_views=60, seconds_per_view=25.0,
        reconstruction=SpectReconstruction(10, 6), plane_mm=60.0, scale=0.4, margin_mm=40.0,
    ),
)  # fmt: skip


def measure_subject(subject: Subject, data: Path) -> tuple[dict[str, Any], dict[str, Image], Grid]:
    """Numbers of a phantom, and the images that are shown."""
    labels, phantom = read_subject(subject, data)
    grid = coarse_of(fine_grid(subject, phantom))
    grid_truth = "truth on the grid"
    images: dict[str, Image] = {grid_truth: np.empty(0, np.float32)}
    shown: dict[str, Image] = {}
    for kind, mismatch in (("matched", GammaMismatch()), ("mismatched", MISMATCH)):
        scan, truth = expected_of(subject, phantom, mismatch)
        for variant, changes in VARIANTS.items():
            settings = replace(subject.reconstruction, **changes)
            if kind == "mismatched" and variant != FULL:
                continue
            images[f"{kind}, {variant}"] = to_image(reconstruct_spect(scan.prompts, scan, settings))
        if kind == "matched":
            longer = replace(subject.reconstruction, n_iterations=4 * subject.reconstruction.n_iterations)
            images["matched, 4 x the iterations"] = to_image(reconstruct_spect(scan.prompts, scan, longer))
        images[grid_truth] = truth
        if kind == "mismatched":
            counts = draw_counts(scan, torch.Generator().manual_seed(0))
            shown["truth"] = truth
            for variant, changes in VARIANTS.items():
                settings = replace(subject.reconstruction, filter_fwhm_mm=subject.filter_mm, **changes)
                shown[variant] = to_image(reconstruct_spect(counts, scan, settings))
    images["noisy, mismatched"] = shown[FULL]
    inside = float(truth.sum(dtype=np.float64))
    rows = [
        {"what": "total activity over truth", "true": 1.0}
        | {k: float(v.sum(dtype=np.float64)) / inside for k, v in images.items()},
        *subject.measure(labels, phantom, grid, images),
    ]
    facts = {
        "radionuclide": subject.nuclide, "collimator": subject.collimator, "total_mbq": subject.total_mbq,
        "voxel_mm": subject.voxel_mm, "views": subject.n_views, "seconds_per_view": subject.seconds_per_view,
        "iterations": subject.reconstruction.n_iterations, "subsets": subject.reconstruction.n_subsets,
        "filter of the noisy image [mm]": subject.filter_mm, "counts": float(counts.sum()),
    }  # fmt: skip
    return {"facts": facts, "rows": rows}, shown, grid


def draw(subject: Subject, shown: dict[str, Image], grid: Grid, path: Path) -> None:
    """Truth and reconstructions of one noisy, mismatched scan, in one window."""
    plane = int(np.argmin(np.abs(grid.axes()[0] - subject.plane_mm)))
    truth = shown["truth"]
    occupied = np.argwhere(truth.max(0) > 0)
    margin = round(subject.margin_mm / subject.voxel_mm)
    (top, left), (bottom, right) = occupied.min(0) - margin, occupied.max(0) + margin + 1
    cut = np.s_[plane, max(top, 0) : bottom, max(left, 0) : right]
    high = float(truth[plane].max()) * subject.scale
    with rc_context(SETTINGS):
        figure = Figure(figsize=(11.0, 2.2 * (bottom - top) / (right - left) + 0.55), dpi=80)
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(shown))
        for axis, (name, image) in zip(axes, shown.items(), strict=True):
            last = axis.imshow(image[cut] / 1000, cmap="gray_r", vmin=0, vmax=high / 1000, interpolation="nearest")
            axis.set_title(name.replace("attenuation, response, scatter", "all corrections"), fontsize=10)
            axis.set_axis_off()
        figure.subplots_adjust(0.005, 0.01, 0.93, 0.88, wspace=0.03)
        bar = figure.add_axes((0.94, 0.12, 0.012, 0.65))
        figure.colorbar(last, cax=bar).ax.set_title("kBq/mL", fontsize=8)
        bar.tick_params(labelsize=8)
        bar.grid(visible=False)
        figure.savefig(path)


def to_markdown(record: dict[str, Any]) -> str:
    """A table for each phantom."""
    lines = []
    for name, found in record["phantoms"].items():
        facts = "; ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found["facts"].items())
        columns = [k for k in found["rows"][0] if k != "what"]
        lines += [
            "",
            f"**{name}**: {facts}.",
            "",
            "| | " + " | ".join(columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        lines += [f"| {r['what']} | " + " | ".join(f"{r[c]:.3g}" for c in columns) + " |" for r in found["rows"]]
    return "\n".join(lines).lstrip() + "\n"


def main() -> None:
    """Scan every phantom, write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figures", type=Path, help="folder for the pictures; --out when unset")
    parser.add_argument("--only", nargs="+", help="names of phantoms")
    options = parser.parse_args()
    for folder in (options.out, options.figures or options.out):
        folder.mkdir(parents=True, exist_ok=True)
    path = options.out / "spect_phantoms.json"
    record: dict[str, Any] = {"schema_version": 1, "phantoms": {}}
    if options.only and path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    for subject in SUBJECTS:
        if options.only and subject.name not in options.only:
            continue
        found, shown, grid = measure_subject(subject, options.data)
        record["phantoms"][subject.name] = found
        draw(subject, shown, grid, (options.figures or options.out) / f"spect-{subject.name}.png")
        print(to_markdown({"phantoms": {subject.name: found}}), flush=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (options.out / "spect_phantoms.md").write_text(to_markdown(record), encoding="utf-8")


if __name__ == "__main__":
    main()
