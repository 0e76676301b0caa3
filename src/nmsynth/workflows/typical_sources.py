"""What the sources of a training are like, for the card of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.card import TypicalCard

LEAST_CASES = 10
"""Below which nothing is said to be typical."""


def typical_sources(cases: Sequence[PreparedCase], plan: Plan) -> TypicalCard | None:
    """Numbers of the first source of each case at every level; ``None`` of too few cases."""
    from nmsynth.data.body import body_contour
    from nmsynth.data.prepared import source_volume
    from nmsynth.metrics.head_fluid import head_fluid, usual_fluid
    from nmsynth.metrics.typicality import image_numbers, typical_of
    from nmsynth.models.card import TypicalCard

    if len(cases) < LEAST_CASES:
        return None
    numbers = []
    fluid: list[float | None] = []
    for case in cases:
        for level in range(len(case.levels)):
            body = body_contour(source_volume(case, plan, level))
            image = case.source(level)[0]
            numbers.append(image_numbers(image, body, case.spacing_mm))
            fluid.append(head_fluid(image, body, case.spacing_mm) if plan.sources[0].modality == "MR" else None)
    found = typical_of(numbers)
    return TypicalCard(mean=found.mean, sd=found.sd, limit=found.limit, n_images=len(numbers), fluid=usual_fluid(fluid))
