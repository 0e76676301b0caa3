"""From bytes to headers: every way in which a hostile or damaged file can fail ends in one kind of error."""

from __future__ import annotations

import contextlib
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from nmsynth.core.errors import UnsafeInputError
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_sources import DicomFile, numbered

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_INFLATED_BYTES = 2**27
"""Size to which a deflated file may inflate; more is refused before it is made."""
MAX_INFLATED_RATIO = 200
"""Inflated over deflated size above one mebibyte, so that many small bombs stay small together."""
IMPLICIT_VR = "1.2.840.10008.1.2"
"""Implicit VR little endian."""
DEFLATED = "1.2.840.10008.1.2.1.99"
"""Deflated explicit VR little endian."""
_EXPLICIT_VR = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_BARE_STARTS = (
    *(b"\x02\x00" + element for element in (b"\x00\x00", b"\x01\x00")),
    *(
        b"\x08\x00" + element
        for element in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x12\x00", b"\x16\x00")
    ),
)
"""First tags of a file without preamble: file meta information, or the data set itself."""
_SHORTEST_IDENTITY = 3
"""Characters of a name or number that count as found in the name of a file."""
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging: its messages quote values, and values can name a patient.

    It changes settings of the process for the time it holds, so read in one thread at a time.
    """
    from pydicom import config

    logger = logging.getLogger("pydicom")
    level, mode = logger.level, config.settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        config.settings.reading_validation_mode = mode


def parse(file: DicomFile) -> Header | None:
    """Header of a file, without its pixels; ``None`` if the file is not DICOM.

    Files of before part 10, without preamble, or without file meta information too, are DICOM as well.

    Call it inside :func:`quiet_pydicom`.

    Raises
    ------
    UnsafeInputError
        If the file says it is DICOM but cannot be parsed.
    """
    content = file.read_bytes()
    start = _start(content)
    if start is None:
        return None
    if content[start : start + 2] == b"\x08\x00" and start == 0:
        transfer_syntax = _EXPLICIT_VR if content[4:6].isalpha() else IMPLICIT_VR
    else:
        transfer_syntax, start = _read_meta(content, file.label, start)
    if transfer_syntax == DEFLATED:
        content, start = _inflated(content[start:], file.label), 0
    dataset, offset = _read_dataset(content, start, transfer_syntax, file.label)
    return Header(
        file=_unnamed(file, dataset), dataset=dataset, transfer_syntax=transfer_syntax, pixel_offset=offset,
        inflated=content if transfer_syntax == DEFLATED else None,
    )  # fmt: skip


def _start(content: bytes) -> int | None:
    """Where the first element of a DICOM file is; ``None`` if it is none."""
    if content[128:132] == b"DICM":
        return 132
    return 0 if content[:4] in _BARE_STARTS else None


def _unnamed(file: DicomFile, dataset: Dataset) -> DicomFile:
    """The file, called by its number where its name holds a name, number or birth date of the patient."""
    header, shown = Header(file, dataset), file.label.casefold()
    try:
        texts = [header.text(keyword) or "" for keyword in ("PatientID", "PatientBirthDate", "AccessionNumber")]
        texts += re.split(r"[\W\d_]+", header.text("PatientName") or "")
    except UnsafeInputError:
        return replace(file, label=numbered(file.number))
    named = any(len(text) >= _SHORTEST_IDENTITY and text.casefold() in shown for text in texts)
    return replace(file, label=numbered(file.number)) if named else file


def _read_dataset(content: bytes, start: int, transfer_syntax: str, label: str) -> tuple[Dataset, int]:
    """Data set up to its pixels, and where they start."""
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001
        return tag >> 16 == 0x7FE0 and int(tag) in _PIXEL_TAGS

    stream = BytesIO(content)
    stream.seek(start)
    try:
        dataset = read_dataset(
            stream, transfer_syntax == IMPLICIT_VR, transfer_syntax != _BIG_ENDIAN, stop_when=at_pixels
        )
        return dataset, stream.tell()
    except RecursionError as error:
        raise UnsafeInputError(f"File {label} must not nest sequences so deep; it was not read.") from error
    except MemoryError as error:
        raise UnsafeInputError(f"File {label} claims more than memory holds; it was not read.") from error
    except Exception as error:
        raise UnsafeInputError(f"File {label} must be sound DICOM; it cannot be parsed. Export it again.") from error


def _read_meta(content: bytes, label: str, start: int) -> tuple[str, int]:
    """Transfer syntax, and where the data set starts, from the file meta information."""
    position, transfer_syntax = start, None
    while position + 8 <= len(content) and content[position : position + 2] == b"\x02\x00":
        element, vr = struct.unpack_from("<H2s", content, position + 2)
        if vr in _LONG_VRS:
            if position + 12 > len(content):
                break
            (length,) = struct.unpack_from("<I", content, position + 8)
            value_at = position + 12
        else:
            (length,) = struct.unpack_from("<H", content, position + 6)
            value_at = position + 8
        if value_at + length > len(content):
            raise UnsafeInputError(f"File {label} must be complete; it ends within its first elements.")
        if element == 0x0010:
            transfer_syntax = content[value_at : value_at + length].decode("latin-1").strip(" \0")
        position = value_at + length
    if not transfer_syntax:
        raise UnsafeInputError(f"File {label} must state its TransferSyntaxUID; it does not.")
    return transfer_syntax, position


def _inflated(deflated: bytes, label: str) -> bytes:
    """Inflate a data set, never beyond the limits."""
    limit = min(MAX_INFLATED_BYTES, max(2**20, MAX_INFLATED_RATIO * len(deflated)))
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = decompressor.decompress(deflated, limit)
    except zlib.error as error:
        raise UnsafeInputError(f"File {label} must be sound; its deflated data are damaged.") from error
    if decompressor.unconsumed_tail:
        raise UnsafeInputError(f"File {label} must inflate to at most {limit // 2**20} MiB; it would be larger.")
    return content
