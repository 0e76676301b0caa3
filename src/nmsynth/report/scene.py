"""The images of a report on one upright grid, in one unit and one window, with their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.metrics.regions import smooth
from nmsynth.report.lesions import Lesion, lesion_from_row
from nmsynth.report.pictures import nice_limit
from nmsynth.report.projections import Image, Upright, in_display_unit, index_in, nearest_voxel, upright, upright_like
from nmsynth.report.tables import MAIN_NAMES

SUV_WINDOW = 7.0
"""Upper end of the reading window of FDG [SUV]; the lower end is 0."""

BODY_LEVEL = 0.03
"""Of the window: level above which a voxel counts as body for the crop of the pictures."""

HISTOGRAM_FLOOR = 0.05
"""Of the window: level above which a voxel enters the joint histogram."""

RELATIVE_FLOOR = 0.07
"""Of the window: level of the reference above which a relative difference is shown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the pictures of a report are made from."""

    images: dict[str, Image]
    """Upright arrays on one grid, by name; the first is the source where there is one."""
    grid: Upright
    unit: str
    window: float
    """Upper end of the window of every panel [unit]."""
    main: str | None
    """Name of the synthetic image in question."""
    reference: str | None
    """Name of the image that differences are taken to: the reference, else the source."""
    synthetic: frozenset[str]
    """Names of images that a model or a filter made, not a scanner or a simulator."""
    lesions: tuple[Lesion, ...]
    point: tuple[int, int, int]
    """Voxel that the three planes pass through."""
    point_name: str
    notes: tuple[str, ...]

    @property
    def has_truth(self) -> bool:
        """Whether the differences are to a reference and not to the source."""
        return self.reference not in (None, "source")


def main_of(images: Mapping[str, Volume]) -> str | None:
    """Name of the synthetic image: ``synthetic``, ``prediction``, else the first that says it is synthetic."""
    named = next((name for name in MAIN_NAMES if name in images), None)
    if named is not None:
        return named
    return next((name for name, volume in images.items() if volume.provenance.synthetic), None)


def _order(images: Mapping[str, Volume], main: str | None) -> list[str]:
    """Names in reading order: source, synthetic, reference, truth, baselines."""
    first = [name for name in ("source", main, "reference", "truth") if name in images]
    return [name for name in (*first, *images) if name is not None][: len(first)] + [
        name for name in images if name not in first
    ]


def prepare_scene(
    images: Mapping[str, Volume],
    lesions: Sequence[Mapping[str, Any]] | None,
    point: Sequence[float] | None,
) -> Scene:
    """Bring images to one upright grid, one unit and one window.

    Parameters
    ----------
    images
        By name; ``source``, ``synthetic`` (or ``prediction``), ``reference``, ``truth``, other names are baselines.
    lesions
        Spheres by ``centre_index`` (z, y, x) and ``diameter_mm`` on the grid of ``source``, else of the first image.
    point
        Index (z, y, x) on the same grid, through which the planes pass.
    """
    if not images:
        raise InputError("A report needs at least one image; found none. Pass the source and the synthetic image.")
    main = main_of(images)
    names = _order(images, main)
    notes: list[str] = []
    converted = _one_unit(images, names, notes)
    grid = upright(converted[names[0]])
    arrays = {name: grid.array if name == names[0] else upright_like(converted[name], grid).array for name in names}
    if any(not images[name].has_grid_of(images[names[0]]) for name in names[1:]):
        notes.append("Images on other grids were interpolated to that of the first image, for display only.")
    if grid.interpolated:
        notes.append("The grid is oblique: images were interpolated to an upright grid, for display only.")
    if any(not np.isfinite(images[name].array).all() for name in names):
        notes.append("Values that are not finite are shown as 0.")
    affine = images[names[0]].affine
    found = []
    for position, row in enumerate(lesions or (), start=1):
        name, centre, diameter, contrast = lesion_from_row(row, position)
        found.append(Lesion(name, index_in(grid, affine, centre), diameter, contrast))
    reference = next((name for name in ("reference", "truth", "source") if name in arrays and name != main), None)
    place, place_name = _place(arrays[reference or names[0]], grid, found, point, affine)
    unit = converted[names[0]].unit
    return Scene(
        images=arrays,
        grid=grid,
        unit=unit.value,
        window=SUV_WINDOW if unit.is_suv else _window(arrays[reference or names[0]]),
        main=main,
        reference=reference,
        synthetic=frozenset(
            name
            for name in names
            if name == main
            or images[name].provenance.synthetic
            or (_is_baseline(name) and not images[name].provenance.simulated)
        ),
        lesions=tuple(found),
        point=place,
        point_name=place_name,
        notes=tuple(notes),
    )


def _titled(name: str) -> str:
    """Name of a lesion in a sentence."""
    return f"lesion {name}" if name.isdigit() else name


def _is_baseline(name: str) -> bool:
    """Whether a name is none of the roles of measured, simulated or true images."""
    return name not in ("source", "reference", "truth")


def _one_unit(images: Mapping[str, Volume], names: Sequence[str], notes: list[str]) -> dict[str, Volume]:
    """All images as SUV, or all as they are where one of them has no SUV; refuse mixed units."""
    pairs = {name: in_display_unit(images[name]) for name in names}
    reasons = [reason for _, reason in pairs.values() if reason]
    if reasons:
        notes.append(f"Shown without SUV: {reasons[0]}")
        converted = {name: images[name] for name in names}
    else:
        converted = {name: volume for name, (volume, _) in pairs.items()}
    units = {volume.unit.value for volume in converted.values()}
    if len(units) > 1:
        raise InputError(
            f"The images of a report must share one unit; found {', '.join(sorted(units))}. Convert them first."
        )
    return converted


def _window(array: Image) -> float:
    """Upper end of a window for an image without SUV: a round number above 99.8 % of its positive voxels."""
    positive = array[array > 0]
    return nice_limit(float(np.percentile(positive, 99.8))) if positive.size else 1.0


def _place(
    array: Image, grid: Upright, lesions: Sequence[Lesion], point: Sequence[float] | None, affine: Any
) -> tuple[tuple[int, int, int], str]:
    """Voxel that the planes pass through: the point given, the hottest lesion, else the hottest place."""
    if point is not None:
        if len(point) != 3 or not np.isfinite(np.asarray(point, dtype=np.float64)).all():
            raise InputError(
                f"A point needs three finite indices (z, y, x); found {len(point)} values. Give all three."
            )
        return nearest_voxel(grid, index_in(grid, affine, point)), "the point given"
    if lesions:
        hottest = max(lesions, key=lambda lesion: float(array[nearest_voxel(grid, lesion.centre_index)]))
        return nearest_voxel(grid, hottest.centre_index), f"the hottest lesion ({_titled(hottest.name)})"
    smoothed = smooth(array, 8.0, grid.spacing_mm)
    z, y, x = (int(i) for i in np.unravel_index(int(np.argmax(smoothed)), smoothed.shape))
    return (z, y, x), "the hottest place (it may be the bladder or the brain)"
