r"""Pix2pix: a U-Net taught by the absolute error and by a discriminator that sees the source beside the image.

.. math:: G^* = \arg\min_G \max_D L_{GAN}(G, D) + \lambda L_1(G), \quad \lambda = 100

[Isola2017p]_. There is no noise: with it the paper's generator learned to ignore it. One source so has one answer, and
what the discriminator cannot tell from real texture is invented texture: do not read noise or small foci from it.

References
----------
.. [Isola2017p] P. Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017.
"""

from __future__ import annotations

import torch

from nmsynth.models.method import Method, MethodBatch, MethodSetting, regression_loss, with_constant_channels
from nmsynth.models.patch_gan import (
    ADVERSARIAL_MOMENTUM,
    GanLoss,
    PatchGAN,
    discriminator_loss,
    feature_distance,
    generator_loss,
)
from nmsynth.models.residual_unet import Attention, unet_for


class Pix2Pix(Method):
    """Conditional generative adversarial network for paired images.

    Parameters
    ----------
    setting
        As the plan decides.
    l1
        Weight of the absolute error against the adversarial loss. All terms are divided by it, so that the loss is of
        the size of the error.
    gan_loss
        ``least-squares``, ``hinge`` or ``cross-entropy``, which is the paper's.
    feature_matching
        Weight against the adversarial loss of the distance between a real and a synthetic image in the features of
        the discriminator; 10 in pix2pixHD, 0 for none.
    attention
        ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level of the generator.
    discriminator_channels
        Width of the discriminator's first layer.
    for_training
        Whether there is a discriminator, which needs MONAI.
    """

    momentum = ADVERSARIAL_MOMENTUM

    def __init__(
        self,
        setting: MethodSetting,
        *,
        l1: float = 100.0,
        gan_loss: GanLoss = "least-squares",
        feature_matching: float = 0.0,
        attention: Attention = "none",
        n_blocks: int = 1,
        discriminator_channels: int = 32,
        for_training: bool = True,
    ) -> None:
        super().__init__(setting)
        self.l1 = l1
        self.gan_loss: GanLoss = gan_loss
        self.feature_matching = feature_matching
        self.generator = unet_for(setting, setting.n_sources, 1, attention=attention, n_blocks=n_blocks)
        if for_training:
            n_judged = setting.n_sources + setting.n_conditions + 1
            self.discriminator = PatchGAN(setting, n_judged, channels=discriminator_channels)

    def groups(self, stage: str) -> dict[str, list[torch.nn.Parameter]]:
        """Generator, then discriminator."""
        del stage
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Error and adversarial loss of the generator, or the adversarial loss of the discriminator."""
        del stage
        if group == "discriminator":
            with torch.no_grad():
                fake = self(batch["source"], batch["condition"])
            return {
                "total": discriminator_loss(
                    self._judge(batch, batch["target"])[-1], self._judge(batch, fake)[-1], self.gan_loss
                )
            }
        fake = self(batch["source"], batch["condition"]).float()
        error = regression_loss(fake, batch["target"].float(), batch["weight"].float())
        features = self._judge(batch, fake)
        adversarial = generator_loss(features[-1], self.gan_loss)
        terms = {"l1": error, "adversarial": adversarial}
        total = error + adversarial / self.l1
        if self.feature_matching:
            with torch.no_grad():
                real = self._judge(batch, batch["target"])
            terms["features"] = feature_distance(real, features)
            total = total + self.feature_matching / self.l1 * terms["features"]
        return {"total": total, **terms}

    def _judge(self, batch: MethodBatch, image: torch.Tensor) -> list[torch.Tensor]:
        """Features and verdict on an image beside its source, blank where nothing counts."""
        seen = with_constant_channels(batch["source"], batch["condition"])
        blanked = image.float() * (batch["weight"] > 0)
        features: list[torch.Tensor] = self.discriminator(torch.cat((seen.float(), blanked), dim=1))
        return features

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The generator's answer; noise is not used."""
        del noise
        answer: torch.Tensor = self.generator(source, condition) + self.residual_base(source)
        return answer

    def shipped(self) -> list[str]:
        """The generator."""
        return ["generator."]
