"""Several processes that train one model: which one this is, and how they wait for each other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from nmsynth.core.errors import InputError

_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
"""Where launchers tell a process its number, the most telling first."""
POLL_S = 0.5
PATIENCE_S = 6 * 3600.0
"""Longest time that a process waits for the first one to prepare data [s]."""


def process_number(environment: dict[str, str] | None = None) -> int:
    """Number of this process among those that train together; 0 for a single one.

    Parameters
    ----------
    environment
        Variables of the process; those of the system when unset.

    Examples
    --------
    >>> process_number({"LOCAL_RANK": "1"}), process_number({})
    (1, 0)
    """
    found = os.environ if environment is None else environment
    for name in _RANKS:
        # SLURM numbers the tasks of interactive shells, too, which train alone
        if name == "SLURM_PROCID" and found.get("SLURM_JOB_NAME") in ("bash", "interactive"):
            continue
        if found.get(name, "").isdigit():
            return int(found[name])
    return 0


def wait_for_all() -> None:
    """Wait until every process is here; at once where there is one."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def wait_until(ready: Callable[[], bool], *, what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for what the first process makes.

    Raises
    ------
    InputError
        If it does not come in time.
    """
    ends = time.monotonic() + patience_s
    while not ready():
        if time.monotonic() > ends:
            raise InputError(f"The first process must make {what}; it did not in time. Look at its messages.")
        time.sleep(POLL_S)
