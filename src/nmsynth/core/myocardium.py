"""The 17 segments of the left ventricle: their names, and where each lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SEGMENTS = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral", "apex",
)  # fmt: skip
"""Names of segments 1 to 17 [Cerqueira2002]_.

.. [Cerqueira2002] M. D. Cerqueira et al., Standardized myocardial segmentation and nomenclature for tomographic imaging
   of the heart, Circulation 105:539-542, 2002.
"""


def segment_number(height: npt.ArrayLike, angle_deg: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Segment of points of the wall.

    Parameters
    ----------
    height
        0 at the base, 1 at the apical end of the cavity, more in the apex beyond it.
    angle_deg
        In the short axis, seen from the apex: 0 lateral, 90 anterior, 180 septal, 270 inferior [degrees].

    Returns
    -------
        1 to 17, same shape.

    Examples
    --------
    >>> segment_number(np.array([0.1, 0.5, 0.9, 1.1]), np.array([90.0, 270.0, 180.0, 0.0]))
    array([ 1, 10, 14, 17], dtype=uint8)
    """
    height, angle = np.asarray(height), np.mod(angle_deg, 360.0)
    sixth = np.floor(np.mod(angle - 60.0, 360.0) / 60.0).clip(0, 5)
    quarter = np.floor(np.mod(angle - 45.0, 360.0) / 90.0).clip(0, 3)
    ring = np.where(height < 1 / 3, 1 + sixth, 7 + sixth)
    number = np.where(height < 2 / 3, ring, np.where(height < 1, 13 + quarter, 17))
    return np.asarray(number, dtype=np.uint8)
