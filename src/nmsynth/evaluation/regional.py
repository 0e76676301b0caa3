"""What tasks measure beside images and lesions: the heart's wall, binding in the brain, correction organ by organ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.metrics.anatomy import class_overlap
from nmsynth.metrics.binding_ratio import binding_ratios
from nmsynth.metrics.correction import BEYOND, error_over_mean, organ_errors, share_beyond
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.perfusion import NormalLimits, perfusion_deficit, scaled_segments
from nmsynth.metrics.polar_map import LongAxis, WallRays
from nmsynth.metrics.regions import body_mask
from nmsynth.metrics.suvr import COMPOSITES, composite_ratio

Image = npt.NDArray[np.float32]
Measure = Callable[[Image], list[Measurement]]
"""Measurements of an image on the grid of the reference."""

WALL_NAME = "wall"
"""Mask of the wall of the left ventricle."""
STRIATAL_NAMES = ("caudate", "putamen", "striatum")
"""Masks whose name begins so are regions of specific binding."""
UNBOUND_NAME = "occipital"
"""Mask of the region without it."""

BRAIN_NAME = "brain"
"""Mask of the brain, of which voxels with an error are counted."""
RATIO_REGIONS_LEAST = 4
"""Regions from which a correlation over them is told."""
NO_REGIONS = ("body", "lesion")
"""Masks whose name begins so are no regions of the brain."""
_NO_ORGANS = (*NO_REGIONS, UNBOUND_NAME, WALL_NAME)
"""Masks whose name begins so are no organs."""

MASKS_WANTED = {
    "perfusion": f"named '{WALL_NAME}'",
    "binding": f"named '{UNBOUND_NAME}' and '{STRIATAL_NAMES[1]}'",
    "correction": "of organs",
    "ratio": "of regions of the brain",
}
"""What each measure needs; ``tissues`` needs none."""

DEFINITIONS = {
    "correction": {
        "organ error": "relative difference to the reference of the mean of each organ: median and largest of its size",
        "error over mean": "mean absolute error over the mean of the reference, in the body",
        "voxels beyond": f"share of the voxels of the mask '{BRAIN_NAME}' whose relative error is larger",
    },
    "tissues": {
        "tissue Dice": (
            "mean overlap of three classes of brightness in the body, by the thresholds of Otsu of each image, so that "
            "no unit is needed"
        ),
    },
    "ratio": {
        "regional SUVR error": (
            "difference to the reference of the mean of each region, of images that are ratios already: mean and "
            "largest of its size"
        ),
        "regional SUVR correlation": "Pearson's, over the regions",
        "composite SUVR": "mean of the means of the regions that the composite of the name holds",
    },
    "binding": {
        "specific binding ratio": (
            f"(region - {UNBOUND_NAME}) over {UNBOUND_NAME}, of means; {', '.join(STRIATAL_NAMES)} as masks name them"
        ),
    },
    "perfusion": {
        "polar map": (
            "means along rays through the wall, which is the same for all images, as its long axis is; in percent of "
            "the mean of the best perfused fifth of the wall of the same image"
        ),
        "segment error": "absolute difference to the reference of the means of the 17 segments, mean and largest",
        "total perfusion deficit": (
            "mean over the wall of what lacks to the normal limit, 0 for none and 100 for no perfusion; error against "
            "the reference's"
        ),
        "summed score": "sum of the scores 0 to 4 of the 17 segments; error against the reference's",
    },
}
"""By measure."""


def regional_measure(
    kind: str, reference: Volume, masks: Mapping[str, npt.NDArray[Any]], *, against: str, normals: NormalLimits | None
) -> Measure | None:
    """What measures an image regionally, the regions being found once; ``None`` where the masks of it are not given.

    Parameters
    ----------
    kind
        ``perfusion``, ``binding``, ``correction``, ``ratio`` or ``tissues``, which needs no mask.
    reference
        Whose grid all images have, and to whose regions theirs are compared.
    masks
        On that grid, by name.
    against
        Name of the reference, as printed.
    normals
        Limits for a total perfusion deficit.
    """
    if kind == "perfusion":
        return _perfusion(reference, masks, against, normals) if WALL_NAME in masks else None
    if kind == "binding":
        regions = {name: m for name, m in masks.items() if name.startswith(STRIATAL_NAMES)}
        return _binding(reference, regions, masks[UNBOUND_NAME], against) if regions and UNBOUND_NAME in masks else None
    if kind == "correction":
        organs = {n: np.asarray(m > 0) for n, m in masks.items() if not n.startswith(_NO_ORGANS)}
        return _correction(reference, organs, _body(reference, masks), against) if organs else None
    if kind == "ratio":
        regions = {n: np.asarray(m > 0) for n, m in masks.items() if not n.startswith(NO_REGIONS)}
        return _ratio(reference, regions, against) if regions else None
    if kind == "tissues":
        inside = _body(reference, masks)
        return lambda image: [
            Measurement("tissue Dice", class_overlap(image, reference.array, inside), "1", "body", against)
        ]
    raise InputError(
        f"A regional measure is 'perfusion', 'binding', 'correction', 'ratio' or 'tissues'; found '{kind}'."
    )


def _body(reference: Volume, masks: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """The mask named ``body``, or where the reference shows one."""
    body = masks.get("body")
    return body_mask(reference.array, reference.spacing_mm) if body is None else np.asarray(body > 0)


def _perfusion(
    reference: Volume, masks: Mapping[str, npt.NDArray[Any]], against: str, normals: NormalLimits | None
) -> Measure:
    """Polar maps of one wall."""
    wall = np.asarray(masks[WALL_NAME] > 0)
    rays = WallRays.through(wall, reference.affine, LongAxis.of(wall, reference.affine))
    own = rays.map_of(reference.array)
    segments = scaled_segments(own)
    deficit = None if normals is None else perfusion_deficit(own, normals)

    def measure(image: Image) -> list[Measurement]:
        """Errors of segments, and of the deficit where there are limits."""
        found = rays.map_of(image)
        errors = 100.0 * np.abs(scaled_segments(found) - segments)
        rows = [
            Measurement("segment error, mean", float(np.nanmean(errors)), "%", WALL_NAME, against, n=errors.size),
            Measurement("segment error, largest", float(np.nanmax(errors)), "%", WALL_NAME, against, n=errors.size),
        ]
        if normals is None or deficit is None:
            return rows
        shown = perfusion_deficit(found, normals)
        total = shown.total_percent
        return [
            *rows,
            Measurement("total perfusion deficit", total, "%", WALL_NAME),
            Measurement("total perfusion deficit error", total - deficit.total_percent, "%", WALL_NAME, against),
            Measurement("summed score", float(shown.summed_score), "1", WALL_NAME),
            Measurement(
                "summed score error", float(shown.summed_score - deficit.summed_score), "1", WALL_NAME, against
            ),
        ]

    return measure


def _correction(
    reference: Volume, organs: dict[str, npt.NDArray[np.bool_]], body: npt.NDArray[np.bool_], against: str
) -> Measure:
    """Errors of organs, of the body, and of the brain's voxels."""

    def measure(image: Image) -> list[Measurement]:
        """Of one image."""
        errors = [abs(error) for error in organ_errors(image, reference.array, organs).values()]
        where, n = f"{len(errors)} organs", len(errors)
        rows = [
            Measurement("organ error, median", float(np.median(errors)) if errors else None, "1", where, against, n=n),
            Measurement("organ error, largest", max(errors, default=None), "1", where, against, n=n),
            Measurement("error over mean", error_over_mean(image, reference.array, body), "1", "body", against),
        ]
        brain = organs.get(BRAIN_NAME)
        if brain is not None:
            rows += [
                Measurement(
                    f"voxels beyond {100 * limit:g} %", share_beyond(image, reference.array, brain, limit), "1",
                    BRAIN_NAME, against,
                )
                for limit in BEYOND
            ]  # fmt: skip
        return rows

    return measure


def _binding(
    reference: Volume, regions: Mapping[str, npt.NDArray[Any]], unbound: npt.NDArray[Any], against: str
) -> Measure:
    """Specific binding of regions."""
    volume_ml = float(np.prod(reference.spacing_mm)) / 1000.0

    def ratios(image: Image) -> dict[str, float]:
        """Of each region by itself, as regions may overlap: a striatum holds its putamen."""
        found: dict[str, float] = {}
        for name in sorted(regions):
            label = np.asarray(regions[name] > 0).astype(np.uint8)
            found |= binding_ratios(image, label, {1: name}, np.asarray(unbound > 0), voxel_volume_ml=volume_ml)
        return found

    expected = ratios(reference.array)

    def measure(image: Image) -> list[Measurement]:
        """Ratio of each region and its error."""
        rows = []
        for name, value in ratios(image).items():
            rows.append(Measurement("specific binding ratio", value, "1", name))
            rows.append(Measurement("specific binding ratio error", value - expected[name], "1", name, against))
        return rows

    return measure


def _ratio(reference: Volume, regions: Mapping[str, npt.NDArray[np.bool_]], against: str) -> Measure:
    """Ratios of regions of the brain, and of composites of them."""

    def means(image: Image) -> dict[str, float]:
        """Of each region."""
        return {name: float(image[mask].mean(dtype=np.float64)) for name, mask in regions.items()}

    expected = means(reference.array)

    def measure(image: Image) -> list[Measurement]:
        """Errors over regions, their correlation, and composites with their errors."""
        found = means(image)
        errors = [abs(found[name] - expected[name]) for name in regions]
        where, n, unit = f"{len(regions)} regions", len(regions), reference.unit.value
        rows = [
            Measurement("regional SUVR error, mean", float(np.mean(errors)), unit, where, against, n=n),
            Measurement("regional SUVR error, largest", max(errors), unit, where, against, n=n),
        ]
        pair = np.array([[found[name], expected[name]] for name in regions])
        if n >= RATIO_REGIONS_LEAST and (pair.std(axis=0) > 0).all():
            correlation = float(np.corrcoef(pair.T)[0, 1])
            rows.append(Measurement("regional SUVR correlation", correlation, "1", where, against, n=n))
        for name in COMPOSITES:
            own, known = composite_ratio(found, name), composite_ratio(expected, name)
            if own is not None and known is not None:
                rows.append(Measurement("composite SUVR", own, unit, name))
                rows.append(Measurement("composite SUVR error", own - known, unit, name, against))
        return rows

    return measure
