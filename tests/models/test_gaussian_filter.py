"""The learned Gaussian is the one that made the data, also where the counts decide how wide it is."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nmsynth.models.gaussian_filter import GaussianFilter
from nmsynth.models.method import MethodSetting
from tests.models.method_training import train_method

SIZES = {2: (24, 20), 3: (12, 20, 16)}


def setting(dims, **fields):
    return MethodSetting(spatial_dims=dims, n_sources=1, patch=SIZES[dims], **fields)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_filters_as_scipy_does_along_each_axis(dims):
    sigmas = (1.5, 0.8, 2.0)[:dims]
    method = GaussianFilter(setting(dims))
    with torch.no_grad():
        method.log_sigma.copy_(torch.tensor(sigmas).log())
    image = np.random.default_rng(0).standard_normal((2, 1, *SIZES[dims])).astype(np.float32)
    found = method(torch.from_numpy(image), torch.zeros(2, 0)).detach().numpy()
    for k in range(2):
        expected = ndimage.gaussian_filter(image[k, 0], sigmas, mode="nearest", truncate=9.0)
        np.testing.assert_allclose(found[k, 0], expected, atol=2e-3)


def test_the_width_is_learned_and_follows_what_is_told():
    told = torch.tensor([[-1.0], [1.0]])
    source = torch.randn((2, 1, *SIZES[3]), generator=torch.Generator().manual_seed(0))
    truth = GaussianFilter(setting(3, n_conditions=1))
    with torch.no_grad():
        truth.log_sigma.fill_(float(np.log(1.4)))
        truth.slope.fill_(0.3)
        target = truth(source, told)
    batch = {"source": source, "target": target, "condition": told, "weight": torch.ones_like(target)}
    method = GaussianFilter(setting(3, n_conditions=1), sigma=0.7)
    train_method(method, batch, 150, lr=3e-2)
    np.testing.assert_allclose(method.sigmas(told).detach(), truth.sigmas(told).detach(), rtol=0.05)


def test_activity_is_kept_and_the_middle_of_slices_is_filtered():
    method = GaussianFilter(setting(2, context=3), sigma=2.0)
    source = torch.zeros((1, 3, *SIZES[2]))
    source[0, 1, 12, 10] = 100.0
    answer = method(source, torch.zeros(1, 0)).detach()
    assert float(answer.sum()) == pytest.approx(100.0, rel=1e-3)
    assert answer.shape == (1, 1, *SIZES[2])
