"""The uptake of a population in the anatomy of one subject: what an image of the anatomy alone lets one say of uptake.

Tissue may take up the same in all subjects, and their images still differ: a scan mixes thin cortex with its
neighbours, so that a brain with atrophy shows less in it. That much follows from the anatomy, whatever uptake does. The
image of a tissue that takes up ``u`` is ``u`` times its blurred indicator, and the mean of region ``r`` is

    m_r = sum_j G_rj u_j,   G_rj = mean over r of the blurred indicator of j

the geometric transfer matrix of [Rousset1998]_. Here it is read the other way: ``u`` is fitted to the means of many
subjects, and then laid over the anatomy of another one.

References
----------
.. [Rousset1998] O. G. Rousset, Y. Ma, A. C. Evans, Correction for partial volume effects in PET: principle and
   validation, J Nucl Med 39:904-911, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.metrics.regions import FWHM_PER_SIGMA, smooth

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
Spacing = tuple[float, float, float]

FWHM_MM = (4.0, 5.5, 7.0, 8.5, 10.0)
"""Blurs that are tried, full width at half maximum [mm]."""
CASES_FOR_WIDTH = 12
"""Subjects that the blur is chosen on."""
NEAR_MM = 10.0
"""From the regions to here lies fluid; what is further out in the body is another tissue [mm]."""
MARGIN_MM = 15.0
"""Around the regions that is looked at in a fit [mm]."""
LEAST_VOXELS = 30
"""Of a region whose mean counts as one in a fit; that of a smaller one counts less."""


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Regions of one subject.

    Attributes
    ----------
    labels
        Number of the region of each voxel, 0 for none, shape ``(z, y, x)``.
    body
        Where the subject is, same shape.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    """

    labels: Labels
    body: npt.NDArray[np.bool_]
    spacing_mm: Spacing


@dataclass(frozen=True, slots=True, eq=False)
class PopulationUptake:
    """Uptake of each tissue in a population, by the number of its region; 0 beside the regions, -1 further out.

    Attributes
    ----------
    uptake
        By number [unit of the images].
    fwhm_mm
        Blur of the images, full width at half maximum [mm].
    """

    uptake: dict[int, float]
    fwhm_mm: float

    @classmethod
    def fit(
        cls,
        anatomies: Sequence[Anatomy],
        images: Sequence[FloatImage],
        *,
        fwhm_mm: Sequence[float] = FWHM_MM,
    ) -> PopulationUptake:
        """Fit to subjects by least squares of the means of their regions, with the blur that leaves least.

        Parameters
        ----------
        anatomies
            Of each subject; not empty.
        images
            Of each subject, on the grid of its anatomy.
        fwhm_mm
            Blurs to choose from [mm].

        Raises
        ------
        InputError
            If no subject has a region.
        """
        shown = [_cropped(anatomy) for anatomy in anatomies]
        tissues = sorted({int(n) for numbers, _, _ in shown for n in np.unique(numbers)} - {_AIR})
        means = [_means(numbers, image[box], tissues) for (numbers, _, box), image in zip(shown, images, strict=True)]
        if not any(tissue > 0 for tissue in tissues):
            raise InputError(
                "An uptake of regions is fitted to the means of regions; found none. Give cases with a mask of regions."
            )
        few, others = shown[:CASES_FOR_WIDTH], shown[CASES_FOR_WIDTH:]
        tried = [[_transfer(numbers, size, tissues, width) for numbers, size, _ in few] for width in fwhm_mm]
        left = [_solved(parts, means[: len(few)])[1] for parts in tried] if len(tried) > 1 else [0.0]
        best = int(np.argmin(left))
        chosen = float(fwhm_mm[best])
        parts = tried[best] + [_transfer(numbers, size, tissues, chosen) for numbers, size, _ in others]
        found, _ = _solved(parts, means)
        return cls(dict(zip(tissues, found.tolist(), strict=True)), chosen)

    def __call__(self, anatomy: Anatomy) -> FloatImage:
        """The image of that uptake in an anatomy, shape ``(z, y, x)``; a region that was not fitted has none."""
        numbers = _tissues(anatomy)
        level = np.zeros(numbers.shape, dtype=np.float32)
        for tissue, uptake in self.uptake.items():
            level[numbers == tissue] = uptake
        return smooth(level, self.fwhm_mm, anatomy.spacing_mm)


_AIR = -2
"""Number of what is outside the body."""


def _tissues(anatomy: Anatomy) -> Labels:
    """Number of the tissue of each voxel: of its region, 0 near to one, -1 in the body elsewhere, -2 outside."""
    labels = np.asarray(anatomy.labels, dtype=np.int32)
    away = ndimage.distance_transform_edt(labels == 0, sampling=anatomy.spacing_mm)
    other = np.where(away <= NEAR_MM, 0, np.where(anatomy.body, -1, _AIR))
    return np.where(labels > 0, labels, other).astype(np.int32)


def _cropped(anatomy: Anatomy) -> tuple[Labels, Spacing, tuple[slice, ...]]:
    """Tissues in the box around the regions, with what blurs into them, and that box."""
    numbers = _tissues(anatomy)
    found = ndimage.find_objects(np.asarray(np.asarray(anatomy.labels) > 0, dtype=np.uint8))
    if not found:
        return numbers, anatomy.spacing_mm, (slice(None),) * 3
    margins = [int(np.ceil(MARGIN_MM / s)) for s in anatomy.spacing_mm]
    box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(found[0], margins, strict=True))
    return numbers[box], anatomy.spacing_mm, box


def _places(numbers: Labels, tissues: Sequence[int]) -> npt.NDArray[np.intp]:
    """Place of each voxel's tissue among some, or their number for any other, as a list."""
    places = np.searchsorted(tissues, numbers.ravel())
    return np.where(np.isin(numbers.ravel(), tissues), places, len(tissues)).astype(np.intp)


def _means(numbers: Labels, image: FloatImage, tissues: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Mean of an image over each tissue and what it counts in a fit, shape ``(tissue,)`` both."""
    places, n = _places(numbers, tissues), len(tissues)
    count = np.bincount(places, minlength=n + 1)[:n].astype(np.float64)
    total = np.bincount(places, weights=np.asarray(image, dtype=np.float64).ravel(), minlength=n + 1)[:n]
    return total / np.maximum(count, 1.0), np.minimum(count / LEAST_VOXELS, 1.0)


def _transfer(numbers: Labels, spacing_mm: Spacing, tissues: Sequence[int], fwhm_mm: float) -> FloatArray:
    """Share of each tissue (column) in the mean of each (row), shape ``(tissue, tissue)``."""
    n = len(tissues)
    places = _places(numbers, tissues).reshape(numbers.shape)
    count = np.maximum(np.bincount(places.ravel(), minlength=n + 1)[:n], 1)
    boxes = ndimage.find_objects(places + 1, max_label=n)
    margins = [int(np.ceil(4.0 * fwhm_mm / FWHM_PER_SIGMA / s)) for s in spacing_mm]
    found = np.zeros((n, n))
    for column, box in enumerate(boxes):
        if box is None:
            continue
        near = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margins, strict=True))
        there = places[near]
        image = smooth(there == column, fwhm_mm, spacing_mm)
        found[:, column] = np.bincount(there.ravel(), weights=image.ravel(), minlength=n + 1)[:n] / count
    return found


def _solved(parts: Sequence[FloatArray], means: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, float]:
    """Uptake that fits the means best, none negative, and the root mean square of what is left."""
    from scipy.optimize import nnls

    weight = np.concatenate([own for _, own in means])
    matrix, values = np.concatenate(list(parts)), np.concatenate([own for own, _ in means])
    found, left = nnls(matrix * weight[:, None], values * weight)
    return np.asarray(found, dtype=np.float64), float(left / np.sqrt((weight**2).sum()))
