"""NM objects that derive from no other: planar views, raw projections and volumes of a simulated gamma camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import directions_of, is_orthogonal, spacing_of
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES, SPATIAL_AXES, Volume
from nmsynth.io.atomic import check_finite
from nmsynth.io.dicom_derived import mark
from nmsynth.io.dicom_marks import ascii_text, marks_of, plain, software_version
from nmsynth.io.dicom_nm_module import (
    NM_IMAGE_STORAGE,
    NmCamera,
    NmRotation,
    detector_item,
    one_slope,
    real_world_item,
    set_energy_window,
    set_frames,
    set_planar_vectors,
    set_projection_vectors,
    set_slice_vector,
    whole_counts,
    write_object,
)
from nmsynth.io.dicom_pet_module import orient_patient, state_laterality
from nmsynth.io.dicom_phantom import describe_patient, identify, radiopharmaceutical_item
from nmsynth.io.dicom_quantise import decimal_string

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIXED_TIME = datetime(2000, 1, 1, 12)
"""Time of the scan where none is given, so that one seed gives one file."""
_MANUFACTURER = "nmsynth simulator"


@dataclass(frozen=True, slots=True)
class NewSeries:
    """Identity of a series of a phantom."""

    seed_uid: str
    """Text from which the UIDs of series and image follow."""
    study_seed: str | None = None
    """Text from which study, patient number and frame of reference follow; ``seed_uid``, if not given."""
    series_number: int = 1
    description: str = "NM"
    """Follows the mark of a simulated image."""
    patient_name: str = "PHANTOM^NMSYNTH"
    created: datetime | None = None
    """Time of creation; that of the scan, if not given."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A whole-body scan."""

    speed_mm_s: float
    length_mm: float


@dataclass(frozen=True, slots=True)
class _Parts:
    """What every kind shares."""

    series: NewSeries
    camera: NmCamera
    acquisition: Acquisition
    kind: str
    provenance: Provenance = field(default_factory=Provenance)


def write_new_planar(
    volume: Volume,
    directory: Path | str,
    *,
    camera: NmCamera,
    series: NewSeries,
    views: tuple[str, ...] = ("anterior", "posterior"),
    faces_mm: tuple[float, ...] = (),
    sweep: Sweep | None = None,
    overwrite: bool = False,
) -> Path:
    r"""Write planar views of a phantom as one NM object, ``STATIC``, or ``WHOLE BODY`` where the camera moved.

    ImageType begins with ``DERIVED\PRIMARY`` as in every simulated or synthetic series of nmsynth; counts are stored as
    they are, without a slope. Rows run from the head down, columns as the camera sees them.

    Parameters
    ----------
    volume
        Whole counts, axes ``(view, y, x)``, with ``acquisition.frame_durations_s``.
    directory
        Output folder.
    views
        What each frame is, ``"anterior"`` or ``"posterior"``.
    faces_mm
        From the body's axis to each collimator [mm].
    overwrite
        Whether a series that nmsynth wrote may be replaced.

    Raises
    ------
    InputError
        If the output exists, values are no counts from 0 to 65535, or views and frames differ in number.
    """
    if volume.modality != "NM" or volume.axes != PLANAR_AXES or volume.unit is not Unit.COUNTS:
        raise InputError(
            f"A planar object needs NM counts with axes (view, y, x); found {volume.modality} in {volume.unit.value}, "
            f"axes {volume.axes}."
        )
    if len(views) != volume.shape[0] or len(faces_mm) not in (0, len(views)) or set(views) - {"anterior", "posterior"}:
        raise InputError(
            f"Each frame needs its view, anterior or posterior, and all or none a face; found {len(views)} views "
            f"({', '.join(views)}) and {len(faces_mm)} faces for {volume.shape[0]} frames."
        )
    counts = whole_counts(volume.array)
    parts = _Parts(series, camera, volume.acquisition, "WHOLE BODY" if sweep else "STATIC", volume.provenance)
    dataset = _header(parts)
    set_planar_vectors(dataset, len(views))
    _, row_mm, column_mm = volume.spacing_mm
    detectors = []
    for k, view in enumerate(views):
        right = 1.0 if view == "anterior" else -1.0  # towards the patient's left
        first = volume.affine @ (0.0, 0.0, 0.0 if view == "anterior" else volume.shape[2] - 1.0, 1.0)
        detectors.append(
            detector_item(
                camera, view=view, orientation=(right, 0.0, 0.0, 0.0, 0.0, -1.0), position_mm=first[:3],
                radius_mm=faces_mm[k] if faces_mm else None,
            )
        )  # fmt: skip
    dataset.DetectorInformationSequence = detectors
    dataset.PixelSpacing = [decimal_string(row_mm), decimal_string(column_mm)]
    dataset.CountsAccumulated = int(counts.sum(dtype=np.int64))
    dataset.AcquisitionTerminationCondition = "TIME"
    dataset.ActualFrameDuration = _milliseconds(volume.acquisition)
    if sweep is not None:
        dataset.WholeBodyTechnique = "1PS"
        dataset.ScanVelocity = decimal_string(sweep.speed_mm_s)
        dataset.ScanLength = round(sweep.length_mm)
    set_frames(dataset, counts)
    return write_object(dataset, directory, overwrite=overwrite)


def write_new_projections(
    counts: npt.NDArray[np.float32],
    directory: Path | str,
    *,
    camera: NmCamera,
    series: NewSeries,
    rotation: NmRotation,
    pixel_mm: tuple[float, float],
    acquisition: Acquisition,
    provenance: Provenance,
    overwrite: bool = False,
) -> Path:
    """Write raw projections of a phantom as one NM object of type ``TOMO``.

    All views stand in one rotation of one detector, whatever the number of heads that shared them: so each has its own
    radius.

    Parameters
    ----------
    counts
        Whole counts, shape ``(view, plane, bin)``, planes from the feet up.
    pixel_mm
        Distance between planes and between bins [mm].

    Raises
    ------
    InputError
        If the output exists, values are no counts from 0 to 65535, or the orbit has another number of views.
    """
    if counts.ndim != 3 or counts.shape[0] != len(rotation.radii_mm):
        raise InputError(
            f"Projections need axes (view, plane, bin) and a radius a view; found shape {counts.shape} and "
            f"{len(rotation.radii_mm)} radii."
        )
    stored = whole_counts(counts)[:, ::-1]  # the head is on top
    dataset = _header(_Parts(series, camera, acquisition, "TOMO", provenance))
    set_projection_vectors(dataset, len(stored))
    dataset.DetectorInformationSequence = [detector_item(camera)]
    dataset.RotationInformationSequence = [rotation.item()]
    dataset.TypeOfDetectorMotion = "STEP AND SHOOT"
    dataset.PixelSpacing = [decimal_string(v) for v in pixel_mm]
    dataset.CountsAccumulated = int(stored.sum(dtype=np.int64))
    dataset.AcquisitionTerminationCondition = "TIME"
    set_frames(dataset, np.ascontiguousarray(stored))
    return write_object(dataset, directory, overwrite=overwrite)


def write_new_tomogram(
    volume: Volume,
    directory: Path | str,
    *,
    camera: NmCamera,
    series: NewSeries,
    rotation: NmRotation,
    overwrite: bool = False,
) -> Path:
    """Write a reconstructed volume of a phantom as one NM object of type ``RECON TOMO``.

    NM objects have no slope of their own, so values in Bq/mL are 16 bit integers with one real-world mapping
    for all slices, as :func:`nmsynth.io.read` takes it. The error of a voxel is at most 1/131068 of the largest value.

    Parameters
    ----------
    volume
        Bq/mL, axes ``(z, y, x)``, right-angled.

    Raises
    ------
    InputError
        If the output exists, or the volume has another modality, unit or sheared axes.
    NumericalError
        If a value is not finite.
    """
    if volume.modality != "NM" or volume.axes != SPATIAL_AXES or volume.unit is not Unit.BQML:
        raise InputError(
            f"A tomogram needs an NM volume in Bq/mL with axes (z, y, x); found {volume.modality} in "
            f"{volume.unit.value}, axes {volume.axes}."
        )
    if not is_orthogonal(volume.affine):
        raise InputError("A tomogram needs axes at right angles; those of the volume are sheared. Resample it.")
    check_finite(volume.array)
    note = "Bq/mL are decay corrected to the start of the scan."
    dataset = _header(_Parts(series, camera, volume.acquisition, "RECON TOMO", volume.provenance), notes=(note,))
    along_z, along_y, along_x = directions_of(volume.affine).T
    array = np.asarray(volume.array)
    first = volume.affine @ (0.0, 0.0, 0.0, 1.0)
    if np.cross(along_x, along_y) @ along_z < 0:  # frames run along the normal of rows and columns
        first = volume.affine @ (len(array) - 1.0, 0.0, 0.0, 1.0)
        array = array[::-1]
    size_z, size_y, size_x = spacing_of(volume.affine)
    set_slice_vector(dataset, len(array), size_z)
    dataset.DetectorInformationSequence = [
        detector_item(camera, orientation=(*along_x, *along_y), position_mm=first[:3])
    ]
    dataset.RotationInformationSequence = [rotation.item()]
    dataset.PixelSpacing = [decimal_string(size_y), decimal_string(size_x)]
    dataset.CountsAccumulated = None
    dataset.CorrectedImage = list(volume.acquisition.corrections) or None
    dataset.ReconstructionMethod = plain(volume.acquisition.reconstruction or "simulated", 64)
    codes, slope = one_slope(array)
    dataset.RealWorldValueMappingSequence = [
        real_world_item(
            slope=slope, signed=codes.dtype.kind == "i", code_value="Bq/ml", meaning="Becquerels/milliliter",
            label="BQML",
        )
    ]  # fmt: skip
    set_frames(dataset, codes)
    return write_object(dataset, directory, overwrite=overwrite)


def _milliseconds(acquisition: Acquisition) -> int:
    """Duration of the scan."""
    if len(acquisition.frame_durations_s) != 1:
        raise InputError(
            f"An NM object needs one acquisition.frame_durations_s; found {len(acquisition.frame_durations_s)}. "
            "Give it."
        )
    return max(1, round(acquisition.frame_durations_s[0] * 1000.0))


def _header(parts: _Parts, *, notes: tuple[str, ...] = ()) -> Dataset:
    """Everything but views, geometry and pixels."""
    from pydicom.dataset import Dataset

    acquisition, series = parts.acquisition, parts.series
    reference = (acquisition.reference_time or FIXED_TIME).replace(tzinfo=None)
    created = series.created or reference
    marks = marks_of(parts.provenance, acquisition, created=created, notes=notes)
    study_seed = series.study_seed or series.seed_uid
    dataset = Dataset()
    identify(
        dataset, sop_class=NM_IMAGE_STORAGE, seed_uid=series.seed_uid, study_seed=study_seed,
        series_number=series.series_number, index=0, created=created,
    )  # fmt: skip
    dataset.Modality = "NM"
    describe_patient(dataset, acquisition, name=plain(series.patient_name, 64), study_seed=study_seed)
    orient_patient(dataset)
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"):
        setattr(dataset, keyword, None)
    dataset.Manufacturer = _MANUFACTURER
    dataset.ManufacturerModelName = ascii_text(acquisition.scanner or "nmsynth", 64)
    dataset.SoftwareVersions = software_version()
    if acquisition.body_part:
        dataset.BodyPartExamined = ascii_text(acquisition.body_part, 16).upper()
    state_laterality(dataset)
    acquired = (acquisition.acquisition_times[0] if acquisition.acquisition_times else reference).replace(tzinfo=None)
    dataset.StudyDate = dataset.SeriesDate = f"{reference:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = f"{reference:%H%M%S.%f}"
    dataset.AcquisitionDate, dataset.AcquisitionTime = f"{acquired:%Y%m%d}", f"{acquired:%H%M%S.%f}"
    set_energy_window(dataset, parts.camera)
    dataset.RadiopharmaceuticalInformationSequence = [radiopharmaceutical_item(acquisition, in_megabecquerel=True)]
    dataset.SeriesDescription = series.description
    mark(dataset, marks)
    dataset.ImageType = ["DERIVED", "PRIMARY", parts.kind, "EMISSION"]
    dataset.LossyImageCompression = "00"
    return dataset
