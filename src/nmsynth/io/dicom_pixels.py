"""Pixels of a DICOM file: every claim is checked against the bytes that are there before anything is allocated."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import MissingExtraError, UnsafeInputError
from nmsynth.io.dicom_header import Header

MAX_EDGE = 8192
"""Rows or columns of a slice."""
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_PLUGINS = {
    **dict.fromkeys(("50", "51"), "pillow"),
    **dict.fromkeys(("80", "81"), "pyjpegls"),
}
"""Package that decodes a JPEG transfer syntax, by the last part of its UID, where ``nmsynth[codecs]`` does not."""
_MAX_COMPRESSION = 1000
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values of one file are laid out."""

    n_frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def n_bytes(self) -> int:
        """Bytes that uncompressed pixels take."""
        return self.n_frames * self.rows * self.columns * self.bits_allocated // 8

    @property
    def largest(self) -> int:
        """Largest value that can be stored."""
        return int(2 ** (self.bits_stored - int(self.signed)) - 1)


def pixel_format(header: Header) -> PixelFormat:
    """Layout of the pixels as the header states it.

    Raises
    ------
    UnsafeInputError
        If it is not one grey value of 8, 16 or 32 bits a voxel.
    """
    label = header.label
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    if min(rows, columns) < 1:
        raise UnsafeInputError(f"File {label} must have rows and columns; it states {rows} and {columns}.")
    n_frames = header.integer("NumberOfFrames")
    if n_frames is not None and n_frames < 1:
        raise UnsafeInputError(f"File {label} must have at least one frame; it states {n_frames}.")
    samples, shown = header.integer("SamplesPerPixel"), header.text("PhotometricInterpretation")
    if samples != 1 or shown != "MONOCHROME2":
        raise UnsafeInputError(f"File {label} must be MONOCHROME2 with one sample a pixel; it is not.")
    allocated, stored = header.integer("BitsAllocated"), header.integer("BitsStored")
    high, representation = header.integer("HighBit"), header.integer("PixelRepresentation")
    if allocated not in (8, 16, 32) or stored is None or not 0 < stored <= allocated or high != stored - 1:
        raise UnsafeInputError(f"File {label} must store 8, 16 or 32 bits from the lowest on; it states otherwise.")
    if representation not in (0, 1):
        raise UnsafeInputError(f"File {label} must state PixelRepresentation 0 or 1; it does not.")
    return PixelFormat(n_frames or 1, rows, columns, allocated, stored, bool(representation))


def stored_values(header: Header, layout: PixelFormat) -> npt.NDArray[np.integer]:
    """Stored values of a file, shape ``(frame, y, x)``.

    Raises
    ------
    UnsafeInputError
        If the pixels are missing, cut short, of another length than stated, or of a kind that is not supported.
    MissingExtraError
        If they are compressed and no decoder is installed.
    """
    content = header.inflated if header.inflated is not None else header.file.read_bytes()
    length, value_at = _pixel_element(content, header)
    if header.transfer_syntax in _UNCOMPRESSED:
        return _uncompressed(content, length, value_at, header, layout)
    return _decompressed(content, value_at, header, layout)


def _pixel_element(content: bytes, header: Header) -> tuple[int, int]:
    """Length as stated, and start, of the value of the pixel data."""
    at, label = header.pixel_offset, header.label
    order = ">" if header.transfer_syntax == _BIG_ENDIAN else "<"
    if at + 8 > len(content):
        raise UnsafeInputError(f"File {label} must hold pixels; it holds none.")
    group, element = struct.unpack_from(order + "HH", content, at)
    if group == 0x7FE0 and element in (0x0008, 0x0009):
        raise UnsafeInputError(f"File {label} must hold integer pixels; its pixels are floating point.")
    if (group, element) != (0x7FE0, 0x0010):
        raise UnsafeInputError(f"File {label} must hold pixels; it holds none.")
    if header.transfer_syntax == "1.2.840.10008.1.2":
        return int(struct.unpack_from("<I", content, at + 4)[0]), at + 8
    if at + 12 > len(content):
        raise UnsafeInputError(f"File {label} must be complete; its pixels are cut short.")
    return int(struct.unpack_from(order + "I", content, at + 8)[0]), at + 12


def _uncompressed(
    content: bytes, length: int, value_at: int, header: Header, layout: PixelFormat
) -> npt.NDArray[np.integer]:
    """View of the bytes as stored values."""
    label, expected = header.label, layout.n_bytes
    present = min(length, len(content) - value_at)
    if present < expected:
        raise UnsafeInputError(f"File {label} must hold {expected} bytes of pixels; it holds {present}.")
    if length - expected > 1:
        raise UnsafeInputError(f"File {label} must hold {expected} bytes of pixels; it states {length}.")
    order = ">" if header.transfer_syntax == _BIG_ENDIAN else "<"
    kind = np.dtype(f"{order}{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")
    count = layout.n_frames * layout.rows * layout.columns
    values = np.frombuffer(content, kind, count, value_at)
    return _sign_extended(values, layout).reshape(layout.n_frames, layout.rows, layout.columns)


def _sign_extended(values: npt.NDArray[np.integer], layout: PixelFormat) -> npt.NDArray[np.integer]:
    """Values without what stands in the bits above those stored."""
    unused = layout.bits_allocated - layout.bits_stored
    if unused == 0:
        return values
    native = values.astype(values.dtype.newbyteorder("="))
    return np.asarray((native << unused) >> unused, dtype=native.dtype)


def _decompressed(content: bytes, value_at: int, header: Header, layout: PixelFormat) -> npt.NDArray[np.integer]:
    """Decode compressed pixels with pydicom and the plugins it finds."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    label = header.label
    available = len(content) - value_at
    if max(layout.rows, layout.columns) > MAX_EDGE or layout.n_bytes > _MAX_COMPRESSION * available:
        raise UnsafeInputError(f"File {label} claims {layout.n_bytes} bytes of pixels from {available}; not decoded.")
    syntax = UID(header.transfer_syntax)
    if header.transfer_syntax in _JPEG_2000:
        _check_jpeg_2000_sign(content, value_at, label, signed=layout.signed)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UnsafeInputError(f"File {label} must have a known transfer syntax; it has another.") from error
    if not decoder.is_available:
        plugin = _PLUGINS.get(
            syntax.rpartition(".")[2], "nmsynth[codecs] (pylibjpeg with openjpeg and rle, python-gdcm)"
        )
        raise MissingExtraError(
            f"File {label} is compressed ({syntax.name}) and no decoder is installed. "
            f"Install {plugin}, or export it uncompressed."
        )
    return _run_decoder(content, header, layout)


def _run_decoder(content: bytes, header: Header, layout: PixelFormat) -> npt.NDArray[np.integer]:
    """Decode with any plugin; a failure of one is a damaged file."""
    from io import BytesIO

    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    try:
        values = np.asarray(pixel_array(dcmread(BytesIO(content), force=True)))
    except (MemoryError, RecursionError) as error:
        raise UnsafeInputError(f"File {header.label} claims more than can be decoded.") from error
    except Exception as error:
        raise UnsafeInputError(f"File {header.label} must hold sound compressed pixels; decoding failed.") from error
    if values.size != layout.n_frames * layout.rows * layout.columns or values.dtype.kind not in "iu":
        raise UnsafeInputError(f"File {header.label} must hold the pixels it states; decoding gave others.")
    return values.reshape(layout.n_frames, layout.rows, layout.columns)


def _check_jpeg_2000_sign(content: bytes, value_at: int, label: str, *, signed: bool) -> None:
    """Refuse a codestream whose sign is not that of PixelRepresentation: values would be wrapped silently."""
    start = content.find(b"\xff\x4f\xff\x51", value_at)
    if start < 0 or start + 43 > len(content):
        raise UnsafeInputError(f"File {label} must hold sound JPEG 2000 pixels; it holds none.")
    if bool(content[start + 42] & 0x80) != signed:
        raise UnsafeInputError(f"File {label}: JPEG 2000 pixels and PixelRepresentation must agree on the sign.")
