"""Lesions added to patches of images that are already reconstructed: more of them than patients could hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from nmsynth.physics.psf import FWHM_PER_SIGMA

FloatArray = npt.NDArray[np.float32]

NOISE_POWER = 0.7
"""Noise grows with activity as this power; between a Poisson image (0.5) and one of many iterations (1)."""
FIRST_LABEL = 200
"""Number of the first inserted lesion; simulated ones are below."""


@dataclass(frozen=True, slots=True)
class InsertionRanges:
    """What inserted lesions are drawn from, log-uniformly."""

    mean_count: float = 2.0
    """Mean number in a patch."""
    diameter_mm: tuple[float, float] = (7.0, 30.0)
    """Equivalent diameter [mm]."""
    contrast: tuple[float, float] = (1.5, 8.0)
    """Lesion over background."""
    patch_share: float = 1.0
    """Share of patches that receive lesions; the others keep the tissue as patients have it."""


def image_resolution_mm(
    truth: FloatArray, noise_free: FloatArray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Resolution of a reconstruction along the axis and in plane [mm]: the Gaussian that makes it of the truth.

    Few iterations blur more than scanner and post-filter do together, so the width is fitted to the images:
    least of ``sum((a G(s) f - t)^2 / (t + 1/2))`` over ``s``, with ``a`` the best scale.

    Parameters
    ----------
    truth
        True activity (T0), shape ``(z, y, x)`` [SUV].
    noise_free
        Reconstruction of noise-free data (T1), same shape and unit.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    body = noise_free > 0.2
    if not body.any():
        return 6.0, 6.0
    target, weight = noise_free[body], 1.0 / (noise_free[body] + 0.5)

    def misfit(widths: npt.NDArray[np.float64]) -> float:
        """Weighted squared error for widths along the axis and in plane."""
        sigma = [abs(w) / FWHM_PER_SIGMA / s for w, s in zip((widths[0], *[widths[1]] * 2), spacing_mm, strict=True)]
        blurred = ndimage.gaussian_filter(truth, sigma)[body]
        scale = float((weight * blurred * target).sum() / max(float((weight * blurred**2).sum()), 1e-20))
        return float((weight * (scale * blurred - target) ** 2).mean())

    found = optimize.minimize(
        misfit, (6.0, 8.0), method="Nelder-Mead", options={"xatol": 0.3, "fatol": 1e-6, "maxiter": 30}
    )
    axial, plane = (float(np.clip(abs(w), 2.0, 20.0)) for w in found.x)
    return axial, plane


def insert_in_patch(
    source: FloatArray,
    target: FloatArray,
    labels: npt.NDArray[np.uint8],
    *,
    spacing_mm: tuple[float, float, float],
    resolution_mm: tuple[float, float],
    ranges: InsertionRanges,
    rng: np.random.Generator,
) -> None:
    """Add blurred ellipsoids to a patch and its noise-free image, in place.

    The noise inside a lesion is scaled with its activity, ``n (t'/t)^0.7``.

    Parameters
    ----------
    source, target
        Noisy and noise-free patch, shape ``(z, y, x)``, float32.
    labels
        Numbers of lesions, same shape; those inserted are added from 200 on.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    resolution_mm
        Resolution of the image along the axis and in plane [mm].
    ranges
        What is drawn from.
    """
    body = np.argwhere(target > 0.15 * max(float(np.percentile(target, 90)), 1e-3))
    if not len(body):
        return
    sigma = [
        r / FWHM_PER_SIGMA / s for r, s in zip((resolution_mm[0], *[resolution_mm[1]] * 2), spacing_mm, strict=True)
    ]
    for k in range(min(int(rng.poisson(ranges.mean_count)), 50)):
        centre = body[int(rng.integers(len(body)))]
        diameter = math.exp(rng.uniform(*np.log(ranges.diameter_mm)))
        contrast = math.exp(rng.uniform(*np.log(ranges.contrast)))
        axes = diameter / 2 * np.exp(rng.normal(0, 0.15, 3))
        reach = [math.ceil(float(axes.max()) / s + 3 * g) + 1 for s, g in zip(spacing_mm, sigma, strict=True)]
        box = tuple(
            slice(max(0, int(c) - r), min(n, int(c) + r + 1))
            for c, r, n in zip(centre, reach, target.shape, strict=True)
        )
        offset = centre + rng.uniform(-0.5, 0.5, 3)
        squares = [
            ((np.arange(b.start, b.stop) - o) * s / a) ** 2
            for b, o, s, a in zip(box, offset, spacing_mm, axes, strict=True)
        ]
        distance = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
        edge = float(np.mean(spacing_mm)) / float(axes.mean())
        inside = np.clip((1 - distance) / edge + 0.5, 0, 1).astype(np.float32)
        background = float(np.median(target[box]))
        added = (contrast - 1) * max(background, 0.0) * ndimage.gaussian_filter(inside, sigma, mode="constant")
        old = target[box]
        new = old + added
        gain = (np.maximum(new, 1e-6) / np.maximum(old, 1e-6)) ** NOISE_POWER
        noise = (source[box] - old) * np.minimum(gain, contrast)
        source[box] = new + noise
        target[box] = new
        labels[box][inside >= 0.5] = FIRST_LABEL + k
