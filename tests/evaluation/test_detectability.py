"""Detection on a phantom with lesions that are there, erased, or drowned in noise."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.evaluation.detectability import lesion_free, pool_detection, sample_detection
from nmsynth.evaluation.preparation import prepare_scene
from nmsynth.evaluation.settings import EvaluationSettings
from tests.evaluation.scenes import masks, scan, truth, volume


def sample(array, **options):
    return sample_detection(volume(array), volume(truth()), masks=masks(), settings={"reference_kind": "T1"}, **options)


def test_lesion_free_reference_has_the_level_of_the_ring():
    scene = prepare_scene(volume(truth()), masks(), EvaluationSettings())
    free = lesion_free(scene)
    for lesion in scene.lesions:
        expected = scene.reference[lesion.ring].mean()
        assert free[lesion.mask] == pytest.approx(expected, rel=1e-4)
    assert np.array_equal(free[:, :3], scene.reference[:, :3])


def test_lesions_of_the_truth_are_all_detected_and_erased_ones_are_not():
    scene = prepare_scene(volume(truth()), masks(), EvaluationSettings())
    found = pool_detection([sample(truth())], rates=(4.0,))
    assert found["froc"][0]["detection_rate"]["all"] == 1.0
    rng = np.random.default_rng(0)
    erased = lesion_free(scene) + rng.normal(0, 0.3, truth().shape)
    found = pool_detection([sample(erased)], rates=(4.0,))
    assert found["froc"][0]["detection_rate"]["all"] < 0.5


def test_more_noise_detects_less():
    rates = [
        pool_detection([sample(scan(sigma, seed)) for seed in range(3)], rates=(1.0,))["froc"][0]["detection_rate"][
            "all"
        ]
        for sigma in (0.1, 3.0)
    ]
    assert rates[0] > rates[1]


def test_observer_sees_lesions_and_nothing_where_there_are_none():
    samples = [sample(scan(0.8, seed), seed=seed) for seed in range(20)]
    found = pool_detection(samples, n_bootstrap=100)["observer"]
    assert found["auc"] > 0.9
    assert found["lower"] <= found["auc"] <= found["upper"]
    assert found["n_present"] == 20 * len(samples[0].present)


def test_too_few_lesions_give_a_reason_and_no_area():
    found = pool_detection([sample(truth())])["observer"]
    assert found["auc"] is None
    assert "needs" in found["reason"]


def test_places_without_lesions_are_the_same_for_every_method():
    first, second = sample(scan(0.5, 1)), sample(2 * scan(0.5, 1))
    assert first.absent.shape == second.absent.shape
    assert np.corrcoef(first.absent.ravel(), second.absent.ravel())[0, 1] > 0.5


def test_detection_needs_lesions():
    with pytest.raises(InputError, match="needs lesions"):
        sample_detection(volume(truth()), volume(truth()), masks={"liver": masks()["liver"]})
