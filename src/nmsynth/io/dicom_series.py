"""Which series a place holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_parse import parse, quiet_pydicom
from nmsynth.io.dicom_sources import DicomFile, escaped, inside, list_files, pseudonym

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR."""
_SERIES_UID = re.compile(rb"\x20\x00\x0e\x00(?:UI(?P<explicit>..)|(?P<implicit>..)\x00\x00)", re.DOTALL)
"""SeriesInstanceUID in little endian, up to its value."""


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """One series, without identity of the patient."""

    uid: str
    modality: str
    description: str
    """Series description, anything unprintable escaped."""
    n_slices: int
    spacing_mm: tuple[float, float, float] | None
    """Voxel size along ``(z, y, x)``; ``None`` where the slices form no grid."""

    @property
    def line(self) -> str:
        """One line for a list."""
        return f"{self.uid} ({self.modality}, {self.n_slices} slices, '{self.description}')"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that says it is DICOM but cannot be parsed."""

    label: str
    error: UnsafeInputError
    series_uid: str | None
    """Series that its bytes name; ``None`` where they do not reach so far."""


@dataclass(frozen=True, slots=True)
class Found:
    """Headers by series, in the order of the files, and what is to be said."""

    series: dict[str, list[Header]]
    warnings: tuple[str, ...]
    damaged: tuple[Damaged, ...] = ()


def scan(path: Path) -> Found:
    """Parse the header of every DICOM file under a path and group them by series.

    One file that holds a slice brings the slices of its series from its folder.

    Raises
    ------
    InputError
        If nothing there is DICOM.
    """
    files, warnings = list_files(path)
    with quiet_pydicom():
        if len(files) == 1 and files[0].member is None and files[0].path == path:
            files, more, wanted = _around(files[0])
            warnings = [*warnings, *more]
        else:
            wanted = None
        return _grouped(files, warnings, wanted)


def choose(found: Found, series_uid: str | None, summaries: Sequence[SeriesSummary]) -> str:
    """UID of the series to read.

    Raises
    ------
    InputError
        If there are several and none is named, or the one named is not there; the message lists them.
    """
    listed = "; ".join(summary.line for summary in summaries[:20])
    if series_uid is not None:
        if series_uid not in found.series:
            raise InputError(f"series_uid must be one of those found; {escaped(series_uid)} is not. Found: {listed}.")
        return series_uid
    if len(found.series) > 1:
        raise InputError(f"The input holds {len(found.series)} series; choose one by series_uid. Found: {listed}.")
    return next(iter(found.series))


def _grouped(files: list[DicomFile], warnings: list[str], wanted: str | None) -> Found:
    """Parse files and group them by SeriesInstanceUID."""
    series: dict[str, list[Header]] = {}
    damaged: list[Damaged] = []
    n_other = 0
    for file in files:
        try:
            header = parse(file)
            uid = None if header is None else header.uid("SeriesInstanceUID")
            if header is not None and header.uid("SOPInstanceUID") is None:
                raise UnsafeInputError(f"File {file.label} must state its SOPInstanceUID; it does not.")
            if header is not None and uid is None and header.text("SOPClassUID") != DICOMDIR_CLASS:
                raise UnsafeInputError(f"File {file.label} must state its SeriesInstanceUID; it does not.")
        except UnsafeInputError as error:
            damaged.append(Damaged(file.label, error, _series_named_by(file)))
            continue
        if header is None or uid is None:
            n_other += 1
        elif wanted is None or uid == wanted:
            series.setdefault(uid, []).append(header)
    if not series:
        if damaged:
            raise damaged[0].error
        raise InputError("The input must hold DICOM images; none was found.")
    if n_other and wanted is None:
        warnings = [*warnings, f"{n_other} files are not DICOM images and were passed over."]
    kept = {uid: _without_copies(headers, warnings) for uid, headers in series.items()}
    return Found(kept, tuple(warnings), tuple(damaged))


def _series_named_by(file: DicomFile) -> str | None:
    """SeriesInstanceUID that stands in the bytes of a file that cannot be parsed."""
    try:
        content = file.read_bytes()
    except UnsafeInputError:
        return None
    match = _SERIES_UID.search(content)
    if match is None:
        return None
    length = int.from_bytes(match["explicit"] or match["implicit"], "little")
    value = content[match.end() : match.end() + length].strip(b" \0")
    is_uid = match.end() + length <= len(content) and re.fullmatch(rb"[0-9.]{1,64}", value) is not None
    return value.decode() if is_uid else None


def _without_copies(headers: list[Header], warnings: list[str]) -> list[Header]:
    """Headers with one file for each SOPInstanceUID: a copy is dropped, a contradiction is set aside and said."""
    kept: dict[str, Header] = {}
    for header in headers:
        uid = header.uid("SOPInstanceUID") or ""
        if uid not in kept:
            kept[uid] = header
        elif _digest(header) != _digest(kept[uid]):
            warnings.append(
                f"File {header.label} has the SOPInstanceUID of {kept[uid].label} but other content; it was set aside."
            )
    return list(kept.values())


def _digest(header: Header) -> bytes:
    """Hash of a file's content."""
    return hashlib.sha256(header.file.read_bytes()).digest()


def is_directory(header: Header) -> bool:
    """Whether a file is a DICOMDIR, which lists others."""
    return header.text("SOPClassUID") == DICOMDIR_CLASS or bool(header.items("DirectoryRecordSequence"))


def _around(file: DicomFile) -> tuple[list[DicomFile], list[str], str | None]:
    """Files that one file stands for: those of a DICOMDIR, the slices of its series beside it, or itself."""
    header = parse(file)
    if header is None:
        raise InputError(f"The input must be DICOM; {file.label} is not.")
    if is_directory(header):
        return _directory_files(header), [], None
    if (header.integer("NumberOfFrames") or 1) > 1:
        return [file], [], None
    beside = [
        path
        for path in sorted(file.path.parent.iterdir())
        if path == file.path or inside(file.path.parent, [path.name]) is not None
    ]
    siblings = [
        DicomFile(pseudonym(path.name, number), path, number=number) for number, path in enumerate(beside, start=1)
    ]
    said = "One file was given; the slices of its series beside it were read with it."
    warnings = [said] if len(siblings) > 1 else []
    return siblings, warnings, header.uid("SeriesInstanceUID")


def _directory_files(header: Header) -> list[DicomFile]:
    """Files that a DICOMDIR lists; none may lie outside its folder.

    Raises
    ------
    UnsafeInputError
        If an entry leads out of the folder, is no plain file, or is missing.
    """
    root = header.file.path.parent
    files = []
    for index, record in enumerate(header.items("DirectoryRecordSequence")):
        parts = [part for part in record.texts("ReferencedFileID") if part]
        if not parts:
            continue
        target = inside(root, parts)
        if target is None:
            raise UnsafeInputError(f"Entry {index + 1} of the DICOMDIR must name a plain file below it; it does not.")
        files.append(DicomFile(pseudonym(target.name, index + 1), target, number=index + 1))
    if not files:
        raise InputError("The DICOMDIR must list files; it lists none.")
    return files
