"""Intervals of the means of regions, from the samples of a synthesis and the calibration in the card of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.inference.synthesize import Synthesis
    from nmsynth.metrics.measurement import Measurement
    from nmsynth.models.card import IntervalCard
    from nmsynth.workflows.task_study import TaskStudy

REGIONS, LESIONS = "regions", "lesions"
"""Groups of regions over which intervals are summarised."""
DEFINITIONS = {
    "interval coverage": "share of the regions, or lesions, of a patient whose reference lies within the interval",
    "interval half width": "half of the interval of a region, and its mean over regions, or lesions, of a patient",
    "relative half width": "the same over the mean of the reference in the region",
}
"""Of what :func:`with_intervals` adds."""
SHOWN_SAMPLES = 3
"""Samples that a report shows side by side."""


@dataclass(frozen=True, slots=True)
class RegionInterval:
    """The mean of a region in an image, the interval that the model gives it, and the reference's where it is known."""

    region: str
    image: float
    lower: float
    upper: float
    reference: float | None

    @property
    def is_covered(self) -> bool:
        """Whether the reference lies within."""
        return self.reference is not None and self.lower <= self.reference <= self.upper

    @property
    def half_width(self) -> float:
        """Half of the interval."""
        return (self.upper - self.lower) / 2

    @property
    def group(self) -> str:
        """Whether it is a lesion or a region."""
        from nmsynth.evaluation.preparation import LESION_PREFIX

        return LESIONS if self.region.startswith(LESION_PREFIX) else REGIONS

    def to_json(self) -> dict[str, Any]:
        """JSON values, rounded."""
        values = {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "covered": self.is_covered}


def region_intervals(
    samples: tuple[Volume, ...],
    reference: Volume | None,
    masks: Mapping[str, npt.ArrayLike],
    card: IntervalCard | None,
) -> list[RegionInterval]:
    """Intervals of regions; none where the card has none of regions, or there are too few samples.

    Parameters
    ----------
    samples
        Of a synthesis.
    reference
        What is known, in the unit of the samples, or activity of which an SUV follows where that is theirs; if
        anything.
    masks
        Regions on the grid of the reference, or else of the samples, by name; the body is left out. Each lesion of a
        mask whose name begins with ``lesion`` is a region of its own.
    card
        How samples become intervals.
    """
    import numpy as np

    from nmsynth.evaluation.preparation import named_lesions
    from nmsynth.evaluation.regional import NO_REGIONS, organs_among
    from nmsynth.metrics.intervals import Widening
    from nmsynth.workflows.task_study import on_grid_of_target

    if card is None or card.region_factor is None or len(samples) < card.n_samples:
        return []
    if reference is not None and samples[0].unit.is_suv and not reference.unit.is_suv:
        reference = reference.to_suv()
    images = [sample.array if reference is None else on_grid_of_target(sample, reference).array for sample in samples]
    widening = Widening(card.region_factor, card.region_floor)
    found = []
    known = {name: np.asarray(mask) for name, mask in masks.items()}
    regions = organs_among({name: mask > 0 for name, mask in known.items() if not name.startswith(NO_REGIONS)})
    for name, inside in {**regions, **dict(named_lesions(known))}.items():
        if not inside.any():
            continue
        means = np.array([image[inside].mean(dtype=np.float64) for image in images])
        half = float(widening.half_width(means.std(ddof=1)))
        middle = float(means.mean())
        true = None if reference is None else float(reference.array[inside].mean(dtype=np.float64))
        found.append(RegionInterval(name, middle, middle - half, middle + half, true))
    return found


def intervals_of_study(
    study: TaskStudy, synthesis: Synthesis, model: str, masks: Mapping[str, npt.ArrayLike]
) -> list[RegionInterval]:
    """Intervals that a model gives the regions and lesions of a simulated study, its masks; none of a model without."""
    from nmsynth.models.registry import show_model

    card = show_model(model).interval
    if card is None or not synthesis.samples:
        return []
    return region_intervals(synthesis.samples, study.target, masks, card)


def with_intervals(metrics: Metrics, intervals: Sequence[RegionInterval]) -> Metrics:
    """Measurements of a study and, by :data:`DEFINITIONS`, those of the intervals of a model, under its arm."""
    from nmsynth.metrics.measurement import Measurement

    if not intervals:
        return metrics
    kind, unit, added = metrics.reference_kind, metrics.unit, []
    for group in dict.fromkeys(i.group for i in intervals):
        own = [i for i in intervals if i.group == group]
        n = len(own)
        relative = [i.half_width / i.reference for i in own if i.reference is not None and i.reference > 0]
        mean = sum(relative) / n if len(relative) == n else None
        added += [
            Measurement("interval coverage", sum(i.is_covered for i in own) / n, "1", group, kind, n=n),
            Measurement("interval half width", sum(i.half_width for i in own) / n, unit, group, n=n),
            Measurement("relative half width", mean, "1", group, kind, n=n),
        ]
    added += [Measurement("interval half width", i.half_width, unit, i.region) for i in intervals]
    definitions = {**metrics.definitions, **DEFINITIONS}
    return replace(metrics, measurements=(*metrics.measurements, *added), definitions=definitions)


def interval_rows(intervals: Sequence[RegionInterval], *, coverage: float, unit: str) -> list[Measurement]:
    """The mean of each region with its interval."""
    from nmsynth.metrics.measurement import Measurement

    kind = f"{100 * coverage:g} % interval of the model"
    return [
        Measurement("mean of the samples", i.image, unit, i.region, lower=i.lower, upper=i.upper, interval=kind)
        for i in intervals
    ]


def shown_beside(synthesis: Synthesis) -> dict[str, Volume]:
    """Images of a synthesis that a report shows beside it, by name: some samples, and half of the interval."""
    return shown_images(synthesis.samples, synthesis.interval)


def shown_images(samples: Sequence[Volume], interval: tuple[Volume, Volume] | None) -> dict[str, Volume]:
    """Of samples, and bounds of an interval, what a report shows, by name."""
    found = {f"sample {k}": sample for k, sample in enumerate(samples[:SHOWN_SAMPLES], 1)}
    if interval is not None:
        lower, upper = interval
        found["half of the interval"] = upper.with_array((upper.array - lower.array) / 2)
    return found
