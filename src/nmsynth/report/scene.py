"""The images of a report on one upright grid, in one unit and one window, with their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.metrics.regions import smooth
from nmsynth.report.lesions import Lesion, lesion_from_row
from nmsynth.report.pictures import Scale, nice_limit
from nmsynth.report.projections import Image, Upright, in_display_unit, index_in, nearest_voxel, upright, upright_like
from nmsynth.report.tables import MAIN_NAMES

CT_WINDOW_HU = (-250.0, 350.0)
"""Window of CT: soft tissue, with bone and lung told apart [HU]."""

CT_BODY_HU = -300.0
"""Number above which a voxel of CT counts as body for the crop of the pictures [HU]."""

AIR_SHARE = 0.05
"""Of the brightest, below which MR shows air."""

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
    """Upper end of the window of every panel of that unit [unit]."""
    scales: dict[str, Scale]
    """Window of each image: one for all in the unit of the page, its own for a source of another kind."""
    alike: tuple[str, ...]
    """Names of the images in the unit of the page, which can be compared."""
    body_level: float
    """Above which a voxel of these counts as body [unit]."""
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

    @property
    def is_activity(self) -> bool:
        """Whether the page is on PET or SPECT, where nothing is 0; not on CT or MR."""
        return self.scales[self.alike[0]].colours == "gray_r"


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
    """Bring images to one upright grid, and those of the kind in question to one unit and one window.

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
    converted = _units(images, names, main, notes)
    first = converted[main or names[0]]
    alike = tuple(n for n in names if (converted[n].unit, converted[n].modality) == (first.unit, first.modality))
    base = next(name for name in (names[0], "reference", *alike) if name in alike)
    grid = upright(converted[base])
    arrays = {name: grid.array if name == base else upright_like(converted[name], grid).array for name in names}
    if any(not images[name].has_grid_of(images[base]) for name in names):
        where = "the first image" if base == names[0] else f"the {base}"
        notes.append(f"Images on other grids were interpolated to that of {where}, for display only.")
    if grid.interpolated:
        notes.append("The grid is oblique: images were interpolated to an upright grid, for display only.")
    if any(not np.isfinite(images[name].array).all() for name in names):
        notes.append("Values that are not finite are shown as 0.")
    affine = images[names[0]].affine
    found = []
    for position, row in enumerate(lesions or (), start=1):
        name, centre, diameter, contrast = lesion_from_row(row, position)
        found.append(Lesion(name, index_in(grid, affine, centre), diameter, contrast))
    reference = next((name for name in ("reference", "truth", "source") if name in alike and name != main), None)
    shown_place = reference or alike[0]
    active = first.modality not in ("CT", "MR")
    place, place_name = _place(arrays[shown_place], grid, found, point, affine, active=active)
    scale = _scale(first, arrays[shown_place])
    scales = {n: scale if n in alike else _scale(converted[n], arrays[n]) for n in names}
    return Scene(
        images=arrays,
        grid=grid,
        unit=first.unit.value,
        window=scale.high,
        scales=scales,
        alike=alike,
        body_level=CT_BODY_HU if first.modality == "CT" else BODY_LEVEL * scale.high,
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


def is_comparable(source: Volume, image: Volume) -> bool:
    """Whether a source is of an image's kind: of its modality and unit, or both PET that an SUV is made of."""
    both = {source.unit, image.unit}
    return source.modality == image.modality and (len(both) == 1 or all(u is Unit.BQML or u.is_suv for u in both))


def _titled(name: str) -> str:
    """Name of a lesion in a sentence."""
    return f"lesion {name}" if name.isdigit() else name


def _is_baseline(name: str) -> bool:
    """Whether a name is none of the roles of measured, simulated or true images."""
    return name not in ("source", "reference", "truth")


def _units(images: Mapping[str, Volume], names: Sequence[str], main: str | None, notes: list[str]) -> dict[str, Volume]:
    """Images of the kind in question as SUV, or as they are where one of them has no SUV; others as they are.

    Refuse images of its modality in other units, and all but a source in another modality.
    """
    first = images[main or names[0]]
    kind = first.modality
    apart = "source" in images and not is_comparable(images["source"], first)
    alike = [name for name in names if images[name].modality == kind and not (apart and name == "source")]
    other = [name for name in names if name not in alike and name != "source"]
    if other:
        raise InputError(
            f"The images of a report must be of one kind but for the source; found {kind} and "
            f"{images[other[0]].modality} ({other[0]}). Leave it out, or give it as the source."
        )
    pairs = {name: in_display_unit(images[name]) for name in alike}
    reasons = [reason for _, reason in pairs.values() if reason]
    if reasons:
        notes.append(f"Shown without SUV: {reasons[0]}")
        converted = {name: images[name] for name in names}
    else:
        converted = {**images, **{name: volume for name, (volume, _) in pairs.items()}}
    units = {converted[name].unit.value for name in alike}
    if len(units) > 1:
        raise InputError(
            f"The images of a report must share one unit; found {', '.join(sorted(units))}. Convert them first."
        )
    return converted


def _scale(volume: Volume, array: Image) -> Scale:
    """Window of a kind of image: activity in inverse grey from zero, CT in its usual window, MR from air to bright."""
    if volume.modality == "CT" and volume.unit is Unit.HOUNSFIELD:
        return Scale(*CT_WINDOW_HU, volume.unit.value, "gray")
    if volume.modality == "MR":
        body = array[array > AIR_SHARE * np.percentile(array, 99.9)]
        return Scale(0.0, nice_limit(float(np.percentile(body, 98))) if body.size else 1.0, volume.unit.value, "gray")
    return Scale(0.0, SUV_WINDOW if volume.unit.is_suv else _window(array), volume.unit.value)


def _window(array: Image) -> float:
    """Upper end of a window for an image without SUV: a round number above 99.8 % of its positive voxels."""
    positive = array[array > 0]
    return nice_limit(float(np.percentile(positive, 99.8))) if positive.size else 1.0


def _place(
    array: Image, grid: Upright, lesions: Sequence[Lesion], point: Sequence[float] | None, affine: Any, *, active: bool
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
    return (z, y, x), "the hottest place (it may be the bladder or the brain)" if active else "the brightest place"
