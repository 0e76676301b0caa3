"""Habitus of one patient: body outline, cavities and where organs may lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nmsynth.physics.phantom.organs import UPTAKE, Uptake
from nmsynth.physics.phantom.shapes import Point, Trunk

MID_THIGH = 0.38
"""Height of z = 0 above the soles, as a fraction of stature."""

# Reference adult, 1.75 m and 23 kg/m2: fraction of stature, half width, half depth [mm], share
# of the abdominal subcutaneous fat.
_OUTLINE = np.array(
    [
        (0.440, 110, 55, 0.3),
        (0.455, 146, 80, 0.6),
        (0.470, 166, 96, 0.9),
        (0.500, 177, 106, 1.0),
        (0.530, 178, 110, 1.0),
        (0.580, 165, 108, 1.0),
        (0.620, 150, 106, 1.0),
        (0.660, 150, 108, 0.9),
        (0.700, 155, 112, 0.7),
        (0.740, 162, 114, 0.6),
        (0.770, 170, 112, 0.6),
        (0.795, 180, 100, 0.5),
        (0.812, 164, 88, 0.5),
        (0.826, 122, 78, 0.4),
        (0.840, 86, 70, 0.35),
        (0.856, 66, 64, 0.3),
        (0.875, 59, 60, 0.25),
        (0.90, 60, 62, 0.2),
    ]
)
_RIBS = np.array(
    [
        (0.645, 124, 82),
        (0.660, 130, 86),
        (0.700, 136, 90),
        (0.740, 133, 88),
        (0.770, 122, 82),
        (0.795, 99, 66),
        (0.812, 74, 50),
        (0.824, 52, 36),
        (0.834, 22, 14),
    ]
)


@dataclass(frozen=True)
class Frame:
    """Measures that every structure is placed by.

    Attributes
    ----------
    rng
        Generator of this patient's anatomy.
    height_m, bmi, sex
        Habitus.
    arms_up
        Arms beside the head instead of beside the trunk.
    widen
        Factor on spreads of uptake, 1 for plausible patients.
    texture
        Range of the relative standard deviation within organs.
    breathing_mm
        Width of the breathing blur at the dome of the diaphragm [mm].
    uptakes
        Uptake of each structure; FDG's unless another tracer's are given.
    """

    rng: np.random.Generator
    height_m: float
    bmi: float
    sex: str
    arms_up: bool
    widen: float
    texture: tuple[float, float]
    breathing_mm: float
    uptakes: Mapping[str, Uptake] = field(default_factory=lambda: UPTAKE, repr=False)

    @property
    def scale(self) -> float:
        """Length of the skeleton against the reference adult."""
        return self.height_m / 1.75

    @property
    def girth(self) -> float:
        """Cross-section of the body against the reference adult."""
        return self.bmi / 23.0

    @property
    def fat_mm(self) -> float:
        """Abdominal subcutaneous fat [mm]."""
        factor = 1.25 if self.sex == "F" else 1.0
        return float(np.clip(5.0 + 1.45 * (self.bmi - 18.0), 4.0, 42.0)) * factor

    def z(self, fraction: float) -> float:
        """Patient z [mm] of a fraction of stature above the soles."""
        return (fraction - MID_THIGH) * self.height_m * 1000.0

    def uptake(self, name: str) -> float:
        """Draw an uptake of the table [g/mL]; heavier people have less in their fat, so more elsewhere."""
        habitus = 1.0 if name in ("fat", "white_ratio") else float(np.clip((self.bmi / 25.0) ** 0.35, 0.88, 1.2))
        return habitus * self.uptakes[name].draw(self.rng, self.widen)

    def grain(self) -> float:
        """Draw the texture of an organ."""
        return float(self.rng.uniform(*self.texture))

    def vary(self, spread: float = 0.1) -> float:
        """Factor about 1 with relative spread, at most two spreads away."""
        return float(np.exp(spread * np.clip(self.rng.standard_normal(), -2, 2)))

    def jitter(self, point: Point, mm: float) -> Point:
        """Point moved at random by some mm."""
        dz, dy, dx = mm * np.clip(self.rng.standard_normal(3), -2, 2)
        return (point[0] + float(dz), point[1] + float(dy), point[2] + float(dx))

    @property
    def back_y(self) -> float:
        """Posterior face of the muscles of the trunk [mm]."""
        return 104.0 * self.scale

    def outline(self) -> Trunk:
        """Skin of trunk and neck."""
        muscle = self.muscle()
        share = np.array(_OUTLINE[:, 3]) * self.fat_mm
        front = share * np.where(_OUTLINE[:, 0] > 0.68, 0.6, 1.0)
        half_depth = np.array(muscle.half_depth) + (front + 0.7 * share) / 2 + 2.0
        centre = np.array(muscle.centre_y) + (0.7 * share - front) / 2
        width = np.array(muscle.half_width) + share + 2.0
        return Trunk(muscle.z_mm, _floats(width), _floats(half_depth), _floats(centre), squareness=0.35)

    def muscle(self) -> Trunk:
        """Outer face of the muscles of trunk and neck, under the subcutaneous fat."""
        wide = np.interp(_OUTLINE[:, 0], [0.55, 0.62, 0.70, 0.80], [0.25, 0.40, 0.22, 0.20])
        deep = np.interp(_OUTLINE[:, 0], [0.55, 0.62, 0.70, 0.80], [0.30, 0.60, 0.35, 0.20])
        sex = np.interp(_OUTLINE[:, 0], [0.55, 0.62, 0.72, 0.80], [1.0, 0.92, 0.93, 0.88]) if self.sex == "F" else 1.0
        half_width = (_OUTLINE[:, 1] - 14.0) * self.scale * sex * self.girth**wide
        half_depth = (_OUTLINE[:, 2] - 9.0) * self.scale * self.girth**deep
        ribs = self.ribs()
        z = np.array([self.z(f) for f in _OUTLINE[:, 0]])
        chest = (_OUTLINE[:, 0] > 0.65) & (_OUTLINE[:, 0] < 0.82)
        half_width = np.where(chest, np.maximum(half_width, np.interp(z, ribs.z_mm, ribs.half_width) + 16), half_width)
        half_depth = np.where(chest, np.maximum(half_depth, np.interp(z, ribs.z_mm, ribs.half_depth) + 16), half_depth)
        back = np.interp(
            _OUTLINE[:, 0],
            [0.44, 0.455, 0.475, 0.50, 0.58, 0.62, 0.74, 0.80, 0.845, 0.87],
            [62, 78, 96, 104, 96, 92, 104, 92, 78, 76],
        )
        return Trunk(
            _floats(z),
            _floats(half_width),
            _floats(half_depth),
            _floats(back * self.scale - half_depth),
            squareness=0.35,
        )

    def ribs(self) -> Trunk:
        """Inner face of the rib cage."""
        sex = 0.93 if self.sex == "F" else 1.0
        z = tuple(self.z(f) for f in _RIBS[:, 0])
        wide = _RIBS[:, 1] * self.scale * sex * self.girth**0.12
        deep = _RIBS[:, 2] * self.scale * sex * self.girth**0.15
        back = np.interp(_RIBS[:, 0], [0.64, 0.70, 0.76, 0.812, 0.834], [76, 84, 82, 62, 40]) * self.scale
        return Trunk(z, _floats(wide), _floats(deep), _floats(back - deep), squareness=0.2)

    def cavity(self) -> Trunk:
        """Abdominal and pelvic cavity below the diaphragm: muscles less the wall, less the back."""
        muscle = self.muscle()
        fractions = np.array([0.492, 0.510, 0.54, 0.58, 0.62, 0.65, 0.68])
        z = np.array([self.z(f) for f in fractions])
        width = np.interp(z, muscle.z_mm, muscle.half_width) - 14.0
        width *= np.interp(fractions, [0.492, 0.51, 0.54, 0.58], [0.20, 0.36, 0.52, 0.92])
        depth, centre = (np.interp(z, muscle.z_mm, v) for v in (muscle.half_depth, muscle.centre_y))
        front = centre - depth + np.interp(fractions, [0.492, 0.54], [40.0, 11.0])
        back = np.interp(fractions, [0.492, 0.54, 0.58, 0.62, 0.68], [30, 52, 58, 66, 70]) * self.scale
        return Trunk(_floats(z), _floats(width), _floats((back - front) / 2), _floats((back + front) / 2), 0.25)

    def in_cavity(self, fraction: float, across: float, deep: float) -> Point:
        """Point of the abdominal cavity: ``across`` -1 right to 1 left, ``deep`` -1 front to 1 back."""
        cavity, z = self.cavity(), self.z(fraction)
        a, b, c = (np.interp(z, cavity.z_mm, v) for v in (cavity.half_width, cavity.half_depth, cavity.centre_y))
        return (z, float(c + deep * b), float(across * a))

    def spine_y(self, z: float) -> float:
        """Depth of the middle of the vertebral bodies at a height [mm]."""
        fractions = [0.50, 0.54, 0.575, 0.62, 0.66, 0.72, 0.78, 0.83, 0.88, 0.925]
        depth = [62, 62, 40, 34, 42, 56, 56, 38, 24, 18]
        return float(np.interp(z, [self.z(f) for f in fractions], depth)) * self.scale


def _floats(values: np.ndarray) -> tuple[float, ...]:
    """Plain floats of an array."""
    return tuple(float(v) for v in values)
