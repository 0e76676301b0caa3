"""Intervals of the means of regions, from the samples of a synthesis and the calibration in the card of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.inference.synthesize import Synthesis
    from nmsynth.models.card import IntervalCard

SHOWN_SAMPLES = 3
"""Samples that a report shows side by side."""


@dataclass(frozen=True, slots=True)
class RegionInterval:
    """The mean of a region in an image, the interval that the model gives it, and the reference's."""

    region: str
    image: float
    lower: float
    upper: float
    reference: float

    @property
    def is_covered(self) -> bool:
        """Whether the reference lies within."""
        return self.lower <= self.reference <= self.upper

    def to_json(self) -> dict[str, Any]:
        """JSON values, rounded."""
        values = {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "covered": self.is_covered}


def region_intervals(
    samples: tuple[Volume, ...],
    reference: Volume,
    masks: Mapping[str, npt.ArrayLike],
    card: IntervalCard | None,
) -> list[RegionInterval]:
    """Intervals of regions; none where the card has none of regions, or there are too few samples.

    Parameters
    ----------
    samples
        Of a synthesis, in the unit of the reference.
    reference
        What is known.
    masks
        Regions on the grid of the reference, by name; the body and lesions are left out.
    card
        How samples become intervals.
    """
    import numpy as np

    from nmsynth.evaluation.regional import NO_REGIONS
    from nmsynth.metrics.intervals import Widening
    from nmsynth.workflows.task_study import on_grid_of_target

    if card is None or card.region_factor is None or len(samples) < card.n_samples:
        return []
    images = [on_grid_of_target(sample, reference).array for sample in samples]
    widening = Widening(card.region_factor, card.region_floor)
    found = []
    for name, mask in masks.items():
        inside = np.asarray(mask, dtype=np.float64) > 0
        if name.startswith(NO_REGIONS) or not inside.any():
            continue
        means = np.array([image[inside].mean(dtype=np.float64) for image in images])
        half = float(widening.half_width(means.std(ddof=1)))
        middle, known = float(means.mean()), float(reference.array[inside].mean(dtype=np.float64))
        found.append(RegionInterval(name, middle, middle - half, middle + half, known))
    return found


def shown_beside(synthesis: Synthesis) -> dict[str, Volume]:
    """Images of a synthesis that a report shows beside it, by name: some samples, and half of the interval."""
    found = {f"sample {k}": sample for k, sample in enumerate(synthesis.samples[:SHOWN_SAMPLES], 1)}
    if synthesis.interval is not None:
        lower, upper = synthesis.interval
        found["half of the interval"] = upper.with_array((upper.array - lower.array) / 2)
    return found
