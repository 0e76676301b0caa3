r"""CycleGAN: translation between two sets of images of different patients, held to keep amounts.

Two generators, G from source to target and F back, and two discriminators [Zhu2017]_:

.. math:: L = L_{GAN}(G) + L_{GAN}(F) + \lambda (|F(G(x)) - x| + |G(F(y)) - y|) + \lambda_i |G(y) - y|

with discriminators that also see synthetic images of the past [Shrivastava2017]_. Nothing in this keeps an amount:
uptake can be moved, invented or lost as long as the way back is found, as is known of lesions [Cohen2018]_. Here the
means of small blocks are therefore held as well: to those of the source, where it shares a unit with the target, and
else, as sets, to those of real targets. That narrows what can go wrong, and excludes little of it: an answer from
unpaired images is never evidence of uptake in one patient.

References
----------
.. [Zhu2017] J.-Y. Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks,
   ICCV 2017.
.. [Shrivastava2017] A. Shrivastava et al., Learning from simulated and unsupervised images through adversarial
   training, CVPR 2017.
.. [Cohen2018] J. P. Cohen et al., Distribution matching losses can hallucinate features in medical image translation,
   MICCAI 2018.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.core.errors import InputError
from nmsynth.models.method import Method, MethodBatch, MethodSetting, regression_loss, with_constant_channels
from nmsynth.models.patch_gan import ADVERSARIAL_MOMENTUM, GanLoss, PatchGAN, discriminator_loss, generator_loss
from nmsynth.models.residual_unet import Attention, unet_for


class ImageHistory(nn.Module):
    """Synthetic images of the past, so that a discriminator does not forget them; kept in checkpoints.

    Parameters
    ----------
    size
        Images kept; 0 for none.
    shape
        Of one image, ``(channel, ...)``.
    """

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros((size, *shape)))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.images: torch.Tensor
        self.count: torch.Tensor

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(batch, channel, ...)``, half of them exchanged for kept ones once the history is full."""
        size = len(self.images)
        if size == 0 or not self.training:
            return images
        mixed = images.clone()
        for n, image in enumerate(images):
            if int(self.count) < size:
                self.images[int(self.count)] = image
                self.count += 1
            elif torch.rand(()) < 0.5:
                k = int(torch.randint(size, ()))
                mixed[n] = self.images[k]
                self.images[k] = image
        return mixed


class CycleGAN(Method):
    """Cycle-consistent adversarial networks for unpaired images.

    Parameters
    ----------
    setting
        As the plan decides. Conditions describe the source; a target is brought back to a source of those conditions.
    cycle
        Weight of the way there and back against the adversarial losses. All terms are divided by it, so that the loss
        is of the size of an error.
    identity
        Weight against the adversarial losses of ``|G(y) - y|`` and ``|F(x) - x|``, where the source is one channel.
    preservation
        Weight against the adversarial losses of the means of blocks.
    block
        Side of a block [voxels]; an axis that is shorter is averaged whole.
    gan_loss
        ``least-squares``, which is the paper's, ``hinge`` or ``cross-entropy``.
    history
        Synthetic images kept for each discriminator.
    attention
        Of both generators: ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level of a generator.
    discriminator_channels
        Width of a discriminator's first layer.
    paired
        Whether source and target of a batch are of one patient. Needed where conditions also say what the target is,
        such as its tracer: of two patients drawn apart they would say it of the wrong one.
    supervision
        Weight against the adversarial losses of the absolute error, for pairs only.
    for_training
        Whether there are the generator back and the discriminators, which need MONAI.
    """

    paired = False
    momentum = ADVERSARIAL_MOMENTUM

    def __init__(
        self,
        setting: MethodSetting,
        *,
        cycle: float = 10.0,
        identity: float = 5.0,
        preservation: float = 10.0,
        block: int = 8,
        gan_loss: GanLoss = "least-squares",
        history: int = 50,
        attention: Attention = "none",
        n_blocks: int = 1,
        discriminator_channels: int = 32,
        paired: bool = False,
        supervision: float = 0.0,
        for_training: bool = True,
    ) -> None:
        super().__init__(setting)
        if supervision and not paired:
            raise InputError("An absolute error needs pairs; supervision is asked for without. Set paired to true.")
        self.paired = paired
        n = setting.n_sources
        self.weights = {"cycle": cycle, "identity": identity if n == 1 else 0.0, "preservation": preservation}
        self.weights["supervision"] = supervision
        self.block = block
        self.gan_loss: GanLoss = gan_loss
        self.generator = unet_for(setting, n, 1, attention=attention, n_blocks=n_blocks)
        if for_training:
            n_judged = n + setting.n_conditions
            self.inverse = unet_for(setting, 1, n, attention=attention, n_blocks=n_blocks)
            self.judge_target = PatchGAN(setting, 1, channels=discriminator_channels)
            self.judge_source = PatchGAN(setting, n_judged, channels=discriminator_channels)
            self.past_targets = ImageHistory(history, (1, *setting.patch))
            self.past_sources = ImageHistory(history, (n_judged, *setting.patch))

    def groups(self, stage: str) -> dict[str, list[nn.Parameter]]:
        """Both generators, then both discriminators."""
        del stage
        return {
            "generator": [*self.generator.parameters(), *self.inverse.parameters()],
            "discriminator": [*self.judge_target.parameters(), *self.judge_source.parameters()],
        }

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """What both generators pay, or what both discriminators pay."""
        del stage
        return self._of_generators(batch) if group == "generator" else self._of_discriminators(batch)

    def _of_generators(self, batch: MethodBatch) -> dict[str, torch.Tensor]:
        """Adversarial, cycle, identity and preservation terms; the weights of a batch are those of its source."""
        source, target, condition = batch["source"].float(), batch["target"].float(), batch["condition"]
        weight = batch["weight"].float()
        to_target, to_source = self(source, condition).float(), self._back(target, condition)
        there = self.judge_target(to_target)[-1]
        back = self.judge_source(with_constant_channels(to_source, condition))[-1]
        cycle_source = (self._back(to_target, condition) - source).abs().mean(dim=1, keepdim=True)
        cycle_target = (self(to_source, condition).float() - target).abs()
        terms = {
            "adversarial": generator_loss(there, self.gan_loss) + generator_loss(back, self.gan_loss),
            "cycle": regression_loss(cycle_source, torch.zeros_like(weight), weight) + cycle_target.mean(),
        }
        if self.weights["identity"]:
            of_target = (self(target, condition).float() - target).abs().mean()
            terms["identity"] = of_target + (self._back(source, condition) - source).abs().mean()
        if self.weights["preservation"]:
            terms["preservation"] = self._preservation(to_target, source, target, weight)
        if self.weights["supervision"]:
            terms["supervision"] = regression_loss(to_target, target, weight)
        largest = max(1.0, self.weights["cycle"])
        total = sum(self.weights.get(name, 1.0) * term for name, term in terms.items())
        return {"total": torch.as_tensor(total) / largest, **terms}

    def _of_discriminators(self, batch: MethodBatch) -> dict[str, torch.Tensor]:
        """Adversarial losses against images of now and of the past."""
        source, target, condition = batch["source"].float(), batch["target"].float(), batch["condition"]
        with torch.no_grad():
            to_target = self.past_targets(self(source, condition).float())
            to_source = self.past_sources(with_constant_channels(self._back(target, condition), condition))
        real_source = with_constant_channels(source, condition)
        of_target = discriminator_loss(self.judge_target(target)[-1], self.judge_target(to_target)[-1], self.gan_loss)
        of_source = discriminator_loss(
            self.judge_source(real_source)[-1], self.judge_source(to_source)[-1], self.gan_loss
        )
        return {"total": of_target + of_source, "of_target": of_target, "of_source": of_source}

    def _back(self, target: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """A source for a target, ``(batch, source, ...)``; its residual is to the channel that shares the unit."""
        found: torch.Tensor = self.inverse(target, condition).float()
        if not self.setting.residual:
            return found
        centre = self.setting.context // 2
        return torch.cat((found[:, :centre], found[:, centre : centre + 1] + target, found[:, centre + 1 :]), dim=1)

    def _preservation(
        self, answer: torch.Tensor, source: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Distance of the means of blocks of the answer to those that are known."""
        means = block_means(answer, self.block)
        base = self.residual_base(source)
        if isinstance(base, torch.Tensor):
            known = block_means(base, self.block)
            return regression_loss(means, known, block_means(weight, self.block))
        return set_distance(means, block_means(target, self.block))

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The answer of the generator from source to target; noise is not used."""
        del noise
        answer: torch.Tensor = self.generator(source, condition) + self.residual_base(source)
        return answer

    def shipped(self) -> list[str]:
        """The generator from source to target."""
        return ["generator."]


def block_means(image: torch.Tensor, side: int) -> torch.Tensor:
    """Means over blocks of ``side`` voxels on every axis, ``(batch, channel, ...)``; incomplete blocks are left out."""
    kernel = [min(side, n) for n in image.shape[2:]]
    return F.avg_pool3d(image, kernel) if image.ndim == 5 else F.avg_pool2d(image, kernel)


def set_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How far two sets of as many numbers are apart: mean, standard deviation, and the numbers in order.

    The last is the Wasserstein distance of order 1.

    Examples
    --------
    >>> set_distance(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 2.0]))
    tensor(2.)
    """
    a, b = a.flatten(), b.flatten()
    spread = (a.std(correction=0) - b.std(correction=0)).abs()
    return (a.mean() - b.mean()).abs() + spread + (a.sort().values - b.sort().values).abs().mean()
