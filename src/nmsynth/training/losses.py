"""Losses of a low-count model: least error, lesion contrast, and the evidence of structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from nmsynth.models.unet import local_level

EMPTY_LEVEL = 0.05
"""Share of the level of the body below which a neighbourhood holds nothing that evidence could be about."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms."""

    mean: float = 1.0
    """Relative squared error of the mean head."""
    contrast: float = 1.0
    """Lesion-weighted relative squared error of the contrast head."""
    lesion: float = 8.0
    """Weight of a voxel of a lesion over one of plain tissue, in the contrast head."""
    focal: float = 8.0
    """Weight of a voxel of another focal structure, in the contrast head."""
    evidence_of_lesions_only: bool = False
    """Whether evidence means a lesion, or any focal structure."""
    lesion_mean: float = 0.3
    """Squared relative error of the mean of each lesion, in the contrast head."""
    evidence: float = 0.3
    """Cross-entropy of the evidence."""
    regional: float = 0.5
    """Relative error of the mean of cubes of 8 voxels, in the mean head: activity of regions is kept."""
    activity: float = 0.0
    """Squared relative error of the activity of blocks of 16 x 32 x 32 voxels, in the mean head: no bias is learnt."""
    noise_power: float = 0.5
    """A patch weighs as its input's error to minus this power: 0.5 keeps low and high counts both in play, 1 makes the
    error relative, so that what can be learnt at high counts is not drowned by what nobody can know at low ones."""
    scale: Literal["source", "target"] = "source"
    """What the errors are relative to: see :func:`error_scale`."""


def error_scale(
    source: torch.Tensor, target: torch.Tensor, level: torch.Tensor, of: Literal["source", "target"] = "source"
) -> torch.Tensor:
    """What an error is relative to: the local activity and half of the level of the body.

    Variance grows with activity, so an error in the bladder counts less than the same error in the liver. Taken from
    the target, this draws every doubtful answer down: between ``a`` and ``b``, alike likely, the least
    ``(p - t)^2 / w(t)`` is not at their mean but below it, as the larger one weighs less. Taken from the source, which
    the network sees, the least error is at the mean of what is possible (the weight leaves the expectation).

    Parameters
    ----------
    source, target
        Shape ``(batch, 1, z, y, x)``.
    level
        Level of the body in each patch, shape ``(batch, 1, 1, 1, 1)``.
    of
        ``source``: its mean over 5 x 5 x 5 voxels, not below 0; ``target``: the target's own magnitude.
    """
    activity = target.abs() if of == "target" else F.avg_pool3d(source, 5, 1, 2, count_include_pad=False).clamp_min(0)
    return activity + 0.5 * level


def relative_squared_error(
    prediction: torch.Tensor, target: torch.Tensor, level: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Squared error over what counting noise would make of it, ``(p - t)^2 / (level scale)``.

    Parameters
    ----------
    prediction, target
        Shape ``(batch, 1, z, y, x)``.
    level
        Level of the body in each patch, shape ``(batch, 1, 1, 1, 1)``; makes the loss free of units.
    scale
        Of :func:`error_scale`.
    """
    return (prediction - target) ** 2 / (level * scale)


def dilate(mask: torch.Tensor) -> torch.Tensor:
    """Grow a mask, shape ``(batch, 1, z, y, x)``, by one voxel in plane and along the axis."""
    return F.max_pool3d(mask, 3, stride=1, padding=1)


def lesion_mean_error(
    prediction: torch.Tensor,
    target: torch.Tensor,
    labels: torch.Tensor,
    scale: torch.Tensor,
    patch_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over lesions of the squared error of their mean, over the mean of the scale.

    Parameters
    ----------
    labels
        Lesion numbers, 0 outside, shape ``(batch, 1, z, y, x)``, int64.
    scale
        What the error is relative to, same shape.
    patch_weight
        Weight of the lesions of each patch, shape ``(batch, 1, 1, 1, 1)``; equal where unset.
    """
    batch = labels.shape[0]
    index = (labels + 256 * torch.arange(batch, device=labels.device).view(-1, 1, 1, 1, 1)).reshape(-1)
    inside = (labels > 0).reshape(-1)
    if not bool(inside.any()):
        return prediction.sum() * 0.0
    sums = torch.zeros((4, 256 * batch), dtype=torch.float32, device=labels.device)
    chosen = index[inside]
    sums = sums.index_add(
        1,
        chosen,
        torch.stack(
            (
                prediction.float().reshape(-1)[inside],
                target.float().reshape(-1)[inside],
                scale.float().reshape(-1)[inside],
                torch.ones_like(chosen, dtype=torch.float32),
            )
        ),
    )
    present = sums[3] >= 3
    if not bool(present.any()):
        return prediction.sum() * 0.0
    error = (sums[0] - sums[1])[present] / sums[2][present].clamp_min(1e-3)
    if patch_weight is None:
        return (error**2).mean()
    weight = patch_weight.reshape(-1).repeat_interleave(256)[present]
    return (weight * error**2).sum() / weight.sum()


def regional_error(prediction: torch.Tensor, target: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Mean relative error of the activity of cubes of 8 voxels, ``|p - t| / (t + level / 5)``.

    A bias of a per cent is invisible in the squared error of noisy voxels and is what an SUVmean sees.

    Parameters
    ----------
    prediction, target
        Shape ``(batch, 1, z, y, x)``.
    level
        Level of the body in each patch, shape ``(batch, 1, 1, 1, 1)``.
    """
    size = tuple(min(8, n) for n in target.shape[2:])
    p, t = (F.avg_pool3d(x, size, stride=tuple(max(1, n // 2) for n in size)) for x in (prediction, target))
    body = (t > 0.1 * level).float()
    error = (p - t).abs() / (t + 0.2 * level) * body
    return error.sum() / body.sum().clamp_min(1)


def activity_error(prediction: torch.Tensor, target: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Squared relative error of the activity of blocks of 16 x 32 x 32 voxels, for each patch.

    :func:`regional_error` is an absolute error and settles at a median, which lies below the mean where few counts
    leave a skewed doubt; a squared one settles at the mean.

    Parameters
    ----------
    prediction, target
        Shape ``(batch, 1, z, y, x)``.
    level
        Level of the body in each patch, shape ``(batch, 1, 1, 1, 1)``.

    Returns
    -------
        Shape ``(batch, 1, 1, 1, 1)``; blocks weigh as their activity.
    """
    size = tuple(min(n, m) for n, m in zip((16, 32, 32), target.shape[2:], strict=True))
    # the mean of the difference: a difference of means would lose a small bias in rounding
    difference, activity = (F.avg_pool3d(x, size, stride=size) for x in (prediction - target, target))
    activity = activity.clamp_min(0)
    weight = activity + 1e-3 * level
    error = (difference / (activity + 0.1 * level)) ** 2
    axes = (1, 2, 3, 4)
    return (weight * error).sum(axes, keepdim=True) / weight.sum(axes, keepdim=True)


def low_count_loss(
    outputs: torch.Tensor,
    target: torch.Tensor,
    source: torch.Tensor,
    labels: torch.Tensor,
    focal: torch.Tensor,
    weights: LossWeights,
) -> dict[str, torch.Tensor]:
    """All terms and their weighted ``total``.

    Each patch is weighted by the root of its input's error, so that every count level has a say.

    Parameters
    ----------
    outputs
        Heads of the network, shape ``(batch, 3, z, y, x)``.
    target, source
        Noise-free and noisy image, shape ``(batch, 1, z, y, x)``.
    labels, focal
        Lesion numbers (int64) and the mask of focal structure (0 or 1), same shape.
    """
    mean, contrast, evidence = (outputs[:, i : i + 1].float() for i in range(3))
    positive = (target > 0.05 * target.amax((1, 2, 3, 4), keepdim=True).clamp_max(4.0)).float()
    level = (target * positive).sum((1, 2, 3, 4), keepdim=True) / positive.sum((1, 2, 3, 4), keepdim=True).clamp_min(1)
    level = level.clamp_min(0.05)
    scale = error_scale(source, target, level, weights.scale)
    input_error = relative_squared_error(source, target, level, scale).mean((1, 2, 3, 4), keepdim=True)
    patch_weight = (0.01 + input_error) ** -weights.noise_power
    lesion_scale = target if weights.scale == "target" else scale
    inside = (labels > 0).float()
    emphasis = torch.maximum(1.0 + (weights.focal - 1.0) * dilate(focal), 1.0 + (weights.lesion - 1.0) * dilate(inside))
    structure = inside if weights.evidence_of_lesions_only else torch.maximum(inside, focal)
    seen = (local_level(source) > EMPTY_LEVEL * level).float()
    terms = {
        "mean": (patch_weight * relative_squared_error(mean, target, level, scale)).mean(),
        "contrast": (patch_weight * emphasis * relative_squared_error(contrast, target, level, scale)).mean(),
        "lesion_mean": lesion_mean_error(contrast, target, labels, lesion_scale, patch_weight),
        "regional": regional_error(mean, target, level),
        "activity": (patch_weight * activity_error(mean, target, level)).mean(),
        "evidence": (seen * F.binary_cross_entropy_with_logits(evidence, structure, reduction="none")).mean(),
    }
    terms["total"] = (
        weights.mean * terms["mean"]
        + weights.contrast * terms["contrast"]
        + weights.lesion_mean * terms["lesion_mean"]
        + weights.evidence * terms["evidence"]
        + weights.regional * terms["regional"]
        + weights.activity * terms["activity"]
    )
    return terms
