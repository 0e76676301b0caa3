"""What the sidecar of a BIDS-PET image says of injection, times and corrections, and the SUV that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

from nmsynth.core.acquisition import ATTENUATION, NOT_CORRECTED, Acquisition, names_correction
from nmsynth.core.body_size import plausible_activity_bq, plausible_body_mass_kg
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.core.suv import SuvRule, resolve_suv
from nmsynth.core.units import Unit
from nmsynth.io.json_values import finite

TIME_RULE = "bids"
"""Times are stated, in seconds from TimeZero."""
DAY = date(2000, 1, 1)
"""Of TimeZero, as BIDS has no dates."""
_DECAY = "DECY"


def with_injection(acquisition: Acquisition, record: Mapping[str, Any]) -> Acquisition:
    """An acquisition with half-life, times and corrections as the sidecar states them; nothing else is assumed.

    Parameters
    ----------
    acquisition
        Of the sidecar, with its radionuclide.
    record
        The sidecar. ``InjectionStart``, ``ScanStart`` and ``ImageDecayCorrectionTime`` are in seconds from
        ``TimeZero``.
    """
    nuclide = find_radionuclide(text=acquisition.radionuclide)
    half_life_s = acquisition.half_life_s or (None if nuclide is None else nuclide.half_life_s)
    injection, scan = _moment(record, "InjectionStart"), _moment(record, "ScanStart")
    is_decay_corrected = record.get("ImageDecayCorrected")
    reference = _moment(record, "ImageDecayCorrectionTime") if is_decay_corrected is True else None
    decay = None
    if is_decay_corrected is False:
        decay = "NONE"
    elif injection is not None and reference is not None:
        decay = "ADMIN" if reference == injection else "START"
    attenuation = is_attenuation_corrected(record)
    corrections: tuple[str, ...] = ()
    if attenuation is not None:  # a list without it would say that there was none
        corrections = (*([_DECAY] if is_decay_corrected is True else []), *([ATTENUATION] if attenuation else []))
    return replace(
        acquisition,
        half_life_s=half_life_s,
        injection_time=injection,
        reference_time=reference,
        decay_correction=decay,
        corrections=corrections,
        attenuation_correction=_method(record, is_corrected=attenuation),
        acquisition_times=() if scan is None else (scan,),
    )


def is_attenuation_corrected(record: Mapping[str, Any]) -> bool | None:
    """Whether ``AttenuationCorrection`` names a method; ``None`` where it says nothing.

    Examples
    --------
    >>> is_attenuation_corrected({"AttenuationCorrection": "CT-based"}), is_attenuation_corrected({})
    (True, None)
    """
    stated = record.get("AttenuationCorrection")
    if isinstance(stated, bool):
        return stated
    return names_correction(stated) if isinstance(stated, str) else None


def _method(record: Mapping[str, Any], *, is_corrected: bool | None) -> str | None:
    """The method as it is stated; that there was none, so that no correction listed does not leave it open."""
    stated = record.get("AttenuationCorrection")
    if is_corrected is False:
        return NOT_CORRECTED
    return stated.strip() if is_corrected and isinstance(stated, str) else None


def suv_rule_of(acquisition: Acquisition, record: Mapping[str, Any]) -> SuvRule:
    """How an SUV follows from an image in Bq/mL, or which fields its sidecar lacks for it.

    Parameters
    ----------
    acquisition
        As :func:`with_injection` gives it.
    record
        The sidecar.
    """
    activity, mass = acquisition.injected_activity_bq, acquisition.body_mass_kg
    needed: dict[str, object] = {
        "InjectedRadioactivity with its units": activity,
        "BodyWeight in kg": mass,
        "TimeZero with InjectionStart": acquisition.injection_time,
        "TracerRadionuclide or RadionuclideHalfLife": acquisition.half_life_s,
        "AttenuationCorrection": is_attenuation_corrected(record) is not None,
        "ImageDecayCorrected": acquisition.decay_correction or isinstance(record.get("ImageDecayCorrected"), bool),
    }
    if record.get("ImageDecayCorrected") is True:
        needed["ImageDecayCorrectionTime"] = acquisition.reference_time
    missing = [name for name, value in needed.items() if not value]
    reason = None
    mode = record.get("ModeOfAdministration")
    if missing:
        reason = f"SUV needs {', '.join(missing)}; the image's BIDS sidecar does not state it. Add it there."
    elif not is_attenuation_corrected(record):
        reason = "SUV needs attenuation correction; the image's BIDS sidecar says that there was none."
    elif acquisition.decay_correction == "NONE":
        reason = "SUV needs decay correction; the image's BIDS sidecar says that there was none."
    elif isinstance(mode, str) and mode.strip().casefold() not in ("bolus", "", "n/a"):
        reason = f"SUV needs an activity that was given at once; the image's BIDS sidecar states {mode!r:.40}."
    elif plausible_activity_bq(activity, acquisition.radionuclide)[1] is not None:
        reason = f"SUV needs a plausible injected activity; the image's BIDS sidecar states {activity or 0:.3g} Bq."
    elif plausible_body_mass_kg(mass)[1] is not None:
        reason = f"SUV needs a plausible body weight; the image's BIDS sidecar states {mass or 0:g} kg."
    return resolve_suv(acquisition, unit=Unit.BQML, time_rule=TIME_RULE, reason=reason)


def _moment(record: Mapping[str, Any], name: str) -> datetime | None:
    """A time of the sidecar; ``None`` where it or TimeZero is not stated."""
    try:
        zero = datetime.combine(DAY, time.fromisoformat(record["TimeZero"].strip()))
        return zero + timedelta(seconds=finite(record[name]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
