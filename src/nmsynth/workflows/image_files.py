"""The files that prepared cases were made from, by size and time of change, so that a changed image is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.data.manifest import ManifestRow

RECORD = "images.json"
"""In a folder of prepared cases: the state of the files of each when it was prepared."""
_ROLES = ("source", "condition", "target", "mask")
"""Of the images that a case is prepared from."""


def files_state(rows: Sequence[ManifestRow], root: Path) -> str:
    """Hash of path, size and time of change of all files of a case: images, their sidecars, files of DICOM folders.

    Parameters
    ----------
    rows
        Of the case.
    root
        Folder that paths are relative to.
    """
    found = []
    for row in rows:
        if row.role in _ROLES:
            for path in _files_of(root / row.path):
                state = path.stat()
                found.append([path.relative_to(root).as_posix(), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()


def settle_states(folder: Path, states: Mapping[str, str], *, renew: bool) -> None:
    """Note the state of the files of each case, and remove prepared cases that were made from others.

    Cases that were prepared before states were noted count as made from the files that are there.

    Parameters
    ----------
    folder
        Of prepared cases.
    states
        Of each case, as :func:`files_state` gives them.
    renew
        Whether cases may be prepared again.

    Raises
    ------
    InputError
        If files have changed and cases may not be prepared again.
    """
    from nmsynth.io.atomic import atomic_file

    known = read_states(folder)
    there = [case for case in states if (folder / f"{case}.json").is_file()]
    changed = [case for case in there if known.get(case, states[case]) != states[case]]
    if changed and not renew:
        raise InputError(
            f"A training sees the images that it was begun with; those of '{changed[0]}' have changed since "
            f"({len(changed)} of {len(states)} cases). Begin anew with --restart, or in another folder."
        )
    old = [case for case in there if renew and not _is_current(folder / f"{case}.json")]
    for case in dict.fromkeys([*changed, *old]):
        (folder / f"{case}.json").unlink()
    now = {**known, **states}
    if now != known:
        # before anything is prepared: what is interrupted then lacks cases, and none has a state that is not its own
        with atomic_file(folder / RECORD, overwrite=True) as temporary:
            temporary.write_text(json.dumps({"schema_version": 1, "cases": now}) + "\n", encoding="utf-8")


def read_states(folder: Path) -> dict[str, str]:
    """State of the files of each prepared case, as far as it was noted."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {str(case): str(state) for case, state in found.items()} if isinstance(found, dict) else {}


def is_prepared(folder: Path, states: Mapping[str, str]) -> bool:
    """Whether all cases are there, made from the files that are there."""
    known = read_states(folder)
    return all(known.get(case) == state and (folder / f"{case}.json").is_file() for case, state in states.items())


def _files_of(path: Path) -> list[Path]:
    """Files of an image: itself and its sidecar, or all in its folder."""
    from nmsynth.io.sidecar import sidecar_path

    if path.is_dir():
        return [found for found in path.rglob("*") if found.is_file()]
    return [found for found in (path, sidecar_path(path)) if found.is_file()]


def _is_current(path: Path) -> bool:
    """Whether a case was prepared in the format of this version."""
    from nmsynth.data.prepared import SCHEMA_VERSION

    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["schema_version"] == SCHEMA_VERSION)
    except (ValueError, KeyError, TypeError):
        return False
