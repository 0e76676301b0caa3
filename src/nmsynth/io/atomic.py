"""Output that appears complete or not at all: temporary sibling, fsync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, NumericalError
from nmsynth.core.replacement import put_in_place, temporary_sibling


def check_finite(values: npt.ArrayLike) -> None:
    """Refuse to write an image with NaN or infinity.

    Raises
    ------
    NumericalError
        If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise NumericalError("An image must hold finite values; found NaN or infinity. Nothing was written.")


def check_output(path: Path, *, overwrite: bool, is_directory: bool) -> Path:
    """Absolute path of an output that may be written.

    Parameters
    ----------
    path
        Output file or folder; links in it are followed.
    overwrite
        Whether an existing output may be replaced.
    is_directory
        Whether the output is a folder. An empty folder counts as absent.

    Raises
    ------
    InputError
        If the output exists and ``overwrite`` is false, is of the other kind, or its parent is no folder.
    """
    target = path.resolve()
    if target.parent.exists() and not target.parent.is_dir():
        raise InputError("The parent of an output must be a folder; it is a file. Choose another output path.")
    if not target.exists():
        return target
    if target.is_dir() != is_directory or not (target.is_dir() or target.is_file()):
        wanted = "folder" if is_directory else "file"
        raise InputError(f"The output must be a {wanted}; something else is at that path. Choose another output path.")
    if overwrite or (is_directory and not any(target.iterdir())):
        return target
    raise InputError("The output must not exist; something is there already. Choose another path or allow overwriting.")


def sync_file(path: Path) -> None:
    """Ask the system to put a written file on the disk."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Ask the system to put the names in a folder on the disk, where it can."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writing_failed(error: OSError) -> InputError:
    """Explain a failed write without naming a path."""
    return InputError(
        f"The output must be writable and have room; writing failed: {error.strerror or type(error).__name__}. "
        "Nothing was left at the output path. Free space or choose another path."
    )


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path; when the block ends without an error it becomes ``path``.

    Raises
    ------
    InputError
        If the output exists and ``overwrite`` is false, or the disk refuses.
    """
    target = check_output(path, overwrite=overwrite, is_directory=False)
    temporary = temporary_sibling(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync_file(temporary)
        temporary.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise _writing_failed(error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(
    path: Path, *, overwrite: bool = False, may_replace: Callable[[Path], bool] = lambda _: True
) -> Iterator[Path]:
    """Give a temporary folder; when the block ends without an error it becomes ``path``.

    An old folder is moved aside only after the new one is complete, and comes back if the last
    rename fails.

    Parameters
    ----------
    path
        Output folder.
    overwrite
        Whether an existing folder may be replaced.
    may_replace
        Told the existing folder; false keeps it, so that only nmsynth's own output is ever deleted.

    Raises
    ------
    InputError
        If the output exists and may not be replaced, or the disk refuses.
    """
    target = check_output(path, overwrite=overwrite, is_directory=True)
    if target.exists() and any(target.iterdir()) and not may_replace(target):
        raise InputError(
            "Only a series written by nmsynth may be overwritten; the folder holds other files. "
            "Choose another output folder."
        )
    temporary = temporary_sibling(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_directory(temporary)
        put_in_place(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        raise _writing_failed(error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
