"""Whether the disk has room, asked before time is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

from nmsynth.core.errors import InputError


def check_room(folder: Path, needed_bytes: float, *, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Raises
    ------
    InputError
        If less than needed is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"{what} need about {needed_bytes / 1e9:.2g} GB; the disk has {free / 1e9:.2g} GB free. Free space or "
            "choose another output folder."
        )
