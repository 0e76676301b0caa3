"""Values as 16 bit integers with one slope a slice, quantised with the slope as it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.io.atomic import check_finite

UNSIGNED_MAXIMUM = 65534
"""Largest code where no value is negative; one below what can be stored, which readers take for saturation."""
SIGNED_MAXIMUM = 32766
"""Largest code, and of its negative, where one value is."""


@dataclass(frozen=True, slots=True)
class QuantisedStack:
    """Codes and slopes of a stack of slices; ``codes[k] * float(slopes[k])`` is slice ``k``."""

    codes: npt.NDArray[np.uint16] | npt.NDArray[np.int16]
    """Shape ``(n, y, x)``, little endian."""
    slopes: tuple[str, ...]
    """RescaleSlope of each slice, a decimal string of at most 16 characters."""
    smallest: tuple[int, ...]
    largest: tuple[int, ...]

    @property
    def is_signed(self) -> bool:
        """Whether PixelRepresentation is 1."""
        return bool(self.codes.dtype.kind == "i")


def decimal_string(value: float) -> str:
    """Decimal string of at most 16 characters nearest to a value, as DICOM's DS holds it."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value)))


def quantise(stack: npt.NDArray[np.float32]) -> QuantisedStack:
    """Quantise a stack of slices to 16 bit.

    Unsigned where no value of the stack is negative, else signed. The slope of a slice is its largest
    magnitude over the largest code, so the error is at most half a slope; a slice of zeros has slope 1.

    Parameters
    ----------
    stack
        Slices, shape ``(n, y, x)``.

    Raises
    ------
    NumericalError
        If a value is NaN or infinite.
    """
    check_finite(stack)
    signed = bool((stack < 0).any())
    limit = SIGNED_MAXIMUM if signed else UNSIGNED_MAXIMUM
    codes: npt.NDArray[Any] = np.empty(stack.shape, dtype="<i2" if signed else "<u2")
    peaks = np.abs(stack).max(axis=(1, 2)).astype(np.float64)
    slopes = tuple(decimal_string(peak / limit) if peak > 0 else "1" for peak in peaks)
    for k, slope in enumerate(slopes):
        ratio = np.rint(stack[k].astype(np.float64) / float(slope))
        # The slope may have been rounded down in its last digit.
        codes[k] = np.clip(ratio, -limit if signed else 0, limit)
    return QuantisedStack(
        codes=codes,
        slopes=slopes,
        smallest=tuple(int(value) for value in codes.min(axis=(1, 2))),
        largest=tuple(int(value) for value in codes.max(axis=(1, 2))),
    )
