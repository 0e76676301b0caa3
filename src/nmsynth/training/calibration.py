"""Calibrate the level of structure: the evidence threshold by false structures on validation patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """What one threshold gives on the calibration patients at one count level."""

    threshold: float
    count_fraction: float
    false_structures_per_100_slices: float
    lesion_recovery: float
    """Contrast recovery against T1, median over lesions of 10 to 18 mm."""
    relative_error: float
    """Root mean squared error over that of the input."""


def measure_thresholds(
    network: nn.Module, patients: Iterable[ReferencePatient], *, count_fractions: Sequence[float]
) -> list[CalibrationPoint]:
    """Run the network on patients of the reference protocol and measure each threshold at each count level.

    Parameters
    ----------
    network
        Trained network, in evaluation mode, with ``stride`` (z, y, x).
    patients
        Patients that are neither trained on nor reported.
    count_fractions
        Of the scans that are measured.
    """
    tallies = {(f, t): _Tally() for f in count_fractions for t in THRESHOLDS}
    for patient in patients:
        target = patient.noise_free
        regions = lesion_regions(patient)
        for fraction in count_fractions:
            for source in patient.scans[fraction]:
                heads = _heads(network, source)
                for t in THRESHOLDS:
                    image = fuse(heads, t)[0, 0].numpy()
                    tally = tallies[fraction, t]
                    found = false_structures(image, target, patient.spacing_mm, liver_level=patient.liver_level)
                    tally.structures += found.count
                    tally.slices += found.n_slices
                    tally.squared += float(((image - target) ** 2).sum())
                    tally.input_squared += float(((source - target) ** 2).sum())
                    values = (recovery(image, target, lesion, ring) for lesion, ring in regions)
                    tally.recoveries += [value for value in values if value is not None]
    return [tally.point(t, fraction) for (fraction, t), tally in tallies.items()]


@dataclass(slots=True)
class _Tally:
    """Sums over patients for one threshold and count level."""

    structures: int = 0
    slices: int = 0
    squared: float = 0.0
    input_squared: float = 0.0
    recoveries: list[float] = field(default_factory=list)

    def point(self, threshold: float, count_fraction: float) -> CalibrationPoint:
        """What the sums come to."""
        return CalibrationPoint(
            threshold=threshold,
            count_fraction=count_fraction,
            false_structures_per_100_slices=100.0 * self.structures / max(1, self.slices),
            lesion_recovery=float(np.median(self.recoveries)) if self.recoveries else float("nan"),
            relative_error=float(np.sqrt(self.squared / max(self.input_squared, 1e-30))),
        )


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


def choose_thresholds(
    points: Sequence[CalibrationPoint], allowed: Mapping[str, Mapping[float, float]]
) -> dict[str, float]:
    """The lowest threshold of each significance whose false structures are allowed at every count level.

    Where not even the highest threshold meets a limit, the highest is taken; the card tells what was measured.

    Parameters
    ----------
    points
        From :func:`measure_thresholds`.
    allowed
        False structures per 100 slices by count fraction, for each of ``low``, ``standard``, ``high``.
    """
    thresholds = sorted({p.threshold for p in points})
    chosen = {}
    for level, limits in allowed.items():
        broken = {
            p.threshold
            for p in points
            if p.false_structures_per_100_slices > limits.get(p.count_fraction, float("inf"))
        }
        # a threshold above one that breaks a limit may still break it elsewhere: take the first above all of those
        fitting = [t for t in thresholds if not any(b >= t for b in broken)]
        chosen[level] = fitting[0] if fitting else thresholds[-1]
    ordered = sorted(chosen.values())
    return dict(zip(("low", "standard", "high"), ordered, strict=True))
