"""Values of one DICOM header, read strictly: a number is finite or it is absent."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import UnsafeInputError
from nmsynth.io.dicom_sources import DicomFile

if TYPE_CHECKING:
    from pydicom import Dataset

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "HH"}
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=False, eq=False)
class Header:
    """Header of one file, or one item of a sequence in it."""

    file: DicomFile
    dataset: Dataset
    transfer_syntax: str = "1.2.840.10008.1.2.1"
    pixel_offset: int = 0
    """Where the pixel data element starts in the (inflated) file."""
    inflated: bytes | None = None
    """Content of a deflated file."""

    @property
    def label(self) -> str:
        """Name of the file for messages."""
        return self.file.label

    def values(self, keyword: str | int) -> tuple[Any, ...]:
        """All values of an attribute, by keyword or tag: text as ``str``, numbers as they are; empty if absent."""
        try:
            element = self.dataset.get_item(_tag(keyword))
            return () if element is None else _values_of(element)
        except UnsafeInputError:
            raise
        except Exception as error:
            raise UnsafeInputError(f"File {self.label}: {keyword} must be readable; it is not.") from error

    def text(self, keyword: str | int) -> str | None:
        """First value as text without padding; ``None`` if absent or empty."""
        values = self.values(keyword)
        shown = str(values[0]).strip(" \0\t\r\n") if values else ""
        return shown or None

    def texts(self, keyword: str | int) -> tuple[str, ...]:
        """All values as text without padding."""
        return tuple(str(value).strip(" \0\t\r\n") for value in self.values(keyword))

    def label_text(self, keyword: str) -> str | None:
        """Free text in the character set that the file states; ``None`` if absent or empty."""
        try:
            shown = str(self.dataset.get(keyword, "") or "").strip(" \0")
        except Exception:  # noqa: BLE001  (an unknown character set must not stop the reading)
            return self.text(keyword)
        return shown or None

    def numbers(self, keyword: str | int) -> tuple[float, ...]:
        """All values as finite numbers.

        Raises
        ------
        UnsafeInputError
            If one is not a number with a decimal point, or not finite.
        """
        found = []
        for value in self.values(keyword):
            if isinstance(value, str):
                value = value.strip(" \0")
                if not value:
                    continue
                number = float(value) if _NUMBER.fullmatch(value) else math.nan
            else:
                number = float(value)
            if not math.isfinite(number):
                raise UnsafeInputError(f"File {self.label}: {keyword} must be a finite number; it is not.")
            found.append(number)
        return tuple(found)

    def number(self, keyword: str | int) -> float | None:
        """First value as a finite number; ``None`` if absent or empty."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers else None

    def integer(self, keyword: str | int) -> int | None:
        """First value as an integer; ``None`` if absent or empty."""
        number = self.number(keyword)
        if number is not None and number != int(number):
            raise UnsafeInputError(f"File {self.label}: {keyword} must be an integer; it is not.")
        return None if number is None else int(number)

    def uid(self, keyword: str) -> str | None:
        """Unique identifier; ``None`` if absent.

        Raises
        ------
        UnsafeInputError
            If it is anything but digits and dots, or longer than 64 characters.
        """
        shown = self.text(keyword)
        if shown is not None and not _UID.fullmatch(shown):
            raise UnsafeInputError(f"File {self.label}: {keyword} must be digits and dots, 64 at most; it is not.")
        return shown

    def items(self, keyword: str) -> tuple[Header, ...]:
        """Items of a sequence; empty if absent."""
        try:
            sequence = self.dataset.get(keyword) or ()
            return tuple(
                Header(self.file, item, self.transfer_syntax) for item in sequence if hasattr(item, "get_item")
            )
        except RecursionError as error:
            raise UnsafeInputError(f"File {self.label} must not nest sequences so deep; it was not read.") from error
        except Exception as error:
            raise UnsafeInputError(f"File {self.label}: {keyword} must be a sound sequence; it is not.") from error

    def private(self, group: int, creator: str, element: int) -> tuple[Any, ...]:
        """Values of a private element, found by its creator and never by a fixed block."""
        for block in range(0x10, 0x100):
            if (group, block) in self.dataset and self.text(group << 16 | block) == creator:
                return self.values(group << 16 | block << 8 | element)
        return ()

    def private_reserved(self, group: int) -> bool:
        """Whether any block of a private group is reserved by a creator."""
        return any((group, block) in self.dataset for block in range(0x10, 0x100))

    @cached_property
    def zone(self) -> timezone | None:
        """Zone of dates and times without one of their own, from TimezoneOffsetFromUTC."""
        return parse_zone(self.text("TimezoneOffsetFromUTC"))

    def day(self, keyword: str) -> date | None:
        """Date; ``None`` if absent or malformed."""
        shown = (self.text(keyword) or "").replace(".", "")
        try:
            return datetime.strptime(shown, "%Y%m%d").date()
        except ValueError:
            return None

    def clock(self, keyword: str) -> time | None:
        """Time of day; ``None`` if absent or malformed."""
        return parse_time(self.text(keyword))

    def moment(self, day: str, clock: str, combined: str | None = None) -> datetime | None:
        """Date and time from two attributes, else from a combined one; with the zone of the file if stated."""
        found_day, found_time = self.day(day), self.clock(clock)
        if found_day is not None and found_time is not None:
            return datetime.combine(found_day, found_time, tzinfo=self.zone)
        return self.on_own_clock(self.text(combined)) if combined else None

    def on_own_clock(self, text: str | None) -> datetime | None:
        """Date and time of a DICOM DT on the clock of the file; ``None`` if only the DT states a zone."""
        found, zone = parse_datetime(text)
        if found is None or self.zone is None:
            return None if zone is not None else found
        return found.replace(tzinfo=zone or self.zone).astimezone(self.zone)


def parse_time(text: str | None) -> time | None:
    """Time of day from a DICOM TM, also with colons as in its oldest form.

    Examples
    --------
    >>> parse_time("112011.5")
    datetime.time(11, 20, 11, 500000)
    """
    match = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?", (text or "").replace(":", ""))
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        return time(int(hour), int(minute or 0), min(int(second or 0), 59), int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def parse_zone(text: str | None) -> timezone | None:
    """Zone from ``+0100``; ``None`` if malformed."""
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", text or "")
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def parse_datetime(text: str | None) -> tuple[datetime | None, timezone | None]:
    """Date and time from a DICOM DT, and its own zone if it has one.

    Examples
    --------
    >>> parse_datetime("20250101100000.0")[0]
    datetime.datetime(2025, 1, 1, 10, 0)
    """
    match = re.fullmatch(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?", text or "")
    if match is None:
        return None, None
    clock = parse_time(match[2])
    try:
        day = datetime.strptime(match[1], "%Y%m%d")
    except ValueError:
        return None, None
    return (None if clock is None else datetime.combine(day.date(), clock)), parse_zone(match[3])


@lru_cache(maxsize=512)
def _tag(keyword: str | int) -> Any:
    """Tag of a keyword."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return Tag(keyword if isinstance(keyword, int) else tag_for_keyword(keyword) or 0)


def _values_of(element: Any) -> tuple[Any, ...]:
    """Values of an element: parsed here from bytes where pydicom has not converted it."""
    value = element.value
    if isinstance(value, bytes):
        return _unpacked(element, value)
    if value is None or (isinstance(value, str) and not value):
        return ()
    if isinstance(value, str | int | float):
        return (value,)
    if hasattr(value, "__iter__") and hasattr(value, "__len__"):
        return tuple(value)
    return (value,)


def _unpacked(element: Any, value: bytes) -> tuple[Any, ...]:
    """Values of raw bytes, by the VR in the file or, in implicit VR, in the dictionary."""
    vr = element.VR
    if vr in (None, "UN"):
        from pydicom.datadict import dictionary_has_tag, dictionary_VR

        vr = dictionary_VR(element.tag)[:2] if dictionary_has_tag(element.tag) else "LO"
    if vr in _BINARY:
        little = getattr(element, "is_little_endian", True)
        size = struct.calcsize("=" + _BINARY[vr])
        form = ("<" if little else ">") + _BINARY[vr] * (len(value) // size)
        numbers = struct.unpack(form, value[: len(value) // size * size])
        if vr == "AT":
            return tuple(group << 16 | number for group, number in zip(numbers[::2], numbers[1::2], strict=True))
        return numbers
    text = value.decode("latin-1")
    return tuple(text.split("\\")) if text.strip(" \0") else ()
