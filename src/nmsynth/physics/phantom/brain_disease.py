"""How disease changes the uptake of a brain tracer, by region and graded severity, and who has how much of what.

Severity runs from 0, healthy, to 1, advanced. It is a scale of this model, no clinical stage.

Alzheimer's-like
    FDG falls in the precuneus and posterior cingulate first, then parietal and temporal, then frontal cortex, and
    spares the sensorimotor cortex [Minoshima1997]_, [Herholz2002]_; at full severity by up to 40 %. HMPAO and the first
    minutes of florbetapir, which show perfusion, do the same at three quarters of the depth. Florbetapir rises in
    cortex by what florbetaben shows between healthy elderly and patients, 0.2 to 0.45 as imaged [Bullich2021]_, times
    1.5 for the tissue, all of it reached at severity 0.5, as amyloid comes early [Jack2013]_. Flortaucipir rises in the
    order of Braak's stages [Braak1991]_: medial temporal, then lateral temporal and cingulate, then parietal, frontal
    and occipital, then sensorimotor; half severity is near the means of patients [Timmers2019]_. Depths at full
    severity and onsets are chosen.
Parkinson's-like
    What FDOPA shows above its reference falls most in the posterior putamen; at severity 0.5 to 45 %, in the anterior
    putamen to 62 % and in the caudate to 84 % of healthy [Brooks1990]_, on the worse side. Ioflupane loses 1.35 times
    as much, as transporters fall before synthesis does [Ribeiro2002]_. The better side has 0.7 of the severity; which
    is which is drawn. Both are chosen.

Every other pair of tracer and disease leaves the uptake as in health, which is true of no tracer exactly: the metabolic
pattern of Parkinson's disease, for one, is not modelled.

References
----------
.. [Minoshima1997] S. Minoshima et al., Ann Neurol 42:85-94, 1997.
.. [Herholz2002] K. Herholz et al., Discrimination between Alzheimer dementia and controls by automated analysis of
   multicenter FDG PET, NeuroImage 17:302-316, 2002.
.. [Bullich2021] S. Bullich et al., Early detection of amyloid load using 18F-florbetaben PET, Alzheimers Res Ther
   13:67, 2021, table 3.
.. [Jack2013] C. R. Jack et al., Tracking pathophysiological processes in Alzheimer's disease: an updated hypothetical
   model of dynamic biomarkers, Lancet Neurol 12:207-216, 2013.
.. [Braak1991] H. Braak, E. Braak, Neuropathological stageing of Alzheimer-related changes, Acta Neuropathol 82:239-259,
   1991.
.. [Timmers2019] T. Timmers et al., Alzheimers Res Ther 11:60, 2019.
.. [Brooks1990] D. J. Brooks et al., Differing patterns of striatal 18F-dopa uptake in Parkinson's disease, multiple
   system atrophy, and progressive supranuclear palsy, Ann Neurol 28:547-555, 1990.
.. [Ribeiro2002] M.-J. Ribeiro et al., Dopaminergic function and dopamine transporter binding assessed with positron
   emission tomography in Parkinson disease, Arch Neurol 59:580-586, 2002.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.brain_regions import BrainRegion
from nmsynth.physics.phantom.brain_tracers import brain_tracer_named

Disease = Literal["normal", "alzheimer", "parkinson"]
Coupling = Literal["none", "published", "strong"]
DISEASES: tuple[str, ...] = get_args(Disease)
COUPLINGS: tuple[str, ...] = get_args(Coupling)
PUBLISHED_CORRELATION = 0.42
"""Correlation of severity and atrophy that ``published`` draws.

The middle of the standardised coefficients, 0.30 to 0.55 in size, of lateral and inferior temporal, parietal, occipital
and frontal grey matter on tau in 58 patients [Timmers2019]_. They are adjusted for age and sex and hold for tau; they
are taken for every tracer and disease, which is chosen.
"""
NORMAL_ATROPHY = 0.3
"""Largest atrophy of a healthy subject, chosen."""
BETTER_SIDE = 0.7
"""Severity of the less affected side over that of the other in Parkinson's disease, chosen."""

_B = BrainRegion


@dataclass(frozen=True, slots=True)
class _Change:
    """Change at full severity and the severity at which it starts and ends."""

    size: float
    onset: float = 0.0
    end: float = 1.0

    def at(self, severity: float) -> float:
        """Change at a severity."""
        return self.size * min(max((severity - self.onset) / (self.end - self.onset), 0.0), 1.0)


_METABOLISM = {
    _B.PRECUNEUS: _Change(-0.40),
    _B.PARIETAL: _Change(-0.38, 0.10),
    _B.LATERAL_TEMPORAL: _Change(-0.32, 0.10),
    _B.MEDIAL_TEMPORAL: _Change(-0.25, 0.05),
    _B.HIPPOCAMPUS: _Change(-0.20, 0.05),
    _B.FRONTAL: _Change(-0.22, 0.40),
    _B.ANTERIOR_CINGULATE: _Change(-0.12, 0.40),
    _B.INSULA: _Change(-0.10, 0.40),
    _B.OCCIPITAL: _Change(-0.12, 0.50),
}
_AMYLOID = {
    region: _Change(size, 0.0, 0.5)
    for region, size in {
        _B.FRONTAL: 0.65, _B.ANTERIOR_CINGULATE: 0.65, _B.PRECUNEUS: 0.68, _B.PARIETAL: 0.58,
        _B.LATERAL_TEMPORAL: 0.55, _B.INSULA: 0.45, _B.OCCIPITAL: 0.36, _B.SENSORIMOTOR: 0.28, _B.MEDIAL_TEMPORAL: 0.22,
        _B.CAUDATE: 0.30, _B.ANTERIOR_PUTAMEN: 0.35, _B.POSTERIOR_PUTAMEN: 0.30, _B.ACCUMBENS: 0.35, _B.AMYGDALA: 0.12,
        _B.HIPPOCAMPUS: 0.08,
    }.items()
}  # fmt: skip
_TAU = {
    _B.MEDIAL_TEMPORAL: _Change(0.75),
    _B.HIPPOCAMPUS: _Change(0.35),
    _B.AMYGDALA: _Change(0.70, 0.10),
    _B.LATERAL_TEMPORAL: _Change(1.20, 0.20),
    _B.PRECUNEUS: _Change(1.10, 0.30),
    _B.INSULA: _Change(0.45, 0.30),
    _B.PARIETAL: _Change(1.00, 0.35),
    _B.ANTERIOR_CINGULATE: _Change(0.50, 0.40),
    _B.FRONTAL: _Change(0.70, 0.45),
    _B.OCCIPITAL: _Change(0.70, 0.50),
    _B.SENSORIMOTOR: _Change(0.25, 0.70),
}
_DOPAMINE_LOSS = {
    _B.POSTERIOR_PUTAMEN: 0.73,
    _B.ANTERIOR_PUTAMEN: 0.51,
    _B.CAUDATE: 0.21,
    _B.ACCUMBENS: 0.21,
    _B.VENTRAL_DIENCEPHALON: 0.20,
}
"""Loss of FDOPA's excess at full severity; three quarters of it, the loss of [Brooks1990]_, at severity 0.5."""
_TRANSPORTER_FACTOR = 1.35


def _scaled(changes: Mapping[BrainRegion, _Change], factor: float) -> dict[BrainRegion, _Change]:
    """Changes of the same course and another depth."""
    return {region: _Change(factor * c.size, c.onset, c.end) for region, c in changes.items()}


_PERFUSION = _scaled(_METABOLISM, 0.75)
_RELATIVE = {
    ("alzheimer", "FDG"): _METABOLISM,
    ("alzheimer", "HMPAO"): _PERFUSION,
    ("alzheimer", "early-florbetapir"): _PERFUSION,
}
_ADDED = {("alzheimer", "florbetapir"): _AMYLOID, ("alzheimer", "flortaucipir"): _TAU}
_EXCESS_LOSS = {("parkinson", "FDOPA"): 1.0, ("parkinson", "ioflupane"): _TRANSPORTER_FACTOR}


def changes_uptake(disease: str, tracer: str) -> bool:
    """Whether a disease changes the uptake of a tracer in this model.

    Examples
    --------
    >>> changes_uptake("parkinson", "FDOPA"), changes_uptake("parkinson", "florbetapir")
    (True, False)
    """
    key = (checked_disease(disease), brain_tracer_named(tracer).name)
    return key in _RELATIVE or key in _ADDED or key in _EXCESS_LOSS


def checked_disease(disease: str) -> str:
    """The disease, refused where it is unknown."""
    if disease not in DISEASES:
        raise InputError(f"A disease must be one of {', '.join(DISEASES)}; found {disease!r}.")
    return disease


def diseased_ratio(
    region: BrainRegion, ratio: float, *, tracer: str, disease: str, severity: float, worse_side: bool = True
) -> float:
    """Ratio of a region to the reference region at a severity, from the healthy ratio.

    Parameters
    ----------
    region
        Which region.
    ratio
        Of the subject in health.
    tracer, disease
        Names; see :data:`nmsynth.physics.phantom.brain_tracers.BRAIN_TRACERS` and :data:`DISEASES`.
    severity
        From 0 to 1.
    worse_side
        Whether the region lies on the more affected side; matters in Parkinson's disease only.

    Examples
    --------
    >>> healthy, putamen = 3.0, BrainRegion.POSTERIOR_PUTAMEN
    >>> found = diseased_ratio(putamen, healthy, tracer="FDOPA", disease="parkinson", severity=0.5)
    >>> round((found - 1) / (healthy - 1), 2)
    0.45
    """
    severity = checked_share("severity", severity)
    key = (checked_disease(disease), brain_tracer_named(tracer).name)
    if key in _RELATIVE and region in _RELATIVE[key]:
        return ratio * (1 + _RELATIVE[key][region].at(severity))
    if key in _ADDED and region in _ADDED[key]:
        return ratio + _ADDED[key][region].at(severity)
    if key in _EXCESS_LOSS and region in _DOPAMINE_LOSS:
        own = severity if worse_side else BETTER_SIDE * severity
        loss = min(_EXCESS_LOSS[key] * _DOPAMINE_LOSS[region], 0.95) * (1 - (1 - own) ** 2)
        return 1 + (ratio - 1) * (1 - loss) if ratio > 1 else ratio
    return ratio


def checked_share(name: str, value: float) -> float:
    """A number from 0 to 1, refused where it is not."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise InputError(f"The {name} of a brain must lie from 0 to 1; found {value}.")
    return float(value)


@dataclass(frozen=True, slots=True)
class BrainSubject:
    """What a subject has."""

    disease: str
    severity: float
    """Of the uptake pattern, from 0 to 1."""
    atrophy: float
    """Of the anatomy, from 0 to 1."""
    coupling: str | None
    """How they were drawn; ``None`` where they were given."""
    further_severity: float = 0.0
    """Of the uptake pattern of a tracer that shows another pathology than the first; see :func:`subject_for`."""


PATHOLOGY = {
    "FDG": "metabolism", "HMPAO": "metabolism", "early-florbetapir": "metabolism", "florbetapir": "amyloid",
    "flortaucipir": "tau",
}  # fmt: skip
"""What a tracer shows of an Alzheimer's-like disease: perfusion goes with metabolism, plaques and tangles by
themselves."""


def subject_for(subject: BrainSubject, *, tracer: str, first: str) -> BrainSubject:
    """The subject as a tracer shows it, whose severity is of the pathology that the first tracer shows.

    Examples
    --------
    >>> found = BrainSubject("alzheimer", 0.8, 0.3, None, further_severity=0.1)
    >>> subject_for(found, tracer="florbetapir", first="FDG").severity
    0.1
    >>> subject_for(found, tracer="early-florbetapir", first="FDG").severity
    0.8
    """
    names = [brain_tracer_named(name).name for name in (tracer, first)]
    seen, known = (PATHOLOGY.get(name) for name in names)
    return subject if seen == known else replace(subject, severity=subject.further_severity)


def draw_brain_subject(
    rng: np.random.Generator,
    *,
    disease: str = "alzheimer",
    coupling: str = "none",
    severity: float | None = None,
    atrophy: float | None = None,
    healthy_share: float = 0.0,
) -> BrainSubject:
    """Draw severity and atrophy of a subject, each uniform from 0 to 1, with a stated correlation.

    The two are ``Φ(a)`` and ``Φ(b)`` of normal numbers with correlation ``2 sin(π r / 6)``, which makes their own
    correlation ``r``: 0 for ``none``, :data:`PUBLISHED_CORRELATION` for ``published``; ``strong`` makes them equal. The
    severity that a tracer of another pathology shows is a third such number, as far from either.
    A healthy subject has severity 0 and an atrophy up to :data:`NORMAL_ATROPHY`, under ``strong`` none.

    Parameters
    ----------
    rng
        Draws; three numbers, whatever is given.
    severity, atrophy
        Given instead of drawn; the other is then drawn from its distribution given this one.
    healthy_share
        Share of the subjects whose severity is 0; that of the others is uniform. Atrophy is drawn as before, so that
        under ``none`` it tells nothing of who they are.

    Raises
    ------
    InputError
        If a name is unknown, a number is not from 0 to 1, a healthy subject is given a severity above 0, or both
        numbers are given and ``strong`` coupling asks for equal ones.
    """
    checked_disease(disease)
    if coupling not in COUPLINGS:
        raise InputError(
            f"The coupling of atrophy and uptake must be one of {', '.join(COUPLINGS)}; found {coupling!r}."
        )
    for name, value in (("severity", severity), ("atrophy", atrophy), ("healthy share", healthy_share)):
        if value is not None:
            checked_share(name, value)
    if disease == "normal" and severity:
        raise InputError(
            f"A healthy brain has severity 0; found {severity}. Name a disease, or leave the severity out."
        )
    if coupling == "strong" and severity is not None and atrophy is not None and severity != atrophy:
        raise InputError(
            f"Strong coupling makes atrophy equal to severity; found {atrophy} and {severity}. Leave one of them out."
        )
    first, second, third = (float(v) for v in rng.standard_normal(3))
    if disease == "normal":
        drawn = 0.0 if coupling == "strong" else NORMAL_ATROPHY * _uniform(second)
        return BrainSubject(disease, 0.0, drawn if atrophy is None else atrophy, coupling)
    if coupling == "strong":
        given = atrophy if severity is None else severity
        both = _severity(first, healthy_share) if given is None else given
        return BrainSubject(disease, both, both, coupling, both)
    r = 2 * math.sin(math.pi * (PUBLISHED_CORRELATION if coupling == "published" else 0.0) / 6)
    other = math.sqrt(1 - r * r)
    if severity is not None:
        first = _of_severity(severity, first, healthy_share)
    elif atrophy is not None:
        first = r * _normal(atrophy) + other * first
    second = r * first + other * second if atrophy is None else _normal(atrophy)
    third = r / (1 + r) * (first + second) + math.sqrt(1 - 2 * r * r / (1 + r)) * third
    return BrainSubject(
        disease,
        _severity(first, healthy_share) if severity is None else severity,
        _uniform(second) if atrophy is None else atrophy,
        coupling,
        _severity(third, healthy_share),
    )


def _severity(normal: float, healthy_share: float) -> float:
    """Severity of a normal number, of whose distribution the lower share is healthy."""
    if healthy_share >= 1:
        return 0.0
    return max(0.0, (_uniform(normal) - healthy_share) / (1 - healthy_share))


def _of_severity(severity: float, drawn: float, healthy_share: float) -> float:
    """Normal number of a severity; of the healthy, one of theirs."""
    if severity > 0 or healthy_share == 0:
        return _normal(healthy_share + (1 - healthy_share) * severity)
    return _normal(healthy_share * _uniform(drawn))


def _uniform(normal: float) -> float:
    """Share of the normal distribution below a number."""
    return 0.5 * (1 + math.erf(normal / math.sqrt(2)))


def _normal(uniform: float) -> float:
    """Number below which a share of the normal distribution lies, at most 3 standard deviations from 0."""
    from scipy.special import ndtri

    return float(np.clip(ndtri(uniform), -3.0, 3.0))
