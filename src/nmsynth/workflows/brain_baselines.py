"""What is said of a brain without a network: the population's uptake in its anatomy, and the ratios of another tracer.

Both are fitted to training patients, one for each tracer or pair of tracers that a network is told. They know the true
regions of the patient, which a network has to find on the MR, so that they are generous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.plan import SOURCE_TRACER, TARGET_TRACER

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.population_uptake import Anatomy
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, Presented

FloatImage = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

POPULATION_UPTAKE, RATIO_MAP = "population-uptake", "ratio-map"
FITTED = (POPULATION_UPTAKE, RATIO_MAP)
"""The uptake of a population's tissues in the anatomy of a patient; the ratio of the source by a straight line."""
WIDTHS_MM = (0.0, 3.0, 5.0, 7.0, 9.0)
"""Gaussians of which a source is smoothed by one, full width at half maximum [mm]."""
TUNING_IMAGES = 6
"""Training images that it is chosen on, for each pair of tracers."""
LEAST_REGION_VOXELS = 30
"""Of a region whose mean a line is fitted to."""


def fit_brain_baseline(name: str, plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """Fit one of :data:`FITTED` to prepared training patients, whose labels are regions of the brain.

    Raises
    ------
    InputError
        If there are no regions, or a plan of ratios tells no tracers.
    """
    from nmsynth.workflows.benchmark_baselines import FittedBaseline

    groups: dict[tuple[str, ...], list[Presented]] = {}
    for shown in training:
        groups.setdefault(told_tracers(plan, shown.case, shown.level), []).append(shown)
    fit = _uptake_of if name == POPULATION_UPTAKE else _line_of
    fitted = {told: fit(plan, own) for told, own in groups.items()}

    def predict(shown: Presented) -> FloatImage:
        """Of those that were told the same."""
        told = told_tracers(plan, shown.case, shown.level)
        if told not in fitted:
            known = "; ".join(" to ".join(pair) for pair in fitted)
            raise InputError(f"The baseline {name} was fitted to {known}; found {' to '.join(told)}. Leave it out.")
        return fitted[told].predict(shown)

    detail = "; ".join(f"{' to '.join(told)}: {own.detail}" if told else own.detail for told, own in fitted.items())
    return FittedBaseline(predict, detail)


def told_tracers(plan: Plan, case: PreparedCase, level: int) -> tuple[str, ...]:
    """Tracers of source and target as a network is told them; nothing where it is told none.

    Parameters
    ----------
    plan
        With the conditions.
    case, level
        And how the case is presented.
    """
    numbers, found = case.levels[level][1], []
    for name in (SOURCE_TRACER, TARGET_TRACER):
        for condition, columns in plan.condition_columns:
            if condition.name == name and condition.categories:
                found.append(condition.categories[int(np.argmax(numbers[columns][: len(condition.categories)]))])
    return tuple(found)


def regions_of_case(case: PreparedCase) -> Labels:
    """Number of the region of each voxel, both sides alike, shape ``(z, y, x)``; 0 elsewhere."""
    from nmsynth.physics.phantom.brain_regions import RIGHT

    return np.asarray(np.rint(np.asarray(case.labels)).astype(np.int32) % RIGHT)


def _anatomy_of(case: PreparedCase) -> Anatomy:
    """Regions and body of a case."""
    from nmsynth.data.population_uptake import Anatomy
    from nmsynth.workflows.benchmark_baselines import body_of

    return Anatomy(regions_of_case(case), body_of(case), case.spacing_mm)


def _uptake_of(plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """The uptake of each tissue over patients."""
    from nmsynth.data.population_uptake import PopulationUptake
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, target_of

    cases = list({shown.case.case_id: shown.case for shown in training}.values())
    found = PopulationUptake.fit([_anatomy_of(case) for case in cases], [target_of(plan, case) for case in cases])
    detail = f"{len(found.uptake)} tissues of {len(cases)} patients, blur {found.fwhm_mm:g} mm"
    return FittedBaseline(lambda shown: found(_anatomy_of(shown.case)), detail)


@dataclass(frozen=True, slots=True)
class RatioLine:
    """Target by the source over the target's reference region: a straight line in the brain, and one beside it.

    Attributes
    ----------
    brain, beside
        Slope and offset.
    fwhm_mm
        Gaussian by which the source is smoothed before [mm].
    """

    brain: tuple[float, float]
    beside: tuple[float, float]
    fwhm_mm: float

    def __call__(self, ratio: FloatImage, anatomy: Anatomy) -> FloatImage:
        """The target, shape ``(z, y, x)``, by a ratio that is smoothed already; 0 outside the body."""
        inside = anatomy.labels > 0
        slope, offset = (np.where(inside, a, b) for a, b in zip(self.brain, self.beside, strict=True))
        return np.asarray(np.where(inside | anatomy.body, slope * ratio + offset, 0.0), dtype=np.float32)

    @classmethod
    def fit(
        cls, ratios: Sequence[FloatImage], targets: Sequence[FloatImage], anatomies: Sequence[Anatomy], fwhm_mm: float
    ) -> RatioLine:
        """By least squares over the means of regions of all patients, and over voxels beside the brain."""
        pairs, beside = [], []
        for ratio, target, anatomy in zip(ratios, targets, anatomies, strict=True):
            pairs += _region_means(ratio, target, anatomy.labels)
            out = anatomy.body & (anatomy.labels == 0)
            beside.append(np.stack([ratio[out], target[out]]).astype(np.float64))
        return cls(_line(np.array(pairs).reshape(-1, 2).T), _line(np.concatenate(beside, axis=1)), fwhm_mm)


def _region_means(ratio: FloatImage, target: FloatImage, labels: Labels) -> list[tuple[float, float]]:
    """Means of both images in each region that has some size."""
    found = []
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        if inside.sum() >= LEAST_REGION_VOXELS:
            found.append((float(ratio[inside].mean(dtype=np.float64)), float(target[inside].mean(dtype=np.float64))))
    return found


def _line(pairs: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of the straight line through pairs, shape ``(2, n)``; flat where nothing varies."""
    if not pairs.size:
        return 0.0, 0.0
    x, y = pairs
    spread = float(((x - x.mean()) ** 2).mean())
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0
    return slope, float(y.mean()) - slope * float(x.mean())


def _line_of(plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """The line of one pair of tracers, of the smoothing that leaves the least error in the brain."""
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, target_of

    targets = [target_of(plan, shown.case) for shown in training]
    anatomies = [_anatomy_of(shown.case) for shown in training]
    few = range(min(TUNING_IMAGES, len(training)))
    errors = []
    for width in WIDTHS_MM:
        ratios = [_ratio(plan, training[k], width) for k in few]
        line = RatioLine.fit(ratios, [targets[k] for k in few], [anatomies[k] for k in few], width)
        left = [
            ((line(ratio, anatomies[k]) - targets[k])[anatomies[k].labels > 0] ** 2).mean()
            for k, ratio in zip(few, ratios, strict=True)
        ]
        errors.append(float(np.mean(left)))
    chosen = WIDTHS_MM[int(np.argmin(errors))]
    line = RatioLine.fit([_ratio(plan, shown, chosen) for shown in training], targets, anatomies, chosen)
    slope, offset = line.brain
    detail = f"{slope:.3g} times the ratio {offset:+.3g}, Gaussian {chosen:g} mm, {len(training)} patients"
    return FittedBaseline(lambda shown: line(_ratio(plan, shown, chosen), _anatomy_of(shown.case)), detail)


def _ratio(plan: Plan, shown: Presented, fwhm_mm: float) -> FloatImage:
    """The source over its mean in the target's reference region, smoothed, shape ``(z, y, x)``."""
    from scipy import ndimage

    from nmsynth.metrics.regions import FWHM_PER_SIGMA
    from nmsynth.metrics.suvr import reference_mean
    from nmsynth.physics.phantom.brain_tracers import brain_tracer_named
    from nmsynth.workflows.benchmark_baselines import source_volume

    told = told_tracers(plan, shown.case, shown.level)
    if len(told) != 2:
        raise InputError(
            f"The baseline {RATIO_MAP} takes a plan that tells the tracers of source and target; found {len(told)} of "
            "them. Leave it out."
        )
    image = source_volume(plan, shown)
    inside = np.isin(regions_of_case(shown.case), brain_tracer_named(told[1]).reference)
    level = reference_mean(image.array, inside, voxel_volume_ml=image.voxel_volume_ml)
    sigma = fwhm_mm / FWHM_PER_SIGMA / np.asarray(image.spacing_mm)
    return np.asarray(ndimage.gaussian_filter(image.array, sigma) / level, dtype=np.float32)
