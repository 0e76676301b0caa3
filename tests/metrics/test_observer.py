import math

import numpy as np
import pytest
from scipy import stats

from nmsynth.core.errors import InputError
from nmsynth.metrics import observer

SHAPE, SPACING = (13, 15, 15), (5.0, 4.0, 4.0)


def _patches(amplitude, n, seed):
    noise = np.random.default_rng(seed).normal(0, 1, (n, *SHAPE))
    signal = observer.difference_of_gaussian_channels(SHAPE, SPACING)[1]
    return noise + amplitude * signal / np.linalg.norm(signal)


def test_channels_ignore_a_constant():
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    assert channels.shape == (4, *SHAPE)
    assert channels.sum(axis=(1, 2, 3)) == pytest.approx([0.0] * 4, abs=1e-12)


def test_area_under_the_curve_by_hand():
    assert observer.area_under_curve([1.0, 3.0], [0.0, 1.0]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_observer_reaches_the_ideal_one_in_white_noise():
    """A signal that is a channel, of norm d in unit white noise, has AUC = Phi(d / sqrt 2)."""
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    found = observer.hotelling_auc(_patches(1.5, 500, 0), _patches(0.0, 500, 1), channels, n_bootstrap=200)
    ideal = 0.5 * (1 + math.erf(1.5 / 2))
    assert found.value == pytest.approx(ideal, abs=0.03)
    assert found.lower < found.value < found.upper
    assert found.upper - found.lower < 0.08


def test_nothing_to_see_gives_a_half():
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    found = observer.hotelling_auc(_patches(0.0, 300, 2), _patches(0.0, 300, 3), channels, n_bootstrap=200)
    assert found.lower < 0.5 < found.upper


def test_too_few_images_and_other_shapes_are_refused():
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    with pytest.raises(InputError, match="needs 32 images of each kind"):
        observer.hotelling_auc(_patches(1.0, 20, 0), _patches(0.0, 20, 1), channels)
    with pytest.raises(InputError, match="shape of the channels"):
        observer.hotelling_auc(np.zeros((40, 3, 3, 3)), np.zeros((40, 3, 3, 3)), channels)


def test_area_under_the_curve_agrees_with_the_rank_sum_of_scipy():
    rng = np.random.default_rng(4)
    present, absent = rng.integers(0, 9, 60) + 1.0, rng.integers(0, 9, 45) + 0.0
    expected = stats.mannwhitneyu(present, absent).statistic / (60 * 45)
    assert observer.area_under_curve(present, absent) == pytest.approx(expected)


def _pair(signal, noise_scale=1.0, n=400):
    """Images with and without a signal, in the same noise whatever the signal, and some of their own."""
    own = noise_scale * np.random.default_rng(7).normal(0, 1, (2, n, *SHAPE))
    return _patches(signal, n, 5) + own[0], _patches(0.0, n, 6) + own[1]


def test_the_same_images_differ_by_nothing():
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    pair = _pair(1.5, 0.0)
    found = observer.hotelling_auc_difference(pair, pair, channels, n_bootstrap=100)
    assert (found.value, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_a_difference_of_observers_is_that_of_their_areas():
    """AUC = Phi(d / sqrt(2 (1 + s^2))) with noise of its own of standard deviation s beside that of the scan."""
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    quiet, noisy = _pair(1.5, 0.0), _pair(1.5, 1.0)
    found = observer.hotelling_auc_difference(quiet, noisy, channels, n_bootstrap=200)
    ideal = [0.5 * (1 + math.erf(1.5 / math.sqrt(1 + s**2) / 2)) for s in (0.0, 1.0)]
    assert found.value == pytest.approx(ideal[0] - ideal[1], abs=0.04)
    assert found.lower > 0
    alone = [observer.hotelling_auc(*pair, channels, n_bootstrap=200) for pair in (quiet, noisy)]
    assert found.value == pytest.approx(alone[0].value - alone[1].value)
    # what both share does not widen it
    apart = math.hypot(*(a.upper - a.lower for a in alone))
    assert found.upper - found.lower < apart


def test_methods_are_compared_on_the_same_subjects():
    channels = observer.difference_of_gaussian_channels(SHAPE, SPACING)
    with pytest.raises(InputError, match="on the same subjects; found"):
        observer.hotelling_auc_difference(_pair(1.0, n=40), _pair(1.0, n=50), channels)
