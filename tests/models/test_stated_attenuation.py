"""Whether a source is corrected for attenuation is held against the model by all that states it."""

from dataclasses import replace

import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.models.envelope import Envelope
from nmsynth.models.stated_attenuation import series_says_corrected
from tests.models.packages import FDG, make_pet

BOUNDS = {"axial_voxel_mm": (1.0, 9.0), "in_plane_voxel_mm": (1.0, 9.0), "minimum_grid": (4, 8, 8), "any_tracer": True}
CORRECTED = Envelope(**BOUNDS, modality=("PT", "NM"))
UNCORRECTED = Envelope(
    **BOUNDS, modality=("PT", "NM"), requires_attenuation_correction=False, refuses_attenuation_correction=True
)
STATED = {
    "listed": ({"corrections": ("DECY", "ATTN")}, {True}),
    "listed without": ({"corrections": ("DECY",)}, {False}),
    "by method": ({"corrections": (), "attenuation_correction": "CT-derived mu-map"}, {True}),
    "by method, none": ({"corrections": (), "attenuation_correction": "NONE, 0.096"}, {False}),
    "method unknown": ({"corrections": (), "attenuation_correction": "unknown"}, set()),
    "both ways": ({"corrections": ("NORM",), "attenuation_correction": "measured,CT"}, {True, False}),
    "not at all": ({"corrections": ()}, set()),
}


def scan(modality="PT", **stated):
    return make_pet(modality=modality, acquisition=replace(FDG, **stated))


def refused(envelope, volume, **told):
    return any("attenuation correction" in reason for reason in envelope.violations(volume, **told))


@pytest.mark.parametrize("what", STATED)
def test_what_is_stated_decides_and_what_is_stated_both_ways_is_refused_by_all(what):
    stated, said = STATED[what]
    assert Acquisition(**stated).attenuation_statements == said
    assert Acquisition(**stated).is_attenuation_corrected is (next(iter(said)) if len(said) == 1 else None)
    assert refused(CORRECTED, scan(**stated)) == (False in said)
    assert refused(UNCORRECTED, scan(**stated)) == (True in said or not said)


def test_pet_that_does_not_say_that_it_is_uncorrected_is_refused_until_it_is_told():
    silent = scan(corrections=())
    assert "--set attenuation_corrected=false" in " ".join(UNCORRECTED.violations(silent))
    assert not refused(UNCORRECTED, silent, attenuation_corrected=False)
    assert refused(UNCORRECTED, silent, attenuation_corrected=True)
    assert refused(CORRECTED, silent, attenuation_corrected=False)
    assert not any("attenuation" in flag for flag in CORRECTED.flags(silent, attenuation_corrected=True))
    # what the caller says never stands against the source
    assert not refused(CORRECTED, scan(corrections=("ATTN",)), attenuation_corrected=False)


def test_nm_that_says_nothing_is_flagged_and_words_of_its_series_count():
    silent = scan("NM", corrections=(), series_description="STRESS")
    for envelope in (CORRECTED, UNCORRECTED):
        assert not refused(envelope, silent)
        assert any("does not state whether it is corrected" in flag for flag in envelope.flags(silent))
    assert refused(UNCORRECTED, scan("NM", corrections=(), series_description="Stress IRAC AC CTAC"))
    assert refused(UNCORRECTED, scan("NM", corrections=("UNIF",), series_description="[xSPECT - AC ]"))
    assert not refused(UNCORRECTED, scan("NM", corrections=(), series_description="STRESS NAC"))
    assert refused(CORRECTED, scan("NM", corrections=(), series_description="STRESS NAC"))


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("Stress_IRACAC", True), ("REST CTAC", True), ("no AC", False), ("non-AC", False), ("w/o AC", False),
        ("IRNC stress", False), ("AC and NAC", None), ("ACQUISITION BACK", None), ("", None),
    ],
)  # fmt: skip
def test_words_of_a_series(description, said):
    assert series_says_corrected(description) is said
