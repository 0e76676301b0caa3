"""The scale on which a benchmark measures: what answers come back by is known without the target, as in synthesis.

Where a target has no scale of its own (counts, relative values, MR), its level is nothing that could be predicted. Then
everything is measured on one scale for a case: that of its source, as it is first presented, for activity, and that of
the plan for MR. Where the target has a unit, or comes from the counts of its source by the same calibration, it is
measured as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nmsynth.core.normalisation import FittedNormalisation
    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase

FloatImage = npt.NDArray[np.float32]


def is_one_kind(plan: Plan) -> bool:
    """Whether the first source and the target are one kind of image in one unit."""
    first, target = plan.sources[0], plan.target
    return (first.modality, first.unit) == (target.modality, target.unit)


def has_own_scale(plan: Plan) -> bool:
    """Whether values of the target are compared as they are, as its unit or its source says what they should be."""
    return not plan.target.normalisation.is_of_each_image or plan.target_level_of_source


def measured_scale(plan: Plan, case: PreparedCase) -> FittedNormalisation:
    """By which the normalised target of a case becomes the image that answers are compared with.

    Examples
    --------
    A target in counts, whose plan says ``level`` with a scale of 3, and whose source has a level of 20 counts, is
    measured by ``y * 3 * 20``, whatever its own counts are.
    """
    if has_own_scale(plan):
        return case.target_normalisation()
    return _by_source(plan, case, 0)


def answer_scale(plan: Plan, case: PreparedCase, level: int) -> FittedNormalisation:
    """By which the answer to a case, presented at a level, becomes an image: as a synthesis from that source does it.

    Where nothing says how counts of sources compare, all levels of a case come on the scale of the first.
    """
    return _by_source(plan, case, level if has_own_scale(plan) else 0)


def source_on_scale(plan: Plan, case: PreparedCase, level: int) -> FloatImage:
    """The first source as an answer that changes nothing, shape ``(z, y, x)``; of the target's kind it must be."""
    from nmsynth.data.prepared import source_volume

    if has_own_scale(plan):
        return source_volume(case, plan, level).array
    # its own scale stands in the place of the target's: y is x where source and target differ by their levels alone
    fitted = measured_scale(plan, case)
    own = plan.sources[0].normalisation
    if own.kind == "level":
        fitted = replace(fitted, scale=fitted.scale * own.scale / plan.target.normalisation.scale)
    return fitted.invert(case.source(level)[0])


def range_on_scale(plan: Plan, case: PreparedCase) -> float:
    """Range of SSIM [unit of the target]: the window of HU, else what the plan takes for the 99.5th percentile."""
    if plan.target.normalisation.kind == "level":
        return measured_scale(plan, case).scale
    return range_of(plan)


def range_of(plan: Plan) -> float:
    """The same for a whole task [unit of the target]; where each case has its level, as a multiple of that."""
    n = plan.target.normalisation
    return n.high - n.low if n.low is not None and n.high is not None else n.scale


def _by_source(plan: Plan, case: PreparedCase, level: int) -> FittedNormalisation:
    """The plan's normalisation of the target, of activity without a scale by the level of the first source."""
    from nmsynth.data.prepared import scale_by_source

    typical = plan.target.normalisation.typical()
    return scale_by_source(plan, case, level) if typical.kind == "level" else typical
