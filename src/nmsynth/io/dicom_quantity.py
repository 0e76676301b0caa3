"""What the values of a PT series mean: unit, scale of each slice, administration, and the rule of its SUV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.body_size import plausible_activity_bq, plausible_body_mass_kg, plausible_height_m
from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.mr_sequence import image_kinds, scanning_sequences, sequence_words
from nmsynth.core.radionuclide import Radionuclide, find_radionuclide
from nmsynth.core.scan_times import ResolvedTime, TimeCandidates, resolve_injection_time, resolve_reference_time
from nmsynth.core.suv import SuvRule, correction_reason, resolve_suv
from nmsynth.core.units import SuvKind, Unit
from nmsynth.io.dicom_header import Header, parse_datetime
from nmsynth.io.dicom_identity import without_identity
from nmsynth.io.dicom_marks import MANUFACTURER, SERIES_TIME, UNKNOWN, stated_decay_reference
from nmsynth.io.dicom_sources import escaped

FloatArray = npt.NDArray[np.float64]

GE_CREATOR = "GEMS_PETD_01"
"""Private creator of the block with the decay datetime of GE."""
PHILIPS_CREATOR = "Philips PET Private Group"
"""Private creator of the block with the SUV factor and the activity factor of Philips."""
_SUV_TYPES = {
    "": SuvKind.BODY_WEIGHT,
    "BW": SuvKind.BODY_WEIGHT,
    "LBM": SuvKind.LEAN_BODY_MASS_JAMES,
    "LBMJAMES128": SuvKind.LEAN_BODY_MASS_JAMES,
    "LBMJANMA": SuvKind.LEAN_BODY_MASS_JANMAHASATIAN,
    "IBW": SuvKind.IDEAL_BODY_WEIGHT,
}
"""What Units GML is normalised by."""
_NO_AGENT = ("NONE", "NO", "N", "NO CONTRAST", "WITHOUT CONTRAST", "UNENHANCED")
"""What ContrastBolusAgent says where there was none, in capitals."""
_NOT_QUANTITATIVE = ("PROPCNTS", "PROPCPS", "CPS")
_EXPECTED_CORRECTIONS = ("SCAT", "RAN", "NORM", "DTIM")
_LONGEST_SCAN = timedelta(hours=6)
"""From the series time to the acquisition of a slice that has no date of its own."""
_SAME_DAY_HALF_LIFE_S = 12 * 3600.0
"""A tracer that lives longer may be imaged days after its injection."""
_AGREEMENT_S = 1.0
_DATE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Quantity:
    """Meaning of the rescaled values of a series."""

    unit: Unit
    acquisition: Acquisition
    suv_rule: SuvRule | None
    modality: str
    scale: FloatArray
    """Further factor of each slice on the rescaled value, shape ``(n_z,)``."""
    warnings: tuple[str, ...] = ()


def same_text(headers: Sequence[Header], keyword: str) -> str:
    """Value that all slices must share, as text; empty if absent. ``70`` and ``70.0`` are one value.

    Raises
    ------
    UnsafeInputError
        If a slice has another value than the first.
    """
    first = headers[0].texts(keyword)
    for header in headers:
        if not _agree(header.texts(keyword), first):
            raise UnsafeInputError(
                f"Slices of a series must have one {keyword}; file {header.label} has another than {headers[0].label}."
            )
    return "\\".join(first)


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two values are the same text or the same number."""
    if one == other:
        return True
    try:
        return bool(one) and [float(text) for text in one] == [float(text) for text in other]
    except ValueError:
        return False


def basic_acquisition(headers: Sequence[Header]) -> Acquisition:
    """What any modality states, without identity; slices in the order of the grid."""
    first = headers[0]
    same_text(headers, "TimezoneOffsetFromUTC")
    times = tuple(time for header in headers if (time := _acquisition_time(header)) is not None)
    times = times if len(times) == len(headers) else ()  # the time of one slice is not that of another
    series_times = [time for header in headers if (time := header.moment("SeriesDate", "SeriesTime")) is not None]
    references, durations = _seconds(headers, "FrameReferenceTime"), _seconds(headers, "ActualFrameDuration")
    return Acquisition(
        series_time=min(series_times, default=None),
        acquisition_times=times[:1] if len(set(times)) == 1 else times,
        frame_reference_times_s=references[:1] if len(set(references)) == 1 else references,
        frame_durations_s=durations[:1] if len(set(durations)) == 1 else durations,
        manufacturer=first.label_text("Manufacturer"),
        scanner=first.label_text("ManufacturerModelName"),
        reconstruction=first.label_text("ReconstructionMethod"),
        body_part=first.text("BodyPartExamined"),
        patient_position=_patient_position(first),
        frame_of_reference_uid=first.uid("FrameOfReferenceUID"),
        series_uid=first.uid("SeriesInstanceUID"),
        study_uid=first.uid("StudyInstanceUID"),
        series_description=without_identity(first.label_text("SeriesDescription"), first),
    )


def anatomical_acquisition(headers: Sequence[Header]) -> Acquisition:
    """What CT and MR state besides: contrast agent, and of MR its times and what tells its weighting."""
    first = headers[0]
    agent = (first.label_text("ContrastBolusAgent") or "").strip()
    given = None if not agent else agent.upper() not in _NO_AGENT
    known = replace(basic_acquisition(headers), contrast_agent=given)
    if first.text("Modality") != "MR":
        return known
    names = ("SeriesDescription", "ProtocolName", "SequenceName")
    return replace(
        known,
        echo_time_ms=_soft_number(first, "EchoTime", []),
        repetition_time_ms=_soft_number(first, "RepetitionTime", []),
        inversion_time_ms=_soft_number(first, "InversionTime", []),
        scanning_sequence=scanning_sequences(first.texts("ScanningSequence")),
        image_kinds=image_kinds(first.texts("ImageType")),
        sequence_words=sequence_words(first.label_text(name) for name in names),
    )


def _patient_position(header: Header) -> str | None:
    """PatientPosition, else what the codes that stand for it in PET mean, such as ``HFS``."""
    stated = header.text("PatientPosition")
    if stated is not None:
        return stated
    gantry = [item.text("CodeMeaning") or "" for item in header.items("PatientGantryRelationshipCodeSequence")]
    posture = [
        modifier.text("CodeMeaning") or ""
        for item in header.items("PatientOrientationCodeSequence")
        for modifier in item.items("PatientOrientationModifierCodeSequence")
    ]
    first = {"headfirst": "HF", "feetfirst": "FF"}.get("".join(gantry[:1]).lower().replace("-", "").replace(" ", ""))
    then = {"supine": "S", "prone": "P"}.get("".join(posture[:1]).lower())
    return first + then if first and then else None


def pet_quantity(headers: Sequence[Header]) -> Quantity:
    """Unit, acquisition and SUV rule of a PT series, slices in the order of the grid."""
    for keyword in ("Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight", "PatientSize"):
        same_text(headers, keyword)
    first = headers[0]
    notes: list[str] = []
    acquisition = basic_acquisition(headers)
    acquisition, reason, nuclide = _administered(headers, acquisition, notes)
    reference, acquisition, clash = _timed(headers, acquisition, notes)
    units = first.text("Units") or ""
    unit, contradiction = _unit_of(first, units, notes)
    scale, several = np.ones(len(headers)), reason
    if not unit.is_suv and acquisition.decay_correction != "ADMIN":
        reason = reason or clash  # an SUV that the source holds, and one of ADMIN, need no times
    if "ATTN" not in acquisition.corrections and unit is not Unit.PER_CENTIMETRE:
        unit, reason = Unit.RELATIVE, correction_reason(acquisition)
    elif units == "CNTS":
        unit, scale, reason = _philips(headers, acquisition, reason, several, notes)
    elif unit is Unit.RELATIVE:
        said = escaped(units, 16) or "of the source"
        reason = contradiction or f"SUV needs quantitative values; the Units {said} are not."
    notes.extend(_missing_corrections(acquisition))
    rule = resolve_suv(acquisition, unit=unit, time_rule=reference.rule, notes=tuple(notes), reason=reason)
    modality = "PT"
    if nuclide is not None and nuclide.imaged_with == "SPECT":
        modality = "NM"
        notes.append(f"The image is stored as PET but its radionuclide {nuclide.name} is one of SPECT; read as NM.")
    if rule.reason is not None:
        notes.append(rule.reason)
    return Quantity(unit, acquisition, rule, modality, scale, tuple(dict.fromkeys(notes)))


def _acquisition_time(header: Header) -> datetime | None:
    """Acquisition time of a slice; the series date, or the day after, stands in for a missing acquisition date."""
    found = header.moment("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime")
    if found is None and (found := header.moment("SeriesDate", "AcquisitionTime")) is not None:
        found += timedelta(days=int(_is_past_midnight(header)))
    return found


def _is_past_midnight(header: Header) -> bool:
    """Whether a slice without a date of its own was acquired on the day after the series date.

    Only so does it lie within six hours after the series time. A longer span is no scan: the series was written late.
    """
    if header.moment("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime") is not None:
        return False
    acquired, series = header.moment("SeriesDate", "AcquisitionTime"), header.moment("SeriesDate", "SeriesTime")
    return acquired is not None and series is not None and series - acquired >= timedelta(days=1) - _LONGEST_SCAN


def _seconds(headers: Sequence[Header], keyword: str) -> tuple[float, ...]:
    """Milliseconds of each slice as seconds; empty if a slice lacks the value or it is negative."""
    found = [header.number(keyword) for header in headers]
    return tuple(value / 1000.0 for value in found if value is not None) if None not in found else ()


def _soft_number(header: Header, keyword: str, notes: list[str]) -> float | None:
    """Number that only the SUV needs: if it is malformed the image is still read."""
    try:
        return header.number(keyword)
    except UnsafeInputError:
        notes.append(f"{keyword} is not a finite number; it was ignored.")
        return None


def _noted(found: tuple[float | None, str | None], notes: list[str]) -> float | None:
    """Value of a plausibility check, its remark put into the notes."""
    value, remark = found
    if remark is not None:
        notes.append(remark)
    return value


def _administered(
    headers: Sequence[Header], acquisition: Acquisition, notes: list[str]
) -> tuple[Acquisition, str | None, Radionuclide | None]:
    """Add tracer, activity, half-life and body size; with a reason against an SUV, and the radionuclide."""
    first = headers[0]
    items = first.items("RadiopharmaceuticalInformationSequence")
    reason = "SUV needs one administration; the source states several." if len(items) > 1 else None
    item = items[0] if items else Header(first.file, type(first.dataset)())
    _check_one_administration(headers, item)
    tracers = {(nuclide_of(each), agent_of(each)) for each in items}
    nuclide, agent = next(iter(tracers)) if len(tracers) == 1 else (None, None)  # of several none is the tracer
    half_life_s = _soft_number(item, "RadionuclideHalfLife", notes)
    if half_life_s is not None and half_life_s <= 0.0:
        half_life_s = None
    if half_life_s is None and nuclide is not None:
        half_life_s = nuclide.half_life_s
        notes.append(f"The half-life is not stated; that of {nuclide.name} was taken.")
    elif half_life_s and nuclide is not None and not 0.95 < half_life_s / nuclide.half_life_s < 1.05:
        notes.append(
            f"The stated half-life differs from that of {nuclide.name} by more than 5 %; the stated one holds."
        )
    name = nuclide.name if nuclide is not None else None
    mass_kg = _noted(plausible_body_mass_kg(_soft_number(first, "PatientWeight", notes)), notes)
    height_m = _noted(plausible_height_m(_soft_number(first, "PatientSize", notes), mass_kg), notes)
    activity = _noted(plausible_activity_bq(_soft_number(item, "RadionuclideTotalDose", notes), name), notes)
    sex = first.text("PatientSex")
    return (
        replace(
            acquisition,
            radionuclide=name,
            radiopharmaceutical=agent,
            half_life_s=half_life_s,
            injected_activity_bq=activity,
            decay_correction=first.text("DecayCorrection"),
            corrections=corrections_of(first),
            attenuation_correction=first.label_text("AttenuationCorrectionMethod"),
            body_mass_kg=mass_kg,
            height_m=height_m,
            sex=sex if sex in ("M", "F", "O") else None,
        ),
        reason,
        nuclide,
    )


def _check_one_administration(headers: Sequence[Header], item: Header) -> None:
    """Refuse slices that state different administrations."""
    keywords = ["RadionuclideTotalDose", "RadionuclideHalfLife"]
    keywords += ["RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"]
    expected = [item.texts(keyword) for keyword in keywords]
    raw = headers[0].dataset.get_item("RadiopharmaceuticalInformationSequence")
    for header in headers[1:]:
        other = header.dataset.get_item("RadiopharmaceuticalInformationSequence")
        if raw is not None and other is not None and _same_raw(raw, other):
            continue
        items = header.items("RadiopharmaceuticalInformationSequence")
        found = [items[0].texts(keyword) if items else () for keyword in keywords]
        if not all(_agree(one, other) for one, other in zip(found, expected, strict=True)):
            raise UnsafeInputError(
                f"Slices of a series must state one administration; file {header.label} states another than "
                f"{headers[0].label}."
            )


def _same_raw(one: Any, other: Any) -> bool:
    """Whether two elements are the same bytes."""
    return isinstance(one.value, bytes) and one.value == other.value


def agent_of(item: Header) -> str | None:
    """Name of the agent of an item of RadiopharmaceuticalInformationSequence, else the meaning of its code."""
    codes = item.items("RadiopharmaceuticalCodeSequence")
    return item.label_text("Radiopharmaceutical") or (codes[0].label_text("CodeMeaning") if codes else None)


def corrections_of(header: Header) -> tuple[str, ...]:
    """Values of CorrectedImage."""
    return tuple(text for text in header.texts("CorrectedImage") if text)


def nuclide_of(item: Header) -> Radionuclide | None:
    """Radionuclide by its code, else by the spelling of its meaning, else of the radiopharmaceutical."""
    for code in item.items("RadionuclideCodeSequence"):
        found = find_radionuclide(code=code.text("CodeValue"), text=code.text("CodeMeaning"))
        if found is not None:
            return found
    for code in item.items("RadiopharmaceuticalCodeSequence"):
        found = find_radionuclide(text=code.text("CodeMeaning"))
        if found is not None:
            return found
    return find_radionuclide(text=item.text("Radiopharmaceutical"))


def _timed(
    headers: Sequence[Header], acquisition: Acquisition, notes: list[str]
) -> tuple[ResolvedTime, Acquisition, str | None]:
    """Add the resolved times of injection and decay reference; with a reason against an SUV."""
    ge_times, is_unplaced = [], False
    for header in headers:
        private = header.private(0x0009, GE_CREATOR, 0x0D)
        text = str(private[0]).strip(" \0") if private else ""
        found = header.on_own_clock(text)
        is_unplaced = is_unplaced or (found is None and parse_datetime(text)[0] is not None)
        if found is not None:
            ge_times.append(found)
    acquired = tuple(time for header in headers if (time := _acquisition_time(header)) is not None)
    if any(_is_past_midnight(header) for header in headers):
        notes.append("Acquisition times have no date and are long before the series time; taken as the next day.")
    if acquired and not acquisition.acquisition_times and acquisition.decay_correction != "NONE":
        # not of every slice, but no reference may be later than it
        acquisition = replace(acquisition, acquisition_times=(min(acquired),))
    own = _own_reference(headers[0])
    if not acquired and acquisition.series_time is not None and own == SERIES_TIME:
        # nmsynth wrote the decay reference there, which nothing else in the header can confirm
        acquired = (acquisition.series_time,)
    candidates = TimeCandidates(
        acquisition.series_time,
        acquired,
        _seconds(headers, "FrameReferenceTime"),
        _seconds(headers, "ActualFrameDuration"),
        min(ge_times, default=None),
    )
    reference = resolve_reference_time(candidates, half_life_s=acquisition.half_life_s)
    injection, clash = _injection(headers[0], reference.time, acquisition.half_life_s)
    if is_unplaced and reference.rule == "d" and acquisition.decay_correction == "START":
        reference = ResolvedTime(None, "none")
        clash = clash or "SUV refused: the private decay time has a time zone and the series states none."
    if own == UNKNOWN and acquisition.decay_correction == "START":
        reference = ResolvedTime(None, "none")
    if acquisition.decay_correction in (None, "START"):
        notes.extend(reference.notes)
    notes.extend(injection.notes)
    return reference, replace(acquisition, reference_time=reference.time, injection_time=injection.time), clash


def _own_reference(header: Header) -> str | None:
    """What nmsynth, if it was the last to contribute to an image, says of its decay reference."""
    items = header.items("ContributingEquipmentSequence")
    if not items or items[-1].text("Manufacturer") != MANUFACTURER:
        return None
    return stated_decay_reference(items[-1].label_text("ContributionDescription") or "")


def _injection(
    first: Header, reference_time: datetime | None, half_life_s: float | None
) -> tuple[ResolvedTime, str | None]:
    """Injection time on the clock of the scan, and why it cannot be placed there, if so."""
    items = first.items("RadiopharmaceuticalInformationSequence")
    if not items:
        return ResolvedTime(None, "none"), None
    text = items[0].text("RadiopharmaceuticalStartDateTime") or ""
    start, zone = parse_datetime(text)
    clock = items[0].clock("RadiopharmaceuticalStartTime")
    clash = None
    if start is None and clock is not None and len(text) == _DATE_DIGITS:
        day = items[0].day("RadiopharmaceuticalStartDateTime")
        start = None if day is None else datetime.combine(day, clock)
    if start is None and clock is not None and half_life_s is not None and half_life_s > _SAME_DAY_HALF_LIFE_S:
        return ResolvedTime(None, "none"), (
            f"SUV needs the date of the injection for a half-life of {half_life_s / 3600.0:.1f} h; the source states "
            "its time of day only."
        )
    if start is not None and zone is not None and first.zone is None:
        if clock is None or abs((datetime.combine(start.date(), clock) - start).total_seconds()) > _AGREEMENT_S:
            return ResolvedTime(None, "none"), "SUV refused: the injection has a time zone and the series states none."
    elif start is not None and zone and first.zone and zone.utcoffset(None) != first.zone.utcoffset(None):
        moved = start.replace(tzinfo=zone).astimezone(first.zone)
        if clock is not None and clock == start.time() != moved.time():
            clash = "SUV refused: the time zone of the injection and that of the series contradict each other."
        start = moved
    elif start is not None:
        start = start.replace(tzinfo=first.zone)
    found = resolve_injection_time(start, clock, reference_time=reference_time, half_life_s=half_life_s)
    return found, clash


def _unit_of(first: Header, units: str, notes: list[str]) -> tuple[Unit, str | None]:
    """Unit of the rescaled values by Units and SUVType, and whether the two contradict each other."""
    suv_type = first.text("SUVType") or ""
    if (units == "GML" and suv_type == "BSA") or (units == "CM2ML" and suv_type not in ("", "BSA")):
        return Unit.RELATIVE, f"SUV refused: Units {units} and SUVType {escaped(suv_type, 16)} contradict each other."
    if units == "GML":
        if suv_type not in _SUV_TYPES:
            notes.append("SUVType is unknown; the values are read as relative.")
            return Unit.RELATIVE, None
        if suv_type == "LBM":
            notes.append("SUVType LBM does not say which formula; that of James was taken.")
        return _SUV_TYPES[suv_type].unit, None
    known = {"BQML": Unit.BQML, "CM2ML": Unit.SUV_BODY_SURFACE_AREA, "1CM": Unit.PER_CENTIMETRE}
    return known.get(units, Unit.RELATIVE), None


def _philips(
    headers: Sequence[Header], acquisition: Acquisition, reason: str | None, several: str | None, notes: list[str]
) -> tuple[Unit, FloatArray, str | None]:
    """Unit, scale and reason of Units CNTS: Bq/mL by a private factor, else SUV, else relative (rule 4).

    ``several`` is the one reason that also holds against an SUV which the scanner computed.
    """
    suv_factors, activity_factors = _factors(headers, 0x00), _factors(headers, 0x09)
    per_suv = _concentration_per_suv(acquisition, reason)
    # without it the SUV factor is all that gives an SUV; slices that are not decay corrected have one each
    needs_factor = per_suv is None and acquisition.decay_correction != "NONE" and several is None
    if activity_factors is not None and not (needs_factor and suv_factors is not None):
        if suv_factors is None or per_suv is None or np.allclose(suv_factors * per_suv, activity_factors, rtol=0.01):
            notes.append("Counts were scaled to Bq/mL by the private activity factor of Philips.")
            return Unit.BQML, activity_factors, reason
        notes.append("The private SUV and activity factors of Philips differ by more than 1 %; the SUV factor holds.")
    if suv_factors is None:
        none = np.ones(len(headers))
        return Unit.RELATIVE, none, "SUV needs a private factor of Philips for Units CNTS; there is none but 0."
    if per_suv is not None:
        notes.append("Counts were scaled to Bq/mL back from the private SUV factor of Philips.")
        return Unit.BQML, suv_factors * per_suv, reason
    notes.append("Counts were scaled to SUV by the private SUV factor of Philips; Bq/mL is not known.")
    return Unit.SUV_BODY_WEIGHT, suv_factors, several


def _factors(headers: Sequence[Header], element: int) -> FloatArray | None:
    """Private factor of each slice; ``None`` unless all are positive and finite."""
    factors = []
    for header in headers:
        values = header.private(0x7053, PHILIPS_CREATOR, element)
        if (
            not values
            and not header.private_reserved(0x7053)
            and (header.text("Manufacturer") or "").startswith("Philips")
        ):
            # a scanner that says Philips and reserves no block at all, as after an export that dropped the creator
            values = header.values(0x70531000 | element)
        try:
            factors.append(float(str(values[0]).strip(" \0")) if values else 0.0)
        except ValueError:
            factors.append(0.0)
    found = np.array(factors)
    return found if bool(np.all(np.isfinite(found) & (found > 0.0))) else None


def _concentration_per_suv(acquisition: Acquisition, reason: str | None) -> float | None:
    """Bq/mL of an SUV of 1, where the acquisition gives it as one number."""
    if acquisition.decay_correction == "NONE":
        return None
    rule = resolve_suv(acquisition, unit=Unit.BQML, time_rule="none", reason=reason)
    if rule.reason is not None:
        return None
    return 1.0 / float(rule.factor(SuvKind.BODY_WEIGHT, acquisition=acquisition, unit=Unit.BQML))


def _missing_corrections(acquisition: Acquisition) -> list[str]:
    """One warning that names the corrections that the source does not list."""
    missing = [name for name in _EXPECTED_CORRECTIONS if name not in acquisition.corrections]
    if not missing:
        return []
    return [f"CorrectedImage does not list {', '.join(missing)}; the values may be biased."]
