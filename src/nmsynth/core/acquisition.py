"""What is known of the administration, the patient's size and the scan, without identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

ATTENUATION, SCATTER = "ATTN", "SCAT"
"""DICOM CorrectedImage values."""
NOT_CORRECTED = "none"
"""Method of what is stated not to be corrected for attenuation."""
_UNCORRECTED = re.compile(
    r"(?!non[- ]?uniform)((no|none|non|not|nac|without|uncorrected|false|off|n|0)(?![a-z0-9.])|no[ _-]?ac\b)"
    r"|.*[:,=]\s*(none|off|no)\s*$",
    re.IGNORECASE,
)
"""What begins so, or ends in it; a correction of a non-uniform body is one."""
_UNSAID = re.compile(
    r"(|-|n\.?/?a\.?|unk|unknown|not[ _](applicable|stated|available|specified|known).*)", re.IGNORECASE
)


def names_correction(method: str | None) -> bool | None:
    """Whether a stated method of attenuation correction is one; ``None`` where it says nothing.

    Examples
    --------
    >>> names_correction("measured, 0.096 cm-1"), names_correction("none"), names_correction("n/a")
    (True, False, None)
    >>> names_correction("Non-uniform (CT)"), names_correction("AC: none"), names_correction("not stated")
    (True, False, None)
    """
    stated = (method or "").strip()
    return None if _UNSAID.fullmatch(stated) else _UNCORRECTED.match(stated) is None


@dataclass(frozen=True, slots=True)
class Frame:
    """One time frame or bed position, in seconds.

    ``start_s`` counts from the decay reference of the series, ``duration_s`` is the length.
    """

    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Facts an SUV needs, in SI units; ``None`` where the source does not state them.

    No field identifies a patient: sizes and times only. Times are as the scanner wrote them,
    with a time zone only where the source states one.
    """

    radionuclide: str | None = None
    """Such as ``"F-18"``."""
    radiopharmaceutical: str | None = None
    """Such as ``"Fluorodeoxyglucose F^18^"``; free text of the source."""
    half_life_s: float | None = None
    injected_activity_bq: float | None = None
    """Activity as given, at the injection time [Bq]."""
    injection_time: datetime | None = None
    reference_time: datetime | None = None
    """The time to which the image is decay corrected, as resolved by the rules of SUV."""
    decay_correction: str | None = None
    """``START``, ``ADMIN`` or ``NONE``."""
    corrections: tuple[str, ...] = ()
    """DICOM CorrectedImage, such as ``("DECY", "ATTN", "SCAT")``."""
    attenuation_correction: str | None = None
    """DICOM AttenuationCorrectionMethod: how it was made, such as ``"synthetic, nmsynth"``, or that it was not."""
    body_mass_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    """``M``, ``F`` or ``O``."""
    series_time: datetime | None = None
    acquisition_times: tuple[datetime, ...] = ()
    """Of each slice, in the order of the slices; one item where all are equal."""
    frame_reference_times_s: tuple[float, ...] = ()
    frame_durations_s: tuple[float, ...] = ()
    manufacturer: str | None = None
    scanner: str | None = None
    """Model name of the scanner."""
    reconstruction: str | None = None
    """Reconstruction method, as the source states it."""
    body_part: str | None = None
    patient_position: str | None = None
    """``HFS``, ``FFP`` …"""
    frame_of_reference_uid: str | None = None
    series_uid: str | None = None
    study_uid: str | None = None
    series_description: str | None = None
    echo_time_ms: float | None = None
    """Of MR [ms]."""
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    """Of MR [ms]."""
    scanning_sequence: tuple[str, ...] = ()
    """DICOM ScanningSequence of MR: ``SE``, ``IR``, ``GR``, ``EP``."""
    image_kinds: tuple[str, ...] = ()
    """What ImageType of MR says of its values, as :func:`~nmsynth.core.mr_sequence.image_kinds` tells it."""
    sequence_words: tuple[str, ...] = ()
    """Words of the names of an MR sequence that tell its weighting; see :mod:`nmsynth.core.mr_sequence`."""
    contrast_agent: bool | None = None
    """Whether CT or MR was acquired with a contrast agent."""
    simulated_count_fraction: float | None = None
    """Counts of a simulated scan over those of its full-count twin."""

    @property
    def attenuation_statements(self) -> frozenset[bool]:
        """Whether corrections and method say that it is corrected for attenuation: none, one or two that disagree.

        Corrections that are listed without ATTN say that it is not.
        """
        of_method = names_correction(self.attenuation_correction)
        of_list = ATTENUATION in self.corrections if self.corrections else None
        return frozenset(stated for stated in (of_list, of_method) if stated is not None)

    @property
    def is_attenuation_corrected(self) -> bool | None:
        """Whether it is corrected for attenuation; ``None`` where that is not stated, or stated both ways.

        Examples
        --------
        >>> Acquisition(corrections=("DECY",)).is_attenuation_corrected
        False
        """
        stated = self.attenuation_statements
        return next(iter(stated)) if len(stated) == 1 else None
