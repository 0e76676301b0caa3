"""What a simulated SPECT study is: settings, and the camera, orbit and reconstruction that follow from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nmsynth.core.errors import InputError
from nmsynth.workflows.anatomical_images import Companion
from nmsynth.workflows.brain_subject import BrainSettings
from nmsynth.workflows.heart_simulation import HEART_DEFAULTS, HeartStudy, perfusion_tracer

if TYPE_CHECKING:
    from nmsynth.data.spect_scan import SpectStudy

COLLIMATOR = {"Tc-99m": "LEHR", "I-123": "LEHR", "Lu-177": "MEGP"}
"""Collimator that suits a radionuclide; for I-123 the usual one, whose septa its 529 keV photons pass, unmodelled."""


class SimulateSpectSettings(BrainSettings):
    """What is simulated; every image of one seed is the same on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phantom: Literal["whole-body", "heart", "brain", "nema", "cylinder", "derenzo", "jaszczak"] = "whole-body"
    """``brain`` is a head drawn by the seed; see :func:`nmsynth.physics.phantom.head_map.head_map`."""
    labels: Path | None = None
    """A NIfTI brain label map, FreeSurfer numbers, instead of a phantom."""
    tracer: Literal["MDP", "HMPAO", "DOTATATE", "SESTAMIBI", "TETROFOSMIN", "ioflupane"] = "MDP"
    """HMPAO and ioflupane for a brain, all but ioflupane for another phantom."""
    region: Literal["trunk", "head"] | None = None
    """What of a patient is scanned; the head with HMPAO and the trunk else, when unset."""
    collimator: Literal["LEHR", "LEUHR", "MEGP", "HEGP"] | None = None
    """The one that suits the radionuclide when unset."""
    n_views: int = Field(default=60, ge=8, le=360)
    """Views over the arc."""
    arc_deg: float = Field(default=360.0, gt=0, le=360)
    """Angle over which the views are spread [degrees]; less than 360 is a limited arc, or 180 for the heart."""
    first_deg: float = Field(default=0.0, ge=-360, le=360)
    """Angle of the first view, 0 from the front, 90 from the patient's left [degrees]."""
    radius_mm: float | None = Field(default=None, ge=80.0, le=450.0)
    """From the axis to the collimator [mm]; the orbit follows the body at 15 mm when unset."""
    seconds_per_view: float = Field(default=20.0, gt=0)
    count_fraction: float = Field(default=1.0, gt=0, le=1)
    """Counts of the scan over those of the protocol."""
    further_fractions: tuple[float, ...] = ()
    """Counts of further scans of the study, written as ``scan_1`` and so on, in NIfTI."""
    n_iterations: int = Field(default=4, ge=1, le=50)
    n_subsets: int = Field(default=6, ge=1, le=60)
    attenuation_correction: bool = True
    """Whether the reconstruction knows the attenuation; the counts of a seed do not depend on it."""
    filter_fwhm_mm: float = Field(default=8.0, ge=0, le=30)
    """Gaussian applied to the image [mm]."""
    lesions: int | None = Field(default=None, ge=0, le=60)
    """Lesions to place; drawn for a procedural patient when unset."""
    voxel_mm: float = Field(default=4.8, ge=2.0, le=10.0)
    length_mm: float = Field(default=390.0, gt=0)
    """Length that is scanned, about the middle of the body [mm]; of a head at most 240, down from its top."""
    heart: HeartStudy | None = None
    """What of the heart is imaged, where the phantom is one."""
    seed: int = Field(default=0, ge=0)
    file_format: Literal["dicom", "nifti"] = "nifti"
    """Format of the scan and of its projections, which in NIfTI are a NumPy file."""
    window_kev: float | None = Field(default=None, gt=80, lt=600)
    """Centre of the energy window [keV], at most 208.4; the radionuclide's usual photon when unset. Lu-177 has 112.9
    and 208.4."""
    window_percent: float = Field(default=20.0, gt=0, le=40)
    """Whole width of the window over its centre [%]."""
    scatter: Literal["compton", "convolution"] = "compton"
    """Scatter by energy, depth and density, or primaries convolved with 90 mm and scaled to a quarter of the counts."""
    scatter_correction: Literal["model", "windows"] = "model"
    """By the simulation's scatter, scaled wrongly by up to 15 %, or from counts in two side windows of 5 %."""
    activity: Path | None = None
    """An activity image of the user's, NIfTI or Interfile, instead of a phantom; needs ``mu``."""
    mu: Path | None = None
    """Its attenuation."""
    total_mbq: float | None = Field(default=None, gt=0)
    """Activity in that image at the start of the scan [MBq]."""
    radionuclide: Literal["Tc-99m", "I-123", "Lu-177"] | None = None
    """Of that activity; the tracer's when unset."""
    unit: str | None = None
    mu_unit: str | None = None
    """Units of the images where they state none."""
    mu_kev: float | None = Field(default=None, ge=80, le=600)
    """Photon energy of an attenuation in 1/cm [keV]."""
    mu_materials: str | None = None
    """Material of each number of the attenuation image, as ``1=water,2=cortical bone``."""
    slice_unit: Literal["mm", "pixels"] | None = None
    """What the slice thickness of an Interfile header is counted in."""

    also: tuple[Literal["uncorrected", "sparse"], ...] = ()
    """Further images of the same counts: without attenuation correction as without CT, in no unit; from few views."""
    sparse_factor: int = Field(default=4, ge=2, le=16)
    """The sparse image has one view in so many."""
    further_sparse_factors: tuple[Annotated[int, Field(ge=2, le=16)], ...] = ()
    """Of further sparse images of the study, written as ``sparse_1`` and so on."""
    companions: tuple[Companion, ...] = ()
    """CT and MR beside the scan, the couch under the patient, CT and MR displaced against the scan."""

    @model_validator(mode="before")
    @classmethod
    def _of_heart(cls, values: Any) -> Any:
        """Fill in the defaults of a perfusion study."""
        if isinstance(values, dict) and values.get("phantom") == "heart":
            return {**HEART_DEFAULTS, "heart": {}, **values}
        return values

    @model_validator(mode="after")
    def _sparse_where_asked(self) -> Self:
        """Refuse factors of images that are not asked for."""
        if self.further_sparse_factors and "sparse" not in self.also:
            raise ValueError("further sparse factors belong to sparse images; 'also' must name 'sparse'")
        return self

    @property
    def unused(self) -> set[str]:
        """Fields that are left out of records and UIDs while nothing is asked for by them."""
        optional = ("companions", "also", "further_fractions", "further_sparse_factors")
        unused = {name for name in optional if not getattr(self, name)}
        return unused if "sparse" in self.also else unused | {"sparse_factor"}

    @property
    def of_brain(self) -> bool:
        """Whether the subject is a brain with regions, drawn or from labels."""
        return self.labels is not None or self.phantom == "brain"

    @property
    def of_head(self) -> bool:
        """Whether a patient's head is scanned."""
        if self.of_brain:
            return True
        chosen = self.region or ("head" if self.tracer == "HMPAO" else "trunk")
        return self.phantom == "whole-body" and chosen == "head"


def study_of(settings: SimulateSpectSettings) -> SpectStudy:
    """Camera, orbit and reconstruction of the settings."""
    from nmsynth.data.spect_scan import SpectStudy
    from nmsynth.physics.energy_window import EnergyWindow, crystal_efficiency
    from nmsynth.physics.gamma_camera import GammaCamera, SpectReconstruction
    from nmsynth.physics.materials import PHOTON_KEV
    from nmsynth.physics.phantom.brain_tracers import brain_tracer_named
    from nmsynth.physics.phantom.tracers import tracer_named
    from nmsynth.physics.spect import SpectOrbit

    name: str = settings.tracer
    if settings.heart is not None:
        name = perfusion_tracer(name, settings.heart)
    elif name in ("SESTAMIBI", "TETROFOSMIN"):
        raise InputError(f"{name} is imaged in the heart; found the phantom '{settings.phantom}'. Change one of them.")
    tracer = brain_tracer_named(name) if settings.of_brain else tracer_named(name)
    if settings.radionuclide is not None:
        tracer = replace(tracer, radionuclide=settings.radionuclide)
    nuclide = tracer.radionuclide
    window = EnergyWindow(settings.window_kev or PHOTON_KEV[nuclide], settings.window_percent)
    return SpectStudy(
        tracer=tracer,
        camera=GammaCamera(
            collimator=settings.collimator or COLLIMATOR[nuclide],
            window=window,
            scatter_model=settings.scatter,
            side_window_percent=5.0 if settings.scatter_correction == "windows" else 0.0,
            crystal_efficiency=crystal_efficiency(window.centre_kev),
        ),
        orbit=SpectOrbit(settings.n_views, settings.arc_deg, settings.first_deg, radius_mm=settings.radius_mm or 250.0),
        gap_mm=15.0 if settings.radius_mm is None else None,
        reconstruction=SpectReconstruction(
            n_iterations=settings.n_iterations,
            n_subsets=settings.n_subsets,
            filter_fwhm_mm=settings.filter_fwhm_mm,
            with_attenuation=settings.attenuation_correction,
            scatter_from=settings.scatter_correction,
        ),
        seconds_per_view=settings.seconds_per_view,
        also=settings.also,
        sparse_factor=settings.sparse_factor,
        further_sparse_factors=settings.further_sparse_factors,
        voxel_mm=settings.voxel_mm,
        body_part="HEART" if settings.heart is not None else "HEAD" if settings.of_head else "WHOLEBODY",
    )
