"""DICOM objects to files: encoded once, written and synced by threads, read back and compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO

IMPLEMENTATION_CLASS_UID = "2.25.104378620196158347625012981562736021849"
"""Identifies nmsynth as the writer of a file."""
_N_THREADS = 8
_NAME_DIGITS = 5
_PAST_LAST_TAG = 0x1_0000_0000


def file_name(index: int) -> str:
    """Name of the file of a slice, counted from 0; never taken from a header."""
    return f"{index + 1:0{_NAME_DIGITS}d}.dcm"


def is_own_output(directory: Path) -> bool:
    """Whether a folder holds nothing but files named as nmsynth names the slices of a series, made by nmsynth."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    entries = sorted(directory.iterdir())
    if not all(entry.is_file() and not entry.is_symlink() for entry in entries):
        return False
    if [entry.name for entry in entries] != [file_name(k) for k in range(len(entries))]:
        return False
    try:
        meta = read_file_meta_info(entries[0])
    except (InvalidDicomError, OSError, ValueError, KeyError, EOFError):
        return False
    return str(meta.get("ImplementationClassUID", "")) == IMPLEMENTATION_CLASS_UID


def encode(dataset: Dataset, *, inserted: Mapping[str, bytes] | None = None) -> bytes:
    """DICOM file, Explicit VR Little Endian, with a preamble of zeros.

    Parameters
    ----------
    dataset
        Elements of the file, decoded.
    inserted
        Elements by keyword that were encoded before, with :func:`encode_element`.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import Dataset
    from pydicom.filewriter import write_dataset

    pieces = sorted((tag_for_keyword(keyword) or 0, encoded) for keyword, encoded in (inserted or {}).items())
    buffer = _buffer()
    buffer.write(bytes(128) + b"DICM" + _file_meta(dataset))
    character_set = dataset.get("SpecificCharacterSet", None) or "iso8859"
    lower = 0
    for upper, encoded in [*pieces, (_PAST_LAST_TAG, b"")]:
        part = Dataset()
        part.update({tag: dataset[tag] for tag in list(dataset.keys()) if lower <= tag < upper})
        write_dataset(buffer, part, parent_encoding=character_set)
        buffer.write(encoded)
        lower = upper
    return bytes(buffer.getvalue())


def encode_element(keyword: str, value: object) -> bytes:
    """One element as Explicit VR Little Endian, for :func:`encode`."""
    from pydicom.dataset import Dataset
    from pydicom.filewriter import write_dataset

    dataset = Dataset()
    setattr(dataset, keyword, value)
    buffer = _buffer()
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def _buffer() -> DicomBytesIO:
    """Buffer for Explicit VR Little Endian."""
    from pydicom.filebase import DicomBytesIO

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return buffer


def _file_meta(dataset: Dataset) -> bytes:
    """File meta information of a data set."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "NMSYNTH"
    buffer = _buffer()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(buffer.getvalue())


def write_files(directory: Path, payloads: list[bytes]) -> None:
    """Write one file a payload, sync each, read each back and compare length and hash.

    Raises
    ------
    InputError
        If what the disk gives back is not what was written.
    OSError
        If the disk refuses.
    """
    names = [file_name(k) for k in range(len(payloads))]
    with ThreadPoolExecutor(_N_THREADS) as pool:
        for name, whole in zip(names, pool.map(_write_one, (directory / name for name in names), payloads), strict=True):
            if not whole:
                raise InputError(
                    f"A written file must read back as it was written; {name} does not. "
                    "Nothing was left at the output path. Check the disk."
                )


def _write_one(path: Path, payload: bytes) -> bool:
    """Write, sync and compare one file."""
    with path.open("wb") as stream:
        stream.write(payload)
        stream.flush()
        os.fsync(stream.fileno())
    found = path.read_bytes()
    return len(found) == len(payload) and hashlib.sha256(found).digest() == hashlib.sha256(payload).digest()
