"""What the header of an MR tells of its weighting: known words only, so that no free text of a header is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEQUENCES = ("SE", "IR", "GR", "EP", "RM")
_KINDS = {
    "fat": ("FAT", "F", "FAT_IMAGE", "FATIMAGE"),
    "water": ("WATER", "W", "WATER_IMAGE", "WATERIMAGE"),
    "phase": ("PHASE", "P", "PHASE MAP", "PHASE_MAP", "PHASEMAP"),
    "imaginary": ("IMAGINARY", "I"),
    "diffusion": ("DIFFUSION", "ADC", "ADC_MAP", "TRACEW", "FA", "EADC"),
    "susceptibility": ("SWI", "MNIP", "MINIP", "MIN IP", "QSM"),
    "projection": ("MIP", "PROJECTION IMAGE"),
    "map of a parameter": (
        "T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR MAP", "R2_STAR MAP", "R2 MAP", "FAT_FRACTION",
    ),
}  # fmt: skip
_FIRST_KIND = 2
"""Values of ImageType before this one tell original and primary."""
_WORDS = {
    "SWI": r"swi|swan|qsm",
    "TOF": r"tof|angio|mra",
    "FLAIR": r"flair|tirm|dark",
    "STIR": r"stir",
    "T2": r"t2\w*",
    "PD": r"pd|pdw|pdt2",
    "DWI": r"dwi|dti|diff|diffusion|trace\w*|ep2d\w*",
    "ADC": r"adc",
    "PHASE": r"phase|pha|fieldmap",
    "T1": r"t1\w*|mprage|mp2rage|spgr|fspgr|bravo|tfe|vibe",
}


def scanning_sequences(values: Iterable[object]) -> tuple[str, ...]:
    """DICOM values of ScanningSequence, as ``GR``, ``IR`` or ``GR_IR``; others are left out.

    Examples
    --------
    >>> scanning_sequences(["GR_IR"]), scanning_sequences(["Doe"])
    (('GR', 'IR'), ())
    """
    found = [part for value in values for part in re.split(r"[^A-Z]+", str(value).upper())]
    return tuple(dict.fromkeys(part for part in found if part in _SEQUENCES))


def image_kinds(values: Iterable[object]) -> tuple[str, ...]:
    """What ImageType says of the values, where they are none of a usual magnitude image.

    Examples
    --------
    >>> image_kinds(["DERIVED", "PRIMARY", "DIXON", "FAT"]), image_kinds(["ORIGINAL", "PRIMARY", "M", "NORM"])
    (('fat',), ())
    """
    stated = {str(value).strip().upper() for value in list(values)[_FIRST_KIND:]}
    return tuple(kind for kind, names in _KINDS.items() if stated & set(names))


def sequence_words(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Known words of weighting in names of a sequence, in capitals.

    Examples
    --------
    >>> sequence_words(["t2_tse_tra", "Ax FLAIR"]), sequence_words(["Sag MPRAGE", None])
    (('FLAIR', 'T2'), ('T1',))
    """
    parts = [part for text in texts if text for part in re.split(r"[^a-z0-9]+", text.lower())]
    return tuple(word for word, pattern in _WORDS.items() if any(re.fullmatch(pattern, part) for part in parts))
