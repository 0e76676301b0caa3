"""A phantom seen by a planar gamma camera: counts of each view, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.core.provenance import Provenance
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.data.scan import INJECTION_TIME
from nmsynth.data.simulation import FINE, planes_last
from nmsynth.physics.gamma_camera import GammaCamera, GammaGrid, effective_scatter
from nmsynth.physics.materials import mu_at_energy
from nmsynth.physics.noise import poisson
from nmsynth.physics.phantom import Grid, Lesion, Organ, Phantom
from nmsynth.physics.phantom.tracers import Tracer
from nmsynth.physics.planar import VIEWS, PlanarProjector, check_views, planar_views, slabs
from nmsynth.physics.psf import FWHM_PER_SIGMA

PLANAR_AXES = ("view", "y", "x")
"""Axes of planar images: views, rows from the head down, columns as the camera sees them."""
PLANAR_SCATTER_FRACTION = 0.3
"""Scattered over all counts in a window of 15 % over a trunk; chosen, between 0.25 and 0.4 as trunks have it."""
_SLAB_PLANES = 64
_OUTLINE_MM = 8.0
_WIDEST_MM = 700.0
_DEEPEST_MM = 520.0
_BODY_MU = 0.01


@dataclass(frozen=True, slots=True)
class PlanarStudy:
    """How a phantom is imaged."""

    tracer: Tracer
    camera: GammaCamera = field(default_factory=lambda: GammaCamera(scatter_fraction=PLANAR_SCATTER_FRACTION))
    views: tuple[str, ...] = VIEWS
    pixel_mm: float = 2.4
    n_columns: int = 256
    n_rows: int | None = 256
    """Rows of the matrix; as many as the length needs when ``None``."""
    field_mm: tuple[float, float] = (387.0, 533.0)
    """What the crystal sees along the body and across it [mm]; pixels outside stay empty."""
    seconds: float = 180.0
    """For which each point is seen [s]."""
    scan_speed_mm_s: float | None = None
    """Of a whole-body sweep, from the head down [mm/s]; ``None`` for a camera that stands still."""
    gaps_mm: tuple[float, float] = (20.0, 50.0)
    """From the body to the anterior and, with the table between, to the posterior face [mm]; chosen."""
    table_transmission: float = 0.93
    """Share of the photons that pass the table to the posterior camera: 2 mm of aluminium at 140 keV."""

    def __post_init__(self) -> None:
        check_views(self.views)
        if not (self.pixel_mm > 0 and self.n_columns > 0 and min(self.field_mm) > 0):
            raise InputError("A planar study needs pixels, columns and a field above 0.")
        if not (math.isfinite(self.seconds) and self.seconds > 0 and 0 < self.table_transmission <= 1):
            raise InputError("A view must last longer than 0 s, and a table let pass between 0 and all photons.")
        if self.scan_speed_mm_s is not None and not self.scan_speed_mm_s > 0:
            raise InputError(f"A scan speed must lie above 0 mm/s; found {self.scan_speed_mm_s}.")

    @property
    def row_mm(self) -> float:
        """Depth of the phantom's voxels [mm]; nothing but a sum runs along it."""
        return max(self.pixel_mm / 2, 2.4)

    def duration_s(self, length_mm: float) -> float:
        """Of the whole acquisition [s]."""
        return self.seconds + (length_mm / self.scan_speed_mm_s if self.scan_speed_mm_s else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ScannedPlanar:
    """All that is known of a simulated study; images have axes ``(view, y, x)``, the posterior as seen from behind."""

    scans: tuple[Volume, ...]
    """Poisson counts, one for each count fraction."""
    noise_free: Volume
    """Expected counts, primaries and scatter."""
    primaries: Volume
    """Expected counts that were not scattered."""
    activity: Volume
    """True activity under each pixel at the start of the scan, without attenuation and blur [Bq]."""
    lesion_labels: npt.NDArray[np.uint8]
    """Projected lesions; where two overlap, the one of the larger index."""
    body: npt.NDArray[np.uint8]
    """Projected body."""
    lesions: tuple[Lesion, ...]
    organ_activity_bq: dict[str, tuple[float, float]]
    """True activity between the first and the last row, at the start of the scan, by organ: on the patient's right and
    left of the body's axis [Bq]."""
    faces_mm: tuple[float, ...]
    """From the body's axis to each collimator [mm]."""
    facts: dict[str, Any]
    """Study and total counts. JSON values."""


class _Layout(NamedTuple):
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


class _Projected(NamedTuple):
    """Sums over depth on the detector's pixels; axes ``([view,] bin, plane)``."""

    primaries: torch.Tensor
    """[Bq/mL mm] of each view."""
    lines: torch.Tensor
    """[Bq/mL mm]."""
    lesions: npt.NDArray[np.uint8]
    body: npt.NDArray[np.bool_]
    found: tuple[Lesion, ...]
    organs: npt.NDArray[np.float64]
    """Sum over voxels, shape ``(organ, side)``, right before left [Bq]."""


def scan_planar(
    render: Callable[[Grid], Phantom],
    *,
    study: PlanarStudy,
    body_mass_kg: float,
    height_m: float,
    sex: str,
    z_range_mm: tuple[float, float],
    fractions: tuple[float, ...],
    seed: int,
    progress: Progress = silent,
) -> ScannedPlanar:
    """Image a phantom by a camera in front and behind.

    The phantom is drawn twice as fine as the detector's pixels, in slabs of planes whose projections are added; what
    lies up to the width of the scatter kernel beyond the field is drawn too. A plane of a whole-body sweep is seen
    later the lower it lies, and its activity has decayed by as much.

    Parameters
    ----------
    render
        Draws the phantom on a grid, in SUV.
    study
        Tracer, camera, views and times.
    z_range_mm
        Ends of the field along the body [mm].
    fractions
        Counts of each scan over those of the study.
    seed
        Of the counting noise.

    Raises
    ------
    InputError
        If there is no body in the field, the phantom's activity is negative or not finite, or a fraction is impossible.
    """
    if not all(0 < f <= 1 for f in fractions):
        raise InputError(f"Count fractions must lie above 0 and at most at 1; found {fractions}.")
    layout = _lay_out(render, study, z_range_mm)
    radionuclide = find_radionuclide(text=study.tracer.radionuclide)
    if radionuclide is None:
        raise InputError(f"The radionuclide of a tracer must be known; found {study.tracer.radionuclide!r}.")
    half_life = radionuclide.half_life_s
    at_start = study.tracer.activity_bq * 2.0 ** (-study.tracer.uptake_time_s / half_life)
    projected = _project(render, study, layout, at_start / (1000.0 * body_mass_kg), progress)
    pixel_ml_per_mm = study.pixel_mm**2 / 1000.0
    counts = pixel_ml_per_mm * study.camera.counts_per_decay(study.tracer.radionuclide) * study.seconds
    decay = _decay(study, half_life, layout, z_range_mm)
    table = torch.tensor([1.0 if view == "anterior" else study.table_transmission for view in study.views])
    primaries = projected.primaries * (counts * decay) * table[:, None, None]
    # scatter reaches pixels beside the body, where nothing was drawn
    n_seen = 2 * math.ceil(min(study.field_mm[1], study.n_columns * study.pixel_mm) / study.pixel_mm / 2)
    primaries = _centred(primaries, max(n_seen, layout.n_bins), 1)
    grid = GammaGrid(study.n_columns, study.pixel_mm, study.pixel_mm)
    scatter = effective_scatter(
        primaries, fraction=study.camera.scatter_fraction, fwhm_mm=study.camera.scatter_fwhm_mm, grid=grid
    )
    acquisition = _acquisition(study, half_life, z_range_mm, body_mass_kg=body_mass_kg, height_m=height_m, sex=sex)
    frame = _Frame(study, layout, z_range_mm, acquisition, seed)
    noise_free = frame.placed(primaries + scatter)
    generator = torch.Generator().manual_seed(seed)
    scans = tuple(
        frame.volume(poisson(noise_free * fraction, generator).numpy(), "scan", fraction) for fraction in fractions
    )
    both = projected.lines.expand(len(study.views), -1, -1) * pixel_ml_per_mm
    progress("counting", 1.0)
    return ScannedPlanar(
        scans=scans,
        noise_free=frame.volume(noise_free.numpy(), "noise-free (T1)", None),
        primaries=frame.volume(frame.placed(primaries).numpy(), "noise-free primaries", None),
        activity=frame.volume(
            frame.placed(frame.as_seen(both)).numpy(), "true activity (T0)", None, unit=Unit.BECQUEREL
        ),
        lesion_labels=frame.labels(projected.lesions),
        body=frame.labels(projected.body.astype(np.uint8)),
        lesions=projected.found,
        organ_activity_bq={
            Organ(label).name.lower(): (float(right), float(left))
            for label, (right, left) in enumerate(projected.organs)
            if right + left > 0
        },
        faces_mm=tuple(
            f - layout.middle_y_mm * (1 if v == "anterior" else -1)
            for f, v in zip(layout.faces_mm, study.views, strict=True)
        ),
        facts=_facts(study, scans, z_range_mm),
    )


def view_image(planar: Volume, index: int) -> Volume:
    """One view as an image of one slice, shape ``(1, y, x)``, in the patient's coordinates.

    The array stays as the camera sees it; the affine says that columns of the posterior view run to the patient's
    right. The slice lies in the body's coronal middle and is given a thickness of 1 mm, as a projection has none.
    """
    affine = planar.affine.copy()
    if _views_of(planar)[index] == "posterior":
        affine[0, 3] = affine[0, 3] + (planar.shape[2] - 1) * affine[0, 2]
        affine[0, 2] = -affine[0, 2]
    return replace(planar, array=planar.array[index][None], affine=affine, axes=SPATIAL_AXES, source=None)


def _views_of(planar: Volume) -> tuple[str, ...]:
    """Names of the views of a simulated planar image."""
    return tuple(planar.provenance.settings.get("views", VIEWS))


def _lay_out(render: Callable[[Grid], Phantom], study: PlanarStudy, z_range_mm: tuple[float, float]) -> _Layout:
    """Find the body, and the grid that holds it and what scatters into the field."""
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
    return _Layout(
        n_planes, n_bins, (low, middle - half, -n_bins * pixel / 2), n_depth, slice(margin, margin + n_kept),
        tuple((back - front) / 2 - _OUTLINE_MM / 2 + gaps[view] for view in study.views), middle,
    )  # fmt: skip


def _project(
    render: Callable[[Grid], Phantom], study: PlanarStudy, layout: _Layout, bqml_per_suv: float, progress: Progress
) -> _Projected:
    """Draw and project the phantom slab by slab."""
    fine, row = study.pixel_mm / FINE, study.row_mm
    n_fine, n_bins = layout.n_planes * FINE, layout.n_bins * FINE
    response = study.camera.response()
    widest = response.fwhm_mm(max(layout.faces_mm) + layout.n_depth * row / 2)
    pad = FINE * math.ceil(3.5 * widest / FWHM_PER_SIGMA / fine / FINE)
    primaries = torch.zeros(len(study.views), n_bins, n_fine + 2 * pad)
    lines = torch.zeros(n_bins, n_fine)
    lesions = np.zeros((n_bins, n_fine), np.uint8)
    body = np.zeros((n_bins, n_fine), np.bool_)
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
        organs += _by_organ(phantom, layout, part) * (bqml_per_suv * fine * fine * row / 1000.0)
        found |= {lesion.index: lesion for lesion in phantom.lesions}
        progress("projecting", part.stop / n_fine * 0.9)
    return _Projected(
        _coarse(primaries[..., pad : pad + n_fine]),
        _coarse(lines),
        _most(lesions),
        _coarse(torch.from_numpy(body).float()).numpy() >= 0.5,
        tuple(found[k] for k in sorted(found)),
        organs,
    )


def _by_organ(phantom: Phantom, layout: _Layout, part: slice) -> npt.NDArray[np.float64]:
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


def _decay(study: PlanarStudy, half_life_s: float, layout: _Layout, z_range_mm: tuple[float, float]) -> torch.Tensor:
    """Mean activity of each plane while it is seen, over that at the start of the scan."""
    rate = math.log(2.0) / half_life_s
    z = layout.first_mm[0] + (torch.arange(layout.n_planes) + 0.5) * study.pixel_mm
    since = (z_range_mm[1] - z).clamp(min=0.0) / study.scan_speed_mm_s if study.scan_speed_mm_s else 0.0 * z
    lasting = rate * study.seconds
    return torch.exp(-rate * since) * (-math.expm1(-lasting) / lasting)


@dataclass(frozen=True, slots=True)
class _Frame:
    """How projections become images."""

    study: PlanarStudy
    layout: _Layout
    z_range_mm: tuple[float, float]
    acquisition: Acquisition
    seed: int

    def as_seen(self, x: torch.Tensor) -> torch.Tensor:
        """Bins in the patient's order, ``(view, bin, plane)``, as each camera sees them."""
        return torch.stack(
            [image.flip(0) if view == "posterior" else image for view, image in zip(self.study.views, x, strict=True)]
        )

    def placed(self, projections: torch.Tensor) -> torch.Tensor:
        """What the crystal sees of ``(view, bin, plane)``, in the middle of the matrix, axes ``(view, y, x)``."""
        views = planar_views(projections[..., self.layout.kept])
        n_rows, n_seen = self.study.n_rows or views.shape[1], round(self.study.field_mm[1] / self.study.pixel_mm)
        views = _centred(_centred(views, min(n_seen, self.study.n_columns), 2), self.study.n_columns, 2)
        return _centred(views, n_rows, 1)

    def labels(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Labels ``(bin, plane)`` on the pixels of each view."""
        both = torch.from_numpy(labels).expand(len(self.study.views), -1, -1)
        return np.asarray(self.placed(self.as_seen(both)).numpy())

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """From indices ``(view, y, x)`` to LPS [mm] of the anterior view, in the coronal plane of the body's axis."""
        pixel, low = self.study.pixel_mm, self.z_range_mm[0]
        n_seen = self.layout.kept.stop - self.layout.kept.start
        top = low + n_seen * pixel + ((self.study.n_rows or n_seen) - n_seen) // 2 * pixel
        affine = np.zeros((4, 4))
        affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -pixel, pixel, 1.0
        affine[0, 3], affine[2, 3] = -(self.study.n_columns - 1) / 2 * pixel, top - pixel / 2
        return affine

    def volume(
        self, array: npt.NDArray[np.float32], kind: str, fraction: float | None, *, unit: Unit = Unit.COUNTS
    ) -> Volume:
        """An image of all views."""
        settings = {"image": kind, "seed": self.seed, "count_fraction": fraction, "views": list(self.study.views)}
        return Volume(
            array=array, affine=self.affine, unit=unit, modality="NM", axes=PLANAR_AXES,
            acquisition=replace(self.acquisition, simulated_count_fraction=fraction),
            provenance=Provenance(simulated=True, settings=settings),
        )  # fmt: skip


def _centred(x: torch.Tensor, length: int, axis: int) -> torch.Tensor:
    """Cut or fill with zeros along an axis, about the middle."""
    surplus = x.shape[axis] - length
    if surplus >= 0:
        return x.narrow(axis, surplus // 2, length)
    before = -surplus // 2
    pads = [0, 0] * (x.ndim - axis - 1) + [before, -surplus - before]
    return F.pad(x, pads)


def _acquisition(
    study: PlanarStudy,
    half_life_s: float,
    z_range_mm: tuple[float, float],
    *,
    body_mass_kg: float,
    height_m: float,
    sex: str,
) -> Acquisition:
    """What the header of the simulated scan states."""
    start = INJECTION_TIME + timedelta(seconds=study.tracer.uptake_time_s)
    return Acquisition(
        radionuclide=study.tracer.radionuclide,
        radiopharmaceutical=study.tracer.agent,
        half_life_s=half_life_s,
        injected_activity_bq=study.tracer.activity_bq,
        injection_time=INJECTION_TIME,
        reference_time=start,
        decay_correction="NONE",
        body_mass_kg=round(body_mass_kg, 2),
        height_m=round(height_m, 3),
        sex=sex,
        series_time=start,
        acquisition_times=(start,),
        frame_durations_s=(study.duration_s(z_range_mm[1] - z_range_mm[0]),),
        manufacturer="nmsynth simulator",
        scanner=f"gamma camera, {study.camera.collimator}",
        body_part="WHOLEBODY" if study.scan_speed_mm_s else None,
        patient_position="HFS",
    )


def _facts(study: PlanarStudy, scans: tuple[Volume, ...], z_range_mm: tuple[float, float]) -> dict[str, Any]:
    """What ``simulation.json`` tells of the scan."""
    return {
        "tracer": study.tracer.name,
        "radionuclide": study.tracer.radionuclide,
        "camera": asdict(study.camera),
        "views": list(study.views),
        "pixel_mm": study.pixel_mm,
        "field_mm": list(study.field_mm),
        "z_range_mm": list(z_range_mm),
        "seconds_per_point": study.seconds,
        "duration_s": study.duration_s(z_range_mm[1] - z_range_mm[0]),
        "scan_speed_cm_min": None if study.scan_speed_mm_s is None else study.scan_speed_mm_s * 6.0,
        "gaps_mm": list(study.gaps_mm),
        "table_transmission": study.table_transmission,
        "counts": [[float(image.sum()) for image in scan.array] for scan in scans],
        "septal_penetration": study.camera.septal_penetration,
    }
