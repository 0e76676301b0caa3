"""A PET series that derives from no other: the scan of a phantom, as the simulator gives it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import directions_of, is_orthogonal, spacing_of
from nmsynth.core.radionuclide import average_activity_time_s, frame_decay_correction
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.io.atomic import atomic_directory, check_finite, check_output
from nmsynth.io.dicom_administration import dicom_units
from nmsynth.io.dicom_derived import mark, set_pixels
from nmsynth.io.dicom_encoding import encode, is_own_output, write_files
from nmsynth.io.dicom_marks import Marks, ascii_text, marks_of, plain, software_version
from nmsynth.io.dicom_pet_module import PET_IMAGE_STORAGE, complete_pet
from nmsynth.io.dicom_phantom import describe_patient, identify, radiopharmaceutical_item
from nmsynth.io.dicom_quantise import QuantisedStack, decimal_string, quantise

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIXED_TIME = datetime(2000, 1, 1, 12)
"""Decay reference and creation time where none is given, so that one seed gives one file."""
MANUFACTURER = "nmsynth simulator"
"""Manufacturer of what was simulated."""


@dataclass(frozen=True, slots=True)
class NewSeries:
    """What all slices share."""

    volume: Volume
    seed_uid: str
    study_seed: str
    series_number: int
    description: str
    patient_name: str
    marks: Marks
    pixels: QuantisedStack

    @property
    def reference_time(self) -> datetime:
        """Decay reference, without a zone."""
        return (self.volume.acquisition.reference_time or FIXED_TIME).replace(tzinfo=None)


def write_new_pet_series(
    volume: Volume,
    directory: Path | str,
    *,
    seed_uid: str,
    study_seed: str | None = None,
    series_number: int = 1,
    description: str | None = None,
    patient_name: str = "PHANTOM^NMSYNTH",
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a complete PET series of a phantom.

    It reads back to the same values, geometry and SUV. What the acquisition does not state is left empty; no
    number is invented.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``, right-angled, with ``acquisition.frame_durations_s``; Bq/mL, an SUV, counts or relative.
    directory
        Output folder.
    seed_uid
        Text from which the UIDs of series and images follow.
    study_seed
        Text from which study, patient number and frame of reference follow, so that the scans of one phantom
        share them; ``seed_uid``, if not given.
    series_number, description, patient_name
        As DICOM writes them; the description follows the mark.
    created
        Time of creation; the decay reference, if not given, so that the same call gives the same bytes.
    overwrite
        Whether a series that nmsynth wrote may be replaced.

    Returns
    -------
        The output folder.

    Raises
    ------
    NumericalError
        If a value is not finite; nothing is written.
    InputError
        If the output exists, or the volume has another modality or unit, sheared axes or no frame duration.
    """
    directory = Path(directory)
    check_finite(volume.array)
    _check(volume)
    check_output(directory, overwrite=overwrite, is_directory=True)
    reference = (volume.acquisition.reference_time or FIXED_TIME).replace(tzinfo=None)
    scan = NewSeries(
        volume=volume,
        seed_uid=seed_uid,
        study_seed=study_seed or seed_uid,
        series_number=series_number,
        description=description or volume.acquisition.series_description or "PET",
        patient_name=plain(patient_name, 64),
        marks=marks_of(volume.provenance, volume.acquisition, created=created or reference),
        pixels=quantise(volume.array),
    )
    payloads = [encode(_slice(scan, k)) for k in range(volume.shape[0])]
    with atomic_directory(directory, overwrite=overwrite, may_replace=is_own_output) as folder:
        write_files(folder, payloads)
    return directory


def _check(volume: Volume) -> None:
    """Refuse what a PET series cannot hold."""
    if volume.modality != "PT" or volume.axes != SPATIAL_AXES:
        raise InputError(
            f"A new PET series needs modality PT and axes (z, y, x); found {volume.modality} and {volume.axes}."
        )
    if volume.unit not in (Unit.BQML, Unit.COUNTS, Unit.RELATIVE) and not volume.unit.is_suv:
        raise InputError(
            f"A new PET series holds Bq/mL, an SUV, counts or relative values; these are in {volume.unit.value}. "
            "Write NIfTI instead."
        )
    if not is_orthogonal(volume.affine):
        raise InputError("A new PET series needs axes at right angles; those of the volume are sheared. Resample it.")
    n_durations = len(volume.acquisition.frame_durations_s)
    if n_durations not in (1, volume.shape[0]):
        raise InputError(
            f"A new PET series needs acquisition.frame_durations_s, one or one a slice; found {n_durations}. Give it."
        )


def _slice(scan: NewSeries, index: int) -> Dataset:
    """Header and pixels of one slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    acquisition = scan.volume.acquisition
    identify_slice(dataset, scan, index, sop_class=PET_IMAGE_STORAGE)
    dataset.ImageIndex = index + 1
    describe_patient(dataset, acquisition, name=scan.patient_name, study_seed=scan.study_seed)
    _describe_scanner(dataset, acquisition)
    _describe_corrections(dataset, scan)
    _describe_times(dataset, scan, index)
    describe_geometry(dataset, scan.volume, index)
    dataset.RadiopharmaceuticalInformationSequence = [radiopharmaceutical_item(acquisition)]
    dataset.SeriesDescription = scan.description
    mark(dataset, scan.marks)
    complete_pet(dataset, index=index, n_slices=scan.volume.shape[0])
    dataset.LossyImageCompression = "00"
    set_pixels(dataset, scan.pixels, index)
    return dataset


def identify_slice(dataset: Dataset, scan: NewSeries, index: int, *, sop_class: str) -> None:
    """Write UIDs, numbers and modality of a slice, from the seed texts."""
    identify(
        dataset, sop_class=sop_class, seed_uid=scan.seed_uid, study_seed=scan.study_seed,
        series_number=scan.series_number, index=index, created=scan.marks.created,
    )  # fmt: skip
    dataset.Modality = scan.volume.modality
    dataset.PositionReferenceIndicator = None


def _describe_scanner(dataset: Dataset, acquisition: Acquisition) -> None:
    """The simulator as a scanner."""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = ascii_text(acquisition.scanner or "nmsynth", 64)
    dataset.SoftwareVersions = software_version()
    dataset.BodyPartExamined = ascii_text(acquisition.body_part or "WHOLEBODY", 16).upper()
    dataset.CollimatorType = "NONE"
    dataset.ReconstructionMethod = plain(acquisition.reconstruction or "simulated", 64)


def _describe_corrections(dataset: Dataset, scan: NewSeries) -> None:
    """Units, type of series and corrections."""
    acquisition, unit = scan.volume.acquisition, scan.volume.unit
    corrections = list(acquisition.corrections)
    found = dicom_units(scan.volume)
    dataset.Units = found[0] if found else "CNTS" if unit is Unit.COUNTS else "PROPCNTS"
    if found and found[1]:
        dataset.SUVType = found[1]
    dataset.SeriesType = ["STATIC", "IMAGE"]
    dataset.CountsSource = "EMISSION"
    dataset.CorrectedImage = corrections or None
    dataset.DecayCorrection = acquisition.decay_correction or ("START" if "DECY" in corrections else "NONE")
    dataset.RandomsCorrectionMethod = "DLYD" if "RAN" in corrections else "NONE"
    if "ATTN" in corrections:
        dataset.AttenuationCorrectionMethod = "simulated"
    if "SCAT" in corrections:
        dataset.ScatterCorrectionMethod = "simulated"


def _at(values: tuple[Any, ...], index: int) -> Any:
    """Value of a slice, where there is one for all, one a slice, or none."""
    if not values:
        return None
    return values[0] if len(values) == 1 else values[index]


def _describe_times(dataset: Dataset, scan: NewSeries, index: int) -> None:
    """Study, series, acquisition and frame times; the series time is the decay reference."""
    acquisition, reference = scan.volume.acquisition, scan.reference_time
    acquired = (_at(acquisition.acquisition_times, index) or reference).replace(tzinfo=None)
    duration_s = float(_at(acquisition.frame_durations_s, index))
    dataset.StudyDate = dataset.SeriesDate = f"{reference:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = f"{reference:%H%M%S.%f}"
    dataset.AcquisitionDate, dataset.AcquisitionTime = f"{acquired:%Y%m%d}", f"{acquired:%H%M%S.%f}"
    dataset.ActualFrameDuration = max(1, round(duration_s * 1000.0))
    half_life_s = acquisition.half_life_s
    middle_s = average_activity_time_s(duration_s, half_life_s) if half_life_s else duration_s / 2.0
    since_s = _at(acquisition.frame_reference_times_s, index)
    if since_s is None:
        since_s = (acquired - reference) / timedelta(seconds=1) + middle_s
    dataset.FrameReferenceTime = decimal_string(since_s * 1000.0)
    if dataset.DecayCorrection != "NONE":
        origin = acquisition.injection_time if dataset.DecayCorrection == "ADMIN" else reference
        elapsed_s = (acquired - (origin or reference).replace(tzinfo=None)) / timedelta(seconds=1)
        factor = 1.0
        if half_life_s:
            factor = 2.0 ** (elapsed_s / half_life_s) * float(frame_decay_correction(duration_s, half_life_s))
        dataset.DecayFactor = decimal_string(factor)


def describe_geometry(dataset: Dataset, volume: Volume, index: int) -> None:
    """Write position, orientation and voxel size."""
    along_z, along_y, along_x = directions_of(volume.affine).T
    size_z, size_y, size_x = spacing_of(volume.affine)
    position = volume.affine @ (index, 0.0, 0.0, 1.0)
    dataset.ImagePositionPatient = [decimal_string(value) for value in position[:3]]
    dataset.ImageOrientationPatient = [decimal_string(value) for value in (*along_x, *along_y)]
    dataset.PixelSpacing = [decimal_string(size_y), decimal_string(size_x)]
    dataset.SliceThickness = decimal_string(size_z)
    dataset.SliceLocation = decimal_string(float(position[:3] @ along_z))
