"""Panels of images in one window, with letters, bars, a scale in millimetres and the research banner, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from nmsynth.report.text import clean_for_picture

BANNER = "SYNTHETIC — RESEARCH USE ONLY, NOT FOR DIAGNOSIS"
"""Printed on every picture and at the top of the page."""

DPI = 100
"""Pixels an inch of every picture."""

WIDTH = 1640
"""Widest picture [pixels]."""

INK, QUIET, ALARM = "#1c2530", "#66717d", "#9a3412"
"""Colours of text, of secondary text, and of the banner."""

GAP, TITLE, BAR, FOOT, LEFT = 12, 30, 112, 30, 6
"""Space between panels, above each, right of the last, and below and left of all [pixels]."""

SETTINGS: Any = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": "#9aa4ae",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e8ec",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
}
"""Style of every picture; text is never parsed as mathematics."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A colour scale shared by panels."""

    low: float
    high: float
    label: str
    colours: str = "gray_r"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: shape ``(row, column)`` with its pixel size [mm]."""

    picture: npt.NDArray[np.float32]
    pixel_mm: tuple[float, float]
    scale: Scale
    title: str = ""
    marks: tuple[str, str] = ("R", "L")
    synthetic: bool = False
    cross: tuple[int, int] | None = None
    outline: npt.NDArray[np.bool_] | None = None
    """Region whose edge is drawn, of the shape of the picture."""

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width [mm]."""
        rows, columns = self.picture.shape
        return max(rows, 1) * self.pixel_mm[0], max(columns, 1) * self.pixel_mm[1]


def as_png(figure: Figure) -> bytes:
    """Render a figure without a date or a program's name in it."""
    buffer = io.BytesIO()
    with rc_context(SETTINGS):
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def banner_on(figure: Figure) -> None:
    """Write the research banner at the lower edge of a figure."""
    height = figure.get_figheight() * DPI
    figure.text(0.5, 7 / height, BANNER, ha="center", va="bottom", fontsize=10.5, color=ALARM, fontweight="bold")


def panel_rows(
    rows: Sequence[Sequence[Panel]], *, max_height: int = 620, rulers: bool = True, banner: bool = True
) -> bytes:
    """Lay panels out in rows, all at one scale in mm, with one bar a row.

    Parameters
    ----------
    rows
        Panels of each row, which share one scale of colours.
    max_height
        Tallest panel [pixels].
    rulers
        Draw a length of 100 mm (or 20 mm) in the first panel of each row.
    banner
        Write that images are synthetic; off only where none is.
    """
    zooms = [_pixels_per_mm(row, max_height) for row in rows]
    zooms = [min(zooms)] * len(rows)
    heights = [max(p.size_mm[0] for p in row) * zoom for row, zoom in zip(rows, zooms, strict=True)]
    widths = [
        sum(p.size_mm[1] for p in row) * zoom + GAP * (len(row) - 1) for row, zoom in zip(rows, zooms, strict=True)
    ]
    width = max(LEFT + max(widths) + BAR, 520)
    height = sum(heights) + TITLE * len(rows) + GAP * (len(rows) - 1) + FOOT
    with rc_context(SETTINGS):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        top = height
        for row, zoom, tall in zip(rows, zooms, heights, strict=True):
            top -= TITLE
            _draw_row(figure, row, zoom, top, tall, (width, height), rulers=rulers)
            top -= tall + GAP
        if banner:
            banner_on(figure)
        return as_png(figure)


def _pixels_per_mm(row: Sequence[Panel], max_height: int) -> float:
    """Largest zoom at which a row keeps to the width and the height allowed."""
    room = WIDTH - LEFT - BAR - GAP * (len(row) - 1)
    return min(room / sum(p.size_mm[1] for p in row), max_height / max(p.size_mm[0] for p in row))


def _draw_row(
    figure: Figure,
    row: Sequence[Panel],
    zoom: float,
    top: float,
    tall: float,
    canvas: tuple[float, float],
    *,
    rulers: bool,
) -> None:
    """Draw one row of panels and its bar; ``top`` is its upper edge in pixels from below."""
    width, height = canvas
    left = float(LEFT)
    drawn: AxesImage | None = None
    for position, panel in enumerate(row):
        h, w = panel.size_mm[0] * zoom, panel.size_mm[1] * zoom
        axes = figure.add_axes((left / width, (top - h) / height, w / width, h / height))
        drawn = _draw_panel(axes, panel, w)
        if rulers and position == 0:
            _draw_ruler(axes, panel)
        left += w + GAP
    if drawn is None:
        return
    bar_height = min(tall, 300.0)
    bar = figure.add_axes(((left + 2) / width, (top - bar_height) / height, 14 / width, bar_height / height))
    colourbar = figure.colorbar(drawn, cax=bar)
    colourbar.ax.tick_params(labelsize=10.5, length=3)
    colourbar.ax.grid(visible=False)
    colourbar.set_label(row[0].scale.label, fontsize=11)


def _draw_panel(axes: Axes, panel: Panel, width_pixels: float) -> AxesImage:
    """Draw one picture with its title and letters."""
    rows, columns = panel.picture.shape
    drawn = axes.imshow(
        panel.picture,
        cmap=panel.scale.colours,
        vmin=panel.scale.low,
        vmax=panel.scale.high,
        aspect="auto",
        interpolation="bilinear",
        interpolation_stage="data",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#c9d0d7", linewidth=0.8)
    if panel.title:
        room = max(int(width_pixels / 9.5), 6)
        axes.set_title(clean_for_picture(panel.title, limit=room), fontsize=12.5, pad=5)
    for x, letter, side in ((0.015, panel.marks[0], "left"), (0.985, panel.marks[1], "right")):
        _label(axes, x, 0.985, letter, side, "top", fontsize=12)
    if panel.synthetic:
        _label(axes, 0.985, 0.01, "SYNTHETIC", "right", "bottom", fontsize=9, color=ALARM)
    if panel.outline is not None and panel.outline.any() and not panel.outline.all():
        axes.contour(panel.outline, levels=[0.5], colors="#c2410c", linewidths=1.2)
    if panel.cross is not None:
        _draw_cross(axes, panel.cross, rows, columns)
    return drawn


def _label(
    axes: Axes, x: float, y: float, text: str, side: str, edge: str, *, fontsize: float, color: str = INK
) -> None:
    """Write a word over a picture, legible on black and on white; ``x`` and ``y`` are fractions of the picture."""
    written = axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        fontsize=fontsize,
        fontweight="bold",
        color=color,
        horizontalalignment=side,
        verticalalignment=edge,
    )
    written.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _draw_cross(axes: Axes, cross: tuple[int, int], rows: int, columns: int) -> None:
    """Mark a row and a column by ticks at the picture's edges, which hide nothing."""
    row, column = cross
    for x in ((-0.5, 0.06 * columns - 0.5), (0.94 * columns - 0.5, columns - 0.5)):
        axes.plot(x, (row, row), color="#c2410c", linewidth=1.6)
    for y in ((-0.5, 0.06 * rows - 0.5), (0.94 * rows - 0.5, rows - 0.5)):
        axes.plot((column, column), y, color="#c2410c", linewidth=1.6)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _draw_ruler(axes: Axes, panel: Panel) -> None:
    """Draw a bar of a round length along the lower edge."""
    rows, columns = panel.picture.shape
    length = next((mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm < 0.4 * panel.size_mm[1]), 1)
    start, row = 0.03 * columns - 0.5, 0.955 * rows - 0.5
    axes.plot((start, start + length / panel.pixel_mm[1]), (row, row), color=INK, linewidth=2.2)
    written = axes.text(start, row - 0.012 * rows, f"{length} mm", fontsize=9.5, va="bottom", color=INK)
    written.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def nice_limit(value: float) -> float:
    """Smallest of 1, 2, 3, 5, 7 times a power of ten that is at least ``value``; 1 where it is not positive.

    Examples
    --------
    >>> nice_limit(0.34), nice_limit(6.1), nice_limit(0.0)
    (0.5, 7.0, 1.0)
    """
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    step = next((s for s in (1, 2, 3, 5, 7, 10) if s * power >= value * (1 - 1e-9)), 10)
    return float(f"{step * power:.6g}")
