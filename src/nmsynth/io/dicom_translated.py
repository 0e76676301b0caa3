"""A CT, MR or PET series that was synthesised from a scan of another modality or tracer, in the patient's study.

The object is built from the module tables of its own class, and only what is true of the patient and of the study comes
from the source. What a scanner would state of a scan is left empty, as there was none: a PET has no administration.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nmsynth.core.body_size import plausible_activity_bq
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.io.atomic import atomic_directory, check_finite, check_output
from nmsynth.io.dicom_administration import on_clock_of
from nmsynth.io.dicom_derived import copy_public, mark, set_pixels
from nmsynth.io.dicom_encoding import encode_elements, encode_file, is_own_output, write_files
from nmsynth.io.dicom_header import parse_datetime, parse_time
from nmsynth.io.dicom_identifiers import checked_uid, new_uid, unused_series_number
from nmsynth.io.dicom_marks import Marks, code, marks_of, plain, software_version
from nmsynth.io.dicom_new import describe_geometry
from nmsynth.io.dicom_new_anatomical import SOP_CLASSES, check_anatomical, describe_ct, whole_numbers
from nmsynth.io.dicom_pet_module import PET_IMAGE_STORAGE, complete_pet, state_laterality
from nmsynth.io.dicom_quantise import QuantisedStack, quantise

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "nmsynth"
MR_LEVELS = 4095.0
"""Whole number that the largest value of an MR image without a scale of its own becomes, where values are small."""
KEPT = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "PatientName", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "InstitutionName",
    "BodyPartExamined", "Laterality", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition",
)  # fmt: skip
"""What is true of the patient, the study and the frame of reference whatever the modality."""
_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "PatientPosition",
)  # fmt: skip
"""Of those, what must be there even if empty."""


@dataclass(frozen=True, slots=True)
class _Translated:
    """What all slices share."""

    volume: Volume
    source: Dataset
    series_uid: str
    series_number: int
    marks: Marks
    pixels: QuantisedStack

    @property
    def sop_class(self) -> str:
        """Of every slice."""
        return PET_IMAGE_STORAGE if self.volume.modality == "PT" else SOP_CLASSES[self.volume.modality]


def write_translated_series(
    volume: Volume,
    directory: Path | str,
    *,
    source: Path | str | Volume | None = None,
    guides: Sequence[Volume] = (),
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    r"""Write a synthetic CT, MR or PET series into the study of the scan that it was made from.

    Patient, study and frame of reference are those of the source, as the image lies in its space; the series, the
    equipment and the pixels are new. ``DERIVED\SECONDARY``, of PET ``DERIVED\PRIMARY``, every source image is
    referenced, and no voltage, current, echo, sequence, tracer or dose of a scan that never was is stated. CT is stored
    in HU with a rescale of 1 and 0; MR, which has no unit, as whole numbers, scaled up where its values are small,
    which the derivation says; PET with Units NONE, its values being those of the volume, whose unit the derivation
    names.

    Parameters
    ----------
    volume
        CT in HU, MR in relative units, or PET as ratio or in an SUV that it imitates; axes ``(z, y, x)``, any grid in
        the source's space.
    directory
        Output folder.
    source
        Series it was made from; ``None`` for the one the volume names.
    guides
        Further inputs read from DICOM; they are referenced too.
    created
        Time of creation on the clock of the source; now, if not given.
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
        If the output exists, there is no DICOM source, or the volume is no image that the class can hold.
    UnsafeInputError
        If the source's identifiers cannot be used.
    """
    from nmsynth.io.dicom_reader import read_headers
    from nmsynth.io.dicom_writer import resolve_source, source_images

    directory = Path(directory)
    check_finite(volume.array)
    volume, notes = _storable(volume)
    _check_imitated(volume) if volume.modality == "PT" else check_anatomical(volume)
    reference = resolve_source(volume, source)
    check_output(directory, overwrite=overwrite, is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom warns of in a source was judged when it was read
        headers = list(read_headers(reference.path, reference.series_uid))
        first = headers[0]
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            checked_uid(first.get(keyword), keyword)
        source_uid = checked_uid(first.get("SeriesInstanceUID"), "SeriesInstanceUID")
        provenance = replace(volume.provenance, parents=volume.provenance.parents or (source_uid,))
        if volume.modality == "PT":
            notes = (*notes, *_administered(first, time=provenance.settings.get("time", "")))
        series_uid = new_uid()
        series = _Translated(
            volume=volume,
            source=first,
            series_uid=series_uid,
            series_number=unused_series_number(series_uid, [int(first.get("SeriesNumber", None) or 0)]),
            marks=marks_of(
                provenance, volume.acquisition, notes=notes,
                created=created or on_clock_of(first, datetime.now().astimezone()),
            ),
            pixels=quantise(volume.array) if volume.modality == "PT" else whole_numbers(volume),
        )  # fmt: skip
        payloads = _encoded(series, source_images(headers, guides))
    with atomic_directory(directory, overwrite=overwrite, may_replace=is_own_output) as folder:
        write_files(folder, payloads)
    return directory


def _storable(volume: Volume) -> tuple[Volume, tuple[str, ...]]:
    """The volume in numbers that its class can store, and what was done to them."""
    if volume.modality == "PT":
        unit = volume.provenance.settings.get("reference_region", "")
        of = f" over {unit}" if unit else ""
        return volume, (f"Values imitate {volume.unit.value}{of}. Frame times are placeholders: there was no scan.",)
    if volume.modality != "MR":
        return volume, ()
    array, notes = np.maximum(volume.array, 0.0), []
    if (volume.array < 0).any():
        notes.append("Values below 0 were set to 0.")
    largest = float(array.max())
    if 0 < largest < MR_LEVELS:
        array = array * np.float32(MR_LEVELS / largest)
        notes.append(f"Values were multiplied by {MR_LEVELS / largest:.6g}; MR has no unit.")
    return volume.with_array(array, source=volume.source), tuple(notes)


def _administered(source: Dataset, *, time: str) -> tuple[str, ...]:
    """What was given for the scan of the source, and that this image shows it when nothing was scanned, or nothing.

    None where nothing is said to have been given.
    """
    given = []
    for item in source.get("RadiopharmaceuticalInformationSequence", None) or []:
        codes = item.get("RadiopharmaceuticalCodeSequence", None) or []
        agent = item.get("Radiopharmaceutical", None) or (codes[0].get("CodeMeaning", None) if codes else None)
        try:
            activity_bq, _ = plausible_activity_bq(float(item.get("RadionuclideTotalDose", None) or "nan"), None)
        except (TypeError, ValueError):
            activity_bq = None
        moment, _ = parse_datetime(str(item.get("RadiopharmaceuticalStartDateTime", None) or ""))
        clock = moment.time() if moment else parse_time(str(item.get("RadiopharmaceuticalStartTime", None) or ""))
        # the day is left to the header, as one in a text is shifted by no de-identification
        parts = [
            plain(agent or "a tracer that is not named", 64),
            f"{activity_bq / 1e6:.6g} MBq" if activity_bq and np.isfinite(activity_bq) else "activity not stated",
            f"at {clock:%H:%M:%S}" if clock else "time not stated",
        ]
        given.append(", ".join(parts))
    if not given:
        return ()
    of_this = (
        f"This image imitates {plain(time, 64)}, when nothing was scanned."
        if time
        else "Nothing was given for this image."
    )
    return (f"Given for the scan of the source: {'; '.join(given)}. {of_this}",)


def _encoded(series: _Translated, source_images: dict[int, bytes]) -> list[bytes]:
    """Files, one a slice; what they share is encoded once."""
    sop_class = series.sop_class
    shared = encode_elements(_shared(series)) | source_images
    characters = series.source.get("SpecificCharacterSet", None)
    files = []
    for index in range(series.volume.shape[0]):
        instance_uid = new_uid(f"{series.series_uid} {index}")
        own = encode_elements(_own(series, index, instance_uid), character_set=characters)
        files.append(encode_file(shared | own, class_uid=sop_class, instance_uid=instance_uid))
    return files


def _shared(series: _Translated) -> Dataset:
    """What every slice states."""
    from pydicom.tag import Tag

    source, volume = series.source, series.volume
    dataset = copy_public(source, only=[Tag(keyword) for keyword in KEPT if keyword in source])
    for keyword in _REQUIRED:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    if not dataset.PatientPosition and volume.acquisition.patient_position:
        dataset.PatientPosition = volume.acquisition.patient_position
    dataset.Modality, dataset.SOPClassUID = volume.modality, series.sop_class
    dataset.SeriesInstanceUID, dataset.SeriesNumber = series.series_uid, series.series_number
    created = series.marks.created
    dataset.ContentDate = dataset.InstanceCreationDate = created.strftime("%Y%m%d")
    dataset.ContentTime = dataset.InstanceCreationTime = created.strftime("%H%M%S.%f")
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, plain(series.marks.provenance.model or "", 64)
    dataset.SoftwareVersions = software_version()
    dataset.AcquisitionNumber = None
    described = volume.acquisition.series_description if volume.modality == "PT" else None
    dataset.SeriesDescription = f"{described or volume.modality} from {source.get('Modality', 'image')}"
    mark(dataset, series.marks)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ContributingEquipmentSequence = [_scanner(source), *_synthesising(dataset)]
    dataset.LossyImageCompression = source.get("LossyImageCompression", None) or "00"
    state_laterality(dataset)
    if volume.modality == "CT":
        describe_ct(dataset, {})
    elif volume.modality == "MR":
        _describe_mr(dataset)
    else:
        _describe_pet(dataset, volume.shape[0])
    return dataset


def _scanner(source: Dataset) -> Dataset:
    """The equipment that acquired the source."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109101", "Acquisition Equipment")]
    item.Manufacturer = plain(source.get("Manufacturer", "") or "unknown", 64)
    for keyword in ("ManufacturerModelName", "StationName", "SoftwareVersions", "InstitutionName"):
        if source.get(keyword, None):
            item.add(source[keyword])
    return item


def _synthesising(dataset: Dataset) -> list[Dataset]:
    """The items of the marks, with the purpose that an image of another modality has."""
    items = list(dataset.ContributingEquipmentSequence)
    items[-1].PurposeOfReferenceCodeSequence = [code("109100", "Synthesizing Equipment")]
    return items


def _describe_mr(dataset: Dataset) -> None:
    """What an MR image must state, of no sequence at all: research mode."""
    dataset.ImageType = [*dataset.ImageType, "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", None
    dataset.MRAcquisitionType = dataset.RepetitionTime = dataset.EchoTime = dataset.EchoTrainLength = None


def may_be_imitated(unit: Unit) -> bool:
    """Whether a PET of a tracer that was not injected may hold values of a unit: a ratio, an SUV, relative ones."""
    return unit is Unit.SUVR or unit.is_suv or unit is Unit.RELATIVE


def _check_imitated(volume: Volume) -> None:
    """Refuse PET whose tracer was injected, which derives from its own scan."""
    if volume.axes != SPATIAL_AXES or not may_be_imitated(volume.unit):
        raise InputError(
            f"A PET of a tracer that was not injected holds (z, y, x) as ratio, imitated SUV or relative values; found "
            f"{volume.axes} in {volume.unit.value}. Write NIfTI instead."
        )


def _describe_pet(dataset: Dataset, n_slices: int) -> None:
    """What a PET image must state, of no administration and no scan."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.Units, dataset.CountsSource, dataset.SeriesType = "NONE", "EMISSION", ["STATIC", "IMAGE"]
    dataset.CorrectedImage = dataset.CollimatorType = None
    dataset.DecayCorrection = dataset.RandomsCorrectionMethod = "NONE"
    dataset.RadiopharmaceuticalInformationSequence = []
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = "0", 1
    complete_pet(dataset, index=0, n_slices=n_slices)


def _own(series: _Translated, index: int, instance_uid: str) -> Dataset:
    """Identity, place and pixels of one slice."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPInstanceUID, dataset.InstanceNumber = instance_uid, index + 1
    describe_geometry(dataset, series.volume, index)
    set_pixels(dataset, series.pixels, index)
    if series.volume.modality == "MR":
        del dataset.RescaleSlope, dataset.RescaleIntercept
    if series.volume.modality == "PT":
        dataset.ImageIndex = index + 1
    return dataset
