"""What tasks measure beside images and lesions: the heart's wall, binding in the brain, correction organ by organ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.evaluation import perfusion
from nmsynth.evaluation.anatomy import ORGAN_TEXT, organ_dice
from nmsynth.evaluation.perfusion import DEFECT_NAME, NORMAL_WALL_NAME, WALL_NAME, HeartWall
from nmsynth.metrics.anatomy import class_overlap
from nmsynth.metrics.binding_ratio import binding_ratios
from nmsynth.metrics.correction import BEYOND, error_over_mean, organ_errors, share_beyond
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.regions import body_mask
from nmsynth.metrics.suvr import COMPOSITES, composite_ratio

Image = npt.NDArray[np.float32]
Measure = Callable[[Image], list[Measurement]]
"""Measurements of an image on the grid of the reference."""

STRIATAL_NAMES = ("caudate", "putamen", "striatum")
"""Masks whose name begins so are regions of specific binding."""
UNBOUND_NAME = "occipital"
"""Mask of the region without it."""

CORTEX_NAME, CEREBELLUM_NAME = "cerebral_cortex", "cerebellar_cortex"
"""Masks whose ratio is that of a perfusion tracer in the brain."""

BRAIN_NAME = "brain"
"""Mask of the brain, of which voxels with an error are counted."""
PART_NAMES = ("skeleton", "liver_dome")
"""Masks of several organs, or of a part of one: measured by themselves, and not once more among the organs."""
RATIO_REGIONS_LEAST = 4
"""Regions from which a correlation over them is told."""
NO_REGIONS = ("body", "lesion")
"""Masks whose name begins so are no regions of the brain."""
_NO_ORGANS = (*NO_REGIONS, UNBOUND_NAME, WALL_NAME, NORMAL_WALL_NAME, DEFECT_NAME)
"""Masks whose name begins so are no organs."""

MASKS_WANTED = {
    "perfusion": f"named '{WALL_NAME}'",
    "binding": f"named '{UNBOUND_NAME}' and '{STRIATAL_NAMES[1]}'",
    "cerebellar": f"named '{CORTEX_NAME}' and '{CEREBELLUM_NAME}'",
    "correction": "of organs",
    "ratio": "of regions of the brain",
    "regions": "of regions of the brain",
}
"""What each measure needs; ``tissues`` needs none."""
OF_BRAINS = frozenset({"binding", "cerebellar"})
"""Measures that a trunk has none of."""
TRUNK_NAMES = frozenset({"liver", "lung", "kidney", "spleen"})
"""Masks by which an image is known to show a trunk."""

DEFINITIONS = {
    "correction": {
        "organ error": (
            "relative difference to the reference of the mean of each organ: median, 95th percentile and largest of "
            "its size; the skeleton, the dome of the liver, and the brain beside its parts are no organs of their own"
        ),
        "error over mean": "mean absolute error over the mean of the reference, in the body",
        "voxels beyond": f"share of the voxels of the mask '{BRAIN_NAME}' whose relative error is larger",
    },
    "regions": {
        "regional bias": "relative difference to the reference of the mean of each region of the brain, with its sign",
        "regional error": "size of the regional bias: mean and largest over the regions, so that biases do not cancel",
    },
    "tissues": {
        "tissue Dice": (
            "mean overlap of three classes of brightness in the body, by the thresholds of Otsu of each image, so that "
            "no unit is needed"
        ),
        "organ Dice": ORGAN_TEXT,
    },
    "ratio": {
        "regional SUVR error": (
            "difference to the reference of the mean of each region, of images that are ratios already: mean and "
            "largest of its size"
        ),
        "regional SUVR correlation": (
            "Pearson's, over the regions; the healthy pattern, which all images share, makes it high"
        ),
        "NMSE": "sum of the squared differences over the sum of the squares of the reference, in all regions",
        "composite SUVR": "mean of the means of the regions that the composite of the name holds",
    },
    "binding": {
        "specific binding ratio": (
            f"(region - {UNBOUND_NAME}) over {UNBOUND_NAME}, of means; {', '.join(STRIATAL_NAMES)} as masks name them"
        ),
    },
    "cerebellar": {
        "cortex to cerebellum ratio": (
            f"mean of '{CORTEX_NAME}' over that of '{CEREBELLUM_NAME}'; error relative to the reference's"
        ),
    },
    "perfusion": perfusion.DEFINITIONS,
}
"""By measure."""


def regional_measure(
    kind: str, reference: Volume, masks: Mapping[str, npt.NDArray[Any]], *, against: str, heart: HeartWall | None
) -> Measure | None:
    """What measures an image regionally, the regions being found once; ``None`` where the masks of it are not given.

    Parameters
    ----------
    kind
        ``perfusion``, ``binding``, ``cerebellar``, ``correction``, ``ratio``, ``regions`` or ``tissues``, which needs
        no mask.
    reference
        Whose grid all images have, and to whose regions theirs are compared.
    masks
        On that grid, by name.
    against
        Name of the reference, as printed.
    heart
        Its wall, where a mask marks one.
    """
    if kind == "perfusion":
        return None if heart is None else heart.measure
    if kind == "binding":
        regions = {name: m for name, m in masks.items() if name.startswith(STRIATAL_NAMES)}
        return _binding(reference, regions, masks[UNBOUND_NAME], against) if regions and UNBOUND_NAME in masks else None
    if kind == "cerebellar":
        given = [masks.get(name) for name in (CORTEX_NAME, CEREBELLUM_NAME)]
        pair = [np.asarray(mask > 0) for mask in given if mask is not None]
        return _cerebellar(reference, pair[0], pair[1], against) if len(pair) == len(given) else None
    if kind == "correction":
        organs = {n: np.asarray(m > 0) for n, m in masks.items() if not n.startswith(_NO_ORGANS)}
        return _correction(reference, organs, _body(reference, masks), against) if organs else None
    if kind == "ratio":
        regions = {n: np.asarray(m > 0) for n, m in masks.items() if not n.startswith(NO_REGIONS)}
        return _ratio(reference, regions, against) if regions else None
    if kind == "regions":
        regions = {n: np.asarray(m > 0) for n, m in masks.items() if not n.startswith(NO_REGIONS)}
        return _biases(reference, regions, against) if regions else None
    if kind == "tissues":
        inside = _body(reference, masks)
        organs = {n: np.asarray(m > 0) for n, m in masks.items()}
        return lambda image: [
            Measurement("tissue Dice", class_overlap(image, reference.array, inside), "1", "body", against),
            *organ_dice(image, reference, organs, against),
        ]
    raise InputError(
        "A regional measure is 'perfusion', 'binding', 'cerebellar', 'correction', 'ratio', 'regions' or 'tissues'; "
        f"found '{kind}'."
    )


def organs_among(masks: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of organs, each place once: without :data:`PART_NAMES`, and without a brain that comes in parts, too.

    Examples
    --------
    >>> whole = np.ones(2, dtype=bool)
    >>> list(organs_among({"liver": whole, "liver_dome": whole, "brain": whole, "brain_grey": whole}))
    ['liver', 'brain_grey']
    """
    in_parts = any(name.startswith(f"{BRAIN_NAME}_") for name in masks)
    left_out = (*PART_NAMES, *((BRAIN_NAME,) if in_parts else ()))
    return {name: mask for name, mask in masks.items() if name not in left_out}


def _body(reference: Volume, masks: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """The mask named ``body``, or where the reference shows one."""
    body = masks.get("body")
    return body_mask(reference.array, reference.spacing_mm) if body is None else np.asarray(body > 0)


def _correction(
    reference: Volume, organs: dict[str, npt.NDArray[np.bool_]], body: npt.NDArray[np.bool_], against: str
) -> Measure:
    """Errors of organs, of the body, and of the brain's voxels."""
    apart = organs_among(organs)

    def measure(image: Image) -> list[Measurement]:
        """Of one image."""
        errors = [abs(error) for error in organ_errors(image, reference.array, apart).values()]
        where, n = f"{len(errors)} organs", len(errors)
        high = float(np.percentile(errors, 95)) if errors else None
        rows = [
            Measurement("organ error, median", float(np.median(errors)) if errors else None, "1", where, against, n=n),
            Measurement("organ error, 95th percentile", high, "1", where, against, n=n),
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


def _cerebellar(
    reference: Volume, cortex: npt.NDArray[np.bool_], cerebellum: npt.NDArray[np.bool_], against: str
) -> Measure:
    """The cortex over the cerebellum."""

    def ratio(image: Image) -> float | None:
        """Of means; ``None`` where the cerebellum shows nothing."""
        below = float(image[cerebellum].mean(dtype=np.float64)) if cerebellum.any() else 0.0
        return float(image[cortex].mean(dtype=np.float64)) / below if below > 0 and cortex.any() else None

    expected = ratio(reference.array)

    def measure(image: Image) -> list[Measurement]:
        """Ratio and its error."""
        found = ratio(image)
        error = None if found is None or not expected else found / expected - 1.0
        return [
            Measurement("cortex to cerebellum ratio", found, "1", CORTEX_NAME),
            Measurement("cortex to cerebellum ratio error", error, "1", CORTEX_NAME, against),
        ]

    return measure


def _biases(reference: Volume, regions: dict[str, npt.NDArray[np.bool_]], against: str) -> Measure:
    """Bias of each region by itself, and its size over regions."""

    def measure(image: Image) -> list[Measurement]:
        """Of one image."""
        biases = organ_errors(image, reference.array, regions)
        sizes = [abs(bias) for bias in biases.values()]
        where, n = f"{len(sizes)} regions", len(sizes)
        mean = float(np.mean(sizes)) if sizes else None
        return [
            Measurement("regional error, mean", mean, "1", where, against, n=n),
            Measurement("regional error, largest", max(sizes, default=None), "1", where, against, n=n),
            *(Measurement("regional bias", bias, "1", name, against) for name, bias in biases.items()),
        ]

    return measure


def _ratio(reference: Volume, regions: Mapping[str, npt.NDArray[np.bool_]], against: str) -> Measure:
    """Ratios of regions of the brain, and of composites of them."""

    def means(image: Image) -> dict[str, float]:
        """Of each region."""
        return {name: float(image[mask].mean(dtype=np.float64)) for name, mask in regions.items()}

    expected = means(reference.array)
    brain = np.any(list(regions.values()), axis=0)
    squares = float((reference.array[brain].astype(np.float64) ** 2).sum())

    def measure(image: Image) -> list[Measurement]:
        """Errors over regions and voxels, their correlation, and composites with their errors."""
        found = means(image)
        lost = float(((image[brain].astype(np.float64) - reference.array[brain]) ** 2).sum())
        errors = [abs(found[name] - expected[name]) for name in regions]
        where, n, unit = f"{len(regions)} regions", len(regions), reference.unit.value
        rows = [
            Measurement("regional SUVR error, mean", float(np.mean(errors)), unit, where, against, n=n),
            Measurement("regional SUVR error, largest", max(errors), unit, where, against, n=n),
            Measurement("NMSE", lost / squares if squares > 0 else None, "1", where, against, n=n),
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
