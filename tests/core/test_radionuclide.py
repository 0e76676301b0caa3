"""Half-lives, codes and spellings."""

import numpy as np
import pytest

from nmsynth.core.radionuclide import (
    RADIONUCLIDES,
    average_activity_time_s,
    decay_factor,
    find_radionuclide,
    frame_decay_correction,
)


@pytest.mark.parametrize(
    ("name", "half_life_s"),
    [
        ("F-18", 6586.2), ("Ga-68", 4057.7), ("C-11", 1223.0), ("Tc-99m", 21624.0), ("Lu-177", 574300.0),
        ("I-131", 693377.0), ("Zr-89", 282276.0),
    ],
)  # fmt: skip
def test_half_lives(name, half_life_s):
    assert find_radionuclide(text=name).half_life_s == half_life_s


@pytest.mark.parametrize(
    "text", ["F-18", "18F", "^18^Fluorine", "Fluorine-18", "18-F", "F18", "Fluorodeoxyglucose F^18^"]
)
def test_spellings(text):
    assert find_radionuclide(text=text).name == "F-18"


@pytest.mark.parametrize("text", [None, "", "FDG", "18", "G-18", "F-180", "Solution 2018"])
def test_unknown_spellings(text):
    assert find_radionuclide(text=text) is None


def test_codes_are_unique_and_found():
    codes = [code for nuclide in RADIONUCLIDES for code in (nuclide.sct, nuclide.srt, nuclide.dcm) if code]
    assert len(set(codes)) == len(codes)
    assert find_radionuclide(code="C-111A1", text="nonsense").name == "F-18"
    assert find_radionuclide(code="unknown", text="99mTc").name == "Tc-99m"


def test_codes_are_those_of_pydicom():
    pydicom_codes = pytest.importorskip("pydicom.sr.codedict").codes
    by_code = {nuclide.sct: nuclide.name for nuclide in RADIONUCLIDES if nuclide.sct}
    found = 0
    for group in (pydicom_codes.cid4020, pydicom_codes.cid18):
        for keyword in group.dir():
            code = getattr(group, keyword)
            if code.value in by_code:
                assert find_radionuclide(text=code.meaning).name == by_code[code.value]
                found += 1
    assert found > 25


def test_one_half_life_halves():
    assert decay_factor(100.0, 100.0) == 0.5


def test_short_frame_has_its_mean_in_the_middle():
    assert average_activity_time_s(1.0, 6586.2) == pytest.approx(0.5, rel=1e-4)
    assert average_activity_time_s(0.0, 6586.2) == 0.0


def test_activity_at_the_average_time_is_the_mean():
    duration, half_life = 3600.0, 1223.0
    mean = np.mean(2.0 ** (-np.linspace(0.0, duration, 100_001) / half_life))
    assert 2.0 ** (-average_activity_time_s(duration, half_life) / half_life) == pytest.approx(mean, rel=1e-4)
    assert frame_decay_correction(duration, half_life) == pytest.approx(1 / mean, rel=1e-4)
