r"""Conditional variational autoencoder: images that fit a source, each for one draw of what the source leaves open.

What source x leaves open about target y is a map of latents z at a coarse stride. A prior p(z|x) and, in training, a
posterior q(z|x, y) say what it may be, and a U-Net p(y|x, z) draws the image [Sohn2015]_ [Kohl2018]_:

.. math:: -\log p(y|x) \le E_q[-\log p(y|x, z)] + KL(q(z|x, y) \| p(z|x))

With a Laplace likelihood of scale b, times b and per voxel, this is the mean absolute error plus b times the
divergence per voxel. The divergence is warmed up [Sonderby2016]_, and free below a few hundredths of a nat
[Kingma2016]_, lest the latents die before they are of use. Where asked for, the latents of prior and posterior are
also aligned as two sets by their maximum mean discrepancy [Gretton2012]_, in the way in which variational
autoencoders adapt synthesis to another domain [Hu2022]_.

Given the source, every latent of the map is drawn by itself. Samples so differ in what is local; what is common to a
whole image, such as how much tracer a patient takes up, they do not draw as one: tell it as a condition.

References
----------
.. [Sohn2015] K. Sohn et al., Learning structured output representation using deep conditional generative models,
   NeurIPS 2015.
.. [Kohl2018] S. Kohl et al., A probabilistic U-Net for segmentation of ambiguous images, NeurIPS 2018.
.. [Sonderby2016] C. K. Sonderby et al., Ladder variational autoencoders, NeurIPS 2016.
.. [Kingma2016] D. P. Kingma et al., Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
.. [Gretton2012] A. Gretton et al., A kernel two-sample test, J Mach Learn Res 13:723-773, 2012.
.. [Hu2022] Q. Hu et al., Domain-adaptive 3D medical image synthesis: an efficient unsupervised approach, MICCAI 2022.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.core.errors import InputError
from nmsynth.models.method import Method, MethodBatch, MethodSetting, regression_loss, with_constant_channels
from nmsynth.models.residual_unet import (
    Attention,
    ResidualBlock,
    convolution,
    normalisation,
    pad_to_multiple,
    unet_for,
)

LOG_SIGMA_RANGE = (-5.0, 2.0)
"""Limits of the logarithm of a latent's standard deviation."""

LATENTS_COMPARED = 512
"""Latents of each set, at most, whose discrepancy is taken: it costs their square."""


class LatentEncoder(nn.Module):
    """A Gaussian for every latent of a map that is ``stride`` times coarser than the image, on every axis."""

    def __init__(self, setting: MethodSetting, n_in: int, n_latents: int, stride: int) -> None:
        super().__init__()
        dims, n_halvings = setting.spatial_dims, stride.bit_length() - 1
        widths = [setting.channels[min(level, len(setting.channels) - 1)] for level in range(n_halvings + 1)]
        pool: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
        self.strides = [(2,) * dims] * n_halvings
        self.enter = convolution(dims, n_in, widths[0])
        self.blocks = nn.ModuleList(ResidualBlock(dims, c, c, 0) for c in widths)
        self.down = nn.ModuleList(pool(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.leave = nn.Sequential(
            normalisation(widths[-1]), nn.SiLU(), convolution(dims, widths[-1], 2 * n_latents, kernel=1)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the standard deviation, each ``(batch, latent, ...)``, sizes rounded up."""
        features = self.enter(pad_to_multiple(x, self.strides))
        for block, down in zip(self.blocks, self.down, strict=False):
            features = down(block(features, None))
        mean, log_sigma = self.leave(self.blocks[-1](features, None)).float().chunk(2, dim=1)
        return mean, log_sigma.clamp(*LOG_SIGMA_RANGE)


class Variational(Method):
    """What variational families share: samples, a warmed-up divergence, and a posterior that is not shipped.

    A family sets ``warmup`` and, for training, a buffer ``step``.
    """

    stochastic = True
    warmup: int
    step: torch.Tensor

    def _warm(self) -> float:
        """Weight of the divergence, which rises in training."""
        if self.training:
            self.step += 1
        return min(1.0, float(self.step) / max(1, self.warmup))

    def shipped(self) -> list[str]:
        """Prior and decoder."""
        return ["prior.", "decoder."]


class ConditionalVAE(Variational):
    """Conditional variational autoencoder with a learned prior and a map of latents.

    Parameters
    ----------
    setting
        As the plan decides.
    n_latents
        Channels of the map of latents.
    stride
        Voxels of the image for one latent, on every axis; a power of 2.
    scale
        Scale b of the likelihood [normalised units]: the absolute error that the latents need not explain.
    prior_share
        Share of the error that is that of the prior's mean, which :meth:`forward` decodes where no noise is given, and
        not of a draw from the posterior; the hybrid objective of Sohn et al. 0 for the bound alone.
    warmup
        Calls of :meth:`losses` over which the weight of the divergence rises from 0 to 1.
    free_nats
        Divergence of each channel, mean over the map [nat], that is not punished.
    alignment
        Weight of the discrepancy between the latents of prior and posterior.
    attention
        ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level of the U-Net.
    for_training
        Whether there is a posterior.
    """

    def __init__(
        self,
        setting: MethodSetting,
        *,
        n_latents: int = 4,
        stride: int = 8,
        scale: float = 0.1,
        prior_share: float = 0.5,
        warmup: int = 1000,
        free_nats: float = 0.02,
        alignment: float = 0.0,
        attention: Attention = "none",
        n_blocks: int = 1,
        for_training: bool = True,
    ) -> None:
        super().__init__(setting)
        if stride < 1 or stride & (stride - 1):
            raise InputError(f"The stride of the latents must be a power of 2; found {stride}. Take 4, 8 or 16.")
        self.stride = stride
        self.noise_channels, self.noise_stride = n_latents, stride
        self.scale, self.prior_share, self.warmup = scale, prior_share, warmup
        self.free_nats, self.alignment = free_nats, alignment
        n_told = setting.n_sources + setting.n_conditions
        self.prior = LatentEncoder(setting, n_told, n_latents, stride)
        self.decoder = unet_for(setting, setting.n_sources + n_latents, 1, attention=attention, n_blocks=n_blocks)
        if for_training:
            self.posterior = LatentEncoder(setting, n_told + 1, n_latents, stride)
            self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """The bound, warmed up, and the alignment."""
        del group, stage
        source, condition, target = batch["source"], batch["condition"], batch["target"].float()
        told = with_constant_channels(source, condition)
        prior, posterior = self.prior(told), self.posterior(torch.cat((told, target), dim=1))
        latents = drawn(posterior, torch.randn_like(posterior[0]))
        error = self._error(latents, batch)
        kl = divergence(posterior, prior)
        per_voxel = kl.clamp_min(self.free_nats).sum() / self.stride**self.setting.spatial_dims
        total = (1 - self.prior_share) * error + self._warm() * self.scale * per_voxel
        terms = {"posterior_error": error, "kl": kl.sum()}
        if self.prior_share:
            terms["prior_error"] = self._error(prior[0], batch)
            total = total + self.prior_share * terms["prior_error"]
        if self.alignment:
            terms["alignment"] = discrepancy(drawn(prior, torch.randn_like(latents)), latents)
            total = total + self.alignment * terms["alignment"]
        return {"total": total, **terms}

    def _error(self, latents: torch.Tensor, batch: MethodBatch) -> torch.Tensor:
        """Absolute error of what latents decode to."""
        answer = self._decode(batch["source"], batch["condition"], latents).float()
        return regression_loss(answer, batch["target"].float(), batch["weight"].float())

    def _decode(self, source: torch.Tensor, condition: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The image for a source and latents."""
        # repeated and not interpolated, so that a tile has what the whole image has in its place
        repeated = F.interpolate(latents, scale_factor=float(self.stride), mode="nearest")
        for axis, size in enumerate(source.shape[2:], start=2):
            repeated = repeated.narrow(axis, 0, size)
        decoded: torch.Tensor = self.decoder(torch.cat((source, repeated.to(source.dtype)), dim=1), condition)
        return decoded + self.residual_base(source)

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """A sample for noise, and what the prior's mean decodes to without any, or for zeros."""
        prior = self.prior(with_constant_channels(source, condition))
        return self._decode(source, condition, prior[0] if noise is None else drawn(prior, noise))


def drawn(gaussian: tuple[torch.Tensor, torch.Tensor], noise: torch.Tensor) -> torch.Tensor:
    """Latents from a mean, a logarithm of the standard deviation, and standard normal noise; shapes alike."""
    mean, log_sigma = gaussian
    return mean + log_sigma.exp() * noise.float()


def divergence(q: tuple[torch.Tensor, torch.Tensor], p: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """KL(q || p) of Gaussians, each a mean and a logarithm of the standard deviation; mean over batch and map [nat].

    Examples
    --------
    >>> zero, one = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    >>> divergence((one, zero), (zero, zero))
    tensor([0.5000])
    """
    ratio = (2 * (q[1] - p[1])).exp()
    distance = (q[0] - p[0]).square() * (-2 * p[1]).exp()
    kl = 0.5 * (ratio + distance - 1) - (q[1] - p[1])
    return kl.transpose(0, 1).flatten(1).mean(dim=1)  # (batch, latent, ...) -> (latent,)


def discrepancy(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy of two sets of latents ``(batch, latent, ...)``.

    The kernel is the mean of Gaussians whose squared widths are 1/4, 1 and 4 times the number of channels.
    """
    first, second = (_subset(x.float().transpose(0, 1).flatten(1).T) for x in (a, b))  # (position, latent)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        squared = (x[:, None] - y[None]).square().sum(dim=-1) / x.shape[1]
        return torch.stack([(-squared / (2 * width)).exp().mean() for width in (0.25, 1.0, 4.0)]).mean()

    return kernel(first, first) + kernel(second, second) - 2 * kernel(first, second)


def _subset(latents: torch.Tensor) -> torch.Tensor:
    """Evenly spread rows, as many as are compared."""
    return latents[:: max(1, math.ceil(len(latents) / LATENTS_COMPARED))]
