import numpy as np
import pytest
from scipy import stats

from nmsynth.core.errors import InputError
from nmsynth.metrics import agreement, decisions
from nmsynth.metrics.measurement import Measurement


def test_bland_altman_by_hand():
    found = agreement.bland_altman([1.0, 3.0, 5.0], [1.0, 2.0, 3.0])
    assert found.bias == pytest.approx(1.0)
    assert found.standard_deviation == pytest.approx(1.0)
    assert (found.lower_limit, found.upper_limit) == pytest.approx((-0.96, 2.96))


def test_relative_bland_altman_divides_by_the_mean_of_the_pair():
    found = agreement.bland_altman([1.1, 2.2, 0.0], [0.9, 1.8, 0.0], relative=True)
    assert found.bias == pytest.approx(0.2)
    assert found.n == 2


def test_one_pair_gives_no_limits():
    assert agreement.bland_altman([1.0], [2.0]) is None


def test_concordance_falls_with_a_shift_that_correlation_ignores():
    values = np.arange(10.0)
    assert agreement.concordance_correlation(values, values) == pytest.approx(1.0)
    variance = values.var()
    assert agreement.concordance_correlation(values + 3, values) == pytest.approx(2 * variance / (2 * variance + 9))
    assert agreement.concordance_correlation([1.0, 1.0], [1.0, 1.0]) is None


def test_bootstrap_is_deterministic_and_holds_the_median():
    values = np.random.default_rng(0).normal(5, 1, 40)
    first = agreement.bootstrap_interval(values, seed=1)
    assert first == agreement.bootstrap_interval(values, seed=1)
    assert first != agreement.bootstrap_interval(values, seed=2)
    assert first.lower < np.median(values) == first.value < first.upper


def test_bootstrap_of_the_mean_has_the_width_of_the_standard_error():
    values = np.random.default_rng(0).normal(0, 1, 200)
    found = agreement.bootstrap_interval(values, statistic=lambda v: float(v.mean()))
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.06)


def test_bootstrap_draws_patients_and_not_their_lesions():
    """Ten copies of each value add nothing: the interval stays as wide."""
    values = np.random.default_rng(0).normal(0, 1, 15)
    single = agreement.bootstrap_interval(values)
    copied = agreement.cluster_bootstrap([np.full(11, value) for value in values])
    assert (copied.lower, copied.upper, copied.n) == (single.lower, single.upper, 15)


def test_bootstrap_of_nothing_is_none_and_of_one_patient_has_no_width():
    assert agreement.bootstrap_interval([]) is None
    one = agreement.bootstrap_interval([3.0])
    assert (one.lower, one.value, one.upper) == (3.0, 3.0, 3.0)


def test_paired_difference_sees_what_varies_less_than_patients_do():
    reference = np.linspace(1, 10, 12)
    found = agreement.paired_difference(0.8 * reference, reference, relative=True)
    assert (found.lower, found.value, found.upper) == pytest.approx((-0.2, -0.2, -0.2))
    with pytest.raises(InputError, match="other than 0"):
        agreement.paired_difference([1.0], [0.0], relative=True)
    with pytest.raises(InputError, match="one length"):
        agreement.paired_difference([1.0, 2.0], [1.0])


def test_repeatability_coefficient():
    assert agreement.coefficient_of_repeatability(1.0) == pytest.approx(2.77, abs=0.005)


@pytest.mark.parametrize(("peak", "category"), [(1.4, 2), (1.9, 3), (2.0, 3), (2.1, 4), (4.0, 4), (4.1, 5)])
def test_deauville_like_category(peak, category):
    assert decisions.deauville_like(peak, liver_mean=2.0, blood_pool_mean=1.5) == category


def test_without_blood_pool_the_lowest_category_is_three():
    assert decisions.deauville_like(0.1, liver_mean=2.0) == 3
    with pytest.raises(InputError, match="positive liver mean"):
        decisions.deauville_like(1.0, liver_mean=0.0)


def test_flips_are_counted():
    assert decisions.category_flips([2, 3, 4], [2, 4, 5]) == 2


def test_measurement_stores_no_nan():
    item = Measurement("m", float("nan"), "1", "body")
    assert item.value is None
    assert item.reason == "the result is not finite"
    assert Measurement("m", None, "1", "body").reason.startswith("not defined here")
    assert item.of_arm("source").to_row()["arm"] == "source"


def test_percist_threshold_by_hand():
    assert decisions.percist_threshold(2.0, 0.25) == pytest.approx(3.5)
    with pytest.raises(InputError, match="positive liver mean"):
        decisions.percist_threshold(0.0, 0.1)


def test_concordance_agrees_with_its_form_by_correlation():
    rng = np.random.default_rng(5)
    a = rng.normal(5, 2, 40)
    b = 0.8 * a + rng.normal(1, 0.5, 40)
    scale, shift = a.std() / b.std(), (a.mean() - b.mean()) / np.sqrt(a.std() * b.std())
    accuracy = 2 / (scale + 1 / scale + shift**2)
    expected = stats.pearsonr(a, b).statistic * accuracy
    assert agreement.concordance_correlation(a, b) == pytest.approx(expected)


def test_bootstrap_interval_is_near_that_of_scipy():
    values = np.random.default_rng(2).gamma(4.0, 1.0, 40)
    found = agreement.bootstrap_interval(values, statistic=lambda x: float(x.mean()), n_bootstrap=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.04)


def test_bland_altman_limits_hold_95_percent_of_normal_differences():
    rng = np.random.default_rng(8)
    reference = rng.uniform(2, 9, 20_000)
    found = agreement.bland_altman(reference + rng.normal(0.3, 0.7, reference.size), reference)
    assert (found.bias, found.upper_limit - found.lower_limit) == pytest.approx((0.3, 2 * 1.96 * 0.7), abs=0.03)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    a = np.round(rng.standard_normal(40), 1)  # with ties
    b = a + rng.standard_normal(40)
    assert agreement.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert agreement.rank_correlation(a, np.ones(40)) == 0.0
