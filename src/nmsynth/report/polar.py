"""Polar maps of the left ventricle side by side: source, synthetic image and reference, and what differs, as PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmsynth.core.myocardium import segment_number
from nmsynth.report.figures import Picture
from nmsynth.report.pictures import INK, QUIET
from nmsynth.report.plots import draw
from nmsynth.report.text import clean_for_picture

SIDE = 181
"""Pixels along each side of a map."""
APEX_RADIUS = 0.25
"""Of the apical segment in the disc, as it is usually drawn: base at the rim, thirds of the cavity a quarter each."""
RINGS = (APEX_RADIUS, 0.5, 0.75, 1.0)
"""Radii at which the segments of a ring end."""
QUARTERS, SIXTHS = range(45, 360, 90), range(0, 360, 60)
"""Angles of the borders in the apical ring, and in the others [degrees]."""
LARGEST = 110.0
"""End of the scale of maps [% of the best perfused half]."""
LARGEST_DIFFERENCE = 30.0
"""End of the scale of differences [percentage points]."""
ROLES = ("source", "prediction", "full counts", "reference")
"""Maps that are drawn, in this order."""
TITLES = {"prediction": "synthetic"}
Image = npt.NDArray[np.float64]


def polar_picture(metrics: Mapping[str, Mapping[str, Any]] | None, reference_name: str) -> Picture | None:
    """Polar maps of an evaluation; ``None`` where it has none.

    Parameters
    ----------
    metrics
        JSON of evaluations by name; the first that holds ``polar_maps`` is drawn.
    reference_name
        Of what the maps are compared with, in words.
    """
    found = next((d["polar_maps"] for d in (metrics or {}).values() if d.get("polar_maps")), None)
    if found is None:
        return None
    maps = {name: found["maps"][name] for name in ROLES if name in found["maps"]}
    discs = {name: disc(_numbers(m["values"]), _numbers(found["height"])) for name, m in maps.items()}
    panels = [(TITLES.get(name, name), _told(maps[name]), discs[name], maps[name]["segments"]) for name in maps]
    differs = {"prediction", "reference"} <= set(maps)

    def paint(axes: Sequence[Axes]) -> None:
        shown = None
        for ax, (title, told, image, segments) in zip(axes, panels, strict=False):
            shown = _paint(ax, title, image, segments, "inferno", (0.0, LARGEST))
            ax.text(0, -1.27, told, ha="center", va="center", fontsize=9.5)
        _bar(axes[len(panels) - 1], shown, "% of the best perfused half")
        if differs:
            points = [
                _less(a, b) for a, b in zip(*(maps[n]["segments"] for n in ("prediction", "reference")), strict=True)
            ]
            difference = discs["prediction"] - discs["reference"]
            limits = (-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
            drawn = _paint(axes[-1], "synthetic − reference", difference, points, "RdBu_r", limits, signed=True)
            _bar(axes[-1], drawn, "percentage points")

    n_panels = len(panels) + differs
    return Picture(
        draw((320 * n_panels + 130, 370), n_panels, paint),
        "Polar maps of the left ventricle, apex in the middle, base at the rim, all sampled along the same rays "
        f"through the same wall, against {reference_name}. Numbers: means of the 17 segments in percent of the best "
        "perfused half of the wall (of the difference: percentage points, blue where the synthetic image shows less). "
        "A defect that the reference shows and the synthetic image does not was filled; one that only the synthetic "
        "image shows is false.",
        "Polar maps with the 17 segments of the left ventricle",
    )


def disc(values: Image, height: Image) -> Image:
    """A polar map as a picture, shape ``(SIDE, SIDE)``, lateral wall to the right, anterior one up; NaN outside.

    Parameters
    ----------
    values
        Shape ``(ring, angle)``, base first; NaN where a ray missed the wall.
    height
        0 at the base, 1 at the apical end of the cavity, same shape; beyond it the rings share the apical disc.

    Examples
    --------
    >>> rings = np.repeat(np.arange(4.0)[:, None], 36, axis=1)
    >>> picture = disc(rings, rings / 3)
    >>> float(picture[SIDE // 2, SIDE // 2]), bool(np.isnan(picture[0, 0]))
    (3.0, True)
    """
    axis = np.linspace(1.0, -1.0, SIDE)
    up, right = np.meshgrid(axis, -axis, indexing="ij")
    radius, angle = np.hypot(up, right), np.mod(np.degrees(np.arctan2(up, right)), 360.0)
    n_angles = values.shape[1]
    column = np.minimum((angle / 360.0 * n_angles).astype(int), n_angles - 1)
    picture = np.full(radius.shape, np.nan)
    for k in range(n_angles):
        known = np.isfinite(values[:, k])
        inside = (column == k) & (radius <= 1.0)
        if known.any():
            radii = _radii(height[:, k])[known]
            order = np.argsort(radii)
            picture[inside] = np.interp(radius[inside], radii[order], values[known, k][order])
    return picture


def _radii(height: Image) -> Image:
    """Radius in the disc of the rings at one angle."""
    radii = 1.0 - (1.0 - APEX_RADIUS) * np.minimum(np.nan_to_num(height, nan=1.0, posinf=1.0), 1.0)
    beyond = np.flatnonzero(~(height < 1.0))
    radii[beyond] = APEX_RADIUS * (1.0 - (np.arange(beyond.size) + 0.5) / max(beyond.size, 1))
    return np.asarray(radii)


def _paint(
    ax: Axes, title: str, image: Image, segments: Sequence[float | None], colours: str, limits: tuple[float, float],
    *, signed: bool = False,
) -> Any:  # fmt: skip
    """Draw one map with the borders of its segments and their means."""
    drawn = ax.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], extent=(-1, 1, -1, 1), interpolation="none")
    around = np.radians(np.linspace(0, 360, 181))
    line: dict[str, Any] = {"color": INK if signed else "white", "linewidth": 0.8, "alpha": 0.7}
    for radius in RINGS:
        ax.plot(radius * np.cos(around), radius * np.sin(around), **line)
    for angles, inner, outer in ((QUARTERS, RINGS[0], RINGS[1]), (SIXTHS, RINGS[1], RINGS[3])):
        for angle in np.radians(list(angles)):
            ends = np.array([inner, outer])
            ax.plot(ends * math.cos(angle), ends * math.sin(angle), **line)
    for (x, y), value in zip(_middles(), segments, strict=True):
        if value is not None:
            part = (value - limits[0]) / (limits[1] - limits[0])
            dark = abs(part - 0.5) > 0.35 if signed else part < 0.6
            text = f"{value:+.0f}" if signed else f"{value:.0f}"
            ax.text(x, y, text, ha="center", va="center", fontsize=9.5, color="white" if dark else INK)
    ax.set_title(clean_for_picture(title), loc="center", fontsize=12)
    for x, y, letter in ((0, 1.09, "anterior"), (0, -1.09, "inferior")):
        ax.text(x, y, letter, ha="center", va="center", fontsize=8.5, color=QUIET)
    for x, letter, turn in ((-1.09, "septal", 90), (1.09, "lateral", -90)):
        ax.text(x, 0, letter, ha="center", va="center", rotation=turn, fontsize=8.5, color=QUIET)
    ax.set(xlim=(-1.18, 1.18), ylim=(-1.36, 1.18), aspect="equal")
    ax.axis("off")
    return drawn


def _middles() -> list[tuple[float, float]]:
    """Where the number of each of the 17 segments is written."""
    places: dict[int, tuple[float, float]] = {17: (0.0, 0.0)}
    for radius, height, angles in (
        (0.375, 0.9, range(0, 360, 90)), (0.625, 0.5, range(30, 360, 60)), (0.875, 0.1, range(30, 360, 60)),
    ):  # fmt: skip
        for angle in angles:
            x, y = (radius * f(math.radians(angle)) for f in (math.cos, math.sin))
            places[int(segment_number(height, angle))] = (x, y)
    return [places[number] for number in sorted(places)]


def _bar(ax: Axes, drawn: Any, label: str) -> None:
    """Scale beside a panel."""
    figure = ax.figure
    if drawn is not None and isinstance(figure, Figure):
        figure.colorbar(drawn, ax=ax, label=label, shrink=0.75)


def _told(found: Mapping[str, Any]) -> str:
    """Deficit and score of a map, where limits were given."""
    if "total_perfusion_deficit" not in found:
        return ""
    return f"TPD {found['total_perfusion_deficit']:.1f} %, summed score {found['summed_score']}"


def _numbers(rows: Sequence[Sequence[float | None]]) -> Image:
    """Numbers of a map, NaN for null."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64)


def _less(value: float | None, other: float | None) -> float | None:
    """Difference of two numbers that are known."""
    return None if value is None or other is None else value - other
