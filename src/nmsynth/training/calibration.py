"""Calibrate the level of structure: the evidence threshold by false structures on validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nmsynth.data.cohort import CohortCase
from nmsynth.data.simulation import soft_tissue_cov
from nmsynth.metrics.detection import false_structures
from nmsynth.models.fusion import fuse

LIVER_SUV = 2.2
"""Level of the liver that false structures are measured against [g/mL]."""
THRESHOLDS = tuple(float(t) for t in np.arange(-4.0, 8.01, 0.5))
"""Evidence thresholds that are tried."""


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """What one threshold gives on the validation patients."""

    threshold: float
    false_structures_per_100_slices: float
    lesion_recovery: float
    """Activity of lesion voxels over that of the noise-free image, median over lesions."""
    relative_error: float
    """Root mean squared error over that of the input."""


def measure_thresholds(
    network: nn.Module, cases: Sequence[CohortCase], *, cov_range: tuple[float, float]
) -> list[CalibrationPoint]:
    """Run the network on validation scans of a range of noise and measure each threshold.

    Parameters
    ----------
    network
        Trained network, in evaluation mode.
    cases
        Validation cases.
    cov_range
        Relative noise of soft tissue of the scans that count; 0.2 to 0.45 is 1/5 to 1/20 of a standard scan's counts.
    """
    totals = {t: [0, 0.0, 0.0] for t in THRESHOLDS}  # structures, squared error, squared error of the input
    recoveries: dict[float, list[float]] = {t: [] for t in THRESHOLDS}
    n_slices = 0
    for case in cases:
        target = np.asarray(case.images[0], dtype=np.float32)
        spacing = tuple(case.record["spacing_mm"])
        for level in range(2, case.images.shape[0]):
            source = np.asarray(case.images[level], dtype=np.float32)
            if not cov_range[0] <= soft_tissue_cov(source, target) <= cov_range[1]:
                continue
            with torch.inference_mode():
                heads = network(torch.from_numpy(source)[None, None])
            n_slices += target.shape[0] - 4
            for t in THRESHOLDS:
                image = fuse(heads, t)[0, 0].numpy()
                found = false_structures(image, target, spacing, liver_level=LIVER_SUV)
                totals[t][0] += found.count
                totals[t][1] += float(((image - target) ** 2).sum())
                totals[t][2] += float(((source - target) ** 2).sum())
                recoveries[t] += _recoveries(image, target, np.asarray(case.labels[0]))
    return [
        CalibrationPoint(
            threshold=t,
            false_structures_per_100_slices=100.0 * totals[t][0] / max(1, n_slices),
            lesion_recovery=float(np.median(recoveries[t])) if recoveries[t] else float("nan"),
            relative_error=float(np.sqrt(totals[t][1] / max(totals[t][2], 1e-30))),
        )
        for t in THRESHOLDS
    ]


def _recoveries(image: np.ndarray, target: np.ndarray, labels: np.ndarray) -> list[float]:
    """Mean of each lesion over that of the noise-free image."""
    found = []
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        if inside.sum() >= 4 and target[inside].mean() > 0:
            found.append(float(image[inside].mean() / target[inside].mean()))
    return found


def choose_thresholds(points: Sequence[CalibrationPoint], allowed: dict[str, float]) -> dict[str, float]:
    """The lowest threshold of each significance whose false structures are allowed, rising from low to high.

    Where not even the highest threshold meets a limit, the highest is taken; the card tells what was measured.

    Parameters
    ----------
    points
        From :func:`measure_thresholds`, by rising threshold.
    allowed
        False structures per 100 slices at each of ``low``, ``standard``, ``high``.
    """
    chosen = {}
    for level, limit in allowed.items():
        fitting = [p.threshold for p in points if p.false_structures_per_100_slices <= limit]
        chosen[level] = min(fitting) if fitting else points[-1].threshold
    ordered = sorted(chosen.values())
    return dict(zip(("low", "standard", "high"), ordered, strict=True))
