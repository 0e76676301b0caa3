r"""Conditional variational autoencoder with one code for the whole image: what a source leaves open about a subject.

An anatomy says little about how much of a tracer a subject's cortex takes up, but that which it leaves open is common
to the whole image: whether there are plaques, how far a disease has come, which regions a subject favours. So the
latents z are one vector, as in [Sohn2015]_ and [Kohl2018]_, and not a map. A prior p(z|x) and, in training, a posterior
q(z|x, y) are Gaussians from a pooled encoding; a U-Net p(y|x, z) is told z as channels and by feature-wise modulation
[Perez2018]_:

.. math:: -\log p(y|x) \le E_q[-\log p(y|x, z)] + KL(q(z|x, y) \| p(z|x))

Voxels of an image do not err by themselves: a region is off as one. The likelihood counts N voxels as N / c
observations, c being how many err together, so that with a Laplace likelihood of scale b the bound, times b and per
observation, is the mean absolute error plus b c / N times the divergence. The divergence is warmed up [Sonderby2016]_
and free below a few hundredths of a nat [Kingma2016]_; the posterior begins narrow, lest the code be noise that the
decoder learns not to hear.

A sample is the image of one draw of z, so that samples differ as subjects of one anatomy do. The plan's patch should
hold what is to be known of a subject, such as the head: the code of an image is found in one patch about its middle,
and all windows are decoded by it.
Networks see blocks of 2 x 2 x 2 voxels as channels of one [Shi2016]_: the voxels of a PET are finer than what it
resolves, and a whole head costs an eighth.

References
----------
.. [Sohn2015] K. Sohn et al., Learning structured output representation using deep conditional generative models,
   NeurIPS 2015.
.. [Kohl2018] S. Kohl et al., A probabilistic U-Net for segmentation of ambiguous images, NeurIPS 2018.
.. [Perez2018] E. Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI 2018.
.. [Shi2016] W. Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel convolutional
   neural network, CVPR 2016.
.. [Sonderby2016] C. K. Sonderby et al., Ladder variational autoencoders, NeurIPS 2016.
.. [Kingma2016] D. P. Kingma et al., Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import nn

from nmsynth.core.errors import InputError
from nmsynth.models.conditional_vae import LOG_SIGMA_RANGE, Variational, divergence, drawn
from nmsynth.models.method import MethodBatch, MethodSetting, regression_loss, with_constant_channels
from nmsynth.models.residual_unet import (
    Attention,
    ResidualBlock,
    convolution,
    normalisation,
    pad_to_multiple,
    unet_for,
)

WHOLE = 1 << 20
"""Voxels of an image for one of the noise: more than any image has along an axis."""
NARROW = -2.0
"""Logarithm of the posterior's standard deviation at the beginning."""
FOLD = 2
"""Voxels along each axis of a block that becomes channels."""


def folded(x: torch.Tensor) -> torch.Tensor:
    """Blocks of voxels as channels: ``(batch, channel, z, y, x)`` to ``(batch, 8 channel, z/2, y/2, x/2)``, rounded up.

    What an odd size lacks repeats the border.
    """
    x = pad_to_multiple(x, [(FOLD,) * 3])
    batch, channels, *sizes = x.shape
    z, y, x_ = (n // FOLD for n in sizes)
    blocks = x.reshape(batch, channels, z, FOLD, y, FOLD, x_, FOLD)
    # (b, c, z, 2, y, 2, x, 2) -> (b, c, 2, 2, 2, z, y, x)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * FOLD**3, z, y, x_)


def unfolded(x: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """The image of :func:`folded` blocks, ``(batch, channel, *sizes)``.

    Examples
    --------
    >>> image = torch.arange(2 * 3 * 5.0).reshape(1, 1, 2, 3, 5)
    >>> torch.equal(unfolded(folded(image), (2, 3, 5)), image)
    True
    """
    batch, channels, z, y, x_ = x.shape
    blocks = x.reshape(batch, channels // FOLD**3, FOLD, FOLD, FOLD, z, y, x_)
    # (b, c, 2, 2, 2, z, y, x) -> (b, c, z, 2, y, 2, x, 2)
    image = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, -1, z * FOLD, y * FOLD, x_ * FOLD)
    return image[:, :, : sizes[0], : sizes[1], : sizes[2]]


class CodeEncoder(nn.Module):
    """A Gaussian for each number of a code, from folded images that are encoded and pooled."""

    def __init__(self, setting: MethodSetting, n_in: int, n_latents: int, *, log_sigma: float = 0.0) -> None:
        super().__init__()
        widths = setting.channels
        self.strides: list[tuple[int, ...]] = [(2, 2, 2)] * (len(widths) - 1)
        self.enter = convolution(3, n_in, widths[0])
        self.blocks = nn.ModuleList(ResidualBlock(3, c, c, 0) for c in widths)
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.leave = nn.Sequential(normalisation(widths[-1]), nn.SiLU())
        self.regard = convolution(3, widths[-1], 1, kernel=1)
        self.code = nn.Linear(widths[-1], 2 * n_latents)
        nn.init.zeros_(self.code.bias)
        nn.init.constant_(self.code.bias[n_latents:], log_sigma)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the standard deviation, each ``(batch, latent)``."""
        features = self.enter(pad_to_multiple(x, self.strides))
        for block, down in zip(self.blocks, self.down, strict=False):
            features = down(block(features, None))
        features = self.leave(self.blocks[-1](features, None))
        # by attention, so that a wider field of view with nothing in it changes little
        regard = self.regard(features).float().flatten(2).softmax(dim=2)
        pooled = (features.float().flatten(2) * regard).sum(dim=2)
        mean, log_sigma = self.code(pooled).chunk(2, dim=1)
        return mean, log_sigma.clamp(*LOG_SIGMA_RANGE)


class SubjectVAE(Variational):
    """Conditional variational autoencoder with a learned prior and one code an image.

    Parameters
    ----------
    setting
        As the plan decides; in 3D, with a patch that holds the subject.
    n_latents
        Numbers of the code.
    scale
        Scale b of the likelihood [normalised units]: the absolute error that the code need not explain.
    together
        c, voxels that err as one.
    warmup
        Calls of :meth:`losses` over which the weight of the divergence rises from 0 to 1.
    free_nats
        Divergence of each number [nat] that is not punished.
    attention
        ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level of the U-Net.
    for_training
        Whether there is a posterior.

    Raises
    ------
    InputError
        If the plan is not in 3D: every slice would have a code of its own.
    """

    whole_image = True

    def __init__(
        self,
        setting: MethodSetting,
        *,
        n_latents: int = 12,
        scale: float = 0.03,
        together: float = 300.0,
        warmup: int = 500,
        free_nats: float = 0.02,
        attention: Attention = "none",
        n_blocks: int = 1,
        for_training: bool = True,
    ) -> None:
        super().__init__(setting)
        if setting.spatial_dims != 3:
            raise InputError(
                "One code for the whole image needs a network of three dimensions; the plan works slice by slice. Set "
                "dimensions to 3d, with a patch that holds the subject."
            )
        self.noise_channels, self.noise_stride = n_latents, WHOLE
        self.scale, self.together, self.warmup, self.free_nats = scale, together, warmup, free_nats
        block = FOLD**3
        n_told = block * setting.n_sources + setting.n_conditions
        self.prior = CodeEncoder(setting, n_told, n_latents)
        told = replace(
            setting, n_conditions=setting.n_conditions + n_latents, patch=tuple(-(-n // FOLD) for n in setting.patch)
        )
        n_in = block * setting.n_sources + n_latents
        self.decoder = unet_for(told, n_in, block, attention=attention, n_blocks=n_blocks)
        if for_training:
            self.posterior = CodeEncoder(setting, n_told + block, n_latents, log_sigma=NARROW)
            self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """The bound, warmed up."""
        del group, stage
        source, condition, target = batch["source"], batch["condition"], batch["target"].float()
        told = with_constant_channels(folded(source), condition)
        prior, posterior = self.prior(told), self.posterior(torch.cat((told, folded(target)), dim=1))
        code = drawn(posterior, torch.randn_like(posterior[0]))
        weight = batch["weight"].float()
        error = regression_loss(self.decode(source, condition, code).float(), target, weight)
        kl = divergence(posterior, prior)
        observations = weight.sum() / (len(weight) * self.together)
        rate = kl.clamp_min(self.free_nats).sum() / observations.clamp_min(1.0)
        return {"total": error + self._warm() * self.scale * rate, "posterior_error": error, "kl": kl.sum()}

    def code(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Drawn from the prior by noise; its mean without any, or for zeros."""
        prior = self.prior(with_constant_channels(folded(source), condition))
        return prior[0] if noise is None else drawn(prior, noise.flatten(2).mean(dim=2))

    def decode(self, source: torch.Tensor, condition: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """The image for a source and a code."""
        # as channels too: modulation begins at nothing, and a code that nothing hears dies before it is of use
        told = torch.cat((condition, code.to(condition.dtype)), dim=1)
        blocks = self.decoder(with_constant_channels(folded(source), code), told)
        return unfolded(blocks, tuple(source.shape[2:])) + self.residual_base(source)

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """A sample for noise, and what the prior's mean decodes to without any, or for zeros."""
        return self.decode(source, condition, self.code(source, condition, noise))
