"""A CSV of a training that goes on over interruptions as if there had been none."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmsynth.training.checkpoint import replace_file


class CurveLog:
    """Rows by step, in a file that is readable at any moment.

    Parameters
    ----------
    path
        The CSV file; its first column is ``step``.
    start
        Steps already done; later rows, and a row that a kill cut short, are taken out, as they are done again.
    """

    def __init__(self, path: Path, *, start: int) -> None:
        self.path = path
        self.columns: list[str] = []
        rows = self._kept(start) if path.is_file() else []
        if path.is_file() and not rows:
            path.unlink()
        elif rows:
            replace_file(path, lambda temporary: temporary.write_text("".join(rows), encoding="utf-8"))

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a row; the first one, ``step`` before all, says which columns there are."""
        new = not self.columns
        if new:
            self.columns = list(values)
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in values.items()})

    def _kept(self, start: int) -> list[str]:
        """Whole lines up to a step, the head first."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not lines or not lines[0].endswith("\n"):
            return []
        self.columns = lines[0].strip().split(",")
        whole = [line for line in lines[1:] if line.endswith("\n") and line.count(",") == lines[0].count(",")]
        kept = [line for line in whole if line.partition(",")[0].isdigit() and int(line.partition(",")[0]) <= start]
        if not kept:
            self.columns = []
            return []
        return [lines[0], *kept]
