"""The cascade learns coarse, then fine; labels are a second task; what is shipped answers as the whole."""

from functools import cache

import pytest
import torch

from nmsynth.models.cascade import Cascade, mask_loss
from tests.models.method_training import answer, relative_error, tiny_batch, tiny_setting, train_method, twins


@cache
def _trained(dims):
    """A cascade that was taught the tiny dataset, with where the target is high as labels."""
    torch.manual_seed(0)
    batch = tiny_batch(dims, 2, 1)
    batch["labels"] = 3.0 * (batch["target"] > 1.0).float()
    method = Cascade(tiny_setting(dims, 2, 1))
    history = train_method(method, batch, 50, lr=8e-3)
    return method, batch, history


@pytest.mark.parametrize("dims", [2, 3])
def test_a_tiny_dataset_is_learned_and_better_when_fine(dims):
    method, batch, _ = _trained(dims)
    fine = relative_error(answer(method, batch), batch)
    with torch.no_grad():
        coarse = relative_error(method._seen(batch["source"], batch["condition"])[:, :1], batch)
    assert fine < 0.35
    assert fine < coarse


@pytest.mark.parametrize("dims", [2, 3])
def test_the_mask_finds_what_is_labelled(dims):
    method, batch, history = _trained(dims)
    with torch.no_grad():
        mask = method.mask(batch["source"], batch["condition"])
    labelled = batch["labels"] > 0
    assert float(mask[labelled].mean()) > 2 * float(mask[~labelled].mean())
    assert history[-1]["network.mask"] < history[0]["network.mask"]


def test_the_coarse_network_is_not_changed_by_the_fine_stage():
    method, batch, _ = _trained(2)
    before = {key: value.clone() for key, value in method.coarse.state_dict().items()}
    parameters = method.groups("fine")["network"]
    assert {id(p) for p in parameters} == {id(p) for p in method.fine.parameters()}
    method.zero_grad()
    method.losses(batch, "network", "fine")["total"].backward()
    assert all(p.grad is None for p in method.coarse.parameters())
    assert all(torch.equal(before[key], value) for key, value in method.coarse.state_dict().items())


def test_without_labels_there_is_no_mask_in_the_loss():
    batch = tiny_batch(2)
    assert set(Cascade(tiny_setting(2)).losses(batch, "network", "fine")) == {"total", "error"}
    batch["labels"] = torch.ones_like(batch["target"])
    assert set(Cascade(tiny_setting(2), mask_weight=0.0).losses(batch, "network", "coarse")) == {"total", "error"}


@pytest.mark.parametrize("sizes", [(8, 16, 16), (7, 13, 11), (5, 9, 16)])
def test_any_size_is_answered(sizes):
    method, batch, _ = _trained(3)
    source = batch["source"][..., : sizes[0], : sizes[1], : sizes[2]]
    assert method(source, batch["condition"]).shape == (2, 1, *sizes)


def test_a_residual_answer_begins_as_the_source():
    batch = tiny_batch(3)
    assert torch.allclose(answer(Cascade(tiny_setting(3, residual=True)), batch), batch["source"], atol=0.05)


def test_the_same_seed_gives_the_same_weights():
    batch = tiny_batch(2)
    first, second = twins(lambda: Cascade(tiny_setting(2)), batch, steps=4)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_reduced_precision_gives_single_and_finite_losses():
    batch = tiny_batch(2)
    batch["labels"] = (batch["target"] > 0).float()
    for stage in Cascade.stages:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = Cascade(tiny_setting(2)).losses(batch, "network", stage)
        assert all(v.dtype == torch.float32 and bool(v.isfinite()) for v in terms.values())


def test_the_mask_loss_is_as_by_hand():
    """Probabilities of one half: Dice (2 x 0.5 + 1) / (2 + 1 + 1), cross-entropy log 2."""
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    loss = mask_loss(torch.zeros_like(mask), mask, torch.ones_like(mask))
    assert float(loss) == pytest.approx(1 - 2 / 4 + 0.693147, abs=1e-5)
    blank = mask_loss(torch.full_like(mask, 9.0), mask, torch.zeros_like(mask))
    assert float(blank) == pytest.approx(0.0, abs=1e-6)
