"""Numbers that a department may know of a patient beside the images: age, and a biomarker of amyloid in the blood.

Age
    70 years, standard deviation 8, with a correlation of 0.5 to atrophy, and up to 4 years more with plaques, which
    become more frequent with age [Jansen2015]_. Sizes chosen.
Biomarker
    A concentration relative to the median of those without plaques, log-normal, that rises with plaques until these are
    full; by it alone those who have them are told from those who do not with an area under the ROC curve of 0.92, the
    least that plasma p-tau217 was found to have in three cohorts [Ashton2024]_.

References
----------
.. [Jansen2015] W. J. Jansen et al., Prevalence of cerebral amyloid pathology in persons without dementia, JAMA
   313:1924-1938, 2015.
.. [Ashton2024] N. J. Ashton et al., Diagnostic accuracy of a plasma phosphorylated tau 217 immunoassay for Alzheimer
   disease pathology, JAMA Neurol 81:255-263, 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmsynth.physics.phantom.brain_disease import BrainSubject, subject_for

FULL_AT = 0.5
"""Severity at which plaques are full, as in the uptake of florbetapir."""
MEAN_AGE_Y, SD_AGE_Y, AGE_WITH_PLAQUES_Y = 70.0, 8.0, 4.0
AGE_AND_ATROPHY = 0.5
"""Correlation."""
LOG_SD = 0.4
"""Standard deviation of the logarithm of the biomarker."""
LOG_RISE = LOG_SD * 1.987
"""Rise of its logarithm with full plaques; the area under the ROC curve is ``Φ(LOG_RISE / (LOG_SD √2))``."""


@dataclass(frozen=True, slots=True)
class BrainScalars:
    """What is told of a patient."""

    age_y: float
    biomarker: float
    """Over the median of those without plaques."""


def draw_brain_scalars(rng: np.random.Generator, subject: BrainSubject, *, tracer: str) -> BrainScalars:
    """Draw the numbers of a subject.

    Parameters
    ----------
    rng
        Draws; two numbers.
    subject
        With severity and atrophy.
    tracer
        That the severity is of.

    Examples
    --------
    >>> with_plaques, without = (BrainSubject("alzheimer", severity, 0.5, None) for severity in (0.5, 0.0))
    >>> same = np.random.default_rng(0), np.random.default_rng(0)
    >>> more = draw_brain_scalars(same[0], with_plaques, tracer="florbetapir")
    >>> less = draw_brain_scalars(same[1], without, tracer="florbetapir")
    >>> more.biomarker > 2 * less.biomarker, more.age_y - less.age_y
    (True, 4.0)
    """
    of_age, of_biomarker = (float(v) for v in rng.standard_normal(2))
    full = 0.0
    if subject.disease == "alzheimer":
        full = min(subject_for(subject, tracer="florbetapir", first=tracer).severity / FULL_AT, 1.0)
    # a uniform number less its mean, over its standard deviation
    shrunk = (subject.atrophy - 0.5) * math.sqrt(12)
    age = AGE_AND_ATROPHY * shrunk + math.sqrt(1 - AGE_AND_ATROPHY**2) * of_age
    return BrainScalars(
        age_y=MEAN_AGE_Y + SD_AGE_Y * age + AGE_WITH_PLAQUES_Y * full,
        biomarker=math.exp(LOG_SD * of_biomarker + LOG_RISE * full),
    )
