"""Conditional VAE, pix2pix and CycleGAN learn a tiny dataset, and what is shipped of them answers as they did."""

import sys
from functools import cache

import pytest
import torch

from nmsynth.core.errors import InputError, MissingExtraError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ImagePlan, Plan
from nmsynth.core.units import Unit
from nmsynth.models.conditional_vae import ConditionalVAE, discrepancy, divergence
from nmsynth.models.cycle_gan import CycleGAN, ImageHistory, block_means, set_distance
from nmsynth.models.method import Method, MethodBatch
from nmsynth.models.methods import METHODS, MethodSpec, build_method, load_shipped, setting_of, shipped_state
from nmsynth.models.patch_gan import PatchGAN, discriminator_loss, generator_loss
from nmsynth.models.pix2pix import Pix2Pix
from tests.models.method_training import (
    answer,
    noise_for,
    relative_error,
    tiny_batch,
    tiny_setting,
    train_method,
    twins,
)

NARROW = {"discriminator_channels": 8}
ARGUMENTS = {
    "cvae": {"warmup": 20, "stride": 4},
    "pix2pix": NARROW,
    "cyclegan": {"history": 4, **NARROW},
}
FAMILIES = {"cvae": ConditionalVAE, "pix2pix": Pix2Pix, "cyclegan": CycleGAN}
CASES = [(name, dims) for name in FAMILIES for dims in (2, 3)]


def _inputs(name: str) -> tuple[int, int]:
    """Sources and conditions of the dataset of a family."""
    return (1, 0) if name == "cyclegan" else (2, 1)


def _build(name: str, dims: int, **arguments) -> Method:
    return FAMILIES[name](tiny_setting(dims, *_inputs(name)), **ARGUMENTS[name], **arguments)


@cache
def _trained(name: str, dims: int) -> tuple[Method, MethodBatch]:
    """A family that was taught the tiny dataset, unpaired if it learns so, and the dataset."""
    torch.manual_seed(0)
    method = _build(name, dims)
    batch = tiny_batch(dims, *_inputs(name))
    taught = batch if method.paired else {**batch, "target": batch["target"].roll(1, 0)}
    train_method(method, taught, 25 if method.paired else 15, lr=8e-3)
    return method, batch


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_a_tiny_dataset_is_learned(name, dims):
    method, batch = _trained(name, dims)
    limit = 0.35 if method.paired else 0.7
    assert relative_error(answer(method, batch), batch) < limit


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_what_is_shipped_answers_as_the_whole(name, dims):
    method, batch = _trained(name, dims)
    shipped = _build(name, dims, for_training=False)
    state = shipped_state(method)
    assert len(state) < len(method.state_dict())
    shipped.load_state_dict(state)
    noise = noise_for(method, batch)
    assert torch.equal(answer(shipped, batch, noise), answer(method, batch, noise))
    whole = _build(name, dims)
    load_shipped(whole, state)
    assert torch.equal(answer(whole, batch, noise), answer(method, batch, noise))


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_only_a_stochastic_family_depends_on_noise(name, dims):
    method, batch = _trained(name, dims)
    one, again, other = (answer(method, batch, noise_for(method, batch, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (not method.stochastic)
    assert torch.equal(answer(method, batch, torch.zeros_like(noise_for(method, batch))), answer(method, batch))


@pytest.mark.parametrize(("name", "dims"), [case for case in CASES if case[0] != "cyclegan"])
def test_conditions_that_matter_change_the_answer(name, dims):
    """One source is there with two conditions; the target is three times as large with one as with the other."""
    method, batch = _trained(name, dims)
    high, low = answer(method, batch)
    assert torch.equal(batch["source"][0], batch["source"][1])
    assert 2 < float((high * low).sum() / (low * low).sum()) < 4


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("residual", [False, True])
def test_the_same_seed_gives_the_same_weights(name, residual):
    setting = tiny_setting(2, 2, 1, residual=residual)
    batch = tiny_batch(2, 2, 1)
    first, second = twins(lambda: FAMILIES[name](setting, **ARGUMENTS[name]), batch, steps=3)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_residual_answer_begins_as_the_source(name):
    batch = tiny_batch(3, 2, 1)
    method = FAMILIES[name](tiny_setting(3, 2, 1, residual=True), **ARGUMENTS[name])
    assert torch.allclose(answer(method, batch), batch["source"][:, :1], atol=0.05)


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_under_reduced_precision_are_single_and_finite(name):
    extra = {"cvae": {"alignment": 1.0}, "pix2pix": {"feature_matching": 10.0}, "cyclegan": {"attention": "self"}}
    batch = tiny_batch(2, 1, 1)
    method = FAMILIES[name](tiny_setting(2, 1, 1), **ARGUMENTS[name], **extra[name])
    for group, parameters in method.groups("main").items():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = method.losses(batch, group, "main")
        terms["total"].backward()
        assert all(v.dtype == torch.float32 and bool(v.isfinite()) for v in terms.values())
        assert any(p.grad is not None and bool(p.grad.any()) for p in parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_size_is_answered(name):
    method, batch = _trained(name, 3)
    source = batch["source"][..., :7, :13, :11]
    method.eval()
    noise = torch.zeros(2, method.noise_channels, *(-(-n // method.noise_stride) for n in (7, 13, 11)))
    with torch.no_grad():
        assert method(source, batch["condition"], noise).shape == (2, 1, 7, 13, 11)


def test_samples_differ_where_the_source_leaves_the_target_open():
    """One source with two targets: the posterior tells which, the prior knows only that there are several."""
    batch = {**tiny_batch(2, 1, 1), "condition": torch.zeros(2, 0)}
    torch.manual_seed(0)
    method = ConditionalVAE(tiny_setting(2), warmup=20)
    last = train_method(method, batch, 50, lr=6e-3)[-1]
    assert last["network.posterior_error"] < 0.6 * last["network.prior_error"]
    samples = torch.stack([answer(method, batch, noise_for(method, batch, seed))[0] for seed in range(8)])
    half_difference = (batch["target"][0] - batch["target"][1]).abs().mean() / 2
    assert float(samples.std(dim=0).mean() / half_difference) > 0.3


def test_the_divergence_is_warmed_up_in_training_only():
    method = ConditionalVAE(tiny_setting(2), warmup=2)
    batch = tiny_batch(2)
    for expected in (1, 2, 3):
        method.losses(batch, "network", "main")
        assert int(method.step) == expected
    method.eval()
    method.losses(batch, "network", "main")
    assert int(method.step) == 3
    assert "step" not in shipped_state(method)


def test_divergence_of_gaussians_is_as_by_hand():
    """KL of N(1, 2^2) from N(0, 1) is (4 + 1 - 1) / 2 - log 2."""
    one = torch.ones(2, 3, 4, 4)
    kl = divergence((one, one * torch.tensor(2.0).log()), (0 * one, 0 * one))
    assert kl.shape == (3,)
    assert torch.allclose(kl, 2.0 - torch.tensor(2.0).log())


def test_discrepancy_tells_sets_apart():
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 12, 12), torch.randn(2, 4, 12, 12)
    assert float(discrepancy(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(discrepancy(a, b + 1)) > 10 * float(discrepancy(a, b))


@pytest.mark.parametrize("kind", ["least-squares", "hinge"])
def test_a_perfect_discriminator_pays_nothing(kind):
    real, fake = torch.ones(2, 1, 3, 3), (0.0 if kind == "least-squares" else -1.0) * torch.ones(2, 1, 3, 3)
    assert float(discriminator_loss(real, fake, kind)) == 0.0
    assert float(generator_loss(real, kind)) < float(generator_loss(fake, kind))


@pytest.mark.parametrize("patch", [(32, 32), (3, 16, 16), (8, 16, 16), (2, 64, 64), (4, 8, 8)])
def test_a_discriminator_takes_thin_patches(patch):
    setting = tiny_setting(len(patch))
    setting = type(setting)(spatial_dims=len(patch), channels=(8, 16), patch=patch)
    verdict = PatchGAN(setting, 2, channels=4)(torch.randn(1, 2, *patch))[-1]
    assert verdict.ndim == len(patch) + 2
    assert verdict.shape[:2] == (1, 1)


def test_a_discriminator_sees_the_level_of_uptake():
    """Normalised by the statistics of each image, it could not."""
    torch.manual_seed(0)
    judge = PatchGAN(tiny_setting(2), 1, channels=8)
    real = tiny_batch(2)["target"]
    optimiser = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    for _ in range(60):
        loss = discriminator_loss(judge(real)[-1], judge(real + 0.3)[-1], "least-squares")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1


def test_history_fills_then_exchanges_and_resumes_exactly():
    history = ImageHistory(3, (1, 2, 2))
    images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert torch.equal(history(images), images)
    resumed = ImageHistory(3, (1, 2, 2))
    resumed.load_state_dict(history.state_dict())
    outs = []
    for h in (history, resumed):
        torch.manual_seed(1)
        outs.append(torch.stack([h(images + 10 * (k + 1)) for k in range(4)]))
    assert torch.equal(*outs)
    assert torch.equal(history.images, resumed.images)
    assert bool((outs[0][0] < 10).any())
    assert history.eval()(images) is images


def test_means_of_blocks_are_kept_where_unit_is_shared():
    """Both generators start as the identity, so that the term is 0, and an answer that is off by 1 pays 1."""
    batch = tiny_batch(2)
    method = CycleGAN(tiny_setting(2, residual=True), **ARGUMENTS["cyclegan"])
    weight = torch.ones_like(batch["target"])
    source = batch["source"]
    off = method._preservation(source + 1, source, batch["target"], weight)
    assert float(method._preservation(source, source, batch["target"], weight)) == 0.0
    assert float(off) == pytest.approx(1.0, rel=1e-5)


def test_means_of_blocks_are_compared_as_sets_where_unit_is_not_shared():
    target = tiny_batch(3)["target"]
    means = block_means(target, 8)
    assert means.shape == (2, 1, 1, 2, 2)
    assert float(set_distance(means, means.flip(0, 3))) == pytest.approx(0.0, abs=1e-6)
    assert float(set_distance(means + 1, means)) == pytest.approx(2.0, rel=1e-5)


def test_pairs_are_asked_for_where_conditions_tell_the_target():
    batch = tiny_batch(2, 1, 2)
    method = CycleGAN(tiny_setting(2, 1, 2), paired=True, supervision=10.0, **ARGUMENTS["cyclegan"])
    assert method.paired
    assert not CycleGAN(tiny_setting(2), **ARGUMENTS["cyclegan"]).paired
    assert "supervision" in method.losses(batch, "generator", "main")
    with pytest.raises(InputError, match="needs pairs; supervision is asked for without"):
        CycleGAN(tiny_setting(2), supervision=1.0)


def _plan() -> Plan:
    linear = Normalisation(kind="linear")
    return Plan(
        task="pet-to-pet",
        sources=(ImagePlan(name="pet", modality="PT", unit=Unit.BQML, normalisation=linear),),
        target=ImagePlan(name="target", modality="PT", unit=Unit.BQML, normalisation=linear),
        spacing_mm=(4.0, 4.0, 4.0),
        patch=(8, 16, 16),
        channels=(8, 16),
    )


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_synthesis_needs_no_monai(name, monkeypatch):
    for module in ("monai", "monai.networks.nets.patchgan_discriminator"):
        monkeypatch.setitem(sys.modules, module, None)
    method = build_method(MethodSpec(name=name), _plan(), for_training=False)
    assert set(shipped_state(method)) == set(method.state_dict())
    with pytest.raises(MissingExtraError, match="needs the extra 'train'"):
        build_method(MethodSpec(name=name), _plan())


def test_families_take_their_argument_for_training_and_others_do_not():
    assert setting_of(_plan()).patch == (8, 16, 16)
    for name in ("unet", *FAMILIES):
        assert name in METHODS
        build_method(MethodSpec(name=name), _plan(), for_training=False)


def test_weights_of_another_model_are_refused():
    method = ConditionalVAE(tiny_setting(2), **ARGUMENTS["cvae"])
    state = shipped_state(method)
    name = next(iter(state))
    with pytest.raises(InputError, match="1 are missing"):
        load_shipped(method, {k: v for k, v in state.items() if k != name})
    with pytest.raises(InputError, match=r"1 are not of this family, such as 'posterior\.x'"):
        load_shipped(method, state | {"posterior.x": torch.zeros(1)})
    with pytest.raises(InputError, match="1 are of another shape"):
        load_shipped(method, state | {name: torch.zeros(1)})


def test_a_stride_that_is_no_power_of_two_is_refused():
    with pytest.raises(InputError, match="power of 2; found 6"):
        ConditionalVAE(tiny_setting(2), stride=6)
