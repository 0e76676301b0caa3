"""Where the body is, in an image of any modality: there losses count and errors are measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.volume import Volume
from nmsynth.metrics.regions import body_mask, largest_component

CT_THRESHOLD_HU = -300.0
"""Between air and skin."""
MR_THRESHOLD = 0.1
"""Of the 99th percentile."""


def body_contour(volume: Volume) -> npt.NDArray[np.bool_]:
    """Body of a PET, SPECT, CT or MR image, shape ``(z, y, x)``.

    Activity: :func:`nmsynth.metrics.regions.body_mask` (8 mm smoothed, above 0.2 of the mean of the voxels above the
    image's mean, closed by 10 mm). CT: above -300 HU. MR: above 0.1 of the 99th percentile of positive values. The
    largest component of CT and MR, opened by one voxel and filled slice by slice. The whole grid where nothing is
    found.
    """
    image = volume.array
    if volume.modality in ("CT", "MR"):
        positive = image[image > 0]
        level = CT_THRESHOLD_HU
        if volume.modality == "MR":
            level = MR_THRESHOLD * float(np.percentile(positive, 99)) if positive.size else 0.0
        found = ndimage.binary_opening(image > level, ndimage.generate_binary_structure(3, 1))
        mask = _filled(largest_component(found if found.any() else image > level))
    else:
        mask = body_mask(image, volume.spacing_mm)
    return mask if mask.any() else np.ones(volume.spatial_shape, dtype=bool)


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Holes of each slice filled."""
    return np.stack([ndimage.binary_fill_holes(s) for s in mask]) if mask.any() else mask
