"""Graphical analyses with a reference tissue in the place of plasma: Logan's for binding, Patlak's for influx."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.physics.input_function import FloatArray
from nmsynth.physics.kinetics import late_frames

SMALLEST_SHARE = 0.05
"""Voxels with less of the reference's activity than this in a fitted frame are not fitted: they hold no tissue."""


def checked_frames(
    tissue: npt.NDArray[np.floating], frames_min: npt.ArrayLike, reference: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Frames and reference curve, if a reference model can be fitted to them.

    Parameters
    ----------
    tissue
        Mean of each frame, shape ``(frame, ...)``.
    frames_min
        Start and end of each frame [min], shape ``(frame, 2)``; without gaps from the injection on.
    reference
        Mean of the reference in each frame, shape ``(frame,)``.

    Raises
    ------
    InputError
        If shapes differ, frames leave a gap, a value is not finite, or the reference holds no activity.
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    curve = np.asarray(reference, dtype=np.float64)
    if np.shape(tissue)[:1] != (len(frames),) or curve.shape != (len(frames),):
        raise InputError(
            f"Tissue, reference and frames must have one entry a frame; found {np.shape(tissue)[:1]}, {curve.shape} "
            f"and {len(frames)} frames."
        )
    gap = np.abs(frames[1:, 0] - frames[:-1, 1]).max(initial=0.0)
    if frames[0, 0] > 1e-6 or gap > 1e-6 or not (frames[:, 1] > frames[:, 0]).all():
        raise InputError(
            "A reference model needs frames from the injection on that follow each other; found a start at "
            f"{frames[0, 0]:g} min and gaps of up to {gap:g} min."
        )
    if not (np.isfinite(curve).all() and np.isfinite(tissue).all()):
        raise InputError("A reference model needs finite curves; found NaN or infinity.")
    if not curve.max() > 0:
        raise InputError("A reference model needs a reference with activity; its curve is 0 throughout.")
    return frames, curve


def integral_to_middle(means: npt.NDArray[np.floating], frames_min: FloatArray) -> FloatArray:
    """Integral of a curve from the injection to the middle of each frame [value min], shape as ``means``.

    Whole frames are exact, the half of the last is that of a constant.
    """
    length = (frames_min[:, 1] - frames_min[:, 0]).reshape(-1, *([1] * (np.ndim(means) - 1)))
    area = np.asarray(means, dtype=np.float64) * length
    return np.asarray(np.cumsum(area, axis=0) - area / 2)


def patlak_reference(
    tissue: npt.NDArray[np.floating], frames_min: npt.ArrayLike, reference: npt.ArrayLike, *, start_min: float
) -> FloatArray:
    """Slope of ``C / C_r`` against ``integral C_r / C_r``: influx of a trapped tracer without blood [Patlak1985]_.

    The slope is ``k2 k3 / (k2 + k3)`` of the tissue where it shares ``K1 / k2`` with the reference and both hold the
    same share of blood.

    Parameters
    ----------
    tissue
        Curve or dynamic image, shape ``(frame, ...)``.
    frames_min
        Start and end of each frame from the injection on [min], shape ``(frame, 2)``.
    reference
        Curve of a tissue that does not trap, shape ``(frame,)``, unit of the tissue.
    start_min
        Frames from here on are used [min].

    Returns
    -------
        Shape ``(...)`` [1/min].

    References
    ----------
    .. [Patlak1985] C. S. Patlak, R. G. Blasberg, Graphical evaluation of blood-to-brain transfer constants from
       multiple-time uptake data. Generalizations, J Cereb Blood Flow Metab 5:584-590, 1985.
    """
    frames, curve = checked_frames(tissue, frames_min, reference)
    used = late_frames(frames, start_min)
    if not curve[used].min() > 0:
        raise InputError("A Patlak plot divides by the reference; it is 0 or below in a late frame.")
    stretched = integral_to_middle(curve, frames)[used] / curve[used]
    centred = stretched - stretched.mean()
    weights = centred / (centred @ centred) / curve[used]
    return np.asarray(np.tensordot(weights, tissue[used], axes=(0, 0)), dtype=np.float64)


def logan_reference(
    tissue: npt.NDArray[np.floating],
    frames_min: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    start_min: float,
    k2_reference_per_min: float | None = None,
) -> FloatArray:
    """Distribution volume ratio: slope of ``integral C / C`` against ``(integral C_r + C_r / k2') / C`` [Logan1996]_.

    Noise in ``C`` stands on both axes and lowers the slope, more so where binding is high [Slifstein2000]_.

    Parameters
    ----------
    tissue, frames_min, reference
        As :func:`patlak_reference` takes them; the reference does not bind.
    start_min
        Frames from here on are used, where the plot is a line [min].
    k2_reference_per_min
        ``k2'``, mean efflux of the reference [1/min]; without it that term is left out, which is right where the ratio
        of tissue to reference is constant.

    Returns
    -------
        Shape ``(...)``, without unit; 0 in voxels with less than 5 % of the reference's activity.

    References
    ----------
    .. [Logan1996] J. Logan et al., Distribution volume ratios without blood sampling from graphical analysis of PET
       data, J Cereb Blood Flow Metab 16:834-840, 1996.
    .. [Slifstein2000] M. Slifstein, M. Laruelle, Effects of statistical noise on graphic analysis of PET
       neuroreceptor studies, J Nucl Med 41:2083-2088, 2000.
    """
    if k2_reference_per_min is not None and not k2_reference_per_min > 0:
        raise InputError(f"The efflux of the reference must be above 0; found {k2_reference_per_min}.")
    frames, curve = checked_frames(tissue, frames_min, reference)
    used = late_frames(frames, start_min)
    extra = 0.0 if k2_reference_per_min is None else curve / k2_reference_per_min
    supply = (integral_to_middle(curve, frames) + extra)[used]
    late = np.asarray(tissue, dtype=np.float64)[used]
    fitted = late.min(0) > SMALLEST_SHARE * curve[used].mean()
    safe = np.where(fitted, late, 1.0)
    across = supply.reshape(-1, *([1] * (late.ndim - 1))) / safe
    up = integral_to_middle(tissue, frames)[used] / safe
    across_centred = across - across.mean(0)
    spread = (across_centred**2).sum(0)
    slope = (across_centred * (up - up.mean(0))).sum(0) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.where(fitted & (spread > 0), slope, 0.0), dtype=np.float64)
