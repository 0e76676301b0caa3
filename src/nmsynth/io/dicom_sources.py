"""Finding and opening DICOM files in a folder, a zip, a DICOMDIR, or one file, within limits."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nmsynth.core.errors import InputError, UnsafeInputError

MAX_FILES = 50_000
"""Files of one folder or zip; more is refused."""
MAX_FILE_BYTES = 2**31
"""Size of one file; a larger one is refused."""
MAX_ZIP_BYTES = 2**33
"""Sum of the sizes of the members of a zip."""
MAX_ZIP_RATIO = 200
"""Uncompressed over compressed size of a member of a zip above one mebibyte."""
_MIB = 2**20
_WORDS = frozenset(
    ("dcm", "dicom", "ima", "img", "image", "images", "slice", "slices", "scan", "scans", "series", "ser", "study",
     "frame", "frames", "vol", "volume", "pet", "spect", "tomo", "nac", "anon", "export", "file")
)  # fmt: skip
"""What a file may be called without naming anybody; two letters, as in IM or PT, may be anything."""
_UID_NAME = re.compile(r"([A-Z]{2,5}[._-])?\d+(\.\d+){5,}(\.dcm|\.ima)?", re.IGNORECASE)
_DATE = re.compile(r"(?<!\d)((?!000)\d{8}|\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}|\d{1,2}[-_. ]\d{1,2}[-_. ]\d{4})(?!\d)")


@dataclass(frozen=True, slots=True)
class DicomFile:
    """One file that may be DICOM, on disk or inside a zip."""

    label: str
    """Name for messages, from :func:`pseudonym`."""
    path: Path
    """The file, or the zip it is in."""
    member: str | None = None
    """Name inside the zip."""
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)
    """The zip, opened once for all its members."""
    number: int = 1
    """Place in the list of files, counted from 1."""

    def read_bytes(self) -> bytes:
        """Content of the file.

        Raises
        ------
        UnsafeInputError
            If it cannot be read, or is larger than allowed.
        """
        try:
            if self.member is None or self.archive is None:
                return _read_regular(self.path, self.label)
            size = self.archive.getinfo(self.member).file_size
            with self.archive.open(self.member) as stream:
                content = stream.read(size + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise UnsafeInputError(f"File {self.label} must be readable; it is damaged or out of reach.") from error
        if len(content) != size:
            raise UnsafeInputError(f"File {self.label} in the zip must have the size it states; it has another.")
        return content


def escaped(text: str, limit: int = 64) -> str:
    r"""Text for a message or a log: nothing unprintable, no backslash of its own, at most ``limit`` characters.

    Examples
    --------
    >>> escaped("a\nb")
    'a\\x0ab'
    """
    shown = "".join(
        char if char.isprintable() and char != "\\" else f"\\x{ord(char):02x}" for char in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def pseudonym(name: str, number: int) -> str:
    """What a file is called in messages: its base name, or its number where the name could be a person's.

    A base name is shown where its words are technical ones, and it holds no date but inside a UID.

    Examples
    --------
    >>> pseudonym("IM_0012.dcm", 12), pseudonym("Doe_Jane_0012.dcm", 12)
    ('IM_0012.dcm', 'number 12')
    """
    if _UID_NAME.fullmatch(name):
        return escaped(name)
    words = re.findall(r"[^\W\d_]+", name)
    is_technical = all(len(word) <= 2 or word.lower() in _WORDS for word in words)
    return escaped(name) if is_technical and not _DATE.search(name) else numbered(number)


def numbered(number: int) -> str:
    """A file by its place in the list."""
    return f"number {number}"


def list_files(path: Path) -> tuple[list[DicomFile], list[str]]:
    """Files under ``path`` in a fixed order, and warnings.

    A folder is searched to the bottom, without following links that lead out of it; pipes, sockets and devices are
    passed over. A DICOMDIR given as ``path`` lists its files and no others.

    Raises
    ------
    InputError
        If ``path`` does not exist or holds no file.
    UnsafeInputError
        If there are too many files, or a zip is a bomb or leads out of itself.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError("The input must exist; found nothing at that path. Check the path.") from error
    if stat.S_ISDIR(mode):
        files, warnings = _walk(path)
    elif not stat.S_ISREG(mode):
        raise UnsafeInputError("The input must be a file or a folder; what stands at that path is neither.")
    elif zipfile.is_zipfile(path) and not _has_magic(path):
        files, warnings = _list_zip(path), []
    else:
        files, warnings = [DicomFile(pseudonym(path.name, 1), path)], []
    if not files:
        raise InputError("The input must hold DICOM files; it holds no file.")
    return files, warnings


def inside(root: Path, parts: list[str]) -> Path | None:
    """Path of a file below ``root`` named by its parts; ``None`` if it would lie outside or is not a plain file."""
    if not parts or any(part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
        return None
    candidate = root.joinpath(*parts)
    try:
        resolved = candidate.resolve(strict=True)
        if not resolved.is_relative_to(root.resolve()) or not stat.S_ISREG(resolved.stat().st_mode):
            return None
    except (OSError, RuntimeError, ValueError):
        return None
    return candidate


def _has_magic(path: Path) -> bool:
    """Whether a file has the DICOM prefix."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_regular(path: Path, label: str) -> bytes:
    """Content of a plain file, opened so that a pipe does not block."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeInputError(f"File {label} must be a plain file; it is a pipe or a device.")
        if status.st_size > MAX_FILE_BYTES:
            raise UnsafeInputError(f"File {label} must be smaller than {MAX_FILE_BYTES // 2**30} GiB.")
        return stream.read()


def _walk(root: Path) -> tuple[list[DicomFile], list[str]]:
    """Plain files below a folder, by name, and what was passed over."""
    files: list[DicomFile] = []
    n_passed = 0
    for path in _entries(root):
        parts = list(path.relative_to(root).parts)
        if inside(root, parts) is None:
            n_passed += 1
            continue
        if path.name.upper() == "DICOMDIR":
            continue
        files.append(DicomFile(pseudonym(path.name, len(files) + 1), path, number=len(files) + 1))
        if len(files) > MAX_FILES:
            raise UnsafeInputError(f"A folder must hold at most {MAX_FILES} files; this one holds more. Split it.")
    warnings = [f"{n_passed} links, pipes or devices were passed over."] if n_passed else []
    return files, warnings


def _entries(root: Path) -> Iterator[Path]:
    """Paths of all non-folders below ``root``, sorted; links to folders are not entered."""
    for folder, subfolders, names in os.walk(root, followlinks=False):
        subfolders.sort()
        for name in sorted(names):
            yield Path(folder) / name


def _list_zip(path: Path) -> list[DicomFile]:
    """Members of a zip, checked before any is opened; nothing is ever unpacked to disk."""
    try:
        archive = zipfile.ZipFile(path)
        infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnsafeInputError("The zip must be readable; it is damaged.") from error
    if len(infos) > MAX_FILES:
        raise UnsafeInputError(f"A zip must hold at most {MAX_FILES} files; this one holds {len(infos)}. Split it.")
    total = 0
    members: list[str] = []
    for index, info in enumerate(infos):
        if info.is_dir():
            continue
        _check_member(info, index)
        total += info.file_size
        if total > MAX_ZIP_BYTES:
            raise UnsafeInputError(f"A zip must hold at most {MAX_ZIP_BYTES // 2**30} GiB; this one holds more.")
        if PurePosixPath(info.filename).name.upper() != "DICOMDIR":
            members.append(info.filename)
    if len(set(members)) != len(members):
        raise UnsafeInputError("The members of a zip must have different names; two have one name.")
    return [
        DicomFile(pseudonym(PurePosixPath(member).name, number), path, member, archive, number)
        for number, member in enumerate(sorted(members), start=1)
    ]


def _check_member(info: zipfile.ZipInfo, index: int) -> None:
    """Refuse a member of a zip that leads out of it, is a link, encrypted, or a bomb."""
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    where = f"Member {index + 1} of the zip"
    if ".." in parts or (parts and (parts[0] == "/" or parts[0].endswith(":"))):
        raise UnsafeInputError(f"{where} must lie inside it; its name leads out.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnsafeInputError(f"{where} must be a file; it is a link.")
    if info.flag_bits & 1:
        raise UnsafeInputError(f"{where} is encrypted; unpack the zip first.")
    if info.file_size > MAX_FILE_BYTES:
        raise UnsafeInputError(f"{where} must be smaller than {MAX_FILE_BYTES // 2**30} GiB.")
    if info.file_size > _MIB and info.file_size > MAX_ZIP_RATIO * max(info.compress_size, 1):
        raise UnsafeInputError(f"{where} would unpack to more than {MAX_ZIP_RATIO} times its size; it was not opened.")
