"""A picture of a validation case: source, prediction, target and error side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.plan import Plan
from nmsynth.data.prepared import PreparedCase
from nmsynth.training.checkpoint import replace_file

Picture = npt.NDArray[np.uint8]

LEAST_SIDE = 160
"""Pixels that the smaller side of a panel is enlarged to."""
GAP = 4
"""White pixels between panels."""


def sample_picture(
    plan: Plan, case: PreparedCase, level: int, image: npt.ArrayLike, target: npt.ArrayLike | None = None
) -> Picture:
    """Source, prediction, target and error of the slice through the first region, or the middle of the body.

    Prediction and target share one window, from the 0.5th to the 99.5th percentile of the target, or of the prediction
    where there is no target; activity is shown dark on white, CT and MR bright on black. The error is red where too
    high and blue where too low, full at half the window.

    Parameters
    ----------
    plan
        Modalities.
    case, level
        What was predicted.
    image, target
        In the target's unit, shape ``(z, y, x)``. Source and prediction alone are shown without a target.

    Returns
    -------
        Shape ``(row, column, 3)``.
    """
    image = np.asarray(image)
    z = _slice(case)
    low, high = (float(v) for v in np.percentile(image if target is None else np.asarray(target), (0.5, 99.5)))
    high = high if high > low else low + 1.0
    source = case.source(level)[0, z]
    bounds = [float(v) for v in np.percentile(source, (0.5, 99.5))]
    panels = [
        _grey(source, bounds[0], max(bounds[1], bounds[0] + 1e-6), plan.sources[0].modality),
        _grey(image[z], low, high, plan.target.modality),
    ]
    if target is not None:
        target = np.asarray(target)
        panels.append(_grey(target[z], low, high, plan.target.modality))
        panels.append(_signed((image[z] - target[z]) / (0.5 * (high - low))))
    factor = max(1, -(-LEAST_SIDE // min(source.shape)))
    height = source.shape[0] * factor
    gap = np.full((height, GAP, 3), 255, dtype=np.uint8)
    row: list[Any] = []
    for panel in panels:
        row += [panel.repeat(factor, axis=0).repeat(factor, axis=1), gap]
    return np.concatenate(row[:-1], axis=1)


def save_picture(path: Path, picture: Picture) -> None:
    """Write a PNG."""
    from matplotlib import image

    path.parent.mkdir(exist_ok=True)
    replace_file(path, lambda temporary: image.imsave(temporary, picture, format="png"))


def _slice(case: PreparedCase) -> int:
    """Slice with most of the first labelled region, or of the body."""
    labels = np.asarray(case.labels)
    shown = labels == labels[labels > 0].min() if (labels > 0).any() else np.asarray(case.weight) >= 1.0
    return int(np.argmax(shown.sum(axis=(1, 2))))


def _grey(values: npt.NDArray[np.float32], low: float, high: float, modality: str) -> Picture:
    """Grey values of a slice."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    share = share if modality in ("CT", "MR") else 1.0 - share
    return np.repeat((255 * share).astype(np.uint8)[..., None], 3, axis=2)


def _signed(error: npt.NDArray[np.float32]) -> Picture:
    """White at 0, red at 1, blue at -1."""
    error = np.clip(error, -1.0, 1.0)
    fade = 1.0 - np.abs(error)
    red, blue = np.where(error >= 0, 1.0, fade), np.where(error <= 0, 1.0, fade)
    return (255 * np.stack([red, fade, blue], axis=-1)).astype(np.uint8)
