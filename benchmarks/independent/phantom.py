"""Voxel phantom of a trunk slab: partition by warped metaballs inside a Fourier contour, textured by random fields.

Nothing is an upright ellipsoid: the outline of the body is an ellipse disturbed by harmonics that turn along ``z``,
and organs are unions of balls, in competition for each voxel, seen through a smooth random warp of space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]

AIR, FAT, MUSCLE, VISCERA, LUNG, LIVER, SPLEEN, KIDNEY, BONE, DISC, BLOOD, BOWEL, HOT, TUBE, BLOB = range(15)
"""Tissues of the label map."""

MU_PER_CM: dict[int, float] = {AIR: 0.0, FAT: 0.089, LUNG: 0.028, BONE: 0.118}
"""Linear attenuation at 511 keV [1/cm] of tissues that are not water-like."""

MU_WATER_PER_CM = 0.096
"""Linear attenuation of water-like tissue at 511 keV [1/cm]."""

HOT_ORGANS = ("wall", "bag", "folds")
"""A thick wall about a cavity, a full bag, a folded sheet."""


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """Activity without lesions, attenuation and labels on the fine grid."""

    activity: FloatArray
    """SUV, shape ``(z, y, x)``."""
    mu_map: FloatArray
    """Linear attenuation [1/cm], same shape."""
    labels: npt.NDArray[np.uint8]
    """Tissue of each voxel, same shape."""
    spacing_mm: tuple[float, float, float]


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], length_mm: float
) -> FloatArray:
    """Random field of mean 0, deviation 1 and correlation length ``length_mm`` [mm], shape ``shape``."""
    step_mm = length_mm / 2.0
    lattice = [max(4, int(np.ceil(n * s / step_mm)) + 3) for n, s in zip(shape, spacing_mm, strict=True)]
    noise = ndimage.gaussian_filter(rng.standard_normal(lattice).astype(np.float32), 1.0, mode="wrap")
    noise /= noise.std()
    field = torch.nn.functional.interpolate(
        torch.from_numpy(noise)[None, None], size=shape, mode="trilinear", align_corners=True
    )
    return np.ascontiguousarray(field[0, 0].numpy())


class _Body:
    """Coordinates relative to the body: ``u`` (left), ``v`` (back), ``w`` (head), and the depth ``rho``."""

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
    ) -> None:
        z, y, x = (
            ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s).reshape([-1 if i == axis else 1 for i in range(3)])
            for axis, (n, s) in enumerate(zip(shape, spacing_mm, strict=True))
        )
        limit = 0.42 * shape[2] * spacing_mm[2]
        self.half_width_mm = min(rng.uniform(150.0, 200.0), limit)
        self.half_depth_mm = self.half_width_mm * rng.uniform(0.62, 0.74)
        self.scale = self.half_width_mm / 180.0
        self.shape, self.spacing_mm = shape, spacing_mm
        height = 60.0 * self.scale
        self.u, self.v, self.w = x / self.half_width_mm, y / self.half_depth_mm, z / height
        angle = np.arctan2(self.v, self.u)
        radius = np.ones((shape[0], 1, 1), np.float32) * (1 + 0.025 * np.sin(1.3 * self.w + rng.uniform(0, 6.3)))
        for order, size in ((2, 0.03), (3, 0.025), (4, 0.03), (5, 0.012), (7, 0.008)):
            turn = rng.uniform(0, 6.3) + rng.uniform(-0.35, 0.35) * self.w
            radius = radius + np.float32(size * rng.uniform(0.3, 1.0)) * np.cos(order * angle + turn)
        self.rho = (np.sqrt(self.u**2 + self.v**2) / radius).astype(np.float32)
        warp = [rng.uniform(0.7, 1.2) * 0.045 * smooth_field(rng, shape, spacing_mm, 45 * self.scale) for _ in range(3)]
        self.wu, self.wv, self.ww = self.u + warp[0], self.v + 1.4 * warp[1], self.w + 2.5 * warp[2]

    def balls(self, centres: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]) -> FloatArray:
        """Level of a union of balls, positive inside; ``centres`` and ``radii`` in ``(u, v, w)``, shape ``(n, 3)``."""
        level = np.full(self.shape, -np.inf, np.float32)
        for (cu, cv, cw), (ru, rv, rw) in zip(centres.astype(np.float32), radii.astype(np.float32), strict=True):
            distance = ((self.wu - cu) / ru) ** 2 + ((self.wv - cv) / rv) ** 2 + ((self.ww - cw) / rw) ** 2
            np.maximum(level, 1 - distance, out=level)
        return level

    def cluster(
        self,
        rng: np.random.Generator,
        centre: tuple[float, ...],
        spread: tuple[float, ...],
        radius: tuple[float, ...],
        n_balls: int,
    ) -> FloatArray:
        """Level of ``n_balls`` balls scattered about ``centre``."""
        centres = np.asarray(centre) + np.asarray(spread) * rng.uniform(-1, 1, (n_balls, 3))
        radii = np.asarray(radius) * rng.uniform(0.75, 1.25, (n_balls, 3))
        return self.balls(centres, radii)

    def field(self, rng: np.random.Generator, length_mm: float) -> FloatArray:
        """Random field on the grid of the body; the length shrinks with the body."""
        return smooth_field(rng, self.shape, self.spacing_mm, length_mm * self.scale)


def _partition(rng: np.random.Generator, body: _Body) -> npt.NDArray[np.uint8]:
    """Labels of the organs that compete for the inside of the body."""
    top = rng.uniform(0.1, 0.5)
    levels = {
        LUNG: np.maximum(
            body.cluster(rng, (-0.45, 0.0, top + 0.95), (0.06, 0.18, 0.1), (0.30, 0.50, 0.95), 4),
            body.cluster(rng, (0.46, 0.05, top + 0.9), (0.06, 0.18, 0.1), (0.27, 0.46, 0.95), 4),
        ),
        LIVER: 1.3
        * np.maximum(
            body.cluster(rng, (-0.42, 0.02, top - 0.75), (0.10, 0.12, 0.15), (0.34, 0.50, 0.85), 5),
            body.cluster(rng, (-0.12, -0.30, top - 0.65), (0.12, 0.06, 0.12), (0.28, 0.28, 0.55), 3),
        ),
        SPLEEN: body.cluster(rng, (0.58, 0.30, top - 0.6), (0.03, 0.07, 0.15), (0.15, 0.22, 0.42), 3),
        KIDNEY: np.maximum(
            body.cluster(rng, (-0.36, 0.48, top - 1.45), (0.02, 0.03, 0.15), (0.13, 0.17, 0.42), 3),
            body.cluster(rng, (0.38, 0.48, top - 1.3), (0.02, 0.03, 0.15), (0.13, 0.17, 0.42), 3),
        ),
        BLOOD: 1 - ((body.wu - 0.06) ** 2 + ((body.wv - 0.28) * 0.7) ** 2) / rng.uniform(0.055, 0.07) ** 2,
    }
    column = ((body.u - 0.01) / 0.125) ** 2 + ((body.v - 0.50) / 0.19) ** 2
    arch = (np.abs(body.u) < 0.05 + 0.14 * (np.abs(body.v - 0.66) < 0.04)) & (body.v > 0.6) & (body.v < 0.82)
    labels = np.full(body.shape, VISCERA, np.uint8)
    best = np.zeros(body.shape, np.float32)
    for tissue, level in levels.items():
        wins = (level > best) & (body.rho < 0.80)
        labels[wins] = tissue
        best[wins] = level[wins]
    bowel = (body.field(rng, 32) > 0.75) & (labels == VISCERA) & (body.rho < 0.7) & (body.wv < 0.25) & (body.w < top)
    labels[bowel] = BOWEL
    fat = (body.field(rng, 40) > 0.9) & (labels == VISCERA)
    labels[fat] = FAT
    between = np.mod(body.w * 60.0 * body.scale + rng.uniform(0, 30), 30.0 * max(body.scale, 0.6)) < 6.0
    labels[np.broadcast_to((column < 1) & between, body.shape)] = DISC
    labels[np.broadcast_to((column < 1) & ~between | arch, body.shape)] = BONE
    return labels


def _shell(rng: np.random.Generator, body: _Body, labels: npt.NDArray[np.uint8]) -> None:
    """Wall, fat and ribs around the organs, air outside."""
    thickness = rng.uniform(0.04, 0.16) * (
        1 + 0.3 * body.field(rng, 90) - 0.25 * np.sin(3 * np.arctan2(body.v, body.u))
    )
    thickness = np.clip(thickness, 0.025, 0.2)
    inside = 1.0 - thickness
    wall = (body.rho >= np.minimum(0.80, inside - 0.02)) & (labels != BONE)
    labels[wall] = MUSCLE
    ribs = np.cos(7.0 * body.w + 2.2 * np.abs(body.u) + rng.uniform(0, 6.3)) > 0.75
    labels[ribs & (np.abs(body.rho - 0.835) < 0.02) & wall] = BONE
    back = (np.abs(np.abs(body.wu) - 0.2) < 0.12) & (np.abs(body.wv - 0.66) < 0.13)
    labels[back & (labels != BONE) & (labels != DISC)] = MUSCLE
    labels[body.rho >= inside] = FAT
    labels[body.rho >= 1] = AIR


def _hot_structures(
    rng: np.random.Generator, body: _Body, labels: npt.NDArray[np.uint8], activity: FloatArray, kind: str
) -> None:
    """Draw one hot organ, benign tubes and benign blobs into labels and activity."""
    centre, radius = {
        "wall": ((0.20, -0.38, 0.75), (0.20, 0.26, 0.62)),
        "bag": ((0.10, -0.42, -0.85), (0.17, 0.22, 0.45)),
        "folds": ((0.38, -0.28, -0.5), (0.24, 0.30, 0.55)),
    }[kind]
    level = body.cluster(rng, centre, (0.03, 0.03, 0.05), radius, 2)
    organ = (level > 0) & (body.rho < 0.78) & (labels != BONE)
    suv = np.full(body.shape, rng.uniform(8.0, 22.0), np.float32)
    if kind == "wall":
        suv = np.where(level > 0.55, np.float32(1.7), np.float32(rng.uniform(4.0, 9.0)))
    elif kind == "folds":
        suv = np.where(np.abs(body.field(rng, 16)) < 0.6, np.float32(rng.uniform(6.0, 9.0)), np.float32(3.0))
    labels[organ] = HOT
    activity[organ] = suv[organ]
    quiet = (VISCERA, BOWEL, FAT, MUSCLE)
    for _ in range(int(rng.integers(1, 4))):
        phase, sway, place = rng.uniform(0, 6.3), rng.uniform(0.05, 0.18), rng.uniform([-0.5, -0.5], [0.5, 0.2])
        along_u = place[0] + sway * np.sin(1.7 * body.w + phase)
        along_v = place[1] + sway * np.cos(2.3 * body.w + phase)
        across = np.hypot((body.wu - along_u) * body.half_width_mm, (body.wv - along_v) * body.half_depth_mm)
        tube = (across < rng.uniform(3.5, 7.0) * max(body.scale, 0.6)) & np.isin(labels, quiet) & (body.rho < 0.75)
        labels[tube], activity[tube] = TUBE, rng.uniform(2.0, 4.5)
    for _ in range(int(rng.integers(1, 4))):
        centre = tuple(rng.uniform([-0.6, -0.6, -1.0], [0.6, 0.6, 1.0]))
        blob = body.cluster(rng, centre, (0.03, 0.04, 0.1), (0.06, 0.08, 0.16), 3) > 0
        blob &= np.isin(labels, quiet) & (body.rho < 0.9)
        labels[blob], activity[blob] = BLOB, rng.uniform(1.8, 3.2)


def make_phantom(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], hot_organ: str
) -> tuple[Phantom, dict[str, float | str]]:
    """Draw a slab of a trunk without lesions.

    Parameters
    ----------
    rng
        Source of every draw.
    shape, spacing_mm
        Fine grid, ``(z, y, x)``; its spacing [mm]. ``z`` grows to the head, ``y`` to the back, ``x`` to the left.
    hot_organ
        One of ``HOT_ORGANS``.

    Returns
    -------
        The phantom, and what was drawn for it.
    """
    body = _Body(rng, shape, spacing_mm)
    labels = _partition(rng, body)
    _shell(rng, body, labels)
    liver_suv = 2.2 * rng.uniform(0.9, 1.1)
    ranges = {
        FAT: (0.2, 0.4), MUSCLE: (0.55, 0.85), VISCERA: (0.7, 1.1), LUNG: (0.35, 0.55), LIVER: (liver_suv, liver_suv),
        SPLEEN: (1.6, 2.1), KIDNEY: (2.5, 5.5), BONE: (1.1, 2.0), DISC: (0.7, 1.0), BLOOD: (1.3, 1.8),
        BOWEL: (1.1, 2.2),
    }  # fmt: skip
    table = np.zeros(15, np.float32)
    for tissue, (low, high) in ranges.items():
        table[tissue] = rng.uniform(low, high)
    activity = table[labels]
    _hot_structures(rng, body, labels, activity, hot_organ)
    amplitude = np.full(15, 0.09, np.float32)
    amplitude[[LIVER, BLOOD, FAT]] = 0.025, 0.02, 0.12
    amplitude[[BOWEL, BLOB]] = 0.2
    texture = 0.7 * body.field(rng, 14) + 0.7 * body.field(rng, 30)
    activity *= np.clip(1 + amplitude[labels] * texture, 0.3, 2.0)
    mu_table = np.full(15, MU_WATER_PER_CM, np.float32)
    for tissue, mu in MU_PER_CM.items():
        mu_table[tissue] = mu
    drawn: dict[str, float | str] = {
        "half_width_mm": float(body.half_width_mm), "half_depth_mm": float(body.half_depth_mm),
        "liver_suv": float(liver_suv), "hot_organ": hot_organ,
    }  # fmt: skip
    return Phantom(activity.astype(np.float32), mu_table[labels], labels, spacing_mm), drawn
