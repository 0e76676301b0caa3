"""Fusion of the heads: contrast where the evidence for a structure suffices, least error elsewhere."""

from __future__ import annotations

import torch

EVIDENCE_SHARPNESS = 2.0
"""Slope of the gate against the logit."""


def fuse(outputs: torch.Tensor, threshold: float) -> torch.Tensor:
    """Blend the heads, ``mean + g (contrast - mean)`` with ``g = sigmoid(k (evidence - threshold))``.

    A squared error is least for the average over all images that fit the counts, which flattens a small lesion in
    proportion to the doubt whether it exists. The contrast head answers as if it does; ``evidence`` is the logit that
    it does, so the threshold is the odds at which structure is kept.

    Parameters
    ----------
    outputs
        ``mean``, ``contrast`` and ``evidence``, shape ``(batch, 3, z, y, x)``.
    threshold
        Logit at which half the contrast is kept.

    Returns
    -------
        Shape ``(batch, 1, z, y, x)``, unit of the first two channels.
    """
    mean, contrast, evidence = outputs[:, 0:1], outputs[:, 1:2], outputs[:, 2:3]
    gate = torch.sigmoid(EVIDENCE_SHARPNESS * (evidence - threshold))
    return mean + gate * (contrast - mean)
