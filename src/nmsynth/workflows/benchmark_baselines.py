"""The baselines of a benchmark, fitted to training patients and applied to an image like a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.plan import TARGET_TRACER
from nmsynth.workflows.benchmark_scale import answer_scale, is_one_kind, measured_scale, source_on_scale
from nmsynth.workflows.brain_baselines import FITTED as BRAIN
from nmsynth.workflows.brain_baselines import fit_brain_baseline
from nmsynth.workflows.early_baselines import FITTED as EARLY
from nmsynth.workflows.early_baselines import fit_early_baseline
from nmsynth.workflows.heart_baselines import FITTED as HEART
from nmsynth.workflows.heart_baselines import fit_heart_baseline

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
    """Image in the unit of the target, shape ``(z, y, x)``, on the scale on which a synthesis comes."""
    detail: str
    """What it was fitted or tuned to."""
    region_value: Callable[[Presented], float] | None = None
    """What it says of every region of a case, where that is not the mean of its image there."""
    keeps_scale: bool = False
    """Whether it leaves the scale of the source, so that its level is judged as that of a synthesis."""


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
        return _constant(plan, training)
    if name == "population-mean":
        return _population_mean(plan, training)
    if name in BRAIN:
        return fit_brain_baseline(name, plan, training)
    if name in EARLY:
        return fit_early_baseline(name, plan, training)
    if name in HEART:
        return fit_heart_baseline(name, plan, training)
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


def target_of(plan: Plan, case: PreparedCase) -> FloatImage:
    """Target in its unit on the scale on which it is measured, shape ``(z, y, x)``."""
    return measured_scale(plan, case).invert(np.asarray(case.target))


def body_of(case: PreparedCase) -> npt.NDArray[np.bool_]:
    """Where errors are measured, shape ``(z, y, x)``: the body, within the field of view of every source."""
    return np.asarray(np.asarray(case.weight) >= 1.0)


def _filter(name: str, plan: Plan, training: Sequence[Presented], labels: Sequence[str]) -> FittedBaseline:
    """A filter, tuned for each class of counts on training images of that class by the mean absolute error."""
    from nmsynth.models.classical import CANDIDATES, TuningCase, tune

    first = plan.sources[0]
    if not is_one_kind(plan):
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
            TuningCase(_source(plan, t), target_of(plan, t.case), body_of(t.case), t.case.spacing_mm) for t in images
        ]
        chosen[label] = tune(candidates, cases, absolute_error).baseline

    def predict(shown: Presented) -> FloatImage:
        """The filtered source."""
        return chosen[shown.label](_source(plan, shown), shown.case.spacing_mm)

    detail = "; ".join(f"{found.name} ({label})" if label else found.name for label, found in chosen.items())
    return FittedBaseline(predict, "" if name == "input" else detail)


def _source(plan: Plan, shown: Presented) -> FloatImage:
    """The first source on the scale on which the target is measured."""
    return source_on_scale(plan, shown.case, shown.level)


def absolute_error(filtered: FloatImage, case: object) -> float:
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


def _learned(plan: Plan, case: PreparedCase) -> FloatImage:
    """What a baseline is fitted to, shape ``(z, y, x)``: the target, where it goes by a level as a network sees it."""
    return np.asarray(case.target) if _by_level(plan) else target_of(plan, case)


def _answered(plan: Plan, shown: Presented, image: FloatImage) -> FloatImage:
    """What a fitted baseline says, in the unit of the target: brought back as the answer of a network is."""
    return answer_scale(plan, shown.case, shown.level).invert(image) if _by_level(plan) else image


def _by_level(plan: Plan) -> bool:
    """Whether patients can be compared only after each was divided by a level of its own."""
    return plan.target.normalisation.kind == "level"


def _constant(plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """The median of the target over the bodies of the training patients; of regions the median of their means."""
    from nmsynth.evaluation.league_measures import region_means

    medians, regions = [], []
    for shown in _once(training):
        target = _learned(plan, shown.case)
        medians.append(target[body_of(shown.case)][::7])
        regions += region_means(target, np.asarray(shown.case.labels))
    value = float(np.median(np.concatenate(medians)))
    region = float(np.median(regions)) if regions else None
    shown_as, of = (plan.target.normalisation.scale, " of the level") if _by_level(plan) else (1.0, "")
    detail = f"{value * shown_as:.3g}{of} everywhere"
    detail += f", {region * shown_as:.3g} for a region" if region is not None else ""

    def predict(shown: Presented) -> FloatImage:
        """One number."""
        return _answered(plan, shown, np.full(shown.case.target.shape, value, dtype=np.float32))

    if region is None:
        return FittedBaseline(predict, detail)
    for_region = np.asarray([region])
    return FittedBaseline(predict, detail, lambda shown: float(_answered(plan, shown, for_region)[0]))


def _population_mean(plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """The mean of the training patients at each place relative to the box around the source's body.

    Where networks are told which tracer they imitate there is one for each; of one that was not seen it is that of all.
    """
    from nmsynth.data.lookup import PopulationMean

    cases = _once(training)
    told = {_told_tracer(plan, t) for t in cases} - {None}
    groups = {None: cases} | {tracer: [t for t in cases if _told_tracer(plan, t) == tracer] for tracer in told}
    means = {
        tracer: PopulationMean.fit(
            (_learned(plan, t.case), source_body(source_volume(plan, t)), body_of(t.case)) for t in own
        )
        for tracer, own in groups.items()
    }

    def predict(shown: Presented) -> FloatImage:
        """The mean of those that were told the same."""
        mean = means.get(_told_tracer(plan, shown), means[None])
        return _answered(plan, shown, mean(source_body(source_volume(plan, shown))))

    detail = f"{len(cases)} patients' cases" + (f", {len(told)} tracers" if told else "")
    return FittedBaseline(predict, detail)


def _told_tracer(plan: Plan, shown: Presented) -> tuple[float, ...] | None:
    """The numbers by which a network is told what tracer it imitates; ``None`` where it is not told."""
    told = shown.case.levels[shown.level][1]
    columns = next((columns for c, columns in plan.condition_columns if c.name == TARGET_TRACER), None)
    return None if columns is None else tuple(told[columns])


def _lookup(plan: Plan, training: Sequence[Presented], *, by_depth: bool) -> FittedBaseline:
    """The median of the target by bins of the source's value, and of depth below the skin."""
    from nmsynth.core.units import Unit
    from nmsynth.data.lookup import DEPTH_EDGES_MM, HU_EDGES, TissueLookup

    edges = HU_EDGES if plan.sources[0].unit is Unit.HOUNSFIELD else None
    examples = (_example(plan, shown, by_depth=by_depth) for shown in _once(training))
    table = TissueLookup.fit(examples, edges=edges, depth_edges_mm=DEPTH_EDGES_MM if by_depth else ())

    def predict(shown: Presented) -> FloatImage:
        """What the table says of each voxel."""
        return _answered(plan, shown, table(*_lookup_input(plan, shown, by_depth=by_depth)))

    n_layers, n_bins = table.values.shape
    detail = f"{n_bins} bins of {plan.sources[0].name}" + (f" by {n_layers} depths" if by_depth else "")
    return FittedBaseline(predict, detail)


def _example(plan: Plan, shown: Presented, *, by_depth: bool) -> Example:
    """What a lookup is fitted to of a training case."""
    from nmsynth.data.lookup import Example

    values, depth = _lookup_input(plan, shown, by_depth=by_depth)
    return Example(values, _learned(plan, shown.case), body_of(shown.case), depth)


def _lookup_input(plan: Plan, shown: Presented, *, by_depth: bool) -> tuple[FloatImage, FloatImage | None]:
    """Values that can be compared between patients, and depths below the skin."""
    from nmsynth.data.lookup import depth_below_skin

    volume = source_volume(plan, shown)
    own = plan.sources[0].normalisation.is_of_each_image  # MR and counts have a scale in their body alone
    values = shown.case.source(shown.level)[0] if own else volume.array
    depth = depth_below_skin(source_body(volume), volume.spacing_mm) if by_depth else None
    return np.asarray(values, dtype=np.float32), depth
