"""Conditional denoising diffusion: noise is turned into an image step by step, with the source beside it.

The target is noised to ``x_t = alpha_t x_0 + sigma_t eps`` [Ho2020]_ with a cosine schedule [Nichol2021]_ in continuous
time. A U-Net that sees ``x_t``, the source [Saharia2022]_ and ``t`` predicts ``v = alpha_t eps - sigma_t x_0``
[Salimans2022]_ or ``eps``. Samples are drawn without further noise [Song2021]_, so that one noise gives one answer.

References
----------
.. [Ho2020] J. Ho et al., Denoising diffusion probabilistic models, NeurIPS 2020.
.. [Nichol2021] A. Nichol, P. Dhariwal, Improved denoising diffusion probabilistic models, ICML 2021.
.. [Salimans2022] T. Salimans, J. Ho, Progressive distillation for fast sampling of diffusion models, ICLR 2022.
.. [Song2021] J. Song et al., Denoising diffusion implicit models, ICLR 2021.
.. [Saharia2022] C. Saharia et al., Palette: image-to-image diffusion models, SIGGRAPH 2022.
.. [Hang2023] T. Hang et al., Efficient diffusion training via min-SNR weighting strategy, ICCV 2023.
.. [Kingma2021] D. Kingma et al., Variational diffusion models, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch

from nmsynth.core.errors import InputError
from nmsynth.models.method import Method, MethodBatch, MethodSetting, weighted_mean
from nmsynth.models.residual_unet import Attention, unet_for
from nmsynth.models.running_scale import RunningScale

OFFSET = 0.008
"""s of the cosine schedule: so that noise does not begin too slowly."""

TIME_SCALE = 1000.0
"""Times of 0 to 1 are told to networks as 0 to 1000, the range that sinusoids are made for."""

Prediction = Literal["v", "eps"]
Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cosine_schedule(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``alpha_t`` and ``sigma_t``, with ``alpha_t^2 + sigma_t^2 = 1`` [Nichol2021]_, eq. 17.

    ``alpha_t^2 = f(t) / f(0)``, ``f(t) = cos^2(pi/2 (t + s) / (1 + s))``; 1 at time 0 and 0 at time 1.
    """
    angle = (time + OFFSET) / (1 + OFFSET) * (math.pi / 2)
    alpha = (angle.cos() / math.cos(OFFSET / (1 + OFFSET) * math.pi / 2)).clamp(0.0, 1.0)
    return alpha, (1 - alpha.square()).clamp_min(0.0).sqrt()


def draw_times(n: int, device: torch.device) -> torch.Tensor:
    """Times in 0 to 1, uniform but evenly spread over a batch [Kingma2021]_; ``(n,)``."""
    return (torch.rand(1, device=device) + torch.arange(n, device=device) / n) % 1.0


def along(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One number a patch, shaped to multiply images, ``(batch, 1, ...)``."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def ddim(denoiser: Denoiser, noise: torch.Tensor, n_steps: int, *, first_time: float = 1.0) -> torch.Tensor:
    """DDIM without added noise [Song2021]_, eq. 12 with ``sigma = 0``.

    Parameters
    ----------
    denoiser
        Estimate of ``x_0`` from ``x_t`` and the time, ``(batch,)``.
    noise
        Standard normal, shape of the image.
    n_steps
        Steps, and calls of the denoiser.
    first_time
        Where it starts; less than 1 where the denoiser divides by ``alpha_t``.
    """
    times = torch.linspace(first_time, 0.0, n_steps + 1, device=noise.device)
    x = noise
    for time, following in pairwise(times):
        alpha, sigma = cosine_schedule(time)
        x0 = denoiser(x, time.expand(len(x)))
        eps = (x - alpha * x0) / sigma
        alpha, sigma = cosine_schedule(following)
        x = alpha * x0 + sigma * eps
    return x


def min_snr_weight(
    alpha: torch.Tensor, sigma: torch.Tensor, gamma: float | None, prediction: Prediction
) -> torch.Tensor:
    """Weight of a time: that of ``x_0``, ``min(snr, gamma)``, over that which the prediction has [Hang2023]_."""
    if gamma is None:
        return torch.ones_like(alpha)
    snr = (alpha / sigma.clamp_min(1e-4)).square()
    least = 1e-8  # at time 1 a signal of nothing: its weight is that of the limit
    return snr.clamp(least, gamma) / (snr + 1 if prediction == "v" else snr.clamp_min(least))


class DenoisingDiffusion(Method):
    """Conditional diffusion in image space: the sharpest and the slowest, a network evaluation a step.

    Parameters
    ----------
    setting
        As the plan decides; where it asks for a residual, that is what is diffused.
    prediction
        What the network gives, ``v`` or ``eps``. The errors of ``eps`` are magnified by ``sigma_t / alpha_t`` in
        ``x_0``, so that short trainings fail: after 400 steps on a tiny set, 1.1 of the error of a constant against
        0.1 of ``v``.
    sampling_steps
        Network evaluations of an answer.
    residual_scale
        What a target (or residual) is divided by; measured where it is not given.
    min_snr
        ``gamma`` of the min-SNR weights, such as 5; all times alike where it is not given.
    attention, n_blocks
        As of :class:`~nmsynth.models.residual_unet.UNet`.
    """

    stochastic = True

    def __init__(
        self,
        setting: MethodSetting,
        *,
        prediction: Prediction = "v",
        sampling_steps: int = 25,
        residual_scale: float | None = None,
        min_snr: float | None = None,
        attention: Attention = "none",
        n_blocks: int = 1,
    ) -> None:
        super().__init__(setting)
        if prediction not in ("v", "eps"):
            raise InputError(f"The prediction of a diffusion must be 'v' or 'eps'; found '{prediction}'.")
        self.prediction = prediction
        self.sampling_steps = sampling_steps
        self.min_snr = min_snr
        self.scale = RunningScale(residual_scale)
        self.network = unet_for(setting, setting.n_sources + 1, 1, timed=True, attention=attention, n_blocks=n_blocks)

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Squared error of ``v`` or ``eps``."""
        del group, stage
        source, weight = batch["source"], batch["weight"]
        clean = batch["target"] - self.residual_base(source)
        self.scale.observe(clean, weight)
        x0 = self.scale.encode(clean)
        time = draw_times(len(x0), x0.device)
        eps = torch.randn_like(x0)
        alpha, sigma = (along(a, x0) for a in cosine_schedule(time))
        x = alpha * x0 + sigma * eps
        wanted = alpha * eps - sigma * x0 if self.prediction == "v" else eps
        error = (self._predict(x, source, batch["condition"], time) - wanted).square()
        return {"total": weighted_mean(error * min_snr_weight(alpha, sigma, self.min_snr, self.prediction), weight)}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """A sample by DDIM; no noise is noise of zero, which gives no likely image."""
        if noise is None:
            noise = torch.zeros_like(source[:, :1])

        def denoiser(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            alpha, sigma = (along(a, x) for a in cosine_schedule(time))
            given = self._predict(x, source, condition, time)
            x0 = alpha * x - sigma * given if self.prediction == "v" else (x - sigma * given) / alpha
            return self.scale.clip(x0)

        first_time = 1.0 if self.prediction == "v" else 0.98
        x0 = ddim(denoiser, noise, self.sampling_steps, first_time=first_time)
        return self.scale.decode(x0) + self.residual_base(source)

    def _predict(
        self, x: torch.Tensor, source: torch.Tensor, condition: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """What the network gives, in single precision."""
        out: torch.Tensor = self.network(torch.cat((x, source), dim=1), condition, TIME_SCALE * time)
        return out.float()
