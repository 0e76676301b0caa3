"""Window-attention transformer between convolutions: a U-shaped Swin network by regression.

Each level below the finest is a group of transformer blocks whose attention is within windows that shift by half from
block to block [Liu2021]_, followed by a convolution and a skip connection, as in SwinIR [Liang2021]_; levels are joined
as in a U-Net [Hatamizadeh2022]_. The finest level is convolutions only: attention there would cost most of the time
and see least.

MONAI's SwinUNETR is there for comparison. It pads every axis to 32 voxels: a training step with two patches of
16 x 64 x 64 took 7.9 s of one core at its smallest width, where the compact network took 1.7 to 2.0 s (and the U-Net
1.9 s). On a tiny set in 2D its error after 50 steps was less than half of the compact network's, but after the same
time, 6 to 7 s, 0.05 of that of a constant against 0.03. Neither comparison says which is better after days.

References
----------
.. [Liu2021] Z. Liu et al., Swin transformer: hierarchical vision transformer using shifted windows, ICCV 2021.
.. [Liang2021] J. Liang et al., SwinIR: image restoration using Swin transformer, ICCV workshops 2021.
.. [Hatamizadeh2022] A. Hatamizadeh et al., Swin UNETR: Swin transformers for semantic segmentation of brain tumors in
   MRI images, BrainLes 2022.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from nmsynth.core.errors import InputError
from nmsynth.models.method import MethodSetting, Regression, with_constant_channels
from nmsynth.models.residual_unet import ResidualBlock, convolution, crop, level_strides, normalisation, pad_to_multiple

Variant = Literal["compact", "swin-unetr"]

MASKED = -100.0
"""Added to the logits of pairs that a cyclic shift has brought together; finite, so that half precision bears it."""


def to_windows(x: torch.Tensor, window: tuple[int, ...]) -> torch.Tensor:
    """Cut ``(batch, ..., channel)`` into windows, ``(batch * n_windows, voxels, channel)``; sizes must be multiples."""
    dims = len(window)
    split = [n for size, w in zip(x.shape[1:-1], window, strict=True) for n in (size // w, w)]
    # (b, nz, wz, ny, wy, nx, wx, c) -> (b, nz, ny, nx, wz, wy, wx, c)
    order = (0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1)
    return x.reshape(len(x), *split, x.shape[-1]).permute(order).reshape(-1, math.prod(window), x.shape[-1])


def from_windows(windows: torch.Tensor, window: tuple[int, ...], sizes: tuple[int, ...]) -> torch.Tensor:
    """Put windows back together, ``(batch, ..., channel)``."""
    dims = len(window)
    counts = [size // w for size, w in zip(sizes, window, strict=True)]
    # (b, nz, ny, nx, wz, wy, wx, c) -> (b, nz, wz, ny, wy, nx, wx, c)
    order = (0, *(n for axis in range(1, dims + 1) for n in (axis, axis + dims)), 2 * dims + 1)
    return (
        windows.reshape(-1, *counts, *window, windows.shape[-1]).permute(order).reshape(-1, *sizes, windows.shape[-1])
    )


def relative_index(window: tuple[int, ...]) -> torch.Tensor:
    """Row of the table of biases for each pair of voxels of a window, ``(voxels, voxels)``."""
    places = torch.stack(torch.meshgrid(*(torch.arange(w) for w in window), indexing="ij")).flatten(1)
    index = torch.zeros(places.shape[1], places.shape[1], dtype=torch.long)
    for place, w in zip(places, window, strict=True):
        index = index * (2 * w - 1) + place[:, None] - place[None, :] + w - 1
    return index


def shift_mask(sizes: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> torch.Tensor:
    """What keeps voxels apart that are neighbours only because of the cyclic shift, ``(n_windows, voxels, voxels)``."""
    region = torch.zeros(1, *sizes, 1)
    for axis, (size, s) in enumerate(zip(sizes, shift, strict=True), start=1):
        label = (torch.arange(size) >= size - s).float()  # what has come round from the front
        region = 2 * region + label.reshape(*(size if a == axis else 1 for a in range(len(sizes) + 2)))
    label = to_windows(region, window)[..., 0]
    return (label[:, :, None] != label[:, None, :]).float() * MASKED


class WindowAttention(nn.Module):
    """Attention within windows, with a bias for each relative position [Liu2021]_, eq. 4."""

    def __init__(self, channels: int, window: tuple[int, ...], n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.leave = nn.Linear(channels, channels)
        self.bias = nn.Parameter(0.02 * torch.randn(math.prod(2 * w - 1 for w in window), n_heads))
        self.register_buffer("index", relative_index(window), persistent=False)

    def forward(self, windows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Same shape as ``windows``, ``(batch * n_windows, voxels, channel)``."""
        n, voxels, channels = windows.shape
        # (n, voxels, 3 c) -> three of (n, head, voxels, c / head)
        parts = self.query_key_value(windows).reshape(n, voxels, 3, self.n_heads, channels // self.n_heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        logits = (query * (channels // self.n_heads) ** -0.5) @ key.transpose(-1, -2)
        logits = logits + self.bias[self.index].permute(2, 0, 1)  # type: ignore[index]
        if mask is not None:
            apart = logits.reshape(-1, len(mask), self.n_heads, voxels, voxels) + mask[:, None]
            logits = apart.reshape(n, self.n_heads, voxels, voxels)
        attended = logits.softmax(dim=-1).to(value.dtype) @ value
        out: torch.Tensor = self.leave(attended.transpose(1, 2).reshape(n, voxels, channels))
        return out


class SwinBlock(nn.Module):
    """``x + attention(film(n1(x)))``, then ``x + mlp(n2(x))`` [Liu2021]_, eq. 3."""

    def __init__(self, channels: int, window: tuple[int, ...], *, n_heads: int, shifted: bool, embedding: int) -> None:
        super().__init__()
        self.window = window
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, window, n_heads)
        self.film = nn.Linear(embedding, 2 * channels) if embedding else None
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None) -> torch.Tensor:
        """Features, ``(batch, ..., channel)``; sizes are multiples of the window."""
        hidden = self.norm1(x)
        if self.film is not None and embedding is not None:
            axes = (1,) * (x.ndim - 2)
            scale, shift = (f.reshape(len(x), *axes, -1) for f in self.film(embedding).chunk(2, dim=1))
            hidden = hidden * (1 + scale) + shift
        sizes = tuple(x.shape[1:-1])
        shifts = tuple(w // 2 if self.shifted and n > w else 0 for n, w in zip(sizes, self.window, strict=True))
        mask = shift_mask(sizes, self.window, shifts).to(x.device) if any(shifts) else None
        dims = tuple(range(1, x.ndim - 1))
        if mask is not None:
            hidden = hidden.roll(tuple(-s for s in shifts), dims)
        hidden = from_windows(self.attention(to_windows(hidden, self.window), mask), self.window, sizes)
        if mask is not None:
            hidden = hidden.roll(shifts, dims)
        x = x + hidden
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class SwinGroup(nn.Module):
    """Transformer blocks, every second shifted, and a convolution, added to their input [Liang2021]_."""

    def __init__(
        self, dims: int, channels: int, window: tuple[int, ...], *, depth: int, n_heads: int, embedding: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, window, n_heads=n_heads, shifted=bool(k % 2), embedding=embedding) for k in range(depth)
        )
        self.convolution = convolution(dims, channels, channels)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None) -> torch.Tensor:
        """Features, ``(batch, channel, ...)``, same shape."""
        hidden = x.movedim(1, -1)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        out: torch.Tensor = x + self.convolution(hidden.movedim(-1, 1))
        return out


class SwinNet(nn.Module):
    """The network itself, for a source and conditions.

    Parameters
    ----------
    setting
        As the plan decides; at least two levels.
    window
        Voxels of a window along an axis, fewer where a level of a patch has fewer.
    depth
        Transformer blocks of a group.
    head_channels
        Channels of an attention head.
    """

    def __init__(self, setting: MethodSetting, *, window: int, depth: int, head_channels: int = 16) -> None:
        super().__init__()
        dims, channels = setting.spatial_dims, setting.channels
        self.strides = level_strides(setting.patch, len(channels))
        windows, sizes, self.multiples = [], setting.patch, [1] * dims
        total = [1] * dims
        for stride in self.strides:
            sizes = tuple(-(-n // s) for n, s in zip(sizes, stride, strict=True))
            total = [t * s for t, s in zip(total, stride, strict=True)]
            windows.append(tuple(min(window, n) for n in sizes))
            here = [t * w for t, w in zip(total, windows[-1], strict=True)]
            self.multiples = [math.lcm(m, h) for m, h in zip(self.multiples, here, strict=True)]
        width = 4 * channels[0] if setting.n_conditions else 0
        self.tell = nn.Sequential(nn.Linear(setting.n_conditions, width), nn.SiLU()) if width else None
        pool: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
        unpool: type[nn.Module] = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        pairs = list(zip(channels[:-1], channels[1:], self.strides, strict=True))

        def group(level: int) -> SwinGroup:
            wide = channels[level]
            heads = wide // head_channels if wide % head_channels == 0 else 1
            return SwinGroup(dims, wide, windows[level - 1], depth=depth, n_heads=heads, embedding=width)

        n_levels = len(channels)
        self.enter = convolution(dims, setting.n_sources, channels[0])
        self.first = ResidualBlock(dims, channels[0], channels[0], width)
        self.down = nn.ModuleList(pool(a, b, s, stride=s) for a, b, s in pairs)
        self.encoder = nn.ModuleList(group(level) for level in range(1, n_levels))
        self.up = nn.ModuleList(unpool(b, a, s, stride=s) for a, b, s in pairs)
        self.join = nn.ModuleList(convolution(dims, 2 * c, c, kernel=1) for c in channels[:-1])
        self.decoder = nn.ModuleList(group(level) for level in range(1, n_levels - 1))
        self.last = ResidualBlock(dims, channels[0], channels[0], width)
        self.leave = nn.Sequential(normalisation(channels[0]), nn.SiLU(), convolution(dims, channels[0], 1))
        nn.init.normal_(self.leave[2].weight, std=1e-3)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave[2].bias)  # type: ignore[arg-type]

    def forward(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Output ``(batch, 1, ...)`` for a source of any size."""
        shape = tuple(source.shape[2:])
        embedding = self.tell(condition.float()) if self.tell is not None else None
        features = self.first(self.enter(pad_to_multiple(source, [tuple(self.multiples)])), embedding)
        skips = []
        for down, group in zip(self.down, self.encoder, strict=True):
            skips.append(features)
            features = group(down(features), embedding)
        for level in reversed(range(len(self.up))):
            features = self.join[level](torch.cat((self.up[level](features), skips[level]), dim=1))
            features = self.decoder[level - 1](features, embedding) if level else self.last(features, embedding)
        out: torch.Tensor = self.leave(features)
        return crop(out, shape)


class PaddedSwinUNETR(nn.Module):
    """MONAI's SwinUNETR, for images of any size; conditions are constant channels."""

    def __init__(self, setting: MethodSetting, *, feature_size: int) -> None:
        from monai.networks.nets.swin_unetr import SwinUNETR

        super().__init__()
        self.strides = [(32,) * setting.spatial_dims]
        n_in = setting.n_sources + setting.n_conditions
        # in groups: instance normalisation fails where an image of 32 voxels ends as one
        norm = ("group", {"num_groups": 4})
        self.network = SwinUNETR(n_in, 1, feature_size=feature_size, spatial_dims=setting.spatial_dims, norm_name=norm)

    def forward(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Output ``(batch, 1, ...)``; axes are padded to multiples of 32, at much cost where patches are thin."""
        x = pad_to_multiple(with_constant_channels(source, condition), self.strides)
        out: torch.Tensor = self.network(x)
        return crop(out, tuple(source.shape[2:]))


class Swin(Regression):
    """Transformer by regression.

    Parameters
    ----------
    setting
        As the plan decides.
    variant
        ``compact``, or ``swin-unetr`` of MONAI.
    window
        Voxels of a window along an axis; by default 4 in 3D and 8 in 2D, 64 voxels either way.
    depth
        Transformer blocks of a group.
    feature_size
        Of ``swin-unetr``, a multiple of 12.
    loss
        ``l1``, ``l2`` or ``huber``.
    """

    def __init__(
        self,
        setting: MethodSetting,
        *,
        variant: Variant = "compact",
        window: int | None = None,
        depth: int = 2,
        feature_size: int = 24,
        loss: str = "auto",
    ) -> None:
        if variant not in ("compact", "swin-unetr"):
            raise InputError(f"The variant of 'swin' must be 'compact' or 'swin-unetr'; found '{variant}'.")
        network: nn.Module
        if variant == "compact":
            if len(setting.channels) < 2:
                raise InputError(f"'swin' needs two levels or more; found channels {setting.channels}.")
            window = window or (4 if setting.spatial_dims == 3 else 8)
            network = SwinNet(setting, window=window, depth=depth)
        else:
            network = PaddedSwinUNETR(setting, feature_size=feature_size)
        super().__init__(setting, network, loss=loss)
