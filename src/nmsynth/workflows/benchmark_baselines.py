"""The baselines of a benchmark, fitted to training patients and applied to an image like a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.core.volume import Volume
    from nmsynth.data.lookup import Example
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.classical import Baseline

FloatImage = npt.NDArray[np.float32]

TUNING_IMAGES = 4
"""Training images that a filter is tuned on, for each class of counts."""
FILTER_FAMILIES = {
    "input": "identity",
    "gaussian": "Gaussian",
    "non-local-means": "non-local means",
    "wavelet": "wavelet",
    "total-variation": "total variation",
}
"""Family of :data:`nmsynth.models.classical.CANDIDATES` of each filter."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A case at one of its count levels."""

    case: PreparedCase
    level: int
    label: str
    """Class of counts."""
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class FittedBaseline:
    """A baseline that is ready."""

    predict: Callable[[Presented], FloatImage]
    """Image in the unit of the target, shape ``(z, y, x)``."""
    detail: str
    """What it was fitted or tuned to."""
    region_value: float | None = None
    """What it says of every region, where that is not the mean of its image there."""


def fit_baseline(name: str, plan: Plan, training: Sequence[Presented], tested: Sequence[Presented]) -> FittedBaseline:
    """Fit a baseline.

    Parameters
    ----------
    name
        One of :data:`nmsynth.workflows.benchmark_suite.BASELINES`.
    plan
        Of the task.
    training
        All cases of the training patients, at every level.
    tested
        What will be predicted: only its classes of counts are looked at, to tune a filter for each.

    Raises
    ------
    InputError
        If a filter is asked for where source and target are of different kinds.
    """
    if name in FILTER_FAMILIES:
        return _filter(name, plan, training, sorted({t.label for t in tested}))
    if name == "constant":
        return _constant(training)
    if name == "population-mean":
        return _population_mean(plan, training)
    return _lookup(plan, training, by_depth=name.endswith("-depth"))


def source_volume(plan: Plan, shown: Presented) -> Volume:
    """The first source of a case in its own unit."""
    from nmsynth.data.prepared import source_volume as of_case

    return of_case(shown.case, plan, shown.level)


def source_body(volume: Volume) -> npt.NDArray[np.bool_]:
    """Body as the source shows it, shape ``(z, y, x)``; no mask of the target is looked at."""
    from nmsynth.core.units import Unit
    from nmsynth.data.body import body_contour
    from nmsynth.metrics.regions import body_mask

    if volume.modality == "CT" and volume.unit is not Unit.HOUNSFIELD:
        return body_mask(volume.array, volume.spacing_mm)  # an attenuation map, zero in air
    return body_contour(volume)


def target_of(case: PreparedCase) -> FloatImage:
    """Target in its unit, shape ``(z, y, x)``."""
    return case.target_normalisation().invert(np.asarray(case.target))


def body_of(case: PreparedCase) -> npt.NDArray[np.bool_]:
    """Where errors are measured, shape ``(z, y, x)``: the body, within the field of view of every source."""
    return np.asarray(np.asarray(case.weight) >= 1.0)


def _filter(name: str, plan: Plan, training: Sequence[Presented], labels: Sequence[str]) -> FittedBaseline:
    """A filter, tuned for each class of counts on training images of that class by the mean absolute error."""
    from nmsynth.models.classical import CANDIDATES, TuningCase, tune

    first = plan.sources[0]
    if (first.modality, first.unit) != (plan.target.modality, plan.target.unit):
        raise InputError(
            f"A filter is a baseline where source and target are one kind of image; here they are {first.modality} in "
            f"{first.unit.value} and {plan.target.modality} in {plan.target.unit.value}. Take 'tissue-lookup'."
        )
    chosen: dict[str, Baseline] = {}
    for label in labels:
        candidates = CANDIDATES[FILTER_FAMILIES[name]]
        if len(candidates) == 1:
            chosen[label] = candidates[0]
            continue
        images = _spread([t for t in training if t.label == label] or list(training))
        cases = [
            TuningCase(source_volume(plan, t).array, target_of(t.case), body_of(t.case), t.case.spacing_mm)
            for t in images
        ]
        chosen[label] = tune(candidates, cases, _absolute_error).baseline

    def predict(shown: Presented) -> FloatImage:
        """The filtered source."""
        return chosen[shown.label](source_volume(plan, shown).array, shown.case.spacing_mm)

    detail = "; ".join(f"{found.name} ({label})" if label else found.name for label, found in chosen.items())
    return FittedBaseline(predict, "" if name == "input" else detail)


def _absolute_error(filtered: FloatImage, case: object) -> float:
    """Mean absolute error in the body, what tasks are ranked by."""
    return float(np.abs(filtered - case.reference)[case.mask].mean())  # type: ignore[attr-defined]


def _spread(images: Sequence[Presented]) -> list[Presented]:
    """Some of the images, of as many patients as can be."""
    by_subject: dict[str, list[Presented]] = {}
    for image in images:
        by_subject.setdefault(image.case.subject, []).append(image)
    turns = max(len(found) for found in by_subject.values())
    dealt = [found[k] for k in range(turns) for found in by_subject.values() if k < len(found)]
    return dealt[:TUNING_IMAGES]


def _once(training: Sequence[Presented]) -> list[Presented]:
    """Each case once, at its first level."""
    return list({t.case.case_id: t for t in reversed(training)}.values())[::-1]


def _constant(training: Sequence[Presented]) -> FittedBaseline:
    """The median of the target over the bodies of the training patients; of regions the median of their means."""
    from nmsynth.evaluation.league_measures import region_means

    medians, regions = [], []
    for shown in _once(training):
        target = target_of(shown.case)
        medians.append(target[body_of(shown.case)][::7])
        regions += region_means(target, np.asarray(shown.case.labels))
    value = float(np.median(np.concatenate(medians)))
    region_value = float(np.median(regions)) if regions else None
    detail = f"{value:.3g} everywhere" + (f", {region_value:.3g} for a region" if region_value is not None else "")

    def predict(shown: Presented) -> FloatImage:
        """One number."""
        return np.full(shown.case.target.shape, value, dtype=np.float32)

    return FittedBaseline(predict, detail, region_value)


def _population_mean(plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """The mean of the training patients at each place relative to the box around the source's body."""
    from nmsynth.data.lookup import PopulationMean

    cases = _once(training)
    mean = PopulationMean.fit(
        [target_of(t.case) for t in cases],
        [source_body(source_volume(plan, t)) for t in cases],
        [body_of(t.case) for t in cases],
    )
    return FittedBaseline(lambda shown: mean(source_body(source_volume(plan, shown))), f"{len(cases)} patients' cases")


def _lookup(plan: Plan, training: Sequence[Presented], *, by_depth: bool) -> FittedBaseline:
    """The median of the target by bins of the source's value, and of depth below the skin."""
    from nmsynth.core.units import Unit
    from nmsynth.data.lookup import DEPTH_EDGES_MM, HU_EDGES, Example, TissueLookup

    edges = HU_EDGES if plan.sources[0].unit is Unit.HOUNSFIELD else None
    examples: list[Example] = []
    for shown in _once(training):
        values, depth = _lookup_input(plan, shown, by_depth=by_depth)
        examples.append(Example(values, target_of(shown.case), body_of(shown.case), depth))
    table = TissueLookup.fit(examples, edges=edges, depth_edges_mm=DEPTH_EDGES_MM if by_depth else ())
    n_layers, n_bins = table.values.shape
    detail = f"{n_bins} bins of {plan.sources[0].name}" + (f" by {n_layers} depths" if by_depth else "")
    return FittedBaseline(lambda shown: table(*_lookup_input(plan, shown, by_depth=by_depth)), detail)


def _lookup_input(plan: Plan, shown: Presented, *, by_depth: bool) -> tuple[FloatImage, FloatImage | None]:
    """Values that can be compared between patients, and depths below the skin."""
    from nmsynth.data.lookup import depth_below_skin

    volume = source_volume(plan, shown)
    robust = plan.sources[0].normalisation.kind == "robust"  # MR has a scale in its own body alone
    values = shown.case.source(shown.level)[0] if robust else volume.array
    depth = depth_below_skin(source_body(volume), volume.spacing_mm) if by_depth else None
    return np.asarray(values, dtype=np.float32), depth
