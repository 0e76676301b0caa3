"""Simulate planar views of a phantom, or thin the counts of a measured NM series, and write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.workflows.pet_subject import quality_phantom
from nmsynth.workflows.scan_subject import (
    WORN_JOINTS,
    ScanSubject,
    bone_lesions,
    check_further,
    of_patient,
    scan_fractions,
)
from nmsynth.workflows.study_output import REFERENCE_FOLDER, SCHEMA_VERSION, describe_lesions, staged_output, write_json
from nmsynth.workflows.thinning import ThinSettings, thin_series

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmsynth.core.volume import Volume
    from nmsynth.data.planar_scan import ScannedPlanar
    from nmsynth.data.planar_study import PlanarStudy
    from nmsynth.physics.phantom import Grid, Phantom
    from nmsynth.physics.phantom.whole_body import WholeBodyPatient

FIELD_MM = (387.0, 533.0)
"""What the crystal sees along the body and across it, as on a usual large-field camera [mm]."""
LEG_MM = 0.0
"""Where the procedural patient ends: mid-thigh [mm]."""

Region = Literal["whole-body", "neck", "chest", "lungs", "kidneys", "pelvis"]
PlanarTracer = Literal["MDP", "MAA", "MAA-SHUNT", "DMSA", "PERTECHNETATE"]


class _Spot(NamedTuple):
    """Where a spot view is centred, and how it is usually taken."""

    height: float
    """Of the centre above the soles, over stature."""
    seconds: float
    pixel_mm: float = 2.4


SPOTS: dict[str, _Spot] = {
    "neck": _Spot(0.85, 300.0, 1.2),
    "chest": _Spot(0.74, 240.0),
    "lungs": _Spot(0.715, 120.0),
    "kidneys": _Spot(0.62, 300.0),
    "pelvis": _Spot(0.53, 240.0),
}
"""Spot views. Times are usual ones, heights chosen so that the organ is whole; ``lungs`` holds the kidneys too."""
USUAL_REGION = {
    "MDP": "whole-body", "MAA": "lungs", "MAA-SHUNT": "lungs", "DMSA": "kidneys", "PERTECHNETATE": "neck",
}  # fmt: skip
"""Region that a tracer is imaged in."""
DEFECTIVE = {"MAA": "LUNG", "MAA-SHUNT": "LUNG", "DMSA": "KIDNEY"}
"""Organ whose defects are looked for with a tracer."""


class SimulatePlanarSettings(BaseModel):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phantom: Literal["whole-body", "nema", "cylinder"] = "whole-body"
    tracer: PlanarTracer = "MDP"
    region: Region | None = None
    """What of a patient is imaged; the one that suits the tracer when unset."""
    views: tuple[Literal["anterior", "posterior"], ...] = ("anterior", "posterior")
    collimator: Literal["LEHR", "LEUHR", "MEGP", "HEGP"] = "LEHR"
    pixel_mm: float | None = Field(default=None, ge=1.0, le=10.0)
    """2.4 mm, or 1.2 mm at the neck, when unset; the phantom is twice as fine."""
    scan_speed_cm_min: float = Field(default=12.0, gt=0, le=100)
    """Of a whole-body sweep; each point is seen for the length of the field over it."""
    seconds: float | None = Field(default=None, gt=0)
    """Of a spot view [s]; usual for the region when unset."""
    gap_mm: float = Field(default=20.0, ge=5.0, le=300.0)
    """From the body to the anterior collimator [mm]; the posterior one stands 50 mm below it, under the table."""
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the protocol."""
    further_fractions: tuple[float, ...] = ()
    """Counts of further scans of the study, written as ``scan_1`` and so on, in NIfTI."""
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions in bone, for MDP only; drawn for a procedural patient when unset."""
    defects: int | None = Field(default=None, ge=0, le=8)
    """Places of less uptake: in the lungs, for MAA, or the cortex of the kidneys, for DMSA; none to three are drawn for
    a procedural patient when unset."""
    seed: int = Field(default=0, ge=0)
    file_format: Literal["dicom", "nifti"] = "dicom"
    """One NM object, or one NIfTI image a view."""
    timestamp: bool = False
    """Write the time of creation; without it the same seed gives the same files."""

    @property
    def imaged(self) -> str:
        """Region of a patient that is imaged."""
        return self.region or USUAL_REGION[self.tracer]

    @property
    def unused(self) -> set[str]:
        """Fields that are left out of records and UIDs while nothing is asked for by them."""
        return {"defects"} if self.defects is None else set()


def simulate_planar(
    settings: SimulatePlanarSettings | ThinSettings,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Simulate planar views and write them.

    Parameters
    ----------
    settings
        What is simulated; :class:`nmsynth.workflows.thinning.ThinSettings` to thin a measured series.
    output
        Folder for the scan: in DICOM its folder ``scan`` with one NM object, in NIfTI ``anterior.nii.gz`` and
        ``posterior.nii.gz``, each an image of one slice as the camera sees it, and at further fractions
        ``scan_1_anterior.nii.gz`` and so on. The folder ``reference`` gets in NIfTI,
        for each view, ``full_count``, ``noise_free`` (T1), ``primaries``, ``activity`` (T0, Bq under each pixel),
        ``lesions``, which holds defects too, ``body``, and of lungs with MAA and kidneys with DMSA ``organ``, such as
        ``noise_free_anterior.nii.gz``; and ``simulation.json``.
    overwrite
        Whether an existing output is replaced.

    Returns
    -------
        What ``simulation.json`` holds.
    """
    if isinstance(settings, ThinSettings):
        return thin_series(settings, output, overwrite=overwrite, progress=progress)
    check_further(settings.further_fractions, settings.file_format)
    with staged_output(Path(output), overwrite=overwrite) as work:
        study, scanned = scan_planar_study(settings, progress=part_of(progress, 0.0, 0.9))
        folder = work / REFERENCE_FOLDER
        folder.mkdir(parents=True)
        _write_scan(settings, study, scanned, work)
        known = {
            "full_count": scanned.scans[0],
            "noise_free": scanned.noise_free,
            "primaries": scanned.primaries,
            "activity": scanned.activity,
            "lesions": _mask(scanned, scanned.lesion_labels),
            "body": _mask(scanned, scanned.body),
            **({"organ": _mask(scanned, scanned.organ)} if study.organ is not None else {}),
        }
        for name, image in known.items():
            _write_views(image, study.views, folder, prefix=f"{name}_")
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude=settings.unused),
            "reference": "known truth: T0 activity, T1 noise_free, T2 full_count",
            "region": settings.imaged if settings.phantom == "whole-body" else None,
            "scan": scanned.facts,
            "organ_activity_bq_right_left": {k: list(v) for k, v in scanned.organ_activity_bq.items()},
            "lesions": describe_lesions(scanned.lesions),
        }
        write_json(folder / "simulation.json", record)
    progress("writing", 1.0)
    return record


def scan_planar_study(
    settings: SimulatePlanarSettings, *, progress: Progress = silent
) -> tuple[PlanarStudy, ScannedPlanar]:
    """Image the phantom of the settings at full counts and at the fraction asked for, in memory."""
    from nmsynth.data.planar_scan import scan_planar

    if settings.lesions and (settings.tracer != "MDP" or settings.phantom != "whole-body"):
        raise InputError(
            f"Lesions are put into the bones of a patient with MDP; found {settings.tracer} in {settings.phantom}. "
            "Leave them out."
        )
    if settings.defects and (settings.tracer not in DEFECTIVE or settings.phantom != "whole-body"):
        raise InputError(
            "Defects are put into the lungs of a patient with MAA or the kidneys with DMSA; found "
            f"{settings.tracer} in {settings.phantom}. Leave them out."
        )
    study = study_of(settings)
    subject = _subject(settings, study)
    scanned = scan_planar(
        subject.render, study=study, z_range_mm=subject.z_range_mm,
        fractions=scan_fractions(settings.count_fraction, further=settings.further_fractions), seed=settings.seed,
        progress=progress, **subject.habitus,
    )  # fmt: skip
    return study, scanned


def _subject(settings: SimulatePlanarSettings, study: PlanarStudy) -> ScanSubject:
    """The patient or phantom of the settings, and what of it is imaged."""
    from nmsynth.physics import phantom as phantoms

    along, across = study.field_mm
    if settings.phantom != "whole-body":
        if settings.region is not None:
            raise InputError("A region belongs to a patient; found one with a phantom. Leave it out.")
        return ScanSubject(quality_phantom(settings.phantom), z_range_mm=(-along / 2, along / 2), field_mm=across)
    bone = settings.tracer == "MDP"
    patient = phantoms.whole_body_patient(
        settings.seed,
        lesions=bone_lesions(settings.lesions) if bone else phantoms.LesionPlan(count=0),
        settings=phantoms.WholeBodySettings(
            arms="down" if settings.imaged != "lungs" else "random", degenerative=WORN_JOINTS if bone else (0, 0)
        ),
        tracer=settings.tracer,
    )
    planes = (LEG_MM, patient.extent_mm[1])
    if settings.imaged != "whole-body":
        middle = patient.frame.z(SPOTS[settings.imaged].height)
        half = min(along, (study.n_rows or 256) * study.pixel_mm) / 2
        planes = (middle - half, middle + half)
    render = _bounded(patient)
    if settings.tracer in DEFECTIVE:
        host = phantoms.Organ[DEFECTIVE[settings.tracer]]
        render = phantoms.with_defects(render, host, seed=settings.seed, count=settings.defects, extent_mm=planes)
    return of_patient(patient, z_range_mm=planes, field_mm=across, render=render)


def _bounded(patient: WholeBodyPatient) -> Callable[[Grid], Phantom]:
    """What draws a patient; one whose drawn uptakes add up to more than was injected is scaled down to it."""
    import numpy as np

    coarse = patient.render(patient.grid((8.0, 8.0, 8.0), width_mm=720.0))
    share = float(coarse.activity.sum(dtype=np.float64)) * coarse.grid.voxel_ml / (1000.0 * patient.body_mass_kg)
    scale = np.float32(1.0 / max(share, 1.0))

    def render(grid: Grid) -> Phantom:
        phantom = patient.render(grid)
        return replace(phantom, activity=phantom.activity * scale) if scale < 1.0 else phantom

    return render


def study_of(settings: SimulatePlanarSettings) -> PlanarStudy:
    """Camera, views and times of the settings."""
    from nmsynth.data.planar_study import PLANAR_SCATTER_FRACTION, PlanarStudy
    from nmsynth.physics.energy_window import EnergyWindow
    from nmsynth.physics.gamma_camera import GammaCamera
    from nmsynth.physics.materials import PHOTON_KEV
    from nmsynth.physics.phantom import Organ
    from nmsynth.physics.phantom.tracers import tracer_named

    tracer = tracer_named(settings.tracer)
    spot = SPOTS.get(settings.imaged) if settings.phantom == "whole-body" else SPOTS["chest"]
    pixel = settings.pixel_mm or (spot.pixel_mm if spot else 2.4)
    speed = None if spot else settings.scan_speed_cm_min / 6.0
    n_columns = 2 * round(614.4 / pixel / 2) if settings.pixel_mm else 256
    return PlanarStudy(
        tracer=tracer,
        camera=GammaCamera(
            collimator=settings.collimator,
            window=EnergyWindow(PHOTON_KEV[tracer.radionuclide], 15.0),
            scatter_fraction=PLANAR_SCATTER_FRACTION,
        ),
        views=settings.views,
        pixel_mm=pixel,
        n_columns=n_columns,
        n_rows=n_columns if spot else None,
        field_mm=(min(FIELD_MM[0], n_columns * pixel), min(FIELD_MM[1], n_columns * pixel)),
        seconds=FIELD_MM[0] / speed if speed else settings.seconds or (spot.seconds if spot else 180.0),
        scan_speed_mm_s=speed,
        gaps_mm=(settings.gap_mm, 50.0),
        organ=Organ[DEFECTIVE[settings.tracer]] if settings.tracer in DEFECTIVE else None,
    )


def _mask(scanned: ScannedPlanar, labels: Any) -> Volume:
    """Labels of all views as an image."""
    from nmsynth.core.units import Unit

    return scanned.noise_free.with_array(labels, unit=Unit.UNITLESS)


def _write_views(image: Volume, views: tuple[str, ...], folder: Path, *, prefix: str = "") -> None:
    """Write each view as an image of one slice."""
    from nmsynth.data.planar_scan import view_image
    from nmsynth.io.nifti import write_nifti

    for index, view in enumerate(views):
        write_nifti(view_image(image, index), folder / f"{prefix}{view}.nii.gz")


def _write_scan(settings: SimulatePlanarSettings, study: PlanarStudy, scanned: ScannedPlanar, work: Path) -> None:
    """Write the counts in the format asked for."""
    if settings.file_format == "nifti":
        _write_views(scanned.scans[-1], study.views, work)
        for number in range(1, 1 + len(settings.further_fractions)):
            _write_views(scanned.scans[number], study.views, work, prefix=f"scan_{number}_")
        return
    from datetime import datetime

    from nmsynth.io.dicom_nm_module import NmCamera
    from nmsynth.io.dicom_nm_new import NewSeries, Sweep, write_new_planar

    unused = {"timestamp", "count_fraction", "further_fractions", "file_format", *settings.unused}
    of_study = settings.model_dump_json(exclude=unused)
    study_seed = f"nmsynth simulate planar {of_study}"
    low, high = scanned.facts["z_range_mm"]
    shown = settings.imaged if settings.phantom == "whole-body" else settings.phantom
    write_new_planar(
        scanned.scans[-1],
        work / "scan",
        camera=NmCamera(study.camera.window.bounds_kev, settings.collimator, study.field_mm),
        series=NewSeries(
            f"{study_seed} fraction {settings.count_fraction:g}",
            study_seed=study_seed,
            description=f"{settings.tracer} {shown} {settings.count_fraction:g} counts",
            created=datetime.now() if settings.timestamp else None,
        ),
        views=study.views,
        faces_mm=scanned.faces_mm,
        sweep=Sweep(study.scan_speed_mm_s, high - low) if study.scan_speed_mm_s else None,
    )
