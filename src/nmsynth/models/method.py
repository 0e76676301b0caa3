"""What every family of models offers to training and to synthesis, so that one loop serves them all.

A :class:`Method` is a network with the way it learns and the way it answers. Training asks it for the losses of each
group of parameters (one group for most; generator and discriminator for an adversarial one) and steps one optimiser a
group; synthesis asks it for an answer. Both work on normalised patches, ``(batch, channel, z, y, x)`` in 3D and
``(batch, channel, y, x)`` in 2D, and know nothing of files, units or tiles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

import torch
from torch import nn
from torch.nn import functional as F

from nmsynth.core.errors import InputError


class MethodBatch(TypedDict):
    """One batch of normalised patches; spatial axes are ``(z, y, x)``, or ``(y, x)`` in 2D."""

    source: torch.Tensor
    """Shape ``(batch, source, ...)``; in 2.5D the slices of each source are channels, source by source."""
    target: torch.Tensor
    """Shape ``(batch, 1, ...)``; of another patient where the plan is for unpaired images."""
    condition: torch.Tensor
    """Shape ``(batch, condition)``."""
    weight: torch.Tensor
    """Shape ``(batch, 1, ...)``: what a voxel counts, 1 in the body, 0 where an image has no field of view."""
    labels: NotRequired[torch.Tensor]
    """Shape ``(batch, 1, ...)``: number of the lesion or organ of a voxel, 0 for none."""


@dataclass(frozen=True, slots=True)
class MethodSetting:
    """What a plan decides for every family."""

    spatial_dims: int = 3
    """2 or 3."""
    n_sources: int = 1
    """Channels of the source, slices of a 2.5D context included."""
    n_conditions: int = 0
    channels: tuple[int, ...] = (16, 32, 64)
    """Width of each level, finest first."""
    patch: tuple[int, ...] = (16, 64, 64)
    """Size of a training patch, from which the levels of each axis follow."""
    context: int = 1
    """Slices of each source that are channels, in 2.5D."""
    residual: bool = False
    """Whether the answer is the first source's central slice plus what the network gives."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class Method(nn.Module):
    """Base of every family.

    Attributes
    ----------
    stochastic
        Whether :meth:`forward` depends on noise, so that samples differ.
    stages
        Trainings that follow one another, such as autoencoder and diffusion.
    stage_shares
        Share of the optimiser steps that each stage takes.
    noise_channels, noise_stride
        Noise that one answer takes: channels, and voxels of the image for one of the noise, along every axis or each.
    paired
        Whether source and target of a batch must show one patient in one place.
    momentum
        Decay of the gradient's average in AdamW.
    whole_image
        Whether what is common to an image is drawn once for all of it, its :meth:`code`.
    rebuilding_stages
        Stages after which there is no answer yet: they are judged by how :meth:`reconstruct` gives targets back.
    """

    stochastic: bool = False
    stages: tuple[str, ...] = ("main",)
    stage_shares: tuple[float, ...] = (1.0,)
    noise_channels: int = 1
    noise_stride: int | tuple[int, ...] = 1
    paired: bool = True
    momentum: float = 0.9
    whole_image: bool = False
    rebuilding_stages: tuple[str, ...] = ()

    def __init__(self, setting: MethodSetting) -> None:
        super().__init__()
        self.setting = setting

    def groups(self, stage: str) -> dict[str, list[nn.Parameter]]:
        """Parameters that one optimiser each steps, in the order in which they are stepped."""
        del stage
        return {"network": [p for p in self.parameters() if p.requires_grad]}

    def noise_shape(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Channels and sizes of the noise for an image of these sizes.

        Examples
        --------
        >>> method = Method(MethodSetting())
        >>> method.noise_channels, method.noise_stride = 4, (2, 4, 4)
        >>> method.noise_shape((15, 64, 66))
        (4, 8, 16, 17)
        """
        stride = self.noise_stride
        strides = (stride,) * len(sizes) if isinstance(stride, int) else stride
        return (self.noise_channels, *(-(-size // s) for size, s in zip(sizes, strides, strict=True)))

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Terms of the loss of a group, ``total`` among them; noise is drawn from torch's own generator."""
        raise NotImplementedError

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Answer for a source, ``(batch, 1, ...)``, normalised.

        Parameters
        ----------
        source
            Shape ``(batch, source, ...)``; any size.
        condition
            Shape ``(batch, condition)``.
        noise
            Standard normal, ``(batch, noise_channels, ...)`` with sizes divided by ``noise_stride``, rounded up; needed
            by stochastic families, where the same noise gives the same answer.
        """
        raise NotImplementedError

    def code(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """What is common to an image, ``(batch, number)``, found in one patch of it; of ``whole_image``."""
        raise NotImplementedError

    def decode(self, source: torch.Tensor, condition: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Answer for any part of an image by its code, ``(batch, 1, ...)``; of ``whole_image``."""
        raise NotImplementedError

    def reconstruct(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A target as the method can give it at best, both ``(batch, channel, ...)``; of rebuilding stages."""
        raise NotImplementedError

    def shipped(self) -> list[str]:
        """Prefixes of the parameters that an answer needs; the others stay in checkpoints."""
        return [""]

    def residual_base(self, source: torch.Tensor) -> torch.Tensor | float:
        """What a residual answer is added to: the first source, of a 2.5D one its central slice."""
        return self.first_source(source) if self.setting.residual else 0.0

    def first_source(self, source: torch.Tensor) -> torch.Tensor:
        """The first source, ``(batch, 1, ...)``; of a 2.5D one its central slice."""
        centre = self.setting.context // 2
        return source[:, centre : centre + 1]


COUNTS_FLOOR = 0.05
"""Added to what the loss ``counts`` divides by, normalised: where there is next to nothing, no noise is told."""


LEAST_ERROR = 1e-4
"""Least error of a source over which an answer's is taken, normalised: in air there is next to none."""


def weighted_mean(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of an error where it counts; shapes alike."""
    return (error * weight).sum() / weight.sum().clamp_min(1.0)


def regression_loss(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, *, kind: str = "l1"
) -> torch.Tensor:
    """Weighted mean absolute (``l1``), squared (``l2``), Huber (``huber``, from 1 on linear) or ``counts`` error.

    ``counts`` divides the square by what is predicted, as the variance of counts is their mean; no gradient goes
    through the divisor, so that the least error is still at the mean of what fits the source.
    """
    if kind == "counts":
        expected = prediction.detach().clamp_min(0.0) + COUNTS_FLOOR
        error = (prediction - target).square() / expected
    elif kind == "l1":
        error = (prediction - target).abs()
    elif kind == "l2":
        error = (prediction - target).square()
    else:
        error = F.huber_loss(prediction, target, reduction="none")
    return weighted_mean(error, weight)


def chosen_loss(loss: str, setting: MethodSetting) -> str:
    """The loss by its name; ``auto`` is ``l2`` for residuals, ``l1`` else.

    The squared error is least for the mean of what fits the source, the absolute error for its median. Noise of a
    reconstruction is skewed: its median lies below its mean, so that an activity learned by ``l1`` is too low. Between
    modalities, where the target's range is wide and its outliers cannot be known, the median is the better answer. The
    squared error is that of the brightest organs, whose noise is the largest; ``counts`` weighs all by their own noise.
    """
    return ("l2" if setting.residual else "l1") if loss == "auto" else loss


class Regression(Method):
    """A network that is taught the answer itself.

    Parameters
    ----------
    setting
        As the plan decides.
    network
        Takes ``(source, condition)``, or one tensor with the conditions as constant channels where ``plain``.
    loss
        ``l1``, ``l2``, ``huber``, ``counts`` or ``auto``; see :func:`chosen_loss`.
    plain
        Whether the network is any ``torch.nn.Module`` of one argument.
    emphasis, above
        What a voxel counts more than others whose target lies above a value, normalised: bones in a CT are few, and an
        error over all voxels leaves them soft.
    region_emphasis
        What a voxel of a labelled region counts more than others, wherever its patch was centred. Where it is not clear
        whether a lesion is there, the least error is a faint one; the more a lesion counts, the less it is faded.
    over_source_error
        Whether the error of each patch is taken over that of its source, of residual plans. Where scans of many and of
        few counts are learned at once, those of few rule a plain loss, and those of many are smoothed like them.

    Raises
    ------
    InputError
        If errors are to be taken over those of a source that is not on the target's scale.
    """

    def __init__(
        self,
        setting: MethodSetting,
        network: nn.Module,
        *,
        loss: str = "auto",
        plain: bool = False,
        emphasis: float = 0.0,
        above: float = 0.0,
        region_emphasis: float = 0.0,
        over_source_error: bool = False,
    ) -> None:
        super().__init__(setting)
        if over_source_error and not setting.residual:
            raise InputError(
                "The error of a source is known where it is on the target's scale; the plan is no residual. Leave "
                "over_source_error out."
            )
        self.network = network
        self.over_source_error = over_source_error
        self.emphasis, self.above = emphasis, above
        self.region_emphasis = region_emphasis
        self.loss = chosen_loss(loss, setting)
        self.plain = plain

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Error of the answer."""
        del group, stage
        answer = self(batch["source"], batch["condition"])
        weight = batch["weight"]
        if self.emphasis:
            weight = weight * (1 + self.emphasis * (batch["target"] > self.above))
        labels = batch.get("labels")
        if self.region_emphasis and labels is not None:
            weight = weight * (1 + self.region_emphasis * (labels > 0.5))
        if not self.over_source_error:
            return {"total": regression_loss(answer, batch["target"], weight, kind=self.loss)}
        source = self.first_source(batch["source"])
        shares = [
            regression_loss(answer[k], batch["target"][k], weight[k], kind=self.loss)
            / regression_loss(source[k], batch["target"][k], batch["weight"][k], kind=self.loss).clamp_min(LEAST_ERROR)
            for k in range(len(answer))
        ]
        return {"total": torch.stack(shares).mean()}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The network's answer; noise is not used."""
        del noise
        if self.plain:
            out = self.network(with_constant_channels(source, condition))
        else:
            out = self.network(source, condition)
        answer: torch.Tensor = out + self.residual_base(source)
        return answer


def with_constant_channels(source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """The source with each condition as one further channel of one value."""
    maps = condition.reshape(*condition.shape, *(1,) * (source.ndim - 2)).expand(-1, -1, *source.shape[2:])
    return torch.cat((source, maps.to(source.dtype)), dim=1)
