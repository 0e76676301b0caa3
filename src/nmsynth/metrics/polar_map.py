"""Polar map of the left ventricle: uptake of the wall by height and angle, in one orientation for all images.

The wall and its long axis are found once for a patient, in the best image there is, and given to every image that is
compared; an image that found its own would be compared in another place. Each sample is the mean along a ray through
the wall, not the maximum, which noise raises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError

from nmsynth.core.errors import InputError
from nmsynth.core.myocardium import SEGMENTS, segment_number

FloatArray = npt.NDArray[np.float64]

N_RINGS, N_ANGLES = 15, 36
"""Samples of a map from base to apex, and around."""
CAP_SHARE = 0.4
"""Of the length from base to apex, that rays leave from one point, the middle of the apical cap."""
STEP_MM = 1.0
"""Between points of a ray [mm]."""
REACH_MM = 60.0
"""Length of a ray [mm]."""
LEAST_WALL = 1.0
"""Wall on a ray, below which it is said to miss the wall [mm]."""
LEAST_MET = 0.5
"""Share of the rays that must meet the wall."""
STEEPEST = 0.95
"""Largest share of the head's direction in the long axis, beyond which no wall is the anterior one."""
FINE_MM = 2.0
"""Largest voxel on which the axis of a wall is sought [mm]."""
LEAST_LONGER = 1.15
"""Longest second moment of a cup over the next one, from which on its axis is the long one."""
N_SEGMENTS = len(SEGMENTS)


@dataclass(frozen=True, slots=True)
class LongAxis:
    """Long axis of the left ventricle, LPS ``(x, y, z)`` [mm]."""

    base_mm: tuple[float, float, float]
    """Middle of the plane of the base."""
    apex_mm: tuple[float, float, float]
    """Outer surface of the apex."""

    @classmethod
    def of(cls, wall: npt.ArrayLike, affine: npt.ArrayLike) -> LongAxis:
        """Long axis of a wall, which is a cup: the longest principal axis of the cup and what it encloses.

        It leads from what is enclosed to the wall, through the middle of both. All is done on voxels of
        :data:`FINE_MM`: those of an image are as wide as the wall is thick. A cup that is hardly longer than wide has
        no longest axis; that from the middle of the cavity to the middle of the wall is taken then.

        It holds for walls that are whole from the base on; a wall with a gap, as thresholds of an image leave it where
        perfusion fails, has a tilted axis: mark the wall on an image without defects, or state the axis.

        Parameters
        ----------
        wall
            Wall of the left ventricle, shape ``(z, y, x)``; above one half counts.
        affine
            Of its grid, to LPS.

        Raises
        ------
        InputError
            If it encloses nothing.
        """
        mask, matrix = _finer(np.asarray(wall) > 0.5, np.asarray(affine, dtype=np.float64))
        filled = _hull(mask)
        # what the hull holds beside the cavity is a film on the outer surface, one voxel thin
        cavity, n_parts = ndimage.label(ndimage.binary_erosion(filled & ~mask))
        if n_parts == 0:
            raise InputError("A wall must enclose a cavity, open at the base; this one encloses none. Check the mask.")
        largest = cavity == np.bincount(cavity.ravel())[1:].argmax() + 1

        def world(points: npt.NDArray[np.bool_]) -> FloatArray:
            """Positions of the voxels of a mask, shape ``(n, 3)`` [mm]."""
            return np.asarray(np.argwhere(points) @ matrix[:3, :3].T + matrix[:3, 3])

        points, body = world(mask), world(filled)
        middle = body.mean(axis=0)
        along = points.mean(axis=0) - world(largest).mean(axis=0)
        moments, axes = np.linalg.eigh(np.cov((body - middle).T))
        if moments[-1] > LEAST_LONGER * moments[-2]:
            along = axes[:, -1] * (1.0 if axes[:, -1] @ along >= 0 else -1.0)
        along = along / max(float(np.linalg.norm(along)), 1e-30)
        height = (points - middle) @ along
        off = float(np.abs(matrix[:3, :3].T @ along).sum()) / 2  # from the middle of a voxel to its surface
        base, apex = middle + (height.min() - off) * along, middle + (height.max() + off) * along
        return cls((float(base[0]), float(base[1]), float(base[2])), (float(apex[0]), float(apex[1]), float(apex[2])))

    @property
    def length_mm(self) -> float:
        """From base to apex."""
        return float(np.linalg.norm(np.subtract(self.apex_mm, self.base_mm)))

    @property
    def directions(self) -> FloatArray:
        """Unit vectors in LPS as rows: to the apex, to the anterior wall, to the lateral wall, shape ``(3, 3)``.

        The anterior wall is that towards the head, as in short-axis slices.

        Raises
        ------
        InputError
            If base and apex are one point, or lie one above the other.
        """
        along = np.subtract(self.apex_mm, self.base_mm)
        length = float(np.linalg.norm(along))
        if not length > 0 or abs(along[2]) > STEEPEST * length:
            raise InputError(
                "A long axis leads from the base to the apex, not straight up or down; found "
                f"{self.base_mm} and {self.apex_mm} mm. Give both in LPS."
            )
        along = along / length
        anterior = np.array([0.0, 0.0, 1.0]) - along[2] * along
        anterior /= np.linalg.norm(anterior)
        return np.stack([along, anterior, np.cross(anterior, along)])


@dataclass(frozen=True, slots=True, eq=False)
class PolarMap:
    """Uptake of the wall, sampled; one geometry serves every image of a patient."""

    values: FloatArray
    """Shape ``(ring, angle)``, base first, unit of the image; NaN where a ray misses the wall."""
    height: FloatArray
    """0 at the base, 1 at the apical end of the cavity, shape ``(ring, angle)``."""
    angle_deg: FloatArray
    """0 lateral, 90 anterior, 180 septal, 270 inferior, shape ``(angle,)``."""
    area: FloatArray
    """Of the wall that each sample stands for, sums to 1, shape ``(ring, angle)``."""

    @property
    def segments(self) -> npt.NDArray[np.uint8]:
        """Segment of each sample, 1 to 17, shape ``(ring, angle)``."""
        return segment_number(self.height, np.broadcast_to(self.angle_deg, self.height.shape))

    def segment_means(self) -> FloatArray:
        """Mean of each of the 17 segments, weighed by area, shape ``(17,)``; NaN where one has no sample."""
        numbers = self.segments
        known = np.isfinite(self.values)
        weight = np.bincount(numbers[known], self.area[known], minlength=N_SEGMENTS + 1)[1:]
        total = np.bincount(numbers[known], (self.area * self.values)[known], minlength=N_SEGMENTS + 1)[1:]
        return np.asarray(np.where(weight > 0, total / np.maximum(weight, 1e-30), np.nan))


@dataclass(frozen=True, slots=True, eq=False)
class WallRays:
    """Rays through the wall of one patient's left ventricle, ready for every image on one grid."""

    places: FloatArray
    """Voxel indices along ``(z, y, x)``, shape ``(3, ring, angle, step)``."""
    weights: FloatArray
    """Share of the wall at each point, shape ``(ring, angle, step)``."""
    height: FloatArray
    angle_deg: FloatArray
    area: FloatArray
    shape: tuple[int, int, int]

    @classmethod
    def through(cls, wall: npt.ArrayLike, affine: npt.ArrayLike, axis: LongAxis) -> WallRays:
        """Find the wall along each ray.

        Rays leave the long axis at right angles from the base on; those of the apical part leave one point of it and
        turn towards the apex.

        Parameters
        ----------
        wall
            Wall of the left ventricle, or the share of it in each voxel, shape ``(z, y, x)``.
        affine
            Of its grid, to LPS.
        axis
            Long axis.

        Raises
        ------
        InputError
            If fewer than half of the rays meet the wall.
        """
        mask = np.asarray(wall, dtype=np.float32)
        along, out, angle = _rays(axis)
        places = _voxels(axis, affine, along, out * np.sin(angle)[:, None], out * np.cos(angle)[:, None])
        weights = ndimage.map_coordinates(mask, places, order=1, mode="constant").astype(np.float64)
        met = weights.sum(axis=-1) * STEP_MM >= LEAST_WALL
        if met.mean() < LEAST_MET:
            raise InputError(
                f"Rays from the long axis must meet the wall; {100 * met.mean():.0f} % do. Do wall and axis belong "
                "together?"
            )
        weights = np.where(met[..., None], weights, 0.0)
        total = np.maximum(weights.sum(axis=-1), 1e-30)
        middle, radius = (weights * along).sum(axis=-1) / total, (weights * out).sum(axis=-1) / total
        height = np.where(met, middle / _cavity_mm(mask, affine, axis), np.inf)
        return cls(places, weights, height, np.degrees(angle), _areas(middle, radius, met), mask.shape)

    def map_of(self, image: npt.ArrayLike) -> PolarMap:
        """Polar map of an image on the grid of the wall.

        Parameters
        ----------
        image
            Shape ``(z, y, x)``, any unit.
        """
        array = np.asarray(image, dtype=np.float32)
        if array.shape != self.shape:
            raise InputError(f"An image must lie on the grid of the wall {self.shape}; found {array.shape}.")
        found = ndimage.map_coordinates(array, self.places, order=1, mode="nearest")
        total = self.weights.sum(axis=-1)
        values = np.where(total > 0, (found * self.weights).sum(axis=-1) / np.maximum(total, 1e-30), np.nan)
        return PolarMap(np.asarray(values), self.height, self.angle_deg, self.area)


def _finer(mask: npt.NDArray[np.bool_], affine: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """The box of a mask on voxels of at most :data:`FINE_MM`, by linear interpolation, and the affine of them."""
    if not mask.any():
        return mask, affine
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))
    start = np.array([part.start for part in box])
    parts = np.maximum(1, np.ceil(np.linalg.norm(affine[:3, :3], axis=0) / FINE_MM - 1e-6)).astype(int)
    padded = np.pad(mask[box], 1).astype(np.float32)
    places = np.meshgrid(
        *((np.arange(n * k) + 0.5) / k - 0.5 for n, k in zip(padded.shape, parts, strict=True)), indexing="ij"
    )
    fine = ndimage.map_coordinates(padded, places, order=1, mode="constant") > 0.5
    matrix = affine.copy()
    matrix[:3, :3] = affine[:3, :3] / parts
    matrix[:3, 3] += affine[:3, :3] @ (start - 1 + 0.5 / parts - 0.5)
    return fine, matrix


def _hull(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels inside the convex hull of a mask, none where it lies in a plane."""
    points = np.argwhere(mask)
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return np.zeros_like(mask)
    inside = Delaunay(corners).find_simplex(np.indices(mask.shape).reshape(mask.ndim, -1).T) >= 0
    return np.asarray(inside.reshape(mask.shape))


def _rays(axis: LongAxis) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points of the rays: distance from the base along the axis, and from the axis, ``(ring, angle, step)``; angles."""
    centre = axis.length_mm * (1 - CAP_SHARE)
    n_straight = max(1, round(N_RINGS * (1 - CAP_SHARE)))
    n_cap = N_RINGS - n_straight
    start = np.append((np.arange(n_straight) + 0.5) / n_straight * centre, np.full(n_cap, centre))
    tilt = np.append(np.zeros(n_straight), (np.arange(n_cap) + 0.5) / n_cap * np.pi / 2)
    step = np.arange(STEP_MM / 2, REACH_MM, STEP_MM)
    around = np.ones((1, N_ANGLES, 1))
    along = (start[:, None] + np.sin(tilt)[:, None] * step)[:, None] * around
    out = (np.cos(tilt)[:, None] * step)[:, None] * around
    return along, out, (np.arange(N_ANGLES) + 0.5) * 2 * np.pi / N_ANGLES


def _voxels(
    axis: LongAxis, affine: npt.ArrayLike, along: FloatArray, anterior: FloatArray, lateral: FloatArray
) -> FloatArray:
    """Voxel indices ``(3, ...)`` of points stated along the axes of the ventricle, from the middle of the base [mm]."""
    shape = (3,) + (1,) * along.ndim
    world = np.einsum("kd,k...->d...", axis.directions, np.stack([along, anterior, lateral]))
    inverse = np.linalg.inv(np.asarray(affine, dtype=np.float64))
    world = world + np.asarray(axis.base_mm).reshape(shape)
    return np.asarray(np.einsum("id,d...->i...", inverse[:3, :3], world) + inverse[:3, 3].reshape(shape))


def _cavity_mm(wall: npt.NDArray[np.float32], affine: npt.ArrayLike, axis: LongAxis) -> float:
    """From the base along the axis to the inner surface of the apex, the outer one where there is no wall [mm]."""
    along = np.arange(0.3 * axis.length_mm, axis.length_mm + STEP_MM, STEP_MM / 2)
    nothing = np.zeros_like(along)
    share = ndimage.map_coordinates(wall, _voxels(axis, affine, along, nothing, nothing), order=1, mode="constant")
    inside = np.flatnonzero(share >= 0.5)
    return float(along[inside[0]]) if inside.size else axis.length_mm


def _areas(middle: FloatArray, radius: FloatArray, met: npt.NDArray[np.bool_]) -> FloatArray:
    """Area of the wall's middle surface that each sample stands for, sums to 1, ``(ring, angle)``.

    The circumference at the sample times half the way to the rings on both sides.
    """
    way = np.hypot(np.diff(middle, axis=0), np.diff(radius, axis=0))
    way = np.where(met[1:] & met[:-1], way, 0.0)
    none = np.zeros((1, way.shape[1]))
    width = 0.5 * (np.concatenate([none, way]) + np.concatenate([way, none]))
    width[0] += 0.5 * way[0]
    width[-1] += radius[-1]  # the tip, a disc around the axis
    area = np.where(met, radius * width, 0.0)
    return np.asarray(area / area.sum())
