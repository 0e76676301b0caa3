"""Uptake values of a lesion or organ: mean, maximum, peak, metabolic volume and total glycolysis."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.metrics.regions import Spacing, bounding_box, sphere_kernel

PEAK_VOLUME_ML = 1.0
"""Volume of the sphere of SUVpeak."""
PEAK_DIAMETER_MM = 2.0 * (3.0 * PEAK_VOLUME_ML * 1000.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
"""Its diameter, 12.407 mm."""
PEAK_STEP_MM = 1.0
"""Largest step between the centres that are tried for SUVpeak."""
DENSE = 0.1
"""Share of its box that a region fills, from which all of the box is convolved at once."""
PEAK_VOXELS = 2000
"""Most voxels of a region in which the sphere is placed between voxels."""


def region_mean(image: npt.ArrayLike, mask: npt.ArrayLike) -> float | None:
    """Mean over a mask or with weights, in the unit of the image; ``None`` where the mask is empty.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    mask
        Shape ``(z, y, x)``, boolean or weights that are not negative.
    """
    weights = np.asarray(mask)
    if weights.dtype == bool:
        values = np.asarray(image)[weights]
        return float(values.mean(dtype=np.float64)) if values.size else None
    total = float(weights.sum(dtype=np.float64))
    return float((np.asarray(image) * weights).sum(dtype=np.float64)) / total if total > 0 else None


def suv_max(image: npt.ArrayLike, mask: npt.ArrayLike) -> float | None:
    """Largest value in a mask. Against a noisy reference it is biased upward by definition."""
    values = np.asarray(image)[np.asarray(mask, dtype=bool)]
    return float(values.max()) if values.size else None


@dataclass(frozen=True, slots=True)
class Peak:
    """SUVpeak and the centre of its sphere."""

    value: float
    centre_index: tuple[float, float, float]
    """Fractional array indices ``(z, y, x)``."""


def suv_peak(
    image: npt.ArrayLike, mask: npt.ArrayLike, spacing_mm: Spacing, *, diameter_mm: float = PEAK_DIAMETER_MM
) -> Peak | None:
    """Highest mean of a 1 mL sphere centred anywhere in a lesion, at sub-voxel positions.

    The sphere weighs each voxel by the fraction of it that it holds; it may reach beyond the lesion, as it must where
    the lesion is smaller than 1 mL. In every voxel of the lesion its centre is tried on a lattice of at most 1 mm,
    which holds the voxel's centre; of a region of more than 2000 voxels, such as an organ, in the 2000 where the
    sphere centred in the voxel has the highest mean. Beyond the image the mean is over the part inside.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    mask
        Lesion, shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    diameter_mm
        Diameter of the sphere [mm].

    Returns
    -------
        ``None`` where the mask is empty.

    References
    ----------
    R. L. Wahl et al., J Nucl Med 50(Suppl 1):122S-150S, 2009 (PERCIST).
    """
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        return None
    z, y, x = (float(size) for size in spacing_mm)
    offsets_mm, kernels, reach = _peak_kernels((z, y, x), float(diameter_mm))
    box = bounding_box(inside, spacing_mm, 0.0)
    wide = tuple(slice(part.start, part.stop + 2 * n) for part, n in zip(box, reach, strict=True))
    padding = [(n, n) for n in reach]
    values = np.pad(np.asarray(image), padding)[wide].astype(np.float64)
    centres = np.argwhere(inside[box])
    window = tuple(2 * n + 1 for n in reach)
    patches = np.lib.stride_tricks.sliding_window_view(values, window)
    covered = None
    if any(s.start < n or s.stop + n > size for s, n, size in zip(box, reach, inside.shape, strict=True)):
        present = np.pad(np.ones(inside.shape, dtype=bool), padding)[wide]
        covered = np.lib.stride_tricks.sliding_window_view(present, window)
    if len(centres) > PEAK_VOXELS:
        middle = kernels[:, kernels.shape[1] // 2 : kernels.shape[1] // 2 + 1]
        if covered is None and len(centres) > DENSE * inside[box].size:
            every = ndimage.correlate(values, middle.reshape(window), mode="constant")
            centred = every[tuple(slice(n, size - n) for n, size in zip(reach, values.shape, strict=True))][inside[box]]
        else:
            parts = np.array_split(centres, -(-len(centres) // PEAK_VOXELS))
            centred = np.concatenate([_sphere_means(patches, covered, part, middle)[:, 0] for part in parts])
        centres = centres[np.sort(np.argsort(-centred, kind="stable")[:PEAK_VOXELS])]
    means = _sphere_means(patches, covered, centres, kernels)
    voxel, lattice = np.unravel_index(int(np.argmax(means)), means.shape)
    z, y, x = (
        float(index + part.start + shift / size)
        for index, part, shift, size in zip(centres[voxel], box, offsets_mm[lattice], spacing_mm, strict=True)
    )
    return Peak(float(means[voxel, lattice]), (z, y, x))


def _sphere_means(
    patches: npt.NDArray[np.float64],
    covered: npt.NDArray[np.bool_] | None,
    centres: npt.NDArray[np.intp],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Means of spheres around voxels, shape ``(voxel, sphere)``, over what is covered: everything for ``None``."""
    chosen = tuple(centres.T)
    inside = weights.sum(axis=0) if covered is None else covered[chosen].reshape(len(centres), -1) @ weights
    return np.asarray((patches[chosen].reshape(len(centres), -1) @ weights) / inside)


@functools.lru_cache(maxsize=8)
def _peak_kernels(
    spacing_mm: Spacing, diameter_mm: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[int, ...]]:
    """Sub-voxel centres [mm], shape (n, 3), their spheres' weights, shape (voxels, n), and the reach in voxels."""
    counts = [2 * math.ceil((size / PEAK_STEP_MM - 1.0) / 2.0) + 1 if size > PEAK_STEP_MM else 1 for size in spacing_mm]
    axes = [(np.arange(n) - n // 2) * (size / n) for n, size in zip(counts, spacing_mm, strict=True)]
    offsets = np.array(list(itertools.product(*axes)))
    kernels = [sphere_kernel(spacing_mm, diameter_mm=diameter_mm, offset_mm=(z, y, x)) for z, y, x in offsets.tolist()]
    shape = np.max([kernel.shape for kernel in kernels], axis=0)
    columns = [
        np.pad(kernel, [((n - m) // 2, (n - m) // 2) for n, m in zip(shape, kernel.shape, strict=True)]).ravel()
        for kernel in kernels
    ]
    return offsets, np.stack(columns, axis=1), tuple(int(n) // 2 for n in shape)


def metabolic_volume_ml(
    image: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    threshold: float | None = None,
    fraction_of_maximum: float | None = None,
) -> float | None:
    """MTV [mL]: volume of the voxels of the mask at or above a threshold.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``, SUV.
    mask
        Region in which voxels are counted, shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    threshold
        Fixed level [unit of the image], such as SUV 4.
    fraction_of_maximum
        Or a fraction of the maximum in the mask, such as 0.41.
    """
    above = _above(image, mask, threshold, fraction_of_maximum)
    return None if above is None else above.size * math.prod(spacing_mm) / 1000.0


def total_glycolysis(
    image: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    threshold: float | None = None,
    fraction_of_maximum: float | None = None,
) -> float | None:
    """TLG [SUV mL]: mean of the voxels that :func:`metabolic_volume_ml` counts, times their volume."""
    above = _above(image, mask, threshold, fraction_of_maximum)
    return None if above is None else float(above.sum()) * math.prod(spacing_mm) / 1000.0


def _above(
    image: npt.ArrayLike, mask: npt.ArrayLike, threshold: float | None, fraction: float | None
) -> npt.NDArray[np.float64] | None:
    """Values of the mask at or above the threshold; ``None`` where the mask is empty or its maximum not positive."""
    values = np.asarray(image)[np.asarray(mask, dtype=bool)].astype(np.float64)
    if not values.size:
        return None
    if threshold is None:
        if values.max() <= 0:
            return None
        threshold = (fraction if fraction is not None else 0.41) * float(values.max())
    return np.asarray(values[values >= threshold])
