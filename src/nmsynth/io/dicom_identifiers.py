"""New DICOM UIDs and series numbers."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection

from nmsynth.core.errors import UnsafeInputError

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_FIRST_SERIES_NUMBER = 10_000
_SERIES_NUMBERS = 80_000


def new_uid(seed: str | None = None) -> str:
    """UID under ``2.25``, of a random UUID or of one made from a text.

    Examples
    --------
    >>> new_uid("a") == new_uid("a"), new_uid("a") == new_uid("b"), new_uid("a")[:5]
    (True, False, '2.25.')
    """
    if seed is None:
        return f"2.25.{uuid.uuid4().int}"
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(seed.encode()).digest()[:16], version=5).int}"


def unused_series_number(series_uid: str, used: Collection[int]) -> int:
    """Series number between 10000 and 89999 that follows from the new series and is not among those in use."""
    start = int(hashlib.sha256(series_uid.encode()).hexdigest(), 16) % _SERIES_NUMBERS
    taken = set(used)
    for step in range(len(taken) + 1):
        number = _FIRST_SERIES_NUMBER + (start + step) % _SERIES_NUMBERS
        if number not in taken:
            return number
    return _FIRST_SERIES_NUMBER + _SERIES_NUMBERS + len(taken)


def checked_uid(value: object, keyword: str) -> str:
    """The value, if it consists of digits and dots and has at most 64 characters.

    Raises
    ------
    UnsafeInputError
        If it does not; the value itself is not repeated.
    """
    text = str(value or "")
    if len(text) > 64 or not _UID.fullmatch(text):
        raise UnsafeInputError(
            f"{keyword} of the source must be a DICOM UID (digits and dots, at most 64); it is not. "
            "Nothing was written. Export the series again."
        )
    return text
