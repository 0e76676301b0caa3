"""Diffusion, latent diffusion, rectified flow and window attention: their numerics, and that they learn."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.models.denoising_diffusion import (
    DenoisingDiffusion,
    along,
    cosine_schedule,
    ddim,
    draw_times,
    min_snr_weight,
)
from nmsynth.models.latent_diffusion import LatentDiffusion
from nmsynth.models.method import Method, MethodBatch, MethodSetting
from nmsynth.models.rectified_flow import RectifiedFlow, bridge, euler, heun
from nmsynth.models.running_scale import RunningScale
from nmsynth.models.swin import Swin, from_windows, relative_index, shift_mask, to_windows
from tests.models.method_training import answer, relative_error, tiny_batch, tiny_setting, train_method, twins


def noise_like(method: Method, batch: MethodBatch, seed: int = 0) -> torch.Tensor:
    """Noise for one answer."""
    source = batch["source"]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(source), *method.noise_shape(tuple(source.shape[2:])), generator=generator)


# numerics


def test_cosine_schedule_begins_with_the_image_and_ends_with_noise():
    alpha, sigma = cosine_schedule(torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(alpha[[0, 2]], torch.tensor([1.0, 0.0]), atol=1e-6)
    assert torch.allclose(sigma[[0, 2]], torch.tensor([0.0, 1.0]), atol=1e-6)
    assert float(alpha[1]) == pytest.approx(0.7027, abs=1e-3)  # cos(0.508 / 1.008 * pi / 2) / cos(0.00794 pi / 2)
    assert torch.allclose(alpha.square() + sigma.square(), torch.ones(3))


def test_times_are_spread_evenly_over_a_batch():
    times = draw_times(4, torch.device("cpu")).sort().values
    assert torch.allclose(times.diff(), torch.full((3,), 0.25), atol=1e-6)
    assert 0 <= float(times[0]) < 0.25


@pytest.mark.parametrize("deviation", [1.0, 0.3])
def test_ddim_with_the_exact_denoiser_gives_the_variance_of_the_data(deviation):
    def denoiser(x, time):
        alpha, sigma = (along(a, x) for a in cosine_schedule(time))
        return alpha * deviation**2 * x / (alpha**2 * deviation**2 + sigma**2)

    noise = torch.linspace(-2, 2, 9)[:, None]
    assert torch.allclose(ddim(denoiser, noise, 800), deviation * noise, rtol=0.02)


@pytest.mark.parametrize("gamma", [None, 5.0])
def test_min_snr_weights_stay_finite_and_bounded(gamma):
    alpha, sigma = cosine_schedule(torch.linspace(0, 1, 11))
    for prediction in ("v", "eps"):
        weight = min_snr_weight(alpha, sigma, gamma, prediction)
        assert torch.isfinite(weight).all()
        assert float(weight.max()) <= 1.0 + 1e-6
    if gamma is not None:  # at snr = 1, of v: min(1, 5) / 2
        half = torch.tensor(0.5).sqrt()
        assert float(min_snr_weight(half, half, gamma, "v")) == pytest.approx(0.5)


@pytest.mark.parametrize("solver", [euler, heun])
@pytest.mark.parametrize("n_evaluations", [1, 2, 5])
def test_straight_flow_is_exact_in_any_number_of_steps(solver, n_evaluations):
    start, end = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    calls = []

    def velocity(y, time):
        calls.append(time)
        return end - start

    assert torch.allclose(solver(velocity, start, n_evaluations), end, atol=1e-6)
    assert len(calls) == n_evaluations


def test_heun_is_of_second_order():
    errors = [
        float((heun(lambda y, _: y, torch.ones(1, 1), n) - torch.e).abs())  # y' = y, y(1) = e
        for n in (8, 16)
    ]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


def test_bridge_with_the_exact_velocity_gives_the_variance_of_the_data():
    deviation, s = 0.3, 0.5

    def velocity(y, time):  # E[y_1 | y_t] of y_1 ~ N(0, deviation^2), y_0 = 0
        t = along(time, y)
        return t * deviation**2 * y / ((t * deviation) ** 2 + s**2 * t * (1 - t)).clamp_min(1e-9)

    noise = torch.linspace(-2, 2, 9)[:, None]
    out = bridge(velocity, 0 * noise, noise, 1000, bridge_noise=s)
    assert torch.allclose(out, deviation * noise, rtol=0.02)


def test_bridge_that_knows_the_end_arrives_there():
    start, end = torch.zeros(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    out = bridge(lambda *_: end - start, start, torch.randn_like(end), 4, bridge_noise=0.5)
    assert torch.allclose(out, end, atol=1e-5)


def test_scale_is_the_root_mean_square_where_voxels_count():
    scale = RunningScale()
    x = torch.tensor([[[3.0, 4.0, 100.0]]])
    scale.observe(x, torch.tensor([[[1.0, 1.0, 0.0]]]))
    assert float(scale.scale) == pytest.approx(12.5**0.5)
    assert torch.allclose(scale.decode(scale.encode(x)), x)
    # range 0 to 4: kept within -2 to 6
    assert scale.decode(scale.clip(scale.encode(x))).tolist() == [[[3.0, 4.0, pytest.approx(6.0)]]]
    scale.eval()
    scale.observe(10 * x, torch.ones_like(x))
    assert float(scale.scale) == pytest.approx(12.5**0.5)


@pytest.mark.parametrize("window", [(4, 8), (2, 4, 4)])
def test_windows_can_be_put_together_again(window):
    sizes = tuple(2 * w for w in window)
    x = torch.randn(2, *sizes, 3)
    windows = to_windows(x, window)
    assert torch.equal(from_windows(windows, window, sizes), x)
    first = x[(0, *(slice(0, w) for w in window))]
    assert torch.equal(windows[0], first.reshape(-1, 3))


def test_relative_index_is_one_for_one_offset():
    index = relative_index((2, 3))
    assert index.unique().numel() == 3 * 5
    assert int(index[0, 1]) == int(index[1, 2]) == int(index[3, 4])  # one step along x, in either row


def test_shift_mask_keeps_what_has_come_round_apart():
    mask = shift_mask((8,), (4,), (2,))
    assert float(mask[0].abs().max()) == 0.0  # the first window is of neighbours
    assert (mask[1] == 0).tolist() == [[True, True, False, False]] * 2 + [[False, False, True, True]] * 2


# learning


@dataclass(frozen=True)
class Case:
    family: type[Method]
    arguments: dict
    steps: int
    lr: float
    error: float
    """Of the best constant's."""

    def build(self, dims: int, *, residual: bool = False) -> Method:
        torch.manual_seed(5)
        return self.family(tiny_setting(dims, 2, 1, residual=residual), **self.arguments)


CASES = {
    "ddpm": Case(DenoisingDiffusion, {"sampling_steps": 8}, 80, 5e-3, 0.65),
    "ldm": Case(LatentDiffusion, {"sampling_steps": 8}, 150, 5e-3, 0.7),
    "flow": Case(RectifiedFlow, {"start": "source"}, 60, 1e-2, 0.6),
    "swin": Case(Swin, {}, 50, 5e-3, 0.25),
}
EVERY_FAMILY = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[Method, MethodBatch]]:
    """Each family, taught two patches that differ only by the condition; trained when first asked for."""

    class Trained(dict):
        def __missing__(self, name):
            batch = tiny_batch(2, n_sources=2, n_conditions=1)
            method = CASES[name].build(2)
            train_method(method, batch, CASES[name].steps, lr=CASES[name].lr)
            self[name] = (method, batch)
            return self[name]

    return Trained()


@EVERY_FAMILY
def test_learns_a_tiny_set_in_2d(trained, name):
    method, batch = trained[name]
    assert relative_error(answer(method, batch, noise_like(method, batch)), batch) < CASES[name].error


@EVERY_FAMILY
def test_learns_a_tiny_set_in_3d(name):
    batch = tiny_batch(3, n_sources=2, n_conditions=1)
    method = CASES[name].build(3)
    history = train_method(method, batch, 25, lr=5e-3)
    loss = torch.tensor([next(iter(terms.values())) for terms in history])
    bounds = [0, *torch.tensor(method.stage_shares).mul(25).round().int().cumsum(0).tolist()]
    for first, last in pairwise(bounds):
        assert float(loss[last - 4 : last].mean()) < 0.85 * float(loss[first : first + 2].mean())
    assert answer(method, batch, noise_like(method, batch)).shape == batch["target"].shape


@EVERY_FAMILY
def test_what_it_is_told_matters(trained, name):
    method, batch = trained[name]
    noise = noise_like(method, batch)
    told, otherwise = (answer(method, {**batch, "condition": sign * batch["condition"]}, noise) for sign in (1, -1))
    assert float((told - otherwise).abs().mean()) > 0.2 * float(batch["target"].abs().mean())


@EVERY_FAMILY
def test_noise_decides_the_sample(trained, name):
    method, batch = trained[name]
    one, again, other = (answer(method, batch, noise_like(method, batch, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert method.stochastic != torch.equal(one, other)


@EVERY_FAMILY
def test_answers_without_noise_are_finite(trained, name):
    method, batch = trained[name]
    assert torch.isfinite(answer(method, batch)).all()


@EVERY_FAMILY
def test_what_is_shipped_gives_the_same_answer(trained, name):
    method, batch = trained[name]
    state = {k: v for k, v in method.state_dict().items() if k.startswith(tuple(method.shipped()))}
    loaded = CASES[name].build(2)
    missing, unexpected = loaded.load_state_dict(copy.deepcopy(state), strict=False)
    assert not unexpected
    assert all(k.startswith("encoder.") for k in missing)
    noise = noise_like(method, batch)
    assert torch.equal(answer(loaded, batch, noise), answer(method, batch, noise))


@EVERY_FAMILY
@pytest.mark.parametrize("shape", [(31, 45), (7, 9, 22)])
def test_takes_images_of_any_size(name, shape):
    method = CASES[name].build(len(shape), residual=True)
    batch = {"source": torch.randn(1, 2, *shape), "condition": torch.ones(1, 1)}
    out = answer(method, batch, noise_like(method, batch))
    assert out.shape == (1, 1, *shape)
    assert torch.isfinite(out).all()


@EVERY_FAMILY
def test_same_seed_gives_the_same_training(name):
    first, second = twins(lambda: CASES[name].build(2), tiny_batch(2, n_sources=2, n_conditions=1), 4)
    assert all(torch.equal(first[key], second[key]) for key in first)


@EVERY_FAMILY
def test_losses_take_half_precision_and_give_single(name):
    batch = tiny_batch(2, n_sources=2, n_conditions=1)
    method = CASES[name].build(2)
    for stage in method.stages:
        for group in method.groups(stage):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                total = method.losses(batch, group, stage)["total"]
            assert total.dtype == torch.float32
            assert torch.isfinite(total)


@pytest.mark.parametrize("name", ["ddpm", "ldm", "flow"])
def test_residual_is_added_to_the_first_source(name):
    method = CASES[name].build(2, residual=True)
    batch = tiny_batch(2, n_sources=2, n_conditions=1)
    noise = noise_like(method, batch)
    method.scale.square.fill_(1e-8)  # residuals of nothing
    assert torch.allclose(answer(method, batch, noise), batch["source"][:, :1], atol=1e-2)


def test_first_source_of_a_context_is_its_central_slice():
    setting = MethodSetting(spatial_dims=2, n_sources=3, channels=(8, 16), patch=(16, 16), context=3, residual=True)
    method = RectifiedFlow(setting, path_noise=0.0).eval()
    method.scale.square.fill_(1e-8)
    source = torch.randn(1, 3, 16, 16)
    assert torch.allclose(method(source, torch.zeros(1, 0)), source[:, 1:2], atol=1e-2)


@pytest.mark.parametrize(
    ("patch", "stride"),
    [((16, 64, 64), (4, 4, 4)), ((8, 64, 64), (2, 4, 4)), ((1, 32, 32), (1, 4, 4)), ((32, 32), (4, 4))],
)
def test_latents_follow_the_patch(patch, stride):
    method = LatentDiffusion(MethodSetting(spatial_dims=len(patch), channels=(4, 8), patch=patch))
    assert method.noise_stride == stride
    latent, _ = method._encode(torch.randn(1, 1, *patch))
    assert latent.shape[1:] == method.noise_shape(patch)


def test_diffusion_of_latents_leaves_the_autoencoder_as_it_is(trained):
    method, batch = trained["ldm"]
    owned = {*method.encoder.parameters(), *method.decoder.parameters()}
    assert not owned & set(method.groups("diffusion")["diffusion"])
    method.zero_grad(set_to_none=True)
    method.losses(batch, "diffusion", "diffusion")["total"].backward()
    assert all(p.grad is None for p in owned)


def test_more_sampling_steps_are_more_evaluations():
    method = CASES["ddpm"].build(2)
    batch = tiny_batch(2, n_sources=2, n_conditions=1)
    calls = []
    method.network.register_forward_hook(lambda *_: calls.append(1))
    for n in (1, 3):
        method.sampling_steps = n
        calls.clear()
        answer(method, batch, noise_like(method, batch))
        assert len(calls) == n


@pytest.mark.parametrize(
    "arguments", [{"start": "noise", "path": "straight", "solver": "heun"}, {"start": "source", "path": "straight"}]
)
def test_flow_takes_every_path(arguments):
    method = RectifiedFlow(tiny_setting(2), **arguments)
    batch = tiny_batch(2)
    history = train_method(method, batch, 2)
    assert all(torch.isfinite(torch.tensor(list(terms.values()))).all() for terms in history)
    assert answer(method, batch, noise_like(method, batch)).shape == batch["target"].shape


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (DenoisingDiffusion, {"prediction": "x"}, "must be 'v' or 'eps'; found 'x'"),
        (DenoisingDiffusion, {"residual_scale": -1.0}, "must be positive; found -1.0"),
        (RectifiedFlow, {"start": "moon"}, "found 'moon'"),
        (RectifiedFlow, {"start": "noise", "path": "bridge"}, "must start at the source"),
        (RectifiedFlow, {"solver": "rk"}, "'euler' or 'heun'; found 'rk'"),
        (RectifiedFlow, {"path_noise": -0.1}, "must not be negative; found -0.1"),
        (Swin, {"variant": "large"}, "'compact' or 'swin-unetr'; found 'large'"),
    ],
)
def test_wrong_arguments_are_refused(family, arguments, message):
    with pytest.raises(InputError, match=message):
        family(tiny_setting(2), **arguments)
