"""What a source states of attenuation correction, against what a model needs."""

from __future__ import annotations

import re

from nmsynth.core.acquisition import ATTENUATION, Acquisition, names_correction

_CORRECTED_WORD = re.compile(r"(CT|IR|SC|RR|SPECT|TOMO)*AC(AC|SC|RR|CT)*")
"""Such as AC, CTAC, IRAC, IRACAC, IRACRR, SCAC."""
_UNCORRECTED_WORD = re.compile(r"NAC|NOAC|NONAC|UNAC|UNCORRECTED|IRNC(RR)?")
_NEGATIONS = ("NO", "NON", "NOT", "WITHOUT", "O", "OHNE", "SANS")
_AFTERWARDS = ("OFF", "NO", "NONE")
"""What says the same behind the word, as in ``AC: NO``."""
_IN_FULL = re.compile(r"\bATT?ENUATION[ -]CORRECTED\b|\bATT?ENUATION[ -]CORRECTION\b")
_JOINT = re.compile(r"\bAC[ -]JOINTS?\b")
"""The acromioclavicular one."""
HOW_TO_STATE = (
    "state it: CorrectedImage of DICOM, AttenuationCorrection of a sidecar, or the setting attenuation_corrected (on "
    "the command line --set attenuation_corrected=false)"
)


def series_says_corrected(description: str | None) -> bool | None:
    """Whether words of a description of a series say that it is corrected; ``None`` where they do not, or say both.

    Examples
    --------
    >>> [series_says_corrected(text) for text in ("Stress IRACAC", "Rest no AC", "Rest NAC", "STRESS", None)]
    [True, False, False, None, None]
    >>> [series_says_corrected(text) for text in ("Attenuation corrected", "AC: off", "SPECT AC joints")]
    [True, False, None]
    """
    text = _IN_FULL.sub("AC", _JOINT.sub("", (description or "").upper()))
    words = re.findall(r"[A-Z0-9]+", text)
    said = set()
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if _CORRECTED_WORD.fullmatch(word):
            said.add(before not in _NEGATIONS and after not in _AFTERWARDS)
        elif _UNCORRECTED_WORD.fullmatch(word):
            said.add(False)
    return next(iter(said)) if len(said) == 1 else None


def attenuation_statements(acquisition: Acquisition, *, modality: str, stated: bool | None = None) -> dict[bool, str]:
    """Where, in words, a source says that it is corrected for attenuation, and where that it is not.

    It may say nothing, or both. Of NM, whose headers mostly have no CorrectedImage, the words of the series count too.

    Parameters
    ----------
    acquisition, modality
        Of the source.
    stated
        As the caller states it, used only where the source states nothing.
    """
    listed, method = acquisition.corrections, acquisition.attenuation_correction
    has = ATTENUATION in listed
    in_words = series_says_corrected(acquisition.series_description) if modality == "NM" else None
    found: dict[bool, list[str]] = {}
    for corrected, where in (
        (has if listed else None, "it among the corrections" if has else ", ".join(listed)),
        (names_correction(method), f"the method {method}"),
        (in_words, "words of the series that say so"),
    ):
        if corrected is not None:
            found.setdefault(corrected, []).append(where)
    if not found and stated is not None:
        found[stated] = ["it stated so by the settings"]
    return {corrected: " and ".join(places) for corrected, places in found.items()}
