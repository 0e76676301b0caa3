"""Objects for quality control: the uniform cylinder and the NEMA/IEC image quality body."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.grid import FloatArray, Grid, Lesion, Phantom
from nmsynth.physics.phantom.lesions import PlacedLesion, paint_lesions
from nmsynth.physics.phantom.organs import MU_WATER, Organ

_SAMPLES = 8
_INSERT_MU = 0.028
SPHERE_DIAMETERS_MM = (10.0, 13.0, 17.0, 22.0, 28.0, 37.0)
"""Inner diameters of the six spheres [mm]."""


def uniform_cylinder(
    grid: Grid,
    *,
    radius_mm: float = 100.0,
    length_mm: float = 200.0,
    suv: float = 1.0,
    centre_mm: tuple[float, float, float] | None = None,
) -> Phantom:
    """Water cylinder along z with uniform activity.

    Parameters
    ----------
    grid
        Where to render.
    radius_mm, length_mm
        Size of the cylinder [mm].
    suv
        Activity [g/mL].
    centre_mm
        Middle ``(z, y, x)`` [mm]; None for the middle of the grid.

    Returns
    -------
        Edges are averages over voxels. The recorded body mass is that of the water.
    """
    require_positive(radius_mm=radius_mm, length_mm=length_mm, suv=suv)
    z0, y0, x0 = centre_mm or middle_of(grid)

    def inside(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((y - y0) ** 2 + (x - x0) ** 2 < radius_mm**2)

    filled = _extruded(grid, inside, (z0 - length_mm / 2, z0 + length_mm / 2))
    mass = math.pi * radius_mm**2 * length_mm / 1e6
    return water_object(grid, filled * np.float32(suv), filled * np.float32(MU_WATER), filled, mass, "cylinder")


def image_quality(
    grid: Grid,
    *,
    contrast: float = 4.0,
    background_suv: float = 1.0,
    diameters_mm: tuple[float, ...] = SPHERE_DIAMETERS_MM,
    lung_insert: bool = True,
    centre_mm: tuple[float, float, float] | None = None,
) -> Phantom:
    """Body of the NEMA NU 2 image quality test: six spheres around a lung insert.

    The section is a half disc of 147 mm radius above a bar with corners of 77 mm radius; the spheres sit in one plane
    on a circle of 114.4 mm diameter, the body is 180 mm long and begins 70 mm before that plane [NEMA2018]_.

    Parameters
    ----------
    grid
        Where to render.
    contrast
        Spheres over background.
    background_suv
        Activity of the background [g/mL].
    diameters_mm
        Sphere diameters [mm], at most six, evenly spread on the circle.
    lung_insert
        Whether the cold cylinder of 50 mm diameter is there, of lung density.
    centre_mm
        Middle of the sphere circle ``(z, y, x)`` [mm]; None for the middle of the grid.

    Returns
    -------
        The spheres are its lesions. Limit: no plastic walls.

    References
    ----------
    .. [NEMA2018] NEMA Standards Publication NU 2-2018, section 7.
    """
    require_positive(contrast=contrast, background_suv=background_suv)
    if not 1 <= len(diameters_mm) <= 6 or not all(1.0 <= d <= 45.0 for d in diameters_mm):
        raise InputError(f"image_quality needs one to six diameters of 1-45 mm, found {diameters_mm}.")
    z0, y0, x0 = centre_mm or middle_of(grid)

    def body(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        v, u = y - y0 - 35.0, np.abs(x - x0)
        top = (v <= 0) & (u**2 + v**2 < 147.0**2)
        corner = (u - 70.0) ** 2 + v**2 < 77.0**2
        return np.asarray(top | ((v > 0) & ((u <= 70.0) & (v < 77.0) | corner)))

    def insert(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((y - y0) ** 2 + (x - x0) ** 2 < 25.0**2)

    span = (z0 - 70.0, z0 + 110.0)
    filled = _extruded(grid, body, span)
    hole = _extruded(grid, insert, span) if lung_insert else np.zeros_like(filled)
    activity = (filled - hole) * np.float32(background_suv)
    mu_map = (filled - hole) * np.float32(MU_WATER) + hole * np.float32(_INSERT_MU)
    mass = float((math.pi * 147**2 / 2 + 140 * 77 + math.pi * 77**2 / 2) * 180 / 1e6)
    spheres = [_sphere(i, d, contrast, background_suv, (z0, y0, x0)) for i, d in enumerate(diameters_mm, start=1)]
    phantom = water_object(grid, activity, mu_map, filled, mass, "image_quality", spheres)
    phantom.labels[hole > 0.5] = Organ.LUNG
    return phantom


def _sphere(index: int, diameter: float, contrast: float, background: float, centre: tuple[float, ...]) -> PlacedLesion:
    """One sphere on the circle; the first is at the patient's left, they go round by 60 degrees."""
    angle = math.radians(60.0 * (index - 1))
    place = (centre[0], centre[1] - 57.2 * math.sin(angle), centre[2] + 57.2 * math.cos(angle))
    truth = Lesion(index, "water", place, diameter, contrast, contrast * background, background, "sphere", False)
    return PlacedLesion(truth, np.full(3, diameter / 2), np.eye(3), np.zeros((0, 5)), 0.0, 1.0, 1.0, 0.0, None)


def middle_of(grid: Grid) -> tuple[float, float, float]:
    """Middle of a grid [mm]."""
    z, y, x = (float(a.mean()) for a in grid.axes())
    return z, y, x


def require_positive(**values: float) -> None:
    """Refuse sizes and activities that are not positive."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be positive and finite, found {value}.")


def _extruded(
    grid: Grid,
    inside: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]],
    span: tuple[float, float],
) -> FloatArray:
    """Filled fraction of each voxel for a section drawn out along z."""
    _, y, x = grid.axes()
    _, dy, dx = grid.spacing_mm
    inner = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    fine_y, fine_x = (y[:, None] + dy * inner).ravel(), (x[:, None] + dx * inner).ravel()
    section = inside(fine_y[:, None], fine_x[None, :])
    section = np.broadcast_to(section, (len(fine_y), len(fine_x)))
    return extruded(grid, section.reshape(len(y), _SAMPLES, len(x), _SAMPLES).mean(axis=(1, 3)), span)


def extruded(grid: Grid, area: NDArray[np.float64], span: tuple[float, float]) -> FloatArray:
    """Filled fraction of each voxel for filled fractions of a plane ``(y, x)`` drawn out along z [mm]."""
    z, dz = grid.axes()[0], grid.spacing_mm[0]
    along = np.clip(np.minimum(z + dz / 2, span[1]) - np.maximum(z - dz / 2, span[0]), 0, dz) / dz
    filled: FloatArray = (along[:, None, None] * area).astype(np.float32)
    return filled


def water_object(
    grid: Grid,
    activity: FloatArray,
    mu_map: FloatArray,
    filled: FloatArray,
    mass_kg: float,
    family: str,
    spheres: list[PlacedLesion] | None = None,
) -> Phantom:
    """Phantom of a water-filled object with spheres."""
    lesion_labels, found = paint_lesions(grid, activity, mu_map, spheres or [], samples=8)
    labels = np.where(filled > 0.5, np.uint8(Organ.WATER), np.uint8(0)).astype(np.uint8)
    return Phantom(grid, activity, mu_map, labels, lesion_labels, found, mass_kg, 1.75, "O", 0, family)
