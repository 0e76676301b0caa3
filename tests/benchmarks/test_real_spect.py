"""Organs are found without masks, keep their activity under a blur, and the Gaussian of equal noise is the one."""

import numpy as np
import pytest
from benchmarks.real_spect import compare, equal_gaussian, hot_organs, noise, smoothed

SPACING = (4.0, 4.0, 4.0)
CENTRES = (((18, 24, 16), 7.0, 100.0), ((18, 24, 40), 4.0, 60.0))
"""Index of a centre, radius in voxels, and level of each organ."""


def series(seed=0):
    """A body of level 3 with two organs: with noise, smoothed by 8 mm, and its voxels [mm]."""
    axes = np.indices((36, 48, 56))
    body = ((axes[1] - 24) / 22.0) ** 2 + ((axes[2] - 28) / 26.0) ** 2 <= 1
    truth = 3.0 * body
    for centre, radius, level in CENTRES:
        away = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        truth[away <= radius**2] = level
    blurred = smoothed(truth, 8.0, SPACING)
    rng = np.random.default_rng(seed)
    source = blurred + 0.5 * np.sqrt(blurred) * rng.standard_normal(truth.shape)
    return source, smoothed(source, 8.0, SPACING), SPACING


def test_organs_are_found_the_hottest_first():
    labels = hot_organs(series()[0], SPACING)
    assert labels.max() == 2
    assert [labels[centre] for centre, _, _ in CENTRES] == [1, 2]
    assert not labels[0, 0, 0]


def test_a_blur_keeps_the_activity_of_organs_and_lowers_noise():
    found = compare(*series())
    assert len(found["organ_activity_change"]) == 2
    assert np.abs(found["organ_activity_change"]).max() < 0.02  # what spills out of an organ is its own, and no other's
    assert len(found["organ_activity_change_gaussian"]) == 2
    assert found["body_activity_change"] == pytest.approx(0.0, abs=0.01)
    assert found["noise"]["synthetic"] < 0.5 * found["noise"]["source"]
    assert found["noise"]["Gaussian of equal noise"] <= found["noise"]["synthetic"]
    assert 0 < found["gaussian_fwhm_mm"] <= 8.0
    assert found["edge_mm"]["synthetic"] > found["edge_mm"]["source"]


def test_lost_activity_of_an_organ_is_told():
    source, smooth, spacing_mm = series()
    centre, radius, _ = CENTRES[1]
    away = sum((a - c) ** 2 for a, c in zip(np.indices(source.shape), centre, strict=True))
    smooth[away <= (radius + 4) ** 2] *= 0.8
    found = compare(source, smooth, spacing_mm)["organ_activity_change"]
    assert found[1] == pytest.approx(-0.2, abs=0.05)
    assert abs(found[0]) < 0.05


def test_the_gaussian_of_equal_noise_is_the_narrowest():
    image = 10.0 + np.random.default_rng(0).standard_normal((24, 24, 24))
    region = np.zeros(image.shape, dtype=bool)
    region[6:18, 6:18, 6:18] = True
    wanted = noise(smoothed(image, 6.0, SPACING), region)
    assert equal_gaussian(image, region, SPACING, wanted) == 6.0
    assert equal_gaussian(image, region, SPACING, 10.0) == 0.0
