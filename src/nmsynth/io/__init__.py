"""Reading and writing of DICOM and NIfTI; the only place that knows file formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.io.dicom_series import SeriesSummary
    from nmsynth.io.writing import write

__all__ = ["find_series", "read", "write"]


def read(
    path: Path | str, *, series_uid: str | None = None, unit: Unit | str | None = None, modality: str | None = None
) -> Volume:
    """Read an image: a DICOM folder, zip, DICOMDIR or file, or a NIfTI file.

    Parameters
    ----------
    path
        What to read; NIfTI where the name ends in ``.nii`` or ``.nii.gz``.
    series_uid
        DICOM series, where there are several.
    unit, modality
        For NIfTI without a sidecar; nothing is guessed from values. Not for DICOM, which states both.

    Returns
    -------
        Axes ``(z, y, x)``, or ``("view", "y", "x")`` for planar NM; PET in Bq/mL, CT in HU.

    Raises
    ------
    InputError
        If the path or an option is wrong, or there are several series and none is chosen.
    UnsafeInputError
        If the input is damaged, contradictory or hostile.
    """
    from nmsynth.io.dicom_reader import checked_path, read_dicom
    from nmsynth.io.nifti import is_nifti, read_nifti

    path = checked_path(path)
    if is_nifti(path):
        if series_uid is not None:
            raise InputError("series_uid is for DICOM; the input is NIfTI. Leave it out.")
        return read_nifti(path, unit=unit, modality=modality)
    volume = read_dicom(path, series_uid=series_uid)
    if unit is not None and Unit.parse(unit) is not volume.unit:
        raise InputError(f"unit is stated by DICOM ({volume.unit.value}) and cannot be another. Leave it out.")
    if modality is not None and modality != volume.modality:
        raise InputError(f"modality is stated by DICOM ({volume.modality}) and cannot be another. Leave it out.")
    return volume


def find_series(path: Path | str) -> list[SeriesSummary]:
    """List the DICOM series under a path: UID, modality, description, slices and spacing.

    Raises
    ------
    InputError
        If the path does not exist or holds no DICOM.
    """
    from nmsynth.io import dicom_reader

    return dicom_reader.find_series(dicom_reader.checked_path(path))


def __getattr__(name: str) -> object:
    if name == "write":
        from nmsynth.io.writing import write

        return write
    raise AttributeError(f"module 'nmsynth.io' has no attribute {name!r}")
