"""Rate constants of tissues by tracer: what is published, and what is chosen and said to be.

Published:

- FDG, grey and white matter: [Huang1980]_. Other sets of the same method lie near: 0.095, 0.125, 0.069, 0.0055 for grey
  and 0.065, 0.126, 0.066, 0.0054 for white matter in [Reivich1985]_; over 43 regions of seven men [Heiss1984]_ found
  ``k1`` from 0.049 (oval centre) to 0.099 (visual cortex), ``k2`` from 0.120 to 0.147 and ``k3`` from 0.039 (temporal
  white matter) to 0.082 (caudate nucleus), with standard deviations between subjects of about 15, 12 and 30 %.
- Florbetaben and flutemetamol: cortex and cerebellar reference of [Heeman2019]_, two tissue compartments with 5 % of
  blood, fitted there to patients and controls; both tissues hold reversible binding, so the ratio of their distribution
  volumes, 1.02 to 2.04 and 1.02 to 1.77, is what a reference model calls 1 + BP.
- FDOPA: influx relative to occipital cortex of 33 controls and 67 patients with Parkinson's disease [Adams2005]_,
  caudate 0.0116 and 0.0085, putamen 0.0104 and 0.0046 1/min.

Chosen: every other region, blood volumes of FDG, everything outside the brain, all of florbetapir, free exchange of
FDOPA. The rates of florbetapir are such that its SUVR from 50 to 70 minutes at BP 0.19, 0.23 and 0.29 is within 3 % of
1.28, 1.34 and 1.43, the pairs of thresholds of [Ebenau2021]_. FDG of organs outside the head has K1 and k2 of the order
that is reported and a k3 with which SUV after 60 minutes is the median of the uptake table in ``phantom/organs.py``.

References
----------
.. [Huang1980] S.-C. Huang et al., Noninvasive determination of local cerebral metabolic rate of glucose in man, Am J
   Physiol 238:E69-E82, 1980.
.. [Reivich1985] M. Reivich et al., Glucose metabolic rate kinetic model parameter determination in humans, J Cereb
   Blood Flow Metab 5:179-192, 1985.
.. [Heiss1984] W.-D. Heiss et al., Regional kinetic constants and cerebral metabolic rate for glucose in normal human
   volunteers, J Cereb Blood Flow Metab 4:212-223, 1984.
.. [Heeman2019] F. Heeman et al., Optimized dual-time-window protocols for quantitative [18F]flutemetamol and
   [18F]florbetaben PET studies, EJNMMI Res 9:32, 2019.
.. [Ebenau2021] J. L. Ebenau et al., Grey zone amyloid burden affects memory function: the SCIENCe project, Eur J Nucl
   Med Mol Imaging 48:747-756, 2021.
.. [Adams2005] J. R. Adams et al., PET in LRRK2 mutations: comparison to sporadic Parkinson's disease and evidence for
   presymptomatic compensation, Brain 128:2777-2785, 2005.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.physics.kinetics import RateConstants

Rates = dict[str, RateConstants]
"""Rate constants by name of region; ``"other"`` stands for what is not named."""

SPREAD = 0.1
"""Relative spread of delivery, free volume and release between subjects, of all tracers but FDG (chosen)."""
FDG_SPREAD = (0.15, 0.12, 0.30, 0.10)
"""Relative spread of ``k1`` to ``k4`` of FDG between subjects: of the first three that of [Heiss1984]_; the last
chosen."""
FDG_COMMON = 0.5
"""Share of that variance which all regions of a subject have in common (chosen)."""
_FDG_CORRELATION = ((1.0, 0.7, 0.0, 0.0), (0.7, 1.0, 0.5, 0.0), (0.0, 0.5, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
"""Between ``k1`` to ``k4`` of one region, as fitted constants go up and down together (chosen, so that the influx of
cortex varies by 19 %)."""

_BLOOD = RateConstants(0.0, 1.0, 0.0, 0.0, 1.0)
_AIR = RateConstants(0.0, 1.0)
_FLUID = RateConstants(0.0, 1.0, 0.0, 0.0, 0.02)

FDG: Rates = {
    "cortex": RateConstants(0.102, 0.130, 0.062, 0.0068, 0.05),
    "cerebellar grey": RateConstants(0.110, 0.140, 0.050, 0.0060, 0.05),
    "white matter": RateConstants(0.054, 0.109, 0.045, 0.0058, 0.03),
    "blood": _BLOOD,
    "csf": _FLUID,
    "air": _AIR,
    "fat": RateConstants(0.010, 0.20, 0.005, 0.0, 0.01),
    "bone": RateConstants(0.010, 0.20, 0.006, 0.0, 0.02),
    "marrow": RateConstants(0.060, 0.50, 0.030, 0.0, 0.08),
    "other": RateConstants(0.035, 0.30, 0.020, 0.0, 0.04),
    "occipital": RateConstants(0.107, 0.132, 0.064, 0.0068, 0.05),
    "thalamus": RateConstants(0.104, 0.130, 0.0625, 0.0068, 0.05),
    "caudate": RateConstants(0.100, 0.133, 0.074, 0.0068, 0.04),
    "putamen": RateConstants(0.108, 0.132, 0.071, 0.0068, 0.04),
    "pallidum": RateConstants(0.082, 0.128, 0.054, 0.0066, 0.04),
    "hippocampus": RateConstants(0.080, 0.133, 0.049, 0.0064, 0.04),
    "amygdala": RateConstants(0.074, 0.130, 0.048, 0.0064, 0.04),
    "accumbens": RateConstants(0.095, 0.131, 0.066, 0.0068, 0.04),
    "brainstem": RateConstants(0.066, 0.120, 0.047, 0.0060, 0.04),
    "cerebellar white": RateConstants(0.060, 0.115, 0.045, 0.0058, 0.03),
    "muscle": RateConstants(0.040, 0.30, 0.040, 0.0, 0.03),
    "skin": RateConstants(0.020, 0.25, 0.008, 0.0, 0.03),
    "mucosa": RateConstants(0.060, 0.35, 0.025, 0.0, 0.06),
    "pons": RateConstants(0.066, 0.120, 0.047, 0.0060, 0.04),
}
"""FDG in a head. Cortex and white matter of [Huang1980]_ with blood added; all else chosen."""

FDG_ORGANS: Rates = {
    "liver": RateConstants(0.80, 0.90, 0.0075, 0.012, 0.10),
    "spleen": RateConstants(0.60, 0.90, 0.0080, 0.008, 0.20),
    "lung": RateConstants(0.020, 0.25, 0.0100, 0.0, 0.16),
    "muscle": RateConstants(0.030, 0.30, 0.030, 0.0, 0.03),
    "myocardium": RateConstants(0.60, 1.20, 0.0250, 0.001, 0.15),
    "marrow": RateConstants(0.15, 0.60, 0.018, 0.0, 0.10),
    "tumour": RateConstants(0.25, 0.60, 0.100, 0.0, 0.08),
}
"""FDG in organs outside the head, all chosen; see above."""


@dataclass(frozen=True, slots=True)
class AmyloidRates:
    """A reversible tracer of amyloid plaques.

    Attributes
    ----------
    k1, k2
        Of cortex [mL/cm3/min] and [1/min].
    k4
        From binding back [1/min].
    negative, positive
        ``k3 / k4`` in cortex without plaques, where it is nonspecific, and with the most.
    reference
        Cerebellar grey matter.
    """

    k1: float
    k2: float
    k4: float
    negative: float
    positive: float
    reference: RateConstants


AMYLOID: dict[str, AmyloidRates] = {
    "florbetaben": AmyloidRates(0.226, 0.069, 0.010, 1.0, 3.0, RateConstants(0.25, 0.076, 0.007, 0.007 / 0.95, 0.05)),
    "flutemetamol": AmyloidRates(0.248, 0.080, 0.020, 0.38, 1.4, RateConstants(0.32, 0.103, 0.018, 0.018 / 0.35, 0.05)),
    "florbetapir": AmyloidRates(0.25, 0.10, 0.020, 0.02, 0.70, RateConstants(0.275, 0.11, 0.0, 0.0, 0.05)),
}
"""Cortex and reference of each tracer; the first two from [Heeman2019]_, florbetapir chosen."""

_BURDEN = {
    "cortex": 1.0, "occipital": 0.55, "caudate": 0.8, "putamen": 0.8, "accumbens": 0.8, "thalamus": 0.4,
    "pallidum": 0.3, "hippocampus": 0.25, "amygdala": 0.4,
}  # fmt: skip
"""Plaques of a region over those of cortex (chosen)."""
_DEEP_GREY = {"caudate", "putamen", "accumbens", "thalamus", "pallidum"}
_DEEP_NONSPECIFIC = 0.6
"""Nonspecific binding of deep grey matter over that of cortex (chosen, beside averages of patients without plaques)."""
_WHITE_RATIO = 1.35
"""Distribution volume of white matter over that of cerebellar grey: nonspecific, slow (chosen)."""


def amyloid_rates(tracer: str, severity: float) -> Rates:
    """Rate constants of an amyloid tracer.

    Parameters
    ----------
    tracer
        A key of :data:`AMYLOID`.
    severity
        From 0, no plaques, to 1, the most of the table; ``k3 / k4`` lies between the two linearly. Regions differ in
        delivery as FDG's ``K1`` does (chosen), so that an early image shows more than the same everywhere.

    Raises
    ------
    InputError
        If the tracer is unknown or the severity not from 0 to 1.
    """
    if tracer not in AMYLOID:
        raise InputError(f"Rate constants of amyloid are known for {', '.join(AMYLOID)}; found '{tracer}'.")
    _check_severity(severity)
    t = AMYLOID[tracer]
    rates: Rates = {}
    for region, burden in _BURDEN.items():
        nonspecific = t.negative * (_DEEP_NONSPECIFIC if region in _DEEP_GREY else 1.0)
        bound = nonspecific + severity * burden * (t.positive - t.negative)
        delivery = FDG[region].k1 / FDG["cortex"].k1
        rates[region] = RateConstants(t.k1 * delivery, t.k2 * delivery, bound * t.k4, t.k4, 0.05)
    white = _slow(0.40 * t.reference.k1, _WHITE_RATIO * t.reference.distribution_volume, k4=0.02)
    stem = _slow(0.60 * t.reference.k1, 1.3 * t.reference.distribution_volume, k4=0.02)
    return {
        **rates,
        "cerebellar grey": t.reference,
        "cerebellar white": white,
        "white matter": white,
        "brainstem": stem,
        "blood": _BLOOD, "csf": _FLUID, "air": _AIR,
        "fat": RateConstants(0.02, 0.02, 0.0, 0.0, 0.01), "bone": RateConstants(0.02, 0.03, 0.0, 0.0, 0.02),
        "marrow": RateConstants(0.10, 0.05, 0.0, 0.0, 0.08), "muscle": RateConstants(0.05, 0.04, 0.0, 0.0, 0.03),
        "skin": RateConstants(0.04, 0.03, 0.0, 0.0, 0.03), "mucosa": RateConstants(0.10, 0.05, 0.0, 0.0, 0.06),
        "other": RateConstants(0.04, 0.03, 0.0, 0.0, 0.04),
        "pons": stem,
    }  # fmt: skip


def _slow(k1: float, volume: float, *, k4: float) -> RateConstants:
    """Two compartments of a given distribution volume, a third of it in the first."""
    return RateConstants(k1, 3 * k1 / volume, 2 * k4, k4, 0.03)


DOPA_INFLUX_PER_MIN: dict[str, tuple[float, float]] = {
    "caudate": (0.0116, 0.0085),
    "putamen": (0.0104, 0.0046),
    "accumbens": (0.0110, 0.0070),
}
"""Influx of FDOPA relative to occipital cortex [1/min], of controls and of Parkinson's disease: [Adams2005]_; accumbens
chosen."""
_DOPA_EXCHANGE = (0.035, 0.050)
"""``K1`` and ``k2`` of FDOPA and what its metabolite adds, everywhere in the brain (chosen)."""


def dopa_rates(severity: float) -> Rates:
    """Rate constants of FDOPA, one input standing for the tracer and its metabolite that enters the brain.

    ``K_occ = k2 k3 / (k2 + k3)``, as all brain tissue shares ``K1 / k2``.

    Parameters
    ----------
    severity
        From 0, controls, to 1, Parkinson's disease; the influx lies between the two linearly.
    """
    _check_severity(severity)
    k1, k2 = _DOPA_EXCHANGE
    rates: Rates = {}
    for region, (healthy, ill) in DOPA_INFLUX_PER_MIN.items():
        influx = healthy + severity * (ill - healthy)
        rates[region] = RateConstants(k1, k2, influx * k2 / (k2 - influx), 0.0, 0.04)
    free = RateConstants(k1, k2, 0.0, 0.0, 0.04)
    white = RateConstants(0.7 * k1, 0.8 * k2, 0.0, 0.0, 0.03)
    return {
        **rates,
        "cortex": free, "occipital": free, "cerebellar grey": free, "thalamus": free, "hippocampus": free,
        "amygdala": free, "pallidum": replace(free, k3=0.004),
        "white matter": white, "cerebellar white": white, "brainstem": white,
        "blood": _BLOOD, "csf": _FLUID, "air": _AIR,
        "fat": RateConstants(0.01, 0.03, 0.0, 0.0, 0.01), "bone": RateConstants(0.005, 0.03, 0.0, 0.0, 0.02),
        "marrow": RateConstants(0.02, 0.05, 0.0, 0.0, 0.08), "muscle": RateConstants(0.04, 0.06, 0.0, 0.0, 0.03),
        "skin": RateConstants(0.018, 0.05, 0.0, 0.0, 0.03), "mucosa": RateConstants(0.04, 0.06, 0.0, 0.0, 0.06),
        "other": RateConstants(0.02, 0.05, 0.0, 0.0, 0.04),
        "pons": white,
    }  # fmt: skip


def metabolic_rates(rates: Rates, rng: np.random.Generator) -> Rates:
    """Rate constants of FDG of one subject, log-normal about their means.

    Each varies by :data:`FDG_SPREAD`; half of the variance is the same in all regions of the subject, so that one is
    more or less active as a whole, the other half is each region's own.
    """
    spread, root = np.array(FDG_SPREAD), np.linalg.cholesky(np.array(_FDG_CORRELATION))
    common = np.sqrt(FDG_COMMON) * root @ rng.standard_normal(4)
    found = {}
    for region, r in rates.items():
        own = np.sqrt(1 - FDG_COMMON) * root @ rng.standard_normal(4)
        k1, k2, k3, k4 = np.array([r.k1, r.k2, r.k3, r.k4]) * np.exp(spread * (common + own))
        found[region] = replace(r, k1=float(k1), k2=float(k2), k3=float(k3), k4=float(k4))
    return found


def subject_rates(rates: Rates, rng: np.random.Generator) -> Rates:
    """Rate constants of one subject, in which regions vary together.

    Delivery, free volume and release vary by 10 % between subjects, everywhere alike, and delivery by 5 %, free volume
    by 2 % and binding by 5 % between the regions of one (chosen): ratios to a reference vary less than what they are
    made of, as they do in patients.
    """
    delivery, volume, release = np.exp(SPREAD * rng.standard_normal(3))
    return {region: _regional(r, rng, delivery, volume, release) for region, r in rates.items()}


def _regional(
    rates: RateConstants, rng: np.random.Generator, delivery: float, volume: float, release: float
) -> RateConstants:
    """Rate constants of a region of a subject with these common factors."""
    own = np.exp(np.array([0.05, 0.02, 0.05]) * rng.standard_normal(3))
    if rates.k1 == 0:
        return rates
    faster = delivery * own[0]
    k3, k4 = rates.k3 * own[2], rates.k4
    return replace(
        rates,
        k1=float(rates.k1 * faster),
        k2=float(rates.k2 * faster / (volume * own[1])),
        k3=float(k3 * release) if k4 else float(k3),
        k4=float(k4 * release),
    )


def _check_severity(severity: float) -> None:
    """Refuse a severity outside 0 to 1."""
    if not 0 <= severity <= 1:
        raise InputError(f"The severity must lie between 0 and 1; found {severity}.")
