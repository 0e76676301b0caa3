"""Files of a training that are whole at any moment, whatever kills the process, and clear words when a disk is full."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.io.atomic import sync_directory, sync_file

SCHEMA_VERSION = 1


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside a file, put it on the disk, then rename, so that a kill at any moment leaves a whole file.

    Raises
    ------
    InputError
        If the disk is full.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        sync_file(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        # torch reports a failed write as a RuntimeError
        full = getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(path.parent).free < 2**16
        if not full:
            raise
        raise disk_full(path.name) from error


def disk_full(what: str) -> InputError:
    """What to say when there is no room."""
    return InputError(
        f"The disk of the training must have room for '{what}'; it is full. Free space and run the same command: "
        "it goes on from the last checkpoint."
    )


def save_tensors(path: Path, content: Any) -> None:
    """Save tensors and plain values, whole or not at all."""
    replace_file(path, lambda temporary: torch.save(content, temporary))


def save_json(path: Path, content: Any) -> None:
    """Save JSON, whole or not at all."""
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


def load_tensors(path: Path) -> Any:
    """Tensors and plain values; no code is run from the file.

    Raises
    ------
    UnsafeInputError
        If the file is damaged or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise UnsafeInputError(
            f"'{path.name}' of a training must be as nmsynth wrote it; it cannot be read. Remove it to begin that "
            "stage anew."
        ) from error
