"""The images of a manifest, read with what its columns say of them."""

from __future__ import annotations

from pathlib import Path

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.manifest import ManifestRow
from nmsynth.io import read
from nmsynth.io.nifti import is_nifti
from nmsynth.io.sidecar import Sidecar, read_sidecar, sidecar_path


def read_image(row: ManifestRow, root: Path) -> Volume:
    """Read the image of a row.

    What a NIfTI image's sidecar does not state is taken from the columns ``unit`` and ``modality``; a mask without
    either is a number without a unit.

    Parameters
    ----------
    row
        Of the manifest.
    root
        Folder that its path is relative to.

    Raises
    ------
    InputError
        If unit or modality of a NIfTI image stand neither in a sidecar nor in the manifest, or contradict each other.
    UnsafeInputError
        If the file is damaged or holds NaN.
    """
    return shown_view(_read(row, root), row)


def shown_view(image: Volume, row: ManifestRow) -> Volume:
    """The view that a row names, as a single slice; the image as it is where it names none.

    Raises
    ------
    InputError
        If the image has no such view.
    """
    if row.view is None:
        return image
    try:
        return image.single_view(row.view - 1)
    except InputError as error:
        raise InputError(f"Case '{row.case}', {row.role}: {error}") from error


def _read(row: ManifestRow, root: Path) -> Volume:
    """The whole file of a row."""
    path = root / row.path
    if not is_nifti(path):
        return read(path)
    beside = sidecar_path(path)
    stated = read_sidecar(beside) if beside.is_file() else Sidecar()
    is_mask = row.role == "mask"
    unit = row.unit or (Unit.UNITLESS.value if is_mask else None)
    modality = row.modality or ("MR" if is_mask else None)
    return read(path, unit=None if stated.unit else unit, modality=None if stated.modality else modality)
