"""How a standardised uptake value follows from an image, or why it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.body_size import normalising_size
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.radionuclide import decay_factor, frame_decay_correction
from nmsynth.core.scan_times import LONGEST_DELAY_HALF_LIVES
from nmsynth.core.units import SuvKind, Unit

SCHEMA_VERSION = 1
"""Of the JSON of a rule."""


@dataclass(frozen=True, slots=True)
class SuvRule:
    """The rule by which values become an SUV; frozen and JSON-able.

    It holds the choice that was made; the numbers (activity, times, weight) stand in the
    :class:`~nmsynth.core.acquisition.Acquisition`.

    Examples
    --------
    >>> from datetime import datetime
    >>> scan = Acquisition(
    ...     half_life_s=6586.0, injected_activity_bq=370e6, body_mass_kg=70.0,
    ...     injection_time=datetime(2025, 1, 1, 13, 1), reference_time=datetime(2025, 1, 1, 14, 1))
    >>> factor = SuvRule(time_rule="a", decay_rule="START").factor("bw", acquisition=scan, unit=Unit.BQML)
    >>> round(7972 * 0.453901487278775 * factor, 3)
    1.0
    """

    time_rule: str = "none"
    """``a`` series time, ``b`` private decay time of GE, ``c`` back-computed, ``d`` earliest acquisition, ``none``."""
    decay_rule: str = "none needed"
    """``START``, ``ADMIN``, ``NONE``, or ``none needed`` where the values are an SUV already."""
    reason: str | None = None
    """Why there is no SUV; ``None`` where there is one."""
    notes: tuple[str, ...] = ()
    """What was assumed or converted, one sentence each."""
    slice_decay: tuple[float, ...] = ()
    """DecayCorrection NONE: factor of each slice to the time of injection."""

    def factor(self, kind: SuvKind | str, *, acquisition: Acquisition, unit: Unit) -> float | npt.NDArray[np.float64]:
        """Factor from a value in ``unit`` to the SUV of ``kind``; one number, or one a slice, shape ``(n_z,)``.

        Raises
        ------
        SuvError
            If there is no SUV; the message gives the reason.
        """
        kind = SuvKind(kind)
        if self.reason is not None:
            raise SuvError(self.reason)
        if unit is kind.unit:
            return 1.0
        if unit.is_suv:
            stated = next(other for other in SuvKind if other.unit is unit)
            return _size(kind, acquisition) / _size(stated, acquisition)
        if unit is not Unit.BQML:
            raise SuvError(f"An SUV needs values in Bq/mL or SUV; these are in {unit.value}.")
        factor = _size(kind, acquisition) / _activity_bq(self.decay_rule, acquisition)
        if self.decay_rule != "NONE":
            return factor
        if not self.slice_decay:
            raise SuvError("SUV of an image that is not decay corrected needs the time of each slice; there is none.")
        correction = np.asarray(self.slice_decay, dtype=np.float64)
        return factor * float(correction[0]) if np.ptp(correction) == 0.0 else factor * correction

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` takes back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "time_rule": self.time_rule,
            "decay_rule": self.decay_rule,
            "reason": self.reason,
            "notes": list(self.notes),
            "slice_decay": list(self.slice_decay),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SuvRule:
        """Rule from the values of :meth:`to_json`.

        Raises
        ------
        InputError
            If the values are not those of a rule.
        """
        try:
            decay = tuple(float(value) for value in values.get("slice_decay") or ())
            reason = values.get("reason")
            rule = cls(
                time_rule=str(values["time_rule"]),
                decay_rule=str(values["decay_rule"]),
                reason=None if reason is None else str(reason),
                notes=tuple(str(note) for note in values.get("notes") or ()),
                slice_decay=decay,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("An SUV rule in JSON needs time_rule and decay_rule; write it with to_json.") from error
        if not all(math.isfinite(value) and value > 0.0 for value in rule.slice_decay):
            raise InputError("An SUV rule in JSON needs positive slice_decay; write it with to_json.")
        return rule


def _size(kind: SuvKind, acquisition: Acquisition) -> float:
    """Body size of a kind, in [g] or [cm2]."""
    return normalising_size(
        kind, body_mass_kg=acquisition.body_mass_kg, height_m=acquisition.height_m, sex=acquisition.sex
    )


def _activity_bq(decay_rule: str, acquisition: Acquisition) -> float:
    """Injected activity decayed to where the image is decay corrected to [Bq]."""
    activity = acquisition.injected_activity_bq
    if not activity or not activity > 0.0:
        raise SuvError("SUV needs the injected activity; the source states none.")
    if decay_rule in ("ADMIN", "NONE"):
        return activity
    if not acquisition.half_life_s:
        raise SuvError("SUV needs the half-life; the source states neither it nor a known radionuclide.")
    if acquisition.injection_time is None or acquisition.reference_time is None:
        raise SuvError("SUV needs the times of injection and of decay reference; the source lacks one of them.")
    delay_s = _seconds_between(acquisition)
    return activity * decay_factor(delay_s, acquisition.half_life_s)


def _seconds_between(acquisition: Acquisition) -> float:
    """From the injection to the decay reference [s]; both must stand on one clock."""
    injection, reference = acquisition.injection_time, acquisition.reference_time
    if injection is None or reference is None:
        return 0.0
    if (injection.tzinfo is None) != (reference.tzinfo is None):
        injection, reference = injection.replace(tzinfo=None), reference.replace(tzinfo=None)
    return (reference - injection).total_seconds()


def resolve_suv(
    acquisition: Acquisition, *, unit: Unit, time_rule: str, notes: tuple[str, ...] = (), reason: str | None = None
) -> SuvRule:
    """Decide by which rule the values of a PET image become an SUV, or why they do not.

    Parameters
    ----------
    acquisition
        With ``reference_time`` and ``injection_time`` resolved by :mod:`nmsynth.core.scan_times`.
    unit
        Unit of the values.
    time_rule
        Rule that gave the reference time.
    notes
        What is to be said about the values; kept in the rule.
    reason
        A reason to refuse that the caller found already.
    """
    decay_rule = "none needed" if unit.is_suv else (acquisition.decay_correction or "unknown")
    slice_decay: tuple[float, ...] = ()
    if reason is None:
        reason = correction_reason(acquisition)
    if reason is None and not unit.is_suv:
        reason = _reason_for_units(unit) or _reason_of_concentration(acquisition)
        if reason is None and decay_rule == "NONE":
            slice_decay, reason = _slice_decay(acquisition)
    elif reason is None:
        decay_rule = "none needed"
    uses_time = decay_rule == "START" and not unit.is_suv
    return SuvRule(time_rule if uses_time else "none", decay_rule, reason, notes, slice_decay)


def correction_reason(acquisition: Acquisition) -> str | None:
    """Why CorrectedImage and DecayCorrection forbid an SUV, if they do (rule 0)."""
    decay, corrections = acquisition.decay_correction, acquisition.corrections
    if "ATTN" not in corrections:
        return "SUV needs attenuation correction; CorrectedImage has no ATTN."
    if decay not in ("START", "ADMIN", "NONE"):
        return "SUV needs DecayCorrection START, ADMIN or NONE; the source has another value or none."
    if decay == "NONE" and "DECY" in corrections:
        return "SUV refused: DecayCorrection is NONE but CorrectedImage has DECY; they contradict each other."
    if decay != "NONE" and "DECY" not in corrections:
        return f"SUV refused: DecayCorrection is {decay} but CorrectedImage has no DECY; they contradict each other."
    return None


def _reason_for_units(unit: Unit) -> str | None:
    """Why a unit allows no SUV, if it does not."""
    if unit is Unit.BQML:
        return None
    return f"SUV needs values in Bq/mL or SUV; these are in {unit.value}."


def _reason_of_concentration(acquisition: Acquisition) -> str | None:
    """Why an activity concentration cannot become an SUV, if it cannot."""
    by_decay = acquisition.decay_correction != "ADMIN"
    needed = (
        (acquisition.body_mass_kg, "the patient's weight"),
        (acquisition.injected_activity_bq, "a plausible injected activity"),
        (acquisition.half_life_s or not by_decay, "the half-life or a known radionuclide"),
        (acquisition.injection_time or not by_decay, "the injection time"),
        (acquisition.reference_time or not by_decay, "the time of the scan"),
    )
    missing = [name for value, name in needed if not value]
    if missing:
        return f"SUV needs {', '.join(missing)}; the source does not state it."
    if not by_decay or not acquisition.half_life_s:
        return None
    delay_s = _seconds_between(acquisition)
    if delay_s < 0.0:
        return "SUV needs an injection before the scan; the times say it was later."
    if delay_s > LONGEST_DELAY_HALF_LIVES * acquisition.half_life_s:
        n = delay_s / acquisition.half_life_s
        return f"SUV needs plausible times; injection and scan are {n:.1f} half-lives apart."
    return None


def _slice_decay(acquisition: Acquisition) -> tuple[tuple[float, ...], str | None]:
    """Factor of each slice to the time of injection for DecayCorrection NONE, or why there is none (rule 3)."""
    times, durations = acquisition.acquisition_times, acquisition.frame_durations_s
    injection, half_life_s = acquisition.injection_time, acquisition.half_life_s
    n = max(len(times), len(durations))
    if not times or min(durations, default=0.0) <= 0.0 or injection is None or not half_life_s:
        return (), "SUV of an image that is not decay corrected needs times and frame durations; one is missing."
    times = times * n if len(times) == 1 else times
    durations = durations * n if len(durations) == 1 else durations
    if len(times) != len(durations):
        return (), "SUV of an image that is not decay corrected needs the time of each slice; some are missing."
    elapsed = np.array([_elapsed_s(injection, time) for time in times])
    if elapsed.min() < 0.0:
        return (), "SUV needs an injection before the scan; the times say it was later."
    factors = frame_decay_correction(np.array(durations), half_life_s) / np.exp2(-elapsed / half_life_s)
    return tuple(float(factor) for factor in factors), None


def _elapsed_s(injection: Any, time: Any) -> float:
    """Seconds from the injection to a time on the same clock."""
    if (injection.tzinfo is None) != (time.tzinfo is None):
        injection, time = injection.replace(tzinfo=None), time.replace(tzinfo=None)
    return float((time - injection).total_seconds())
