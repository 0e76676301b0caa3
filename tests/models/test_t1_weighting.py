"""What a header states of an MR sequence is held against T1 weighting."""

import re

import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.models.t1_weighting import t1_contradictions, t1_doubts

MPRAGE = Acquisition(
    echo_time_ms=3.0, repetition_time_ms=2300.0, inversion_time_ms=900.0, scanning_sequence=("GR", "IR"),
    sequence_words=("T1",),
)  # fmt: skip
SPOILED = Acquisition(echo_time_ms=4.0, repetition_time_ms=20.0, scanning_sequence=("GR",))
SPIN_ECHO = Acquisition(echo_time_ms=10.0, repetition_time_ms=550.0, scanning_sequence=("SE",))


@pytest.mark.parametrize("acquisition", [MPRAGE, SPOILED, SPIN_ECHO, Acquisition(echo_time_ms=4.0)])
def test_usual_t1_sequences_are_taken_without_a_doubt(acquisition):
    assert t1_contradictions(acquisition, largest_echo_time_ms=30.0) == []
    assert t1_doubts(acquisition) == []


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"echo_time_ms": 95.0}, "echo time must be at most 30 ms, as of T1-weighted MR, found 95 ms"),
        ({"repetition_time_ms": 5000.0}, "repetition time without inversion must be at most 3000 ms"),
        ({"repetition_time_ms": 2500.0, "scanning_sequence": ("SE",)}, "at most 1500 ms, .* found 2500 ms"),
        ({"inversion_time_ms": 2500.0, "repetition_time_ms": 9000.0}, "inversion time .* found 2500 ms, as of FLAIR"),
        (
            {"inversion_time_ms": 160.0, "repetition_time_ms": 4000.0, "scanning_sequence": ("SE", "IR")},
            "at least 250 ms, found 160 ms, as of STIR",
        ),
        (
            # some write 0 where nothing is inverted
            {"inversion_time_ms": 0.0, "repetition_time_ms": 4500.0, "scanning_sequence": ("SE",)},
            "repetition time without inversion must be at most 1500 ms",
        ),
        ({"scanning_sequence": ("EP",)}, "found an echo-planar one"),
        ({"image_kinds": ("fat",)}, "found an ImageType of fat"),
    ],
)
def test_what_contradicts_t1_weighting_is_named(stated, reason):
    found = t1_contradictions(Acquisition(**{"echo_time_ms": 10.0, **stated}), largest_echo_time_ms=30.0)
    assert len(found) == 1
    assert re.search(reason, found[0])


def test_a_repetition_time_of_an_inversion_cycle_is_left_open_where_no_sequence_is_stated():
    unsaid = Acquisition(echo_time_ms=3.0, repetition_time_ms=2300.0)
    assert t1_contradictions(unsaid, largest_echo_time_ms=30.0) == []


def test_names_of_sequences_are_doubts_unless_t1_stands_beside():
    assert t1_doubts(Acquisition(echo_time_ms=3.0, sequence_words=("FLAIR", "T2"))) == [
        "the name of the sequence says FLAIR, T2; it must be T1-weighted"
    ]
    assert t1_doubts(Acquisition(echo_time_ms=3.0, sequence_words=("FLAIR", "T1"))) == []
    assert "echo time" in t1_doubts(Acquisition())[0]
