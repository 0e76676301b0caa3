"""Arterial input functions: the activity that reaches tissue with the blood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ParentFraction:
    """Share of the plasma's activity that is the tracer itself, the rest being its metabolites.

    ``f(t) = 1 - (1 - f_inf) t^p / (t^p + h^p)``, a Hill function [Gunn2001]_.

    Attributes
    ----------
    final
        What is left in the end, ``f_inf``.
    half_min
        Time at which half of what goes is gone, ``h`` [min].
    power
        Steepness ``p``.
    """

    final: float
    half_min: float
    power: float = 1.5

    def __post_init__(self) -> None:
        if not (0 <= self.final <= 1 and 0 < self.half_min < np.inf and 0 < self.power < np.inf):
            raise InputError(f"A parent fraction ends between 0 and 1, with a time and a power above 0; found {self}.")

    def at(self, minutes: npt.ArrayLike) -> FloatArray:
        """Fraction at times after injection [min]."""
        t = np.maximum(np.asarray(minutes, dtype=np.float64), 0.0) ** self.power
        return np.asarray(1 - (1 - self.final) * t / (t + self.half_min**self.power))


@dataclass(frozen=True, slots=True)
class InputFunction:
    """A bolus that rises linearly and clears in three exponentials.

    ``C_p(t) = (a1 s - a2 - a3) exp(-l1 s) + a2 exp(-l2 s) + a3 exp(-l3 s)``, ``s = t - delay`` [Feng1993]_. The default
    has the shape of the FDG studies there (851.1, 21.88 and 20.81), its amplitudes scaled to a plasma SUV of 1.7 after
    60 minutes.

    Attributes
    ----------
    a1
        Amplitude of the rise [SUV/min].
    a2, a3
        Amplitudes of the slow exponentials [SUV].
    rates_per_min
        ``l1, l2, l3`` [1/min].
    delay_min
        From injection to arrival [min].
    whole_blood_ratio
        Whole blood over plasma, both with metabolites.
    parent
        Share of the plasma's activity that is unchanged tracer, which alone enters tissue; all of it when unset.

    References
    ----------
    .. [Gunn2001] R. N. Gunn, S. R. Gunn, V. J. Cunningham, Positron emission tomography compartmental models, J Cereb
       Blood Flow Metab 21:635-652, 2001.
    .. [Feng1993] D. Feng, S.-C. Huang, X. Wang, Models for computer simulation studies of input functions for tracer
       kinetic modeling with positron emission tomography, Int J Biomed Comput 32:95-110, 1993.
    """

    a1: float = 130.9
    a2: float = 3.365
    a3: float = 3.2
    rates_per_min: tuple[float, float, float] = (4.134, 0.1191, 0.01043)
    delay_min: float = 0.3
    whole_blood_ratio: float = 0.95
    parent: ParentFraction | None = None

    def __post_init__(self) -> None:
        values = (self.a1, self.a2, self.a3, *self.rates_per_min, self.whole_blood_ratio)
        if not all(np.isfinite(v) and v > 0 for v in values) or not self.delay_min >= 0:
            raise InputError(
                f"An input function needs amplitudes and rates above 0 and a delay of at least 0; found {self}."
            )

    def total_plasma(self, minutes: npt.ArrayLike) -> FloatArray:
        """Activity concentration of plasma with metabolites [SUV] at times after injection [min], 0 before it."""
        s = np.maximum(np.asarray(minutes, dtype=np.float64) - self.delay_min, 0.0)
        fast, slow, slowest = self.rates_per_min
        rise = (self.a1 * s - self.a2 - self.a3) * np.exp(-fast * s)
        total = rise + self.a2 * np.exp(-slow * s) + self.a3 * np.exp(-slowest * s)
        return np.maximum(total, 0.0)  # at arrival the amplitudes cancel but for rounding

    def plasma(self, minutes: npt.ArrayLike) -> FloatArray:
        """Activity concentration of unchanged tracer in plasma [SUV]; 0 before the bolus arrives."""
        total = self.total_plasma(minutes)
        return total if self.parent is None else np.asarray(total * self.parent.at(minutes))

    def whole_blood(self, minutes: npt.ArrayLike) -> FloatArray:
        """Activity concentration of whole blood, metabolites included [SUV]."""
        return self.whole_blood_ratio * self.total_plasma(minutes)

    def varied(self, rng: np.random.Generator) -> InputFunction:
        """One subject's: level by 12 %, clearance by 8 %, arrival by 0.1 min, metabolism by 15 % (all chosen)."""
        level = float(np.exp(0.12 * rng.standard_normal()))
        fast, slow, slowest = np.array(self.rates_per_min) * np.exp(0.08 * rng.standard_normal(3))
        delay = float(max(0.0, self.delay_min + rng.uniform(-0.1, 0.1)))
        pace = float(np.exp(0.15 * rng.standard_normal()))
        parent = None if self.parent is None else replace(self.parent, half_min=self.parent.half_min * pace)
        return replace(
            self, a1=self.a1 * level, a2=self.a2 * level, a3=self.a3 * level, delay_min=delay, parent=parent,
            rates_per_min=(float(fast), float(slow), float(slowest)),
        )  # fmt: skip


def fine_minutes(end_min: float) -> FloatArray:
    """Times on which curves are computed [min]: every second for 3 minutes, every 5 seconds to 10, then every 15."""
    if not end_min > 0:
        raise InputError(f"A study must last longer than 0 minutes; found {end_min}.")
    parts = [np.arange(0.0, 3.0, 1 / 60), np.arange(3.0, 10.0, 1 / 12), np.arange(10.0, end_min, 0.25)]
    times = np.concatenate(parts)
    return np.append(times[times < end_min], end_min)
