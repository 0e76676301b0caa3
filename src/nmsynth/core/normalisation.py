"""Image values on the scale that networks learn on: invertible, recorded, each modality in its own way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from nmsynth.core.config import Settings
from nmsynth.core.errors import InputError

FloatImage = npt.NDArray[np.float32]

FOREGROUND_SHARE = 0.05
"""Share of the 99th percentile above which a voxel of an image without a scale belongs to the body."""

LEVEL_CUBE_MM = 20.0
"""Side of the cubes whose means tell the level of an image of activity: large enough that noise hardly moves them."""

Kind = Literal["linear", "asinh", "window", "robust", "level"]


class Normalisation(Settings):
    """How the values of one kind of image become numbers of order one.

    ``linear``
        ``y = (x - offset) / scale``, with an offset of 0 for what has a true zero: SUV, activity, counts. Twice the
        activity stays twice the number.
    ``asinh``
        ``y = asinh(x / knee) / asinh(scale / knee)``: linear below the knee, logarithmic above, so that a bladder does
        not rule a loss.
    ``window``
        ``y = (clip(x, low, high) - offset) / scale``, for HU; what lies outside the window comes back as its border.
    ``robust``
        ``y = x / scale`` with the scale of **each image**, the 95th percentile of its body, for MR, which has no scale
        of its own. An image that is synthesised comes back on the scale of the plan.
    ``level``
        ``y = x / (scale L)`` with the level ``L`` of **each image** (:func:`activity_level`), for SPECT and planar
        images, which seldom are calibrated: what is proportional to activity may come in any unit, and an image that is
        synthesised comes back on the scale of its source.
    """

    kind: Kind
    offset: float = 0.0
    """Unit of the image."""
    scale: float = 1.0
    """Unit of the image, of ``level`` a multiple of it; positive."""
    knee: float = 1.0
    """Of ``asinh``, unit of the image; positive."""
    low: float | None = None
    """Of ``window``, unit of the image."""
    high: float | None = None
    """Of ``window``, unit of the image."""

    @model_validator(mode="after")
    def _usable(self) -> Normalisation:
        """Refuse what could not be inverted."""
        if not (self.scale > 0 and self.knee > 0 and math.isfinite(self.offset + self.scale + self.knee)):
            raise ValueError("a normalisation needs a finite offset and a positive scale and knee")
        if self.kind == "window" and not (self.low is not None and self.high is not None and self.low < self.high):
            raise ValueError("a window needs low < high")
        return self

    @property
    def is_of_each_image(self) -> bool:
        """Whether each image sets its own scale."""
        return self.kind in ("robust", "level")

    def fit(self, image: npt.ArrayLike, spacing_mm: Sequence[float] = ()) -> FittedNormalisation:
        """The normalisation of one image.

        Parameters
        ----------
        image
            Axes ``(z, y, x)``, unit of this normalisation; only ``robust`` and ``level`` look at it.
        spacing_mm
            Voxel size along its axes [mm], for ``level``.

        Raises
        ------
        InputError
            If the image is empty, where it sets its own scale.
        """
        if self.kind == "robust":
            return FittedNormalisation("robust", 0.0, bright_level(image))
        if self.kind == "level":
            return FittedNormalisation("level", 0.0, self.scale * activity_level(image, spacing_mm))
        return self.typical()

    def typical(self) -> FittedNormalisation:
        """The normalisation of the plan, by which a synthetic image gets its scale."""
        return FittedNormalisation(self.kind, self.offset, self.scale, self.knee, self.low, self.high)


@dataclass(frozen=True, slots=True)
class FittedNormalisation:
    """The normalisation of one image, as it is recorded with it."""

    kind: Kind
    offset: float
    scale: float
    knee: float = 1.0
    low: float | None = None
    high: float | None = None

    def apply(self, image: npt.ArrayLike) -> FloatImage:
        """Normalised values, same shape.

        Examples
        --------
        >>> float(FittedNormalisation("window", 0.0, 1000.0, low=-1000.0, high=2000.0).apply([500.0])[0])
        0.5
        """
        values = np.asarray(image, dtype=np.float32)
        if self.kind == "asinh":
            return np.asarray(np.arcsinh(values / self.knee) / self._height(), dtype=np.float32)
        if self.kind == "window":
            values = np.clip(values, self.low, self.high)
        return np.asarray((values - np.float32(self.offset)) / np.float32(self.scale), dtype=np.float32)

    def invert(self, normalised: npt.ArrayLike) -> FloatImage:
        """Image values from normalised ones, same shape."""
        values = np.asarray(normalised, dtype=np.float32)
        if self.kind == "asinh":
            bounded = np.clip(values.astype(np.float64) * self._height(), -50.0, 50.0)
            return np.asarray(np.sinh(bounded) * self.knee, dtype=np.float32)
        image = values * np.float32(self.scale) + np.float32(self.offset)
        if self.kind == "window":
            image = np.clip(image, self.low, self.high)
        return np.asarray(image, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """JSON values; only what the kind uses."""
        values: dict[str, Any] = {"kind": self.kind, "offset": self.offset, "scale": self.scale}
        if self.kind == "asinh":
            values["knee"] = self.knee
        if self.kind == "window":
            values |= {"low": self.low, "high": self.high}
        return values

    def _height(self) -> float:
        """What the scale comes to on the compressed axis."""
        return math.asinh(self.scale / self.knee)


def bright_level(image: npt.ArrayLike) -> float:
    """95th percentile of the body, which is what exceeds 5 % of the 99th percentile of positive values.

    In T1-weighted MR that is fat, or white matter in a head: it is there in every patient, and where it lies does not
    hang on how much of it there is, as the median of the body does.

    Raises
    ------
    InputError
        If nothing is positive or the body has one value only.
    """
    values = np.asarray(image, dtype=np.float32)
    positive = values[values > 0]
    body = positive[positive > FOREGROUND_SHARE * np.percentile(positive, 99)] if positive.size else positive
    low, high = (float(v) for v in np.percentile(body, (5, 95))) if body.size else (0.0, 0.0)
    if not high > low:
        raise InputError(
            "An image without a scale of its own is normalised by its body; it has no body of more than one value. "
            "Leave the image out."
        )
    return high


def activity_level(image: npt.ArrayLike, spacing_mm: Sequence[float]) -> float:
    """How bright an image of activity is, in its own unit; noise and the field of view hardly move it.

    With the means ``b`` over cubes of about 20 mm around every voxel, as far as they are positive, it is
    ``sum(b^2) / sum(b)``, the mean that a unit of activity sees: what is empty does not count, and it hangs on no
    threshold. Twice the image has twice the level.

    Parameters
    ----------
    image
        Axes ``(z, y, x)``, any unit that is proportional to activity or counts.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].

    Raises
    ------
    InputError
        If the mean of no cube is positive.

    Examples
    --------
    >>> activity_level(np.full((4, 9, 9), 8.0), (5.0, 4.0, 4.0))
    8.0
    """
    values = np.asarray(image, dtype=np.float64)
    for axis, (n, side) in enumerate(zip(values.shape, spacing_mm, strict=True)):
        half = round((LEVEL_CUBE_MM / side - 1) / 2)
        first, last = np.clip(np.arange(n) - half, 0, None), np.clip(np.arange(n) + half + 1, None, n)
        sums = np.cumsum(np.insert(values, 0, 0.0, axis=axis), axis=axis)
        width = (last - first).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        values = (sums.take(last, axis=axis) - sums.take(first, axis=axis)) / width
    positive = values[values > 0]
    if not positive.size:
        raise InputError(
            "An image of activity is normalised by its own level; it has none, as no cube of 20 mm has a positive "
            "mean. Leave the image out."
        )
    return float(np.square(positive).sum() / positive.sum())
