"""Recovery against noise and against false structures, the Gaussian's curve beside each method's, as PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nmsynth.report.pictures import INK, QUIET
from nmsynth.report.plots import Row, colours_of, draw
from nmsynth.report.text import clean_for_picture

NOISE_KEY, FALSE_KEY = "noise", "false_structures"
"""Keys of a point across: COV as a fraction, structures per 100 slices."""

FALSE_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)
"""Ticks of the axis of false structures, which is linear to 1 and logarithmic above."""

NEAR_UP = 0.05
"""Difference of recovery below which the labels of two points would overlap."""

CURVE = 2
"""Points from which a method is a curve and not a marker."""

Curves = Mapping[str, Sequence[Row]]
"""Points by method: ``recovery``, ``noise``, ``false_structures``, ``setting``, ``lesions`` and bounds."""


def trade_off(curves: Curves, *, main: str | None) -> bytes | None:
    """Draw recovery against noise and against false structures; ``None`` where no point is complete.

    Parameters
    ----------
    curves
        Points by method. One with ``gauss`` in its name and several points is the dashed curve to compare with.
    main
        Method in question.
    """
    return trade_off_rows({"": curves}, main=main)


def trade_off_rows(levels: Mapping[str, Curves], *, main: str | None) -> bytes | None:
    """Draw one row of panels for each count level; see :func:`trade_off`."""
    keys = [
        key
        for key in (NOISE_KEY, FALSE_KEY)
        if any(len(complete(points, key)) for curves in levels.values() for points in curves.values())
    ]
    if not keys:
        return None
    names = list(dict.fromkeys(name for curves in levels.values() for name in curves))
    colours = colours_of(names, main if main in names else names[0])

    def paint(axes: Sequence[Axes]) -> None:
        panels = [(level, curves, key) for level, curves in levels.items() for key in keys]
        for position, (ax, (level, curves, key)) in enumerate(zip(axes, panels, strict=True)):
            for name, points in curves.items():
                _paint_method(ax, name, complete(points, key), key, colours[name], is_main=name == main)
            _finish(ax, key, level, _lesions_of(curves))
            if position == len(keys) - 1:
                ax.legend(fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return draw((620 * len(keys) + 260, 430 * len(levels) + 20), len(keys), paint, len(levels))


def complete(points: Sequence[Row], key: str) -> list[Row]:
    """Points that have a recovery and a value across."""
    return [point for point in points if _is_number(point.get(key)) and _is_number(point.get("recovery"))]


def _is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _across(point: Row, key: str) -> float:
    """Place of a point on the axis."""
    return float(point[key]) * (100.0 if key == NOISE_KEY else 1.0)


def _lesions_of(curves: Curves) -> str:
    """Which lesions the points are of."""
    found = {str(p["lesions"]) for points in curves.values() for p in points if p.get("lesions")}
    return "all lesions" if found <= {"all"} else f"lesions of {', '.join(sorted(found))}"


def _paint_method(ax: Axes, name: str, points: Sequence[Row], key: str, colour: str, *, is_main: bool) -> None:
    """Draw one method: a curve with its settings, or a marker."""
    if not points:
        return
    across = np.array([_across(p, key) for p in points])
    up = np.array([float(p["recovery"]) for p in points])
    gaussian = "gauss" in name.lower() and len(points) >= CURVE
    if gaussian:
        colour = QUIET
    style: dict[str, Any] = {"color": colour, "label": clean_for_picture(name), "zorder": 5 if is_main else 3}
    if len(points) < CURVE:
        ax.plot(across, up, "D", markersize=8 if is_main else 6.5, **style)
        return
    ax.plot(across, up, "o--" if gaussian else "o-", markersize=4 if gaussian else 7, linewidth=1.8, **style)
    if is_main:
        _paint_bounds(ax, points, across, colour)
    labels = [clean_for_picture(str(point.get("setting") or "")) for point in points]
    for text, x, y in _labels(labels, across, up, join=not gaussian):
        ax.annotate(
            text,
            (x, y),
            xytext=(7, -3) if gaussian else (-8, 7),
            textcoords="offset points",
            ha="left" if gaussian else "right",
            va="top" if gaussian else "bottom",
            fontsize=9.5,
            color=colour,
        )


def _labels(
    labels: Sequence[str], across: np.ndarray[Any, Any], up: np.ndarray[Any, Any], *, join: bool
) -> list[tuple[str, float, float]]:
    """Labels of points; of points that lie close together they are joined, or only the first is kept."""
    kept: list[tuple[str, float, float]] = []
    reach = max(float(np.ptp(across)), 1e-9)
    for text, x, y in zip(labels, across.tolist(), up.tolist(), strict=True):
        near = kept and abs(y - kept[-1][2]) < NEAR_UP and (join or abs(x - kept[-1][1]) < 0.5 * reach)
        if not near:
            kept.append((text, x, y))
        elif join:
            kept[-1] = (f"{kept[-1][0]}, {text}", kept[-1][1], kept[-1][2])
    return kept


def _paint_bounds(ax: Axes, points: Sequence[Row], across: np.ndarray[Any, Any], colour: str) -> None:
    """Draw the interval of each recovery as a thin upright line."""
    for point, x in zip(points, across, strict=True):
        low, high = point.get("recovery_lower"), point.get("recovery_upper")
        if low is not None and high is not None:
            ax.plot((x, x), (float(low), float(high)), color=colour, linewidth=1.0, alpha=0.45, zorder=2)


def _finish(ax: Axes, key: str, level: str, lesions: str) -> None:
    """Name the axes and choose their scales."""
    ax.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    ax.set_ylabel(f"contrast recovery, {clean_for_picture(lesions)}")
    if key == NOISE_KEY:
        ax.set_xlabel("noise: COV in the liver sphere [%]")
        ax.set_xlim(left=0.0)
    else:
        ax.set_xlabel("false structures per 100 slices")
        right = ax.get_xlim()[1]
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.5)
        ax.set_xlim(-0.15, max(1.5 * right, 3.0))
        ax.xaxis.set_major_locator(FixedLocator([t for t in FALSE_TICKS if t <= max(1.5 * right, 3.0)]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = ax.get_ylim()
    ax.set_ylim(max(min(low, 0.0), -0.5), min(max(high, 1.05), 2.0))
    if level:
        ax.set_title(clean_for_picture(level))
