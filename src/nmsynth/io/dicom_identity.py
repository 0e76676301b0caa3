"""Free text of a header without the words by which its patient could be known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import permutations

from nmsynth.core.errors import UnsafeInputError
from nmsynth.io.dicom_header import Header

_NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName")
_NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber")
_SHORTEST = 3
"""Characters of a name or number that are looked for inside a word; two of a script in which a word is a name."""
_SHORTEST_DIGITS = 5
"""Digits of a number that are looked for without the letters around them."""
_MAX_WORDS = 8
"""Of a name, of which each two are also looked for as one."""
_HARMLESS = frozenset(
    """
    ac anterior attenuation axial body bone brain cardiac contrast coronal corrected correction counts ct delayed
    derived dose dual dynamic early fdg filtered frame full gated heart image images iterative kidney liver
    low lung lymphoscintigraphy mac mean minutes mr mri myocardial nac neck nm nmsynth only osem patient perfusion
    pet petct phantom planar posterior psf psma pt raw recon reconstruction renal research rest sagittal scan
    scintigraphy sec series simulated slice spect spectct standard static std stress study suv synthetic tc test
    thyroid tof tomo tomography torso transverse trunk uncorrected volume wb whole wholebody with without
    """.split()  # noqa: SIM905  (a list of this length is a page)
)
"""Words that stay although a name holds them, as that of a phantom does: alone they name nobody."""
_EMPTY_BRACKETS = re.compile(r"[(\[][\s_,;:/.^-]*[)\]]")
_SEPARATORS = re.compile(r"([\s_,;:/.^-])[\s_,;:/.^-]+")


def without_identity(text: str | None, header: Header) -> str | None:
    """Text without each word that holds a name, number or birth date of the patient of a header.

    A word is what stands between anything but letters and digits. Technical words stay, so that "PET Doe WB" becomes
    "PET WB". Nothing else that could name somebody, such as a nickname, is found.

    Parameters
    ----------
    text
        Such as a series description.
    header
        Of the same file.

    Returns
    -------
        The text as it was, what remains of it, or ``None`` if nothing does.
    """
    if not text:
        return None
    composed = unicodedata.normalize("NFC", text)
    folded, origin = _folded(composed)
    patterns = [pattern for pattern in _patterns(header) if pattern.search(folded)]
    if not patterns:
        return text
    words = [match.span() for match in re.finditer(r"[^\W_]+", folded) if match[0] not in _HARMLESS]
    hits = [match.span() for pattern in patterns for match in pattern.finditer(folded)]
    dropped = {
        place
        for start, end in words
        if any(first < end and start < last for first, last in hits)
        for place in origin[start:end]
    }
    if not dropped:
        return text
    kept = "".join(char for place, char in enumerate(composed) if place not in dropped)
    return _SEPARATORS.sub(r"\1", _EMPTY_BRACKETS.sub("", kept)).strip(" \t\r\n_,;:/.^-") or None


def _folded(text: str) -> tuple[str, list[int]]:
    """Text in small letters without accents, and the place in the text that each of its characters comes from."""
    characters: list[str] = []
    origin: list[int] = []
    for place, char in enumerate(text):
        for part in unicodedata.normalize("NFKD", char.casefold()):
            if not unicodedata.combining(part):
                characters.append(part)
                origin.append(place)
    return "".join(characters), origin


def _patterns(header: Header) -> Iterator[re.Pattern[str]]:
    """What is looked for in folded text."""
    for part in _name_parts(header):
        if len(part) >= (_SHORTEST if part.isascii() else 2):
            yield re.compile(re.escape(part))
        elif len(part) > 1 or not part.isascii():
            yield re.compile(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])")
    for number in _numbers(header):
        between = r"[\W_]?" if len(number) >= _SHORTEST_DIGITS else ""
        yield re.compile(between.join(map(re.escape, number)))
    for day in _birth_dates(header):
        yield re.compile(rf"(?<!\d){day}(?!\d)")


def _name_parts(header: Header) -> set[str]:
    """Folded words of the names of a patient, and each two of a name as one."""
    parts: set[str] = set()
    for keyword in _NAMES:
        for shown in _shown(header, keyword):
            for group in shown.split("="):
                words = re.findall(r"[^\W\d_]+", _folded(group)[0])
                parts |= {*words, *map("".join, permutations(words[:_MAX_WORDS], 2))}
    return parts


def _numbers(header: Header) -> set[str]:
    """Folded numbers of a patient, with and without what separates their parts, and long runs of digits in them."""
    found: set[str] = set()
    for keyword in _NUMBERS:
        for shown in _shown(header, keyword):
            number = _folded(shown)[0]
            plain = "".join(re.findall(r"[^\W_]+", number))
            found |= {number, plain, *re.findall(rf"\d{{{_SHORTEST_DIGITS},}}", plain)}
    return {number for number in found if len(number) >= _SHORTEST and number not in _HARMLESS}


def _birth_dates(header: Header) -> set[str]:
    """Patterns of a birth date as people write it."""
    day = header.day("PatientBirthDate")
    if day is None:
        return set()
    year, month, date = rf"(?:{day:%Y}|{day:%y})", f"0?{day.month}", f"0?{day.day}"
    orders = ((year, month, date), (date, month, year), (month, date, year))
    return {r"[-_./ ]?".join(order) for order in orders}


def _shown(header: Header, keyword: str) -> tuple[str, ...]:
    """Values of an attribute in the character set of the file, as they are where it is not known.

    The data set is not asked for them: it would turn a name into an object of its own, which then differs from the
    bytes of the other slices.
    """
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import PN_DELIMS

    try:
        values = header.texts(keyword)
    except UnsafeInputError:
        return ()
    try:
        encodings = convert_encodings(list(header.texts("SpecificCharacterSet")) or None)
        values = tuple(decode_bytes(value.encode("latin-1"), encodings, PN_DELIMS) for value in values)
    except Exception:  # noqa: BLE001  (an unknown character set must not stop the reading)
        return tuple(filter(None, values))
    return tuple(filter(None, values))
