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


def test_too_few_values_promise_nothing():
    with pytest.raises(InputError, match="need at least 9 values to be calibrated on; found 5"):
        calibrated(np.ones(5), np.ones(5), coverage=0.9)
    with pytest.raises(InputError, match="above 0 and below 1"):
        calibrated(np.ones(50), np.ones(50), coverage=1.0)
