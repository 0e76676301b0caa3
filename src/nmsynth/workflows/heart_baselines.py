"""What corrects a heart for attenuation without a CT and without a network: Chang's gains, or those of other patients.

Both multiply the source, and smooth it as is best: their target has no noise, so that a correction that left the noise
would be blamed for it. Coefficient, width and factor are those of the training patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, Presented

FloatImage = npt.NDArray[np.float32]

CHANG, POPULATION_GAIN = "chang", "population-gain"
FITTED = (CHANG, POPULATION_GAIN)
"""Even attenuation in the outline of the body that the source shows; the mean gain at a voxel's place in the body."""
MU_PER_CM = (0.02, 0.04, 0.06, 0.08, 0.10, 0.12, 0.15)
"""Coefficients that are tried; that of water at 140.5 keV is 0.15, with the scatter that stays in 0.12 [1/cm]."""
WIDTHS_MM = (0.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0)
"""Widths of the Gaussian that are tried, as full width at half maximum [mm]."""
ARC_DEG = (-45.0, 180.0)
"""First view and arc of a perfusion scan: right anterior to left posterior oblique [degrees]."""
TUNING_IMAGES = 12
"""Training patients that coefficient and width are chosen on."""
RATIO_FWHM_MM = 20.0
"""Of source and target before their ratio is taken [mm]."""
LEAST_LEVEL = 0.02
"""Of the source's 99th percentile, below which there is no ratio."""
LARGEST_LOG = 3.0
"""Bound of the logarithm of a ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class _Example:
    """A training patient: source and target on one scale, outline of the source's body, and where errors count."""

    source: FloatImage
    target: FloatImage
    body: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def fit_heart_baseline(name: str, plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """Fit one of :data:`FITTED` to prepared training patients.

    Coefficient (of Chang's) and width are those of the least mean absolute error in the labelled regions, which are the
    segments of the wall, after one factor for all patients.

    Raises
    ------
    InputError
        If there is no training patient.
    """
    from nmsynth.models.filters import Gaussian
    from nmsynth.workflows.benchmark_baselines import FittedBaseline

    if not training:
        raise InputError("Gains are fitted to training patients; found none. Give some.")
    examples = [_example(plan, t) for t in (training[:TUNING_IMAGES] if name == CHANG else training)]
    gains_of = _chang if name == CHANG else _population_gain(examples)
    tuning = examples[:TUNING_IMAGES]
    gains = [gains_of(e) for e in tuning]
    found: list[tuple[float, str, float, float]] = []
    for label in gains[0]:
        corrected = [e.source * own[label] for e, own in zip(tuning, gains, strict=True)]
        for width in WIDTHS_MM:
            images = [Gaussian(width)(c, e.spacing_mm) for c, e in zip(corrected, tuning, strict=True)]
            shown = [image[e.counts] for image, e in zip(images, tuning, strict=True)]
            expected = [e.target[e.counts] for e in tuning]
            factor = _factor(np.concatenate(shown), np.concatenate(expected))
            errors = [float(np.abs(factor * a - b).mean()) for a, b in zip(shown, expected, strict=True)]
            found.append((float(np.mean(errors)), label, width, factor))
    _, label, width, factor = min(found)

    def predict(shown: Presented) -> FloatImage:
        """The source times gains and factor, smoothed."""
        example = _example(plan, shown)
        image = Gaussian(width)(example.source * gains_of(example)[label], example.spacing_mm)
        return np.asarray(image * np.float32(factor), dtype=np.float32)

    return FittedBaseline(predict, f"{label}, Gaussian {width:g} mm, factor {factor:.3g}", keeps_scale=True)


def _example(plan: Plan, shown: Presented) -> _Example:
    """A prepared case as these baselines see it."""
    from nmsynth.workflows.benchmark_baselines import body_of, source_body, source_volume, target_of
    from nmsynth.workflows.benchmark_scale import source_on_scale

    labels = np.asarray(shown.case.labels) > 0
    return _Example(
        source=source_on_scale(plan, shown.case, shown.level),
        target=target_of(plan, shown.case),
        body=source_body(source_volume(plan, shown)),
        counts=labels if labels.any() else body_of(shown.case),
        spacing_mm=shown.case.spacing_mm,
    )


def _chang(example: _Example) -> dict[str, FloatImage]:
    """Gains of an even body of each coefficient."""
    from nmsynth.physics.chang import gains_of_coefficients

    gains = gains_of_coefficients(example.body, example.spacing_mm, MU_PER_CM, first_deg=ARC_DEG[0], arc_deg=ARC_DEG[1])
    return {f"{mu:g} /cm": gain for mu, gain in zip(MU_PER_CM, gains, strict=True)}


def _population_gain(examples: Sequence[_Example]) -> Callable[[_Example], dict[str, FloatImage]]:
    """The mean logarithm of target over source at each place relative to the box around the body."""
    from nmsynth.data.lookup import PopulationMean

    def known(example: _Example) -> tuple[FloatImage, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Logarithm of the gain, the body, and where in it the gain is known."""
        ratio, seen = _log_ratio(example)
        return ratio, example.body, seen & example.body

    mean = PopulationMean.fit(map(known, examples))
    return lambda example: {"mean gain": np.exp(mean(example.body)).astype(np.float32)}


def _log_ratio(example: _Example) -> tuple[FloatImage, npt.NDArray[np.bool_]]:
    """Logarithm of target over source, both smoothed, and where the source shows something."""
    from nmsynth.models.filters import Gaussian

    smooth = Gaussian(RATIO_FWHM_MM)
    source, target = smooth(example.source, example.spacing_mm), smooth(example.target, example.spacing_mm)
    seen = np.asarray((source > LEAST_LEVEL * np.percentile(source, 99)) & (target > 0))
    ratio = np.where(seen, target, 1.0) / np.where(seen, source, 1.0)
    return np.clip(np.log(ratio), -LARGEST_LOG, LARGEST_LOG).astype(np.float32), seen


def _factor(shown: FloatImage, expected: FloatImage) -> float:
    """Of least squares; one where there is nothing to scale."""
    square = float(shown.astype(np.float64) @ shown)
    return float(shown.astype(np.float64) @ expected) / square if square > 0 else 1.0
