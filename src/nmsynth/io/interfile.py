"""Interfile 3.3 images in: a text header of keys, and the voxels in a raw file beside it, both also inside a zip."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume

SliceUnit = Literal["mm", "pixels"]
"""What the slice thickness of a header is counted in."""

MAXIMUM_VOXELS = 2**30
"""Largest number of voxels that is read."""
MAXIMUM_HEADER_BYTES = 2**18
"""Largest header that is read [byte]."""
_BLOCK_BYTES = 2048
"""Of ``data starting block``."""
_SUFFIXES = (".h33", ".hv", ".hdr", ".ihdr", ".intf")
_ORIENTATION = (
    "The Interfile image has no stated position: its middle was taken as the origin, its rows as front to back, its "
    "columns as right to left and its slices as feet to head."
)
_KNOWN_MUST = frozenset(
    ("interfile", "end of interfile", "imaging modality", "originating system", "version of keys", "general data",
     "general image data", "data offset in bytes", "data starting block", "name of data file", "type of data",
     "total number of images", "matrix size", "number format", "number of bytes per pixel", "number of slices",
     "number of dimensions", "spect study", "static study", "image data information", "pet study",
     "pet data type", "process status", "time per projection", "extent of rotation", "number of projections",
     "number of images/energy window", "number of time frames")
)  # fmt: skip
"""Keys that a program must understand (they begin with ``!``) and that are understood here, or change no voxel."""
_DTYPES = {
    ("unsigned integer", 1): "u1", ("unsigned integer", 2): "u2", ("unsigned integer", 4): "u4",
    ("signed integer", 1): "i1", ("signed integer", 2): "i2", ("signed integer", 4): "i4",
    ("short float", 4): "f4", ("float", 4): "f4", ("long float", 8): "f8", ("float", 8): "f8",
}  # fmt: skip
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([+-]\d+)")
"""A number whose exponent has no letter, such as ``+2.000000+00``."""


def is_interfile(path: Path) -> bool:
    """Whether the name of a file is that of an Interfile header."""
    return path.name.lower().endswith(_SUFFIXES)


def read_interfile(
    path: Path | str, *, unit: Unit | str, modality: str = "NM", slice_unit: SliceUnit | None = None
) -> Volume:
    """Read an image of slices, from a header and the raw file that it names.

    The first matrix size is that of the columns, which run fastest. Where no byte order is stated it is big endian, as
    the standard has it. An unknown key that begins with ``!`` is refused, since a program must understand it; other
    unknown keys are passed over.

    Parameters
    ----------
    path
        Header, its name ending in ``.h33``, ``.hv``, ``.hdr``, ``.ihdr`` or ``.intf``; or one inside a zip, as
        ``phantoms.zip/folder/name.h33``, or just the zip where it holds one header.
    unit, modality
        Of the values; the header states neither.
    slice_unit
        What ``slice thickness (pixels)`` is counted in. The standard says pixels, many writers give millimetres; where
        both readings differ it must be given.

    Returns
    -------
        Axes ``(z, y, x)``; the middle of the grid is the origin, as Interfile has none.

    Raises
    ------
    InputError
        If the file is absent or its slice thickness can be read in two ways.
    UnsafeInputError
        If the header is incomplete or says what is not understood, or the voxels are not those that it describes.

    References
    ----------
    .. [Todd-Pokropek1992] A. Todd-Pokropek, T. D. Cradduck, F. Deconinck, A file format for the exchange of nuclear
       medicine image data: a specification of Interfile version 3.3, Nucl Med Commun 13:673-699, 1992.
    """
    place = _place(Path(path))
    keys = _parse(place.read(place.header, limit=MAXIMUM_HEADER_BYTES + 1))
    _refuse_unknown(keys)
    shape = _shape(keys)
    dtype = _dtype(keys)
    offset = _offset(keys)
    size = offset + math.prod(shape) * dtype.itemsize
    name = _text(keys, "name of data file")
    content = place.read(_beside(place.header, name), limit=size + 1)
    if len(content) != size:
        raise UnsafeInputError(
            f"The voxels must fill the raw file of an Interfile image: {size} bytes by its header; found "
            f"{'more' if len(content) > size else len(content)}. Copy or export it again."
        )
    raw = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        array = raw.astype(np.float32) * np.float32(_slope(keys))
    if not np.isfinite(array).all():
        raise UnsafeInputError("An Interfile image must hold finite values; found NaN or infinity.")
    spacing = _spacing(keys, slice_unit)
    middle = [-(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)]
    return Volume(
        array=array,
        affine=affine_from_axes(spacing_mm=spacing, origin_mm=(middle[2], middle[1], middle[0])),
        unit=Unit.parse(unit),
        modality=modality,
        warnings=(_ORIENTATION,),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a header lies: on disk, or in a zip."""

    header: PurePosixPath
    archive: Path | None

    def read(self, name: PurePosixPath, *, limit: int) -> bytes:
        """The first bytes of a file beside the header, at most ``limit``."""
        try:
            if self.archive is None:
                with Path(name).open("rb") as stream:
                    return stream.read(limit)
            with zipfile.ZipFile(self.archive) as archive, archive.open(str(name)) as stream:
                return stream.read(limit)
        except (KeyError, FileNotFoundError, IsADirectoryError) as error:
            raise InputError(
                "An Interfile image is a header and the raw file that it names, in one folder; one of them is absent. "
                "Put them together."
            ) from error
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UnsafeInputError(
                f"The Interfile image must be readable; it is not ({type(error).__name__}). Copy it again."
            ) from error


def _place(path: Path) -> _Place:
    """Find a header on disk, in a zip that is part of the path, or alone in a zip."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return _Place(PurePosixPath(path.as_posix()), None)
    archive = next((p for p in (path, *path.parents) if p.suffix.lower() == ".zip" and p.is_file()), None)
    if archive is None:
        raise InputError("The Interfile header must be a file; found none at that path. Check the path.")
    try:
        with zipfile.ZipFile(archive) as found:
            members = [n for n in found.namelist() if not n.startswith("__MACOSX/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise UnsafeInputError("The zip must be readable; it is damaged. Copy it again.") from error
    headers = [n for n in members if n.lower().endswith(_SUFFIXES)]
    wanted = path.relative_to(archive).as_posix()
    if wanted != ".":
        if wanted not in members:
            raise InputError(f"The zip must hold the header asked for; it holds {len(headers)} others. Check its name.")
        return _Place(PurePosixPath(wanted), archive)
    if len(headers) != 1:
        raise InputError(
            f"A zip must hold one Interfile header, or the path must name one; found {len(headers)}. Write it as "
            f"'{archive.name}/name.h33'."
        )
    return _Place(PurePosixPath(headers[0]), archive)


def _beside(header: PurePosixPath, name: str) -> PurePosixPath:
    """The raw file, which must lie in the header's folder."""
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or not plain.name:
        raise UnsafeInputError(
            "The raw file of an Interfile header must lie in its folder; the header names one elsewhere. Put it there "
            "and write its name alone."
        )
    return header.parent / plain


def _parse(content: bytes) -> dict[str, str]:
    """Keys in small letters, with their ``!``, and values; later lines win."""
    if len(content) > MAXIMUM_HEADER_BYTES:
        raise UnsafeInputError(f"An Interfile header must have at most {MAXIMUM_HEADER_BYTES} bytes; this has more.")
    keys: dict[str, str] = {}
    for line in content.decode("latin-1").splitlines():
        key, separator, value = line.partition(":=")
        if separator and not key.lstrip().startswith(";"):
            keys[re.sub(r"\s*\[\s*(\d+)\s*\]", r" [\1]", " ".join(key.split()).lower())] = value.strip()
    if "!interfile" not in keys and "interfile" not in keys:
        raise UnsafeInputError("An Interfile header must begin with '!INTERFILE :='; this file does not.")
    return keys


def _refuse_unknown(keys: Mapping[str, str]) -> None:
    """Refuse keys that must be understood and are not, and values that change what the voxels mean."""
    plain = {re.sub(r" (\[\d+\]|\(.*\))", "", k.lstrip("! ")) for k in keys if k.startswith("!")}
    unknown = sorted(plain - _KNOWN_MUST - {""})
    if unknown:
        raise UnsafeInputError(
            f"Keys of an Interfile header that begin with '!' must be understood; '{unknown[0]:.40}' is not. Images of "
            "slices are read. Convert it to NIfTI."
        )
    found = {k.lstrip("! "): v.lower() for k, v in keys.items()}
    for key, allowed in (
        ("type of data", ("", "tomographic", "static", "pet")),
        ("process status", ("", "reconstructed")),
        ("pet data type", ("", "image")),
        ("data compression", ("", "none")),
        ("data encode", ("", "none")),
        ("number of energy windows", ("", "1")),
        ("number of time frames", ("", "1")),
        ("slice orientation", ("", "transverse")),
    ):
        if found.get(key, "") not in allowed:
            raise UnsafeInputError(
                f"'{key}' of an Interfile image must be one of {', '.join(a for a in allowed if a)}; found "
                f"'{found[key]:.40}'. Convert it to NIfTI."
            )


def _text(keys: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Value of a key, with or without its ``!``; empty counts as absent."""
    value = keys.get(f"!{name}") or keys.get(name) or default
    if not value:
        raise UnsafeInputError(f"An Interfile header must state '{name}'; this one does not. Add it.")
    return value


def _number(keys: Mapping[str, str], name: str, default: str | None = None) -> float:
    """Value of a key as a finite number."""
    text = _text(keys, name, default)
    fortran = _FORTRAN.fullmatch(text)
    try:
        value = float(f"{fortran[1]}e{fortran[2]}" if fortran else text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UnsafeInputError(f"'{name}' of an Interfile header must be a number; found '{text:.40}'.")
    return value


def _whole(keys: Mapping[str, str], name: str, default: str | None = None, *, least: int = 1) -> int:
    """Value of a key as a whole number."""
    value = _number(keys, name, default)
    if value != round(value) or value < least:
        raise UnsafeInputError(f"'{name}' of an Interfile header must be whole and at least {least}; found {value:g}.")
    return round(value)


def _shape(keys: Mapping[str, str]) -> tuple[int, int, int]:
    """Slices, rows and columns."""
    names = ("number of slices", "matrix size [3]", "total number of images")
    stated = {_whole(keys, n) for n in names if keys.get(f"!{n}") or keys.get(n)}
    if len(stated) != 1:
        raise UnsafeInputError(
            f"An Interfile header must state one number of slices; found {sorted(stated) or 'none'}. Correct it."
        )
    shape = (stated.pop(), _whole(keys, "matrix size [2]"), _whole(keys, "matrix size [1]"))
    if math.prod(shape) > MAXIMUM_VOXELS:
        raise UnsafeInputError(f"An image must have at most {MAXIMUM_VOXELS} voxels; its header claims {shape}.")
    return shape


def _dtype(keys: Mapping[str, str]) -> np.dtype[np.generic]:
    """Format of the voxels."""
    kind = " ".join(_text(keys, "number format").lower().split())
    size = _whole(keys, "number of bytes per pixel")
    order = _text(keys, "imagedata byte order", "BIGENDIAN").lower()
    if (kind, size) not in _DTYPES or order not in ("bigendian", "littleendian"):
        raise UnsafeInputError(
            "Interfile voxels must be integers of 1, 2 or 4 bytes or floats of 4 or 8, big or little endian; found "
            f"'{kind:.40}' of {size} bytes, '{order:.40}'. Convert it to NIfTI."
        )
    return np.dtype(("<" if order == "littleendian" else ">") + _DTYPES[kind, size])


def _offset(keys: Mapping[str, str]) -> int:
    """Byte at which the voxels begin."""
    if keys.get("!data starting block") or keys.get("data starting block"):
        return _whole(keys, "data starting block", least=0) * _BLOCK_BYTES
    return _whole(keys, "data offset in bytes", "0", least=0)


def _slope(keys: Mapping[str, str]) -> float:
    """Factor of the values; one that is not understood is refused."""
    for key, value in keys.items():
        scales = any(word in key for word in ("rescale", "quantification units", "image scaling factor"))
        if scales and key.lstrip("! ") != "image scaling factor [1]" and value not in ("", "1", "0", "1.0", "0.0"):
            raise UnsafeInputError(
                "Values of an Interfile image are scaled by 'image scaling factor [1]' alone; its header has "
                f"'{key.lstrip('! '):.40}'. Convert it to NIfTI."
            )
    slope = _number(keys, "image scaling factor [1]", "1")
    if slope <= 0:
        raise UnsafeInputError(f"'image scaling factor [1]' must be above 0; found {slope:g}.")
    return slope


def _spacing(keys: Mapping[str, str], slice_unit: SliceUnit | None) -> tuple[float, float, float]:
    """Voxel size along ``(z, y, x)`` [mm]."""
    x, y = (_number(keys, f"scaling factor (mm/pixel) [{i}]") for i in (1, 2))
    third = "scaling factor (mm/pixel) [3]"
    if keys.get(third) or keys.get(f"!{third}"):
        z = _number(keys, third)
    else:
        names = ("centre-centre slice separation (pixels)", "slice thickness (pixels)")
        name = next((n for n in names if keys.get(n) or keys.get(f"!{n}")), names[1])
        stated = _number(keys, name)
        if slice_unit is None and not math.isclose(x, 1.0):
            raise InputError(
                f"The header states '{name}' as {stated:g}, which is {stated * x:.4g} mm if it counts pixels, as the "
                f"standard says, and {stated:g} mm as many writers mean it. Say which (slice unit: pixels or mm)."
            )
        z = stated * x if slice_unit == "pixels" else stated
    if min(x, y, z) <= 0:
        raise UnsafeInputError(f"Voxels must have sizes above 0 mm; found {(z, y, x)} mm.")
    return z, y, x
