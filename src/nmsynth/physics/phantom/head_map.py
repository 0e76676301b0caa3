"""A head as a label map, drawn without anybody's: what a brain is scanned from where no map of a real one is at hand.

Surfaces are ellipsoids and tubes in coordinates like those of the MNI space, each subject's bent by a smooth field.
The cerebrum is what fills the cavity above the tentorium; its sulci are sheets on which a smooth random field vanishes,
down to a depth [Lefevre2010]_, besides the longitudinal and the lateral fissure, and cortex is what lies nearer to any
of them than its thickness. Places and volumes follow the medians of 15 segmented heads [Billot2023]_, within 5 mm and
a quarter (`docs/brain_phantoms.md`); sulci are not any named ones.

References
----------
.. [Lefevre2010] J. Lefevre, J.-F. Mangin, A reaction-diffusion model of human brain development, PLoS Comput Biol
   6:e1000749, 2010 (folds from a random pattern; from memory).
.. [Billot2023] B. Billot et al., SynthSeg: segmentation of brain MRI scans of any contrast and resolution without
   retraining, Med Image Anal 86:102789, 2023 (numbers of the labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Place = tuple[float, float, float]
"""Right, anterior, superior [mm]."""

SPACING_MM = 1.5
"""Edge of a voxel unless another is asked for [mm]: half of a cortex."""
_REACH_MM = ((-96.0, 96.0), (-132.0, 102.0), (-124.0, 108.0))
"""What the map holds: right, anterior, superior [mm]."""
_SIZE = 0.92
"""Of the usual head over the template, whose brain is larger than most."""
_WARP_MM = 2.5
_MARGIN_MM = 12.0
"""Beyond what a shape reaches, for the warp and the scale."""

_CSF, _SOFT, _SKIN, _COMPACT, _SPONGY, _MUCOSA = 24, 507, 511, 515, 516, 509
_ARTERY, _VEIN, _CORD, _EYE, _EYE_MUSCLE, _NERVE = 502, 514, 512, 506, 508, 530
_SIDES = ((-1.0, 0), (1.0, 1))
"""Sign of the coordinate to the right, and which of a pair of numbers: left, right."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What differs between heads besides the warp."""

    scale: Place
    ventricles: float
    """Widths of the ventricles over the usual."""
    cortex_mm: float
    sulcus_mm: float
    """Depth of sulci."""


def head_map(seed: int, *, spacing_mm: float = SPACING_MM) -> tuple[Labels, tuple[float, float, float]]:
    """Draw a head.

    Parameters
    ----------
    seed
        Number that draws the head; the same seed gives the same labels.
    spacing_mm
        Edge of a voxel, 0.8 to 2.5 mm; the cortex is lost in larger ones.

    Returns
    -------
        FreeSurfer numbers with 502-530 outside the brain, shape ``(z, y, x)`` with z upwards, y to posterior, x to the
        left, and the spacing along the axes [mm]: what :func:`~nmsynth.physics.phantom.brain.brain_patient` takes.
        Cortex has no parcels (3 and 42).

    Raises
    ------
    InputError
        If the seed is negative or the spacing out of its range.

    Examples
    --------
    >>> labels, spacing = head_map(1, spacing_mm=2.5)
    >>> labels.shape, bool((labels == 12).any() and (labels == 51).any())
    ((93, 94, 77), True)
    """
    if seed < 0 or not 0.8 <= spacing_mm <= 2.5:
        raise InputError(
            f"A head needs a seed of 0 or more and voxels of 0.8 to 2.5 mm; found {seed} and {spacing_mm}."
        )
    rng = np.random.default_rng([seed, 61])
    x, y, z = (float(v) for v in _SIZE * np.clip(rng.normal(1.0, 0.035, 3), 0.9, 1.1))
    subject = _Subject(
        (x, y, z), float(np.exp(0.25 * rng.standard_normal())), float(rng.uniform(2.5, 3.1)), float(rng.uniform(15, 23))
    )
    drawing = _Drawing(subject, rng, spacing_mm)
    _outer_head(drawing)
    cavity = _skull(drawing)
    _neck_and_face(drawing)
    drawing.labels[cavity] = _CSF
    _cerebrum(drawing, cavity, rng)
    _deep_structures(drawing)
    _below_the_tentorium(drawing)
    return drawing.labels, (spacing_mm,) * 3


class _Drawing:
    """Label map under work, with the coordinates of its voxels."""

    def __init__(self, subject: _Subject, rng: np.random.Generator, spacing_mm: float) -> None:
        """An empty map, and coordinates bent for this subject."""
        self.subject = subject
        self.spacing_mm = spacing_mm
        right, anterior, superior = (np.arange(high, low, -spacing_mm) for low, high in _REACH_MM)
        self.axes = (superior[::-1], anterior, right)
        """Superior, anterior and right of the planes, rows and columns [mm]."""
        fields = [SmoothField.random(rng, 45.0) for _ in range(3)]
        bent = []
        for k, (axis, field, scale) in enumerate(zip(self.axes, fields, subject.scale[::-1], strict=True)):
            along = (axis / scale).astype(np.float32).reshape([-1 if i == k else 1 for i in range(3)])
            bent.append(along + np.float32(_WARP_MM) * field.on_axes(*self.axes))
        self.s, self.a, self.r = bent
        self.labels: Labels = np.zeros(self.s.shape, np.int32)

    def box(self, low: npt.ArrayLike, high: npt.ArrayLike) -> tuple[slice, slice, slice]:
        """Voxels that may lie between two corners given as (right, anterior, superior) [mm]."""
        parts = []
        corners = zip(np.asarray(low)[::-1].tolist(), np.asarray(high)[::-1].tolist(), strict=True)
        for axis, (near, far) in zip(self.axes, corners, strict=True):
            inside = np.flatnonzero((axis >= 1.1 * min(near, 0) + 0.9 * max(near, 0) - _MARGIN_MM)
                                    & (axis <= 1.1 * max(far, 0) + 0.9 * min(far, 0) + _MARGIN_MM))  # fmt: skip
            parts.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
        return parts[0], parts[1], parts[2]

    def ellipsoid(self, centre: Place, radii: Place, *, yaw: float = 0.0) -> Mask:
        """Voxels of an ellipsoid, turned about the superior axis [degrees]."""
        mask = np.zeros(self.labels.shape, np.bool_)
        reach = max(radii) if yaw else radii
        low, high = np.subtract(centre, reach), np.add(centre, reach)
        box = self.box(low, high)
        r, a, s = self.r[box] - centre[0], self.a[box] - centre[1], self.s[box] - centre[2]
        if yaw:
            c, d = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
            r, a = c * r + d * a, c * a - d * r
        mask[box] = (r / radii[0]) ** 2 + (a / radii[1]) ** 2 + (s / radii[2]) ** 2 < 1
        return mask

    def tube(self, points: Sequence[Place], radii: Sequence[float] | float) -> Mask:
        """Voxels of a chain of capsules."""
        mask = np.zeros(self.labels.shape, np.bool_)
        widths = [radii] * len(points) if isinstance(radii, (int, float)) else list(radii)
        for start, end, first, last in zip(points, points[1:], widths, widths[1:], strict=False):
            wide = max(first, last)
            box = self.box(np.minimum(start, end) - wide, np.maximum(start, end) + wide)
            step = np.subtract(end, start)
            offset = [c[box] - p for c, p in zip((self.r, self.a, self.s), start, strict=True)]
            along = sum(o * d for o, d in zip(offset, step, strict=True)) / float(step @ step)
            t = np.clip(along, 0, 1)
            gap = sum((o - t * d) ** 2 for o, d in zip(offset, step, strict=True))
            mask[box] |= gap < (first + t * (last - first)) ** 2
        return mask

    def depth(self, mask: Mask) -> FloatArray:
        """Distance of each voxel of a mask from what lies outside it [mm]."""
        found: FloatArray = ndimage.distance_transform_edt(mask).astype(np.float32) * np.float32(self.spacing_mm)
        return found

    def paint(self, mask: Mask, label: int) -> None:
        """Give voxels a label."""
        self.labels[mask] = label


def _outer_head(drawing: _Drawing) -> None:
    """Outline of head, face and neck, with the skin."""
    face = drawing.ellipsoid((0, 30, -52), (60, 60, 62))
    nose = drawing.tube([(0, 84, -34), (0, 98, -58)], [6, 10])
    neck = drawing.tube([(0, -30, -60), (0, -38, -150)], [60, 56])
    head = drawing.ellipsoid((0, -17, 13), (81, 101, 83)) | face | nose | neck
    head |= drawing.ellipsoid((0, -50, -30), (70, 66, 46))
    head = ndimage.binary_closing(head, iterations=max(1, round(6 / drawing.spacing_mm)))
    drawing.labels[head] = _SOFT
    # the map's lower end is no surface
    grown = np.concatenate([head[:1]] * 6 + [head])
    drawing.labels[head & (drawing.depth(grown)[6:] < 4.5)] = _SKIN


def _skull(drawing: _Drawing) -> Mask:
    """The bone about the cranial cavity, and the cavity."""
    cavity = drawing.ellipsoid((0, -16.5, 14), (70.5, 89, 67))
    cavity |= drawing.ellipsoid((0, -56, -34), (54, 43, 30))
    for side, _ in _SIDES:
        cavity |= drawing.ellipsoid((side * 40, -10, -20), (29, 48, 29))
    cavity &= drawing.s > np.where(drawing.a > 22, -16.0 - 0.1 * drawing.a, -200.0)  # above the roof of the orbits
    cavity &= (np.abs(drawing.r) > 17) | (drawing.a < -14) | (drawing.s > -22)  # above the sella, behind the clivus
    outside = drawing.depth(~cavity)
    bone = ~cavity & (outside < 7.0)
    drawing.labels[bone] = _COMPACT
    drawing.labels[bone & (outside > 2.5) & (outside < 5.0) & (drawing.s > -20)] = _SPONGY
    sinus = drawing.tube([(0, 66, 38), (0, 20, 78), (0, -50, 76), (0, -100, 30), (0, -102, -6)], 4.5)
    for side, _ in _SIDES:
        sinus |= drawing.tube([(0, -102, -6), (side * 40, -82, -22), (side * 52, -48, -32)], 4.0)
    cavity = cavity & ~sinus
    drawing.labels[sinus] = _VEIN
    return cavity


def _neck_and_face(drawing: _Drawing) -> None:
    """Jaws, orbits, airways, spine and vessels."""
    spine = [(0.0, -44.0, -68.0), (0.0, -42.0, -150.0)]
    drawing.paint(drawing.tube(spine, 15), _COMPACT)
    drawing.paint(drawing.tube(spine, 12.5), _SPONGY)
    back = [(0.0, -50.0, -60.0), (0.0, -50.0, -150.0)]
    drawing.paint(drawing.tube(back, 7.5), _CSF)
    drawing.paint(drawing.tube(back, 4.5), _CORD)
    upper = drawing.ellipsoid((0, 52, -72), (30, 30, 14))
    lower = drawing.tube(
        [(-48, 4, -62), (-44, 20, -98), (0, 66, -106), (44, 20, -98), (48, 4, -62)], [6.0, 8.0, 10.0, 8.0, 6.0]
    )
    drawing.paint(upper | lower, _COMPACT)
    drawing.paint(ndimage.binary_erosion(upper | lower, iterations=max(1, round(3 / drawing.spacing_mm))), _SPONGY)
    for side, _ in _SIDES:
        drawing.paint(drawing.ellipsoid((side * 32, 50, -38), (19, 24, 17)), _SOFT)
        drawing.paint(drawing.tube([(side * 30, 50, -36), (side * 16, 24, -34)], 3.5), _EYE_MUSCLE)
        drawing.paint(drawing.tube([(side * 30, 50, -36), (side * 4, 14, -24)], 1.8), _NERVE)
        drawing.paint(drawing.ellipsoid((side * 32, 60, -39), (11.5, 11.5, 11.5)), _EYE)
        drawing.paint(drawing.tube([(side * 24, -14, -60), (side * 30, -16, -150)], 3.2), _ARTERY)
        drawing.paint(drawing.tube([(side * 32, -26, -52), (side * 36, -26, -150)], 4.0), _VEIN)
        drawing.paint(drawing.ellipsoid((side * 30, 44, -64), (12, 16, 12)), 0)  # maxillary sinus
    airway = drawing.ellipsoid((0, 52, -58), (11, 32, 14)) | drawing.tube([(0, 16, -62), (0, 4, -96), (0, 2, -150)], 8)
    drawing.paint(ndimage.binary_dilation(airway, iterations=max(1, round(3 / drawing.spacing_mm))), _MUCOSA)
    drawing.paint(airway & (np.abs(drawing.r) > 1.5), 0)
    drawing.paint(drawing.ellipsoid((0, 74, 22), (14, 4, 9)), 0)  # frontal sinus


def _cerebrum(drawing: _Drawing, cavity: Mask, rng: np.random.Generator) -> None:
    """White matter and cortex about fissures and sulci."""
    r, a, s = np.abs(drawing.r), drawing.a, drawing.s
    whole = drawing.ellipsoid((0, -16.5, 15), (67.5, 86.5, 63.5))
    whole &= s > np.where(a > 16, -19.0 - 0.08 * a, np.where(a < -26, -9.0 + 0.12 * (a + 26), -14.0))
    for side, _ in _SIDES:
        whole |= drawing.ellipsoid((side * 40, -13, -19), (27, 47, 25), yaw=-side * 5.0)
    inside = whole & (drawing.depth(cavity) > 1.6)
    hull = drawing.depth(inside)
    # the middle of the brain, where hemispheres are joined and nothing is folded
    joined = (r < 14) & (((a + 14) / 34) ** 2 + ((s - 3) / 23) ** 2 < 1)
    gap = (r < 1.0) & ~joined
    slope = 1.0 - 0.22 * a
    lateral = (np.abs(s - slope) < 1.0) & (r > 36) & (a < 26) & (a > -36)
    lateral |= (np.abs(r - 36.5) < 1.2) & (np.abs(s - slope) < 13) & (a < 24) & (a > -22)
    field = SmoothField.random(rng, 8.0, 48).on_axes(*drawing.axes)
    steep = np.sqrt(sum(g**2 for g in np.gradient(field, drawing.spacing_mm)))
    sulcus = np.abs(field) / np.maximum(steep, 0.02) < 0.5 * drawing.spacing_mm
    medial = r + np.where(joined, 100.0, 0.0)
    folded = np.minimum(hull, medial) < drawing.subject.sulcus_mm
    sulcus &= folded & ~joined
    tissue = inside & ~gap & ~lateral & ~sulcus
    # of the fissure that the grid may be too coarse for, a voxel belongs to neither side
    depth = np.minimum(drawing.depth(tissue | (joined & inside)), medial)
    cortex = tissue & (depth < drawing.subject.cortex_mm)
    for side, which in _SIDES:
        of_side = drawing.r * side > 0
        drawing.labels[tissue & of_side] = (2, 41)[which]
        drawing.labels[cortex & of_side] = (3, 42)[which]


def _deep_structures(drawing: _Drawing) -> None:
    """Ventricles, basal ganglia, thalamus, hippocampus."""
    wide = drawing.subject.ventricles
    for d, which in _SIDES:

        def put(mask: Mask, pair: tuple[int, int], which: int = which) -> None:
            """Paint a mask with this side's number."""
            drawing.labels[mask] = pair[which]

        def tube(points: Sequence[Place], radii: Sequence[float] | float, d: float = d) -> Mask:
            """A tube on this side."""
            return drawing.tube([(d * x, y, z) for x, y, z in points], radii)

        def ellipsoid(centre: Place, radii: Place, yaw: float = 0.0, d: float = d) -> Mask:
            """An ellipsoid on this side, turned outwards behind."""
            return drawing.ellipsoid((d * centre[0], centre[1], centre[2]), radii, yaw=d * yaw)

        horns: list[Place] = [(9, 31, 5), (12, 14, 14), (13, -10, 20), (21, -34, 18), (26, -52, 9)]
        put(tube(horns, [w * wide for w in (7.2, 8.2, 8.0, 11.5, 7.2)]), (4, 43))
        put(tube([(27, -38, 8), (36, -27, -10), (35, -8, -20)], [4.5, 2.7 * wide, 2.7]), (5, 44))
        put(tube([(13, -24, 14), (20, -34, 14)], 2.8), (31, 63))
        put(ellipsoid((14, 14, 3), (5.8, 9.2, 10.0)), (11, 50))
        put(tube([(17, 9, 12), (21, -10, 19), (25, -22, 17)], [4.4, 3.4, 2.4]), (11, 50))
        put(ellipsoid((27.5, 0, 0), (7.0, 19.0, 12.3), 10.0), (12, 51))
        put(ellipsoid((21, -4, -1), (4.7, 10.7, 8.6), 18.0), (13, 52))
        put(ellipsoid((13, -18, 6), (10.2, 15.6, 12.4)), (10, 49))
        put(ellipsoid((12, -16, -9), (10.2, 12.4, 9.2)), (28, 60))
        put(ellipsoid((10, 11, -7), (5.0, 6.0, 5.0)), (26, 58))
        put(tube([(26, -10, -20), (29, -20, -16), (28, -30, -8), (22, -38, -2)], [6.3, 5.9, 5.6, 4.0]), (17, 53))
        put(ellipsoid((24, -4, -19), (7.0, 7.0, 8.0)), (18, 54))
    drawing.labels[drawing.ellipsoid((0, -9, -3), (2.8 * wide, 15, 12))] = 14


def _below_the_tentorium(drawing: _Drawing) -> None:
    """Cerebellum, brainstem and fourth ventricle."""
    for d, which in _SIDES:
        of_side = drawing.r * d > 0
        whole = drawing.ellipsoid((d * 22, -58, -33), (27.5, 31, 21.5), yaw=-d * 14.0)
        whole |= drawing.ellipsoid((0, -59, -30), (12, 22, 20))
        core = drawing.ellipsoid((d * 17.5, -50, -31), (15, 20, 12.5))
        core |= drawing.tube([(d * 17, -47, -30), (d * 32, -63, -36)], [8.5, 4.5])
        core |= drawing.tube([(d * 15, -51, -30), (d * 14, -71, -28)], [7.5, 4.0])
        free = of_side & np.isin(drawing.labels, (_CSF, 2, 41, 3, 42))
        drawing.labels[whole & free & ((drawing.labels == _CSF) | (drawing.s < -14))] = (8, 47)[which]
        drawing.labels[core & of_side & np.isin(drawing.labels, (8, 47))] = (7, 46)[which]
        drawing.labels[drawing.tube([(d * 8, -34, -31), (d * 17, -46, -31)], 6.0) & of_side] = (7, 46)[which]
    stem = drawing.tube([(0, -24, -9), (0, -28, -20)], [11.0, 12.0])
    stem |= drawing.ellipsoid((0, -27, -31), (15.5, 13.0, 13.5))
    stem |= drawing.tube([(0, -34, -40), (0, -44, -58), (0, -50, -70)], [9.0, 7.5, 6.0])
    drawing.labels[stem & ~np.isin(drawing.labels, (10, 49, 28, 60, _COMPACT, _SPONGY))] = 16
    drawing.labels[drawing.ellipsoid((0, -44, -31), (6.0, 5.0, 12.0))] = 15
    drawing.labels[drawing.tube([(0, -32, -12), (0, -40, -24)], 1.3)] = 15
