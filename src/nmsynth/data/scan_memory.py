"""Memory that a PET scan needs, estimated before anything is built."""

from __future__ import annotations

from pathlib import Path

from nmsynth.core.errors import InputError
from nmsynth.data.scan import ReferenceScan

BYTES_PER_PIXEL_VIEW = 205
"""Most that is held for each pixel of a slice and view while the system matrix of the phantom's grid is built, measured
[bytes]."""
_MEMINFO = Path("/proc/meminfo")
_STEP_MM = 0.25
"""In which the least voxel is told [mm]."""


def scan_bytes(reference: ReferenceScan) -> int:
    """Memory for the system matrix of a scan [bytes]; images and sinograms need little beside it.

    Examples
    --------
    >>> round(scan_bytes(ReferenceScan(voxel_mm=1.0, field_mm=600.0)) / 1e9, 1)
    14.2
    """
    return BYTES_PER_PIXEL_VIEW * reference.n_pixels**2 * reference.n_views


def available_bytes() -> int | None:
    """Memory that this machine can give [bytes]; ``None`` where it does not say."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def check_memory(reference: ReferenceScan, available: int | None) -> None:
    """Refuse a scan whose system matrix does not fit the memory.

    Parameters
    ----------
    reference
        Protocol with voxel and field.
    available
        Memory [bytes]; anything is let through where it is not known.

    Raises
    ------
    InputError
        If it does not fit; the message tells the least voxel that would.
    """
    needed = scan_bytes(reference)
    if available is None or needed <= available:
        return
    voxel = reference.voxel_mm
    while voxel < reference.field_mm and _bytes_at(reference, voxel) > available:
        voxel = (int(voxel / _STEP_MM) + 1) * _STEP_MM
    raise InputError(
        f"The system matrix of a scan must fit the memory; voxels of {reference.voxel_mm:g} mm in a field of "
        f"{reference.field_mm:.0f} mm need {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB are free. Take voxels of at "
        f"least {voxel:g} mm."
    )


def _bytes_at(reference: ReferenceScan, voxel_mm: float) -> int:
    """Memory with another voxel [bytes]."""
    return scan_bytes(ReferenceScan(voxel_mm=voxel_mm, field_mm=reference.field_mm))
