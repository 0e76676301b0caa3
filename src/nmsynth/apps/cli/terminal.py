"""What the commands print: results on stdout, progress on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmsynth.core.log import escape

if TYPE_CHECKING:
    from nmsynth.core.progress import Progress

PROGRESS_AFTER_S = 2.0
"""A bar is drawn for what takes longer [s]."""
FILE_COLUMNS = 200
"""Characters in a line of a table that is written to a file or a pipe."""
PROGRESS_STEP = 0.02
"""Share of the work after which progress is told again in lines."""
PROGRESS_LINE_S = 60.0
"""Time after which it is told again, where the share moves slowly [s]."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Prints results; draws progress unless quiet."""

    quiet: bool = False

    @property
    def width(self) -> int:
        """Characters in a line of a table: those of the terminal, and enough where it is none."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else FILE_COLUMNS

    def print_json(self, value: Any) -> None:
        """Print a JSON document; NaN and infinity are refused."""
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def print_line(self, text: str) -> None:
        """Print one line; control characters are escaped."""
        sys.stdout.write(escape(text) + "\n")

    def print_pairs(self, pairs: Mapping[str, Any], *, title: str | None = None) -> None:
        """Print names and values, one pair a line; a pair without a value is left out."""
        if title:
            self.print_line(title)
        shown = {name: value for name, value in pairs.items() if value is not None and value != ""}
        width = max((len(name) for name in shown), default=0)
        for name, value in shown.items():
            self.print_line(f"  {name:<{width}}  {text_of(value)}")

    def print_table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
        """Print a table; numbers stand to the right, at the width of the terminal, in full where it is no terminal."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        filled = [list(row) for row in rows]
        table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
        for index, column in enumerate(columns):
            numeric = index > 0 and all(_is_number(row[index]) for row in filled)
            table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
        for row in filled:
            table.add_row(*(Text(format_cell(value)) for value in row))
        Console(file=sys.stdout, highlight=False, width=self.width).print(table)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Draw a bar on stderr while a computation tells how far it is, once it takes more than two seconds."""
        from rich.console import Console

        bar = _Bar(Console(file=sys.stderr), quiet=self.quiet)
        try:
            yield bar.told
        finally:
            bar.close()

    def progress_lines(self) -> Progress:
        """Tell progress in lines on stderr, for work that takes hours and may draw bars of its own.

        A line is written at every new stage, which is the text before its first comma, every 2 % and every minute.
        """
        told_stage, told_fraction, told_at = "", -1.0, 0.0

        def told(stage: str, fraction: float) -> None:
            nonlocal told_stage, told_fraction, told_at
            name, now = stage.partition(",")[0], time.monotonic()
            new = name != told_stage or fraction - told_fraction >= PROGRESS_STEP or now - told_at > PROGRESS_LINE_S
            if self.quiet or not (new or fraction >= 1.0 > told_fraction):
                return
            told_stage, told_fraction, told_at = name, fraction, now
            sys.stderr.write(f"{escape(stage)} ({fraction:.0%} of all)\n")

        return told

    @contextmanager
    def long_progress(self) -> Iterator[Progress]:
        """Draw a bar for work that takes hours on a terminal, and tell it in lines in a log."""
        if self.quiet or not sys.stderr.isatty():
            yield self.progress_lines()
            return
        with self.progress() as progress:
            yield progress


def format_cell(value: Any) -> str:
    """Text of a cell: four significant digits, a dash for what is missing.

    Examples
    --------
    >>> format_cell(0.123456), format_cell(None), format_cell(12)
    ('0.1235', '-', '12')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value))


def _is_number(value: Any) -> bool:
    """Whether a cell holds a number, as such or as text, or nothing."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return True
    return isinstance(value, str) and value.strip("+-–.0123456789e% ") == ""


def text_of(value: Any) -> str:
    """Text of a value beside its name: six significant digits, yes or no, the items of a list.

    Examples
    --------
    >>> text_of([3.2700000225, 4.6875]), text_of(True), text_of(None)
    ('3.27, 4.6875', 'yes', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return str(value)


class _Bar:
    """A bar that appears only after some time, and only on a terminal."""

    def __init__(self, console: Any, *, quiet: bool) -> None:
        self._console = console
        self._silent = quiet or not console.is_terminal
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def told(self, stage: str, fraction: float) -> None:
        """Show the stage and the share done."""
        if self._silent:
            return
        if self._bar is None:
            if time.monotonic() - self._start < PROGRESS_AFTER_S:
                return
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(escape(stage), total=1.0)
        self._bar.update(self._task, completed=min(max(fraction, 0.0), 1.0), description=escape(stage))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def terminal_of(context: Any) -> Terminal:
    """Terminal that the common options made."""
    return context.obj if isinstance(context.obj, Terminal) else Terminal()
