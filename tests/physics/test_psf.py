import pytest
import torch

from nmsynth.physics.psf import GaussianBlur, PlaneMixing, gaussian_kernel
from tests.physics.properties import assert_adjoint, assert_linear


@pytest.mark.parametrize("fwhm", [3.0, 6.0, 9.0])
def test_kernel_has_the_stated_width(fwhm):
    kernel = gaussian_kernel(fwhm, 0.25)
    place = (torch.arange(kernel.numel()) - kernel.numel() // 2) * 0.25
    variance = float((kernel * place**2).sum() / kernel.sum())
    assert variance**0.5 * 2.3548 == pytest.approx(fwhm, rel=0.01)


def test_blur_conserves_activity_and_is_self_adjoint():
    blur = GaussianBlur((6.0, 4.0, 8.0), (2.0, 2.0, 3.0))
    image = torch.zeros(30, 30, 30)
    image[15, 15, 15] = 7.0
    assert float(blur.forward(image).sum()) == pytest.approx(7.0, rel=1e-3)
    assert_adjoint(blur, (12, 11, 10), (12, 11, 10))
    assert_linear(blur, (12, 11, 10))


def test_wide_blur_agrees_with_itself_in_two_steps():
    image = torch.rand(1, 1, 200)
    once = GaussianBlur((0.0, 0.0, 50.0), (1.0, 1.0, 1.0)).forward(image)
    twice = GaussianBlur((0.0, 0.0, 30.0), (1.0, 1.0, 1.0)).forward(
        GaussianBlur((0.0, 0.0, 40.0), (1.0, 1.0, 1.0)).forward(image)
    )
    assert torch.allclose(once[..., 90:110], twice[..., 90:110], atol=2e-3)


def test_mixing_keeps_counts_and_gives_the_wanted_correlation():
    fraction = PlaneMixing.fraction_for_correlation(0.35)
    noise = torch.randn(400, 100, generator=torch.Generator().manual_seed(0))
    mixed = PlaneMixing(fraction).forward(noise)
    assert float(mixed.sum()) == pytest.approx(float(noise.sum()), rel=1e-4)
    inner = mixed[:, 2:-2]
    correlation = float((inner[:, 1:] * inner[:, :-1]).mean() / inner.square().mean())
    assert correlation == pytest.approx(0.35, abs=0.02)
    assert_adjoint(PlaneMixing(0.2), (3, 9), (3, 9))
