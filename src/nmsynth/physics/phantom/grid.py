"""Voxel grids, lesions and phantoms with known truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError

FloatArray = NDArray[np.float32]
"""Image of 32-bit floats."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Axis-aligned voxel grid in patient coordinates.

    Patient coordinates are mm: z upwards from mid-thigh, y to posterior, x to the patient's left,
    body axis at ``(y, x) = (0, 0)``.

    Attributes
    ----------
    shape
        Number of voxels ``(z, y, x)``.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    origin_mm
        Centre of voxel ``(0, 0, 0)``, as ``(z, y, x)`` [mm].

    Examples
    --------
    >>> Grid((2, 3, 3), (4.0, 2.0, 2.0), (0.0, -2.0, -2.0)).axes()[0]
    array([0., 4.])
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse grids without voxels or with unusable spacing."""
        if len(self.shape) != 3 or len(self.spacing_mm) != 3 or len(self.origin_mm) != 3:
            raise InputError("A phantom grid needs three numbers (z, y, x) for shape, spacing and origin.")
        if min(self.shape) < 1:
            raise InputError(f"A phantom grid needs at least one voxel along each axis, found shape {self.shape}.")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise InputError(f"Voxel spacing must be positive and finite, found {self.spacing_mm} mm.")
        if not all(math.isfinite(o) for o in self.origin_mm):
            raise InputError(f"The grid origin must be finite, found {self.origin_mm} mm.")

    def holds(self, point_mm: tuple[float, float, float]) -> bool:
        """Whether a point ``(z, y, x)`` [mm] lies within the outer faces."""
        position = np.subtract(point_mm, self.origin_mm) / np.asarray(self.spacing_mm)
        return bool((position >= -0.5).all() and (position < np.asarray(self.shape) - 0.5).all())

    @classmethod
    def centred(
        cls, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], z_start_mm: float = 0.0
    ) -> Grid:
        """Grid whose planes are centred on the body axis and whose first plane lies at ``z_start_mm`` [mm]."""
        y0, x0 = (-(n - 1) / 2 * s for n, s in zip(shape[1:], spacing_mm[1:], strict=True))
        return cls(shape, spacing_mm, (float(z_start_mm), y0, x0))

    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Voxel centres along z, y and x [mm]."""
        z, y, x = (
            o + s * np.arange(n, dtype=np.float64)
            for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True)
        )
        return z, y, x

    @property
    def affine(self) -> NDArray[np.float64]:
        """Matrix ``(4, 4)`` from array indices ``(z, y, x, 1)`` to LPS mm, order ``(L, P, S)``."""
        dz, dy, dx = self.spacing_mm
        z0, y0, x0 = self.origin_mm
        return np.array([[0, 0, dx, x0], [0, dy, 0, y0], [dz, 0, 0, z0], [0, 0, 0, 1]], dtype=np.float64)

    @property
    def voxel_ml(self) -> float:
        """Voxel volume [mL]."""
        return math.prod(self.spacing_mm) / 1000.0


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion with its true properties.

    Attributes
    ----------
    index
        Value in ``Phantom.lesion_labels``, from 1.
    organ
        Host structure.
    centre_mm
        Centre ``(z, y, x)`` [mm].
    diameter_mm
        Diameter of the sphere of the same volume [mm].
    contrast
        ``suv / background_suv``.
    suv
        True uptake, mean over the lesion [g/mL].
    background_suv
        Mean uptake of the lesion-free host tissue 7-14 mm outside the lesion's equivalent sphere [g/mL].
    shape
        ``"sphere"``, ``"ellipsoid"`` or ``"irregular"``.
    isolated
        Whether the surrounding shell holds nothing but that host tissue.
    """

    index: int
    organ: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    contrast: float
    suv: float
    background_suv: float
    shape: str
    isolated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """Rasterised truth of one patient or object.

    Attributes
    ----------
    grid
        Where the voxels lie.
    activity
        SUV by body weight [g/mL], shape ``(z, y, x)``.
    mu_map
        Narrow-beam attenuation at 511 keV [1/cm], shape ``(z, y, x)``.
    labels
        Structure with the largest fraction of each voxel (see `Organ`), 0 outside.
    lesion_labels
        ``Lesion.index`` where a lesion fills at least half of the voxel, else 0.
    lesions
        The lesions whose centre lies inside the grid's outer faces.
    body_mass_kg, height_m, sex
        Habitus; sex is ``"F"``, ``"M"`` or ``"O"`` for an object.
    seed
        Number that made it.
    family
        ``"whole_body"``, ``"organ_labels"``, ``"brain_labels"``, ``"cylinder"``, ``"image_quality"``, ``"derenzo"`` or
        ``"jaszczak"``.
    segment_labels
        Segment of the left ventricle, 1 to 17, in its wall and 0 elsewhere; None without a heart for perfusion.
    """

    grid: Grid
    activity: FloatArray
    mu_map: FloatArray
    labels: NDArray[np.uint8]
    lesion_labels: NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    body_mass_kg: float
    height_m: float
    sex: str
    seed: int
    family: str
    segment_labels: NDArray[np.uint8] | None = None
