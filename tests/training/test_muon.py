import pytest
import torch
from torch import nn

from nmsynth.training.muon import Muon, orthogonalise


def test_singular_values_come_near_one():
    torch.manual_seed(0)
    for shape in ((8, 30), (30, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert float(values.min()) > 0.6
        assert float(values.max()) < 1.3


def test_first_and_last_kernel_and_scalars_are_not_orthogonalised():
    network = nn.Sequential(*(nn.Conv3d(2, 2, 3) for _ in range(4)))
    optimiser = Muon(network, learning_rate=1e-2, other_learning_rate=1e-3, weight_decay=0.0)
    hidden, rest = optimiser.param_groups
    assert [p.ndim for p in hidden["params"]] == [5, 5]
    assert len(rest["params"]) == 6


def test_a_small_network_learns():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 4, 1), nn.Conv3d(4, 1, 3, padding=1))
    optimiser = Muon(network, learning_rate=2e-2, other_learning_rate=1e-2, weight_decay=0.0)
    x = torch.randn(2, 1, 6, 6, 6)
    losses = []
    for _ in range(60):
        loss = (network(x) - 2 * x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_recipes_know_both(optimiser):
    from nmsynth.training.experiment import OptimisationRecipe

    assert OptimisationRecipe(optimiser=optimiser).optimiser == optimiser
