r"""Cascade: a coarse network at half the resolution, then a fine one that sees its answer; both may mark hot spots.

The coarse network sees much of the body at once and decides where uptake is; the fine one is given its answer beside
the source and learns what is missing. Where a dataset has labels of lesions, both are also asked which voxels belong to
one [Caruana1997]_, so that small foci count for more than their share of the voxels:

.. math:: L = |\hat y - y| + \lambda (1 - \mathrm{Dice}(\hat m, m) + \mathrm{BCE}(\hat m, m))

The Dice coefficient is that of probabilities [Milletari2016]_. What the mask says is for training only: it is not given
out, and it is no detection of lesions. Regions of organs count as hot spots too where a dataset labels them; give such
masks another role.

References
----------
.. [Caruana1997] R. Caruana, Multitask learning, Machine Learning 28:41, 1997.
.. [Milletari2016] F. Milletari et al., V-Net: fully convolutional neural networks for volumetric medical image
   segmentation, 3DV 2016.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.models.method import Method, MethodBatch, MethodSetting, chosen_loss, regression_loss
from nmsynth.models.residual_unet import Attention, crop, level_strides, pad_to_multiple, unet_for


class Cascade(Method):
    """Coarse-to-fine regression with a second task: the mask of labelled regions.

    Parameters
    ----------
    setting
        As the plan decides.
    mask_weight
        Weight of the mask against the error; 0 for networks without it, which suits a dataset without labels: else they
        learn that nowhere is any. Batches that say nothing of labels have no such term.
    coarse_share
        Share of the steps that the coarse network takes; it is not changed after them.
    loss
        ``l1``, ``l2`` or ``huber``.
    attention
        Of both networks: ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level.
    """

    stages = ("coarse", "fine")

    def __init__(
        self,
        setting: MethodSetting,
        *,
        mask_weight: float = 0.1,
        coarse_share: float = 0.4,
        loss: str = "auto",
        attention: Attention = "none",
        n_blocks: int = 1,
    ) -> None:
        super().__init__(setting)
        self.stage_shares = (coarse_share, 1 - coarse_share)
        self.mask_weight = mask_weight
        self.loss = chosen_loss(loss, setting)
        self.stride = level_strides(setting.patch, 2)[0]
        halved = tuple(n // s for n, s in zip(setting.patch, self.stride, strict=True))
        coarse = MethodSetting(
            spatial_dims=setting.spatial_dims,
            n_conditions=setting.n_conditions,
            channels=setting.channels,
            patch=halved,
        )
        n_out = 2 if mask_weight else 1
        self.coarse = unet_for(coarse, setting.n_sources, n_out, attention=attention, n_blocks=n_blocks)
        self.fine = unet_for(setting, setting.n_sources + n_out, n_out, attention=attention, n_blocks=n_blocks)

    def groups(self, stage: str) -> dict[str, list[nn.Parameter]]:
        """The network of the stage."""
        network = self.coarse if stage == "coarse" else self.fine
        return {"network": list(network.parameters())}

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Error of the answer of the stage, and of its mask where there are labels."""
        del group
        source, condition = batch["source"], batch["condition"]
        target, weight, labels = batch["target"].float(), batch["weight"].float(), batch.get("labels")
        if stage == "coarse":
            halved = self._halved(source)
            found = self._with_base(self.coarse(halved, condition), halved).float()
            target, weight = self._halved(target), self._halved(weight)
            labels = None if labels is None else self._halved((labels > 0).float())
        else:
            with torch.no_grad():
                seen = self._seen(source, condition)
            found = self._fine(source, condition, seen).float()
        error = regression_loss(found[:, :1], target, weight, kind=self.loss)
        terms = {"error": error}
        if self.mask_weight and labels is not None:
            terms["mask"] = mask_loss(found[:, 1:], (labels > 0.5).float(), weight)
            return {"total": error + self.mask_weight * terms["mask"], **terms}
        return {"total": error, **terms}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The answer of the fine network; noise is not used."""
        del noise
        return self._fine(source, condition, self._seen(source, condition))[:, :1]

    def mask(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Probability that a voxel belongs to a labelled region, ``(batch, 1, ...)``; for looking at, not for use."""
        return torch.sigmoid(self._fine(source, condition, self._seen(source, condition))[:, 1:])

    def _halved(self, image: torch.Tensor) -> torch.Tensor:
        """Means over the strides of the coarse network; the far borders are repeated where they do not fit."""
        pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
        return pool(pad_to_multiple(image, [self.stride]), self.stride)

    def _seen(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """What the fine network is told by the coarse one, on its grid: the answer, and the mask as a probability."""
        found = self.coarse(self._halved(source), condition).float()
        mode = "trilinear" if source.ndim == 5 else "bilinear"
        sizes = [n * s for n, s in zip(found.shape[2:], self.stride, strict=True)]
        large = crop(F.interpolate(found, size=sizes, mode=mode, align_corners=False), tuple(source.shape[2:]))
        seen = torch.cat((large[:, :1], torch.sigmoid(large[:, 1:])), dim=1).to(source.dtype)
        return self._with_base(seen, source)

    def _fine(self, source: torch.Tensor, condition: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Answer, as a difference to the coarse one, and logits of the mask."""
        found: torch.Tensor = self.fine(torch.cat((source, seen), dim=1), condition)
        return torch.cat((found[:, :1] + seen[:, :1], found[:, 1:]), dim=1)

    def _with_base(self, found: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """The answer of a residual plan, which begins as the first source."""
        return torch.cat((found[:, :1] + self.residual_base(source), found[:, 1:]), dim=1)


def mask_loss(logits: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One minus the Dice coefficient of probabilities, plus the cross-entropy, where ``weight`` counts; shapes alike.

    Examples
    --------
    >>> mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    >>> round(float(mask_loss(1e3 * (2 * mask - 1), mask, torch.ones_like(mask))), 6)
    0.0
    """
    counted = (weight > 0).to(mask.dtype)
    probability = torch.sigmoid(logits) * counted
    overlap = 2 * (probability * mask).sum() + 1.0
    dice = overlap / (probability.sum() + (mask * counted).sum() + 1.0)
    entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    return 1 - dice + (entropy * counted).sum() / counted.sum().clamp_min(1.0)
