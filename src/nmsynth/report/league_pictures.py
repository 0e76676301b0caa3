"""Pictures of a benchmark: one test image by every method, differences with intervals, validation curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes

from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.report.pictures import QUIET, Panel, Scale, nice_limit, panel_rows
from nmsynth.report.plots import MAIN_COLOUR, draw
from nmsynth.report.text import clean_for_picture

A_ROW = 6
"""Most panels in a row."""
CT_WINDOW = (-250.0, 450.0)
"""Window of CT [HU], from fat to bone."""
CURVE = (110, 30)
"""Width and height of a validation curve [pixels]."""

FloatImage = npt.NDArray[np.float32]


def curve_svg(curves: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Validation curves of all runs of a row, each over its best score, as a small drawing; ``None`` for no points.

    Drawn by hand: a line each, a dot at the best, and a shade over the last third, in which a training that has
    converged hardly improves.
    """
    width, height = CURVE
    parts = [f'<rect x="{width * 2 / 3:.1f}" y="0" width="{width / 3:.1f}" height="{height}" fill="#eef5fb"/>']
    lines = [[(p["step"], p["score"]) for p in curve["points"] if np.isfinite(p["score"])] for curve in curves]
    lines = [line for line in lines if line]
    if not lines:
        return None
    # relative to the best of each, from the best to twice that or to what is there
    relative = [np.asarray([score for _, score in line]) / max(min(s for _, s in line), 1e-12) for line in lines]
    top = min(max(float(np.max([r.max() for r in relative])), 1.05), 2.0)
    for line, values in zip(lines, relative, strict=True):
        last = max(step for step, _ in line)
        x = [2 + (width - 6) * step / last for step, _ in line]
        y = [2 + (height - 6) * (1 - (min(v, top) - 1) / (top - 1)) for v in values]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        best = int(values.argmin())
        parts.append(f'<polyline points="{points}" fill="none" stroke="{MAIN_COLOUR}" stroke-width="1.2"/>')
        parts.append(f'<circle cx="{x[best]:.1f}" cy="{y[best]:.1f}" r="2" fill="#c2410c"/>')
    inside = "".join(parts)
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="validation score over steps">{inside}</svg>'
    )


def difference_picture(rows: Sequence[Mapping[str, Any]], *, unit: str) -> bytes | None:
    """Paired difference of each method to the best baseline with its interval; ``None`` where there is none."""
    shown = [row for row in rows if row["to_baseline"] is not None]
    if not shown:
        return None
    to, metric = shown[0]["to_baseline"]["to"], shown[0]["to_baseline"]["of"]

    def paint(axes: Sequence[Axes]) -> None:
        """A line a method, the first on top; open where it is not ranked."""
        ax = axes[0]
        for place, row in enumerate(reversed(shown)):
            found = row["to_baseline"]
            colour = MAIN_COLOUR if row["kind"] == "model" else QUIET
            ax.plot((found["lower"], found["upper"]), (place, place), color=colour, linewidth=2.2)
            face = colour if row["rank"] is not None else "white"
            ax.plot(found["value"], place, "o", color=colour, markerfacecolor=face, markersize=8)
        ax.axvline(0.0, color="#111827", linewidth=1.2)
        ax.set_yticks(range(len(shown)), [clean_for_picture(row["method"]) for row in reversed(shown)])
        ax.set_ylim(-0.7, len(shown) - 0.3)
        ax.grid(visible=False, axis="y")
        label = {"mae": "MAE", "ssim": "SSIM"}.get(metric, metric.replace("_", " "))
        scale = f" [{unit}]" if metric not in ("ssim", "nrmse") and unit != "1" else ""
        ax.set_xlabel(clean_for_picture(f"{label} minus that of '{to}'{scale}", limit=80))

    return draw((900, 90 + 34 * len(shown)), 1, paint)


def example_picture(slices: Mapping[str, Path], *, modality: str, unit: str) -> bytes | None:
    """One test image by every method, beside its target and source; ``None`` where no slices are there.

    Parameters
    ----------
    slices
        ``.npz`` by method, as a run saves it.
    modality, unit
        Of the target.
    """
    if not slices:
        return None
    loaded = {}
    for method, path in slices.items():
        with np.load(path) as archive:
            loaded[method] = {name: archive[name] for name in archive.files}
    first = next(iter(loaded.values()))
    spacing = [float(s) for s in first["spacing_mm"]]
    n_z, n_x = first["target_coronal"].shape
    view = "coronal" if n_z * spacing[0] > 0.6 * n_x * spacing[2] else "axial"
    pixel = (spacing[0], spacing[2]) if view == "coronal" else (spacing[1], spacing[2])

    def picture(found: Mapping[str, Any], name: str) -> FloatImage:
        """A slice as it is looked at."""
        return _upright(np.asarray(found[f"{name}_{view}"]), np.asarray(found["affine"]), view)

    target = picture(first, "target")
    scale = _window(target, modality, unit)
    box = _around(target, -300.0 if scale.low < 0 else 0.05 * scale.high)
    target = target[box]
    panels = [Panel(target, pixel, scale, "target"), _source_panel(picture(first, "source")[box], target, pixel, scale)]
    for method, found in loaded.items():
        if found[f"prediction_{view}"].shape == first[f"target_{view}"].shape:
            panels.append(Panel(picture(found, "prediction")[box], pixel, scale, method, synthetic=True))
    rows = [panels[k : k + A_ROW] for k in range(0, len(panels), A_ROW)]
    return panel_rows(rows, max_height=430 if view == "coronal" else 300)


def _around(image: FloatImage, level: float, margin: int = 4) -> tuple[slice, slice]:
    """Box around what exceeds a level, with a margin [pixels]; the whole image where nothing does."""
    box = []
    for axis in range(2):
        hits = np.flatnonzero((image > level).any(axis=1 - axis))
        ends = (int(hits[0]) - margin, int(hits[-1]) + margin + 1) if hits.size else (0, image.shape[axis])
        box.append(slice(max(ends[0], 0), ends[1]))
    return box[0], box[1]


def _upright(array: FloatImage, affine: npt.NDArray[np.float64], view: str) -> FloatImage:
    """Head or front at the top, the patient's right at the left; the affine is from ``(z, y, x)`` to LPS."""
    if affine[0, 2] < 0:
        array = array[:, ::-1]
    if view == "coronal":
        return np.ascontiguousarray(array[::-1] if affine[2, 0] > 0 else array)
    return np.ascontiguousarray(array[::-1] if affine[1, 1] < 0 else array)


def _window(image: FloatImage, modality: str, unit: str) -> Scale:
    """Window of a kind of image: activity in inverse grey from zero, CT in grey."""
    if modality == "CT" and float(image.min()) < -100.0:
        return Scale(*CT_WINDOW, "HU", "gray")
    high = nice_limit(float(np.percentile(image[image > 0], 99.0)) if (image > 0).any() else 1.0)
    return Scale(0.0, high, clean_for_picture(unit), "gray_r" if modality in ACTIVITY_MODALITIES else "gray")


def _source_panel(source: FloatImage, target: FloatImage, pixel: tuple[float, float], scale: Scale) -> Panel:
    """The source, in the window of the target where its values are like those, else in one of its own."""
    low, high = float(np.percentile(source, 1)), float(np.percentile(source, 99.5))
    alike = low >= -0.1 * scale.high and 0.3 * scale.high < high < 10 * max(float(target.max()), 1e-6)
    if alike and scale.colours == "gray_r":
        return Panel(source, pixel, scale, "source")
    if low < -500.0:
        return Panel(source, pixel, Scale(*CT_WINDOW, "HU", "gray"), "source (own window)")
    return Panel(source, pixel, Scale(min(low, 0.0), max(high, 1e-6), "", "gray"), "source (own window)")
