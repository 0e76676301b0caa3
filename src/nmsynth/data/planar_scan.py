"""A phantom seen by a planar gamma camera: counts of each view, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

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
from nmsynth.core.volume import PLANAR_AXES, SPATIAL_AXES, Volume
from nmsynth.data.planar_projection import PlanarLayout, decay_of_planes, lay_out, project
from nmsynth.data.planar_study import PlanarStudy
from nmsynth.data.scanned_phantom import INJECTION_TIME
from nmsynth.physics.gamma_camera import GammaGrid, effective_scatter
from nmsynth.physics.noise import poisson
from nmsynth.physics.phantom import Grid, Lesion, Organ, Phantom
from nmsynth.physics.planar import VIEWS, planar_views


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
    organ: npt.NDArray[np.uint8]
    """Projected organ that the view is taken of; nowhere where the study names none."""
    lesions: tuple[Lesion, ...]
    organ_activity_bq: dict[str, tuple[float, float]]
    """True activity between the first and the last row, at the start of the scan, by organ: on the patient's right and
    left of the body's axis [Bq]."""
    faces_mm: tuple[float, ...]
    """From the body's axis to each collimator [mm]."""
    facts: dict[str, Any]
    """Study and total counts. JSON values."""


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
    layout = lay_out(render, study, z_range_mm)
    radionuclide = find_radionuclide(text=study.tracer.radionuclide)
    if radionuclide is None:
        raise InputError(f"The radionuclide of a tracer must be known; found {study.tracer.radionuclide!r}.")
    half_life = radionuclide.half_life_s
    at_start = study.tracer.activity_bq * 2.0 ** (-study.tracer.uptake_time_s / half_life)
    projected = project(render, study, layout, at_start / (1000.0 * body_mass_kg), progress)
    pixel_ml_per_mm = study.pixel_mm**2 / 1000.0
    counts = pixel_ml_per_mm * study.camera.counts_per_decay(study.tracer.radionuclide) * study.seconds
    decay = decay_of_planes(study, half_life, layout, z_range_mm)
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
        organ=frame.labels(projected.organ.astype(np.uint8)),
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


@dataclass(frozen=True, slots=True)
class _Frame:
    """How projections become images."""

    study: PlanarStudy
    layout: PlanarLayout
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
