"""Regions of a brain label map: parcels where the map has them, else lobes by position.

Cortex without parcels is divided by the nearest of a set of seed points, in coordinates like those of the MNI space:
right, anterior and superior of the anterior commissure. They come from the map itself. A similarity transform is fitted
to the centres of its deep structures, which gives the axes and the commissure; then each half axis is scaled so that
the cerebrum reaches as far as that of the template, the proportional grid of [Talairach1988]_. Without enough deep
structures the box of the cerebrum alone is scaled.

Seeds and centres are approximate positions in the MNI space, chosen; borders of lobes are right within about a
centimetre, which is less than they vary between atlases, and no sulcus is followed.

References
----------
.. [Talairach1988] J. Talairach, P. Tournoux, Co-planar Stereotaxic Atlas of the Human Brain, Thieme, 1988.
.. [Desikan2006] R. S. Desikan et al., An automated labeling system for subdividing the human cerebral cortex on MRI
   scans into gyral based regions of interest, NeuroImage 31:968-980, 2006 (parcels 1001-1035, 2001-2035).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatPoints = NDArray[np.float64]
RIGHT = 100
"""Added to a region's number on the right side."""


class BrainRegion(IntEnum):
    """Regions of the brain; on the right side 100 is added, what lies in the middle has its number."""

    OUTSIDE = 0
    FRONTAL = 1
    ANTERIOR_CINGULATE = 2
    SENSORIMOTOR = 3
    PARIETAL = 4
    PRECUNEUS = 5
    INSULA = 6
    LATERAL_TEMPORAL = 7
    MEDIAL_TEMPORAL = 8
    OCCIPITAL = 9
    HIPPOCAMPUS = 10
    AMYGDALA = 11
    CAUDATE = 12
    ANTERIOR_PUTAMEN = 13
    POSTERIOR_PUTAMEN = 14
    ACCUMBENS = 15
    PALLIDUM = 16
    THALAMUS = 17
    VENTRAL_DIENCEPHALON = 18
    CEREBELLAR_CORTEX = 19
    CEREBELLAR_WHITE = 20
    PONS = 21
    BRAINSTEM = 22
    CEREBRAL_WHITE = 23
    CHOROID_PLEXUS = 24

    @property
    def words(self) -> str:
        """Name in small letters, without a side, such as ``"anterior cingulate"``."""
        return self.name.lower().replace("_", " ")


R = BrainRegion
CORTEX = (
    R.FRONTAL, R.ANTERIOR_CINGULATE, R.SENSORIMOTOR, R.PARIETAL, R.PRECUNEUS, R.INSULA, R.LATERAL_TEMPORAL,
    R.MEDIAL_TEMPORAL, R.OCCIPITAL,
)  # fmt: skip
"""Cerebral cortex. The precuneus includes the posterior cingulate, the frontal lobe all but the motor strip."""
STRIATUM: dict[str, tuple[BrainRegion, ...]] = {
    "caudate": (R.CAUDATE,),
    "putamen": (R.ANTERIOR_PUTAMEN, R.POSTERIOR_PUTAMEN),
    "occipital": (R.OCCIPITAL,),
}
"""What a specific binding ratio is measured in, and against, by name; both sides."""

_SIDED = {
    (2, 41): R.CEREBRAL_WHITE,
    (25, 57): R.CEREBRAL_WHITE,
    (7, 46): R.CEREBELLAR_WHITE,
    (8, 47): R.CEREBELLAR_CORTEX,
    (10, 49): R.THALAMUS,
    (11, 50): R.CAUDATE,
    (12, 51): R.ANTERIOR_PUTAMEN,
    (13, 52): R.PALLIDUM,
    (17, 53): R.HIPPOCAMPUS,
    (18, 54): R.AMYGDALA,
    (26, 58): R.ACCUMBENS,
    (28, 60): R.VENTRAL_DIENCEPHALON,
    (31, 63): R.CHOROID_PLEXUS,
    (136, 163): R.CHOROID_PLEXUS,
    (137, 164): R.CHOROID_PLEXUS,
}
_MIDDLE_WHITE = (77, 80, 85, 251, 252, 253, 254, 255)
_MIDLINE = {16: R.BRAINSTEM, **dict.fromkeys(_MIDDLE_WHITE, R.CEREBRAL_WHITE)}
LABEL_REGION: dict[int, int] = {
    **{left: int(region) for (left, _), region in _SIDED.items()},
    **{right: int(region) + RIGHT for (_, right), region in _SIDED.items()},
    **{label: int(region) for label, region in _MIDLINE.items()},
}
"""FreeSurfer number to region, for all but cortex; putamen and brainstem are divided afterwards."""

PARCEL_REGION: dict[int, BrainRegion] = {
    **dict.fromkeys((3, 12, 14, 18, 19, 20, 27, 28, 32), R.FRONTAL),
    **dict.fromkeys((2, 26), R.ANTERIOR_CINGULATE),
    **dict.fromkeys((17, 22, 24), R.SENSORIMOTOR),
    **dict.fromkeys((8, 29, 31), R.PARIETAL),
    **dict.fromkeys((10, 23, 25), R.PRECUNEUS),
    35: R.INSULA,
    **dict.fromkeys((1, 7, 9, 15, 30, 33, 34), R.LATERAL_TEMPORAL),
    **dict.fromkeys((6, 16), R.MEDIAL_TEMPORAL),
    **dict.fromkeys((5, 11, 13, 21), R.OCCIPITAL),
}
"""Parcel of [Desikan2006]_, less 1000 or 2000, to region."""

_SEEDS: dict[BrainRegion, tuple[tuple[float, float, float], ...]] = {
    R.FRONTAL: (
        (12, 36, 44), (10, 56, 20), (11, 16, 60), (37, 16, 48), (33, 46, 20), (49, 16, 16), (48, 32, 4), (26, 32, -14),
        (7, 44, -16), (12, 64, 0), (24, 30, 44),
    ),
    R.ANTERIOR_CINGULATE: ((6, 24, 28), (5, 36, 6), (5, 0, 38)),
    R.SENSORIMOTOR: (
        (40, -10, 46), (53, 0, 26), (16, -22, 66), (45, -22, 50), (57, -14, 28), (20, -36, 68), (8, -26, 62),
    ),
    R.PARIETAL: ((22, -62, 56), (43, -64, 36), (54, -36, 34), (34, -50, 50)),
    R.PRECUNEUS: ((9, -57, 44), (6, -38, 30), (8, -48, 16)),
    R.INSULA: ((37, 4, 2), (38, -14, 6), (34, 18, -4)),
    R.LATERAL_TEMPORAL: (
        (54, -10, -6), (60, -36, 12), (58, -26, -12), (56, -52, 4), (50, -32, -24), (36, -42, -20), (34, 12, -34),
        (44, -8, -36),
    ),
    R.MEDIAL_TEMPORAL: ((24, -8, -32), (25, -30, -16), (20, -18, -24)),
    R.OCCIPITAL: ((32, -88, 2), (14, -68, -4), (8, -82, 22), (12, -82, 6), (20, -98, 4), (44, -74, -2)),
}  # fmt: skip
_CENTRES: dict[tuple[int, int], tuple[float, float, float]] = {
    (10, 49): (11, -19, 7),
    (11, 50): (13, 10, 10),
    (12, 51): (25, 1, 0),
    (13, 52): (20, -5, -1),
    (17, 53): (26, -23, -14),
    (18, 54): (23, -5, -19),
    (26, 58): (10, 11, -7),
    (28, 60): (10, -15, -10),
    (8, 47): (24, -61, -34),
}
"""Centres of deep structures on the right side: right, anterior, superior [mm]."""
_REACH_MM = ((-69.0, 69.0), (-104.0, 71.0), (-46.0, 79.0))
"""How far the cerebrum of the template reaches: right, anterior, superior [mm]."""
_NEEDED = 6
"""Deep structures needed to find the axes."""


@dataclass(frozen=True, slots=True, eq=False)
class BrainFrame:
    """Coordinates inside a brain, like those of the MNI space."""

    linear: FloatPoints
    """Shape ``(3, 3)``, applied to points (right, anterior, superior) [mm]."""
    shift_mm: FloatPoints
    stretch: FloatPoints
    """Factors of the negative and the positive half of each axis, shape ``(3, 2)``."""

    def coordinates(self, index: NDArray[np.int64], spacing_mm: tuple[float, float, float]) -> FloatPoints:
        """Right, anterior and superior of the anterior commissure [mm] of voxels ``(n, 3)`` given as ``(z, y, x)``."""
        placed = _points(index, spacing_mm) @ self.linear.T + self.shift_mm
        return np.where(placed < 0, placed * self.stretch[:, 0], placed * self.stretch[:, 1])

    def index(self, coordinates: FloatPoints, spacing_mm: tuple[float, float, float]) -> FloatPoints:
        """Where coordinates ``(n, 3)`` lie in the map, as fractional ``(z, y, x)``; the inverse of `coordinates`."""
        placed = np.where(coordinates < 0, coordinates / self.stretch[:, 0], coordinates / self.stretch[:, 1])
        points = (placed - self.shift_mm) @ np.linalg.inv(self.linear).T
        index: FloatPoints = np.stack([points[:, 2], -points[:, 1], -points[:, 0]], axis=1) / np.asarray(spacing_mm)
        return index


def _points(index: NDArray[np.int64], spacing_mm: tuple[float, float, float]) -> FloatPoints:
    """Voxels ``(z up, y to posterior, x to the left)`` as right, anterior, superior [mm]."""
    z, y, x = (index * np.asarray(spacing_mm)).T
    return np.stack([-x, -y, z], axis=1)


def _similarity(source: FloatPoints, target: FloatPoints) -> tuple[FloatPoints, FloatPoints]:
    """Matrix and shift of the similarity that brings points nearest to others (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    linear = (u * sign) @ vt * (float((s * sign).sum()) / float((a**2).sum()))
    return linear, target.mean(0) - linear @ source.mean(0)


def is_cortex(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a FreeSurfer number is cerebral cortex, parcels included."""
    cortex: NDArray[np.bool_] = (labels == 3) | (labels == 42) | ((labels >= 1000) & (labels < 3000))
    return cortex


def brain_frame(labels: NDArray[np.int32], spacing_mm: tuple[float, float, float]) -> BrainFrame:
    """Coordinates of a brain label map.

    Parameters
    ----------
    labels
        FreeSurfer numbers, shape ``(z, y, x)``, z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    """
    found, centres = [], []
    for pair, (x, y, z) in _CENTRES.items():
        for label, side in zip(pair, (-1.0, 1.0), strict=True):
            index = np.argwhere(labels == label)
            if len(index):
                found.append(_points(index, spacing_mm).mean(0))
                centres.append((side * x, y, z))
    cerebrum = np.argwhere(is_cortex(labels) | (labels == 2) | (labels == 41))
    if len(cerebrum) == 0:
        cerebrum = np.argwhere(labels > 0)
    points = _points(cerebrum, spacing_mm)
    reach = np.array(_REACH_MM)
    if len(found) >= _NEEDED:
        linear, shift = _similarity(np.array(found), np.array(centres))
        placed = points @ linear.T + shift
        low, high = np.percentile(placed, 0.05, axis=0), np.percentile(placed, 99.95, axis=0)
        stretch = np.stack([reach[:, 0] / np.minimum(low, -1), reach[:, 1] / np.maximum(high, 1)], axis=1)
        return BrainFrame(linear, shift, np.clip(stretch, 0.6, 1.6))
    low, high = points.min(0), points.max(0)
    factor = (reach[:, 1] - reach[:, 0]) / np.maximum(high - low, 1e-6)
    return BrainFrame(np.diag(factor), reach[:, 0] - factor * low, np.ones((3, 2)))


def brain_regions(labels: NDArray[np.int32], spacing_mm: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Region of every voxel of a brain label map.

    Parameters
    ----------
    labels
        FreeSurfer numbers, shape ``(z, y, x)``, z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].

    Returns
    -------
        Number of the `BrainRegion`, on the right with 100 added; 0 for cerebrospinal fluid and outside the brain. The
        putamen is divided in the middle of its length, the pons is the middle third of the brainstem's.
    """
    size = int(labels.max()) + 1
    table = np.zeros(max(size, 1), np.uint8)
    for label, region in LABEL_REGION.items():
        if label < size:
            table[label] = region
    regions = table[labels]
    cortex = is_cortex(labels)
    parcel = np.where(labels >= 1000, labels % 1000, 0)[cortex]
    numbers = labels[cortex]
    found = np.zeros(len(numbers), np.uint8)
    for number, region in PARCEL_REGION.items():
        found[parcel == number] = region
    frame = brain_frame(labels, spacing_mm)
    unknown = found == 0
    if unknown.any():
        found[unknown] = _nearest(frame.coordinates(np.argwhere(cortex)[unknown], spacing_mm))
    found[(numbers == 42) | (numbers >= 2000)] += RIGHT
    regions[cortex] = found
    middle = np.argwhere(np.isin(labels, _MIDDLE_WHITE))
    on_right = middle[frame.coordinates(middle, spacing_mm)[:, 0] > 0]
    regions[tuple(on_right.T)] += RIGHT
    for side in (0, RIGHT):
        _divide(regions, R.ANTERIOR_PUTAMEN + side, R.POSTERIOR_PUTAMEN + side, frame, spacing_mm)
    _divide(regions, R.BRAINSTEM, R.PONS, frame, spacing_mm)
    return regions


def _nearest(points: FloatPoints) -> NDArray[np.uint8]:
    """Region of the seed that is nearest, whichever the side."""
    from scipy.spatial import cKDTree

    seeds = np.array([p for group in _SEEDS.values() for p in group])
    names = np.array([region for region, group in _SEEDS.items() for _ in group], np.uint8)
    mirrored = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], axis=1)
    nearest: NDArray[np.uint8] = names[cKDTree(seeds).query(mirrored)[1]]
    return nearest


def _divide(
    regions: NDArray[np.uint8], whole: int, part: int, frame: BrainFrame, spacing_mm: tuple[float, float, float]
) -> None:
    """Give a part of a region its own number: the posterior half of a putamen, the middle third of the brainstem."""
    index = np.argwhere(regions == whole)
    if len(index) == 0:
        return
    placed = frame.coordinates(index, spacing_mm)
    if whole == R.BRAINSTEM:
        z = placed[:, 2]
        low, high = z.min() + (z.max() - z.min()) / 3, z.min() + 2 * (z.max() - z.min()) / 3
        chosen = (z >= low) & (z <= high)
    else:
        y = placed[:, 1]
        chosen = y < (y.min() + y.max()) / 2
    regions[tuple(index[chosen].T)] = part


def region_name(number: int) -> str:
    """Name of a region with its side, such as ``"left posterior putamen"``; middle structures have no side.

    Examples
    --------
    >>> region_name(114)
    'right posterior putamen'
    """
    region = BrainRegion(number % RIGHT)
    if region in (R.OUTSIDE, R.PONS, R.BRAINSTEM):
        return region.words
    return f"{'right' if number >= RIGHT else 'left'} {region.words}"
