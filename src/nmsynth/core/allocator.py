"""Memory that was freed and will soon be wanted again."""

from __future__ import annotations

import os

KEPT_BYTES = 512 * 2**20
"""Freed memory that stays with the process at most [bytes]."""
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of ``mallopt(3)``: when free memory goes back to the system, and how many arrays are mapped, each on its own."""


def keep_freed_memory() -> bool:
    """Let the C library keep some of the memory that arrays leave behind.

    Images are worked on in steps, each of which makes arrays of the same size and frees those before. By default their
    memory goes back to the system every time, which then clears it page by page for the next one: a third of the CPU
    time of a SPECT simulation and of a proof on CT went there. The price is memory, as arrays leave gaps: a SPECT
    simulation holds up to 2.5 GB instead of 1.4 GB. Where ``MALLOC_…`` or ``GLIBC_TUNABLES`` is set in the environment,
    somebody has decided, and nothing is changed.

    Returns
    -------
        Whether the C library took it; only glibc has it, elsewhere nothing changes.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    import ctypes

    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  other libraries read these numbers otherwise
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
