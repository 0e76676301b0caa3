"""A phantom of the user's: activity and attenuation as images on any grid, scanned by a gamma camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.core.suv import resolve_suv
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.simulation import FINE
from nmsynth.data.spect_scan import ScannedSpect, SpectStudy, scan_spect
from nmsynth.physics.materials import linear_attenuation, mu_at_511, mu_from_hu
from nmsynth.physics.phantom import Grid, Phantom
from nmsynth.physics.phantom.organs import Organ

FloatArray = npt.NDArray[np.float32]

MATERIALS_511_KEV = ("water", "soft tissue", "lung", "cortical bone", "adipose")
"""Materials that a voxel of a material map can be."""
_BODY_MU = 0.01
"""Attenuation above which a voxel is something [1/cm]."""


@dataclass(frozen=True, slots=True, eq=False)
class ActivityPhantom:
    """Activity and attenuation, each on its own axis-aligned grid."""

    activity: Volume
    """At the start of the scan [Bq/mL]."""
    mu_map: Volume
    """Narrow beam at 511 keV [1/cm]."""

    @property
    def total_activity_bq(self) -> float:
        """Activity in the whole image [Bq]."""
        return float(self.activity.array.sum(dtype=np.float64)) * self.activity.voxel_volume_ml

    @property
    def centre_mm(self) -> tuple[float, float]:
        """Middle ``(y, x)`` of the attenuation's grid: the axis that the camera turns about [mm]."""
        _, y, x = _edges(self.mu_map)
        return float(y[0] + y[-1]) / 2, float(x[0] + x[-1]) / 2

    @property
    def z_range_mm(self) -> tuple[float, float]:
        """Ends of what holds activity [mm]."""
        occupied = np.flatnonzero((self.activity.array > 0).any((1, 2)))
        edges = _edges(self.activity)[0]
        return float(edges[occupied[0]]), float(edges[occupied[-1] + 1])

    @property
    def known_mm(self) -> tuple[float, float]:
        """Ends of what both images cover [mm]."""
        ends = [_edges(volume)[0] for volume in (self.activity, self.mu_map)]
        return max(float(e[0]) for e in ends), min(float(e[-1]) for e in ends)

    @property
    def field_mm(self) -> float:
        """Diameter about the axis that holds all activity and attenuation [mm]."""
        widest = 0.0
        for volume, least in ((self.activity, 0.0), (self.mu_map, _BODY_MU)):
            _, y, x = _edges(volume)
            rows, columns = np.nonzero((volume.array > least).any(0))
            if rows.size:
                y_mm = np.maximum(np.abs(y[rows] - self.centre_mm[0]), np.abs(y[rows + 1] - self.centre_mm[0]))
                x_mm = np.maximum(np.abs(x[columns] - self.centre_mm[1]), np.abs(x[columns + 1] - self.centre_mm[1]))
                widest = max(widest, float(np.hypot(y_mm, x_mm).max()))
        return 2 * widest

    def render(self, grid: Grid) -> Phantom:
        """The phantom on a grid about the axis, activity in Bq/mL; what a voxel holds is kept, not interpolated."""
        z, y, x = grid.origin_mm
        shifted = replace(grid, origin_mm=(z, y + self.centre_mm[0], x + self.centre_mm[1]))
        mu_map = resample_mean(self.mu_map, shifted)
        return Phantom(
            grid=grid, activity=resample_mean(self.activity, shifted), mu_map=mu_map,
            labels=np.where(mu_map > _BODY_MU, np.uint8(Organ.SOFT_TISSUE), np.uint8(0)).astype(np.uint8),
            lesion_labels=np.zeros(grid.shape, dtype=np.uint8), lesions=(), body_mass_kg=1.0, height_m=1.0, sex="O",
            seed=0, family="activity",
        )  # fmt: skip


def activity_phantom(
    activity: Volume,
    mu_map: Volume,
    *,
    total_activity_bq: float | None = None,
    mu_energy_kev: float | None = None,
    materials: Mapping[int, str] | None = None,
) -> ActivityPhantom:
    """Make a phantom from images.

    Parameters
    ----------
    activity
        In Bq/mL; of any unit where a total is given.
    mu_map
        Attenuation in 1/cm at ``mu_energy_kev``, CT numbers in HU (120 kVp), or numbers of ``materials``; on any
        grid of the same space.
    total_activity_bq
        Activity in the whole image at the start of the scan, to which it is scaled [Bq].
    mu_energy_kev
        Energy of a map in 1/cm [keV].
    materials
        Material of each number in the map, one of :data:`MATERIALS_511_KEV`; a number that is not named is air.

    Raises
    ------
    InputError
        If an image is oblique, not finite or negative, holds no activity, or how it is meant is not stated.
    """
    for name, volume in (("activity", activity), ("attenuation", mu_map)):
        if len(volume.axes) != 3:
            raise InputError(f"An image of {name} must have axes (z, y, x); found {volume.axes}.")
    activity, mu_map = _upright(activity), _upright(mu_map)
    values = activity.array
    if not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise InputError("Activity must be finite, not negative and somewhere above 0; this image is not.")
    if total_activity_bq is None and activity.unit is not Unit.BQML:
        raise InputError(
            f"Activity must be in Bq/mL, or its total must be given; found unit '{activity.unit.value}'. State the "
            "total (--total-mbq) or the unit (--unit)."
        )
    if total_activity_bq is not None:
        if not (np.isfinite(total_activity_bq) and total_activity_bq > 0):
            raise InputError(f"The total activity must be above 0 Bq; found {total_activity_bq}.")
        held = float(values.sum(dtype=np.float64)) * activity.voxel_volume_ml
        values = values * np.float32(total_activity_bq / held)
    return ActivityPhantom(
        activity.with_array(values, unit=Unit.BQML),
        mu_map.with_array(_mu_511(mu_map, mu_energy_kev, materials), unit=Unit.PER_CENTIMETRE),
    )


def _mu_511(mu_map: Volume, energy_kev: float | None, materials: Mapping[int, str] | None) -> FloatArray:
    """Attenuation at 511 keV from what the image holds."""
    if materials is not None:
        unknown = sorted(set(materials.values()) - set(MATERIALS_511_KEV))
        if unknown:
            raise InputError(f"A material must be one of {', '.join(MATERIALS_511_KEV)}; found {unknown[0]!r:.40}.")
        out = np.zeros(mu_map.shape, dtype=np.float32)
        for number, name in materials.items():
            out[mu_map.array == number] = linear_attenuation(name, 511.0)
        return out
    if mu_map.unit is Unit.HOUNSFIELD:
        return mu_from_hu(mu_map.array, energy_kev=511.0)
    if mu_map.unit is not Unit.PER_CENTIMETRE:
        raise InputError(
            f"Attenuation must be in 1/cm or HU, or its materials must be given; found unit '{mu_map.unit.value}'."
        )
    if energy_kev is None:
        raise InputError("An attenuation map in 1/cm belongs to a photon energy; none was stated. Give it (--mu-kev).")
    return mu_at_511(mu_map.array, energy_kev)


def scan_activity_phantom(
    phantom: ActivityPhantom,
    *,
    study: SpectStudy,
    fractions: tuple[float, ...] = (1.0,),
    seed: int = 0,
    z_range_mm: tuple[float, float] | None = None,
    progress: Progress = silent,
) -> ScannedSpect:
    """Scan a phantom of the user's by a rotating camera.

    Nothing is known of what was injected or of a body's mass, so the images state no SUV. Beyond the ends of the images
    nothing is known either: guard planes are drawn only as far as both reach.

    Parameters
    ----------
    phantom
        Activity at the start of the scan.
    study
        Camera, orbit and reconstruction; of its tracer the radionuclide is taken.
    fractions, seed, progress
        As in :func:`nmsynth.data.spect_scan.scan_spect`.
    z_range_mm
        Ends of what is scanned [mm], widened to whole planes; all that holds activity when unset.
    """
    low, high = z_range_mm or phantom.z_range_mm
    n_planes = max(1, math.ceil((high - low) / study.voxel_mm - 1e-6))
    # The first plane is that of the middle of the first fine voxel, half of which lies below it.
    first = (low + high - n_planes * study.voxel_mm) / 2 + study.voxel_mm / FINE / 2
    # One becquerel in a gram makes the SUV of a scan the activity itself.
    tracer = replace(study.tracer, activity_bq=1.0, uptake_time_s=0.0)
    scanned = scan_spect(
        phantom.render, study=replace(study, tracer=tracer), body_mass_kg=1e-3, height_m=1.0, sex="O",
        z_range_mm=(first, first + (n_planes + 1e-3) * study.voxel_mm), fractions=fractions, seed=seed,
        known_mm=phantom.known_mm, progress=progress,
    )  # fmt: skip
    total = phantom.total_activity_bq
    inside = float(scanned.truth.array.sum(dtype=np.float64)) * scanned.truth.voxel_volume_ml
    facts: dict[str, Any] = scanned.facts | {
        "tracer": None, "total_activity_bq": total, "share_in_field": inside / total,
    }  # fmt: skip
    return replace(
        scanned,
        scans=tuple(_without_injection(v) for v in scanned.scans),
        noise_free=_without_injection(scanned.noise_free),
        truth=_without_injection(scanned.truth),
        facts=facts,
    )


def _without_injection(volume: Volume) -> Volume:
    """The image without what was not injected."""
    stated = replace(
        volume.acquisition, radiopharmaceutical=None, injected_activity_bq=None, injection_time=None,
        body_mass_kg=None, height_m=None, sex=None, body_part=None,
    )  # fmt: skip
    return replace(volume, acquisition=stated, suv_rule=resolve_suv(stated, unit=Unit.BQML, time_rule="a"))


def _upright(volume: Volume) -> Volume:
    """The image with its axes towards head, back and left; an oblique one is refused."""
    axes = volume.affine[:3, :3][::-1]  # rows (z, y, x) of the world, columns of the array
    sizes = np.abs(np.diag(axes))
    if np.abs(axes - np.diag(np.diag(axes))).max() > 1e-3 * max(sizes.max(), 1e-9) or sizes.min() <= 0:
        raise InputError(
            "The axes of an image of activity or attenuation must run along head, back and left; these are oblique. "
            "Resample it first."
        )
    flipped = tuple(axis for axis in range(3) if axes[axis, axis] < 0)
    affine = volume.affine.copy()
    for axis in flipped:
        affine[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
        affine[:3, axis] *= -1
    return volume.with_array(np.ascontiguousarray(np.flip(volume.array, flipped)), affine=affine)


def _edges(volume: Volume) -> tuple[npt.NDArray[np.float64], ...]:
    """Edges of the voxels along ``(z, y, x)`` [mm]."""
    origin = volume.affine[:3, 3][::-1]
    return tuple(
        o + (np.arange(n + 1) - 0.5) * s for o, n, s in zip(origin, volume.shape, volume.spacing_mm, strict=True)
    )


def resample_mean(volume: Volume, grid: Grid) -> FloatArray:
    """Mean of an image over each voxel of a grid; outside the image it is zero.

    The image is constant in each of its voxels, so what it holds inside the grid is kept exactly, at any ratio of the
    voxels.

    Parameters
    ----------
    volume
        Axis-aligned, axes towards head, back and left.
    grid
        In the same space.

    Returns
    -------
        Shape of the grid.
    """
    out = volume.array.astype(np.float64)
    for axis, (edges, first, n, step) in enumerate(
        zip(_edges(volume), grid.origin_mm, grid.shape, grid.spacing_mm, strict=True)
    ):
        wanted = first + (np.arange(n + 1) - 0.5) * step
        overlap = np.minimum(edges[1:], wanted[1:, None]) - np.maximum(edges[:-1], wanted[:-1, None])
        weights = np.clip(overlap, 0.0, None) / step
        out = np.moveaxis(np.tensordot(weights, out, (1, axis)), 0, axis)
    return out.astype(np.float32)
