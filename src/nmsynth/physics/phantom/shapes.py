"""Implicit shapes: first-order signed distances [mm], negative inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.grid import FloatArray

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Lower and upper bound along z, y and x [mm]."""

Point = tuple[float, float, float]
"""Position ``(z, y, x)`` [mm]."""

_TINY = np.float32(1e-6)


class Shape(Protocol):
    """Anything with bounds and a signed distance."""

    def bounds(self) -> Box:
        """Box that holds the shape."""
        ...

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm] to the surface at points given by arrays of one shape."""
        ...


def rotation(angles_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """Rotation matrix ``(3, 3)`` on ``(z, y, x)``: about z, then y, then x."""
    az, ay, ax = np.deg2rad(angles_deg)
    about_z = np.array([[1, 0, 0], [0, np.cos(az), -np.sin(az)], [0, np.sin(az), np.cos(az)]])
    about_y = np.array([[np.cos(ay), 0, -np.sin(ay)], [0, 1, 0], [np.sin(ay), 0, np.cos(ay)]])
    about_x = np.array([[np.cos(ax), -np.sin(ax), 0], [np.sin(ax), np.cos(ax), 0], [0, 0, 1]])
    matrix: NDArray[np.float64] = about_x @ about_y @ about_z
    return matrix


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid, optionally rotated and cut by a plane.

    The distance is ``(r - 1) r / |grad|`` with ``r^2 = sum (u_i / a_i)^2``, exact to first order at the surface.

    Attributes
    ----------
    centre
        ``(z, y, x)`` [mm].
    radii
        Half axes along the rotated ``(z, y, x)`` [mm].
    angles_deg
        Rotation about z, y and x [degree].
    cut
        Keep only the part whose first rotated coordinate is below this fraction of the first half axis.
    """

    centre: Point
    radii: Point
    angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cut: float | None = None

    def bounds(self) -> Box:
        """Box that holds the ellipsoid."""
        half = np.sqrt(((rotation(self.angles_deg) * np.array(self.radii)) ** 2).sum(axis=1))
        (z, y, x), (hz, hy, hx) = self.centre, (float(h) for h in half)
        return (z - hz, z + hz), (y - hy, y + hy), (x - hx, x + hx)

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm]."""
        u = [z - np.float32(self.centre[0]), y - np.float32(self.centre[1]), x - np.float32(self.centre[2])]
        if any(self.angles_deg):
            m = rotation(self.angles_deg).T.astype(np.float32)
            u = [m[i, 0] * u[0] + m[i, 1] * u[1] + m[i, 2] * u[2] for i in range(3)]
        terms = [(component * np.float32(1.0 / radius)) ** 2 for component, radius in zip(u, self.radii, strict=True)]
        square = terms[0] + terms[1] + terms[2]
        weights = [np.float32(1.0 / radius**2) for radius in self.radii]
        slope = terms[0] * weights[0] + terms[1] * weights[1] + terms[2] * weights[2]
        r = np.sqrt(square)
        distance: FloatArray = (r - 1) * r / np.sqrt(np.maximum(slope, _TINY**2))
        near = r < 0.05
        if near.any():
            distance[near] = -min(self.radii)
        if self.cut is not None:
            np.maximum(distance, u[0] - np.float32(self.cut * self.radii[0]), out=distance)
        return distance


@dataclass(frozen=True)
class Disc:
    """Elliptic cylinder along z, the shape of a vertebral body; radii are half height, half depth, half width [mm]."""

    centre: Point
    radii: Point

    def bounds(self) -> Box:
        """Box that holds the cylinder."""
        (z, y, x), (hz, hy, hx) = self.centre, self.radii
        return (z - hz, z + hz), (y - hy, y + hy), (x - hx, x + hx)

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm]."""
        _, b, a = (np.float32(r) for r in self.radii)
        u, v = (x - np.float32(self.centre[2])) / a, (y - np.float32(self.centre[1])) / b
        r = np.sqrt(u * u + v * v)
        side = (r - 1) * r / np.sqrt((u / a) ** 2 + (v / b) ** 2 + _TINY**2)
        distance: FloatArray = np.maximum(side, np.abs(z - np.float32(self.centre[0])) - np.float32(self.radii[0]))
        return distance


@dataclass(frozen=True)
class Capsule:
    """Segment with a radius that runs linearly from one end to the other [mm]."""

    start: Point
    end: Point
    start_radius: float
    end_radius: float

    def bounds(self) -> Box:
        """Box that holds the capsule."""
        r = max(self.start_radius, self.end_radius)
        (za, zb), (ya, yb), (xa, xb) = (
            (min(a, b) - r, max(a, b) + r) for a, b in zip(self.start, self.end, strict=True)
        )
        return (za, zb), (ya, yb), (xa, xb)

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm]."""
        a = np.asarray(self.start, dtype=np.float32)
        d = np.asarray(self.end, dtype=np.float32) - a
        pz, py, px = z - a[0], y - a[1], x - a[2]
        t = np.clip((pz * d[0] + py * d[1] + px * d[2]) / max(float(d @ d), 1e-6), 0, 1)
        gap = np.sqrt((pz - t * d[0]) ** 2 + (py - t * d[1]) ** 2 + (px - t * d[2]) ** 2)
        distance: FloatArray = gap - (
            np.float32(self.start_radius) + t * np.float32(self.end_radius - self.start_radius)
        )
        return distance


def tube(points: Sequence[Point], radii: float | Sequence[float]) -> tuple[Capsule, ...]:
    """Chain of capsules through points; ``radii`` [mm] is one number or one for each point."""
    r = [float(radii)] * len(points) if isinstance(radii, (int, float)) else [float(v) for v in radii]
    return tuple(Capsule(points[i], points[i + 1], r[i], r[i + 1]) for i in range(len(points) - 1))


@dataclass(frozen=True)
class Trunk:
    """Rounded elliptic cross-section that changes along z.

    In each plane ``u^2 + v^2 - s u^2 v^2 = 1`` with ``u = x / a(z)``, ``v = (y - c(z)) / b(z)``: an ellipse for s = 0,
    towards a rectangle for s = 1. Changes along z are slow, so the in-plane distance serves as distance.

    Attributes
    ----------
    z_mm, half_width, half_depth, centre_y
        Knots, joined linearly; the shape ends flat at the first and the last knot [mm].
    squareness
        s, at most 0.8.
    centre_x
        Offset to the left [mm].
    """

    z_mm: tuple[float, ...]
    half_width: tuple[float, ...]
    half_depth: tuple[float, ...]
    centre_y: tuple[float, ...]
    squareness: float = 0.0
    centre_x: float = 0.0

    def bounds(self) -> Box:
        """Box that holds the shape."""
        a = max(self.half_width)
        low = min(c - b for c, b in zip(self.centre_y, self.half_depth, strict=True))
        high = max(c + b for c, b in zip(self.centre_y, self.half_depth, strict=True))
        return (self.z_mm[0], self.z_mm[-1]), (low, high), (self.centre_x - a, self.centre_x + a)

    def _profiles(self, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Reciprocal half width, reciprocal half depth and centre at the z of each point."""
        step = 2.0
        knots = np.arange(self.z_mm[0], self.z_mm[-1] + step, step)
        index = np.clip((z - np.float32(self.z_mm[0])) * np.float32(1 / step), 0, len(knots) - 1).astype(np.int32)
        a, b, c = (
            np.interp(knots, self.z_mm, values).astype(np.float32)
            for values in (self.half_width, self.half_depth, self.centre_y)
        )
        return (1 / a)[index], (1 / b)[index], c[index]

    def side(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm] to the side face alone, which goes on straight beyond both ends."""
        ia, ib, c = self._profiles(z)
        # Beyond this the curve u^2 + v^2 - s u^2 v^2 turns back towards the inside.
        limit = min(4.0, 0.95 / max(self.squareness, 1e-3) ** 0.5)
        u = np.clip((x - np.float32(self.centre_x)) * ia, -limit, limit)
        v = np.clip((y - c) * ib, -limit, limit)
        s = np.float32(self.squareness)
        u2, v2 = u * u, v * v
        value = u2 + v2 - s * u2 * v2 - 1
        du, dv = 2 * u * (1 - s * v2) * ia, 2 * v * (1 - s * u2) * ib
        distance: FloatArray = value / np.sqrt(du * du + dv * dv + _TINY)
        return distance

    def ends(self, z: FloatArray) -> FloatArray:
        """Signed distance [mm] to the flat ends."""
        middle, half = (self.z_mm[0] + self.z_mm[-1]) / 2, (self.z_mm[-1] - self.z_mm[0]) / 2
        distance: FloatArray = np.abs(z - np.float32(middle)) - np.float32(half)
        return distance

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm]."""
        distance: FloatArray = np.maximum(self.side(z, y, x), self.ends(z))
        return distance


@dataclass(frozen=True)
class RibCage:
    """Oblique ribs: a shell around a trunk, cut into bands that fall towards the front.

    Attributes
    ----------
    inner
        Inner face of the ribs.
    thickness_mm, height_mm, pitch_mm
        Section of a rib and distance between ribs [mm].
    slope
        Fall of a rib per mm towards the front.
    """

    inner: Trunk
    thickness_mm: float
    height_mm: float
    pitch_mm: float
    slope: float

    def bounds(self) -> Box:
        """Box that holds the ribs."""
        (z0, z1), (y0, y1), (x0, x1) = self.inner.bounds()
        t = self.thickness_mm
        return (z0, z1), (y0 - t, y1 + t), (x0 - t, x1 + t)

    def distance(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Signed distance [mm]."""
        wall = self.inner.side(z, y, x)
        half = np.float32(self.thickness_mm / 2)
        shell = np.abs(wall - half) - half
        band = np.mod(z - np.float32(self.slope) * y, np.float32(self.pitch_mm)) - np.float32(self.pitch_mm / 2)
        bone = np.maximum(np.abs(band) - np.float32(self.height_mm / 2), self.inner.ends(z))
        distance: FloatArray = np.maximum(shell, bone)
        return distance
