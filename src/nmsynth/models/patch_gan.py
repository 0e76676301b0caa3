"""Discriminators that judge patches, and what adversarial families pay for their verdict.

A PatchGAN [Isola2017]_ says of every place of an image whether its neighbourhood looks real. It is spectrally
normalised [Miyato2018]_ rather than by statistics of the image, which would hide the level of uptake from it, and works
in single precision throughout. The loss is that of least squares [Mao2017]_, hinge [Lim2017]_ or cross-entropy
[Goodfellow2014]_.

References
----------
.. [Isola2017] P. Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017.
.. [Miyato2018] T. Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018.
.. [Mao2017] X. Mao et al., Least squares generative adversarial networks, ICCV 2017.
.. [Lim2017] J. H. Lim, J. C. Ye, Geometric GAN, arXiv:1705.02894, 2017.
.. [Goodfellow2014] I. Goodfellow et al., Generative adversarial nets, NeurIPS 2014.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.models.method import MethodSetting

GanLoss = Literal["least-squares", "hinge", "cross-entropy"]

ADVERSARIAL_MOMENTUM = 0.5
"""Of the optimisers of both players [Isola2017]_: a gradient that the other player has made stale is soon forgotten."""


class PatchGAN(nn.Module):
    """MONAI's PatchGAN discriminator, as deep as a patch allows, spectrally normalised.

    Parameters
    ----------
    setting
        As the plan decides; the larger the patch, the more halvings, three at most.
    n_in
        Channels of what is judged.
    channels
        Width of the first convolution; it doubles with each.

    Notes
    -----
    Kernels have four voxels as in the paper, or three where an axis is too short for that, such as few thick slices.
    """

    def __init__(self, setting: MethodSetting, n_in: int, *, channels: int = 32) -> None:
        from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

        super().__init__()
        n_layers = min(3, max(1, int(math.log2(max(setting.patch))) - 3))
        no_norm: Any = None  # taken, though not annotated
        roomy = min(setting.patch) >> n_layers >= 4
        self.network = PatchDiscriminator(
            setting.spatial_dims,
            channels,
            n_in,
            num_layers_d=n_layers,
            kernel_size=4 if roomy else 3,
            norm=no_norm,
            bias=True,
        )
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.utils.parametrizations.spectral_norm(module)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of each layer and, last, the verdict ``(batch, 1, ...)``; high is real."""
        with torch.autocast(x.device.type, enabled=False):
            features: list[torch.Tensor] = self.network(x.float())
        return features


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor, kind: GanLoss) -> torch.Tensor:
    """What a discriminator pays for its verdicts on real and synthetic images."""
    if kind == "least-squares":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: torch.Tensor, kind: GanLoss) -> torch.Tensor:
    """What a generator pays for the verdict on its images; the non-saturating form of cross-entropy."""
    if kind == "least-squares":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return -fake.mean()
    return F.softplus(-fake).mean()


def feature_distance(real: list[torch.Tensor], fake: list[torch.Tensor]) -> torch.Tensor:
    """Mean absolute difference of a discriminator's features, averaged over its layers but the verdict [Wang2018]_.

    References
    ----------
    .. [Wang2018] T.-C. Wang et al., High-resolution image synthesis and semantic manipulation with conditional GANs,
       CVPR 2018.
    """
    distances = [F.l1_loss(b, a.detach()) for a, b in zip(real[:-1], fake[:-1], strict=True)]
    return torch.stack(distances).mean()
