"""Objects for resolution and contrast: the Derenzo hot rods and the Jaszczak cylinder.

Sizes are those of the deluxe Jaszczak phantom (Data Spectrum): 216 mm inner diameter, 186 mm inner height, rods 88 mm
long of six diameters, spheres of six diameters 127 mm above the base. The lattice of the rods, triangular at twice
their diameter, and the circle of the spheres are chosen. Plastic is taken for water, and walls have no thickness.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.grid import FloatArray, Grid, Lesion, Phantom
from nmsynth.physics.phantom.lesions import PlacedLesion
from nmsynth.physics.phantom.organs import MU_WATER
from nmsynth.physics.phantom.quality import extruded, middle_of, require_positive, water_object

ROD_DIAMETERS_MM = (4.8, 6.4, 7.9, 9.5, 11.1, 12.7)
"""Rods of the six sectors [mm]."""
JASZCZAK_SPHERES_MM = (9.5, 12.7, 15.9, 19.1, 25.4, 31.8)
"""Diameters of the spheres [mm]."""
RADIUS_MM, HEIGHT_MM, ROD_LENGTH_MM = 108.0, 186.0, 88.0
"""Inner radius and height of the cylinder, and length of its rods [mm]."""
SPHERE_HEIGHT_MM, SPHERE_CIRCLE_MM = 127.0, 59.0
"""Height of the spheres' middles above the base, and radius of their circle [mm]."""
_EDGE_MM = 3.0
"""Least distance of a rod from the wall [mm]."""
_LINES = 32
"""Lines in a voxel along which a rod's section is measured."""


def rod_middles(
    diameters_mm: tuple[float, ...] = ROD_DIAMETERS_MM, radius_mm: float = RADIUS_MM
) -> tuple[NDArray[np.float64], ...]:
    """Where the rods of each sector stand.

    Parameters
    ----------
    diameters_mm
        One for each of up to six sectors of 60 degrees; the first points to the front, they go round to the left.
    radius_mm
        Of the cylinder.

    Returns
    -------
        For each sector ``(n, 2)`` offsets ``(y, x)`` from the axis [mm].
    """
    if not 1 <= len(diameters_mm) <= 6 or not all(1.0 <= d <= radius_mm / 3 for d in diameters_mm):
        raise InputError(
            f"Rods need one to six diameters of 1 mm to a third of the radius; found {diameters_mm} in {radius_mm} mm."
        )
    sectors = []
    for sector, diameter in enumerate(diameters_mm):
        pitch, angle = 2 * diameter, math.radians(60.0 * sector)
        found = []
        for row in range(int(radius_mm / pitch * 2)):
            away = pitch + row * pitch * math.sqrt(3) / 2
            for k in range(row + 1):
                aside = (k - row / 2) * pitch
                if math.hypot(away, aside) + diameter / 2 <= radius_mm - _EDGE_MM:
                    y = -away * math.cos(angle) + aside * math.sin(angle)
                    x = away * math.sin(angle) + aside * math.cos(angle)
                    found.append((y, x))
        sectors.append(np.array(found).reshape(-1, 2))
    return tuple(sectors)


def derenzo(
    grid: Grid,
    *,
    diameters_mm: tuple[float, ...] = ROD_DIAMETERS_MM,
    rod_suv: float = 4.0,
    background_suv: float = 0.0,
    length_mm: float = ROD_LENGTH_MM,
    centre_mm: tuple[float, float, float] | None = None,
) -> Phantom:
    """Hot rods of six diameters in a cylinder of 216 mm.

    Parameters
    ----------
    grid
        Where to render.
    diameters_mm
        Rods of each sector [mm].
    rod_suv, background_suv
        Activity of the rods and between them [g/mL].
    length_mm
        Of rods and cylinder [mm].
    centre_mm
        Middle ``(z, y, x)`` [mm]; None for the middle of the grid.

    Returns
    -------
        Edges are averages over voxels; there are no lesions.
    """
    require_positive(rod_suv=rod_suv, length_mm=length_mm)
    _require_not_negative(background_suv=background_suv)
    z0, y0, x0 = centre_mm or middle_of(grid)
    span = (z0 - length_mm / 2, z0 + length_mm / 2)
    filled = _cylinder(grid, span, (y0, x0))
    rods = _rods(grid, diameters_mm, span, (y0, x0))
    activity = rods * np.float32(rod_suv) + (filled - rods) * np.float32(background_suv)
    mass_kg = math.pi * RADIUS_MM**2 * length_mm / 1e6
    return water_object(grid, activity, filled * np.float32(MU_WATER), filled, mass_kg, "derenzo")


def jaszczak(
    grid: Grid,
    *,
    background_suv: float = 1.0,
    sphere_contrast: float = 0.0,
    rod_diameters_mm: tuple[float, ...] = ROD_DIAMETERS_MM,
    sphere_diameters_mm: tuple[float, ...] = JASZCZAK_SPHERES_MM,
    centre_mm: tuple[float, float, float] | None = None,
) -> Phantom:
    """Cylinder with a section of cold rods, one of spheres and uniform ones between and above.

    The base lies at the lowest z, with the rods in its first 88 mm.

    Parameters
    ----------
    grid
        Where to render.
    background_suv
        Activity of the cylinder [g/mL].
    sphere_contrast
        Spheres over background: 0 for cold ones.
    rod_diameters_mm, sphere_diameters_mm
        Up to six each [mm].
    centre_mm
        Middle of the cylinder ``(z, y, x)`` [mm]; None for the middle of the grid.

    Returns
    -------
        The spheres are its lesions. Edges are averages over voxels.
    """
    require_positive(background_suv=background_suv)
    _require_not_negative(sphere_contrast=sphere_contrast)
    if not 1 <= len(sphere_diameters_mm) <= 6 or not all(1.0 <= d <= 45.0 for d in sphere_diameters_mm):
        raise InputError(f"A Jaszczak phantom needs one to six spheres of 1-45 mm; found {sphere_diameters_mm}.")
    z0, y0, x0 = centre_mm or middle_of(grid)
    base = z0 - HEIGHT_MM / 2
    filled = _cylinder(grid, (base, base + HEIGHT_MM), (y0, x0))
    rods = _rods(grid, rod_diameters_mm, (base, base + ROD_LENGTH_MM), (y0, x0))
    activity = (filled - rods) * np.float32(background_suv)
    mass_kg = math.pi * RADIUS_MM**2 * HEIGHT_MM / 1e6
    spheres = [
        _sphere(i, d, sphere_contrast, background_suv, (base + SPHERE_HEIGHT_MM, y0, x0))
        for i, d in enumerate(sphere_diameters_mm)
    ]
    return water_object(grid, activity, filled * np.float32(MU_WATER), filled, mass_kg, "jaszczak", spheres)


def _sphere(i: int, diameter: float, contrast: float, background: float, circle: tuple[float, ...]) -> PlacedLesion:
    """One of the spheres; the first is at the patient's left, they go round to the front by 60 degrees."""
    angle = math.radians(60.0 * i)
    place = (
        circle[0],
        circle[1] - SPHERE_CIRCLE_MM * math.sin(angle),
        circle[2] + SPHERE_CIRCLE_MM * math.cos(angle),
    )
    truth = Lesion(i + 1, "water", place, diameter, contrast, contrast * background, background, "sphere", False)
    return PlacedLesion(truth, np.full(3, diameter / 2), np.eye(3), np.zeros((0, 5)), 0.0, 1.0, 1.0, 0.0, None)


def _cylinder(grid: Grid, span: tuple[float, float], axis: tuple[float, float]) -> FloatArray:
    """Filled fraction of each voxel by the whole cylinder."""
    return extruded(grid, disc_area(grid, axis, RADIUS_MM), span)


def _rods(grid: Grid, diameters: tuple[float, ...], span: tuple[float, float], axis: tuple[float, float]) -> FloatArray:
    """Filled fraction of each voxel by all rods."""
    area = np.zeros(grid.shape[1:])
    for diameter, places in zip(diameters, rod_middles(diameters), strict=True):
        for y, x in places:
            area += disc_area(grid, (axis[0] + float(y), axis[1] + float(x)), diameter / 2)
    return extruded(grid, area, span)


def disc_area(grid: Grid, middle_mm: tuple[float, float], radius_mm: float) -> NDArray[np.float64]:
    """Share of each pixel of a plane that a disc fills.

    Exact along x, by the midpoint rule along y.

    Parameters
    ----------
    middle_mm
        ``(y, x)`` [mm].

    Returns
    -------
        Shape ``(y, x)``.
    """
    _, y, x = grid.axes()
    _, dy, dx = grid.spacing_mm
    lines = y[:, None] + dy * ((np.arange(_LINES) + 0.5) / _LINES - 0.5) - middle_mm[0]
    area = np.zeros(grid.shape[1:])
    near_y = np.flatnonzero(np.abs(y - middle_mm[0]) < radius_mm + dy)
    near_x = np.flatnonzero(np.abs(x - middle_mm[1]) < radius_mm + dx)
    if not len(near_y) or not len(near_x):
        return area
    half = np.sqrt(np.maximum(radius_mm**2 - lines[near_y] ** 2, 0))[..., None]
    left = x[near_x] - dx / 2 - middle_mm[1]
    overlap = np.minimum(left + dx, half) - np.maximum(left, -half)
    area[np.ix_(near_y, near_x)] = np.clip(overlap, 0, dx).mean(axis=1) / dx
    return area


def _require_not_negative(**values: float) -> None:
    """Refuse activities that are negative or not finite."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must not be negative and must be finite, found {value}.")
