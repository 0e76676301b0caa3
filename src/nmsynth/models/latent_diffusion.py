"""Latent diffusion: an autoencoder makes images small, and the diffusion is of what it makes of them [Rombach2022]_.

First a variational autoencoder [Kingma2014]_ of target patches is trained; then, with its weights fixed, a diffusion of
its latents, a quarter of the image's size along each axis that is long enough, with the source, encoded on the same
grid, beside them. Finer detail than latents hold is lost, and no sampling brings it back: the error of the autoencoder
alone, ``reconstruct``, is the best that can be had. In return an answer of 25 evaluations for two patches of 16 x 64
x 64 took 1.7 s of one core, where a diffusion in image space took 14 s.

The autoencoder is small and our own, because MONAI's halves every axis alike, which patches of few slices do not allow,
and takes seconds to import. It is trained by absolute error and the divergence of its latents, without the adversarial
and perceptual terms of the paper: these sharpen by inventing texture, which here would be read as uptake.

References
----------
.. [Rombach2022] R. Rombach et al., High-resolution image synthesis with latent diffusion models, CVPR 2022.
.. [Kingma2014] D. Kingma, M. Welling, Auto-encoding variational Bayes, ICLR 2014.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.models.denoising_diffusion import TIME_SCALE, along, cosine_schedule, ddim, draw_times
from nmsynth.models.method import Method, MethodBatch, MethodSetting, regression_loss, weighted_mean
from nmsynth.models.residual_unet import (
    ResidualBlock,
    convolution,
    crop,
    level_strides,
    normalisation,
    pad_to_multiple,
    unet_for,
)
from nmsynth.models.running_scale import RunningScale

N_LEVELS = 3
"""Levels of the autoencoder: two halvings."""


class Encoder(nn.Module):
    """Image to latent grid: residual blocks and strided convolutions."""

    def __init__(
        self, dims: int, n_in: int, n_out: int, channels: tuple[int, ...], strides: list[tuple[int, ...]]
    ) -> None:
        super().__init__()
        pool: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
        self.strides = strides
        layers: list[nn.Module] = [convolution(dims, n_in, channels[0])]
        for a, b, stride in zip(channels[:-1], channels[1:], strides, strict=True):
            layers += [ResidualBlock(dims, a, a, 0), pool(a, b, stride, stride=stride)]
        layers += [ResidualBlock(dims, channels[-1], channels[-1], 0), normalisation(channels[-1]), nn.SiLU()]
        self.layers = nn.ModuleList([*layers, convolution(dims, channels[-1], n_out)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, ``(batch, n_out, ...)`` with sizes divided by the strides, rounded up."""
        return _through(self.layers, pad_to_multiple(x, self.strides))


class Decoder(nn.Module):
    """Latent grid to image, the way back."""

    def __init__(self, dims: int, n_in: int, channels: tuple[int, ...], strides: list[tuple[int, ...]]) -> None:
        super().__init__()
        unpool: type[nn.Module] = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        layers: list[nn.Module] = [convolution(dims, n_in, channels[-1])]
        for a, b, stride in reversed(list(zip(channels[:-1], channels[1:], strides, strict=True))):
            layers += [ResidualBlock(dims, b, b, 0), unpool(b, a, stride, stride=stride)]
        layers += [ResidualBlock(dims, channels[0], channels[0], 0), normalisation(channels[0]), nn.SiLU()]
        self.layers = nn.ModuleList([*layers, convolution(dims, channels[0], 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image, ``(batch, 1, ...)`` with sizes multiplied by the strides."""
        return _through(self.layers, x)


def _through(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    """One layer after the other; residual blocks are told nothing."""
    for layer in layers:
        x = layer(x, None) if isinstance(layer, ResidualBlock) else layer(x)
    return x


class LatentDiffusion(Method):
    """Autoencoder, then conditional diffusion of its latents.

    Parameters
    ----------
    setting
        As the plan decides; where it asks for a residual, that is what is encoded.
    latent_channels
        Channels of the latents.
    width
        Channels of the diffusion's network, in those of the plan; latent grids are small, so that it may be wide.
    kl_weight
        Weight of the divergence of the latents from a standard normal: just enough to keep them of one size.
    sampling_steps
        Evaluations of the latent network for an answer.
    residual_scale
        What a target (or residual) is divided by; measured where it is not given.
    """

    stochastic = True
    stages = ("autoencoder", "diffusion")
    stage_shares = (0.4, 0.6)
    rebuilding_stages = ("autoencoder",)

    def __init__(
        self,
        setting: MethodSetting,
        *,
        latent_channels: int = 4,
        width: int = 2,
        kl_weight: float = 1e-4,
        sampling_steps: int = 25,
        residual_scale: float | None = None,
    ) -> None:
        super().__init__(setting)
        dims = setting.spatial_dims
        channels = (*setting.channels, *(setting.channels[-1],) * N_LEVELS)[:N_LEVELS]
        self.strides = level_strides(setting.patch, N_LEVELS)
        self.latent_stride = tuple(math.prod(of_axis) for of_axis in zip(*self.strides, strict=True))
        self.noise_stride = self.latent_stride
        self.noise_channels = latent_channels
        self.kl_weight = kl_weight
        self.sampling_steps = sampling_steps
        self.scale = RunningScale(residual_scale)
        self.encoder = Encoder(dims, 1, 2 * latent_channels, channels, self.strides)
        self.decoder = Decoder(dims, latent_channels, channels, self.strides)
        self.latent_scale = RunningScale()
        self.source_encoder = Encoder(dims, setting.n_sources, channels[-1], channels, self.strides)
        latent = replace(
            setting,
            patch=self.noise_shape(setting.patch)[1:],
            channels=tuple(width * c for c in setting.channels),
        )
        self.network = unet_for(latent, latent_channels + channels[-1], latent_channels, timed=True)

    def groups(self, stage: str) -> dict[str, list[nn.Parameter]]:
        """Encoder and decoder first, then what diffuses, with the autoencoder as it is."""
        modules = (self.encoder, self.decoder) if stage == "autoencoder" else (self.source_encoder, self.network)
        return {stage: [p for module in modules for p in module.parameters()]}

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Of the stage; the groups are called alike."""
        del group
        image = batch["target"] - self.residual_base(batch["source"])
        if stage == "autoencoder":
            self.scale.observe(image, batch["weight"])
            return self._autoencoder_losses(self.scale.encode(image), batch["weight"])
        with torch.no_grad():
            latent, _ = self._encode(self.scale.encode(image))
        return self._diffusion_losses(latent, batch)

    def _autoencoder_losses(self, image: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """Absolute error and divergence [Kingma2014]_, eq. 10."""
        mean, log_variance = self._encode(image)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = regression_loss(self._decode(latent, image), image, weight)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return {"total": error + self.kl_weight * divergence, "error": error.detach(), "kl": divergence.detach()}

    def _diffusion_losses(self, latent: torch.Tensor, batch: MethodBatch) -> dict[str, torch.Tensor]:
        """Squared error of ``v`` of the latents; each counts as its voxels do on average."""
        weight = batch["weight"]
        missing: list[int] = []
        for axis in reversed(range(len(self.latent_stride))):  # the last axis comes first
            missing += [0, -weight.shape[2 + axis] % self.latent_stride[axis]]
        pool = F.avg_pool3d if self.setting.spatial_dims == 3 else F.avg_pool2d
        weight = pool(F.pad(weight, missing), self.latent_stride).expand_as(latent)
        self.latent_scale.observe(latent, weight)
        z0 = self.latent_scale.encode(latent)
        time = draw_times(len(z0), z0.device)
        eps = torch.randn_like(z0)
        alpha, sigma = (along(a, z0) for a in cosine_schedule(time))
        v = self._predict(alpha * z0 + sigma * eps, self.source_encoder(batch["source"]), batch["condition"], time)
        return {"total": weighted_mean((v - (alpha * eps - sigma * z0)).square(), weight)}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """A sample by DDIM in the latent space, decoded."""
        if noise is None:
            noise = source.new_zeros(len(source), *self.noise_shape(tuple(source.shape[2:])))
        told = self.source_encoder(source)

        def denoiser(z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            alpha, sigma = (along(a, z) for a in cosine_schedule(time))
            return self.latent_scale.clip(alpha * z - sigma * self._predict(z, told, condition, time))

        latent = self.latent_scale.decode(ddim(denoiser, noise, self.sampling_steps))
        return self.scale.decode(self._decode(latent, source)) + self.residual_base(source)

    def reconstruct(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A target through the autoencoder and back: the bound on what any sample can reach."""
        base = self.residual_base(source)
        latent, _ = self._encode(self.scale.encode(target - base))
        return self.scale.decode(self._decode(latent, target)) + base

    def shipped(self) -> list[str]:
        """All but the encoder of targets."""
        return ["decoder.", "source_encoder.", "network.", "scale.", "latent_scale."]

    def _encode(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the latents, in single precision."""
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20.0, 10.0)

    def _decode(self, latent: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Image of the size of another."""
        image: torch.Tensor = self.decoder(latent).float()
        return crop(image, tuple(like.shape[2:]))

    def _predict(
        self, z: torch.Tensor, told: torch.Tensor, condition: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """The ``v`` of the latents, in single precision."""
        out: torch.Tensor = self.network(torch.cat((z, told), dim=1), condition, TIME_SCALE * time)
        return out.float()
