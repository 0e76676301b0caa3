"""Radionuclides: half-life, codes and spellings."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Radionuclide:
    """One radionuclide, as DICOM names and codes it."""

    name: str
    """Such as ``"F-18"`` or ``"Tc-99m"``."""
    half_life_s: float
    sct: str | None = None
    """SNOMED CT code, where DICOM has one."""
    srt: str | None = None
    """The older SNOMED-RT code that most scanners still write."""
    imaged_with: str = "PET"
    """``"PET"``, ``"SPECT"``, or ``"both"`` where either is usual."""
    dcm: str | None = None
    """DICOM's own code, for those that SNOMED lacks."""


_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86400.0

RADIONUCLIDES = (
    Radionuclide("C-11", 1223.0, "40565003", "C-105A1"),
    Radionuclide("N-13", 597.9, "21576001", "C-107A1"),
    Radionuclide("O-15", 122.24, "129504001", "C-B1038"),
    Radionuclide("F-18", 6586.2, "77004003", "C-111A1"),
    Radionuclide("O-14", 70.62, "424875009", "C-B1037"),
    Radionuclide("Na-22", 2.602 * 365.25 * _DAY, "71633006", "C-155A1"),
    Radionuclide("K-38", 7.636 * _MINUTE, "423764008", "C-135A4"),
    Radionuclide("Sc-43", 3.891 * _HOUR, dcm="126605"),
    Radionuclide("Sc-44", 3.97 * _HOUR, dcm="126600"),
    Radionuclide("Ti-45", 184.8 * _MINUTE, "75696008", "C-166A2"),
    Radionuclide("Mn-51", 46.2 * _MINUTE, dcm="126601"),
    Radionuclide("Mn-52", 5.591 * _DAY, "37225000", "C-149A1"),
    Radionuclide("Mn-52m", 21.1 * _MINUTE, dcm="126607"),
    Radionuclide("Fe-52", 8.275 * _HOUR, "69089000", "C-130A1"),
    Radionuclide("Cu-60", 23.7 * _MINUTE, "425364008", "C-127A4"),
    Radionuclide("Cu-61", 3.339 * _HOUR, "71425003", "C-127A1"),
    Radionuclide("Cu-62", 9.673 * _MINUTE, "422934004", "C-127A5"),
    Radionuclide("Cu-64", 12.701 * _HOUR, "3932008", "C-127A2"),
    Radionuclide("Cu-67", 61.83 * _HOUR, "53700003", "C-127A3", "SPECT"),
    Radionuclide("Zn-62", 9.193 * _HOUR, "65054007", "C-141A1"),
    Radionuclide("Ga-66", 9.49 * _HOUR, "79477007", "C-131A1"),
    Radionuclide("Ga-67", 3.2617 * _DAY, "2008008", "C-131A2", "SPECT"),
    Radionuclide("Ga-68", 4057.7, "35337001", "C-131A3"),
    Radionuclide("Ge-68", 270.95 * _DAY, "53315004", "C-128A2"),
    Radionuclide("As-70", 52.6 * _MINUTE, dcm="126602"),
    Radionuclide("As-72", 26.0 * _HOUR, "2705002", "C-115A2"),
    Radionuclide("Se-73", 7.15 * _HOUR, "87437000", "C-116A2"),
    Radionuclide("Br-75", 96.7 * _MINUTE, "17910003", "C-113A1"),
    Radionuclide("Br-76", 16.2 * _HOUR, "79523006", "C-113A2"),
    Radionuclide("Br-77", 57.04 * _HOUR, "86521004", "C-113A3"),
    Radionuclide("Kr-81m", 13.1, "61716009", None, "SPECT"),
    Radionuclide("Rb-82", 75.45, "79197006", "C-159A2"),
    Radionuclide("Y-86", 14.74 * _HOUR, "10738001", "C-162A3"),
    Radionuclide("Y-90", 64.05 * _HOUR, "14691008", "C-162A7", "both"),
    Radionuclide("Nb-90", 14.60 * _HOUR, dcm="126603"),
    Radionuclide("Zr-89", 282276.0, "63360001", "C-168A4"),
    Radionuclide("Tc-94m", 52.0 * _MINUTE, "424079002", "C-163AA"),
    Radionuclide("Tc-99m", 21624.0, "72454006", "C-163A8", "SPECT"),
    Radionuclide("In-111", 2.8047 * _DAY, "56609000", "C-145A4", "SPECT"),
    Radionuclide("I-123", 13.2235 * _HOUR, "21572004", "C-114A4", "SPECT"),
    Radionuclide("I-124", 4.1760 * _DAY, "40937006", "C-114A5"),
    Radionuclide("I-131", 693377.0, "1368003", "C-114B1", "SPECT"),
    Radionuclide("Xe-133", 5.2475 * _DAY, "80751004", "C-172A8", "SPECT"),
    Radionuclide("Sm-153", 46.284 * _HOUR, "419804008", "C-B1134", "SPECT"),
    Radionuclide("Tb-152", 17.5 * _HOUR, dcm="126606"),
    Radionuclide("Tb-161", 6.89 * _DAY, None, None, "SPECT"),
    Radionuclide("Ho-166", 26.824 * _HOUR, None, None, "SPECT"),
    Radionuclide("Lu-177", 574300.0, "447553000", "C-101ED", "SPECT"),
    Radionuclide("Re-186", 3.7186 * _DAY, "395865006", "C-11906", "SPECT"),
    Radionuclide("Re-188", 17.005 * _HOUR, "423578007", "C-1018D", "SPECT"),
    Radionuclide("Tl-201", 3.0421 * _DAY, "60057003", "C-138A9", "SPECT"),
    Radionuclide("Ac-225", 9.92 * _DAY, None, None, "SPECT"),
    Radionuclide("Ra-223", 11.43 * _DAY, "24853006", "C-136A2", "SPECT"),
)
"""Radionuclides of nuclear imaging; half-lives as DICOM users and ENSDF state them."""

_ELEMENTS = {
    "carbon": "C", "nitrogen": "N", "oxygen": "O", "fluorine": "F", "fluor": "F", "sodium": "Na", "potassium": "K",
    "scandium": "Sc", "titanium": "Ti", "iron": "Fe", "zinc": "Zn", "arsenic": "As", "selenium": "Se", "krypton": "Kr",
    "niobium": "Nb", "terbium": "Tb", "actinium": "Ac", "manganese": "Mn",
    "copper": "Cu", "gallium": "Ga", "germanium": "Ge", "bromine": "Br", "rubidium": "Rb",
    "yttrium": "Y", "zirconium": "Zr", "technetium": "Tc", "indium": "In", "iodine": "I", "xenon": "Xe",
    "samarium": "Sm", "holmium": "Ho", "lutetium": "Lu", "rhenium": "Re", "thallium": "Tl", "radium": "Ra",
}  # fmt: skip
_BY_NAME = {nuclide.name.lower(): nuclide for nuclide in RADIONUCLIDES}
_BY_CODE = {code: nuclide for nuclide in RADIONUCLIDES for code in (nuclide.sct, nuclide.srt, nuclide.dcm) if code}
_SPELLINGS = (
    re.compile(r"(?<![0-9A-Za-z])(?P<element>[A-Za-z]{1,12})[\s^\[\]-]{0,3}(?P<mass>\d{2,3}m?)(?![0-9A-Za-z])"),
    re.compile(r"(?<![0-9A-Za-z])(?P<mass>\d{2,3}m?)[\s^\[\]-]{0,3}(?P<element>[A-Za-z]{1,12})(?![0-9A-Za-z])"),
)


def find_radionuclide(*, code: str | None = None, text: str | None = None) -> Radionuclide | None:
    """Find a radionuclide by its code, else by its spelling; ``None`` if neither is known.

    Parameters
    ----------
    code
        SNOMED CT, SNOMED-RT or DCM code value, such as ``"C-111A1"``.
    text
        Free text such as ``"^18^Fluorine"``, ``"18F"``, ``"177 Lutetium"`` or ``"F-18"``.

    Examples
    --------
    >>> find_radionuclide(text="^18^Fluorine").name
    'F-18'
    >>> find_radionuclide(code="72454006").half_life_s
    21624.0
    """
    if code and code.strip() in _BY_CODE:
        return _BY_CODE[code.strip()]
    for spelling in _SPELLINGS:
        for match in spelling.finditer((text or "")[:200]):
            element = match["element"].lower()
            symbol = _ELEMENTS.get(element, element)
            found = _BY_NAME.get(f"{symbol}-{match['mass']}".lower())
            if found is not None:
                return found
    return None


def decay_factor(elapsed_s: float, half_life_s: float) -> float:
    """Fraction of activity that is left: ``2^(-elapsed / half_life)``.

    Examples
    --------
    >>> decay_factor(6586.2, 6586.2)
    0.5
    """
    return math.exp2(-elapsed_s / half_life_s)


def average_activity_time_s(duration_s: float, half_life_s: float) -> float:
    """Time after the start of a frame at which activity equals its mean over the frame [s].

    ``ln(lT / (1 - exp(-lT))) / l`` with ``l = ln 2 / half_life`` and ``T`` the duration; a little before the middle.

    Examples
    --------
    >>> round(average_activity_time_s(600.0, 6586.2), 1)
    298.4
    """
    rate = math.log(2.0) / half_life_s
    if rate * duration_s < 1e-9:
        return duration_s / 2.0
    return math.log(rate * duration_s / -math.expm1(-rate * duration_s)) / rate


def frame_decay_correction(duration_s: npt.ArrayLike, half_life_s: float) -> npt.NDArray[np.float64]:
    """Factor from the mean activity over a frame to that at its start: ``lT / (1 - exp(-lT))``.

    Examples
    --------
    >>> float(frame_decay_correction(0.0, 6586.2))
    1.0
    """
    x = np.asarray(duration_s, dtype=np.float64) * math.log(2.0) / half_life_s
    safe = np.where(x > 1e-12, x, 1.0)
    return np.where(x > 1e-12, safe / -np.expm1(-safe), 1.0)
