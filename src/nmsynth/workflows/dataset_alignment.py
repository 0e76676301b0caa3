"""Whether the images of a case show the same part of one patient in the same place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.data.body_contours import Body

Told = tuple[Literal["error", "warning"], str]

WORKING_MM = 4.0
"""Spacing of the grid on which images are compared [mm]."""
COVERED_SHARE = 0.8
"""Of the target's body, that a source should show."""
TOLERANCE_MM = 8.0
"""A source that lies further than this from its target is told [mm]."""


def check_place(volume: Volume, target: Volume, body: Body, tolerance_mm: float, *, compare: bool) -> list[Told]:
    """What is wrong with the place of an image against its target's.

    Parameters
    ----------
    volume, target
        Axes ``(z, y, x)``, on grids of their own.
    body
        Of the target.
    tolerance_mm
        Largest distance that is not told [mm].
    compare
        Whether the anatomy of both is compared and not their fields of view alone.
    """
    import numpy as np

    from nmsynth.data.body_contours import find_body, on_grid, working_grid

    if not compare:
        image = working_grid(volume, WORKING_MM)
        seen = on_grid(np.ones(image.shape, dtype=bool), image, body.image)
    else:
        other = find_body(volume, spacing_mm=WORKING_MM)
        image, seen = other.image, on_grid(other.field, other.image, body.image)
    if not seen.any():
        return [
            ("error", "the field of view has no overlap with the target's: another part of the body, or another frame")
        ]
    share = int(np.count_nonzero(seen & body.mask)) / max(int(np.count_nonzero(body.mask)), 1)
    told: list[Told] = []
    if share < COVERED_SHARE:
        told.append(("warning", f"it shows {100 * share:.0f} % of the body that the target shows"))
    if not compare or not body.mask.any():
        return told
    if volume.modality == target.modality:
        apart = _shift_mm(image.resample_to(body.image), body.image)
        if apart >= tolerance_mm:
            told.append(("warning", f"the image seems to lie {apart:.0f} mm from the target"))
        return told
    return told + _check_contours(body, other, seen, tolerance_mm)


def _check_contours(body: Body, other: Body, seen: npt.NDArray[np.bool_], tolerance_mm: float) -> list[Told]:
    """Distance of the contours of the body in two modalities."""
    from nmsynth.data.body_contours import contour_agreement, on_grid, same_size

    mask = on_grid(other.mask, other.image, body.image)
    found = contour_agreement(same_size(body, mask, seen).mask, mask, seen & body.field, body.image.spacing_mm)
    if found["contour_p95_mm"] < tolerance_mm:
        return []
    what = (
        f"the contour of the body lies {found['contour_mean_mm']:.0f} mm from the target's on average, "
        f"{found['contour_p95_mm']:.0f} mm at the 95th percentile; 'nmsynth dataset register' may lay it over"
    )
    return [("warning", what)]


def cut_share(body: Body) -> float:
    """Share of the body's surface that lies at the lateral faces of the field of view: where the body is cut off."""
    import numpy as np
    from scipy import ndimage

    mask = body.mask
    surface = int(np.count_nonzero(mask & ~ndimage.binary_erosion(mask)))
    faces = sum(int(np.count_nonzero(np.take(mask, end, axis=axis))) for axis in (1, 2) for end in (0, -1))
    return float(faces / max(surface, 1))


def _shift_mm(volume: Volume, target: Volume) -> float:
    """Distance by which an image best fits its target, from phase correlation of both, smoothed [mm]."""
    import numpy as np
    from scipy import ndimage
    from skimage.registration import phase_cross_correlation

    def smooth(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Square root of the image, without the noise of its voxels: the body counts, not the hottest organ."""
        smoothed = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), 2.0)
        return np.asarray(np.sqrt(np.maximum(smoothed, 0.0)), dtype=np.float64)

    find: Callable[..., Any] = phase_cross_correlation
    shift, _, _ = find(smooth(target.array), smooth(volume.array), normalization=None)
    return float(np.linalg.norm(np.asarray(shift) * np.asarray(target.spacing_mm)))
