"""What the benchmark measures of one predicted image, in the target's unit and in one mask for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.volume import ACTIVITY_MODALITIES
from nmsynth.metrics.anatomy import BONE_HU, bone_dice
from nmsynth.metrics.image import bias, mae, nrmse, rmse, ssim
from nmsynth.metrics.quantitative import region_mean
from nmsynth.metrics.recovery import recovery
from nmsynth.metrics.regions import Spacing, ring_mask

FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MEASURES = {
    "mae": ("MAE", "unit", "mean absolute error in the body"),
    "rmse": ("RMSE", "unit", "root mean square error in the body"),
    "nrmse": ("NRMSE", "1", "root mean square error over the root mean square of the target, in the body"),
    "bias": ("bias", "unit", "mean of prediction minus target in the body"),
    "ssim": ("SSIM", "1", "structural similarity in the body, window of 1.5 voxels; larger is better"),
    "region_error": ("region error", "unit", "mean absolute error of the means of lesions or other labelled regions"),
    "region_bias": ("region bias", "unit", "mean error of the means of those regions"),
    "region_mean": ("mean of regions", "unit", "mean of the predicted means of those regions, as SUVmean of tumours"),
    "region_truth": ("true mean of regions", "unit", "mean of the true means of those regions"),
    "recovery": ("recovery", "1", "contrast of lesions to a ring 7 to 14 mm around them, over that of the target"),
    "bone_mae_150": ("bone MAE, 150 HU", "unit", "mean absolute error where the true CT is at least 150 HU"),
    "bone_mae_300": ("bone MAE, 300 HU", "unit", "mean absolute error where the true CT is at least 300 HU"),
    "bone_dice_150": ("bone Dice, 150 HU", "1", "overlap of both images' voxels of at least 150 HU; larger is better"),
    "bone_dice_300": ("bone Dice, 300 HU", "1", "overlap of both images' voxels of at least 300 HU; larger is better"),
    "sample_mae": ("MAE of one sample", "unit", "mean absolute error of single samples of a stochastic method"),
    "spread": ("spread", "unit", "standard deviation over samples of a stochastic method, mean over the body"),
}
"""Short name, unit (``unit`` for the target's) and meaning of each measure."""
LARGER_IS_BETTER = frozenset({"ssim", "bone_dice_150", "bone_dice_300"})
RANKABLE = (
    frozenset({"mae", "rmse", "nrmse", "ssim", "region_error", "bone_mae_150", "bone_mae_300"}) | LARGER_IS_BETTER
)
"""Measures by which a task may be ranked: those of which more, or less, is always better."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a prediction is compared with; the same for every method of a task."""

    target: FloatImage
    """Shape ``(z, y, x)``."""
    body: Mask
    """Where errors are measured, shape ``(z, y, x)``."""
    labels: FloatImage
    """Number of the region of each voxel, 0 for none, shape ``(z, y, x)``."""
    spacing_mm: Spacing
    modality: str
    """DICOM modality of the target."""
    data_range: float
    """Of SSIM [unit of the target]; one for all cases of a task, or one multiple of the level of each."""


def measure_case(
    image: FloatImage,
    truth: Truth,
    *,
    samples: Sequence[FloatImage] = (),
    region_value: float | None = None,
) -> dict[str, float]:
    """Every measure that applies.

    Parameters
    ----------
    image
        Prediction, shape ``(z, y, x)`` [unit of the target].
    truth
        Target, body, regions.
    samples
        Of a stochastic method, of which the image is the mean.
    region_value
        What a prediction that is one number says of every region, where that differs from its image.

    Returns
    -------
        By the names of :data:`MEASURES`; what does not apply is left out.
    """
    target, body = truth.target, truth.body
    found: dict[str, float | None] = {
        "mae": mae(image, target, body),
        "rmse": rmse(image, target, body),
        "nrmse": nrmse(image, target, body),
        "bias": bias(image, target, body),
        "ssim": ssim(image, target, body, data_range=truth.data_range),
        **_regions(image, truth, region_value),
    }
    if truth.modality == "CT":
        found |= _bone(image, target, body)
    if samples:
        stack = np.stack([s[body] for s in samples]).astype(np.float64)
        found["sample_mae"] = float(np.abs(stack - target[body]).mean())
        found["spread"] = float(stack.std(axis=0, ddof=1).mean()) if len(samples) > 1 else None
    return {name: value for name, value in found.items() if value is not None and np.isfinite(value)}


def region_means(image: npt.ArrayLike, labels: npt.ArrayLike) -> list[float]:
    """Mean of each labelled region, by number [unit of the image]."""
    numbers = np.asarray(labels)
    array = np.asarray(image)
    return [float(array[numbers == n].mean(dtype=np.float64)) for n in np.unique(numbers[numbers > 0])]


def _regions(image: FloatImage, truth: Truth, region_value: float | None) -> dict[str, float | None]:
    """Errors of the means of labelled regions, and recovery of those that stand out of their ring in the target."""
    expected = region_means(truth.target, truth.labels)
    if not expected:
        return {}
    means = [region_value] * len(expected) if region_value is not None else region_means(image, truth.labels)
    errors = np.asarray(means) - np.asarray(expected)
    found: dict[str, float | None] = {
        "region_error": float(np.abs(errors).mean()),
        "region_bias": float(errors.mean()),
        "region_mean": float(np.mean(means)),
        "region_truth": float(np.mean(expected)),
    }
    if truth.modality not in ACTIVITY_MODALITIES:
        return found
    every = truth.labels > 0
    values = []
    for number in np.unique(truth.labels[every]):
        lesion = truth.labels == number
        ring = ring_mask(lesion, truth.spacing_mm, exclude=every, within=truth.body)
        around = region_mean(truth.target, ring)
        # a region that hardly differs from what surrounds it has no contrast to recover
        if around is None or float(truth.target[lesion].mean()) < 1.5 * around:
            continue
        share = recovery(image, truth.target, lesion, ring)
        if share is not None:
            values.append(share)
    return {**found, "recovery": float(np.mean(values)) if values else None}


def _bone(image: FloatImage, target: FloatImage, body: Mask) -> dict[str, float | None]:
    """Error in bone and overlap of bone, at both thresholds."""
    found: dict[str, float | None] = {}
    for level in BONE_HU:
        found[f"bone_mae_{level:.0f}"] = mae(image, target, body & (target >= level))
        found[f"bone_dice_{level:.0f}"] = bone_dice(image, target, body, level)
    return found
