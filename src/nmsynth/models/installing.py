"""Packages that come from elsewhere, put where models are found; and packages put up for others.

Of a folder or zip only the card and the weights are read, after their names and sizes are checked; nothing is unpacked
to disk before both hold. A pickle, or an archive with one, is refused unread.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models.card import NAME_PATTERN, Card
from nmsynth.models.envelope import printable
from nmsynth.models.package import (
    CARD_FILE,
    CARD_PAGE,
    MAX_CARD_BYTES,
    MAX_WEIGHTS_BYTES,
    PICKLE_SUFFIXES,
    WEIGHTS_FILE,
    check_replaceable,
    checked_weights,
    parse_card,
    read_card,
    read_weights,
    refuse_other_format,
    write_files,
)

MAX_ENTRIES = 64
"""Files that a zip of a package may hold."""
ZIP_TIME = (2020, 1, 1, 0, 0, 0)
"""Time of every file of a zip, so that one package always gives the same bytes."""


def import_package(
    path: Path | str,
    models: Path,
    *,
    name: str | None = None,
    taken: Collection[str] = (),
    overwrite: bool = False,
) -> Path:
    """Check a package and put it into a folder of models.

    Parameters
    ----------
    path
        Folder or zip of a package.
    models
        Folder that gets it, made where it is not there.
    name
        By which it is loaded; that of the card by default.
    taken
        Names that it cannot have.
    overwrite
        Replace a package of that name.

    Returns
    -------
        Folder of the package.

    Raises
    ------
    InputError
        If there is no package at the path, or one of that name is there already.
    UnsafeInputError
        If it is a pickle, damaged or changed, or a zip with names or sizes that no package has.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"A package to import must be a folder or a zip; {printable(path.name)} does not exist.")
    if path.is_file() and path.suffix.lower() != ".zip":
        refuse_other_format(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        card, weights = _read_zip(path)
    else:
        card = read_card(path)
        weights = read_weights(path, card)
    chosen = name if name is not None else card.name
    if not NAME_PATTERN.fullmatch(chosen) or ".." in chosen or chosen.endswith("."):
        raise InputError(
            f"A model's name is 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit; found {printable(chosen)}."
        )
    if chosen in taken:
        raise InputError(f"A model named {chosen} ships with nmsynth and is found first. Give yours another name.")
    folder = models / chosen
    check_replaceable(folder, overwrite=overwrite)
    write_files(folder, weights, card)
    return folder


def export_package(path: Path, output: Path, *, overwrite: bool = False) -> Card:
    """Copy a package whose weights are whole, to a folder, or to a zip where the name ends so.

    Raises
    ------
    InputError
        If the output exists and ``overwrite`` is not set.
    UnsafeInputError
        If the package is damaged or changed.
    """
    card = read_card(path)
    weights = read_weights(path, card)
    if output.suffix.lower() != ".zip":
        check_replaceable(output, overwrite=overwrite)
        write_files(output, weights, card)
        return card
    if output.exists() and not (overwrite and output.is_file()):
        raise InputError(
            f"The output {printable(output.name)} must not exist; it does. Choose another or overwrite it."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for file, content in (
                (CARD_FILE, card.model_dump_json(indent=2).encode() + b"\n"),
                (CARD_PAGE, card.to_markdown().encode()),
                (WEIGHTS_FILE, weights),
            ):
                archive.writestr(zipfile.ZipInfo(f"{card.name}/{file}", ZIP_TIME), content)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return card


def _read_zip(path: Path) -> tuple[Card, bytes]:
    """Card and weights of a zip, read only after its list of names was found to be that of a package."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _package_entries(archive, path.name)
            card = entries[CARD_FILE]
            if card.file_size > MAX_CARD_BYTES or entries[WEIGHTS_FILE].file_size > MAX_WEIGHTS_BYTES:
                raise UnsafeInputError("A card must be under 4 MiB and weights under 4 GiB; the zip claims more.")
            with archive.open(card) as stream:  # no more than it claims is ever read
                found = parse_card(stream.read(card.file_size), printable(path.name))
            with archive.open(entries[WEIGHTS_FILE]) as stream:
                return found, checked_weights(stream, entries[WEIGHTS_FILE].file_size, found)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise UnsafeInputError(
            f"The package {printable(path.name)} must be a whole zip; it is not ({type(error).__name__}). Get it again."
        ) from None


def _package_entries(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Card and weights among the entries of a zip, whose names are all those of plain files below one folder."""
    entries: dict[str, zipfile.ZipInfo] = {}
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise UnsafeInputError(f"A zipped package holds at most {MAX_ENTRIES} files; found {len(listed)}.")
    for entry in listed:
        place = PurePosixPath(entry.filename)
        outside = place.is_absolute() or ".." in place.parts or "\\" in entry.filename or ":" in entry.filename
        linked = stat.S_ISLNK(entry.external_attr >> 16)
        if outside or linked:
            raise UnsafeInputError(
                f"A zipped package holds plain files below its own folder; found {printable(entry.filename)}. "
                "It was not unpacked: do not use it."
            )
        if place.suffix.lower() in PICKLE_SUFFIXES:
            raise UnsafeInputError(
                f"Weights are read from safetensors only; the zip holds {printable(place.name)}, which can run "
                "programs when opened, and nothing of it was read."
            )
        if place.name in (CARD_FILE, WEIGHTS_FILE) and len(place.parts) <= 2 and not entry.is_dir():
            if place.name in entries or entry.flag_bits & 1:
                raise UnsafeInputError(f"A zipped package holds {place.name} once and not encrypted; it does not.")
            entries[place.name] = entry
    missing = [file for file in (CARD_FILE, WEIGHTS_FILE) if file not in entries]
    if missing:
        raise InputError(
            f"A zipped package holds {CARD_FILE} and {WEIGHTS_FILE}; {printable(name)} has no {missing[0]}."
        )
    return entries
