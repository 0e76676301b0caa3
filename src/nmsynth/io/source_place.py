"""The part of a disk that an input is read from."""

from __future__ import annotations

from pathlib import Path

from nmsynth.core.errors import NmsynthError
from nmsynth.io.dicom_parse import parse, quiet_pydicom
from nmsynth.io.dicom_series import is_directory
from nmsynth.io.dicom_sources import list_files
from nmsynth.io.nifti import is_nifti


def source_place(path: Path) -> Path:
    """Folder that an input is read from, or the file that is all of it, with links resolved.

    A single slice stands for its series, and a DICOMDIR for what it lists, so that their place is their folder. A NIfTI
    image, a zip and an object of several frames are a place of their own.
    """
    place = path.resolve()
    if not place.is_file() or is_nifti(path):
        return place
    try:
        files, _ = list_files(path)
        with quiet_pydicom():
            header = parse(files[0]) if files[0].member is None else None
        if header is None:
            return place
        n_frames = 1 if is_directory(header) else header.integer("NumberOfFrames") or 1
    except NmsynthError:  # a damaged file is told where the image is read
        return place.parent
    return place if n_frames > 1 else place.parent
