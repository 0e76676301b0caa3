"""Intervals of regions from samples, and what of a synthesis a report shows beside it."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.evaluation.evaluate import evaluate
from nmsynth.inference.synthesis import Synthesis
from nmsynth.models.card import IntervalCard
from nmsynth.workflows.region_intervals import RegionInterval, region_intervals, shown_beside, with_intervals
from tests.helpers import make_volume

INJECTED = datetime(2026, 1, 1, 13, 0)
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


def test_each_lesion_has_an_interval_and_samples_in_suv_are_compared_with_suv():
    known = volume(7000.0)
    acquisition = Acquisition(
        half_life_s=6586.0, injected_activity_bq=3.5e8, body_mass_kg=70.0, injection_time=INJECTED,
        reference_time=INJECTED, decay_correction="START",
    )  # fmt: skip
    rule = SuvRule(time_rule="a", decay_rule="START")
    known = replace(known, unit=Unit.BQML, acquisition=acquisition, suv_rule=rule)  # 7000 Bq/mL of 5000 are 1.4 SUV
    samples = tuple(replace(volume(level), unit=Unit.SUV_BODY_WEIGHT) for level in (1.0, 2.0, 1.0, 2.0))
    labels = np.zeros((2, 4, 4))
    labels[0, 0, 0], labels[1, 2, 2] = 1, 2
    found = region_intervals(samples, known, {"liver": labels == 0, "lesions": labels}, CARD)
    assert [i.region for i in found] == ["liver", "lesion 1", "lesion 2"]
    assert [i.group for i in found] == ["regions", "lesions", "lesions"]
    assert all(i.reference == pytest.approx(1.4, rel=1e-4) and i.is_covered for i in found)


def test_coverage_and_widths_are_told_of_regions_and_of_lesions():
    metrics = evaluate(volume(1.0), volume(1.0), task="ct-to-pet", settings={"with_ssim": False})
    intervals = [
        RegionInterval("liver", 2.0, 1.5, 2.5, 2.2),
        RegionInterval("spleen", 2.0, 1.9, 2.1, 2.5),
        RegionInterval("lesion 1", 4.0, 1.0, 7.0, 6.0),
    ]
    told = with_intervals(metrics, intervals)
    assert told.value("interval coverage", mask="regions") == 0.5
    assert told.value("interval half width", mask="regions") == pytest.approx(0.3)
    assert told.value("relative half width", mask="regions") == pytest.approx((0.5 / 2.2 + 0.1 / 2.5) / 2)
    assert told.value("interval coverage", mask="lesions") == 1.0
    assert told.value("interval half width", mask="lesion 1") == 3.0
    assert with_intervals(metrics, []) is metrics


def test_three_samples_and_half_of_the_interval_are_shown():
    samples = tuple(volume(level) for level in range(5))
    made = Synthesis(volume(2.0), {}, samples, (volume(1.0), volume(4.0)), (), {})
    shown = shown_beside(made)
    assert list(shown) == ["sample 1", "sample 2", "sample 3", "half of the interval"]
    assert float(shown["half of the interval"].array.max()) == 1.5
    assert shown_beside(Synthesis(volume(2.0), {}, (), None, (), {})) == {}
