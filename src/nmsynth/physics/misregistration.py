"""Misregistration of two scans of one patient: the patient lies elsewhere, breathes otherwise, and relaxes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray, Grid

_SLAB = 16
"""Planes that are displaced at once, which bounds the memory for coordinates."""


@dataclass(frozen=True, slots=True)
class Misregistration:
    """How far the content of an image has come from where it belongs.

    What belongs at ``q`` appears at ``p = R (q - c) + c + t``, a rigid motion about ``c``, displaced further by
    breathing and by a smooth random field, whose vectors are given at ``p``. Breathing moves the organs in front of the
    spine along z, most at the diaphragm, ``B exp(-((z - z_d) / s)**2 / 2)`` with ``s`` 80 mm, fading towards the spine
    and the flanks, and the front of the chest and belly by a quarter of that. Arms beside the head swing sideways,
    ``a (z - z_s) / 200 mm`` above the shoulders' height ``z_s``. Amounts and shapes are chosen.

    Attributes
    ----------
    shift_mm
        ``t`` along ``(z, y, x)`` [mm].
    rotation_deg
        About the axes z, y and x [degrees], in this order.
    centre_mm
        ``c``, ``(z, y, x)`` [mm].
    breathing_mm
        ``B``, positive upwards [mm].
    diaphragm_mm
        ``z_d`` [mm].
    arms_mm
        ``a`` of the right (x negative) and of the left arm, positive to the left [mm]; 0 where no arm is.
    shoulder_mm
        ``z_s``, where the arms part from the head and the trunk [mm].
    smooth_mm
        Standard deviation of each component of the random field [mm].
    smooth_pitch_mm
        Distance between its coefficients [mm].
    seed
        Of the random field.
    """

    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    breathing_mm: float = 0.0
    diaphragm_mm: float = 0.0
    arms_mm: tuple[float, float] = (0.0, 0.0)
    shoulder_mm: float = 0.0
    smooth_mm: float = 0.0
    smooth_pitch_mm: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse motions beyond what a scan is made with."""
        values = (*self.shift_mm, *self.rotation_deg, *self.centre_mm, self.breathing_mm, self.diaphragm_mm)
        if not np.isfinite((*values, *self.arms_mm, self.shoulder_mm, self.smooth_mm, self.smooth_pitch_mm)).all():
            raise InputError("A misregistration must be finite; found NaN or infinity.")
        large = max(map(abs, self.shift_mm)) > 100 or max(map(abs, self.rotation_deg)) > 45
        if large or abs(self.breathing_mm) > 40 or max(map(abs, self.arms_mm)) > 40:
            raise InputError(
                "A misregistration is at most 100 mm, 45 degrees, 40 mm of breathing and of the arms; found "
                f"{self.shift_mm} mm, {self.rotation_deg} degrees, {self.breathing_mm} and {self.arms_mm} mm."
            )
        if not 0 <= self.smooth_mm <= self.smooth_pitch_mm / 6:
            raise InputError(
                "The smooth field must stay below a sixth of its pitch, so that it folds nowhere; found "
                f"{self.smooth_mm} mm at a pitch of {self.smooth_pitch_mm} mm."
            )

    @classmethod
    def draw(
        cls,
        seed: int,
        *,
        centre_mm: tuple[float, float, float],
        diaphragm_mm: float | None = None,
        shoulder_mm: float | None = None,
    ) -> Misregistration:
        """A pair of scans on one couch without a pause.

        Shifts are normal with 1.5 mm, rotations with 0.7 degrees, breathing up to 15 mm either way (none without a
        diaphragm), arms normal with 10 mm and up to 25 (none without shoulders), the smooth field 1 mm: all chosen.
        """
        rng = np.random.default_rng((seed, 68))
        z, y, x = (float(v) for v in np.clip(rng.normal(0.0, 1.5, 3), -4.5, 4.5))
        a, b, c = (float(v) for v in np.clip(rng.normal(0.0, 0.7, 3), -2.1, 2.1))
        breathing = float(rng.uniform(-15.0, 15.0))
        right, left = (float(v) for v in np.clip(rng.normal(0.0, 10.0, 2), -25.0, 25.0))
        return cls(
            shift_mm=(z, y, x),
            rotation_deg=(a, b, c),
            centre_mm=centre_mm,
            breathing_mm=0.0 if diaphragm_mm is None else breathing,
            diaphragm_mm=diaphragm_mm or 0.0,
            arms_mm=(0.0, 0.0) if shoulder_mm is None else (right, left),
            shoulder_mm=shoulder_mm or 0.0,
            smooth_mm=1.0,
            seed=seed,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def displacement_mm(self, grid: Grid, planes: slice = slice(None)) -> FloatArray:
        """Where the content of each voxel comes from: ``p`` minus its origin, shape ``(3, z, y, x)`` [mm].

        Parameters
        ----------
        grid
            Where the displacement is wanted.
        planes
            Which planes of it.
        """
        z, y, x = grid.axes()
        z = z[planes]
        points = np.stack(np.meshgrid(z, y, x, indexing="ij"))
        centre = np.array(self.centre_mm).reshape(3, 1, 1, 1)
        turned = np.tensordot(self._rotation().T, points - centre - self._column(self.shift_mm), axes=(1, 0))
        displacement: FloatArray = (points - centre - turned).astype(np.float32)
        if self.breathing_mm:
            displacement += self._breathing(z, y, x)
        if any(self.arms_mm):
            displacement[2] += self._arms(z, x)[:, None, :]
        if self.smooth_mm:
            rng = np.random.default_rng((self.seed, 69))
            for component in displacement:
                field = SmoothField.random(rng, self.smooth_pitch_mm, 24).on_axes(z, y, x)
                component += np.float32(self.smooth_mm) * np.clip(field, -3, 3)
        return displacement

    def _rotation(self) -> NDArray[np.float64]:
        """Rotation of vectors ``(z, y, x)``."""
        about_z, about_y, about_x = self.rotation_deg
        xyz = Rotation.from_euler("zyx", (about_z, about_y, about_x), degrees=True).as_matrix()
        return np.asarray(xyz[::-1, ::-1], dtype=np.float64)

    @staticmethod
    def _column(values: tuple[float, float, float]) -> NDArray[np.float64]:
        """Three numbers to be added to points ``(3, z, y, x)``."""
        return np.array(values, dtype=np.float64).reshape(3, 1, 1, 1)

    def _breathing(self, z: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> FloatArray:
        """Displacement of the organs by breathing, ``(3, z, y, x)`` [mm]."""
        along = np.exp(-0.5 * ((z - self.diaphragm_mm) / 80.0) ** 2)[:, None, None]
        ahead = 1.0 / (1.0 + np.exp((y - 35.0) / 8.0))[None, :, None]  # the spine and the back lie still
        across = np.exp(-((x / 170.0) ** 4))[None, None, :]
        front = 1.0 / (1.0 + np.exp((y + 50.0) / 15.0))[None, :, None]
        result = np.zeros((3, len(z), len(y), len(x)), dtype=np.float32)
        result[0] = self.breathing_mm * along * ahead * across
        result[1] = 0.25 * self.breathing_mm * along * front * across
        return result

    def _arms(self, z: NDArray[np.float64], x: NDArray[np.float64]) -> FloatArray:
        """Displacement of the arms along x, shape ``(z, x)`` [mm]; the head between them lies still."""
        right, left = (np.float64(a) for a in self.arms_mm)
        along = np.clip((z - self.shoulder_mm) / 200.0, 0.0, 1.0)[:, None]
        beside = 1.0 / (1.0 + np.exp((115.0 - np.abs(x)) / 6.0))
        return np.asarray(along * (np.where(x < 0, right, left) * beside)[None, :], dtype=np.float32)

    def apply(self, image: FloatArray, grid: Grid, *, order: int = 1) -> FloatArray:
        """The image of the displaced patient on the same grid; the edge is repeated.

        Interpolation is linear, which blurs by up to half a voxel; ``order=0`` is for labels.

        Parameters
        ----------
        image
            Shape ``(z, y, x)`` of the grid.
        grid
            Of the image.
        order
            Of the interpolation.
        """
        if image.shape != grid.shape:
            raise InputError(f"An image must have its grid's shape {grid.shape}; found {image.shape}.")
        spacing = np.array(grid.spacing_mm).reshape(3, 1, 1, 1)
        result = np.empty_like(image)
        for first in range(0, grid.shape[0], _SLAB):
            planes = slice(first, min(first + _SLAB, grid.shape[0]))
            index = np.mgrid[planes, : grid.shape[1], : grid.shape[2]].astype(np.float32)
            index -= (self.displacement_mm(grid, planes) / spacing).astype(np.float32)
            ndimage.map_coordinates(image, index, output=result[planes], order=order, mode="nearest")
        return result

    def facts(self, grid: Grid, body: NDArray[np.bool_]) -> dict[str, float]:
        """Mean and largest length of the displacement over a body on a grid [mm]; 0 where there is none."""
        total, largest, n = 0.0, 0.0, int(body.sum())
        for first in range(0, grid.shape[0], _SLAB):
            planes = slice(first, min(first + _SLAB, grid.shape[0]))
            length = np.sqrt((self.displacement_mm(grid, planes) ** 2).sum(axis=0))[body[planes]]
            if length.size:
                total, largest = total + float(length.sum()), max(largest, float(length.max()))
        return {"mean_mm": total / n if n else 0.0, "max_mm": largest}
