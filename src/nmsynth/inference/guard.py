"""Sanity of what goes into a network and of what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import EnvelopeError, NumericalError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume

SATURATED_SHARE = 1e-5
"""Share of voxels at exactly the largest value, and at least :data:`SATURATED_VOXELS`, that is called saturated."""
SATURATED_VOXELS = 20
NEGATIVE_SHARE = 0.05
"""Share of the absolute activity in negative values above which it is flagged."""
MOSTLY_NEGATIVE_SHARE = 0.5
"""Share of an MR's values other than zero that are negative above which it is no MR: CT has air below zero."""
CONSERVATION_TOLERANCE = 0.01
"""Change of the activity in the body above which it is flagged."""
OVERSHOOT = 1.5
"""Largest output over largest input above which it is flagged."""
BODY_SMOOTHING_MM = 15.0
BODY_THRESHOLD = 0.1
"""Of the mean of positive smoothed values, above which a voxel belongs to the body."""

ALL_ZERO = "the input is zero everywhere, and so is the output"
"""Flag of an empty input, for which no network is run."""


@dataclass(frozen=True, slots=True)
class InputState:
    """What was found in an input."""

    flags: tuple[str, ...]
    is_zero: bool


def check_input(volume: Volume) -> InputState:
    """Look at the values of an input before anything is computed.

    Raises
    ------
    EnvelopeError
        If the input is itself an output of a model.
    UnsafeInputError
        If values are NaN or infinite, or none is positive (CT has a zero within its range, and may be negative), or
        those of an MR are mostly negative.
    """
    if volume.provenance.synthetic:
        maker = volume.provenance.model or "a model"
        raise EnvelopeError(
            f"The input must be a scan; this one is synthetic, made by {maker}. A second pass would remove what is "
            "left of the data. Use the original series."
        )
    array = volume.array
    if not array.size:
        raise UnsafeInputError(f"The input must have voxels; its shape is {array.shape}.")
    n_bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if n_bad:
        raise UnsafeInputError(f"The input must be finite; {n_bad} voxels are NaN or infinite. Export it again.")
    largest = float(array.max())
    flags = []
    signed = volume.unit is Unit.HOUNSFIELD
    if not signed and not array.any():
        return InputState((ALL_ZERO,), is_zero=True)
    if not signed and largest <= 0:
        raise UnsafeInputError("The input must have positive values; its largest is not. Check slope and unit.")
    if volume.modality == "MR" and np.count_nonzero(array < 0) > MOSTLY_NEGATIVE_SHARE * np.count_nonzero(array):
        raise UnsafeInputError(
            "The values of an MR must be positive; most of this one's are negative, as of a CT. Check the modality "
            "that is stated, and give the magnitude image."
        )
    n_largest = int(np.count_nonzero(array == largest))
    if n_largest == array.size:
        flags.append("the input is the same everywhere")
    elif not signed and n_largest >= max(SATURATED_VOXELS, SATURATED_SHARE * array.size):
        flags.append(f"the input looks saturated: {n_largest} voxels have exactly its largest value")
    if signed:
        return InputState(tuple(flags), is_zero=False)
    negative = float(-array[array < 0].sum(dtype=np.float64))
    share = negative / float(np.abs(array).sum(dtype=np.float64))
    if share > NEGATIVE_SHARE:
        flags.append(f"{100 * share:.0f} % of the input's absolute activity is negative; it is kept as it is")
    return InputState(tuple(flags), is_zero=False)


def check_output(prediction: npt.NDArray[np.float32], source: Volume) -> tuple[tuple[str, ...], dict[str, float]]:
    """Look at an output before anything is written.

    Parameters
    ----------
    prediction
        Shape ``(z, y, x)``, unit of the source.
    source
        What it was made from.

    Returns
    -------
        Flags, and the numbers behind them: ``body_activity_ratio``, output over input in the body, and
        ``maximum_ratio``.

    Raises
    ------
    NumericalError
        If a value is NaN or infinite.
    """
    check_finite(prediction)
    body = body_mask(source)
    before = float(source.array[body].sum(dtype=np.float64))
    numbers = {"maximum_ratio": float(prediction.max()) / float(source.array.max())}
    flags = []
    if before > 0:
        ratio = float(prediction[body].sum(dtype=np.float64)) / before
        numbers["body_activity_ratio"] = ratio
        if abs(ratio - 1) > CONSERVATION_TOLERANCE:
            flags.append(f"activity in the body changed by {100 * (ratio - 1):+.1f} %; it should stay within 1 %")
    if numbers["maximum_ratio"] > OVERSHOOT:
        flags.append(f"the largest value rose to {numbers['maximum_ratio']:.2f} of the input's")
    return tuple(flags), {key: round(value, 6) for key, value in numbers.items()}


def check_finite(prediction: npt.NDArray[np.float32]) -> None:
    """Refuse an output with NaN or infinity."""
    if not np.isfinite(prediction).all():
        raise NumericalError("The network gave NaN or infinity; nothing was written. Verify the model and the input.")


def body_mask(volume: Volume) -> npt.NDArray[np.bool_]:
    """Where the activity is, roughly: a smoothed image above a tenth of its positive mean; shape ``(z, y, x)``."""
    from scipy import ndimage

    sizes = [max(1, round(BODY_SMOOTHING_MM / spacing)) for spacing in volume.spacing_mm]
    smooth = ndimage.uniform_filter(volume.array, sizes, mode="nearest")
    positive = smooth[smooth > 0]
    level = BODY_THRESHOLD * float(positive.mean(dtype=np.float64)) if positive.size else 0.0
    return np.asarray(smooth > level)
