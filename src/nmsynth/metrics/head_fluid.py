"""How much of a head is fluid, from its T1-weighted MR: a coarse number that rises with atrophy.

Ventricles widen and sulci open with atrophy, and fluid is what is dark within the skull. The number is the share of the
darkest of three classes by Otsu's thresholds [Otsu1979]_ among voxels at least 12 mm under the skin, from 15 to 115 mm
below the top of the head: inside the skull but for its outermost rim, and above the face.

It tells little beyond the range of a training: natural ventricles differ as much between heads as atrophy changes one
head, and thresholds follow the contrast of the sequence. Of seven drawn heads one lay outside the range of 25 others at
the largest atrophy of theirs, two at 1.5 times that atrophy, four at twice (one of these below the range, by a wrong
threshold). A head within the range may be shrunken more than any of the training.

References
----------
.. [Otsu1979] N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans Syst Man Cybern 9:62-66,
   1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

NAME = "share of fluid within the skull"
LARGEST_HEAD_ML = 7000.0
"""Volume of a body above which it is more than a head and neck [mL]."""
DEPTH_MM, BELOW_TOP_MM = 12.0, (15.0, 115.0)
LEAST_VOXELS = 500
"""Within the skull, fewer of which tell nothing."""
PERCENTILES = (1.0, 99.0)
"""Of the heads of a training: the range within which a head is like them."""


def head_fluid(
    image: npt.ArrayLike, body: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> float | None:
    """Share of fluid within the skull of a head; ``None`` of what is no head.

    Parameters
    ----------
    image
        T1-weighted MR in any scale, shape ``(z, y, x)``, z upwards.
    body
        Where the head is, same shape.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    from skimage.filters import threshold_multiotsu

    planes = np.flatnonzero(body.any(axis=(1, 2)))
    if not planes.size or float(body.sum()) * math.prod(spacing_mm) / 1000.0 > LARGEST_HEAD_ML:
        return None
    # the neck goes on below the field of view; all other borders are the skin
    padded = np.pad(np.pad(body, ((1, 0), (0, 0), (0, 0)), mode="edge"), ((0, 1), (1, 1), (1, 1)))
    depth_mm = ndimage.distance_transform_edt(padded, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    below_mm = (planes[-1] - np.arange(body.shape[0])[:, None, None]) * spacing_mm[0]
    low, high = BELOW_TOP_MM
    values = np.asarray(image, dtype=np.float64)[(depth_mm > DEPTH_MM) & (below_mm >= low) & (below_mm <= high)]
    if values.size < LEAST_VOXELS or len(np.unique(values)) <= 3:
        return None
    dark = threshold_multiotsu(values, classes=3)[0]  # type: ignore[no-untyped-call]
    return float((values <= dark).mean())


def usual_fluid(found: Sequence[float | None]) -> tuple[float, float] | None:
    """Range of the heads of a training; ``None`` where not all images are heads."""
    known = [value for value in found if value is not None]
    if not known or len(known) < len(found):
        return None
    low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)
