import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.lookup import Example, PopulationMean, TissueLookup, depth_below_skin

RNG = np.random.default_rng(0)
BODY = np.ones((6, 20, 20), bool)


def test_lookup_recovers_a_step_function():
    source = RNG.uniform(-200, 200, BODY.shape).astype(np.float32)
    target = np.where(source < -50, 1.0, np.where(source < 100, 3.0, 2.0)).astype(np.float32)
    table = TissueLookup.fit([Example(source, target, BODY)], edges=(-50.0, 100.0))
    assert np.array_equal(table(source), target)
    assert table([-60.0, 0.0, 500.0]).tolist() == [1.0, 3.0, 2.0]


def test_quantile_bins_find_the_step_too():
    source = RNG.uniform(0, 1, BODY.shape).astype(np.float32)
    target = (source > 0.5).astype(np.float32)
    table = TissueLookup.fit([Example(source, target, BODY)])
    assert np.abs(table(source) - target).mean() < 1 / 64


def test_lookup_takes_the_median_of_training_patients_and_fills_empty_bins():
    source = np.zeros(BODY.shape, np.float32)
    examples = (Example(source, np.full(BODY.shape, v, np.float32), BODY) for v in (1.0, 2.0, 9.0))
    table = TissueLookup.fit(examples, edges=(-10.0, 10.0))
    assert table([-100.0, 0.0, 100.0]).tolist() == [2.0, 2.0, 2.0]


def test_depth_tells_skin_from_core():
    depth = depth_below_skin(BODY, (2.0, 2.0, 2.0))
    assert depth[0, 0, 0] == pytest.approx(2.0)
    assert depth.max() == pytest.approx(20.0)
    target = np.where(depth < 5, 1.0, 4.0).astype(np.float32)
    source = np.zeros(BODY.shape, np.float32)
    table = TissueLookup.fit([Example(source, target, BODY, depth)], edges=(0.5,), depth_edges_mm=(5.0,))
    assert np.array_equal(table(source, depth), target)


def test_lookup_without_voxels_is_refused():
    source = np.zeros(BODY.shape, np.float32)
    with pytest.raises(InputError, match="found none"):
        TissueLookup.fit([Example(source, source, ~BODY)])


def test_population_mean_lies_where_the_body_lies():
    small, large = np.zeros((2, 24, 48, 48), bool)
    small[4:16, 10:22, 10:22], large[:, :, :] = True, True
    gradient = np.linspace(0, 1, 48, dtype=np.float32)[None, :, None] * np.ones((24, 48, 48), np.float32)
    mean = PopulationMean.fit([(gradient, large, large)], shape=(12, 12, 12))
    laid = mean(small)
    assert laid[10, 10, 15] == pytest.approx(0.0, abs=0.06)
    assert laid[10, 21, 15] == pytest.approx(1.0, abs=0.06)
