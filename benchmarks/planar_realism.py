"""A real planar study of lungs and kidneys beside simulated ones at the same counts.

    python -m benchmarks.planar_realism --series ../shared/data/planar_static --out benchmarks/results/planar_realism

The real series: Tc-99m, lungs and kidneys (by its names a search for a right-to-left shunt with albumin aggregates),
two heads, 2.4 mm, 120 s, raw counts. The simulated ones: procedural patients with MAA-SHUNT in the region ``lungs``,
the same matrix, window and time, and the anterior head as far from the body as the header's distance between the heads
(434 mm) leaves it, about 160 mm; each view is scaled to the real view's counts before Poisson counts are drawn. All
numbers come from both by the same code:

1. counts a view, and their ratio, as simulated by the protocol;
2. where the counts are: in the hot region (smoothed image above a fifth of its peak), in the rest of the body (above a
   hundredth), outside;
3. the histogram of pixels in the field;
4. noise: mean power of the highest frequencies over the counts, 1 for independent Poisson counts; variance over mean of
   neighbours; for thinned halves of the series their difference's variance over its mean;
5. radial power over the counts: the frequency at which it falls to twice the noise;
6. the distance over which the lateral edge of the lungs rises from 20 to 80 %.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth import read
from nmsynth.metrics.noise import neighbour_dispersion
from nmsynth.physics.noise import poisson, thin
from nmsynth.workflows.planar_simulation import SimulatePlanarSettings, scan_planar_study

Image = npt.NDArray[np.float64]

SEEDS = range(9300, 9306)
VIEWS = ("anterior", "posterior")
PERCENTILES = (50, 75, 90, 95, 99, 99.9)
SMOOTHING_MM = 10.0
HOT, BODY = 0.2, 0.01
PIXEL_MM = 2.4
GAP_MM = 160.0
"""From the body to the anterior head: 434 mm between the heads, less a body of 220 mm and a table of 50 mm."""


def field_slices(image: Image) -> tuple[slice, slice]:
    """Where the rectangle lies in which there are counts."""
    rows, columns = np.flatnonzero(image.sum(1)), np.flatnonzero(image.sum(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def field_of(image: Image) -> Image:
    """The rectangle in which there are counts."""
    return image[field_slices(image)]


def measure(image: Image, seed: int) -> dict[str, float | None]:
    """Numbers of one view."""
    inside = field_of(image)
    total = inside.sum()
    smooth = ndimage.gaussian_filter(inside, SMOOTHING_MM / 2.355 / PIXEL_MM)
    hot, body = smooth > HOT * smooth.max(), smooth > BODY * smooth.max()
    frequency, power = radial_power(inside)
    highest = power[frequency > 0.85 * frequency.max()].mean()
    loud = frequency[power > 2.0 * highest]
    generator = torch.Generator().manual_seed(seed)
    whole = torch.from_numpy(inside).float()
    half = thin(whole, 0.5, generator).numpy()
    rest = inside - half
    return {
        "counts": float(total),
        "rows of the field": float(inside.shape[0]),
        "columns of the field": float(inside.shape[1]),
        "share in the hot region": float(inside[hot].sum() / total),
        "share in the rest of the body": float(inside[body & ~hot].sum() / total),
        "share outside": float(inside[~body].sum() / total),
        "area of the hot region [cm2]": float(hot.sum() * PIXEL_MM**2 / 100.0),
        "mean of the hot region [counts]": float(inside[hot].mean()),
        "mean of the rest over that of the hot region": float(inside[body & ~hot].mean() / inside[hot].mean()),
        **{f"percentile {p}": float(np.percentile(inside, p)) for p in PERCENTILES},
        "power of the highest frequencies over the counts": float(highest),
        "variance over mean of neighbours": neighbour_dispersion(inside),
        "thinned halves: variance of the difference over the counts": float(((half - rest) ** 2).sum() / total),
        "frequency where power is twice the noise [1/mm]": float(loud.max()) if loud.size else None,
        "lateral edge 20 to 80 % [mm]": edge_width_mm(inside),
    }


def radial_power(image: Image) -> tuple[Image, Image]:
    """Frequencies [1/mm] and mean power over the counts in rings of half a bin; windowed, so that edges do not leak."""
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])[None]
    windowed = image * window
    spectrum = np.abs(np.fft.fft2(windowed)) ** 2 / (image * window**2).sum()
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, PIXEL_MM) for n in image.shape), indexing="ij"))
    nyquist = 0.5 / PIXEL_MM
    edges = np.linspace(0.0, nyquist, 41)
    which = np.digitize(f, edges) - 1
    kept = which < 40
    counts = np.bincount(which[kept], minlength=40)
    power = np.bincount(which[kept], weights=spectrum[kept], minlength=40) / np.maximum(counts, 1)
    return (edges[1:] + edges[:-1]) / 2, power


def edge_width_mm(image: Image) -> float | None:
    """Mean over both sides of the 20 to 80 % rise of the lungs' outer edges, from profiles over 24 mm."""
    smooth = ndimage.gaussian_filter(image, 2.0)
    row = int(np.unravel_index(smooth.argmax(), smooth.shape)[0])
    profile = image[max(0, row - 5) : row + 5].mean(0)
    widths = []
    for one in (profile[: len(profile) // 2], profile[len(profile) // 2 :][::-1]):
        gentle = ndimage.gaussian_filter1d(one, 1.0)
        peak = int(gentle.argmax())
        rise, base = gentle[: peak + 1], np.percentile(gentle[: peak + 1], 10)
        levels = base + (gentle[peak] - base) * np.array([0.2, 0.8])
        first, last = (np.flatnonzero(rise >= level)[0] for level in levels)
        widths.append((last - first) * PIXEL_MM)
    return float(np.mean(widths))


def simulated(seed: int, real_counts: list[float]) -> tuple[list[float], list[Image]]:
    """Counts of a patient by the protocol, and views at the real counts."""
    settings = SimulatePlanarSettings(tracer="MAA-SHUNT", region="lungs", seed=seed, gap_mm=GAP_MM)
    _, scanned = scan_planar_study(settings)
    expected = torch.from_numpy(np.array(scanned.noise_free.array))
    generator = torch.Generator().manual_seed(seed)
    views = [
        poisson(view * (counts / float(view.sum())), generator).numpy().astype(np.float64)
        for view, counts in zip(expected, real_counts, strict=True)
    ]
    return [float(v.sum()) for v in expected], views


def run(series: Path) -> dict[str, Any]:
    """All measurements."""
    real = np.asarray(read(series).array, dtype=np.float64)
    counts = [float(view.sum()) for view in real]
    by_protocol, measured = [], []
    for seed in SEEDS:
        totals, views = simulated(seed, counts)
        by_protocol.append(totals)
        measured.append([measure(view, seed) for view in views])
    return {
        "real": {view: measure(image, 1) for view, image in zip(VIEWS, real, strict=True)},
        "simulated": {
            view: {
                name: [patient[k][name] for patient in measured]
                for name in measured[0][k]
            }
            for k, view in enumerate(VIEWS)
        },
        "counts by protocol": by_protocol,
        "seeds": list(SEEDS),
    }  # fmt: skip


def markdown(found: dict[str, Any]) -> str:
    """Tables of the numbers."""
    told = " ".join(str(__doc__).split())
    lines = ["# Planar realism", "", told[told.index("The real series") : told.index(" All numbers")]]
    protocol = np.array(found["counts by protocol"])
    ratio = protocol[:, 0] / protocol[:, 1]
    real_ratio = found["real"]["anterior"]["counts"] / found["real"]["posterior"]["counts"]
    lines += [
        "",
        f"Counts by the protocol, {len(protocol)} patients: anterior {protocol[:, 0].min():,.0f} to "
        f"{protocol[:, 0].max():,.0f}, posterior {protocol[:, 1].min():,.0f} to {protocol[:, 1].max():,.0f}; anterior "
        f"over posterior {ratio.min():.2f} to {ratio.max():.2f}, real {real_ratio:.2f}.",
    ]
    for view in VIEWS:
        lines += [
            "",
            f"## {view.capitalize()}",
            "",
            "| | real | simulated, mean | lowest | highest |",
            "|---|---|---|---|---|",
        ]
        for name, value in found["real"][view].items():
            values = [v for v in found["simulated"][view][name] if v is not None]
            told = [value, float(np.mean(values)), min(values), max(values)] if values else [value, None, None, None]
            lines.append(f"| {name} | " + " | ".join("-" if v is None else f"{v:.4g}" for v in told) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, required=True, help="The real planar series.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for planar_realism.json and planar_realism.md.")
    given = parser.parse_args()
    found = run(given.series)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "planar_realism.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (given.out / "planar_realism.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
