"""The images of a manifest, read with what its columns say of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nmsynth.core.errors import InputError, NmsynthError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES, Volume
from nmsynth.data.manifest import ManifestRow
from nmsynth.io import read
from nmsynth.io.nifti import is_nifti
from nmsynth.io.sidecar import Sidecar, read_sidecar, sidecar_path


@contextmanager
def naming(row: ManifestRow) -> Iterator[None]:
    """Let errors name the case of a row, where they do not already."""
    try:
        yield
    except NmsynthError as error:
        if f"'{row.case}'" in str(error):
            raise
        called = f"{row.role} '{row.name}'" if row.name else row.role
        raise type(error)(f"Case '{row.case}', {called}: {error}") from error


def check_is_volume(image: Volume, row: ManifestRow) -> None:
    """Refuse an image that cannot be learned from.

    Raises
    ------
    InputError
        If it has other axes than ``(z, y, x)``.
    UnsafeInputError
        If it has NaN or infinite voxels.
    """
    if image.axes == PLANAR_AXES:
        raise InputError(
            f"Case '{row.case}': the {row.role} has {image.shape[0]} planar views, which are cases of their own. Make "
            "a row a view, with its number in the column 'view'."
        )
    if len(image.shape) != 3:
        raise InputError(
            f"Case '{row.case}': an image must have the axes (z, y, x); the {row.role} has {image.axes}. Leave it out."
        )
    if not np.isfinite(image.array).all():
        raise UnsafeInputError(
            f"Case '{row.case}': the {row.role} must be finite; it has NaN or infinite voxels. Export it again."
        )


def comparable(image: Volume) -> Volume:
    """PET that can have an SUV in SUV by body weight, all else as it is: as images are compared between cases.

    Raises
    ------
    SuvError
        If PET in Bq/mL or another SUV states too little for it.
    """
    if image.modality == "PT" and (image.unit is Unit.BQML or image.unit.is_suv):
        return image.to_suv()
    return image


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
