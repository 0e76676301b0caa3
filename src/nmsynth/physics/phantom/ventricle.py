"""The left ventricle: a shell between two half ellipsoids, open at the base, through the beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.core.myocardium import segment_number
from nmsynth.physics.phantom.grid import FloatArray
from nmsynth.physics.phantom.myocardial_segments import segment_middle
from nmsynth.physics.phantom.shapes import Point

EJECTED = (0.0, 0.45, 0.9, 1.0, 0.65, 0.35, 0.25, 0.1)
"""Share of the stroke volume that is out at each of eight gates, from end diastole on. Chosen."""
MEAN_EJECTED = sum(EJECTED) / len(EJECTED)
"""Its mean: where the wall is on average."""
_TINY = np.float32(1e-6)


def truncated_spheroid_ml(length_mm: float, radius_mm: float, base_mm: float) -> float:
    """Volume of a spheroid from ``base_mm`` below its middle to its tip.

    ``pi R^2 ((L + b) - (L^3 + b^3) / (3 L^2))``.

    Examples
    --------
    >>> round(truncated_spheroid_ml(10.0, 10.0, 10.0), 4)  # a whole sphere
    4.1888
    """
    long, base = length_mm, base_mm
    return math.pi * radius_mm**2 * ((long + base) - (long**3 + base**3) / (3 * long**2)) / 1000.0


@dataclass(frozen=True, slots=True)
class VentriclePose:
    """Sizes at one moment, of two spheroids with one middle [mm]."""

    outer_length_mm: float
    outer_radius_mm: float
    inner_length_mm: float
    inner_radius_mm: float
    base_mm: float
    """From the middle to the plane of the base."""

    @property
    def cavity_ml(self) -> float:
        """Volume of the cavity, from the plane of the base on."""
        return truncated_spheroid_ml(self.inner_length_mm, self.inner_radius_mm, self.base_mm)

    @property
    def myocardium_ml(self) -> float:
        """Volume of the wall."""
        return truncated_spheroid_ml(self.outer_length_mm, self.outer_radius_mm, self.base_mm) - self.cavity_ml

    @property
    def wall_mm(self) -> float:
        """Thickness of the wall where it is widest."""
        return self.outer_radius_mm - self.inner_radius_mm


@dataclass(frozen=True, slots=True)
class LeftVentricle:
    """Place, direction and sizes at end diastole.

    Attributes
    ----------
    apex_mm
        Outer surface at the apex ``(z, y, x)`` [mm]; it does not move through the beat.
    azimuth_deg
        Direction of the long axis from base to apex, in the transverse plane: 0 to the front, 90 to the left.
    descent_deg
        Angle of the long axis below the transverse plane.
    length_mm
        From the plane of the base to the apex.
    cavity_radius_mm
        Largest inner radius.
    wall_mm, apex_wall_mm
        Thickness of the wall at its widest and at the apex, which is thinner.
    base_share
        Distance of the base from the middle over the half axis.
    ejection_fraction
        Share of the cavity's volume that a beat ejects.
    shortening_mm
        By which the base comes nearer to the apex.
    """

    apex_mm: Point = (0.0, 0.0, 0.0)
    azimuth_deg: float = 45.0
    descent_deg: float = 25.0
    length_mm: float = 88.0
    cavity_radius_mm: float = 25.0
    wall_mm: float = 9.5
    apex_wall_mm: float = 6.0
    base_share: float = 0.4
    ejection_fraction: float = 0.62
    shortening_mm: float = 11.0

    def __post_init__(self) -> None:
        sizes = (self.length_mm, self.cavity_radius_mm, self.wall_mm, self.apex_wall_mm)
        half = self.length_mm / (1 + self.base_share)
        fits = self.base_share * half < half - self.apex_wall_mm and self.shortening_mm < 0.4 * self.length_mm
        if min(sizes) <= 0 or not 0 <= self.base_share < 1 or not 0 <= self.ejection_fraction < 1 or not fits:
            raise InputError(
                "A left ventricle needs sizes above 0, a base between middle and end of its cavity, and an ejection "
                f"fraction below 1; found {self}."
            )

    @property
    def axes(self) -> NDArray[np.float64]:
        """Unit vectors ``(z, y, x)`` as rows: to the apex, to the anterior wall, to the lateral wall."""
        az, down = math.radians(self.azimuth_deg), math.radians(self.descent_deg)
        return np.array(
            [
                (-math.sin(down), -math.cos(down) * math.cos(az), math.cos(down) * math.sin(az)),
                (math.cos(down), -math.sin(down) * math.cos(az), math.sin(down) * math.sin(az)),
                (0.0, math.sin(az), math.cos(az)),
            ]
        )

    def pose(self, ejected: float = MEAN_EJECTED) -> VentriclePose:
        """Sizes when a share of the stroke volume is out: 0 at end diastole, 1 at end systole.

        The volume of the wall stays what it is, so that it thickens as the cavity shrinks.
        """
        share, half = self.base_share, self.length_mm / (1 + self.base_share)
        thin, radius = self.apex_wall_mm, self.cavity_radius_mm
        diastole = VentriclePose(half, radius + self.wall_mm, half - thin, radius, share * half)
        if ejected == 0:
            return diastole
        cavity = diastole.cavity_ml * (1 - ejected * self.ejection_fraction)
        half = (self.length_mm - ejected * self.shortening_mm) / (1 + share)
        inner, base = half - thin * (1 + 0.3 * ejected), share * half
        inner_radius = math.sqrt(cavity / truncated_spheroid_ml(inner, 1.0, base))
        outer_radius = math.sqrt((cavity + diastole.myocardium_ml) / truncated_spheroid_ml(half, 1.0, base))
        return VentriclePose(half, outer_radius, inner, inner_radius, base)

    def middle_mm(self, pose: VentriclePose) -> Point:
        """Common middle of both spheroids ``(z, y, x)`` [mm]."""
        z, y, x = (float(v) for v in np.array(self.apex_mm) - pose.outer_length_mm * self.axes[0])
        return z, y, x

    def local(self, pose: VentriclePose, z: FloatArray, y: FloatArray, x: FloatArray) -> tuple[FloatArray, ...]:
        """Coordinates along the axes of the ventricle from the middle [mm], of points in patient coordinates."""
        middle = self.middle_mm(pose)
        moved = [np.asarray(v, dtype=np.float32) - np.float32(m) for v, m in zip((z, y, x), middle, strict=True)]
        m = self.axes.astype(np.float32)
        return tuple(m[i, 0] * moved[0] + m[i, 1] * moved[1] + m[i, 2] * moved[2] for i in range(3))


@dataclass(frozen=True, slots=True, eq=False)
class WallPoints:
    """Points seen from the wall of a pose; arrays of one shape."""

    outer_mm: FloatArray
    """Signed distance to the outer surface, negative inside."""
    inner_mm: FloatArray
    """Signed distance to the cavity, negative inside."""
    height: FloatArray
    """0 at the base, 1 at the end of the cavity."""
    angle_deg: FloatArray
    """0 lateral, 90 anterior, 180 septal, 270 inferior."""
    direction: FloatArray
    """Unit vectors with the axes scaled to one length, ``(3, ...)``: to the apex, anterior, lateral."""

    @property
    def depth(self) -> FloatArray:
        """0 at the cavity, 1 at the outer surface."""
        below, above = np.maximum(self.inner_mm, 0), np.maximum(-self.outer_mm, 0)
        depth: FloatArray = below / np.maximum(below + above, _TINY)
        return depth

    @property
    def segment(self) -> NDArray[np.uint8]:
        """Number of the segment in whose sector the points lie."""
        return segment_number(self.height, self.angle_deg)


def wall_points(pose: VentriclePose, along: FloatArray, anterior: FloatArray, lateral: FloatArray) -> WallPoints:
    """Where points of the ventricle's own axes [mm] lie in the wall of a pose."""
    square = anterior**2 + lateral**2
    outer = np.maximum(_spheroid(along, square, pose.outer_length_mm, pose.outer_radius_mm), -along - pose.base_mm)
    inner = _spheroid(along, square, pose.inner_length_mm, pose.inner_radius_mm)
    scaled = np.stack(
        [
            along * np.float32(2 / (pose.outer_length_mm + pose.inner_length_mm)),
            anterior * np.float32(2 / (pose.outer_radius_mm + pose.inner_radius_mm)),
            lateral * np.float32(2 / (pose.outer_radius_mm + pose.inner_radius_mm)),
        ]
    )
    scaled /= np.maximum(np.sqrt((scaled**2).sum(axis=0)), _TINY)
    return WallPoints(
        outer_mm=outer,
        inner_mm=inner,
        height=(along + np.float32(pose.base_mm)) * np.float32(1 / (pose.inner_length_mm + pose.base_mm)),
        angle_deg=np.rad2deg(np.arctan2(anterior, lateral)),
        direction=scaled,
    )


def direction_of(pose: VentriclePose, segment: int) -> NDArray[np.float64]:
    """Unit vector to the middle of a segment in the middle of the wall, as :attr:`WallPoints.direction`."""
    height, angle_deg = segment_middle(segment)
    along = height * (pose.inner_length_mm + pose.base_mm) - pose.base_mm
    cosine = min(1.0, along * 2 / (pose.outer_length_mm + pose.inner_length_mm))
    if segment == 17:
        cosine = 1.0
    sine, angle = math.sqrt(1 - cosine**2), math.radians(angle_deg)
    return np.array([cosine, sine * math.sin(angle), sine * math.cos(angle)])


def _spheroid(along: FloatArray, square: FloatArray, length: float, radius: float) -> FloatArray:
    """Signed distance to a spheroid, exact to first order at the surface; ``square`` is the distance from its axis."""
    a, b = along**2 * np.float32(1 / length**2), square * np.float32(1 / radius**2)
    r = np.sqrt(a + b)
    slope = np.sqrt(a * np.float32(1 / length**2) + b * np.float32(1 / radius**2))
    distance: FloatArray = np.where(r < 0.05, -min(length, radius), (r - 1) * r / np.maximum(slope, _TINY))
    return distance.astype(np.float32)
