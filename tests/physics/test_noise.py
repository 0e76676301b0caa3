import numpy as np
import pytest
import torch

import nmsynth
from nmsynth.core.errors import InputError
from nmsynth.physics.noise import poisson, thin


def test_thinned_poisson_is_poisson_and_independent_of_its_complement():
    counts = poisson(torch.full((200_000,), 8.0), torch.Generator().manual_seed(0))
    kept = thin(counts, 0.3, torch.Generator().manual_seed(1))
    removed = counts - kept
    assert float(kept.mean()) == pytest.approx(2.4, rel=0.01)
    assert float(kept.var()) == pytest.approx(2.4, rel=0.02)
    assert float(removed.var()) == pytest.approx(5.6, rel=0.02)
    correlation = float(torch.corrcoef(torch.stack((kept, removed)))[0, 1])
    assert abs(correlation) < 3 / np.sqrt(200_000)


def test_real_planar_counts_are_thinned_exactly(shared_data):
    counts = torch.tensor(np.asarray(nmsynth.read(shared_data / "planar_static").array))
    assert float(counts.double().sum()) == 1_596_488
    kept = thin(counts, 0.2, torch.Generator().manual_seed(3))
    removed = counts - kept
    assert bool((kept >= 0).all())
    assert bool((removed >= 0).all())
    expected, sd = 0.2 * 1_596_488, np.sqrt(0.2 * 0.8 * 1_596_488)
    assert abs(float(kept.double().sum()) - expected) < 4 * sd
    # each pixel scatters about a fifth of its counts as a binomial does
    z = (kept - 0.2 * counts)[counts > 20] / (0.16 * counts[counts > 20]).sqrt()
    assert float(z.std()) == pytest.approx(1.0, abs=0.03)
    assert abs(float(z.mean())) < 0.03


def test_what_has_no_counts_cannot_be_thinned():
    for values in ([1.5], [-1.0], [float("nan")]):
        with pytest.raises(InputError, match="whole numbers"):
            thin(torch.tensor(values), 0.5, torch.Generator())
    assert thin(torch.tensor([4, 0], dtype=torch.int16), 1.0, torch.Generator()).tolist() == [4.0, 0.0]
