"""The heart for perfusion imaging: left ventricle with defects, right ventricle, atria, beating and breathing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.myocardium import SEGMENTS
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray
from nmsynth.physics.phantom.heart_placement import placed_ventricle
from nmsynth.physics.phantom.myocardial_segments import PerfusionDefect, draw_defects, perfusion
from nmsynth.physics.phantom.organs import MU_BLOOD, Organ
from nmsynth.physics.phantom.shapes import Point
from nmsynth.physics.phantom.ventricle import (
    EJECTED,
    LeftVentricle,
    VentriclePose,
    WallPoints,
    direction_of,
    wall_points,
)

if TYPE_CHECKING:
    from nmsynth.physics.phantom.frame import Frame
    from nmsynth.physics.phantom.layers import Fields, Layer, Painter, Slices

MU_MUSCLE = 0.099
"""Myocardium at 511 keV [1/cm]."""
MU_AROUND = 0.091
"""Fat with some muscle at 511 keV [1/cm]."""
_MUSCLE, _BLOOD, _FAT = 3, 4, 5
_MU = {_MUSCLE: MU_MUSCLE, _BLOOD: MU_BLOOD, _FAT: MU_AROUND}
HEART_LAYERS = ("right_wall", "right_pool", "left_wall", "left_pool")
"""Layers of the plain heart, whose place this one takes."""
_WITH_DIAPHRAGM = 0.6
"""Movement of the heart over that of the diaphragm; chosen."""
_FAT_MM = 6.0
"""Fat and diaphragm about the left ventricle [mm]; chosen."""
_VALVE_MM = 10.0
"""By which the cavity reaches through the plane of the base into the atrium [mm]."""


@dataclass(frozen=True, slots=True)
class HeartSettings:
    """What hearts are drawn from.

    Attributes
    ----------
    rest
        Whether the tracer was given at rest; only the defects' severity depends on it.
    defects
        Which defects; None draws them. ``()`` is a heart without any.
    n_defects
        How many are drawn; None draws that too.
    beating
        Whether the ungated image is the mean over the beat; else the wall stands where it is on average.
    breathing
        Whether the heart is blurred along z by breathing.
    texture
        Range of the relative standard deviation of normal uptake within the wall, over about 2 cm.
    abdominal_activity
        Factor on the uptake of liver, gallbladder, bowel and stomach.
    """

    rest: bool = False
    defects: tuple[PerfusionDefect, ...] | None = None
    n_defects: int | None = None
    beating: bool = True
    breathing: bool = True
    texture: tuple[float, float] = (0.02, 0.05)
    abdominal_activity: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.texture
        if not 0 <= low <= high <= 0.2:
            raise InputError(f"HeartSettings.texture must be a range within 0 and 0.2; found {self.texture}.")
        if self.n_defects is not None and not 0 <= self.n_defects <= 8:
            raise InputError(f"HeartSettings.n_defects must lie between 0 and 8; found {self.n_defects}.")
        if not 0 <= self.abdominal_activity <= 20:
            raise InputError(
                f"HeartSettings.abdominal_activity must lie between 0 and 20; found {self.abdominal_activity}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Heart:
    """The heart of one subject, independent of any grid.

    Attributes
    ----------
    ventricle
        Geometry of the left ventricle.
    defects
        What is less perfused.
    uptake_suv, right_suv, blood_suv, fat_suv
        Normal uptake of the left and right ventricle's wall, of blood, and of the fat around [g/mL].
    breathing_mm
        Path of the heart along z in breathing [mm].
    texture
        Relative standard deviation of normal uptake in the left ventricle's wall.
    """

    ventricle: LeftVentricle
    defects: tuple[PerfusionDefect, ...]
    uptake_suv: float
    right_suv: float
    blood_suv: float
    fat_suv: float
    settings: HeartSettings = field(default_factory=HeartSettings)
    breathing_mm: float = 0.0
    texture: float = 0.0
    texture_field: SmoothField | None = None

    def poses(self, gate: int | None) -> tuple[VentriclePose, ...]:
        """Poses whose mean is imaged: one at a gate or when the heart stands still, else eight."""
        if gate is not None and not 0 <= gate < len(EJECTED):
            raise InputError(f"A gate must be one of 0 to {len(EJECTED) - 1}; found {gate}.")
        if gate is not None:
            return (self.ventricle.pose(EJECTED[gate]),)
        return tuple(self.ventricle.pose(e) for e in EJECTED) if self.settings.beating else (self.ventricle.pose(),)

    def paint(self, painter: Painter, gate: int | None = None) -> NDArray[np.uint8]:
        """Paint over what a painter holds.

        Parameters
        ----------
        painter
            Its activity, attenuation and labels are changed.
        gate
            One of eight parts of the beat, 0 at end diastole; None for the mean over the beat.

        Returns
        -------
            Segment of each voxel of which the left ventricle's wall fills at least half, where it stands on average;
            0 elsewhere; shape of the grid.
        """
        segments = np.zeros(painter.grid.shape, dtype=np.uint8)
        where = self._box(painter)
        if where is None:
            return segments
        axes = [a[s] for a, s in zip(painter.grid.axes(), where, strict=True)]
        z, y, x = (v.astype(np.float32) for v in np.meshgrid(*axes, indexing="ij"))
        width = float(np.mean(painter.grid.spacing_mm))
        texture = self._texture(axes)
        poses = self.poses(gate)
        mean = np.zeros((6, *z.shape), dtype=np.float32)
        for pose in poses:
            mean += self._composed(pose, (z, y, x), width, texture) / np.float32(len(poses))
        if self.settings.breathing and self.breathing_mm > 0:
            mean = _breathed(mean, self.breathing_mm, painter.grid.spacing_mm[0])
        keep, activity, mu, muscle, blood, fat = mean
        painter.replace(where, keep=keep, activity=activity, mu=mu, parts={
            Organ.HEART_WALL: muscle, Organ.BLOOD: blood, Organ.FAT: fat,
        })  # fmt: skip
        pose = poses[0] if gate is not None else self.ventricle.pose()
        points = wall_points(pose, *self.ventricle.local(pose, z, y, x))
        segments[where] = np.where(_filled(points, width) >= 0.5, points.segment, 0)
        return segments

    def _box(self, painter: Painter) -> Slices | None:
        """Index ranges that hold the heart with its atria, in all phases of breathing."""
        pose = self.ventricle.pose(0.0)
        middle = np.array(self.ventricle.middle_mm(pose)) - 20.0 * self.ventricle.axes[0]
        reach = pose.outer_length_mm + pose.outer_radius_mm + 30.0
        found = []
        for centre, n, spacing, origin in zip(
            middle, painter.grid.shape, painter.grid.spacing_mm, painter.grid.origin_mm, strict=True
        ):
            first = max(0, int(np.floor((centre - reach - origin) / spacing)))
            last = min(n, int(np.ceil((centre + reach - origin) / spacing)) + 1)
            if first >= last:
                return None
            found.append(slice(first, last))
        return found[0], found[1], found[2]

    def _texture(self, axes: list[NDArray[np.float64]]) -> FloatArray | float:
        """Normal uptake over its mean, on the grid of three axes [mm]."""
        if self.texture_field is None or not self.texture:
            return 1.0
        return 1 + np.float32(self.texture) * np.clip(self.texture_field.on_axes(*axes), -2.5, 2.5)

    def _composed(
        self, pose: VentriclePose, zyx: tuple[FloatArray, ...], width: float, texture: FloatArray | float
    ) -> FloatArray:
        """Background left, activity, attenuation, muscle, blood and fat of one pose, ``(6, z, y, x)``."""
        local = self.ventricle.local(pose, *zyx)
        state = np.zeros((6, *zyx[0].shape), dtype=np.float32)
        state[0] = 1
        points = wall_points(pose, *local)
        _over(state, _occupied(points.outer_mm - np.float32(_FAT_MM), width), self.fat_suv, _FAT)
        for centre, radii, cut, suv, part in self._right_heart(pose):
            _over(state, _occupied(_ellipsoid(local, centre, radii, cut), width), suv, part)
        uptake = np.float32(self.uptake_suv) * texture * self.relative_uptake(pose, points)
        _over(state, _occupied(points.outer_mm, width), uptake, _MUSCLE)
        pool = np.maximum(points.inner_mm, -local[0] - np.float32(pose.base_mm + _VALVE_MM))
        _over(state, _occupied(pool, width), self.blood_suv, _BLOOD)
        return state

    def relative_uptake(self, pose: VentriclePose, points: WallPoints) -> FloatArray:
        """Uptake over the normal one at points of the wall; 1 without defects."""
        middles = [direction_of(pose, d.segment) for d in self.defects]
        return perfusion(self.defects, points.direction, points.depth, middles, rest=self.settings.rest)

    def _right_heart(self, pose: VentriclePose) -> list[tuple[Point, Point, float, float, int]]:
        """Right ventricle and atria along the ventricle's axes: middle, half axes, cut at the base, uptake, part."""
        still = self.ventricle.pose()
        k, moved = still.outer_radius_mm / 33.0, pose.outer_length_mm - still.outer_length_mm
        base, septum = still.base_mm, still.outer_radius_mm
        right = (4.0 * k + moved, 5.0 * k, -septum - 4.0 * k)
        outer, inner = (44.0 * k, 30.0 * k, 27.0 * k), (40.5 * k, 26.5 * k, 23.5 * k)
        left_atrium, right_atrium = (moved - base - 20.0 * k, 0.0, 2.0 * k), (moved - base - 24.0 * k, 0.0, -50.0 * k)
        return [
            (right_atrium, (26.0 * k, 26.0 * k, 24.0 * k), 1e3, self.blood_suv, _BLOOD),
            (right, outer, base + right[0], self.right_suv, _MUSCLE),
            (right, inner, base + right[0] + 8.0, self.blood_suv, _BLOOD),
            (left_atrium, (20.0 * k, 22.0 * k, 26.0 * k), 1e3, self.blood_suv, _BLOOD),
        ]

    def segment_uptake(self, *, spacing_mm: float = 1.5) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The truth by segment, in the wall as it stands on average.

        Returns
        -------
            Mean uptake over the normal one, and share of the wall's volume, each ``(17,)``; texture is in the uptake.
        """
        mean, share, _ = self._by_segment(spacing_mm)
        return mean, share

    def _by_segment(self, spacing_mm: float = 1.5) -> tuple[NDArray[np.float64], ...]:
        """Uptake and share of the wall of each segment, and the share of its uptake that defects take."""
        pose = self.ventricle.pose()
        reach = max(pose.outer_length_mm, pose.outer_radius_mm) + spacing_mm
        axis = np.arange(-reach, reach + spacing_mm, spacing_mm, dtype=np.float32)
        local = np.meshgrid(axis, axis, axis, indexing="ij")
        points = wall_points(pose, *local)
        weight = _filled(points, spacing_mm)
        inside = weight > 0
        uptake = self.relative_uptake(pose, points)[inside]
        kept = uptake
        if self.texture_field is not None and self.texture:
            place = np.stack([v[inside] for v in local], axis=-1) @ self.ventricle.axes
            place += np.array(self.ventricle.middle_mm(pose))
            uptake = uptake * (1 + self.texture * np.clip(self.texture_field.at(*place.T), -2.5, 2.5))
        segment, weight = points.segment[inside], weight[inside]
        volume = np.bincount(segment, weight, minlength=18)[1:]
        mean, left = (
            np.bincount(segment, weight * v, minlength=18)[1:] / np.maximum(volume, 1e-9) for v in (uptake, kept)
        )
        return mean, volume / volume.sum(), 1.0 - left

    def covers(self, layer: Layer) -> bool:
        """Whether the middle of any shape of a layer lies in the heart, or within 3 mm of it."""
        pose = self.ventricle.pose(0.0)
        for shape in layer.shapes:
            middle = [np.array([sum(b) / 2], dtype=np.float32) for b in shape.bounds()]
            local = self.ventricle.local(pose, *middle)
            near = [float(_ellipsoid(local, c, r, 1e3)[0]) for c, r, *_ in self._right_heart(pose)]
            if min(*near, float(wall_points(pose, *local).outer_mm[0])) < 3.0:
                return True
        return False

    def to_json(self) -> dict[str, Any]:
        """The truth of the heart: geometry, defects, uptake by segment. JSON values."""
        pose, (mean, share, lost) = self.ventricle.pose(), self._by_segment()
        v = self.ventricle
        return {
            "state": "rest" if self.settings.rest else "stress",
            "myocardium_ml": pose.myocardium_ml,
            "end_diastolic_ml": v.pose(0.0).cavity_ml,
            "end_systolic_ml": v.pose(1.0).cavity_ml,
            "ejection_fraction": v.ejection_fraction,
            "apex_mm_zyx": list(v.apex_mm),
            "base_mm_zyx": [a - v.length_mm * d for a, d in zip(v.apex_mm, v.axes[0].tolist(), strict=True)],
            "azimuth_deg": v.azimuth_deg,
            "descent_deg": v.descent_deg,
            "wall_mm": v.wall_mm,
            "apex_wall_mm": v.apex_wall_mm,
            "breathing_mm": self.breathing_mm if self.settings.breathing else 0.0,
            "uptake_suv": self.uptake_suv,
            "defects": [
                {
                    "segment": d.segment,
                    "name": SEGMENTS[d.segment - 1],
                    "severity": d.severity_at(rest=self.settings.rest),
                    "severity_under_stress": d.severity,
                    "reversible": d.reversible,
                    "extent_deg": d.extent_deg,
                    "transmural": d.transmural,
                }
                for d in self.defects
            ],
            "segments": [
                {
                    "number": i + 1,
                    "name": SEGMENTS[i],
                    "relative_uptake": float(m),
                    "share_of_wall": float(s),
                    "lost_to_defects": round(float(gone), 6),
                }
                for i, (m, s, gone) in enumerate(zip(mean, share, lost, strict=True))
            ],
        }


def draw_heart(seed: int, frame: Frame, fields: Fields, settings: HeartSettings) -> Heart:
    """Draw the heart of a subject; its geometry depends on nothing but the seed and the habitus.

    Ranges are chosen so that volumes at 1.75 m are those of adults: about 130 mL at end diastole and 130 mL of wall.

    Parameters
    ----------
    seed
        Of the subject.
    frame, fields
        Its habitus, uptakes and displacement.
    settings
        What is drawn from.
    """
    rng = np.random.default_rng([seed, 4])
    s = frame.scale * (0.97 if frame.sex == "F" else 1.0)
    azimuth, descent = (float(np.clip(rng.normal(m, d), m - 2 * d, m + 2 * d)) for m, d in ((45.0, 8.0), (25.0, 8.0)))
    wall = float(rng.uniform(8.0, 10.5)) * s
    ventricle = LeftVentricle(
        azimuth_deg=azimuth, descent_deg=descent, length_mm=float(rng.uniform(80.0, 93.0)) * s,
        cavity_radius_mm=float(rng.uniform(22.0, 26.5)) * s, wall_mm=wall,
        apex_wall_mm=wall * float(rng.uniform(0.5, 0.75)), base_share=float(rng.uniform(0.35, 0.5)),
        ejection_fraction=float(rng.uniform(0.55, 0.72)), shortening_mm=float(rng.uniform(8.0, 14.0)) * s,
    )  # fmt: skip
    jitter = 5.0 * np.clip(rng.standard_normal(3), -2, 2)
    wanted = np.array([frame.z(0.735), -26.0 * frame.scale, 38.0 * frame.scale]) + jitter
    ventricle = placed_ventricle(ventricle, wanted, frame, fields)
    uptake, blood, fat = (frame.uptakes[n].draw(rng, frame.widen) for n in ("myocardium", "blood", "fat"))
    texture, right = float(rng.uniform(*settings.texture)), float(rng.uniform(0.4, 0.6))
    grain = SmoothField.random(rng, float(rng.uniform(12.0, 20.0)))
    defects = settings.defects
    if defects is None:
        defects = draw_defects(np.random.default_rng([seed, 5]), settings.n_defects)
    return Heart(
        ventricle, defects, uptake, max(blood, right * uptake), blood, fat, settings,
        breathing_mm=_WITH_DIAPHRAGM * frame.breathing_mm, texture=texture, texture_field=grain,
    )  # fmt: skip


def _occupied(distance: FloatArray, width: float) -> FloatArray:
    """Fraction of a voxel inside: a ramp of the voxel's width [mm] across the surface."""
    occupied: FloatArray = np.clip(np.float32(0.5) - distance * np.float32(1 / width), 0, 1)
    return occupied


def _filled(points: WallPoints, width: float) -> FloatArray:
    """Fraction of a voxel that the wall fills."""
    filled: FloatArray = _occupied(points.outer_mm, width) * (1 - _occupied(points.inner_mm, width))
    return filled


def _ellipsoid(local: tuple[FloatArray, ...], centre: Point, radii: Point, cut: float) -> FloatArray:
    """Signed distance to an ellipsoid, cut ``cut`` mm below its middle along the first axis."""
    moved = [v - np.float32(c) for v, c in zip(local, centre, strict=True)]
    terms = [(m * np.float32(1 / r)) ** 2 for m, r in zip(moved, radii, strict=True)]
    r = np.sqrt(sum(terms))
    slope = np.sqrt(sum(t * np.float32(1 / a**2) for t, a in zip(terms, radii, strict=True)))
    distance = np.where(r < 0.05, -min(radii), (r - 1) * r / np.maximum(slope, 1e-6))
    cut_off: FloatArray = np.maximum(distance, -moved[0] - np.float32(cut)).astype(np.float32)
    return cut_off


def _over(state: FloatArray, occupied: FloatArray, suv: FloatArray | float, part: int) -> None:
    """Put a structure over a state of background left, activity, attenuation, and fractions of each part."""
    state *= 1 - occupied
    state[1] += occupied * np.float32(1) * suv
    state[2] += occupied * np.float32(_MU[part])
    state[part] += occupied


def _breathed(state: FloatArray, path_mm: float, spacing_mm: float) -> FloatArray:
    """Mean over a breath along z, about the mean place.

    The heart is at ``path (1 - sin^4 (pi t))``, longest near the end of expiration [Lujan1999]_; it moves over a
    background at rest.

    .. [Lujan1999] A. E. Lujan et al., A method for incorporating organ motion due to breathing into 3D dose
       calculations, Med Phys 26:715-720, 1999.
    """
    t = (np.arange(64) + 0.5) / 64
    place = -path_mm * np.sin(np.pi * t) ** 4
    samples = (place - place.mean()) / spacing_mm
    half = int(np.ceil(np.abs(samples).max())) + 1
    taps = np.arange(-half, half + 1)
    kernel = np.maximum(0, 1 - np.abs(samples[:, None] - taps)).mean(axis=0)
    moved: FloatArray = ndimage.convolve1d(state, kernel / kernel.sum(), axis=1, mode="nearest")
    return moved
