"""The two instants that an SUV by decay needs: the injection and the reference of decay correction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import NamedTuple

from nmsynth.core.radionuclide import average_activity_time_s

LONGEST_DELAY_HALF_LIVES = 8.0
"""Injection to scan; a longer delay means that one of the times is wrong."""
_AGREEMENT_S = 1.0
_DISAGREEMENT_S = 60.0


class ResolvedTime(NamedTuple):
    """A time, the rule that gave it, and what is to be said about it."""

    time: datetime | None
    rule: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeCandidates:
    """All that a series says about its decay reference.

    Slice by slice: ``acquisition_times``, ``frame_reference_times_s`` and ``frame_durations_s`` have one length, or
    are empty where a slice lacks the value.
    """

    series_time: datetime | None = None
    acquisition_times: tuple[datetime, ...] = ()
    frame_reference_times_s: tuple[float, ...] = ()
    frame_durations_s: tuple[float, ...] = ()
    ge_decay_time: datetime | None = None
    """Private decay datetime of GE."""


def resolve_reference_time(candidates: TimeCandidates, *, half_life_s: float | None) -> ResolvedTime:
    """Find the time to which a series with DecayCorrection START is corrected.

    In this order: (a) the series time, if it is not later than the earliest acquisition time; (b) the private
    decay time of GE; (c) ``t_acq + T_ave - FrameReferenceTime``, computed for each slice and taken where all agree
    within 1 s; (d) the earliest acquisition time.

    Returns
    -------
        Time, rule ``"a"``, ``"b"``, ``"c"``, ``"d"`` or ``"none"``, and notes: rule (d) is always said, and so are
        other candidates that differ by more than 60 s.
    """
    earliest = min(candidates.acquisition_times, default=None)
    series = candidates.series_time
    computed, disagree = _back_computed(candidates, half_life_s)
    notes: list[str] = []
    if series is not None and earliest is not None and series <= earliest:
        chosen, rule = series, "a"
    elif candidates.ge_decay_time is not None:
        chosen, rule = candidates.ge_decay_time, "b"
    elif computed is not None:
        chosen, rule = computed, "c"
    elif earliest is not None:
        chosen, rule = earliest, "d"
        notes.append("The decay reference is not stated; the earliest acquisition time was taken (rule d).")
    else:
        return ResolvedTime(None, "none")
    others = {"b": ("the private decay time", candidates.ge_decay_time), "c": ("the back-computed time", computed)}
    for name, other in (value for key, value in others.items() if key != rule):
        if other is not None and abs((other - chosen).total_seconds()) > _DISAGREEMENT_S:
            difference = abs((other - chosen).total_seconds())
            notes.append(
                f"The decay reference (rule {rule}) and {name} differ by {difference:.0f} s; rule {rule} holds."
            )
    if disagree:
        notes.append(f"The slices do not agree on a back-computed decay reference; rule {rule} holds.")
    return ResolvedTime(chosen, rule, tuple(notes))


def _back_computed(candidates: TimeCandidates, half_life_s: float | None) -> tuple[datetime | None, bool]:
    """Time of rule (c), and whether slices disagree on it."""
    times, references = candidates.acquisition_times, candidates.frame_reference_times_s
    durations = candidates.frame_durations_s
    if not half_life_s or not times or not len(times) == len(references) == len(durations):
        return None, False
    shifts = {duration: average_activity_time_s(duration, half_life_s) for duration in set(durations)}
    found = [
        time + timedelta(seconds=shifts[duration] - reference)
        for time, reference, duration in zip(times, references, durations, strict=True)
    ]
    first, last = min(found), max(found)
    if (last - first).total_seconds() > _AGREEMENT_S:
        return None, True
    return first + (last - first) / 2, False


def resolve_injection_time(
    start_datetime: datetime | None,
    start_time: time | None,
    *,
    reference_time: datetime | None,
    half_life_s: float | None,
) -> ResolvedTime:
    """Find the time of injection, on the clock of the scan.

    ``RadiopharmaceuticalStartDateTime`` is taken first. ``RadiopharmaceuticalStartTime`` alone stands for the latest
    such time before the scan, which is the previous day where it crosses midnight.

    Returns
    -------
        Time, rule ``"datetime"``, ``"time"``, ``"previous day"`` or ``"none"``, and notes.
    """
    notes: list[str] = []
    if start_datetime is not None:
        if start_time is not None:
            stated = datetime.combine(start_datetime.date(), start_time, tzinfo=start_datetime.tzinfo)
            apart = abs((stated - start_datetime).total_seconds())
            if min(apart, 86400.0 - apart) > _DISAGREEMENT_S:
                notes.append("RadiopharmaceuticalStartDateTime and StartTime disagree; StartDateTime was taken.")
        return ResolvedTime(start_datetime, "datetime", tuple(notes))
    if start_time is None or reference_time is None:
        return ResolvedTime(None, "none")
    found = datetime.combine(reference_time.date(), start_time, tzinfo=reference_time.tzinfo)
    if found <= reference_time:
        return ResolvedTime(found, "time")
    before = found - timedelta(days=1)
    delay_s = (reference_time - before).total_seconds()
    if half_life_s and delay_s > LONGEST_DELAY_HALF_LIVES * half_life_s:
        return ResolvedTime(found, "time")
    notes.append("The injection time is later than the scan; it was taken as the previous day.")
    return ResolvedTime(before, "previous day", tuple(notes))
