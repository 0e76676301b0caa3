"""What the header of any new series of a phantom holds: identity, the phantom as a patient, its tracer."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.io.dicom_identifiers import new_uid
from nmsynth.io.dicom_marks import plain
from nmsynth.io.dicom_quantise import decimal_string

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def identify(
    dataset: Dataset,
    *,
    sop_class: str,
    seed_uid: str,
    study_seed: str,
    series_number: int,
    index: int,
    created: datetime,
) -> None:
    """Set UIDs, numbers and the time of creation, all from the seed texts.

    Parameters
    ----------
    dataset
        Header that is changed in place.
    seed_uid, study_seed
        Texts from which the UIDs of image and series, and of study and frame of reference, follow.
    index
        Of the image in its series, from 0.
    """
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = new_uid(f"{seed_uid} image {index}")
    dataset.SeriesInstanceUID = new_uid(f"{seed_uid} series")
    dataset.StudyInstanceUID = new_uid(f"{study_seed} study")
    dataset.FrameOfReferenceUID = new_uid(f"{study_seed} frame of reference")
    dataset.StudyID = "1"
    dataset.SeriesNumber = series_number
    dataset.InstanceNumber = index + 1
    dataset.ContentDate = dataset.InstanceCreationDate = f"{created:%Y%m%d}"
    dataset.ContentTime = dataset.InstanceCreationTime = f"{created:%H%M%S.%f}"


def describe_patient(dataset: Dataset, acquisition: Acquisition, *, name: str, study_seed: str) -> None:
    """The phantom as a patient, whose number follows from the seed of the study."""
    dataset.PatientName = name
    dataset.PatientID = "PHANTOM-" + hashlib.sha256(study_seed.encode()).hexdigest()[:12].upper()
    dataset.PatientBirthDate = None
    dataset.PatientSex = acquisition.sex
    if acquisition.body_mass_kg is not None:
        dataset.PatientWeight = decimal_string(acquisition.body_mass_kg)
    if acquisition.height_m is not None:
        dataset.PatientSize = decimal_string(acquisition.height_m)
    dataset.PatientPosition = acquisition.patient_position or "HFS"


def radiopharmaceutical_item(acquisition: Acquisition, *, in_megabecquerel: bool = False) -> Dataset:
    """The tracer of the simulated administration; empty where the acquisition says nothing.

    Parameters
    ----------
    in_megabecquerel
        Whether RadionuclideTotalDose is in MBq, as the NM modules have it, and not in Bq as those of PET.
    """
    from pydicom.dataset import Dataset

    item = Dataset()
    nuclide = find_radionuclide(text=acquisition.radionuclide) if acquisition.radionuclide else None
    item.RadionuclideCodeSequence = []
    if nuclide is not None and nuclide.sct is not None:
        named = Dataset()
        named.CodeValue, named.CodingSchemeDesignator, named.CodeMeaning = nuclide.sct, "SCT", nuclide.name
        item.RadionuclideCodeSequence = [named]
    item.Radiopharmaceutical = plain(acquisition.radiopharmaceutical or "", 64) or None
    if acquisition.half_life_s is not None:
        item.RadionuclideHalfLife = decimal_string(acquisition.half_life_s)
    activity, unit_bq = acquisition.injected_activity_bq, 1e6 if in_megabecquerel else 1.0
    item.RadionuclideTotalDose = None if activity is None else decimal_string(activity / unit_bq)
    if acquisition.injection_time is not None:
        item.RadiopharmaceuticalStartDateTime = f"{acquisition.injection_time:%Y%m%d%H%M%S.%f}"
        item.RadiopharmaceuticalStartTime = f"{acquisition.injection_time:%H%M%S.%f}"
    return item
