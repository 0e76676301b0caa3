"""The table of a dataset: which image plays which part in which case."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from nmsynth.core.errors import InputError
from nmsynth.data.manifest_toml import CONDITION, read_toml_table

ROLES = ("source", "condition", "target", "truth", "reference", "mask", "anatomy", "data")
"""What an image is for: what a model gets; what it also gets where there is one; what it should give; the true activity
(T0); another image to compare with; labels; CT, MR or attenuation; counts or tables that are no image."""
SPLITS = ("train", "validation", "test")
LONGEST_CASE = 200
"""Characters of the name of a case."""
FILE_NAME = "manifest.csv"
TOML_NAME = "manifest.toml"


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of a case."""

    case: str
    """Pseudonym of the case."""
    subject: str
    """Pseudonym of the patient, who stands in one split only."""
    split: str
    role: str
    name: str
    """What tells images of one role apart, such as ``lesions`` of the masks."""
    path: str
    """Relative to the manifest, with slashes; a file, or a folder of DICOM files."""
    count_fraction: float | None = None
    """Counts of a scan over those of the full scan; empty where it is no scan."""
    modality: str = ""
    unit: str = ""
    conditions: tuple[tuple[str, str], ...] = ()
    """Facts of the scan that a network is told, by name: the columns ``condition.NAME``."""
    view: int | None = None
    """Which of several planar views, from 1: the image is then that one, as a single slice."""

    @property
    def facts(self) -> dict[str, str]:
        """Conditions that are said, by name."""
        return {name: value for name, value in self.conditions if not is_unsaid(value)}

    @property
    def channel(self) -> str:
        """Which input of a model a source is: scans that differ in their counts are one input, at several levels."""
        if self.count_fraction is None and self.name:
            return self.name
        return short_name(self.modality) or "source"


def is_unsaid(text: str) -> bool:
    """Whether a cell says nothing: it is empty, ``NA``, ``N/A`` or ``nan``.

    Examples
    --------
    >>> is_unsaid(" NaN "), is_unsaid("0")
    (True, False)
    """
    return text.strip().casefold() in _UNSAID


_UNSAID = ("", "na", "n/a", "nan")


def short_name(modality: str) -> str:
    """A modality as people write it.

    Examples
    --------
    >>> short_name("PT"), short_name("CT")
    ('pet', 'ct')
    """
    return _SHORT_NAMES.get(modality.upper(), modality.lower())


_SHORT_NAMES = {"PT": "pet", "MR": "mr", "CT": "ct", "NM": "nm"}
_VIEW, _BEYOND = "view", ""
"""Column of a view; what cells beyond the last column are called."""
_COLUMNS = tuple(f.name for f in fields(ManifestRow) if f.name not in ("conditions", _VIEW))
_REQUIRED = ("case", "subject", "split", "role", "path")


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest, in the order given."""
    rows = list(rows)
    told = list(dict.fromkeys(name for row in rows for name, _ in row.conditions))
    columns = (*_COLUMNS, _VIEW) if any(row.view is not None for row in rows) else _COLUMNS
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*columns, *(CONDITION + name for name in told)])
        for row in rows:
            conditions = dict(row.conditions)
            values = [*(getattr(row, name) for name in columns), *(conditions.get(name) for name in told)]
            writer.writerow("" if v is None else f"{v:.9g}" if isinstance(v, float) else v for v in values)


def manifest_file(path: Path) -> Path:
    """The manifest at a path: the file itself, or ``manifest.csv`` or ``manifest.toml`` in a folder.

    Raises
    ------
    InputError
        If there is none; of a BIDS dataset the message says how to make one.
    """
    path = Path(path)
    if path.is_dir():
        found = next((path / name for name in (FILE_NAME, TOML_NAME) if (path / name).is_file()), None)
        if found is None:
            kind = "A BIDS dataset" if (path / "dataset_description.json").is_file() else "A folder of images"
            raise InputError(
                f"A dataset needs its manifest; '{FILE_NAME}' is not there, nor '{TOML_NAME}'. {kind} gets one by "
                "'nmsynth dataset make FOLDER --source ... --target ...'."
            )
        return found
    if not path.is_file():
        raise InputError(f"A dataset needs its manifest; '{path.name}' is not there. Give the file or its folder.")
    return path


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a manifest and check it before any image is opened.

    Parameters
    ----------
    path
        The CSV or TOML file, or the folder that holds ``manifest.csv`` or ``manifest.toml``. In CSV, columns ``case``,
        ``subject``, ``role`` and ``path`` must be there; ``split``, ``name``, ``count_fraction``, ``modality``,
        ``unit``, ``view`` and ``condition.NAME`` may; others are not read, nor are lines of empty cells. A condition
        that is empty, ``NA``, ``N/A`` or ``nan`` is unsaid. TOML is described in :mod:`nmsynth.data.manifest_toml`.
        Without any ``split`` all is for training, which then chooses subjects for validation itself.

    Raises
    ------
    InputError
        For the first row that does not fit: an unknown role or split, a case that cannot be the name of a file, a
        missing file, a path out of the dataset's folder, a subject in two splits.
    """
    path = manifest_file(path)
    table = read_toml_table(path) if path.suffix.lower() == ".toml" else _csv_table(path)
    rows = [_row(values, where, path.parent) for where, values in table]
    _check_splits(rows)
    return rows


def _csv_table(path: Path) -> list[tuple[str, dict[str, str | None]]]:
    """Values of each row of a CSV manifest, and what a message calls the row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restkey=_BEYOND)
            table = [(reader.line_num, values) for values in reader if not _is_empty(values)]
            columns = reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"A manifest must be CSV in UTF-8; '{path.name}' is not. Save it again.") from error
    missing = [name for name in _REQUIRED if not table or (name not in columns and name != "split")]
    if missing:
        needed = ", ".join(name for name in _REQUIRED if name != "split")
        raise InputError(f"A manifest needs a row and the columns {needed}; missing: {', '.join(missing)}.")
    whole = {"split": "train"} if "split" not in columns else {}
    return [(f"Line {number} of the manifest", values | whole) for number, values in table]


def _is_empty(values: Mapping[str, object]) -> bool:
    """Whether a line has nothing but separators, as tables saved by Excel often have at their end."""
    cells = (value if isinstance(value, list) else [value] for value in values.values())
    return not any(str(v or "").strip() for cell in cells for v in cell)


def by_case(rows: Iterable[ManifestRow]) -> dict[str, list[ManifestRow]]:
    """Rows of each case, in the order of the manifest."""
    cases: dict[str, list[ManifestRow]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    return cases


def _row(values: Mapping[str, str | None], where: str, folder: Path) -> ManifestRow:
    """A row, or what is wrong with it."""
    text = {name: (values.get(name) or "").strip() for name in _COLUMNS}
    for name in _REQUIRED:
        if not text[name]:
            raise InputError(f"{where} needs a value for '{name}'; it is empty. Fill it in.")
    for name, allowed in (("role", ROLES), ("split", SPLITS)):
        if text[name] not in allowed:
            raise InputError(f"{where}: '{name}' must be one of {', '.join(allowed)}; found '{text[name]}'.")
    _check_names(where, text["case"], text["path"], folder)
    fraction = None
    if text["count_fraction"]:
        try:
            fraction = float(text["count_fraction"])
        except ValueError:
            fraction = -1.0
        if not 0 < fraction <= 1:
            raise InputError(
                f"{where}: a count fraction must lie above 0 and at most at 1; found '{text['count_fraction']}'."
            )
    conditions = tuple(
        (key.removeprefix(CONDITION), value.strip())
        for key, value in values.items()
        if key and key.startswith(CONDITION) and value and not is_unsaid(value)
    )
    view = (values.get(_VIEW) or "").strip()
    if view and not (view.isdecimal() and int(view) > 0):
        raise InputError(f"{where}: a view is a number from 1; found '{view}'.")
    known = {"count_fraction": fraction, "conditions": conditions, "view": int(view) if view else None}
    return ManifestRow(**{**text, **known})  # type: ignore[arg-type]


def _check_names(where: str, case: str, path: str, folder: Path) -> None:
    """Refuse a case that cannot be the name of a file, and an image that is not there or not below the manifest."""
    if case.startswith(".") or any(c in "/\\" or not c.isprintable() for c in case) or len(case) > LONGEST_CASE:
        raise InputError(
            f"{where}: a case is the name of files, without / and \\, not beginning with a dot, of at most "
            f"{LONGEST_CASE} characters; found {case!r:.80}. Rename it."
        )
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts:
        raise InputError(
            f"{where}: a path must lie below the manifest's folder; found one that does not. Move the data."
        )
    if (folder / inside).exists():
        return
    if "\\" in path:
        name = path.rpartition("\\")[2]
        raise InputError(
            f"{where}: a path is written with slashes; that of '{name}' of case '{case}' has backslashes. Replace them "
            "by /."
        )
    raise InputError(f"{where}: the image '{inside.name}' of case '{case}' is not there. Put it back.")


def _check_splits(rows: Iterable[ManifestRow]) -> None:
    """Refuse a subject in two splits."""
    seen: dict[str, str] = {}
    for row in rows:
        if seen.setdefault(row.subject, row.split) != row.split:
            raise InputError(
                f"A subject must stand in one split only; '{row.subject}' is in '{seen[row.subject]}' and "
                f"'{row.split}'. Move all of its cases to one."
            )
