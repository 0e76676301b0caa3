"""A phantom drawn in slabs and projected on the pixels of a planar camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress
from nmsynth.data.planar_study import PlanarStudy
from nmsynth.data.simulation import FINE, planes_last
from nmsynth.physics.materials import mu_at_energy
from nmsynth.physics.phantom import Grid, Lesion, Organ, Phantom
from nmsynth.physics.planar import VIEWS, PlanarProjector, slabs
from nmsynth.physics.psf import FWHM_PER_SIGMA

_SLAB_PLANES = 64
_OUTLINE_MM = 8.0
_WIDEST_MM = 700.0
_DEEPEST_MM = 520.0
_BODY_MU = 0.01


class PlanarLayout(NamedTuple):
    """Grid on which the phantom is drawn and projected, and the part of it that the crystal sees."""

    n_planes: int
    n_bins: int
    first_mm: tuple[float, float, float]
    """Lower faces of the grid as ``(z, y, x)`` [mm]."""
    n_depth: int
    kept: slice
    """Planes that are seen."""
    faces_mm: tuple[float, ...]
    """From the middle of the grid's depth to each face [mm]."""
    middle_y_mm: float


class ProjectedPhantom(NamedTuple):
    """Sums over depth on the detector's pixels; axes ``([view,] bin, plane)``."""

    primaries: torch.Tensor
    """[Bq/mL mm] of each view."""
    lines: torch.Tensor
    """[Bq/mL mm]."""
    lesions: npt.NDArray[np.uint8]
    body: npt.NDArray[np.bool_]
    organ: npt.NDArray[np.bool_]
    """The organ that is looked at; nowhere where none is named."""
    found: tuple[Lesion, ...]
    organs: npt.NDArray[np.float64]
    """Sum over voxels, shape ``(organ, side)``, right before left [Bq]."""


def lay_out(render: Callable[[Grid], Phantom], study: PlanarStudy, z_range_mm: tuple[float, float]) -> PlanarLayout:
    """Find the body, and the grid that holds it and what scatters into the field.

    Parameters
    ----------
    render
        Draws the phantom on a grid.
    z_range_mm
        Ends of the field along the body [mm].

    Raises
    ------
    InputError
        If the field holds no row or no body, or more rows than the matrix.
    """
    pixel, (low, high) = study.pixel_mm, z_range_mm
    n_kept = round((high - low) / pixel)
    if n_kept < 1:
        raise InputError(f"A view needs at least one row of {pixel} mm; found {z_range_mm} mm.")
    if study.n_rows is not None and n_kept > study.n_rows:
        raise InputError(f"The field of {high - low:g} mm must fit {study.n_rows} rows of {pixel} mm; it does not.")
    margin = math.ceil(study.camera.scatter_fwhm_mm / pixel)
    low -= margin * pixel
    n_planes = n_kept + 2 * margin
    shape = [math.ceil(mm / _OUTLINE_MM) for mm in (n_planes * pixel, _DEEPEST_MM, _WIDEST_MM)]
    coarse = Grid.centred((shape[0], shape[1], shape[2]), (_OUTLINE_MM,) * 3, low + _OUTLINE_MM / 2)
    inside = render(coarse).mu_map > _BODY_MU
    if not inside.any():
        raise InputError("A camera looks at a body; none lies in the field. Choose another region.")
    _, y_axis, x_axis = coarse.axes()
    y = y_axis[inside.any((0, 2))]
    # the body may reach as far as the next voxel of the outline, whose middle is outside
    front, back = float(y.min()) - _OUTLINE_MM, float(y.max()) + _OUTLINE_MM
    n_depth = math.ceil((back - front) / study.row_mm)
    reach = float(np.abs(x_axis[inside.any((0, 1))]).max()) + 30.0
    seen = min(study.field_mm[1], study.n_columns * pixel) / 2 + margin * pixel
    n_bins = 2 * math.ceil(min(reach, seen) / pixel)
    middle = (front + back) / 2
    half = n_depth * study.row_mm / 2
    gaps = dict(zip(VIEWS, study.gaps_mm, strict=True))
    return PlanarLayout(
        n_planes, n_bins, (low, middle - half, -n_bins * pixel / 2), n_depth, slice(margin, margin + n_kept),
        tuple((back - front) / 2 - _OUTLINE_MM / 2 + gaps[view] for view in study.views), middle,
    )  # fmt: skip


def project(
    render: Callable[[Grid], Phantom], study: PlanarStudy, layout: PlanarLayout, bqml_per_suv: float, progress: Progress
) -> ProjectedPhantom:
    """Draw and project the phantom slab by slab.

    Parameters
    ----------
    bqml_per_suv
        Activity concentration at the start of the scan for an SUV of 1 [Bq/mL].

    Raises
    ------
    InputError
        If the phantom's activity is negative or not finite.
    """
    fine, row = study.pixel_mm / FINE, study.row_mm
    n_fine, n_bins = layout.n_planes * FINE, layout.n_bins * FINE
    response = study.camera.response()
    widest = response.fwhm_mm(max(layout.faces_mm) + layout.n_depth * row / 2)
    pad = FINE * math.ceil(3.5 * widest / FWHM_PER_SIGMA / fine / FINE)
    primaries = torch.zeros(len(study.views), n_bins, n_fine + 2 * pad)
    lines = torch.zeros(n_bins, n_fine)
    lesions = np.zeros((n_bins, n_fine), np.uint8)
    body, organ = np.zeros((n_bins, n_fine), np.bool_), np.zeros((n_bins, n_fine), np.bool_)
    found: dict[int, Lesion] = {}
    organs = np.zeros((len(Organ), 2))
    z0, y0, x0 = layout.first_mm
    for part in slabs(n_fine, _SLAB_PLANES):
        origin = (z0 + (part.start + 0.5) * fine, y0 + row / 2, x0 + fine / 2)
        phantom = render(Grid((part.stop - part.start, layout.n_depth, n_bins), (fine, row, fine), origin))
        activity = planes_last(phantom.activity) * bqml_per_suv
        if not bool(torch.isfinite(activity).all()) or bool((activity < 0).any()):
            raise InputError(
                "Activity must be finite and not negative; found NaN, infinity or less. Check the phantom."
            )
        mu = planes_last(mu_at_energy(phantom.mu_map, study.camera.window.centre_kev))
        system = PlanarProjector(
            layout.n_depth, row, fine, fine, faces_mm=layout.faces_mm, views=study.views, response=response,
            mu_map=F.pad(mu, (pad, pad)),
        )  # fmt: skip
        primaries[..., part.start : part.stop + 2 * pad] += system.forward(F.pad(activity, (pad, pad)))
        lines[:, part] = activity.sum(0) * row
        lesions[:, part] = phantom.lesion_labels.max(1).T
        body[:, part] = (phantom.mu_map > _BODY_MU).any(1).T
        if study.organ is not None:
            organ[:, part] = (phantom.labels == study.organ).any(1).T
        organs += _by_organ(phantom, layout, part) * (bqml_per_suv * fine * fine * row / 1000.0)
        found |= {lesion.index: lesion for lesion in phantom.lesions}
        progress("projecting", part.stop / n_fine * 0.9)
    return ProjectedPhantom(
        _coarse(primaries[..., pad : pad + n_fine]),
        _coarse(lines),
        _most(lesions),
        _coarse(torch.from_numpy(body).float()).numpy() >= 0.5,
        _coarse(torch.from_numpy(organ).float()).numpy() >= 0.5,
        tuple(found[k] for k in sorted(found)),
        organs,
    )


def _by_organ(phantom: Phantom, layout: PlanarLayout, part: slice) -> npt.NDArray[np.float64]:
    """Sums of uptake over the voxels of each organ on each side, in the planes that are seen."""
    seen = slice(max(layout.kept.start * FINE - part.start, 0), max(layout.kept.stop * FINE - part.start, 0))
    labels, uptake = phantom.labels[seen], phantom.activity[seen]
    half = labels.shape[2] // 2
    sides = [
        np.bincount(labels[..., x].ravel(), weights=uptake[..., x].ravel(), minlength=len(Organ))
        for x in (slice(0, half), slice(half, None))
    ]
    return np.stack(sides, axis=1)


def _coarse(x: torch.Tensor) -> torch.Tensor:
    """Mean of ``FINE`` squared samples along the last two axes."""
    n_bins, n_planes = x.shape[-2] // FINE, x.shape[-1] // FINE
    return x.reshape(*x.shape[:-2], n_bins, FINE, n_planes, FINE).mean((-3, -1))


def _most(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The label that fills at least half of a pixel, else 0; larger labels win ties."""
    out = np.zeros(tuple(n // FINE for n in labels.shape), np.uint8)
    for label in np.unique(labels[labels > 0]):
        out[_coarse(torch.from_numpy(labels == label).float()).numpy() >= 0.5] = label
    return out


def decay_of_planes(
    study: PlanarStudy, half_life_s: float, layout: PlanarLayout, z_range_mm: tuple[float, float]
) -> torch.Tensor:
    """Mean activity of each plane while it is seen, over that at the start of the scan."""
    rate = math.log(2.0) / half_life_s
    z = layout.first_mm[0] + (torch.arange(layout.n_planes) + 0.5) * study.pixel_mm
    since = (z_range_mm[1] - z).clamp(min=0.0) / study.scan_speed_mm_s if study.scan_speed_mm_s else 0.0 * z
    lasting = rate * study.seconds
    return torch.exp(-rate * since) * (-math.expm1(-lasting) / lasting)
