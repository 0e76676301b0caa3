"""Scale of what a generative family diffuses, measured while it trains.

Diffusion adds noise of standard deviation one, so that what it is added to must be of order one as well: of a residual
of a few hundredths nothing would be seen below the noise until the last steps. As the scale of latents in
[Rombach2022]_, it is measured on the first batches and then kept.

References
----------
.. [Rombach2022] R. Rombach et al., High-resolution image synthesis with latent diffusion models, CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import nn

from nmsynth.core.errors import InputError
from nmsynth.models.method import weighted_mean

N_BATCHES = 200
"""Batches that a scale is measured on; it then stays, so that a training settles."""


class RunningScale(nn.Module):
    """Root mean square and range of a quantity.

    All is kept in buffers, which go with the weights. They settle, so that an average of the weights may average them.

    Parameters
    ----------
    fixed
        The scale, where it is known; else it is measured.
    """

    square: torch.Tensor
    n_seen: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, fixed: float | None = None) -> None:
        super().__init__()
        if fixed is not None and not fixed > 0:
            raise InputError(f"The scale of a residual must be positive; found {fixed}. Leave it out to measure it.")
        self.fixed = fixed
        self.register_buffer("square", torch.tensor(1.0 if fixed is None else fixed**2))
        self.register_buffer("n_seen", torch.tensor(0))
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))

    @property
    def scale(self) -> torch.Tensor:
        """The root mean square so far, a scalar."""
        return self.square.sqrt().clamp_min(1e-6)

    @torch.no_grad()
    def observe(self, x: torch.Tensor, weight: torch.Tensor) -> None:
        """Take one batch into account; ``weight`` is broadcast over channels, and zero where nothing is known."""
        if not self.training:
            return
        x, weight = x.float(), weight.float().expand_as(x)
        if self.fixed is None and self.n_seen < N_BATCHES:
            share = 1.0 / (self.n_seen + 1)
            self.square.lerp_(weighted_mean(x.square(), weight), share)
        self.n_seen += 1
        known = torch.where(weight > 0, x, 0.0)
        self.low.copy_(torch.minimum(self.low, known.min()))
        self.high.copy_(torch.maximum(self.high, known.max()))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """In units of the scale."""
        return x / self.scale

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """Out of units of the scale."""
        return x * self.scale

    def clip(self, x: torch.Tensor) -> torch.Tensor:
        """Keep an estimate, in units of the scale, within twice the range that was seen.

        A sampler that has left the data behind is so kept from running away; hot lesions beyond what was seen pass.
        """
        margin = (self.high - self.low) / 2
        if not margin > 0:
            return x
        return x.clamp(self.encode(self.low - margin), self.encode(self.high + margin))
