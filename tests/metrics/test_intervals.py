"""Intervals hold what they promise, also where samples spread too little."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.metrics.intervals import calibrated, covered_share


@pytest.mark.parametrize("shrunk", [1.0, 0.3, 3.0])
def test_intervals_cover_their_share_of_what_they_were_not_calibrated_on(shrunk):
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 4.0, 4000)
    error = rng.standard_normal(4000) * spread
    told = shrunk * spread
    found = calibrated(error[:2000], told[:2000], coverage=0.9)
    half = found.half_width(told[2000:])
    assert covered_share(error[2000:], half) == pytest.approx(0.9, abs=0.02)
    wide = half[spread[2000:] > 2.5].mean()
    assert wide > 1.5 * half[spread[2000:] < 1.5].mean()


def test_samples_that_agree_by_chance_still_have_an_interval():
    found = calibrated(np.linspace(-1, 1, 99), np.zeros(99), coverage=0.9)
    assert float(found.half_width(0.0)) == pytest.approx(0.9, abs=0.05)


def test_subjects_are_counted_and_not_their_regions():
    rng = np.random.default_rng(1)
    shares = {"by subject": [], "by value": []}
    for _ in range(400):
        subject = np.repeat(np.arange(10), 22)
        error = 0.9 * np.repeat(rng.standard_normal(10), 22) + 0.44 * rng.standard_normal(220)
        new = 0.9 * rng.standard_normal() + 0.44 * rng.standard_normal(22)
        for name, of in (("by subject", subject), ("by value", None)):
            found = calibrated(error, np.ones(220), coverage=0.9, subjects=of)
            shares[name].append(covered_share(new, found.half_width(np.ones(22))))
    assert np.mean(shares["by subject"]) > 0.9 - 2 * np.std(shares["by subject"]) / 20
    assert np.mean(shares["by value"]) < np.mean(shares["by subject"])


def test_each_subject_counts_once():
    few, many = np.full(1, 5.0), np.full(1000, 1.0)
    error = np.concatenate([*[few] * 3, *[many] * 9])
    subject = np.repeat(np.arange(12), [1] * 3 + [1000] * 9)
    assert calibrated(error, np.ones_like(error), coverage=0.9, subjects=subject).half_width(1.0) == pytest.approx(5.0)
    assert calibrated(error, np.ones_like(error), coverage=0.9).half_width(1.0) == pytest.approx(1.0)


def test_too_few_subjects_promise_nothing():
    with pytest.raises(InputError, match="need at least 9 subjects to be calibrated on; found 5"):
        calibrated(np.ones(5), np.ones(5), coverage=0.9)
    with pytest.raises(InputError, match="need at least 9 subjects to be calibrated on; found 3"):
        calibrated(np.ones(60), np.ones(60), coverage=0.9, subjects=np.repeat([0, 1, 2], 20))
    with pytest.raises(InputError, match="above 0 and below 1"):
        calibrated(np.ones(50), np.ones(50), coverage=1.0)
