"""Whether what the header of an MR states fits T1 weighting."""

from __future__ import annotations

from nmsynth.core.acquisition import Acquisition

LONG_REPETITION_MS, LONGEST_REPETITION_MS = 1500.0, 3000.0
"""Repetition times above which an MR without inversion has little T1 weighting, and none [ms]. With inversion they are
those of a whole inversion cycle."""
SHORT_INVERSION_MS, LONG_INVERSION_MS = 250.0, 1500.0
"""Inversion times below which fat is nulled (STIR), and above which fluid is (FLAIR) [ms]."""
_OTHER_WORDS = ("SWI", "TOF", "FLAIR", "STIR", "T2", "PD", "DWI", "ADC", "PHASE")
_ALSO_OF_T1 = ("FLAIR", "PD")
"""Words that name no other weighting where T1 stands beside them."""


def t1_contradictions(acquisition: Acquisition, *, largest_echo_time_ms: float) -> list[str]:
    """What contradicts T1 weighting, each as what must hold and what was found.

    Parameters
    ----------
    acquisition
        Of an MR.
    largest_echo_time_ms
        Longest echo that is taken for T1-weighted [ms].
    """
    found = []
    echo = acquisition.echo_time_ms
    if echo is not None and echo > largest_echo_time_ms:
        found.append(f"echo time must be at most {largest_echo_time_ms:g} ms, as of T1-weighted MR, found {echo:g} ms")
    found += _of_times(acquisition)
    if "EP" in acquisition.scanning_sequence:
        found.append("the sequence must be T1-weighted, found an echo-planar one (EP)")
    if acquisition.image_kinds:
        kinds = ", ".join(acquisition.image_kinds)
        found.append(f"values must be those of a usual T1-weighted MR, found an ImageType of {kinds}")
    return found


def _of_times(acquisition: Acquisition) -> list[str]:
    """What repetition and inversion times contradict."""
    repetition, inversion = acquisition.repetition_time_ms, acquisition.inversion_time_ms
    inversion = None if inversion is not None and inversion <= 0 else inversion  # some write 0 where there is none
    inverts = "IR" in acquisition.scanning_sequence or (inversion is not None and not acquisition.scanning_sequence)
    if repetition is not None and not inverts:
        longest = LONG_REPETITION_MS if acquisition.scanning_sequence else LONGEST_REPETITION_MS
        if repetition > longest:
            return [
                f"repetition time without inversion must be at most {longest:g} ms, as of T1-weighted MR, found "
                f"{repetition:g} ms"
            ]
    if inversion is not None and inversion > LONG_INVERSION_MS:
        return [f"inversion time must be at most {LONG_INVERSION_MS:g} ms, found {inversion:g} ms, as of FLAIR"]
    nulls_fat = inversion is not None and inversion < SHORT_INVERSION_MS and "IR" in acquisition.scanning_sequence
    if nulls_fat and repetition is not None and repetition > LONG_REPETITION_MS:
        return [f"inversion time must be at least {SHORT_INVERSION_MS:g} ms, found {inversion:g} ms, as of STIR"]
    return []


def t1_doubts(acquisition: Acquisition) -> list[str]:
    """What leaves it open whether an MR is T1-weighted."""
    doubts = []
    if acquisition.echo_time_ms is None:
        doubts.append("the source does not state its echo time; it must be T1-weighted")
    words = [word for word in _OTHER_WORDS if word in acquisition.sequence_words]
    if "T1" in acquisition.sequence_words:
        words = [word for word in words if word not in _ALSO_OF_T1]
    if words:
        doubts.append(f"the name of the sequence says {', '.join(words)}; it must be T1-weighted")
    return doubts
