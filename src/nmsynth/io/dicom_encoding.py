"""DICOM objects to files: encoded once, written and synced by threads, read back and compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO

IMPLEMENTATION_CLASS_UID = "2.25.104378620196158347625012981562736021849"
"""Identifies nmsynth as the writer of a file."""
_N_THREADS = 8
_NAME_DIGITS = 5


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


def encode_elements(dataset: Dataset, *, character_set: object = None) -> dict[int, bytes]:
    """Encode each element by itself, Explicit VR Little Endian.

    Parameters
    ----------
    dataset
        Decoded elements.
    character_set
        SpecificCharacterSet of the file, where the data set does not hold it.

    Returns
    -------
        Encoded elements by tag; joined in the order of their tags they are a data set.
    """
    from pydicom.filewriter import correct_ambiguous_vr, write_data_element

    dataset = correct_ambiguous_vr(dataset, True)
    encodings: Any = dataset.get("SpecificCharacterSet", None) or character_set or "iso8859"
    encoded: dict[int, bytes] = {}
    for tag in sorted(dataset.keys()):
        # not decoded, where only the bytes of the source are its text
        element = dataset.get_item(tag)
        buffer = _buffer()
        write_data_element(buffer, element, encodings)
        encoded[int(element.tag)] = bytes(buffer.getvalue())
    return encoded


def encode_file(elements: Mapping[int, bytes], *, class_uid: str, instance_uid: str) -> bytes:
    """DICOM file, Explicit VR Little Endian, with a preamble of zeros, from :func:`encode_elements`."""
    meta = _file_meta(class_uid, instance_uid)
    return b"".join([bytes(128), b"DICM", meta, *(elements[tag] for tag in sorted(elements))])


def encode(dataset: Dataset) -> bytes:
    """DICOM file of a data set."""
    return encode_file(encode_elements(dataset), class_uid=dataset.SOPClassUID, instance_uid=dataset.SOPInstanceUID)


def _buffer() -> DicomBytesIO:
    """Buffer for Explicit VR Little Endian."""
    from pydicom.filebase import DicomBytesIO

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return buffer


def _file_meta(class_uid: str, instance_uid: str) -> bytes:
    """File meta information of a data set."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(class_uid)
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
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
        for name, whole in zip(
            names, pool.map(_write_one, (directory / name for name in names), payloads), strict=True
        ):
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
