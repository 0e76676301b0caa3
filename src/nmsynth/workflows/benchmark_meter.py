"""What a run costs: time over all its sittings, memory, and a status that others can read while it goes on."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from nmsynth.core.replacement import replace_text

STATUS = "status.json"
WRITE_EVERY_S = 5.0
"""Between two writings of the status [s]."""
_CLEAR, _PEAK = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Where Linux resets and tells the most memory that a process has had."""


class Meter:
    """Adds up the time of a run and tells how far it is.

    Parameters
    ----------
    folder
        Of the run; what an earlier sitting spent stands in its ``status.json``.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATUS
        folder.mkdir(parents=True, exist_ok=True)
        before = read_status(folder)
        self._cpu_before = float(before.get("cpu_s", 0.0))
        self._wall_before = float(before.get("wall_s", 0.0))
        self._sittings = int(before.get("sittings", 0)) + 1
        self._cpu, self._wall = time.process_time(), time.monotonic()
        self._written = -WRITE_EVERY_S
        reset_peak_memory()

    @property
    def cpu_s(self) -> float:
        """CPU time of all sittings, lost work included [s]."""
        return self._cpu_before + time.process_time() - self._cpu

    @property
    def wall_s(self) -> float:
        """Time of all sittings [s]."""
        return self._wall_before + time.monotonic() - self._wall

    def told(self, stage: str, fraction: float) -> None:
        """Note how far the run is, now and then."""
        now = time.monotonic()
        if now - self._written >= WRITE_EVERY_S:
            self._written = now
            self.write("running", stage=stage, share=round(fraction, 4))

    def write(self, state: str, **facts: Any) -> None:
        """Write the status, whole or not at all."""
        record = {
            "schema_version": 1,
            "state": state,
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(self.wall_s, 2),
            "sittings": self._sittings,
            **facts,
        }
        replace_text(self._path, json.dumps(record) + "\n")


def read_status(folder: Path) -> dict[str, Any]:
    """Status of a run; empty where it has not begun."""
    path = folder / STATUS
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def reset_peak_memory() -> None:
    """Let the peak be that of what follows, where the system can."""
    if _CLEAR.exists():
        try:
            _CLEAR.write_text("5")
        except OSError:  # not allowed here: the peak is then that of the whole process
            return


def peak_memory_mb() -> float | None:
    """Most memory that the process has had since the peak was reset, or since it began [MB]; ``None`` if not told."""
    if _PEAK.is_file():
        for line in _PEAK.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(float(line.split()[1]) * 1024 / 1e6, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)
