"""Intervals of regions from samples, and what of a synthesis a report shows beside it."""

import numpy as np
import pytest

from nmsynth.inference.synthesis import Synthesis
from nmsynth.models.card import IntervalCard
from nmsynth.workflows.region_intervals import region_intervals, shown_beside
from tests.helpers import make_volume

CARD = IntervalCard(
    coverage=0.9, n_samples=4, voxel_factor=1.0, voxel_floor=0.0, region_factor=2.0, region_floor=0.0, n_cases=9,
    n_regions=9,
)  # fmt: skip


def volume(level):
    return make_volume(array=np.full((2, 4, 4), level), modality="PT")


def test_half_of_an_interval_is_the_spread_of_the_means_times_the_factor():
    samples = tuple(volume(level) for level in (1.0, 2.0, 3.0, 4.0))
    mask = np.zeros((2, 4, 4), dtype=bool)
    mask[0] = True
    masks = {"frontal": mask, "body": np.ones_like(mask), "nothing": np.zeros_like(mask)}
    (found,) = region_intervals(samples, volume(7.0), masks, CARD)
    half = 2 * np.std([1, 2, 3, 4], ddof=1)
    assert (found.region, found.image, found.reference) == ("frontal", 2.5, 7.0)
    assert (found.lower, found.upper) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))
    assert not found.is_covered
    assert region_intervals(samples[:3], volume(7.0), masks, CARD) == []
    assert region_intervals(samples, volume(7.0), masks, None) == []


def test_three_samples_and_half_of_the_interval_are_shown():
    samples = tuple(volume(level) for level in range(5))
    made = Synthesis(volume(2.0), {}, samples, (volume(1.0), volume(4.0)), (), {})
    shown = shown_beside(made)
    assert list(shown) == ["sample 1", "sample 2", "sample 3", "half of the interval"]
    assert float(shown["half of the interval"].array.max()) == 1.5
    assert shown_beside(Synthesis(volume(2.0), {}, (), None, (), {})) == {}
