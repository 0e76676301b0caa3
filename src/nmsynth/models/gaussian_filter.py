r"""A Gaussian whose width is learned: the filter that is in use everywhere, as a model like any other.

The answer is the first source, convolved with a Gaussian along each axis. Its standard deviations are learned, and
follow what the network is told: of a condition c, such as the logarithm of the counts, ``σ = σ_0 exp(a c)``. With the
squared error this is the best filter of its kind over the training patients, which any network must beat; where none
does, it is what a task should offer.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.models.method import Method, MethodBatch, MethodSetting, regression_loss

LARGEST_SIGMA = 6.0
"""Of the filter [voxels]; wider ones leave no image."""
REACH = 3.0
"""Standard deviations after which the kernel ends."""


class GaussianFilter(Method):
    """Gaussian filter of the first source with learned widths.

    Parameters
    ----------
    setting
        As the plan decides; in 2.5D the central slice is filtered in its plane.
    sigma
        Standard deviation to begin with, along every axis [voxels].
    loss
        ``l2``, ``l1``, ``huber`` or ``counts``; see :func:`~nmsynth.models.method.regression_loss`.
    """

    def __init__(self, setting: MethodSetting, *, sigma: float = 1.0, loss: str = "l2") -> None:
        super().__init__(setting)
        self.loss = loss
        self.log_sigma = nn.Parameter(torch.full((setting.spatial_dims,), math.log(sigma)))
        self.slope = nn.Parameter(torch.zeros(setting.n_conditions, setting.spatial_dims))

    def sigmas(self, condition: torch.Tensor) -> torch.Tensor:
        """Standard deviations for conditions, ``(batch, axis)`` [voxels]."""
        return (self.log_sigma + condition.float() @ self.slope).exp().clamp(1e-2, LARGEST_SIGMA)

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Error of the filtered image."""
        del group, stage
        answer = self(batch["source"], batch["condition"])
        return {"total": regression_loss(answer, batch["target"].float(), batch["weight"].float(), kind=self.loss)}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The filtered source; noise is not used."""
        del noise
        image = self.first_source(source).float()
        for axis, sigma in enumerate(self.sigmas(condition).unbind(1)):
            image = _convolved(image, sigma, 2 + axis)
        return image


def _convolved(image: torch.Tensor, sigma: torch.Tensor, axis: int) -> torch.Tensor:
    """An image ``(batch, 1, ...)``, convolved along an axis by a Gaussian for each of the batch; borders go on."""
    reach = math.ceil(REACH * LARGEST_SIGMA)
    places = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = (-0.5 * (places / sigma[:, None]).square()).exp()
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    lines = image.movedim(axis, -1)
    shape = lines.shape
    # (batch, 1, ..., n) -> (line, batch, n): a group for each of the batch, as each has its kernel
    flat = lines.reshape(shape[0], -1, shape[-1]).movedim(0, 1)
    padded = F.pad(flat, (reach, reach), mode="replicate")
    filtered = F.conv1d(padded, kernel[:, None], groups=shape[0])
    return filtered.movedim(0, 1).reshape(shape).movedim(-1, axis)
