"""A static image from the frames of a dynamic one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError


def window_weights(frames_min: npt.ArrayLike, window_min: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Share of a window that lies in each frame, shape ``(frame,)``; sums to 1.

    A frame that the window cuts counts with its part inside, as if its activity were constant.

    Parameters
    ----------
    frames_min
        Start and end of each frame [min], shape ``(frame, 2)``.
    window_min
        Start and end of the window [min].

    Raises
    ------
    InputError
        If the frames do not cover the window, or it has no length.

    Examples
    --------
    >>> window_weights([(0, 2), (2, 4), (4, 10)], (2, 6))
    array([0. , 0.5, 0.5])
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    start, end = window_min
    if not end > start:
        raise InputError(f"A window must end after it starts; found {start:g} to {end:g} min.")
    overlap = np.minimum(frames[:, 1], end) - np.maximum(frames[:, 0], start)
    share = np.maximum(overlap, 0.0) / (end - start)
    if abs(share.sum() - 1) > 1e-6:
        raise InputError(
            f"The frames must cover the window of {start:g} to {end:g} min, once; they cover {share.sum():.0%} of it. "
            f"Scan longer or choose another window (the frames go from {frames.min():g} to {frames.max():g} min)."
        )
    return np.asarray(share)


def static_image(
    frames: npt.NDArray[np.floating], frames_min: npt.ArrayLike, window_min: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Mean of decay-corrected frames over a window, weighed by their time in it.

    A scanner that measures the window in one frame weighs early activity more, by its decay; the difference vanishes
    where activity is constant.

    Parameters
    ----------
    frames
        All corrected to one time, shape ``(frame, z, y, x)``.
    frames_min, window_min
        As :func:`window_weights` takes them.

    Returns
    -------
        Shape ``(z, y, x)``, unit of the frames.
    """
    weights = window_weights(frames_min, window_min)
    if frames.shape[0] != weights.size:
        raise InputError(f"A static image needs one image a frame; found {frames.shape[0]} for {weights.size} frames.")
    return np.asarray(np.tensordot(weights, frames, axes=(0, 0)), dtype=np.float32)
