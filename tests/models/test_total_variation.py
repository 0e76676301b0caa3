import numpy as np
import pytest

from nmsynth.models.classical import CANDIDATES
from nmsynth.models.total_variation import TotalVariation

SPACING = (4.0, 4.0, 4.0)


def noisy_block(seed=0):
    clean = np.zeros((8, 24, 24), np.float32)
    clean[:, 4:20, 4:20] = 2.0
    clean[:, 8:12, 8:12] = 5.0
    return clean, clean + np.random.default_rng(seed).normal(0, 0.4, clean.shape).astype(np.float32)


def test_it_takes_noise_and_keeps_edges():
    clean, noisy = noisy_block()
    filtered = TotalVariation(1.0)(noisy, SPACING)
    assert np.abs(filtered - clean).mean() < 0.5 * np.abs(noisy - clean).mean()
    assert filtered[4, 10, 10] - filtered[4, 10, 14] > 2.5


def test_twice_the_input_gives_twice_the_output():
    _, noisy = noisy_block()
    assert TotalVariation(1.0)(2 * noisy, SPACING) == pytest.approx(2 * TotalVariation(1.0)(noisy, SPACING), rel=1e-4)


def test_nothing_to_remove_leaves_the_image():
    flat = np.zeros((4, 8, 8), np.float32)
    assert np.array_equal(TotalVariation()(flat, SPACING), flat)
    assert TotalVariation(2.5) in CANDIDATES["total variation"]
