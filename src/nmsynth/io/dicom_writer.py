"""A derived PET series: the headers of its source, new identity, new pixels, and the marks that say what it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import spacing_of, to_world
from nmsynth.core.provenance import SourceReference
from nmsynth.core.volume import ACTIVITY_MODALITIES, SPATIAL_AXES, Volume
from nmsynth.io.atomic import atomic_directory, check_finite, check_output
from nmsynth.io.dicom_administration import on_clock_of, resolve_administration
from nmsynth.io.dicom_derived import DerivedSeries, encode_series
from nmsynth.io.dicom_encoding import encode_elements, is_own_output, write_files
from nmsynth.io.dicom_identifiers import checked_uid, new_uid, unused_series_number
from nmsynth.io.dicom_marks import code, marks_of
from nmsynth.io.dicom_pet_module import PET_IMAGE_STORAGE
from nmsynth.io.dicom_quantise import quantise

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_GRID_TOLERANCE = 0.05
"""Largest distance of a slice from its source's place, as a part of the slice spacing and at least in mm."""


def write_dicom(
    volume: Volume,
    directory: Path | str,
    *,
    source: Path | str | Volume | None = None,
    overwrite: bool = False,
    guides: Sequence[Volume] = (),
    created: datetime | None = None,
) -> Path:
    r"""Write a series that derives from a source series of single-slice PET images.

    The headers are those of the source, with new SOP and series UIDs, ``DERIVED\PRIMARY``, the marks of a
    synthetic or simulated image, 16 bit values with a slope a slice, and without private attributes; the
    decay reference that was resolved stands in SeriesDate and SeriesTime, so that every reader finds one SUV.
    The folder appears complete or not at all.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)`` or ``(frame, z, y, x)``, on the grid of the source.
    directory
        Output folder.
    source
        Series whose headers are taken; ``None`` for the one the volume was read from.
    overwrite
        Whether a series that nmsynth wrote may be replaced. Other folders never are.
    guides
        CT or MR volumes that guided the synthesis, read from DICOM; they are listed as structural images.
    created
        Time of creation on the clock of the source; now, if not given.

    Returns
    -------
        The output folder.

    Raises
    ------
    NumericalError
        If a value is not finite; nothing is written.
    InputError
        If the output exists, there is no DICOM source, or its grid is another.
    UnsafeInputError
        If the source's identifiers cannot be used.
    """
    directory = Path(directory)
    check_finite(volume.array)
    reference = resolve_source(volume, source)
    target = check_output(directory, overwrite=overwrite, is_directory=True)
    origin = reference.path.resolve()
    if target == origin or target in origin.parents:
        raise InputError("The output folder must not hold the source series. Choose another output folder.")
    with warnings.catch_warnings():
        # What pydicom warns of in a source was judged when it was read.
        warnings.simplefilter("ignore")
        headers = _read_headers(reference)
        _check_headers(headers, volume)
        volume = _with_facts(volume, reference)
        series = _prepare(headers, volume, guides, created or on_clock_of(headers[0], datetime.now().astimezone()))
        payloads = encode_series(headers, series)
    with atomic_directory(directory, overwrite=overwrite, may_replace=is_own_output) as folder:
        write_files(folder, payloads)
    return directory


def resolve_source(volume: Volume, source: Path | str | Volume | None) -> SourceReference:
    """Find the DICOM series whose headers a volume takes.

    Raises
    ------
    InputError
        If there is none.
    """
    own = volume.source
    if isinstance(source, Volume):
        own = source.source
    elif source is not None:
        path = Path(source)
        series_uid = own.series_uid if own is not None and own.path.resolve() == path.resolve() else None
        own = SourceReference(path=path, format="dicom", series_uid=series_uid)
    if own is None or own.format != "dicom":
        raise InputError(
            "A derived DICOM series needs the DICOM series it derives from; the volume was not read from one. "
            "Pass source, or write NIfTI."
        )
    return own


def _with_facts(volume: Volume, reference: SourceReference) -> Volume:
    """The volume with the acquisition of the source where it has none, as after another program's NIfTI.

    Without it the decay reference of a private attribute would be lost with that attribute.
    """
    if volume.acquisition.decay_correction is not None:
        return volume
    from nmsynth.io.dicom_reader import read_quantity

    quantity = read_quantity(reference.path, reference.series_uid)
    fraction = volume.acquisition.simulated_count_fraction
    acquisition = replace(quantity.acquisition, simulated_count_fraction=fraction)
    return replace(volume, acquisition=acquisition, suv_rule=quantity.suv_rule)


def _read_headers(reference: SourceReference) -> list[Dataset]:
    """Headers of a series in the order of the volume's slices."""
    from nmsynth.io.dicom_reader import read_headers

    return list(read_headers(reference.path, reference.series_uid))


def _check_headers(headers: list[Dataset], volume: Volume) -> None:
    """Refuse a source of another kind or another grid."""
    if volume.axes[-3:] != SPATIAL_AXES or volume.array.ndim > 4:
        raise InputError(f"A DICOM series holds axes (z, y, x) or (frame, z, y, x); found {volume.axes}.")
    if volume.modality not in ACTIVITY_MODALITIES or any(
        str(h.get("SOPClassUID", "")) != PET_IMAGE_STORAGE for h in headers
    ):
        raise InputError(
            f"A derived DICOM series needs a source of single-slice PET images and a volume of that modality; "
            f"the volume is {volume.modality}. Write NIfTI instead."
        )
    n_slices = volume.array.size // (volume.shape[-1] * volume.shape[-2])
    sizes = {(int(header.Rows), int(header.Columns)) for header in headers}
    if len(headers) != n_slices or sizes != {volume.shape[-2:]}:
        raise InputError(
            f"A derived series must keep the grid of its source; the source has {len(headers)} slices of "
            f"{sorted(sizes)} and the volume {volume.shape}. Resample the volume to the source first."
        )
    tolerance = _GRID_TOLERANCE * max(1.0, spacing_of(volume.affine)[0])
    corners = np.array([(0, 0), (0, volume.shape[-1] - 1), (volume.shape[-2] - 1, 0)])
    for index, header in enumerate(headers):
        found = _corner_positions(header, corners)
        k = index % volume.spatial_shape[0]
        expected = to_world(volume.affine, np.column_stack([np.full(len(corners), k), corners]))
        if np.abs(found - expected).max() > tolerance:
            raise InputError(
                f"A derived series must keep the grid of its source; slice {index} of the volume lies "
                f"{np.abs(found - expected).max():.3g} mm from it. Resample the volume to the source first."
            )


def _corner_positions(header: Dataset, corners: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """LPS positions [mm] of pixels ``(row, column)`` of a slice."""
    position = np.array([float(value) for value in header.ImagePositionPatient])
    orientation = np.array([float(value) for value in header.ImageOrientationPatient])
    between_rows, between_columns = (float(value) for value in header.PixelSpacing)
    along_columns, along_rows = orientation[:3] * between_columns, orientation[3:] * between_rows
    return np.asarray(position + corners[:, :1] * along_rows + corners[:, 1:] * along_columns)


def _prepare(headers: list[Dataset], volume: Volume, guides: Sequence[Volume], created: datetime) -> DerivedSeries:
    """Everything that all slices share."""
    first = headers[0]
    checked_uid(first.get("StudyInstanceUID"), "StudyInstanceUID")
    source_uid = checked_uid(first.get("SeriesInstanceUID"), "SeriesInstanceUID")
    administration = resolve_administration(first, volume)
    provenance = replace(volume.provenance, parents=volume.provenance.parents or (source_uid,))
    series_uid = new_uid()
    stack = volume.array.reshape((-1, *volume.shape[-2:]))
    if administration.scale != 1.0:
        stack = stack * np.float32(administration.scale)
    before = str(first.get("Units", ""))
    return DerivedSeries(
        series_uid=series_uid,
        series_number=unused_series_number(series_uid, [int(first.get("SeriesNumber", None) or 0)]),
        marks=marks_of(
            provenance,
            volume.acquisition,
            created=created,
            notes=administration.notes,
            decay_reference=administration.decay_reference,
        ),
        administration=administration,
        pixels=quantise(stack),
        source_images=source_images(headers, guides),
        unit_changed=administration.top.get("Units", before) != before or administration.scale != 1.0,
    )


def source_images(headers: list[Dataset], guides: Sequence[Volume]) -> dict[int, bytes]:
    """Encoded SourceImageSequence: every slice of the source, and every image of the guides."""
    from pydicom.dataset import Dataset

    items = [_reference(header, "121322", "Source image for image processing operation") for header in headers]
    for guide in guides:
        if guide.source is not None and guide.source.format == "dicom":
            items += [
                _reference(header, "128250", "Structural image for image processing")
                for header in _read_headers(guide.source)
            ]
    holder = Dataset()
    holder.SourceImageSequence = items
    return encode_elements(holder)


def _reference(header: Dataset, value: str, meaning: str) -> Dataset:
    """Item that names one image and its part in the derivation."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = checked_uid(header.get("SOPClassUID"), "SOPClassUID")
    item.ReferencedSOPInstanceUID = checked_uid(header.get("SOPInstanceUID"), "SOPInstanceUID")
    item.PurposeOfReferenceCodeSequence = [code(value, meaning)]
    return item
