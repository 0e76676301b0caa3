"""Logging through the standard library: stderr and, if asked, a file; never stdout."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TextIO

from nmsynth.core.errors import InputError

ROOT_LOGGER = "nmsynth"
"""Logger that all of the package's loggers stand under."""


def escape(text: str) -> str:
    r"""Text with control characters written out, so that input cannot forge lines or colours.

    Examples
    --------
    >>> escape("series\n\x1b[31mred")
    'series\\n\\x1b[31mred'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class EscapingFormatter(logging.Formatter):
    """One line a record, control characters escaped; a traceback keeps its lines, each escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        message = escape(record.getMessage())
        stamp = self.formatTime(record, self.datefmt) + " " if self.usesTime() else ""
        line = f"{stamp}{record.levelname.lower()}: {message}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join("\n" + escape(part) for part in trace.splitlines())
        return line


def configure_logging(
    *, verbosity: int = 0, quiet: bool = False, log_file: Path | None = None, stream: TextIO | None = None
) -> None:
    """Send the package's log to stderr and, where given, to a file.

    Parameters
    ----------
    verbosity
        0 shows warnings, 1 information, 2 debugging.
    quiet
        Show errors only.
    log_file
        File that receives information and more, whatever is shown; it is appended to.
    stream
        Where to show; stderr by default.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    logger = logging.getLogger(ROOT_LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    shown = logging.ERROR if quiet else max(logging.DEBUG, logging.WARNING - 10 * verbosity)
    console = logging.StreamHandler(stream or sys.stderr)
    console.setLevel(shown)
    console.setFormatter(EscapingFormatter("%(message)s"))
    logger.addHandler(console)
    if log_file is not None:
        try:
            to_file = logging.FileHandler(log_file, encoding="utf-8")
        except OSError as error:
            raise InputError(f"The log file '{log_file}' cannot be opened: {error.strerror}. Pass another.") from error
        to_file.setLevel(min(logging.INFO, shown))
        to_file.setFormatter(EscapingFormatter("%(asctime)s %(message)s"))
        logger.addHandler(to_file)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
