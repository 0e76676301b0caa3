"""Displacement of an image by parts of a sample: breathing, arms, a couch that sags."""

from __future__ import annotations

import math

import torch


def displace(image: torch.Tensor, samples: tuple[float, ...]) -> torch.Tensor:
    """Move an image along its axes by linear interpolation; the edge is repeated.

    Parameters
    ----------
    image
        Any shape.
    samples
        By how much along each axis, whole and part samples; positive towards higher indices.
    """
    for axis, distance in enumerate(samples):
        whole = math.floor(distance)
        part = distance - whole
        index = torch.arange(image.shape[axis], device=image.device)
        last = image.shape[axis] - 1
        near = image.index_select(axis, (index - whole).clamp(0, last))
        far = image.index_select(axis, (index - whole - 1).clamp(0, last))
        image = near * (1 - part) + far * part
    return image
