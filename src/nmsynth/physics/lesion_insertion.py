"""Lesions of known size and contrast added to a reconstructed image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.psf import FWHM_PER_SIGMA

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

_SUBSAMPLES = 5


@dataclass(frozen=True, slots=True)
class InsertedLesion:
    """A sphere that was added."""

    index: int
    centre: tuple[int, int, int]
    """Voxel, in array order."""
    diameter_mm: float
    contrast: float
    """True uptake of the sphere over that of its surroundings."""
    background: float
    """Mean of the surroundings, unit of the image."""


def sphere_fraction(
    shape: tuple[int, ...], centre: tuple[int, ...], diameter_mm: float, spacing_mm: Spacing
) -> FloatArray:
    """Share of each voxel that lies in a sphere, by sub-samples; shape ``(z, y, x)``."""
    offsets = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
    reach, squares, blocks = [], [], []
    for n, c, s in zip(shape, centre, spacing_mm, strict=True):
        half = int(diameter_mm / 2 / s) + 2
        window = slice(max(0, c - half), min(n, c + half + 1))
        position = (np.arange(window.start, window.stop)[:, None] - c + offsets) * s
        reach.append(window)
        squares.append((position**2).ravel())
        blocks += [window.stop - window.start, _SUBSAMPLES]
    inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= (diameter_mm / 2) ** 2
    out = np.zeros(shape, dtype=np.float32)
    out[tuple(reach)] = inside.reshape(blocks).mean(axis=(1, 3, 5))
    return out


def homogeneous_places(
    image: FloatArray, body: BoolArray, spacing_mm: Spacing, *, radius_mm: float = 16.0
) -> tuple[FloatArray, FloatArray]:
    """Mean and relative spread of the 8 mm-smoothed image in a box around each voxel; infinite outside."""
    smooth = ndimage.gaussian_filter(image, [8.0 / FWHM_PER_SIGMA / s for s in spacing_mm])
    size = [max(3, 2 * round(radius_mm / s) + 1) for s in spacing_mm]
    mean = ndimage.uniform_filter(smooth, size)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(smooth**2, size) - mean**2, 0)) / np.maximum(mean, 1e-20)
    depth = ndimage.distance_transform_edt(np.pad(body, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
    return mean, np.where(depth > radius_mm, spread, np.inf).astype(np.float32)


def insert_lesions(
    image: FloatArray,
    spacing_mm: Spacing,
    body: BoolArray,
    *,
    diameters_mm: tuple[float, ...],
    contrasts: tuple[float, ...],
    resolution_fwhm_mm: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, npt.NDArray[np.uint8], tuple[InsertedLesion, ...]]:
    """Add spheres at homogeneous places of the body, blurred as the scanner would.

    ``image + (c - 1) b G(s)``: ``s`` the sphere, ``G`` the resolution, ``b`` the mean of the surroundings, ``c`` the
    contrast. Only what is added is blurred.

    Parameters
    ----------
    image, body
        Shape ``(z, y, x)``; where lesions may be placed.
    diameters_mm, contrasts
        Of each lesion.
    resolution_fwhm_mm
        Resolution of the image, post-filter included [mm].
    rng
        Source of the places.

    Returns
    -------
        The image with lesions, their numbers in each voxel (where at least half is lesion), and their list.

    Raises
    ------
    InputError
        If there is no room for all of them.
    """
    mean, spread = homogeneous_places(image, body, spacing_mm)
    level = float(np.median(image[body])) if body.any() else 0.0
    finite = np.isfinite(spread)
    allowed = finite & (spread <= (np.quantile(spread[finite], 0.35) if finite.any() else 0.0))
    allowed &= mean > 0.5 * level
    out, labels = image.copy(), np.zeros(image.shape, dtype=np.uint8)
    lesions: list[InsertedLesion] = []
    blur = [resolution_fwhm_mm / FWHM_PER_SIGMA / s for s in spacing_mm]
    indices = np.indices(image.shape, dtype=np.float32)
    order = np.argsort(diameters_mm)[::-1]
    for number, k in enumerate(order, start=1):
        places = np.argwhere(allowed)
        if not len(places):
            raise InputError(
                f"Lesions need homogeneous tissue 50 mm apart; room was found for {number - 1} of {len(order)}. "
                "Ask for fewer lesions."
            )
        centre = places[int(rng.integers(len(places)))]
        z, y, x = (int(c) for c in centre)
        sphere = sphere_fraction(image.shape, (z, y, x), diameters_mm[k], spacing_mm)
        background = float(mean[z, y, x])
        out += (contrasts[k] - 1) * background * ndimage.gaussian_filter(sphere, blur)
        labels[sphere >= 0.5] = number
        lesions.append(InsertedLesion(number, (z, y, x), float(diameters_mm[k]), float(contrasts[k]), background))
        distance = sum(((indices[i] - c) * s) ** 2 for i, (c, s) in enumerate(zip(centre, spacing_mm, strict=True)))
        allowed &= distance > 50.0**2
    return out.astype(np.float32), labels, tuple(lesions)
