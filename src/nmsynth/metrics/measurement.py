"""One measured value with all that is needed to read it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value, what it was measured with, and why it is missing where it is missing.

    A value that is not finite is never stored: it becomes ``None`` with a reason.
    """

    name: str
    value: float | None
    unit: str
    mask: str
    """Name of the region in which it was measured."""
    reference: str | None = None
    """``T0``, ``T1`` or ``T2``; ``source`` where the source is the reference; ``None`` where there is none."""
    data_range: float | None = None
    """Range of values [unit of the image] that PSNR and SSIM were given."""
    lower: float | None = None
    upper: float | None = None
    interval: str | None = None
    """What ``lower`` and ``upper`` are, such as ``"quartiles over lesions"``."""
    n: int | None = None
    """Number of items (lesions, patients) behind the value, where it is a summary."""
    reason: str | None = None
    """Why there is no value, or what to know about it."""
    arm: str = "prediction"
    """Whose value: ``prediction``, ``source``, ``best Gaussian of the source``, or a method's name."""

    def __post_init__(self) -> None:
        for field in ("value", "lower", "upper", "data_range"):
            number = getattr(self, field)
            if number is None:
                continue
            if not math.isfinite(number):
                object.__setattr__(self, field, None)
                if field == "value" and self.reason is None:
                    object.__setattr__(self, "reason", "the result is not finite")
            else:
                object.__setattr__(self, field, float(number))
        if self.value is None and self.reason is None:
            object.__setattr__(self, "reason", "not defined here: the region is empty or its reference is zero")

    def of_arm(self, arm: str) -> Measurement:
        """Put the same measurement under another arm's name."""
        return replace(self, arm=arm)

    def to_row(self) -> dict[str, Any]:
        """Flat dictionary of JSON values."""
        return asdict(self)
