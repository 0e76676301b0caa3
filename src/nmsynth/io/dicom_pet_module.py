"""Attributes that a PET image must have: taken over from a source, completed where the source lacks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PET_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
"""SOP class of a single-slice PET image."""

DROPPED = frozenset(
    {
        "PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL", "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths", "SmallestImagePixelValue", "LargestImagePixelValue",
        "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "PixelPaddingValue", "PixelPaddingRangeLimit",
        "RealWorldValueMappingSequence", "ModalityLUTSequence", "VOILUTSequence", "IconImageSequence", "RescaleType",
        "DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence", "DataSetTrailingPadding",
        "NumberOfFrames", "InstanceCreatorUID", "SourceImageSequence", "DerivationCodeSequence",
        "DerivationDescription", "StorageMediaFileSetUID", "StorageMediaFileSetID", "DirectoryRecordSequence",
    }
)  # fmt: skip
"""Attributes of the source that speak of its own stored values or file."""

_EMPTY_TEXT = (
    "AccessionNumber", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName",
    "StudyID", "StudyDate", "StudyTime", "Manufacturer", "PositionReferenceIndicator", "CollimatorType",
    "SliceThickness", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime",
)  # fmt: skip
_EMPTY_SEQUENCES = (
    "RadiopharmaceuticalInformationSequence",
    "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence",
)
_UNPAIRED = frozenset({"WHOLEBODY", "HEAD", "NECK", "CHEST", "ABDOMEN", "PELVIS", "BRAIN", "SKULL", "HEART"})
_POSTURES = {"S": ("40199007", "supine"), "P": ("1240000", "prone")}
_GANTRY = {"HF": ("102540008", "headfirst"), "FF": ("102541007", "feet-first")}


def complete_pet(dataset: Dataset, *, index: int, n_slices: int) -> None:
    """Add what a PET image must state and its source left out; never a value that only the scanner knows.

    Parameters
    ----------
    dataset
        Header that is changed in place.
    index
        Of the slice, from 0.
    n_slices
        In the series.
    """
    for keyword in _EMPTY_TEXT:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    orient_patient(dataset)
    for keyword in _EMPTY_SEQUENCES:
        if keyword not in dataset:
            setattr(dataset, keyword, [])
    dataset.NumberOfSlices = n_slices
    if not dataset.get("ImageIndex"):
        dataset.ImageIndex = index + 1
    if dataset.get("InstanceNumber") in (None, ""):
        dataset.InstanceNumber = index + 1
    series_type = list(dataset.get("SeriesType", None) or [])
    if not series_type or series_type[0] != "DYNAMIC":
        # Only allowed for a dynamic series, but some scanners write it always.
        dataset.pop("NumberOfTimeSlices", None)
    if dataset.get("DecayCorrection", None) == "NONE":
        dataset.pop("DecayFactor", None)
    state_laterality(dataset)


def state_laterality(dataset: Dataset) -> None:
    """Add an empty Laterality where the body part may be one of a pair."""
    body_part = str(dataset.get("BodyPartExamined", "") or "")
    if body_part not in _UNPAIRED and "Laterality" not in dataset and "ImageLaterality" not in dataset:
        dataset.Laterality = None


def orient_patient(dataset: Dataset) -> None:
    """State the posture as codes; PatientPosition beside them is not allowed."""
    position = str(dataset.get("PatientPosition", "") or "")
    if not dataset.get("PatientOrientationCodeSequence", None):
        posture, gantry = _POSTURES.get(position[2:]), _GANTRY.get(position[:2])
        if posture is None or gantry is None:
            return
        recumbent = _sct("102538003", "recumbent")
        recumbent.PatientOrientationModifierCodeSequence = [_sct(*posture)]
        dataset.PatientOrientationCodeSequence = [recumbent]
        dataset.PatientGantryRelationshipCodeSequence = [_sct(*gantry)]
    dataset.pop("PatientPosition", None)


def _sct(value: str, meaning: str) -> Dataset:
    """Item of a code sequence in SNOMED CT."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item
