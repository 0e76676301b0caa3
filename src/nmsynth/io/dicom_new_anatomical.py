"""CT and MR series of a phantom, in the study and the frame of reference of its PET."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import is_orthogonal
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.io.atomic import atomic_directory, check_finite, check_output
from nmsynth.io.dicom_derived import mark, set_pixels
from nmsynth.io.dicom_encoding import encode, is_own_output, write_files
from nmsynth.io.dicom_marks import ascii_text, marks_of, plain, software_version
from nmsynth.io.dicom_new import (
    FIXED_TIME,
    MANUFACTURER,
    NewSeries,
    describe_geometry,
    identify_slice,
)
from nmsynth.io.dicom_phantom import describe_patient
from nmsynth.io.dicom_quantise import QuantisedStack, decimal_string

if TYPE_CHECKING:
    import numpy.typing as npt
    from pydicom.dataset import Dataset

SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
"""SOP class of a single-slice image, by modality."""
_UNITS = {"CT": Unit.HOUNSFIELD, "MR": Unit.RELATIVE}
_LIMITS = {"CT": (-32768, 32767), "MR": (0, 65535)}
"""What is stored as whole numbers without a slope: HU, and the values of MR as they are."""


def write_new_anatomical_series(
    volume: Volume,
    directory: Path | str,
    *,
    seed_uid: str,
    study_seed: str,
    series_number: int = 2,
    description: str | None = None,
    patient_name: str = "PHANTOM^NMSYNTH",
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a complete CT or MR series of a phantom, rounded to whole numbers.

    Parameters
    ----------
    volume
        CT in HU or MR in an arbitrary unit; axes ``(z, y, x)``, right-angled. What its provenance states of the
        scan (``kvp``; ``repetition_ms``, ``echo_ms``, ``flip_deg``, ``field_t``) is written, what it does not is left
        empty.
    directory
        Output folder.
    seed_uid
        Text from which the UIDs of series and images follow.
    study_seed
        Text from which study, patient number and frame of reference follow; that of the PET series beside it.
    series_number, description, patient_name
        As DICOM writes them; the description follows the mark.
    created
        Time of creation; the series time, if not given, so that the same call gives the same bytes.
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
        If the output exists, or the volume has another modality, unit or axes, or values beyond 16 bit.
    """
    directory = Path(directory)
    check_finite(volume.array)
    check_anatomical(volume)
    check_output(directory, overwrite=overwrite, is_directory=True)
    scan = NewSeries(
        volume=volume,
        seed_uid=seed_uid,
        study_seed=study_seed,
        series_number=series_number,
        description=description or volume.acquisition.series_description or volume.modality,
        patient_name=plain(patient_name, 64),
        marks=marks_of(volume.provenance, volume.acquisition, created=created or _time(volume)),
        pixels=whole_numbers(volume),
    )
    payloads = [encode(_slice(scan, k)) for k in range(volume.shape[0])]
    with atomic_directory(directory, overwrite=overwrite, may_replace=is_own_output) as folder:
        write_files(folder, payloads)
    return directory


def _time(volume: Volume) -> datetime:
    """Time of study and series, without a zone."""
    return (volume.acquisition.series_time or FIXED_TIME).replace(tzinfo=None)


def check_anatomical(volume: Volume) -> None:
    """Refuse what a CT or MR series cannot hold."""
    if volume.modality not in SOP_CLASSES or volume.axes != SPATIAL_AXES:
        raise InputError(
            f"A new anatomical series needs modality CT or MR and axes (z, y, x); found {volume.modality} and "
            f"{volume.axes}."
        )
    wanted = _UNITS[volume.modality]
    if volume.unit is not wanted:
        raise InputError(
            f"A new {volume.modality} series needs the unit '{wanted.value}'; found '{volume.unit.value}'. Write NIfTI."
        )
    if not is_orthogonal(volume.affine):
        raise InputError("A new series needs axes at right angles; those of the volume are sheared. Resample it.")
    low, high = _LIMITS[volume.modality]
    if volume.array.min() < low or volume.array.max() > high:
        raise InputError(
            f"A new {volume.modality} series holds values from {low} to {high}; found {volume.array.min():g} to "
            f"{volume.array.max():g}. Scale the image."
        )


def whole_numbers(volume: Volume) -> QuantisedStack:
    """Values rounded, with slope one."""
    codes: npt.NDArray[Any] = np.rint(volume.array).astype("<i2" if volume.modality == "CT" else "<u2")
    return QuantisedStack(
        codes=codes,
        slopes=("1",) * len(codes),
        smallest=tuple(int(v) for v in codes.min(axis=(1, 2))),
        largest=tuple(int(v) for v in codes.max(axis=(1, 2))),
    )


def _slice(scan: NewSeries, index: int) -> Dataset:
    """Header and pixels of one slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    volume = scan.volume
    identify_slice(dataset, scan, index, sop_class=SOP_CLASSES[volume.modality])
    describe_patient(dataset, scan.volume.acquisition, name=scan.patient_name, study_seed=scan.study_seed)
    dataset.ReferringPhysicianName = dataset.AccessionNumber = None
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = ascii_text(volume.acquisition.scanner or "nmsynth", 64)
    dataset.SoftwareVersions = software_version()
    dataset.BodyPartExamined = ascii_text(volume.acquisition.body_part or "WHOLEBODY", 16).upper()
    time = _time(volume)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = f"{time:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = f"{time:%H%M%S.%f}"
    dataset.AcquisitionNumber = 1
    describe_geometry(dataset, volume, index)
    dataset.SeriesDescription = scan.description
    mark(dataset, scan.marks)
    dataset.LossyImageCompression = "00"
    set_pixels(dataset, scan.pixels, index)
    describe = describe_ct if volume.modality == "CT" else _describe_mr
    describe(dataset, volume.provenance.settings)
    return dataset


def _number(value: Any) -> str | None:
    """Decimal string of a number; None of anything else."""
    return decimal_string(value) if isinstance(value, int | float) else None


def describe_ct(dataset: Dataset, stated: dict[str, Any]) -> None:
    """Write what a CT image must state."""
    dataset.ImageType = [*dataset.ImageType, "AXIAL"]
    dataset.KVP = _number(stated.get("kvp"))
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"


def _describe_mr(dataset: Dataset, stated: dict[str, Any]) -> None:
    """Write what an MR image must state: a spoiled gradient echo, and no slope."""
    dataset.ImageType = [*dataset.ImageType, "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", None
    dataset.MRAcquisitionType = "3D"
    dataset.RepetitionTime = _number(stated.get("repetition_ms"))
    dataset.EchoTime = _number(stated.get("echo_ms"))
    dataset.EchoTrainLength = 1
    dataset.FlipAngle = _number(stated.get("flip_deg"))
    dataset.MagneticFieldStrength = _number(stated.get("field_t"))
    del dataset.RescaleSlope, dataset.RescaleIntercept
