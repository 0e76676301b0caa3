"""Models of a public hub, from its local cache: nothing is downloaded, and no library of the hub is needed.

The layout is that of ``huggingface_hub``: ``models--OWNER--NAME/refs/REVISION`` holds a commit, and
``models--OWNER--NAME/snapshots/COMMIT`` the files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from nmsynth.core.errors import InputError
from nmsynth.models.envelope import printable

HUB_PREFIX = "hub:"
"""Begins the name of a model that is looked for in the cache of the hub."""
DEFAULT_REVISION = "main"
MAX_REFERENCE_BYTES = 200

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REVISION = r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*"
_NAME = re.compile(rf"hub:(?P<owner>{_PART})/(?P<name>{_PART})(?:@(?P<revision>{_REVISION}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_cache() -> Path:
    """Folder of the cache, as ``HF_HUB_CACHE``, ``HF_HOME`` or ``XDG_CACHE_HOME`` say, in that order."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface" / "hub"


def find_in_hub_cache(name: str) -> Path:
    """Folder of a model's files in the cache.

    Parameters
    ----------
    name
        ``hub:OWNER/NAME``, or ``hub:OWNER/NAME@REVISION`` for a branch, a tag or a whole commit.

    Raises
    ------
    InputError
        If the name is no such name, or the model is not in the cache; the message says how to fetch it.
    """
    found = _NAME.fullmatch(name)
    if found is None or ".." in name or "--" in found["owner"] + found["name"]:
        raise InputError(
            f"A model of a hub is named hub:OWNER/NAME[@REVISION]; found {printable(name)}. Correct the name."
        )
    revision = found["revision"] or DEFAULT_REVISION
    folder = hub_cache() / f"models--{found['owner']}--{found['name']}"
    commit = revision if _COMMIT.fullmatch(revision) else _commit_of(folder / "refs" / revision)
    snapshot = folder / "snapshots" / commit if commit else None
    if snapshot is None or not snapshot.is_dir():
        asked = f"{found['owner']}/{found['name']}"
        raise InputError(
            f"The model {printable(asked, length=200)} at revision {printable(revision)} must be in the local cache of "
            f"the hub; it is not, and nothing is downloaded. Fetch it where there is a network: hf download {asked} "
            f"--revision {revision}"
        )
    return snapshot


def _commit_of(reference: Path) -> str | None:
    """Commit that a file of the cache names, if it is one."""
    if not reference.is_file() or reference.stat().st_size > MAX_REFERENCE_BYTES:
        return None
    text = reference.read_text(encoding="utf-8", errors="replace").strip()
    return text if _COMMIT.fullmatch(text) else None
