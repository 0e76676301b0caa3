"""Calibrate the level of structure: the evidence threshold by false structures on validation patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nmsynth.data.reference import ReferencePatient
from nmsynth.metrics.detection import false_structures
from nmsynth.metrics.recovery import recovery
from nmsynth.metrics.regions import ring_mask
from nmsynth.models.fusion import fuse

THRESHOLDS = tuple(float(t) for t in np.arange(-7.0, 2.01, 0.5))
"""Evidence thresholds that are tried."""


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """What one threshold gives on the validation patients."""

    threshold: float
    false_structures_per_100_slices: float
    lesion_recovery: float
    """Contrast recovery against T1, median over lesions of 10 to 18 mm."""
    relative_error: float
    """Root mean squared error over that of the input."""


def measure_thresholds(
    network: nn.Module, patients: Iterable[ReferencePatient], *, count_fraction: float
) -> list[CalibrationPoint]:
    """Run the network on patients of the reference protocol and measure each threshold.

    Parameters
    ----------
    network
        Trained network, in evaluation mode, with ``stride`` (z, y, x).
    patients
        Patients that are neither trained on nor reported.
    count_fraction
        Of the scans that are measured.
    """
    structures = dict.fromkeys(THRESHOLDS, 0)
    squared = dict.fromkeys(THRESHOLDS, 0.0)
    recoveries: dict[float, list[float]] = {t: [] for t in THRESHOLDS}
    input_squared, n_slices = 0.0, 0
    for patient in patients:
        target = patient.noise_free
        regions = lesion_regions(patient)
        for source in patient.scans[count_fraction]:
            heads = _heads(network, source)
            input_squared += float(((source - target) ** 2).sum())
            for t in THRESHOLDS:
                image = fuse(heads, t)[0, 0].numpy()
                found = false_structures(image, target, patient.spacing_mm, liver_level=patient.liver_level)
                structures[t] += found.count
                n_slices += found.n_slices if t == THRESHOLDS[0] else 0
                squared[t] += float(((image - target) ** 2).sum())
                values = (recovery(image, target, lesion, ring) for lesion, ring in regions)
                recoveries[t] += [value for value in values if value is not None]
    return [
        CalibrationPoint(
            threshold=t,
            false_structures_per_100_slices=100.0 * structures[t] / max(1, n_slices),
            lesion_recovery=float(np.median(recoveries[t])) if recoveries[t] else float("nan"),
            relative_error=float(np.sqrt(squared[t] / max(input_squared, 1e-30))),
        )
        for t in THRESHOLDS
    ]


def _heads(network: nn.Module, source: npt.NDArray[np.float32]) -> torch.Tensor:
    """Outputs of the network for a whole image, padded to its stride with zeros; ``(1, 3, z, y, x)``."""
    stride = tuple(int(n) for n in network.stride)  # type: ignore[union-attr]
    padding = [(0, -n % s) for n, s in zip(source.shape, stride, strict=True)]
    with torch.inference_mode():
        out: torch.Tensor = network(torch.from_numpy(np.pad(source, padding))[None, None])
    n_z, n_y, n_x = source.shape
    return out[..., :n_z, :n_y, :n_x]


def lesion_regions(
    patient: ReferencePatient, *, diameter_mm: tuple[float, float] = (10.0, 18.0)
) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Lesions of a range of diameters and their rings."""
    found = []
    for number in np.unique(patient.lesions[patient.lesions > 0]):
        if diameter_mm[0] <= patient.diameters_mm.get(int(number), 0.0) < diameter_mm[1]:
            lesion = patient.lesions == number
            found.append((lesion, ring_mask(lesion, patient.spacing_mm, exclude=patient.lesions > 0)))
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
