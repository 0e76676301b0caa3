"""Strings and numbers as a report prints them."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from markupsafe import Markup

MAX_TEXT = 2000
"""Longest string that a report prints, in characters."""

MISSING = "–"
"""What stands where there is no value."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: str, *, limit: int = MAX_TEXT) -> str:
    r"""Put text on one line: control, format and bidirectional characters are shown as escapes, length is bounded.

    Examples
    --------
    >>> clean("a" + chr(10) + "b" + chr(27) + "[31m")
    'a\\x0ab\\x1b[31m'
    """
    shown = text if len(text) <= limit else text[:limit] + "…"
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in shown)


def _escape(character: str) -> str:
    """Escape of one character, such as a backslash, x and two digits."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def clean_for_picture(text: str, *, limit: int = 40) -> str:
    """Clean a text and replace characters that the font of the pictures lacks by a question mark.

    Examples
    --------
    >>> clean_for_picture("Gaußfilter 画像")
    'Gaußfilter ??'
    """
    shown = clean(text)
    shown = "".join(c if ord(c) < 256 or c in "–—−×±µ≥≤σ…" else "?" for c in shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def number(value: Any, *, digits: int = 3) -> str:
    """Print a number with a fixed count of significant digits; a dash where it is missing or not finite.

    Examples
    --------
    >>> number(0.123456), number(12345.6), number(None), number(float("nan")), number(-0.0)
    ('0.123', '12 346', '–', '–', '0')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or not isinstance(value, (int, float)):
        return MISSING if value is None else clean(str(value))
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ").replace("-", "−")
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{places}f}".replace("-", "−")


def percent(fraction: float | None, *, signed: bool = True) -> str:
    """Print a fraction as per cent with one decimal.

    Examples
    --------
    >>> percent(0.0512), percent(-0.3, signed=True), percent(-1e-5), percent(None)
    ('+5.1 %', '−30.0 %', '0.0 %', '–')
    """
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    shown = f"{100.0 * fraction:+.1f} %" if signed else f"{100.0 * fraction:.1f} %"
    return "0.0 %" if shown in ("+0.0 %", "-0.0 %") else shown.replace("-", "−")


def printable(value: Any) -> Any:
    """Say what a template prints for a value: markup as it is, anything else as clean text."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return MISSING
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (int, float)):
        return number(value)
    return clean(str(value))
