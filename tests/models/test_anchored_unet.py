"""The anchored U-Net learns, its table sees single voxels alone, and the answer lies between both."""

from functools import cache
from itertools import pairwise

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.models.anchored_unet import AnchoredUNet, ValueTable
from nmsynth.models.method import MethodSetting
from nmsynth.models.methods import load_shipped, shipped_state
from tests.models.method_training import answer, relative_error, tiny_batch, tiny_setting, train_method, twins


@cache
def _trained(dims):
    """A method that was taught the tiny dataset, whose target is a function of the mean of two sources."""
    torch.manual_seed(0)
    batch = tiny_batch(dims, 2, 1)
    method = AnchoredUNet(tiny_setting(dims, 2, 1))
    history = train_method(method, batch, 60, lr=8e-3)
    return method, batch, history


@pytest.mark.parametrize("dims", [2, 3])
def test_a_tiny_dataset_is_learned_by_both(dims):
    method, batch, history = _trained(dims)
    assert relative_error(answer(method, batch), batch) < 0.25
    for term in ("network.error", "network.table"):
        assert history[-1][term] < 0.5 * history[0][term]


def test_the_answer_lies_between_both():
    method, batch, _ = _trained(2)
    with torch.no_grad():
        found, looked_up = method._both(batch["source"], batch["condition"])
    expected = 0.5 * found + 0.5 * looked_up
    assert torch.allclose(answer(method, batch), expected)


def test_the_table_sees_no_neighbour():
    table = ValueTable(2, 1, 0)
    source, condition = torch.rand(1, 1, 8, 8), torch.zeros(1, 0)
    changed = source.clone()
    changed[..., :4] = 3.0
    with torch.no_grad():
        assert torch.equal(table(source, condition)[..., 4:], table(changed, condition)[..., 4:])


def test_a_table_of_one_source_is_linear_between_knots():
    torch.manual_seed(0)
    table = ValueTable(2, 1, 0, n_knots=5)
    torch.nn.init.zeros_(table.layers[0].bias)
    low, high = float(table.knots[2]), float(table.knots[3])
    assert low == pytest.approx(0.0, abs=1e-6)
    values = torch.tensor([low, 0.5 * (low + high), high]).reshape(1, 1, 1, 3)
    with torch.no_grad():
        hidden = table.layers[0](torch.cat([((values - k) / (n - k)).clamp(0, 1) for k, n in _steps(table)], dim=1))
    assert torch.allclose(hidden[..., 1], 0.5 * (hidden[..., 0] + hidden[..., 2]), atol=1e-6)
    ends = torch.tensor([4.0, 9.0]).reshape(1, 1, 1, 2)
    with torch.no_grad():
        beyond = table(ends, torch.zeros(1, 0))
    assert torch.equal(beyond[..., 0], beyond[..., 1])


def _steps(table):
    """Bounds of each step."""
    knots = table.knots.flatten().tolist()
    return pairwise(knots)


def test_of_slices_beside_the_table_takes_the_central_ones():
    setting = MethodSetting(spatial_dims=2, n_sources=6, channels=(8, 16), patch=(16, 16), context=3)
    method = AnchoredUNet(setting)
    source = torch.rand(1, 6, 16, 16)
    with torch.no_grad():
        _, looked_up = method._both(source, torch.zeros(1, 0))
        assert torch.equal(looked_up, method.table(source[:, [1, 4]], torch.zeros(1, 0)))


def test_a_residual_answer_is_added_to_the_source():
    method = AnchoredUNet(tiny_setting(2, residual=True))
    batch = tiny_batch(2)
    for layer in (method.network.leave[-1], method.table.layers[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert torch.allclose(answer(method, batch), batch["source"])
    assert method.loss == "l2"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_a_share_that_leaves_one_out_is_refused(share):
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        AnchoredUNet(tiny_setting(2), share=share)


def test_what_is_shipped_answers_as_the_whole():
    method, batch, _ = _trained(2)
    other = AnchoredUNet(tiny_setting(2, 2, 1))
    load_shipped(other, shipped_state(method))
    assert torch.equal(answer(other, batch), answer(method, batch))


def test_the_same_seed_gives_the_same_weights():
    first, second = twins(lambda: AnchoredUNet(tiny_setting(2)), tiny_batch(2), steps=4)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_reduced_precision_gives_single_and_finite_losses():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = AnchoredUNet(tiny_setting(2)).losses(tiny_batch(2), "network", "main")
    assert all(bool(value.isfinite()) for value in terms.values())
