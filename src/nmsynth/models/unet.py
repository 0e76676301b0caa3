"""A bias-free 3D residual U-Net with three heads, for denoising at any count level."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """Move each 2 x 2 block in plane to channels: ``(b, c, z, y, x) -> (b, 4 c, z, y / 2, x / 2)``."""
    batch, channels, n_z, n_y, n_x = x.shape
    blocks = x.reshape(batch, channels, n_z, n_y // 2, 2, n_x // 2, 2)
    # (b, c, z, y, dy, x, dx) -> (b, c, dy, dx, z, y, x)
    return blocks.permute(0, 1, 4, 6, 2, 3, 5).reshape(batch, 4 * channels, n_z, n_y // 2, n_x // 2)


def depth_to_space(x: torch.Tensor) -> torch.Tensor:
    """Inverse of :func:`space_to_depth`."""
    batch, channels, n_z, n_y, n_x = x.shape
    blocks = x.reshape(batch, channels // 4, 2, 2, n_z, n_y, n_x)
    # (b, c, dy, dx, z, y, x) -> (b, c, z, y, dy, x, dx)
    return blocks.permute(0, 1, 4, 5, 2, 6, 3).reshape(batch, channels // 4, n_z, 2 * n_y, 2 * n_x)


class ResidualBlock(nn.Module):
    """``x + W2 relu(W1 x)``, convolutions without bias."""

    def __init__(self, channels: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.first = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)
        self.second = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as the argument."""
        out: torch.Tensor = x + self.second(F.relu(self.first(x)))
        return out


class HomogeneousUNet(nn.Module):
    """U-Net whose output scales with its input, so that twice the activity gives twice the output.

    No convolution has a bias and nothing is normalised by statistics of the image: ``f(a x) = a f(x)`` for ``a > 0``
    exactly, the network is blind to the count level, which it reads from the texture [Mohan2020]_, and a voxel depends
    only on its neighbourhood. The plane is folded 2 x 2 into channels before the first level [Zhang2018]_.

    Parameters
    ----------
    channels
        Width of each level, finest first; every further level halves the plane, and the axis from the third level.
    n_blocks
        Residual blocks at each level, in the encoder and in the decoder.
    planes
        3 for kernels over three planes; 1 for kernels in plane.
    context
        Planes that the first kernel spans; ``planes=1, context=5`` is a 2.5D network.

    Notes
    -----
    ``forward`` takes ``(batch, 1, z, y, x)`` and returns ``(batch, 3, z, y, x)``: the ``mean`` head (least error), the
    ``contrast`` head (lesion contrast), and the ``evidence`` logit that there is a focal structure, which does
    not change with the scale of the input. Sizes must be multiples of ``stride``.

    References
    ----------
    .. [Mohan2020] S. Mohan et al., Robust and interpretable blind image denoising via bias-free convolutional
       neural networks, ICLR 2020.
    .. [Zhang2018] K. Zhang et al., FFDNet, IEEE Trans Image Process 27:4608-4622, 2018.
    """

    def __init__(
        self, channels: tuple[int, ...] = (32, 64, 96), n_blocks: int = 1, planes: int = 3, context: int = 3
    ) -> None:
        super().__init__()
        kernel = (planes, 3, 3)
        padding = (planes // 2, 1, 1)
        self.channels = tuple(channels)
        self.n_blocks = n_blocks
        self.planes = planes
        self.context = context
        self.pools = [(2 if level >= 1 and planes > 1 else 1, 2, 2) for level in range(len(channels) - 1)]
        self.enter = nn.Conv3d(4, channels[0], (context, 3, 3), padding=(context // 2, 1, 1), bias=False)
        self.encoder = nn.ModuleList(self._blocks(c, kernel) for c in channels)
        self.down = nn.ModuleList(
            nn.Conv3d(a, b, pool, stride=pool, bias=False)
            for a, b, pool in zip(channels[:-1], channels[1:], self.pools, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(b, a, pool, stride=pool, bias=False)
            for a, b, pool in zip(channels[:-1], channels[1:], self.pools, strict=True)
        )
        self.decoder = nn.ModuleList(self._blocks(c, kernel) for c in channels[:-1])
        self.leave = nn.Conv3d(channels[0], 12, kernel, padding=padding, bias=False)
        self.evidence_offset = nn.Parameter(torch.tensor(-2.0))

    def _blocks(self, channels: int, kernel: tuple[int, int, int]) -> nn.Sequential:
        """The residual blocks of one level."""
        return nn.Sequential(*(ResidualBlock(channels, kernel) for _ in range(self.n_blocks)))

    @property
    def stride(self) -> tuple[int, int, int]:
        """Sizes along ``(z, y, x)`` must be multiples of this."""
        axial = 1
        for pool in self.pools:
            axial *= pool[0]
        return axial, 2 ** len(self.channels), 2 ** len(self.channels)

    @property
    def margin(self) -> tuple[int, int, int]:
        """Voxels of context along ``(z, y, x)`` beyond which the input has no influence, a multiple of the stride."""
        reach = [float(self.context // 2), 2.0]
        scale = [1, 2]
        axial = self.planes // 2
        for level in range(len(self.channels)):
            n_convolutions = 2 * self.n_blocks * (2 if level < len(self.channels) - 1 else 1) + (level == 0)
            reach[0] += axial * scale[0] * n_convolutions
            reach[1] += scale[1] * n_convolutions
            if level < len(self.channels) - 1:
                reach[0] += scale[0] * (self.pools[level][0] - 1)
                reach[1] += scale[1]
                scale = [scale[0] * self.pools[level][0], scale[1] * 2]
        reach[0] = max(reach[0], 6.0)  # the window of the local level
        stride = self.stride
        z, y, x = (int(-(-r // s) * s) for r, s in zip((reach[0], reach[1] + 1, reach[1] + 1), stride, strict=True))
        return z, y, x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Heads ``(mean, contrast, evidence)``, shape ``(batch, 3, z, y, x)``."""
        features = self.enter(space_to_depth(x))
        skips = []
        for encoder, down in zip(self.encoder, self.down, strict=False):
            features = encoder(features)
            skips.append(features)
            features = F.relu(down(features))
        features = self.encoder[-1](features)
        for level in reversed(range(len(self.down))):
            features = F.relu(self.up[level](features)) + skips[level]
            features = self.decoder[level](features)
        heads = depth_to_space(self.leave(features))
        mean, contrast, evidence = heads[:, 0:1], heads[:, 1:2], heads[:, 2:3]
        # |evidence| below the line bounds the logit where the neighbourhood is empty, without a scale of its own
        logit = 8.0 * evidence / (local_level(x) + 0.25 * evidence.abs() + 1e-20) + self.evidence_offset
        return torch.cat((mean, contrast, logit), dim=1)


def local_level(x: torch.Tensor) -> torch.Tensor:
    """Mean magnitude in a window of 5 x 9 x 9 voxels, to which evidence is relative; same shape."""
    window = F.avg_pool3d(x.abs(), (5, 1, 1), stride=1, padding=(2, 0, 0))
    window = F.avg_pool3d(window, (1, 9, 1), stride=1, padding=(0, 4, 0))
    return F.avg_pool3d(window, (1, 1, 9), stride=1, padding=(0, 0, 4))
