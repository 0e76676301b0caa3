"""Reading a DICOM series into a volume, or refusing it with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, RefusalError, UnsafeInputError
from nmsynth.core.geometry import spacing_of
from nmsynth.core.provenance import Provenance, SourceReference
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.io.dicom_geometry import Grid, build_grid
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_identity import without_identity
from nmsynth.io.dicom_marks import find_provenance
from nmsynth.io.dicom_nm import read_nm
from nmsynth.io.dicom_nm_counts import NmCounts, measured_counts
from nmsynth.io.dicom_nm_projections import NmProjections, projections_of
from nmsynth.io.dicom_parse import quiet_pydicom
from nmsynth.io.dicom_pixels import PixelFormat, pixel_format, stored_values
from nmsynth.io.dicom_quantity import Quantity, anatomical_acquisition, pet_quantity, same_text
from nmsynth.io.dicom_series import Damaged, Found, SeriesSummary, choose, scan
from nmsynth.io.dicom_sources import escaped

if TYPE_CHECKING:
    from pydicom import Dataset

NOTHING_INJECTED = "SUV refused: the image is synthetic, and nothing was injected for it. Use a scan for SUV."
MAX_VOXELS = 2**31
"""Voxels of one volume."""
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.20": "NM",
}
_REFUSED_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.130": "an enhanced PET image",
    "1.2.840.10008.5.1.4.1.1.128.1": "a legacy converted enhanced PET image",
    "1.2.840.10008.5.1.4.1.1.2.1": "an enhanced CT image",
    "1.2.840.10008.5.1.4.1.1.2.2": "a legacy converted enhanced CT image",
    "1.2.840.10008.5.1.4.1.1.4.1": "an enhanced MR image",
    "1.2.840.10008.5.1.4.1.1.4.4": "a legacy converted enhanced MR image",
}
_SATURATED_VOXELS = 5


class _Image(NamedTuple):
    """Array and what it means."""

    array: npt.NDArray[np.float32]
    unit: Unit
    modality: str
    acquisition: Acquisition
    suv_rule: SuvRule | None
    warnings: tuple[str, ...]


def read_dicom(path: Path, *, series_uid: str | None = None) -> Volume:
    """Read one series from a folder, a zip, a DICOMDIR, or one of its files.

    PT gives Bq/mL (or an SUV where the source holds one), CT gives HU, MR relative values, NM counts.

    Parameters
    ----------
    path
        Where the series is.
    series_uid
        SeriesInstanceUID; needed where there are several.

    Raises
    ------
    InputError
        If there is no DICOM, or several series and none is chosen.
    UnsafeInputError
        If a file is damaged or hostile, or the slices do not form one image.
    """
    found = scan(path)
    with quiet_pydicom():
        uid = choose(found, series_uid, _summaries(found))
        headers = found.series[uid]
        modality = _modality_of(headers)
        damaged = _beside(found.damaged, uid, is_whole=_is_whole(headers, modality))
        source = SourceReference(path, "dicom", uid)
        provenance, fraction = _provenance(headers[0])
        if modality == "NM":
            volume = _nm_volume(headers)
        else:
            grid = _grid_of(headers)
            image = _image_of(grid, modality)
            volume = Volume(
                array=image.array, affine=grid.affine, unit=image.unit, modality=image.modality, axes=SPATIAL_AXES,
                acquisition=image.acquisition, suv_rule=image.suv_rule, warnings=image.warnings,
            )  # fmt: skip
    acquisition = replace(volume.acquisition, simulated_count_fraction=fraction)
    volume = _imitated(replace(volume, source=source, provenance=provenance, acquisition=acquisition))
    return volume.with_warnings((*found.warnings, *damaged))


def _imitated(volume: Volume) -> Volume:
    """A PET of a tracer that was not injected, in the unit that nmsynth wrote it in; no SUV follows from it."""
    settings = volume.provenance.settings
    if volume.modality != "PT" or not volume.provenance.synthetic or "imitates" not in settings:
        return volume
    found = next((unit for unit in Unit if unit.value == settings.get("unit")), None)
    if found is None or not (found is Unit.SUVR or found.is_suv):
        return volume
    return replace(volume, unit=found, suv_rule=SuvRule(reason=NOTHING_INJECTED))


def read_headers(path: Path, series_uid: str | None = None) -> list[Dataset]:
    """Full headers of a series without pixels, in the order of the volume's slices.

    Each has its ``file_meta`` with at least the transfer syntax.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    found = scan(path)
    with quiet_pydicom():
        uid = choose(found, series_uid, _summaries(found))
        headers: Sequence[Header] = found.series[uid]
        if _modality_of(headers) != "NM":
            headers = _grid_of(headers).headers
        datasets = []
        for header in headers:
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = UID(header.transfer_syntax)
            header.dataset.file_meta = meta
            datasets.append(header.dataset)
    return datasets


def read_nm_counts(path: Path, series_uid: str | None = None) -> NmCounts:
    """Measured counts of an NM object of any kind that holds some: planar, dynamic, or raw projections.

    Raises
    ------
    InputError
        If there is no NM object, or several series and none is chosen.
    UnsafeInputError
        If its values are no measured counts.
    """
    header = _only_nm_object(path, series_uid, "Counts", "a planar NM series or raw projections")
    with quiet_pydicom():
        return measured_counts(header, *_provenance(header))


def read_nm_projections(path: Path, series_uid: str | None = None) -> NmProjections:
    """Raw projections of an NM object, its views ordered by angle.

    Raises
    ------
    InputError
        If there is no NM object, or several series and none is chosen.
    UnsafeInputError
        If its values are no measured counts of evenly spaced views.
    """
    header = _only_nm_object(path, series_uid, "Projections", "raw projections")
    with quiet_pydicom():
        return projections_of(header, *_provenance(header))


def _only_nm_object(path: Path, series_uid: str | None, what: str, wanted: str) -> Header:
    """The one NM object of a series, refused in words of what is read and what to give."""
    found = scan(path)
    with quiet_pydicom():
        headers = found.series[choose(found, series_uid, _summaries(found))]
        if _modality_of(headers) != "NM" or len(headers) != 1:
            raise InputError(
                f"{what} are read from one NM object; the series holds {len(headers)} {_modality_of(headers)} files. "
                f"Give {wanted}."
            )
    return headers[0]


def read_quantity(path: Path, series_uid: str | None = None) -> Quantity:
    """Unit, acquisition and SUV rule of a PET series, without its pixels."""
    found = scan(path)
    with quiet_pydicom():
        return pet_quantity(_grid_of(found.series[choose(found, series_uid, _summaries(found))]).headers)


def find_series(path: Path) -> list[SeriesSummary]:
    """Series under a path; files that cannot be parsed are left out as long as one can."""
    found = scan(path)
    with quiet_pydicom():
        return _summaries(found)


def _beside(damaged: Sequence[Damaged], uid: str, *, is_whole: bool) -> list[str]:
    """Warnings of damaged files that are no part of a series; one that is, or may be, refuses the series."""
    warnings = []
    for file in damaged:
        if file.series_uid == uid or (file.series_uid is None and not is_whole):
            raise file.error
        whose = "belongs to another series" if file.series_uid else "names no series, and this one is whole without it"
        warnings.append(f"File {file.label} is damaged and {whose}; it was passed over.")
    return warnings


def _is_whole(headers: Sequence[Header], modality: str) -> bool:
    """Whether a series says itself that no file is missing: a multi-frame object, or as many slices as PET states."""
    if modality == "NM":
        return len(headers) == 1
    try:
        return modality == "PT" and all(header.integer("NumberOfSlices") == len(headers) for header in headers)
    except UnsafeInputError:
        return False


def _provenance(header: Header) -> tuple[Provenance, float | None]:
    """Provenance that nmsynth left in a header, and the count fraction of a simulated scan."""
    try:
        return find_provenance(header.dataset)
    except Exception as error:
        raise UnsafeInputError(
            f"File {header.label} must hold sound sequences; it does not. Export it again."
        ) from error


def _summaries(found: Found) -> list[SeriesSummary]:
    """Summary of each series."""
    return [_summary(uid, headers) for uid, headers in found.series.items()]


def _summary(uid: str, headers: Sequence[Header]) -> SeriesSummary:
    """Summary of one series; without spacing where it forms no grid."""
    first = headers[0]
    try:
        spacing = spacing_of(build_grid(headers).affine) if len(headers) > 1 else None
    except UnsafeInputError:
        spacing = None
    try:
        n_frames = first.integer("NumberOfFrames") if len(headers) == 1 else None
    except UnsafeInputError:
        n_frames = None
    description = escaped(without_identity(first.label_text("SeriesDescription"), first) or "")
    modality = escaped(first.text("Modality") or "", 16)
    return SeriesSummary(uid, modality, description, n_frames or len(headers), spacing)


def _modality_of(headers: Sequence[Header]) -> str:
    """Modality by SOP class, which must agree with Modality; a class that is not read is refused by name."""
    for header in headers:
        sop_class = header.uid("SOPClassUID") or "none"
        if sop_class in _REFUSED_CLASSES:
            name = _REFUSED_CLASSES[sop_class]
            raise UnsafeInputError(
                f"A series must be of single-slice PT, CT or MR images, or NM; file {header.label} is {name}, which "
                "nmsynth does not read. Export it as single slices."
            )
        modality = _CLASSES.get(sop_class)
        if modality is None:
            raise UnsafeInputError(
                f"A series must be PT, CT, MR or NM images; file {header.label} is of another SOP class."
            )
        if header.text("Modality") != modality:
            raise UnsafeInputError(
                f"File {header.label}: Modality and SOP class must agree; the SOP class is {modality}."
            )
    return _CLASSES[headers[0].uid("SOPClassUID") or ""]


def _grid_of(headers: Sequence[Header]) -> Grid:
    """Grid of a single-frame series; dynamic and gated series are refused by name."""
    for header in headers:
        series_type = header.text("SeriesType")
        if series_type in ("DYNAMIC", "GATED"):
            raise UnsafeInputError(
                f"A PT series must be static or whole-body; file {header.label} is {series_type}. Export one frame."
            )
        if (header.integer("NumberOfFrames") or 1) != 1:
            raise UnsafeInputError(f"File {header.label} must hold one frame; it states several.")
    return build_grid(headers)


def _nm_volume(headers: Sequence[Header]) -> Volume:
    """Volume of an NM series, which must be one object."""
    if len(headers) != 1:
        raise UnsafeInputError(
            f"An NM series must be one multi-frame object; this one has {len(headers)}. Choose one file."
        )
    image = read_nm(headers[0])
    return Volume(
        array=image.array, affine=image.affine, unit=image.unit, modality="NM", axes=image.axes,
        acquisition=image.acquisition, warnings=image.warnings,
    )  # fmt: skip


def _image_of(grid: Grid, modality: str) -> _Image:
    """Values in their unit, slice by slice, with what is said about them."""
    headers = grid.headers
    layouts = [pixel_format(header) for header in headers]
    slopes, intercepts = _rescaling(headers, modality)
    array, warnings = _rescaled(headers, layouts, slopes, intercepts)
    warnings = [*_slice_warnings(headers), *warnings]
    if modality == "PT":
        quantity = pet_quantity(headers)
        if not np.all(quantity.scale == 1.0):
            array *= quantity.scale.astype(np.float32)[:, None, None]
        warnings = [*quantity.warnings, *warnings]
        return _Image(array, quantity.unit, quantity.modality, quantity.acquisition, quantity.suv_rule, tuple(warnings))
    unit = Unit.HOUNSFIELD if modality == "CT" else Unit.RELATIVE
    if modality == "CT" and (same_text(headers, "RescaleType") or "HU") not in ("HU", "US"):
        raise UnsafeInputError("CT values must be in HU; RescaleType states another unit.")
    return _Image(array, unit, modality, anatomical_acquisition(headers), None, tuple(warnings))


def _rescaling(headers: Sequence[Header], modality: str) -> tuple[list[float], list[float]]:
    """Slope and intercept of each slice, or a refusal that names the slice."""
    slopes, intercepts = [], []
    for header in headers:
        if header.items("ModalityLUTSequence"):
            raise UnsafeInputError(f"File {header.label} must be rescaled by a slope; it holds a table instead.")
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
        if modality == "MR":
            slope = 1.0 if slope is None else slope
        if slope is None:
            raise UnsafeInputError(f"File {header.label} must state RescaleSlope; it does not.")
        if slope <= 0.0:
            raise UnsafeInputError(f"File {header.label}: RescaleSlope must be positive; it is {slope:g}.")
        if modality == "PT" and intercept:
            raise UnsafeInputError(f"File {header.label}: RescaleIntercept of PET must be 0; it is {intercept:g}.")
        if modality == "CT" and intercept is None:
            raise UnsafeInputError(f"File {header.label} must state RescaleIntercept; it does not.")
        slopes.append(slope)
        intercepts.append(intercept or 0.0)
    return slopes, intercepts


def _rescaled(
    headers: Sequence[Header], layouts: Sequence[PixelFormat], slopes: Sequence[float], intercepts: Sequence[float]
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Rescaled values ``(z, y, x)``; every slice is decoded before the volume is allocated."""
    stored = [stored_values(header, layout)[0] for header, layout in zip(headers, layouts, strict=True)]
    shape = (len(stored), *stored[0].shape)
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise UnsafeInputError(f"A volume must have at most {MAX_VOXELS} voxels; this one has {shape}.")
    try:
        array = np.empty(shape, dtype=np.float32)
    except MemoryError as error:
        raise RefusalError(
            f"A volume of shape {shape} must fit into memory; it does not. Use a larger machine."
        ) from error
    n_saturated = 0
    for index, (values, layout) in enumerate(zip(stored, layouts, strict=True)):
        # in double precision, as the slope is written; only the result is rounded
        array[index] = values * slopes[index] + intercepts[index]
        n_at_limit = int(np.count_nonzero(values == layout.largest))
        n_saturated += n_at_limit if n_at_limit >= _SATURATED_VOXELS else 0
    warnings = []
    if not np.isfinite(array).all():
        raise UnsafeInputError("Rescaled values must be finite; slope and stored values give others.")
    if n_saturated:
        warnings.append(f"{n_saturated} voxels stand at the largest value that can be stored; they may be cut off.")
    if not array.any():
        warnings.append("All voxels are zero.")
    return array, warnings


def _slice_warnings(headers: Sequence[Header]) -> list[str]:
    """What the headers say that is no reason to refuse."""
    warnings = []
    if any(header.text("LossyImageCompression") == "01" for header in headers):
        warnings.append("The image was compressed with loss.")
    try:
        stated = headers[0].integer("NumberOfSlices")
    except UnsafeInputError:
        stated = None
    if stated is not None and stated > len(headers):
        warnings.append(f"The series states {stated} slices; {len(headers)} were found, without a gap.")
    return warnings


def checked_path(path: Path | str) -> Path:
    """Path of an input that exists.

    Raises
    ------
    InputError
        If it does not.
    """
    try:
        found = Path(path)
        if found.exists():
            return found
    except (OSError, ValueError) as error:
        raise InputError("The input must be a path that exists; it is malformed.") from error
    raise InputError("The input must exist; found nothing at that path. Check the path.")
