"""Heads whose regions each follow a curve: a procedural one, or one of a label map."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.data.scan import ReferenceScan
from nmsynth.data.simulation import FINE, ScanDraw, block_mean, majority_label
from nmsynth.metrics.suvr import MINIMUM_REFERENCE_ML
from nmsynth.physics.kinetic_regions import (
    BRAIN,
    ORGAN_OF_REGION,
    REFERENCE_REGIONS,
    REGION_OF_ORGAN,
    regions_of_labels,
)
from nmsynth.physics.phantom import Grid, Organ, Phantom, WholeBodyPatient
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.label_tables import mu_of
from nmsynth.physics.phantom.labels import averaged, largest_label, overlap_matrices

FloatArray = npt.NDArray[np.float32]

_STAND_INS: dict[str, tuple[str, ...]] = {"pons": ("brainstem", "cerebellar grey")}


@dataclass(frozen=True, slots=True, eq=False)
class DynamicHead:
    """A head that can be filled with any activity by region.

    Attributes
    ----------
    names
        Name of each region by its index; index 0 is ``"outside"``.
    indices
        Region of each voxel of the head's own grid, shape ``(z, y, x)``.
    shares
        Texture: activity of a voxel over that of its region, same shape.
    to_fine
        For each axis, share of each own voxel in each voxel of the scan's fine grid, shape ``(fine, own)``; empty where
        the grids are one.
    mu_map
        Attenuation at 511 keV on the fine grid [1/cm].
    guard
        Planes of the reconstruction that the fine grid has beyond each end of the scan.
    labels
        Region with the largest part of each voxel of the reconstruction.
    organs
        Structures of a procedural head on the same grid; as ``labels`` for a label map.
    first_z_mm
        Height of the first plane of the reconstruction [mm].
    body_mass_kg
        Of the patient [kg].
    """

    names: tuple[str, ...]
    indices: npt.NDArray[np.uint8]
    shares: FloatArray
    to_fine: tuple[FloatArray, ...]
    mu_map: FloatArray
    guard: int
    labels: npt.NDArray[np.uint8]
    organs: npt.NDArray[np.uint8]
    first_z_mm: float
    body_mass_kg: float

    def mask_of(self, region: str) -> npt.NDArray[np.bool_]:
        """Voxels of the reconstruction in a region or reference region, shape ``(z, y, x)``."""
        return self._of(REFERENCE_REGIONS.get(region, (region,)))

    @property
    def brain_labels(self) -> npt.NDArray[np.uint8]:
        """The labels of regions of the brain, 0 for any other, shape ``(z, y, x)``."""
        return np.where(self._of(BRAIN), self.labels, 0).astype(np.uint8)

    def _of(self, regions: Collection[str]) -> npt.NDArray[np.bool_]:
        """Where one of some regions is, shape ``(z, y, x)``."""
        return np.isin(self.labels, [k for k, name in enumerate(self.names) if name in regions])

    def reference(self, regions: tuple[str, ...], voxel_volume_ml: float) -> str | None:
        """The first reference region of which enough was scanned to bear a ratio; None if there is none.

        Where there is no pons, as in a procedural head, the brainstem takes its place, then cerebellar grey matter.
        """
        for region in regions:
            candidates: tuple[str, ...] = (region, *_STAND_INS.get(region, ()))
            for candidate in candidates:
                if float(self.mask_of(candidate).sum()) * voxel_volume_ml >= MINIMUM_REFERENCE_ML:
                    return candidate
        return None

    def fill(self, values: npt.ArrayLike) -> FloatArray:
        """Values by region, shape ``(region,)``, with the head's texture on the fine grid, shape ``(z, y, x)``.

        The fine grid includes the guard planes; :meth:`scanned` leaves them out.
        """
        table = np.asarray(values, dtype=np.float32)
        image = table[self.indices] * self.shares
        return averaged(image, self.to_fine) if self.to_fine else image

    def scanned(self, fine: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What of an image on the fine grid belongs to planes of the scan."""
        edge = self.guard * FINE
        return fine[edge : fine.shape[0] - edge]


def n_planes_of(reference: ReferenceScan, length_mm: float) -> int:
    """Planes of the reconstruction over a length, 8 at least."""
    return max(8, round(length_mm / reference.plane_mm))


def guard_planes(draw: ScanDraw) -> int:
    """Planes to draw beyond each end of a scan: as many as resolution and filter reach.

    Within the full width of a Gaussian lies 99 % of it on either side.
    """
    reach_mm = math.hypot(draw.scanner.axial_fwhm_mm, draw.osem.axial_filter_fwhm_mm)
    return max(1, math.ceil(reach_mm / draw.osem.plane_mm))


def procedural_head(
    patient: WholeBodyPatient, reference: ReferenceScan, n: int, length_mm: float, *, guard: int = 0
) -> DynamicHead:
    """The head of a procedural patient, drawn on the fine grid; at borders a voxel belongs to one structure whole.

    Parameters
    ----------
    n
        Pixels along a side of the reconstruction.
    length_mm
        Length that is scanned, down from the top of the head [mm].
    guard
        Planes that are drawn beyond each end of it.
    """
    phantom, first_z = _drawn(patient, reference, n, length_mm, guard)
    shares, organs = _shares(phantom, guard * FINE)
    regions = [REGION_OF_ORGAN.get(organ, "other") for organ in organs]
    names = ("outside", *dict.fromkeys(regions))
    table = np.zeros(256, dtype=np.uint8)
    for organ, region in zip(organs, regions, strict=True):
        table[organ] = names.index(region)
    edge = guard * FINE
    coarse = majority_label(phantom.labels[edge : phantom.labels.shape[0] - edge], 0.5)
    return DynamicHead(
        names, table[phantom.labels], shares, (), phantom.mu_map, guard, table[coarse], coarse, first_z,
        patient.body_mass_kg,
    )  # fmt: skip


def labelled_head(
    labels: npt.NDArray[np.number],
    spacing_mm: tuple[float, float, float],
    *,
    reference: ReferenceScan,
    n: int,
    length_mm: float,
    seed: int,
    body_mass_kg: float = 75.0,
    guard: int = 0,
) -> DynamicHead:
    """A head from a map of FreeSurfer numbers, each voxel of the scan holding its regions by their volumes.

    Parameters
    ----------
    labels
        Shape ``(z, y, x)`` with z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    n, length_mm, guard
        As :func:`procedural_head` takes them.
    seed
        Of the texture within regions.
    """
    if np.ndim(labels) != 3 or len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError(
            f"A label map needs axes (z, y, x) and a spacing above 0; found shape {np.shape(labels)}, {spacing_mm} mm."
        )
    indices, names = regions_of_labels(labels, spacing_mm)
    indices, own = _cropped(indices, spacing_mm)
    rng = np.random.default_rng((seed, 47))
    sd = float(rng.uniform(0.03, 0.06))
    coarse_field = SmoothField.random(rng, float(rng.uniform(18, 35))).on_axes(*own.axes())
    fine_field = SmoothField.random(rng, float(rng.uniform(6, 10)), 48).on_axes(*own.axes())
    shares = np.clip(1 + sd * (0.8 * coarse_field + 0.6 * fine_field), 0.5, 1.5).astype(np.float32)
    shares[indices == 0] = 0.0
    top = own.origin_mm[0] + (own.shape[0] - 0.5) * own.spacing_mm[0] + 2 * reference.plane_mm
    n_planes = n_planes_of(reference, length_mm)
    fine = _grid(top - (n_planes + guard) * reference.plane_mm, n_planes + 2 * guard, n, reference, FINE)
    to_fine = overlap_matrices(fine, own)
    mu = mu_of(np.array([_organ(name) for name in names], dtype=np.uint8)).astype(np.float32)
    coarse = _grid(top - n_planes * reference.plane_mm, n_planes, n, reference, 1)
    regions = largest_label(indices, overlap_matrices(coarse, own))
    return DynamicHead(
        names, indices, shares, to_fine, averaged(mu[indices], to_fine), guard, regions, regions,
        coarse.origin_mm[0], body_mass_kg,
    )  # fmt: skip


def _organ(region: str) -> int:
    """Structure whose attenuation a region has."""
    return int(Organ.OUTSIDE if region == "outside" else ORGAN_OF_REGION.get(region, Organ.SOFT_TISSUE))


def _cropped(
    indices: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.uint8], Grid]:
    """The box that holds the head, its middle on the scanner's axis."""
    box = ndimage.find_objects((indices > 0).astype(np.uint8))[0]
    inside = np.ascontiguousarray(indices[box])
    return inside, Grid.centred(inside.shape, spacing_mm)


def _grid(start_mm: float, n_planes: int, n: int, reference: ReferenceScan, factor: int) -> Grid:
    """A grid ``factor`` times as fine as the reconstruction's, whose first face lies at ``start_mm``."""
    pixel, plane = reference.voxel_mm / factor, reference.plane_mm / factor
    shape = (n_planes * factor, n * factor, n * factor)
    return Grid.centred(shape, (plane, pixel, pixel), start_mm + plane / 2)


def _drawn(
    patient: WholeBodyPatient, reference: ReferenceScan, n: int, length_mm: float, guard: int
) -> tuple[Phantom, float]:
    """The fine phantom of the head for ``n`` coarse pixels, and the height of the first plane of the scan [mm]."""
    n_planes = n_planes_of(reference, length_mm)
    pixel, plane = reference.voxel_mm / FINE, reference.plane_mm / FINE
    start = patient.extent_mm[1] - n_planes * reference.plane_mm
    edge = -(n * FINE - 1) / 2 * pixel
    first = start - guard * reference.plane_mm
    shape = ((n_planes + 2 * guard) * FINE, n * FINE, n * FINE)
    phantom = patient.render(Grid(shape, (plane, pixel, pixel), (first, edge, edge)))
    return phantom, start + plane * (FINE - 1) / 2


def _shares(phantom: Phantom, edge: int) -> tuple[FloatArray, list[int]]:
    """Activity of each voxel over the mean of its structure in the scan, and the structures that are there.

    ``edge`` fine planes at each end belong to no scan; they count for structures that lie in them alone.
    """
    organs = [int(o) for o in np.unique(phantom.labels) if o != Organ.OUTSIDE]
    inner = slice(edge, phantom.labels.shape[0] - edge)
    mean = np.ones(256, np.float32)
    for organ in organs:
        mask = phantom.labels == organ
        planes = inner if mask[inner].any() else slice(None)
        mean[organ] = max(float(phantom.activity[planes][mask[planes]].mean()), 1e-6)
    shares = phantom.activity / mean[phantom.labels]
    return np.where(phantom.labels == Organ.OUTSIDE, 0.0, np.clip(shares, 0.0, 2.0)).astype(np.float32), organs


def coarse_mean(head: DynamicHead, values: npt.ArrayLike) -> FloatArray:
    """Values by region on the reconstruction's grid, each voxel the mean of what it holds."""
    return block_mean(head.scanned(head.fill(values)))
