"""The pictures of a report, made from a scene, each with its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmsynth.metrics.regions import smooth
from nmsynth.report import plots
from nmsynth.report.pictures import Panel, Scale, nice_limit, panel_rows
from nmsynth.report.projections import (
    VIEWS,
    Image,
    View,
    body_box,
    crosshair,
    cut,
    marks,
    pixel_mm,
    project,
)
from nmsynth.report.scene import HISTOGRAM_FLOOR, RELATIVE_FLOOR, Scene

PER_ROW = 3
"""Most images in one row of projections."""

FEW = 2
"""Most images that are shown as rows and not as columns of the three planes."""

DETAIL_MM = 90.0
"""Half of the side of the detail around the largest difference [mm]."""

SHORT_NAMES = {"coronal": "anterior", "sagittal": "lateral"}

RELATIVE_LIMIT = 50.0
"""End of the scale of relative differences [%]."""

SMOOTHING_MM = 6.0
"""FWHM of the smoothing before the largest difference is looked for [mm]."""

END_SLICES = 2
"""Slices left out at each end where the largest difference is looked for: noise is highest there."""

SURROUNDINGS = 0.3
"""Of the window: least uptake that the largest difference is weighed by, so that air does not win."""

N_PROFILES = 6
N_HISTOGRAMS = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered picture with what to say under it and in its place for readers who cannot see it."""

    png: bytes
    caption: str
    alt: str


def _look_at(scene: Scene) -> str:
    """What to compare in planes."""
    if scene.is_activity:
        return "edges, small foci and the texture of the liver"
    return "the outline of the body, and whether bones and air lie where they should"


class Painter:
    """Draws the image panels of one scene, cropped to the body, each kind of image in one window."""

    def __init__(self, scene: Scene, reference_name: str) -> None:
        self.scene = scene
        self.reference_name = reference_name
        spacing = scene.grid.spacing_mm
        alike = [scene.images[name] for name in scene.alike]
        self.box = body_box(alike, scene.body_level, margin_mm=15.0, spacing_mm=spacing)
        self.images = {name: array[self.box] for name, array in scene.images.items()}
        self.window = scene.scales[scene.alike[0]]

    def panel(
        self,
        picture: Image,
        view: View,
        scale: Scale,
        title: str,
        *,
        synthetic: bool,
        cross: tuple[int, int] | None = None,
    ) -> Panel:
        """Panel of a picture of the cropped grid."""
        size = pixel_mm(self.scene.grid.spacing_mm, view)
        return Panel(picture, size, scale, title, marks(view), synthetic, cross)

    def projections(self) -> Picture | None:
        """Maximum-intensity projections of every image, anterior and lateral; none of CT and MR: they say little."""
        if not self.scene.is_activity:
            return None
        names = list(self.scene.alike)
        n_rows = -(-len(names) // PER_ROW)
        per_row = -(-len(names) // n_rows)
        rows = [
            [
                self.panel(
                    project(self.images[name], view),
                    view,
                    self.window,
                    f"{name}, {SHORT_NAMES[view]}" if view == "coronal" else SHORT_NAMES[view],
                    synthetic=name in self.scene.synthetic,
                )
                for name in names[start : start + per_row]
                for view in ("coronal", "sagittal")
            ]
            for start in range(0, len(names), per_row)
        ]
        return Picture(
            panel_rows(rows),
            f"Maximum-intensity projections, anterior and lateral, inverse linear grey, {self._window_text()}, the "
            "same in every panel. Look for foci that appear in the synthetic image alone, and for faint ones that it "
            "lost.",
            "Maximum-intensity projections of every image",
        )

    def _window_text(self) -> str:
        """The window in words."""
        low, high = (f"{value:g}".replace("-", "−") for value in (self.window.low, self.window.high))
        other = sorted({s.label for name, s in self.scene.scales.items() if name not in self.scene.alike})
        return f"{self.scene.unit} {low}–{high}" + (f" (the source in its own window, {other[0]})" if other else "")

    def planes(self) -> Picture:
        """Axial, coronal and sagittal planes through the point: one row a plane, or one an image where they are few."""
        point = self._cropped(self.scene.point)
        rows = [
            [
                self.panel(
                    cut(array, view, point),
                    view,
                    self.scene.scales[name],
                    name,
                    synthetic=name in self.scene.synthetic,
                    cross=crosshair(view, point, array.shape),
                )
                for name, array in self.images.items()
            ]
            for view in VIEWS
        ]
        if len(self.images) <= FEW or len(self.scene.alike) < len(self.images):  # a row has one bar
            rows = [list(row) for row in zip(*rows, strict=True)]
        return Picture(
            panel_rows(rows, max_height=430),
            f"Axial, coronal and sagittal planes through {self.scene.point_name}, {self._window_text()}; the ticks at "
            f"the edges point at it. Compare {_look_at(self.scene)}.",
            f"Three planes through one point of {', '.join(self.images)}",
        )

    def _cropped(self, point: tuple[int, int, int]) -> tuple[int, int, int]:
        """Index inside the crop, clipped to it."""
        shape = next(iter(self.images.values())).shape
        z, y, x = (min(max(i - part.start, 0), n - 1) for i, part, n in zip(point, self.box, shape, strict=True))
        return z, y, x

    def differences(self) -> list[Picture]:
        """Difference and relative difference of every image to the reference; the place of the largest difference."""
        reference = self.scene.reference
        if reference is None or len(self.scene.alike) < 2:
            return []
        expected = self.images[reference]
        maps = {name: self.images[name] - expected for name in self.scene.alike if name not in (reference, "truth")}
        if not maps:
            return []
        main = self.scene.main if self.scene.main in maps else next(iter(maps))
        body = expected > self.scene.body_level
        values = np.abs(maps[main])[body]
        limit = min(nice_limit(float(np.percentile(values, 99.5))) if values.size else 1.0, self.scene.window)
        scale = Scale(-limit, limit, f"difference, {self.scene.unit}", "RdBu_r")
        point = self._cropped(self.scene.point)
        views: tuple[View, ...] = VIEWS if len(maps) == 1 else ("coronal",)
        absolute = [self._difference_panel(n, array, view, point, scale) for n, array in maps.items() for view in views]
        ratio = Scale(-RELATIVE_LIMIT, RELATIVE_LIMIT, "relative difference, %", "RdBu_r")
        relative = [
            self._difference_panel(name, self._relative(array, expected), view, point, ratio)
            for name, array in maps.items()
            for view in views
        ]
        return [
            Picture(
                panel_rows([absolute, relative] if self.scene.is_activity else [absolute], max_height=430),
                self._difference_caption(limit),
                "Maps of the difference",
            ),
            self._largest(main, maps[main], expected, scale, limit),
        ]

    def _difference_caption(self, limit: float) -> str:
        """What the maps of differences show and what to look for."""
        floor = RELATIVE_FLOOR * self.scene.window
        look = (
            "A map that shows the outline of organs or lesions means that signal was lost or added, not only noise."
            if self.scene.has_truth
            else "The difference to the source should look like noise alone: the outline of an organ or a lesion in it "
            "is signal that the model removed or added."
        )
        if not self.scene.is_activity:
            return (
                f"Image − {self.reference_name}, through {self.scene.point_name}: ±{limit:g} {self.scene.unit}. Red is "
                f"too high, blue too low. {look}"
            )
        return (
            f"Image − {self.reference_name}, through {self.scene.point_name}. Upper row: difference, "
            f"±{limit:g} {self.scene.unit}; lower row: relative difference, ±{RELATIVE_LIMIT:g} %, where the reference "
            f"exceeds {floor:.3g}. Red is too high, blue too low. {look}"
        )

    def _difference_panel(
        self, name: str, array: Image, view: View, point: tuple[int, int, int], scale: Scale
    ) -> Panel:
        """Panel of one map."""
        return self.panel(
            cut(array, view, point),
            view,
            scale,
            f"{name} − {self.short_reference}",
            synthetic=name in self.scene.synthetic,
        )

    @property
    def short_reference(self) -> str:
        """Short name of what differences are taken to."""
        return str(self.scene.reference)

    def _relative(self, difference: Image, expected: Image) -> Image:
        """Relative difference [%]; 0 where the reference is at or below the floor."""
        inside = expected > RELATIVE_FLOOR * self.scene.window
        safe = np.where(inside, expected, 1.0)
        return np.where(inside, 100.0 * difference / safe, 0.0).astype(np.float32)

    def _largest(self, main: str, difference: Image, expected: Image, scale: Scale, limit: float) -> Picture:
        """Detail around the place where the smoothed difference of the main image is largest for its surroundings."""
        spacing = self.scene.grid.spacing_mm
        smoothed = smooth(difference, SMOOTHING_MM, spacing)
        weighed = np.abs(smoothed)
        if self.scene.is_activity:
            weighed = weighed / np.maximum(expected, SURROUNDINGS * self.scene.window)
        if len(weighed) > 4 * END_SLICES:
            weighed[:END_SLICES] = weighed[-END_SLICES:] = 0.0
        place = [int(i) for i in np.unravel_index(int(np.argmax(weighed)), weighed.shape)]
        box = tuple(
            slice(max(i - round(DETAIL_MM / s), 0), i + round(DETAIL_MM / s) + 1)
            for i, s in zip(place, spacing, strict=True)
        )
        z, y, x = (i - part.start for i, part in zip(place, box, strict=True))
        rows = [
            [
                self.panel(
                    cut(array[box], view, (z, y, x)),
                    view,
                    own,
                    name if view == "axial" else view,
                    synthetic=name != self.short_reference,
                    cross=crosshair(view, (z, y, x), array[box].shape),
                )
                for view in VIEWS
            ]
            for name, array, own in (
                (self.short_reference, expected, self.window),
                (main, self.images[main], self.window),
                ("difference", difference, scale),
            )
        ]
        value = f"{float(smoothed[tuple(place)]):+.2f}".replace("-", "−")
        return Picture(
            panel_rows(rows, max_height=300),
            f"The place where the {main} image departs most from {self.reference_name}"
            f"{', in proportion to the uptake' if self.scene.is_activity else ''}: {value} {self.scene.unit} after "
            f"smoothing by {SMOOTHING_MM:g} mm, where the {self.short_reference} has "
            f"{float(expected[tuple(place)]):.2f}. Axial, coronal, sagittal; difference ±{limit:g} {self.scene.unit}. "
            "Judge whether it is noise, an edge, or a structure gained or lost.",
            "Three planes through the largest difference",
        )


def lesion_pictures(scene: Scene, rows: Sequence[Mapping[str, Any]], reference_name: str) -> list[Picture]:
    """Profiles through lesions, agreement of their uptake, and recovery against their size."""
    found = []
    if scene.lesions:
        chosen = _spread(scene)
        shown = {name: scene.images[name] for name in scene.alike[:N_PROFILES]}
        found.append(
            Picture(
                plots.profiles(shown, chosen, scene.grid.spacing_mm, unit=scene.unit, main=scene.main),
                "Profiles through lesions, from the largest to the smallest; the yellow band is the lesion's diameter. "
                "A peak lower than the reference's is lost contrast; a wider one is lost resolution.",
                "Profiles of every image through lesions",
            )
        )
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    if not arms:
        return found
    main = scene.main if scene.main in arms else arms[0]
    arms = [main, *(arm for arm in arms if arm != main)]
    found.append(
        Picture(
            plots.agreement(rows, arms, unit=scene.unit, main=main),
            f"Bland–Altman: difference to {reference_name} against the mean of both, by lesion. Lines: bias and 95 % "
            f"limits of agreement (±1.96 SD) of {main}, where there are three lesions or more. A slope means that hot "
            "lesions lose more than faint ones.",
            "Bland-Altman plots of lesion SUVpeak and SUVmean",
        )
    )
    found.append(
        Picture(
            plots.recovery_by_size(rows, arms, main=main, reference_name=scene.reference or "the reference"),
            f"Contrast recovery (lesion − ring) against {reference_name}, by diameter. The band holds the limits "
            "of EARL 18F standards 1 (EARL1, January 2017; EARL2 is not shown) for SUVmean (50 % isocontour) in a "
            "hot-sphere phantom against the filled activity. It places the sizes; only points against T0 may be "
            "judged by it, points against T1 aim at 1. A triangle stands for a value beyond the axis.",
            "Recovery of lesion contrast against diameter with the EARL1 band",
        )
    )
    return found


def _spread(scene: Scene) -> list[Any]:
    """At most six lesions, spread over the sizes."""
    ordered = sorted(scene.lesions, key=lambda lesion: -lesion.diameter_mm)
    if len(ordered) <= N_PROFILES:
        return ordered
    return [ordered[round(i)] for i in np.linspace(0, len(ordered) - 1, N_PROFILES)]


def histogram_picture(scene: Scene, reference_name: str) -> Picture | None:
    """Joint histogram of the synthetic image, the source and one baseline with the reference."""
    if scene.reference is None or not scene.is_activity:
        return None
    names = [name for name in (scene.main, "source", *scene.alike) if name in scene.alike]
    names = [str(n) for n in dict.fromkeys(names) if n not in (scene.reference, "truth")][:N_HISTOGRAMS]
    if not names:
        return None
    floor = HISTOGRAM_FLOOR * scene.window
    png = plots.joint_histogram(
        {name: scene.images[name] for name in names},
        scene.images[scene.reference],
        limit=scene.window,
        floor=floor,
        unit=scene.unit,
        reference_name=scene.reference,
    )
    return Picture(
        png,
        f"Joint histogram of the voxels where either image exceeds {floor:.3g}, against {reference_name}; logarithmic "
        "counts, values above the window in its last bin. Agreement lies on the dashed line; a tilt is a bias of "
        "scale, a width is noise.",
        "Joint histograms with the reference",
    )
