"""One code an image: samples differ as subjects do, as widely as the data, and less where the source tells more."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nmsynth.core.errors import InputError
from nmsynth.core.plan import Plan
from nmsynth.inference.method_predictor import PredictionSettings, drawn_noises, predict_method
from nmsynth.models.method import MethodSetting
from nmsynth.models.subject_vae import WHOLE, SubjectVAE
from tests.models.method_packages import PET
from tests.models.method_training import noise_for, tiny_setting, train_method, twins

N = 8
SETTING = MethodSetting(spatial_dims=3, n_sources=1, channels=(4, 8), patch=(8, 8, 8))
STEPS = 160
ARGUMENTS = {"n_latents": 2, "warmup": 50, "together": 512.0}


def subjects(*, told: bool):
    """Images whose level is 1 or 2, half of each; the source shows one pattern, or that and the level."""
    generator = torch.Generator().manual_seed(0)
    level = torch.tensor([1.0, 2.0]).repeat(N // 2).reshape(N, 1, 1, 1, 1)
    pattern = F.avg_pool3d(torch.randn((1, 1, 8, 8, 8), generator=generator), 3, 1, 1).mul(0.3)
    target = (level + pattern).expand(N, 1, 8, 8, 8).clone()
    source = target if told else pattern.expand(N, 1, 8, 8, 8)
    return {"source": source, "target": target, "condition": torch.zeros(N, 0), "weight": torch.ones_like(target)}


def levels(method, batch, n_samples=24):
    """Mean of each sample of each image, shape ``(sample, image)``."""
    method.eval()
    means = []
    with torch.no_grad():
        for k in range(n_samples):
            noise = noise_for(method, batch, seed=k)
            means.append(method(batch["source"], batch["condition"], noise).mean(dim=(1, 2, 3, 4)))
    return torch.stack(means)


@pytest.fixture(scope="module")
def untold():
    """Trained where the source tells nothing."""
    torch.manual_seed(0)
    method = SubjectVAE(SETTING, **ARGUMENTS)
    batch = subjects(told=False)
    train_method(method, batch, STEPS, lr=1e-2)
    return method, batch


def test_where_the_source_tells_nothing_the_samples_are_those_of_the_data(untold):
    found = levels(*untold)
    assert float(found.mean()) == pytest.approx(1.5, abs=0.15)
    assert 0.3 < float(found.std(dim=0).mean()) < 0.6  # 0.5 in the data
    assert float(found.mean(dim=0).std()) < 0.2  # alike for all images


def test_a_sample_is_one_subject_everywhere_and_not_a_mixture_of_two(untold):
    method, batch = untold
    with torch.no_grad():
        sample = method(batch["source"], batch["condition"], noise_for(method, batch, seed=3))
    halves = sample[:, :, :4].mean(dim=(1, 2, 3, 4)), sample[:, :, 4:].mean(dim=(1, 2, 3, 4))
    assert float((halves[0] - halves[1]).abs().mean()) < 0.1


def test_the_codes_of_the_samples_of_an_image_lie_around_their_mean(untold):
    method = untold[0]
    plan = Plan(task="t", sources=(PET,), target=PET, spacing_mm=(4.0, 4.0, 4.0), patch=(8, 8, 8))
    for seed in range(3):
        noises = list(drawn_noises(method, plan, (8, 8, 8), PredictionSettings(seed=seed, n_samples=16)))
        codes = np.stack([noise.part((slice(0, 8),) * 3)[:, 0, 0, 0] for noise in noises])
        assert np.abs(codes.mean(axis=0)).max() < 1e-6
        assert codes.std(axis=0, ddof=1) == pytest.approx(1.0, abs=1e-5)
    (alone,) = drawn_noises(method, plan, (8, 8, 8), PredictionSettings(seed=3, n_samples=1))
    assert np.abs(alone.array).max() > 0


def test_where_the_source_tells_all_the_samples_agree():
    torch.manual_seed(0)
    method, batch = SubjectVAE(SETTING, **ARGUMENTS), subjects(told=True)
    train_method(method, batch, STEPS, lr=1e-2)
    found = levels(method, batch)
    assert float(found.std(dim=0).mean()) < 0.15
    assert float((found.mean(dim=0) - batch["target"].mean(dim=(1, 2, 3, 4))).abs().mean()) < 0.15


def test_the_same_seed_trains_the_same_weights_and_noise_is_one_code_an_image():
    batch = {name: value[:2] for name, value in subjects(told=False).items()}
    first, second = twins(lambda: SubjectVAE(SETTING, **ARGUMENTS), batch, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)
    method = SubjectVAE(SETTING, for_training=False)
    assert method.noise_shape((44, 66, 66)) == (12, 1, 1, 1)
    assert method.noise_stride == WHOLE
    assert not any(name.startswith("posterior") for name in method.state_dict())


def test_slices_have_no_code_of_the_whole_image():
    with pytest.raises(InputError, match="Set dimensions to 3d, with a patch that holds the subject"):
        SubjectVAE(tiny_setting(2))


def test_an_image_is_answered_whole_and_an_empty_margin_changes_little(untold):
    method, batch = untold
    plan = Plan(task="t", sources=(PET,), target=PET, spacing_mm=(4.0, 4.0, 4.0), patch=(8, 8, 8), channels=(4, 8))
    source = batch["source"][0].numpy()
    wide = np.pad(source, [(0, 0), (4, 4), (8, 8), (8, 8)])
    seen = []
    image, samples = predict_method(method, plan, wide, (), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)  # one window for each of four samples
    assert image.shape == (16, 24, 24)
    assert len(samples) == 4
