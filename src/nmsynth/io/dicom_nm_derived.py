"""NM objects that derive from an NM object: its header, other values, and the marks that say what they are."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.provenance import Provenance, SourceReference
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES, SPATIAL_AXES, Volume
from nmsynth.io.atomic import check_finite
from nmsynth.io.dicom_derived import copy_public, mark
from nmsynth.io.dicom_identifiers import checked_uid, new_uid, unused_series_number
from nmsynth.io.dicom_marks import DERIVED_MARK, SYNTHETIC_MARK, Marks, code, plain
from nmsynth.io.dicom_nm_module import (
    NM_IMAGE_STORAGE,
    one_slope,
    real_world_item,
    set_frames,
    set_slice_vector,
    whole_counts,
    write_object,
)
from nmsynth.io.dicom_pet_module import orient_patient, state_laterality
from nmsynth.io.dicom_quantise import decimal_string

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_OF_THE_SOURCE = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "CountsAccumulated", "CountRate")
"""Attributes that speak of the source's stored values."""
_MAPPINGS = {
    Unit.COUNTS: ("{counts}", "Counts", "COUNTS"),
    Unit.BQML: ("Bq/ml", "Becquerels/milliliter", "BQML"),
    Unit.RELATIVE: ("1", "no units", "RELATIVE"),
}
"""UCUM code, its meaning and a label of the units that an NM object can be mapped to."""


def write_derived_counts(
    header: Dataset,
    counts: npt.ArrayLike,
    directory: Path | str,
    *,
    provenance: Provenance,
    count_fraction: float | None = None,
    seed_uid: str | None = None,
    description: str | None = None,
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write whole counts with the header of the NM object they derive from.

    Views, windows, orbit, times and tracer are those of the source; identity, marks and pixels are new, private
    attributes are left out. CountsAccumulated becomes the sum of the pixels.

    Parameters
    ----------
    header
        Of the source, as :func:`nmsynth.io.dicom_reader.read_nm_counts` gives it.
    counts
        Whole numbers from 0 to 65535, shape ``(frame, y, x)`` of the source.
    count_fraction
        Of the counts of a full scan.
    seed_uid
        Text from which the UIDs follow; random, if not given.
    description
        Precedes the source's SeriesDescription.
    created
        Time of creation; that of the source's acquisition, if not given, and else noon of 2000-01-01.
    overwrite
        Whether a series that nmsynth wrote may be replaced.

    Returns
    -------
        The output folder.

    Raises
    ------
    InputError
        If the output exists, the frames differ from the source's, or values are no counts.
    """
    stored = whole_counts(counts)
    dataset = _derived(
        header, stored.shape, provenance=provenance, count_fraction=count_fraction, seed_uid=seed_uid,
        description=description, created=created,
    )  # fmt: skip
    dataset.CountsAccumulated = int(stored.sum(dtype=np.int64))
    set_frames(dataset, stored)
    return write_object(dataset, directory, overwrite=overwrite)


def write_derived_planar(
    volume: Volume,
    directory: Path | str,
    *,
    source: Path | str | Volume | None = None,
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write planar views in counts that need not be whole, as a synthesis gives them, with the header of their source.

    NM objects have no slope; values are 16 bit integers with one real-world mapping in counts for all frames, as
    :func:`nmsynth.io.read` takes it. Whole counts up to 65535 are stored as they are.

    Parameters
    ----------
    volume
        Counts, axes ``(view, y, x)``, with the frames of the source.
    source
        Planar NM series whose header is taken; ``None`` for the one the volume was read from.
    created
        Time of creation; now, if not given.

    Raises
    ------
    NumericalError
        If a value is not finite; nothing is written.
    InputError
        If the output exists, there is no NM source, or the volume is no planar image of it in counts.
    """
    values = np.asarray(volume.array)
    check_finite(values)
    if volume.axes != PLANAR_AXES or volume.unit is not Unit.COUNTS:
        raise InputError(f"Planar views are counts with axes (view, y, x); found {volume.unit.value}, {volume.axes}.")
    _, header = _nm_source(volume, source, "Planar views derive")
    dataset = _derived(
        header, values.shape, provenance=volume.provenance,
        count_fraction=volume.acquisition.simulated_count_fraction, created=created or datetime.now(),
    )  # fmt: skip
    _set_values(dataset, values, volume.unit)
    return write_object(dataset, directory, overwrite=overwrite)


def write_derived_tomogram(
    volume: Volume,
    directory: Path | str,
    *,
    source: Path | str | Volume | None = None,
    created: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a reconstructed volume with the header of the NM object, ``RECON TOMO``, that it derives from.

    Values as :func:`write_derived_planar` has them, or in Bq/mL, or of no unit where they are relative, by the same
    kind of mapping. Slices are written in the order of the volume, whatever that of the source was. How attenuation was
    corrected is stated where the source does not state it so; CorrectedImage then lists what the volume does.

    Parameters
    ----------
    volume
        NM in counts, Bq/mL or relative, axes ``(z, y, x)``, on the grid of the source.
    source
        NM series whose header is taken; ``None`` for the one the volume was read from.
    created
        Time of creation; now, if not given.

    Raises
    ------
    NumericalError
        If a value is not finite; nothing is written.
    InputError
        If the output exists, there is no such source, its grid is another, or the unit is.
    """
    from nmsynth.io.dicom_reader import read_dicom

    values = np.asarray(volume.array)
    check_finite(values)
    if volume.axes != SPATIAL_AXES or volume.modality != "NM" or volume.unit not in _MAPPINGS:
        raise InputError(
            "A tomogram is an NM volume in counts or Bq/mL, or relative, with axes (z, y, x); found "
            f"{volume.modality} in {volume.unit.value}, axes {volume.axes}. Write NIfTI instead."
        )
    reference, header = _nm_source(volume, source, "A tomogram derives")
    original = read_dicom(reference.path, series_uid=reference.series_uid)
    if not (original.axes == SPATIAL_AXES and volume.has_grid_of(original)):
        raise InputError(
            f"A derived tomogram must keep the grid of its source, {original.shape}; found {volume.shape} or another "
            "place. Resample the volume to the source first."
        )
    dataset = _derived(
        header, values.shape, provenance=volume.provenance,
        count_fraction=volume.acquisition.simulated_count_fraction, created=created or datetime.now(),
    )  # fmt: skip
    stated = {key: dataset[key].value for key in ("NumberOfDetectors", "NumberOfRotations") if dataset.get(key)}
    set_slice_vector(dataset, len(values), volume.spacing_mm[0])
    for keyword, number in stated.items():
        setattr(dataset, keyword, number)
    _state_attenuation(dataset, header, volume)
    detector = dataset.DetectorInformationSequence[0]
    detector.ImagePositionPatient = [decimal_string(v) for v in volume.affine[:3, 3]]
    _set_values(dataset, values, volume.unit)
    return write_object(dataset, directory, overwrite=overwrite)


def _state_attenuation(dataset: Dataset, header: Dataset, volume: Volume) -> None:
    """How attenuation was corrected, where the source does not say so, by an attribute of PET that extends NM."""
    stated = volume.acquisition.attenuation_correction
    if not stated or stated == str(header.get("AttenuationCorrectionMethod", "") or ""):
        return
    dataset.AttenuationCorrectionMethod = plain(stated, 64)
    if volume.acquisition.corrections:
        dataset.CorrectedImage = list(volume.acquisition.corrections)


def _nm_source(volume: Volume, source: Path | str | Volume | None, what: str) -> tuple[SourceReference, Dataset]:
    """The NM object that a volume derives from, and its header; ``what`` begins the message where there is none."""
    from nmsynth.io.dicom_reader import read_headers
    from nmsynth.io.dicom_writer import resolve_source

    reference = resolve_source(volume, source)
    headers = read_headers(reference.path, reference.series_uid)
    if len(headers) != 1 or str(headers[0].get("SOPClassUID", "")) != NM_IMAGE_STORAGE:
        raise InputError(f"{what} from one NM object; the source is another. Write NIfTI instead.")
    return reference, headers[0]


def _set_values(dataset: Dataset, values: npt.NDArray[np.float32], unit: Unit) -> None:
    """Pixels: whole counts as they are, all else as 16 bit integers with one real-world mapping for all frames."""
    if unit is Unit.COUNTS and values.min() >= 0 and values.max() <= 65535 and (values == np.rint(values)).all():
        dataset.CountsAccumulated = int(values.sum(dtype=np.float64))
        set_frames(dataset, values.astype(np.uint16))
        return
    codes, slope = one_slope(values)
    code_value, meaning, label = _MAPPINGS[unit]
    dataset.CountsAccumulated = None
    dataset.RealWorldValueMappingSequence = [
        real_world_item(
            slope=slope, signed=codes.dtype.kind == "i", code_value=code_value, meaning=meaning, label=label
        )
    ]
    set_frames(dataset, codes)


def _derived(
    header: Dataset,
    shape: tuple[int, ...],
    *,
    provenance: Provenance,
    count_fraction: float | None,
    created: datetime | None,
    seed_uid: str | None = None,
    description: str | None = None,
) -> Dataset:
    """Header of the output, without pixels."""
    found = (int(header.get("NumberOfFrames", 1) or 1), int(header.Rows), int(header.Columns))
    if tuple(shape) != found:
        raise InputError(f"A derived NM object must keep the frames of its source, {found}; found {tuple(shape)}.")
    with warnings.catch_warnings():
        # What pydicom warns of in a source was judged when it was read.
        warnings.simplefilter("ignore")
        checked_uid(header.get("StudyInstanceUID"), "StudyInstanceUID")
        source_uid = checked_uid(header.get("SeriesInstanceUID"), "SeriesInstanceUID")
        types = [str(value) for value in header.get("ImageType", None) or []]
        moment = created or _acquired(header)
        marks = Marks(
            replace(provenance, parents=provenance.parents or (source_uid,)), moment, count_fraction=count_fraction
        )
        dataset = copy_public(copy.deepcopy(header))  # elements are shared, and some are changed below
        for keyword in _OF_THE_SOURCE:
            dataset.pop(keyword, None)
        dataset.SOPClassUID = NM_IMAGE_STORAGE
        dataset.SOPInstanceUID = new_uid(None if seed_uid is None else f"{seed_uid} image 0")
        dataset.SeriesInstanceUID = new_uid(None if seed_uid is None else f"{seed_uid} series")
        dataset.SeriesNumber = unused_series_number(
            dataset.SeriesInstanceUID, [int(n) for n in [str(header.get("SeriesNumber", ""))] if n.isdecimal()]
        )
        dataset.ContentDate = dataset.InstanceCreationDate = f"{moment:%Y%m%d}"
        dataset.ContentTime = dataset.InstanceCreationTime = f"{moment:%H%M%S.%f}"
        if description:
            dataset.SeriesDescription = f"{description} {_unmarked(header)}".strip()
        mark(dataset, marks)
        dataset.ImageType = ["DERIVED", "PRIMARY", *types[2:]]
        dataset.LossyImageCompression = str(header.get("LossyImageCompression", None) or "00")
        dataset.SourceImageSequence = [_reference(header)]
        _complete(dataset)
    return dataset


def _complete(dataset: Dataset) -> None:
    """Add, empty, what an NM image must state and its source left out; remove what it may not hold empty."""
    orient_patient(dataset)
    if not dataset.get("FrameOfReferenceUID", None):
        dataset.pop("FrameOfReferenceUID", None)
        dataset.pop("PositionReferenceIndicator", None)
    for items, keyword in (
        ("RadiopharmaceuticalInformationSequence", "RadiopharmaceuticalCodeSequence"),
        ("DetectorInformationSequence", "ViewCodeSequence"),
    ):
        for item in dataset.get(items, None) or []:
            if not item.get(keyword, None):
                item.pop(keyword, None)
    state_laterality(dataset)
    for keyword in (
        "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientBirthDate", "PatientSex", "PatientID",
        "PatientName", "StudyDate", "StudyTime", "Manufacturer",
    ):  # fmt: skip
        if keyword not in dataset:
            setattr(dataset, keyword, None)


def _unmarked(header: Dataset) -> str:
    """Description of the source without the mark that a simulated one begins with."""
    said = str(header.get("SeriesDescription", "") or "")
    for mark_text in (SYNTHETIC_MARK, DERIVED_MARK):
        said = said.removeprefix(mark_text)
    return said.lstrip(": ").removeprefix("simulated ")


def _acquired(header: Dataset) -> datetime:
    """When the source was acquired."""
    day, clock = str(header.get("AcquisitionDate", "") or ""), str(header.get("AcquisitionTime", "") or "")
    try:
        return datetime.strptime(day + clock[:6], "%Y%m%d%H%M%S")
    except ValueError:
        return datetime(2000, 1, 1, 12)


def _reference(header: Dataset) -> Dataset:
    """Item that names the source."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = checked_uid(header.get("SOPClassUID"), "SOPClassUID")
    item.ReferencedSOPInstanceUID = checked_uid(header.get("SOPInstanceUID"), "SOPInstanceUID")
    item.PurposeOfReferenceCodeSequence = [code("121322", "Source image for image processing operation")]
    return item
