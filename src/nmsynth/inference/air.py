"""Air about a synthetic CT: what lies outside the body that the source shows is no matter for a network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import find_body, on_grid

AIR_HU = -1000.0
CLEARANCE_MM = {"MR": 5.0}
"""How far beyond the outline of the source a network still decides, by modality [mm]."""
BLURRED_CLEARANCE_MM = 15.0
"""The same of modalities whose outline is blurred [mm]."""
LARGEST_SHARE = 0.98
"""Of a field of view that is body: above it no air can be told."""
Mask = npt.NDArray[np.bool_]


def open_air(source: Volume, ct: Volume) -> Mask | None:
    """Where a CT shows air alone: outside the source's field, or some way outside the body that it shows.

    That is 5 mm for an MR, and 15 mm for PET and SPECT, whose outlines are blurred.
    Networks are judged within the body and learn little of the air about it. What they leave there is small in HU and
    much along a line through the whole field of view: 40 HU over half a metre take a seventh of 511 keV.

    Parameters
    ----------
    source
        MR, PET or SPECT, axes ``(z, y, x)``.
    ct
        On whose grid the answer is; its values are not looked at.

    Returns
    -------
        Shape ``(z, y, x)`` of the CT; ``None`` where the source shows no body, or nothing but body.
    """
    body = find_body(source)
    if not body.mask.any() or body.mask.mean() > LARGEST_SHARE:
        return None
    away_mm = ndimage.distance_transform_edt(~body.mask, body.image.spacing_mm)
    clearance_mm = CLEARANCE_MM.get(source.modality, BLURRED_CLEARANCE_MM)
    return ~on_grid(away_mm <= clearance_mm, body.image, ct)


def with_open_air(ct: Volume, air: Mask | None) -> Volume:
    """The CT with -1000 HU in open air; any other image as it is.

    Parameters
    ----------
    ct
        Axes ``(z, y, x)``.
    air
        Of :func:`open_air`.
    """
    if air is None or ct.unit is not Unit.HOUNSFIELD:
        return ct
    return ct.with_array(np.where(air, np.float32(AIR_HU), ct.array), source=ct.source)
