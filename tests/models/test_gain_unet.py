"""The gain U-Net begins as its source, keeps what is proportional to it, and learns a smooth field."""

from functools import cache

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.models.gain_unet import GainUNet
from nmsynth.models.methods import load_shipped, shipped_state
from tests.models.method_training import PATCHES, answer, relative_error, tiny_setting, train_method, twins


def _attenuated(dims):
    """Activity that lost a share growing towards the middle, which the activity itself tells."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand((4, 1, *PATCHES[dims]), generator=generator) + 0.5
    axis = torch.linspace(-1, 1, PATCHES[dims][-1])
    source = target * torch.exp(-1.5 * (1 - axis.square()))
    return {"source": source, "target": target, "condition": torch.zeros(4, 0), "weight": torch.ones_like(target)}


@cache
def _trained(dims):
    torch.manual_seed(0)
    method, batch = GainUNet(tiny_setting(dims)), _attenuated(dims)
    train_method(method, batch, 80, lr=8e-3)
    return method, batch


@pytest.mark.parametrize("dims", [2, 3])
def test_a_lost_share_is_given_back(dims):
    method, batch = _trained(dims)
    assert relative_error(answer(method, batch), batch) < 0.5 * relative_error(batch["source"], batch)


@pytest.mark.parametrize("residual", [False, True])
def test_the_answer_begins_as_the_source(residual):
    method, batch = GainUNet(tiny_setting(2, residual=residual)), _attenuated(2)
    assert torch.allclose(answer(method, batch), batch["source"], atol=0.05)


def test_without_a_difference_nothing_comes_of_nothing():
    method = GainUNet(tiny_setting(2), difference=False)
    torch.nn.init.normal_(method.network.leave[-1].weight)
    source = torch.rand(1, 1, 32, 32)
    source[..., 10:20] = 0.0
    out = answer(method, {"source": source, "condition": torch.zeros(1, 0)})
    assert float(out[..., 10:20].abs().max()) == 0.0
    assert float(out[..., :10].min()) > 0.0


def test_gains_are_smooth_and_bounded():
    torch.manual_seed(0)
    rough, smooth = GainUNet(tiny_setting(2), smoothing=1), GainUNet(tiny_setting(2), smoothing=7)
    torch.nn.init.normal_(rough.network.leave[-1].weight, std=3.0)
    load_shipped(smooth, shipped_state(rough))
    source = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        fields = [m.gain(source, torch.zeros(1, 0)).log() for m in (rough, smooth)]
    steps = [float(f.diff(dim=-1).abs().mean()) for f in fields]
    assert steps[1] < 0.3 * steps[0]
    assert all(float(f.abs().max()) <= 4.0 + 1e-5 for f in fields)


@pytest.mark.parametrize("smoothing", [0, 4, -1])
def test_an_even_smoothing_is_refused(smoothing):
    with pytest.raises(InputError, match="must be an odd number of voxels"):
        GainUNet(tiny_setting(2), smoothing=smoothing)


def test_what_is_shipped_answers_as_the_whole():
    method, batch = _trained(2)
    other = GainUNet(tiny_setting(2))
    load_shipped(other, shipped_state(method))
    assert torch.equal(answer(other, batch), answer(method, batch))


def test_the_same_seed_gives_the_same_weights():
    first, second = twins(lambda: GainUNet(tiny_setting(2)), _attenuated(2), steps=4)
    assert all(torch.equal(first[key], second[key]) for key in first)
