"""How well lesions can be detected over patients: free-response curves and a channelised Hotelling observer.

Both look at what an image adds to the lesion-free reference, so that physiological uptake is no false alarm: they
measure what noise and a method leave of a lesion, not how hard the anatomy makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.evaluation.evaluate import REFERENCE, Masks
from nmsynth.evaluation.preparation import Image, Scene, check_images, prepare_scene, to_one_unit
from nmsynth.evaluation.settings import EvaluationSettings, resolve_settings
from nmsynth.metrics import observer, recovery
from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED, Interval
from nmsynth.metrics.detection import DetectionCase, FrocPoint, froc, matched_filter
from nmsynth.metrics.quantitative import region_mean
from nmsynth.metrics.regions import Mask, equivalent_diameter_mm, smooth

SIGNAL_FWHM_MM = 12.0
"""Width of the blob that is looked for: a 10-18 mm lesion as a scanner of 6 mm shows it [mm]."""
FILL_MM = 7.0
"""Distance to a lesion within which the reference is replaced by the mean of the lesion's ring [mm]."""
LOCAL_FWHM_MM = 12.0
"""Smoothing of the lesion-free reference to the local uptake [mm]."""
LOCAL_FLOOR = 0.3
"""Of the liver level: least uptake that what is added is divided by."""
SMALL = ("<10 mm", "10-18 mm")
"""Classes of lesions that the observer is shown: larger ones are seen by every method."""
PATCH_MM = 84.0
"""Side of the patches of the observer [mm]."""
APART_MM = 30.0
"""Least distance of a patch without a lesion to any lesion [mm]."""
N_ABSENT = 3
"""Patches without a lesion for each with one."""
CONTRAST_BOUNDS = (1.5, 2.5)
"""Between the classes of lesion over ring in the reference."""
FALSE_ALARM_RATES = (1.0, 4.0, 15.0)
"""False alarms per 100 slices at which the detection rate is read."""


@dataclass(frozen=True, slots=True)
class DetectionSample:
    """One image of one patient, ready for both."""

    case: DetectionCase
    """Lesions grouped by size."""
    contrast_groups: tuple[str, ...]
    """Of each lesion."""
    present: npt.NDArray[np.float64]
    """Channel outputs at lesions of the class, shape ``(lesion, channel)``."""
    absent: npt.NDArray[np.float64]
    """Channel outputs where there is none, shape ``(place, channel)``."""


def lesion_free(scene: Scene) -> Image:
    """Return the reference with every lesion and 7 mm around it at the mean of the lesion's ring."""
    found = scene.reference.copy()
    for lesion in scene.lesions:
        around = region_mean(scene.reference, lesion.ring)
        if around is not None:
            near = ndimage.distance_transform_edt(~lesion.mask, sampling=scene.spacing_mm) <= FILL_MM
            found[near] = around
    return found


def sample_detection(
    image: Volume,
    reference: Volume,
    *,
    masks: Masks,
    settings: EvaluationSettings | dict[str, Any] | None = None,
    lesions: Sequence[str] = SMALL,
    seed: int = SEED,
) -> DetectionSample:
    """Filter response and channel outputs of one image, over the local uptake of the lesion-free reference.

    Parameters
    ----------
    image, reference
        On one grid; the reference is T1.
    masks
        As in :func:`nmsynth.evaluation.evaluate`, with lesions.
    settings
        Of the evaluation.
    lesions
        Classes of the lesions that the observer is shown.
    seed
        Of the places without a lesion; the same for every image of a patient.
    """
    resolved = resolve_settings(settings)
    check_images({REFERENCE: reference, "image": image})
    pair, _ = to_one_unit({REFERENCE: reference, "image": image}, resolved)
    scene = prepare_scene(pair[REFERENCE], masks, resolved)
    level = None if scene.sphere_weights is None else region_mean(scene.reference, scene.sphere_weights)
    if not scene.lesions or level is None or level <= 0:
        raise InputError("Detection needs lesions and a liver level; one is missing. Give masks of lesions and liver.")
    free = lesion_free(scene)
    # noise grows with the uptake: without this, all false alarms would lie in the hottest organs
    local = smooth(free, LOCAL_FWHM_MM, scene.spacing_mm)
    scale = np.maximum(local, np.float32(LOCAL_FLOOR * level))
    added = ((pair["image"].array - free) / scale).astype(np.float32)
    search = scene.body.copy()
    search[: resolved.end_slices] = search[-resolved.end_slices :] = False
    sizes = [recovery.size_class(equivalent_diameter_mm(item.mask, scene.spacing_mm)) for item in scene.lesions]
    case = DetectionCase(
        response=matched_filter(added, scene.spacing_mm, signal_fwhm_mm=SIGNAL_FWHM_MM),
        lesions=tuple(item.mask for item in scene.lesions),
        search=search,
        spacing_mm=scene.spacing_mm,
        groups=tuple(sizes),
    )
    shown = [item.mask for item, size in zip(scene.lesions, sizes, strict=True) if size in lesions]
    centres = [tuple(round(float(i)) for i in ndimage.center_of_mass(mask)) for mask in shown]
    places = _empty_places(scene, N_ABSENT * len(centres), seed)
    return DetectionSample(
        case,
        tuple(_contrast_group(scene, item.mask, item.ring) for item in scene.lesions),
        _outputs(added, scene, centres),
        _outputs(added, scene, places),
    )


def _contrast_group(scene: Scene, mask: Mask, ring: Mask) -> str:
    """Class of a lesion by its mean over that of its ring, in the reference."""
    inside, around = region_mean(scene.reference, mask), region_mean(scene.reference, ring)
    ratio = inside / around if inside is not None and around else math.inf
    low, high = CONTRAST_BOUNDS
    return (
        f"contrast <{low:g}"
        if ratio < low
        else f"contrast {low:g}-{high:g}"
        if ratio < high
        else f"contrast >={high:g}"
    )


def _empty_places(scene: Scene, n: int, seed: int) -> list[tuple[int, ...]]:
    """Places in the body far from lesions, drawn at random."""
    lesions = np.any([item.mask for item in scene.lesions], axis=0)
    far = ndimage.distance_transform_edt(~lesions, sampling=scene.spacing_mm) > APART_MM
    candidates = np.argwhere(scene.body & far)
    if not len(candidates):
        return []
    chosen = np.random.default_rng(seed).choice(len(candidates), size=min(n, len(candidates)), replace=False)
    return [tuple(int(i) for i in candidates[k]) for k in chosen]


def _outputs(added: Image, scene: Scene, centres: Sequence[tuple[int, ...]]) -> npt.NDArray[np.float64]:
    """Channel outputs of patches around places; beyond the image nothing is added."""
    halves = [round(PATCH_MM / size / 2) for size in scene.spacing_mm]
    n_z, n_y, n_x = (2 * half + 1 for half in halves)
    channels = observer.difference_of_gaussian_channels((n_z, n_y, n_x), scene.spacing_mm)
    padded = np.pad(added.astype(np.float64), [(half, half) for half in halves])
    patches = [padded[tuple(slice(i, i + 2 * h + 1) for i, h in zip(c, halves, strict=True))] for c in centres]
    flat = channels.reshape(len(channels), -1)
    return np.array([flat @ patch.ravel() for patch in patches]).reshape(len(patches), len(channels))


def pool_detection(
    samples: Sequence[DetectionSample],
    *,
    rates: Sequence[float] = FALSE_ALARM_RATES,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = SEED,
) -> dict[str, Any]:
    """Detection over the images of all patients by one method, as JSON values.

    Parameters
    ----------
    samples
        From :func:`sample_detection`.
    rates
        False alarms per 100 slices at which the detection rate is read.
    n_bootstrap, seed
        Of the observer's interval.

    Returns
    -------
        ``froc``: rate, threshold over the local uptake, detection rate and lesions by size and contrast; and
        ``observer``: AUC with its 95 % interval, or why there is none.
    """
    by_size = froc([s.case for s in samples], false_alarms_per_100_slices=rates)
    by_contrast = froc([_regrouped(s) for s in samples], false_alarms_per_100_slices=rates)
    return {
        "froc": [_froc_row(a, b) for a, b in zip(by_size, by_contrast, strict=True)],
        "observer": _observer(samples, n_bootstrap, seed),
    }


def _regrouped(sample: DetectionSample) -> DetectionCase:
    """Case with its lesions grouped by contrast."""
    case = sample.case
    return DetectionCase(case.response, case.lesions, case.search, case.spacing_mm, sample.contrast_groups)


def _froc_row(by_size: FrocPoint, by_contrast: FrocPoint) -> dict[str, Any]:
    """One operating point by size and by contrast."""
    return {
        "false_alarms_per_100_slices": by_size.false_alarms_per_100_slices,
        "threshold": by_size.threshold if math.isfinite(by_size.threshold) else None,
        "detection_rate": by_size.sensitivity | by_contrast.sensitivity,
        "n_lesions": by_size.n_lesions | by_contrast.n_lesions,
    }


def _observer(samples: Sequence[DetectionSample], n_bootstrap: int, seed: int) -> dict[str, Any]:
    """AUC of the observer over all patients."""
    present = np.concatenate([s.present for s in samples])
    absent = np.concatenate([s.absent for s in samples])
    n = present.shape[1]
    order = np.random.default_rng(seed)
    present, absent = order.permutation(present), order.permutation(absent)
    identity = np.eye(n).reshape(n, n, 1, 1)  # the channels were applied on each patient's own grid
    found: Interval | None = None
    reason = None
    try:
        found = observer.hotelling_auc(
            present[:, :, None, None], absent[:, :, None, None], identity, n_bootstrap=n_bootstrap, seed=seed
        )
    except InputError as error:
        reason = str(error)
    counts = {"n_present": len(present), "n_absent": len(absent)}
    if found is None:
        return {"auc": None, "reason": reason, **counts}
    return {"auc": found.value, "lower": found.lower, "upper": found.upper, **counts}
