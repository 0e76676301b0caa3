"""Residual U-Net, plain or with attention, that can be told numbers; the backbone of most families.

U-Net [Ronneberger2015]_ with residual blocks [He2016]_ [Zhang2018r]_, group normalisation [Wu2018]_, and feature-wise
modulation by what the network is told [Perez2018]_: count level, tracer, time, or the noise level of a diffusion.
Attention, where asked for, is dot-product attention over all positions of the coarsest levels, as in diffusion U-Nets
[Ho2020]_, or additive gates on the skip connections [Oktay2018]_.

References
----------
.. [Ronneberger2015] O. Ronneberger et al., U-Net, MICCAI 2015.
.. [He2016] K. He et al., Identity mappings in deep residual networks, ECCV 2016.
.. [Zhang2018r] Z. Zhang et al., Road extraction by deep residual U-Net, IEEE Geosci Remote Sens Lett 15:749, 2018.
.. [Wu2018] Y. Wu, K. He, Group normalization, ECCV 2018.
.. [Perez2018] E. Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI 2018.
.. [Ho2020] J. Ho et al., Denoising diffusion probabilistic models, NeurIPS 2020.
.. [Oktay2018] O. Oktay et al., Attention U-Net, MIDL 2018.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.models.method import MethodSetting, Regression

LEAST_SIZE = 4
"""Voxels below which an axis is not halved further."""

Attention = Literal["none", "self", "gates"]


def level_strides(patch: tuple[int, ...], n_levels: int) -> list[tuple[int, ...]]:
    """Stride between one level and the next, for each axis of a patch: 2 while at least 4 voxels remain.

    Examples
    --------
    >>> level_strides((8, 64, 64), 4)
    [(2, 2, 2), (1, 2, 2), (1, 2, 2)]
    """
    sizes = list(patch)
    strides = []
    for _ in range(n_levels - 1):
        stride = tuple(2 if size // 2 >= LEAST_SIZE else 1 for size in sizes)
        sizes = [size // s for size, s in zip(sizes, stride, strict=True)]
        strides.append(stride)
    return strides


def convolution(dims: int, n_in: int, n_out: int, *, kernel: int = 3) -> nn.Module:
    """Convolution that keeps the size."""
    kind: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
    return kind(n_in, n_out, kernel, padding=kernel // 2)


def normalisation(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of about eight channels."""
    groups = max(g for g in range(1, max(2, channels // 4 + 1)) if channels % g == 0)
    return nn.GroupNorm(min(groups, 8) if channels % min(groups, 8) == 0 else 1, channels)


class ResidualBlock(nn.Module):
    """``x + W2 s(film(n2(W1 s(n1(x)))))`` with s = SiLU."""

    def __init__(self, dims: int, n_in: int, n_out: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = normalisation(n_in)
        self.conv1 = convolution(dims, n_in, n_out)
        self.film = nn.Linear(embedding, 2 * n_out) if embedding else None
        self.norm2 = normalisation(n_out)
        self.conv2 = convolution(dims, n_out, n_out)
        self.skip = convolution(dims, n_in, n_out, kernel=1) if n_in != n_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # type: ignore[arg-type]  # a block begins as the identity
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None) -> torch.Tensor:
        """Features, ``(batch, n_out, ...)``."""
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(F.silu(embedding)).chunk(2, dim=1)
            axes = (1,) * (x.ndim - 2)
            hidden = hidden * (1 + scale.reshape(*scale.shape, *axes)) + shift.reshape(*shift.shape, *axes)
        out: torch.Tensor = self.skip(x) + self.conv2(F.silu(hidden))
        return out


class SelfAttention(nn.Module):
    """Dot-product attention over all positions, added to its input."""

    def __init__(self, dims: int, channels: int, n_heads: int = 4) -> None:
        super().__init__()
        self.norm = normalisation(channels)
        self.n_heads = n_heads if channels % n_heads == 0 else 1
        self.query_key_value = convolution(dims, channels, 3 * channels, kernel=1)
        self.leave = convolution(dims, channels, channels, kernel=1)
        nn.init.zeros_(self.leave.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        batch, channels = x.shape[:2]
        # (b, 3 c, ...) -> three of (b, head, position, c / head)
        parts = self.query_key_value(self.norm(x)).reshape(batch, 3, self.n_heads, channels // self.n_heads, -1)
        query, key, value = parts.transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = x + self.leave(attended.transpose(-1, -2).reshape(x.shape))
        return out


class SkipGate(nn.Module):
    """Additive attention gate: how much of a skip connection passes, from what the decoder knows [Oktay2018]_."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.of_skip = convolution(dims, channels, channels // 2, kernel=1)
        self.of_decoder = convolution(dims, channels, channels // 2, kernel=1)
        self.gate = convolution(dims, channels // 2, 1, kernel=1)

    def forward(self, skip: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        """The skip connection, weighted; same shape."""
        return skip * torch.sigmoid(self.gate(F.relu(self.of_skip(skip) + self.of_decoder(decoder))))


def sinusoids(values: torch.Tensor, width: int, *, largest_period: float = 10_000.0) -> torch.Tensor:
    """Sines and cosines of a number, ``(batch,)`` to ``(batch, width)``, as positions are told to transformers."""
    half = width // 2
    rates = torch.exp(-math.log(largest_period) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class UNet(nn.Module):
    """The U-Net itself.

    Parameters
    ----------
    dims
        2 or 3.
    n_in, n_out
        Channels of input and output.
    channels
        Width of each level.
    strides
        Between levels, as :func:`level_strides` gives them.
    n_blocks
        Residual blocks a level, in the encoder and in the decoder.
    n_conditions
        Numbers that the network is told.
    timed
        Whether it is also told a time, such as a diffusion step.
    attention
        ``self`` at the two coarsest levels, ``gates`` on every skip connection, or ``none``.
    """

    def __init__(
        self,
        dims: int,
        n_in: int,
        n_out: int,
        *,
        channels: tuple[int, ...],
        strides: list[tuple[int, ...]],
        n_blocks: int = 1,
        n_conditions: int = 0,
        timed: bool = False,
        attention: Attention = "none",
    ) -> None:
        super().__init__()
        self.strides = [tuple(s) for s in strides]
        self.timed = timed
        self.width = 4 * channels[0]
        told = bool(n_conditions) or timed
        embedding = self.width if told else 0
        self.tell = (
            nn.Sequential(
                nn.Linear(n_conditions + (self.width if timed else 0), self.width),
                nn.SiLU(),
                nn.Linear(self.width, self.width),
            )
            if told
            else None
        )
        pool: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
        unpool: type[nn.Module] = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        self.enter = convolution(dims, n_in, channels[0])
        self.encoder = nn.ModuleList(_blocks(dims, c, c, n_blocks, embedding) for c in channels)
        pairs = list(zip(channels[:-1], channels[1:], self.strides, strict=True))
        self.down = nn.ModuleList(pool(a, b, s, stride=s) for a, b, s in pairs)
        self.up = nn.ModuleList(unpool(b, a, s, stride=s) for a, b, s in pairs)
        self.decoder = nn.ModuleList(_blocks(dims, 2 * c, c, n_blocks, embedding) for c in channels[:-1])
        attended = range(max(1, len(channels) - 2), len(channels)) if attention == "self" else ()
        self.attend = nn.ModuleDict({str(n): SelfAttention(dims, channels[n]) for n in attended})
        gated = channels[:-1] if attention == "gates" else ()
        self.gates = nn.ModuleList(SkipGate(dims, c) for c in gated)
        self.leave = nn.Sequential(normalisation(channels[0]), nn.SiLU(), convolution(dims, channels[0], n_out))
        nn.init.normal_(self.leave[2].weight, std=1e-3)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave[2].bias)  # type: ignore[arg-type]

    def forward(
        self, x: torch.Tensor, condition: torch.Tensor | None = None, time: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Output ``(batch, n_out, ...)`` for ``(batch, n_in, ...)`` of any size, conditions and a time ``(batch,)``."""
        shape = x.shape[2:]
        x = pad_to_multiple(x, self.strides)
        embedding = self._embedding(condition, time)
        features = self.enter(x)
        skips = []
        for level, blocks in enumerate(self.encoder):
            for block in cast(nn.ModuleList, blocks):
                features = block(features, embedding)
            if str(level) in self.attend:
                features = self.attend[str(level)](features)
            if level < len(self.down):
                skips.append(features)
                features = self.down[level](features)
        for level in reversed(range(len(self.down))):
            features = self.up[level](features)
            skip = self.gates[level](skips[level], features) if len(self.gates) else skips[level]
            features = torch.cat((features, skip), dim=1)
            for block in cast(nn.ModuleList, self.decoder[level]):
                features = block(features, embedding)
        out: torch.Tensor = self.leave(features)
        return crop(out, shape)

    def _embedding(self, condition: torch.Tensor | None, time: torch.Tensor | None) -> torch.Tensor | None:
        """What the network is told, as one vector a patch."""
        if self.tell is None:
            return None
        told = [] if condition is None else [condition.float()]
        if self.timed and time is not None:
            told.append(sinusoids(time, self.width))
        out: torch.Tensor = self.tell(torch.cat(told, dim=1))
        return out


def pad_to_multiple(x: torch.Tensor, strides: list[tuple[int, ...]]) -> torch.Tensor:
    """Repeat the far borders until every axis can be halved as often as the levels ask."""
    padding: list[int] = []
    for axis in reversed(range(x.ndim - 2)):  # the last axis comes first
        multiple = math.prod(s[axis] for s in strides)
        padding += [0, -x.shape[2 + axis] % multiple]
    return F.pad(x, padding, mode="replicate") if any(padding) else x


def crop(x: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Take away what :func:`pad_to_multiple` added; ``sizes`` of the spatial axes."""
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


def _blocks(dims: int, n_in: int, n_out: int, n_blocks: int, embedding: int) -> nn.ModuleList:
    """Residual blocks of one level."""
    return nn.ModuleList(ResidualBlock(dims, n_in if k == 0 else n_out, n_out, embedding) for k in range(n_blocks))


def unet_for(setting: MethodSetting, n_in: int, n_out: int, **arguments: object) -> UNet:
    """A U-Net of the size that a plan gives, with further arguments of :class:`UNet`."""
    strides = level_strides(setting.patch, len(setting.channels))
    return UNet(
        setting.spatial_dims,
        n_in,
        n_out,
        channels=setting.channels,
        strides=strides,
        n_conditions=setting.n_conditions,
        **arguments,  # type: ignore[arg-type]
    )


class ResidualUNet(Regression):
    """Residual U-Net by regression, the baseline that every generative family must beat.

    Parameters
    ----------
    setting
        As the plan decides.
    attention
        ``none``, ``self`` or ``gates``; see :class:`UNet`.
    n_blocks
        Residual blocks a level.
    loss
        ``auto``, ``l1``, ``l2``, ``huber`` or ``counts``; see :func:`nmsynth.models.method.chosen_loss`.
    emphasis, above, region_emphasis, over_source_error
        What voxels count more whose target lies above a value, and those of labelled regions, and over what error that
        of a patch is taken; see :class:`nmsynth.models.method.Regression`.
    """

    def __init__(
        self,
        setting: MethodSetting,
        *,
        attention: Attention = "none",
        n_blocks: int = 1,
        loss: str = "auto",
        emphasis: float = 0.0,
        above: float = 0.0,
        region_emphasis: float = 0.0,
        over_source_error: bool = False,
    ) -> None:
        network = unet_for(setting, setting.n_sources, 1, attention=attention, n_blocks=n_blocks)
        super().__init__(
            setting,
            network,
            loss=loss,
            emphasis=emphasis,
            above=above,
            region_emphasis=region_emphasis,
            over_source_error=over_source_error,
        )
