"""What was resolved of times, activity and size, put into the standard attributes of a derived PET header.

Private attributes are dropped from an output, and other readers follow other rules than nmsynth. So the decay
reference becomes SeriesDate and SeriesTime, and a value that had to be interpreted is written as it was understood.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.io.dicom_header import parse_datetime, parse_time
from nmsynth.io.dicom_marks import SERIES_TIME, UNKNOWN, plain
from nmsynth.io.dicom_quantise import decimal_string

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TIME_RULES = {
    "a": "the series time",
    "b": "the private decay time of GE",
    "c": "back-computed from frame reference times",
    "d": "the earliest acquisition time",
}
_SUV_TYPES = {
    Unit.SUV_BODY_WEIGHT: ("GML", "BW"),
    Unit.SUV_LEAN_BODY_MASS_JAMES: ("GML", "LBMJAMES128"),
    Unit.SUV_LEAN_BODY_MASS_JANMAHASATIAN: ("GML", "LBMJANMA"),
    Unit.SUV_IDEAL_BODY_WEIGHT: ("GML", "IBW"),
    Unit.SUV_BODY_SURFACE_AREA: ("CM2ML", "BSA"),
}
_RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Administration:
    """Values that replace those of the source's header."""

    top: dict[str, Any]
    """Attributes of the image, by keyword."""
    radiopharmaceutical: dict[str, Any]
    """Attributes of the one item of RadiopharmaceuticalInformationSequence."""
    scale: float
    """Factor on the values; 1 unless the decay reference had to move."""
    notes: tuple[str, ...]
    decay_reference: str | None = None
    """As :class:`~nmsynth.io.dicom_marks.Marks` has it."""
    decay_factors: tuple[float, ...] | None = None
    """DecayFactor of each slice, or one of all, where the values were decay corrected since; empty if not known."""
    moved_s: float = 0.0
    """How much earlier the decay reference is than that of the source [s]."""

    def apply(self, dataset: Dataset) -> None:
        """Write the values into a header."""
        if "Units" in self.top:
            # Left beside other units, it would say how values are normalised that are not.
            dataset.pop("SUVType", None)
        for keyword, value in self.top.items():
            setattr(dataset, keyword, value)
        items = dataset.get("RadiopharmaceuticalInformationSequence", None) or []
        if len(items) == 1:
            for keyword, value in self.radiopharmaceutical.items():
                setattr(items[0], keyword, value)


def resolve_administration(header: Dataset, volume: Volume) -> Administration:
    """Find what a derived header states otherwise than its source.

    Parameters
    ----------
    header
        Of the first slice of the source.
    volume
        Output, which carries the acquisition as the reader resolved it.

    Raises
    ------
    InputError
        If PET has no Units for the values.
    """
    notes: list[str] = []
    top = _units(header, volume, notes) | _attenuation(header, volume, notes)
    decay_factors = _decay_of_suv(header, volume, top, notes)
    moved_s = _decay_reference(header, volume, top, notes)
    _sizes(header, volume, top, notes)
    half_life_s = volume.acquisition.half_life_s
    return Administration(
        top=top,
        radiopharmaceutical=_radiopharmaceutical(header, volume, notes),
        scale=2.0 ** (moved_s / half_life_s) if moved_s and half_life_s else 1.0,
        notes=tuple(notes),
        decay_reference=_stated_reference(volume, top),
        decay_factors=decay_factors,
        moved_s=moved_s,
    )


def dicom_units(volume: Volume) -> tuple[str, str | None] | None:
    """Units and SUVType of the values; ``None`` where only the source knows them."""
    if volume.unit is Unit.BQML:
        return "BQML", None
    return _SUV_TYPES.get(volume.unit)


def _units(header: Dataset, volume: Volume, notes: list[str]) -> dict[str, Any]:
    """Units and SUVType, as far as the unit of the volume decides them."""
    before = plain(header.get("Units", ""), 16)
    found = dicom_units(volume) or _units_without_scale(volume.unit, header, before)
    if found is None:
        return {}
    if before != found[0]:
        notes.append(f"Units were {before or 'absent'}.")
    return {"Units": found[0], **({} if found[1] is None else {"SUVType": found[1]})}


def _attenuation(header: Dataset, volume: Volume, notes: list[str]) -> dict[str, Any]:
    """How attenuation was corrected, where the source was not corrected, or not so; values without a unit say so."""
    stated = volume.acquisition.attenuation_correction
    if not stated or stated == plain(header.get("AttenuationCorrectionMethod", ""), 64):
        return {}
    found: dict[str, Any] = {"AttenuationCorrectionMethod": plain(stated, 64)}
    before = list(header.get("CorrectedImage", None) or [])
    if list(volume.acquisition.corrections) != before:
        notes.append(f"CorrectedImage was {', '.join(plain(text, 16) for text in before) or 'absent'}.")
        found["CorrectedImage"] = list(volume.acquisition.corrections)
    if volume.unit is Unit.RELATIVE:
        found["Units"] = "PROPCNTS"  # left in Bq/mL, other readers would find an SUV
    return found


def _decay_of_suv(header: Dataset, volume: Volume, top: dict[str, Any], notes: list[str]) -> tuple[float, ...] | None:
    """Say that an SUV is decay corrected to the injection where the image it was computed from was not corrected."""
    rule = volume.suv_rule
    if rule is None or volume.decay_correction == volume.acquisition.decay_correction:
        return None
    notes.append("DecayCorrection was NONE.")
    stated = top.get("CorrectedImage") or [str(text) for text in header.get("CorrectedImage", None) or []]
    top["DecayCorrection"], top["CorrectedImage"] = "ADMIN", [*(text for text in stated if text != "DECY"), "DECY"]
    return rule.slice_decay


def _units_without_scale(unit: Unit, header: Dataset, before: str) -> tuple[str, None] | None:
    """Units of values that are neither Bq/mL nor an SUV; ``None`` where those of the source say the same."""
    if unit is Unit.COUNTS:
        return "CNTS", None
    if unit is Unit.RELATIVE:
        is_calibrated = before in ("BQML", "GML", "CM2ML") and "ATTN" in (header.get("CorrectedImage", None) or [])
        return ("PROPCNTS", None) if is_calibrated else None
    if unit is Unit.PER_CENTIMETRE and before == "1CM":
        return None
    raise InputError(
        f"A PET series holds Bq/mL, an SUV, counts or relative values; these are in {unit.value}. Write NIfTI instead."
    )


def on_clock_of(header: Dataset, time: datetime) -> datetime:
    """Time on the clock of the header, without a zone."""
    if time.tzinfo is None:
        return time
    offset = plain(header.get("TimezoneOffsetFromUTC", ""), 8)
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        return time.astimezone(zone).replace(tzinfo=None)
    return time.replace(tzinfo=None)


def _stated_reference(volume: Volume, top: dict[str, Any]) -> str | None:
    """What the output says of its decay reference; a refusal must not be lost with the private time it came from."""
    if volume.acquisition.decay_correction != "START":
        return None
    return SERIES_TIME if "SeriesTime" in top else UNKNOWN


def _decay_reference(header: Dataset, volume: Volume, top: dict[str, Any], notes: list[str]) -> float:
    """Put the decay reference into SeriesDate and SeriesTime; give how much earlier [s] it had to be made."""
    acquisition = volume.acquisition
    original = f"{plain(header.get('SeriesDate', ''), 16)} {plain(header.get('SeriesTime', ''), 20)}".strip()
    if acquisition.decay_correction != "START" or acquisition.reference_time is None:
        notes.append(f"Source SeriesDate/Time {original or 'absent'}, kept.")
        return 0.0
    reference = on_clock_of(header, acquisition.reference_time)
    rule = "" if volume.suv_rule is None else volume.suv_rule.time_rule
    meaning = f"rule {rule}, {_TIME_RULES[rule]}" if rule in _TIME_RULES else "no rule needed"
    notes.append(f"Source SeriesDate/Time {original or 'absent'}; decay reference by {meaning}.")
    moved_s = 0.0
    earliest = min((on_clock_of(header, time) for time in acquisition.acquisition_times), default=reference)
    if earliest < reference and acquisition.half_life_s and volume.unit is Unit.BQML:
        # A series time after the acquisition is not believed by readers, so the reference itself moves.
        moved_s = (reference - earliest).total_seconds()
        scale = 2.0 ** (moved_s / acquisition.half_life_s)
        notes.append(f"Decay reference moved from {reference:%Y%m%d %H%M%S.%f}, values times {scale:.8g}.")
        reference = earliest
    top["SeriesDate"], top["SeriesTime"] = f"{reference:%Y%m%d}", f"{reference:%H%M%S.%f}"
    return moved_s


def _differs(stated: Any, resolved: float | None) -> bool:
    """Whether a number of the header is not the one that was understood."""
    if resolved is None:
        return False
    try:
        return abs(float(stated) - resolved) > _RELATIVE_TOLERANCE * abs(resolved)
    except (TypeError, ValueError):
        return True


def _sizes(header: Dataset, volume: Volume, top: dict[str, Any], notes: list[str]) -> None:
    """Weight [kg] and height [m], where the reader understood others than the header states."""
    acquisition = volume.acquisition
    for keyword, resolved in (("PatientWeight", acquisition.body_mass_kg), ("PatientSize", acquisition.height_m)):
        if resolved is not None and _differs(header.get(keyword), resolved):
            notes.append(f"{keyword} was {plain(header.get(keyword, '') or 'absent', 16)}.")
            top[keyword] = decimal_string(resolved)


def _radiopharmaceutical(header: Dataset, volume: Volume, notes: list[str]) -> dict[str, Any]:
    """Activity [Bq], half-life [s] and injection time, where the header does not state what was understood."""
    acquisition = volume.acquisition
    items = header.get("RadiopharmaceuticalInformationSequence", None) or []
    if len(items) != 1:
        return {}
    item = items[0]
    values: dict[str, Any] = {}
    pairs = (
        ("RadionuclideTotalDose", acquisition.injected_activity_bq),
        ("RadionuclideHalfLife", acquisition.half_life_s),
    )
    for keyword, resolved in pairs:
        if resolved is not None and _differs(item.get(keyword), resolved):
            notes.append(f"{keyword} was {plain(item.get(keyword, '') or 'absent', 16)}.")
            values[keyword] = decimal_string(resolved)
    if acquisition.injection_time is not None:
        injection = on_clock_of(header, acquisition.injection_time)
        if parse_datetime(plain(item.get("RadiopharmaceuticalStartDateTime", ""), 32))[0] is None:
            # With a date, no reader has to guess on which side of midnight it was.
            values["RadiopharmaceuticalStartDateTime"] = f"{injection:%Y%m%d%H%M%S.%f}"
        stated = plain(item.get("RadiopharmaceuticalStartTime", ""), 16)
        has_suv = volume.suv_rule is None or volume.suv_rule.reason is None
        if not stated or (has_suv and _disagrees(stated, injection)):
            # Readers that know only this attribute must find the same injection.
            if stated:
                notes.append(f"RadiopharmaceuticalStartTime was {stated}.")
            values["RadiopharmaceuticalStartTime"] = f"{injection:%H%M%S.%f}"
    return values


def _disagrees(stated: str, injection: datetime) -> bool:
    """Whether a DICOM TM is another time of day than the injection, by more than a second."""
    clock = parse_time(stated)
    if clock is None:
        return True
    apart_s = abs((datetime.combine(injection.date(), clock) - injection).total_seconds())
    return min(apart_s, 86400.0 - apart_s) > 1.0
