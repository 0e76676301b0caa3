"""Curves and scatter plots of a report, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from nmsynth.metrics.agreement import bland_altman
from nmsynth.report.lesions import Lesion
from nmsynth.report.pictures import DPI, INK, QUIET, SETTINGS, as_png, banner_on
from nmsynth.report.projections import Image
from nmsynth.report.text import clean_for_picture

MAIN_COLOUR, SOURCE_COLOUR, REFERENCE_COLOUR = "#0b5fa5", "#9aa4ae", "#111827"
OTHER_COLOURS = ("#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#854d0e")
"""Colours of baselines, in their order."""

EARL1_MEAN = {
    10: (0.27, 0.43),
    13: (0.44, 0.60),
    17: (0.57, 0.73),
    22: (0.63, 0.78),
    28: (0.72, 0.85),
    37: (0.76, 0.89),
}
"""Smallest and largest SUVmean (50 % isocontour) recovery by sphere diameter [mm].

EARL, FDG-PET/CT accreditation specifications, January 2017 (18F standards 1), table 1.
"""

HISTOGRAM_BINS = 160

RECOVERY_LIMITS = (-0.5, 2.0)
"""Ends of the axis of recovery by size; values beyond are drawn at its edge."""

Row = Mapping[str, Any]


def colours_of(names: Sequence[str], main: str | None) -> dict[str, str]:
    """Colour of each image or method by its name and place."""
    fixed = {"source": SOURCE_COLOUR, "reference": REFERENCE_COLOUR, "truth": "#6b7280"}
    found = {}
    others = [name for name in names if name not in fixed and name != main]
    for name in names:
        if name == main:
            found[name] = MAIN_COLOUR
        elif name in fixed:
            found[name] = fixed[name]
        else:
            found[name] = OTHER_COLOURS[others.index(name) % len(OTHER_COLOURS)]
    return found


def draw(size: tuple[float, float], n_columns: int, paint: Callable[[Sequence[Axes]], None], n_rows: int = 1) -> bytes:
    """Make a figure of ``size`` pixels with a grid of axes, paint it, add the banner."""
    layout = ConstrainedLayoutEngine(rect=(0, 28 / size[1], 1, 1 - 30 / size[1]))
    with rc_context(SETTINGS):
        figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white", layout=layout)
        paint(list(figure.subplots(n_rows, n_columns, squeeze=False).ravel()))
        banner_on(figure)
        return as_png(figure)


def profiles(
    images: Mapping[str, Image],
    lesions: Sequence[Lesion],
    spacing_mm: tuple[float, float, float],
    *,
    unit: str,
    main: str | None,
    reach_mm: float = 45.0,
) -> bytes:
    """Profiles from right to left through the centres of lesions, every image in one plot."""
    colours = colours_of(list(images), main)
    columns = min(len(lesions), 3)
    rows = -(-len(lesions) // columns)

    def paint(axes: Sequence[Axes]) -> None:
        for ax, lesion in zip(axes, lesions, strict=False):
            _paint_profile(ax, lesion, images, spacing_mm, colours, main, reach_mm)
            ax.set(xlabel="from the centre, right to left of the patient [mm]", ylabel=clean_for_picture(unit))
        for ax in axes[len(lesions) :]:
            ax.set_visible(False)
        axes[columns - 1].legend(fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return draw((500 * columns + 140, 330 * rows + 40), columns, paint, rows)


def _paint_profile(
    ax: Axes,
    lesion: Lesion,
    images: Mapping[str, Image],
    spacing_mm: tuple[float, float, float],
    colours: Mapping[str, str],
    main: str | None,
    reach_mm: float,
) -> None:
    """Draw the profile through one lesion."""
    z, y, x = lesion.centre_index
    for name, array in images.items():
        n_z, n_y, n_x = array.shape
        row = array[min(max(round(z), 0), n_z - 1), min(max(round(y), 0), n_y - 1)]
        offset = (np.arange(n_x) - x) * spacing_mm[2]
        near = np.abs(offset) <= reach_mm
        wide, behind = (2.6, 3) if name == main else (1.6, 2)
        style = "--" if name in ("reference", "truth") else "-"
        ax.plot(
            offset[near],
            row[near],
            style,
            color=colours[name],
            linewidth=wide,
            zorder=behind,
            label=clean_for_picture(name),
        )
    ax.axvspan(-lesion.diameter_mm / 2, lesion.diameter_mm / 2, color="#fef3c7", zorder=0)
    contrast = "" if lesion.contrast is None else f", true contrast {lesion.contrast:.3g}"
    name = f"lesion {lesion.name}" if lesion.name.isdigit() else lesion.name
    ax.set_title(clean_for_picture(f"{name}: {lesion.diameter_mm:.3g} mm{contrast}", limit=48))


def agreement(rows: Sequence[Row], arms: Sequence[str], *, unit: str, main: str | None) -> bytes:
    """Bland-Altman plots of lesion SUVpeak and SUVmean; limits of agreement for the main arm."""
    colours = colours_of(arms, main)

    def paint(axes: Sequence[Axes]) -> None:
        for ax, key, name in zip(axes, ("peak", "mean"), ("SUVpeak", "SUVmean"), strict=True):
            for arm in arms:
                pairs = paired(rows, arm, key)
                if len(pairs):
                    ax.scatter(
                        pairs.mean(axis=1),
                        pairs[:, 0] - pairs[:, 1],
                        s=46 if arm == main else 26,
                        color=colours[arm],
                        alpha=0.9 if arm == main else 0.55,
                        label=clean_for_picture(arm),
                        linewidths=0,
                    )
                if arm == main:
                    _paint_limits(ax, pairs, colours[arm])
            ax.axhline(0.0, color=INK, linewidth=0.8)
            ax.set_title(f"lesion {name}")
            ax.set(
                xlabel=f"mean of image and reference, {clean_for_picture(unit)}",
                ylabel=f"image − reference, {clean_for_picture(unit)}",
            )
            ax.margins(x=0.08, y=0.15)
        axes[1].legend(fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return draw((1460, 430), 2, paint)


def _paint_limits(ax: Axes, pairs: np.ndarray[Any, Any], colour: str) -> None:
    """Draw bias and limits of agreement where there are at least three pairs."""
    limits = bland_altman(pairs[:, 0], pairs[:, 1]) if len(pairs) >= 3 else None
    if limits is None:
        return
    for value, style in ((limits.bias, "-"), (limits.lower_limit, "--"), (limits.upper_limit, "--")):
        ax.axhline(value, color=colour, linestyle=style, linewidth=1.3)
        ax.annotate(
            f"{value:+.2f}".replace("-", "−"),
            (1.0, value),
            xycoords=("axes fraction", "data"),
            fontsize=10,
            color=colour,
            ha="right",
            va="bottom",
        )


def paired(rows: Sequence[Row], arm: str, key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values of an arm and of the reference, shape ``(n, 2)``, of the lesions that have both."""
    pairs = [
        (row[key], row[f"{key}_reference"])
        for row in rows
        if row.get("arm") == arm and _number(row.get(key)) and _number(row.get(f"{key}_reference"))
    ]
    return np.asarray(pairs, dtype=np.float64).reshape(-1, 2)


def _number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def joint_histogram(
    pairs: Mapping[str, Image], reference: Image, *, limit: float, floor: float, unit: str, reference_name: str
) -> bytes:
    """Joint histograms of images (upright) and the reference (across), counts on a logarithmic scale.

    Voxels where either exceeds ``floor`` are counted; values above ``limit`` are counted in the last bin.
    """
    edges = np.linspace(0.0, limit, HISTOGRAM_BINS + 1)

    def paint(axes: Sequence[Axes]) -> None:
        for ax, (name, array) in zip(axes, pairs.items(), strict=True):
            inside = (array > floor) | (reference > floor)
            across, up = np.clip(reference[inside], 0, limit), np.clip(array[inside], 0, limit)
            counts, _, _ = np.histogram2d(across, up, bins=(edges, edges))
            if counts.any():
                drawn = ax.pcolormesh(
                    edges,
                    edges,
                    np.ma.masked_equal(counts.T, 0),
                    cmap="YlGnBu",
                    rasterized=True,
                    norm=LogNorm(1, max(counts.max(), 2)),
                )
                ax.figure.colorbar(drawn, ax=ax, label="voxels", shrink=0.75, format=FuncFormatter(_plain_count))
            else:
                ax.text(0.5, 0.5, "no voxel above the floor", transform=ax.transAxes, ha="center", color=QUIET)
            ax.plot((0, limit), (0, limit), color=INK, linewidth=0.9, linestyle="--")
            ax.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
            ax.set(xlabel=f"{clean_for_picture(reference_name)}, {clean_for_picture(unit)}", ylabel="image")
            ax.set_title(clean_for_picture(name))

    return draw((470 * len(pairs) + 20, 440), len(pairs), paint)


def _plain_count(value: float, _: int | None = None) -> str:
    """Print a tick without mathematics."""
    return f"{value:g}"


def recovery_by_size(rows: Sequence[Row], arms: Sequence[str], *, main: str | None, reference_name: str) -> bytes:
    """Contrast recovery of lesions against their diameter, over the EARL1 band."""
    colours = colours_of(arms, main)

    def paint(axes: Sequence[Axes]) -> None:
        ax = axes[0]
        low, high = zip(*EARL1_MEAN.values(), strict=True)
        ax.fill_between(list(EARL1_MEAN), low, high, color="#dbeafe", alpha=0.85, linewidth=0, label="EARL1, SUVmean")
        for arm in arms:
            points = np.asarray(
                [
                    (row["diameter_mm"], row["recovery"])
                    for row in rows
                    if row.get("arm") == arm and _number(row.get("recovery")) and _number(row.get("diameter_mm"))
                ]
            ).reshape(-1, 2)
            if len(points):
                _scatter_clipped(ax, points, colours[arm], arm, is_main=arm == main)
        ax.axhline(1.0, color=INK, linewidth=0.9, linestyle="--")
        ax.set(xlabel="lesion diameter [mm]", ylabel=f"contrast recovery against {clean_for_picture(reference_name)}")
        low_y, high_y = RECOVERY_LIMITS
        ax.set_ylim(max(min(ax.get_ylim()[0], 0.0), low_y - 0.1), min(max(ax.get_ylim()[1], 1.1), high_y + 0.1))
        ax.legend(fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return draw((1460, 430), 1, paint)


def _scatter_clipped(
    ax: Axes, points: np.ndarray[Any, np.dtype[np.float64]], colour: str, name: str, *, is_main: bool
) -> None:
    """Draw points of recovery by size; one beyond the axis stands at its edge as a triangle."""
    low, high = RECOVERY_LIMITS
    clipped = np.clip(points[:, 1], low, high)
    size, label = (52 if is_main else 28), clean_for_picture(name)
    for marker, chosen in (
        ("o", clipped == points[:, 1]),
        ("^", points[:, 1] > high),
        ("v", points[:, 1] < low),
    ):
        if chosen.any():
            own = label if marker == "o" else None
            ax.scatter(
                points[chosen, 0],
                clipped[chosen],
                s=size,
                marker=marker,
                color=colour,
                label=own,
                linewidths=0,
                zorder=4 if is_main else 3,
            )
