"""A finished file or folder takes the place of an older one, which is lost only when the new one is there."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

_MAX_NAME_BYTES = 80
"""Of the target's name that a temporary name begins with; file systems allow 255 bytes of a whole name."""


def temporary_sibling(target: Path) -> Path:
    """Hidden path beside the target, on the same file system, that is not there yet.

    Examples
    --------
    >>> temporary_sibling(Path("scan")).name[:6], len(temporary_sibling(Path("å" * 120)).name.encode())
    ('.scan.', 102)
    """
    start = target.name.encode("utf-8", "surrogateescape")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return target.with_name(f".{start}.{secrets.token_hex(6)}.partial")


def put_in_place(new: Path, target: Path) -> None:
    """Put a finished file or folder at a target, on the same file system, in place of what is there.

    An older folder is moved aside first, comes back if the last move fails, and is deleted when all is well.

    Parameters
    ----------
    new
        What is finished; afterwards it is at ``target``.
    target
        Where it goes, with its links resolved.

    Raises
    ------
    OSError
        If the system refuses; the older one is then where it was.
    """
    if not target.is_dir():
        new.replace(target)
        return
    old = temporary_sibling(target)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file of text whole or not at all, in place of what is there.

    Raises
    ------
    OSError
        If the system refuses; an older file is then as it was.
    """
    new = temporary_sibling(path)
    try:
        new.write_text(text, encoding="utf-8")
        put_in_place(new, path)
    finally:
        new.unlink(missing_ok=True)
