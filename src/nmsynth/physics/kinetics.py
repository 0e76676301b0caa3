"""Tracer kinetics: tissue curves from rate constants, and rate constants from curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from nmsynth.core.errors import InputError
from nmsynth.physics.input_function import FloatArray


@dataclass(frozen=True, slots=True)
class RateConstants:
    """Exchange between plasma and one or two tissue compartments; ``k3 = 0`` leaves one.

    Attributes
    ----------
    k1
        From plasma to tissue [mL/cm3/min].
    k2
        Back to plasma [1/min].
    k3, k4
        Into the second compartment and back [1/min]; ``k4 = 0`` traps.
    blood_volume
        Share of a voxel that is blood.
    """

    k1: float
    k2: float
    k3: float = 0.0
    k4: float = 0.0
    blood_volume: float = 0.0

    def __post_init__(self) -> None:
        rates = (self.k1, self.k2, self.k3, self.k4)
        if not all(np.isfinite(r) and r >= 0 for r in rates) or not 0 <= self.blood_volume <= 1:
            raise InputError(
                f"Rate constants must not be negative and the blood volume lies between 0 and 1; found {self}."
            )

    @property
    def influx(self) -> float:
        """Net influx ``K_i = K1 k3 / (k2 + k3)`` of a tracer that is trapped [mL/cm3/min]."""
        return self.k1 * self.k3 / (self.k2 + self.k3) if self.k3 else 0.0

    @property
    def distribution_volume(self) -> float:
        """``V_T = K1 / k2 (1 + k3 / k4)`` of a reversible tracer [mL/cm3]; infinite if it is trapped."""
        if self.k2 == 0 or (self.k3 > 0 and self.k4 == 0):
            return float("inf")
        return self.k1 / self.k2 * (1 + (self.k3 / self.k4 if self.k3 else 0.0))


def convolve_exponential(values: npt.ArrayLike, minutes: npt.ArrayLike, rate_per_min: float) -> FloatArray:
    """Convolution of a curve with ``exp(-rate t)``, exact for a curve that is linear between its samples.

    ``y(t + d) = y(t) exp(-rate d) + u(t) f + (u(t + d) - u(t)) g`` with ``f = (1 - exp(-rate d)) / rate`` and
    ``g = (d - f) / (rate d)``.

    Parameters
    ----------
    values
        Curve, shape ``(time,)``.
    minutes
        Rising times of the samples [min]; any spacing.
    rate_per_min
        Not negative [1/min].
    """
    u, t = np.asarray(values, dtype=np.float64), np.asarray(minutes, dtype=np.float64)
    step = np.diff(t)
    if u.shape != t.shape or u.ndim != 1 or not (step > 0).all():
        raise InputError(f"A curve needs one value at each of its rising times; found shapes {u.shape} and {t.shape}.")
    x = rate_per_min * step
    small = x < 1e-4
    safe = np.where(small, 1.0, x)
    f = step * np.where(small, 1 - x / 2 + x**2 / 6, -np.expm1(-safe) / safe)
    g = step * np.where(small, 0.5 - x / 6 + x**2 / 24, (1 + np.expm1(-safe) / safe) / safe)
    decay = np.exp(-x)
    added = u[:-1] * f + np.diff(u) * g
    result = np.zeros_like(u)
    for n in range(step.size):
        result[n + 1] = result[n] * decay[n] + added[n]
    return result


def tissue_curve(
    rates: RateConstants, plasma: npt.ArrayLike, minutes: npt.ArrayLike, *, whole_blood: npt.ArrayLike | None = None
) -> FloatArray:
    """Activity concentration of a tissue with one or two compartments.

    ``C = (1 - V_b) h * C_p + V_b C_b`` with the impulse response ``h(t) = K1 / (a2 - a1) ((k3 + k4 - a1) exp(-a1 t) +
    (a2 - k3 - k4) exp(-a2 t))``, ``a1, a2`` the roots of ``a^2 - (k2 + k3 + k4) a + k2 k4`` [Gunn2001]_.

    Parameters
    ----------
    rates
        Of the tissue.
    plasma
        Input at ``minutes``, shape ``(time,)``.
    whole_blood
        Blood in the tissue; as plasma when unset.

    Returns
    -------
        Shape ``(time,)``, unit of the input.

    References
    ----------
    .. [Gunn2001] R. N. Gunn, S. R. Gunn, V. J. Cunningham, Positron emission tomography compartmental models, J Cereb
       Blood Flow Metab 21:635-652, 2001.
    """
    k1, k2, k3, k4 = rates.k1, rates.k2, rates.k3, rates.k4
    total = k2 + k3 + k4
    root = np.sqrt(max(total**2 - 4 * k2 * k4, 0.0))
    slow, fast = (total - root) / 2, (total + root) / 2
    if root <= 1e-9 * max(total, 1e-9):  # k3 = 0 and k4 = k2, or nothing leaves: one exponential
        tissue = k1 * convolve_exponential(plasma, minutes, k2)
    else:
        tissue = (k1 / root) * (
            (k3 + k4 - slow) * convolve_exponential(plasma, minutes, slow)
            + (fast - k3 - k4) * convolve_exponential(plasma, minutes, fast)
        )
    blood = np.asarray(plasma if whole_blood is None else whole_blood, dtype=np.float64)
    return np.asarray((1 - rates.blood_volume) * tissue + rates.blood_volume * blood)


def reference_tissue_curve(
    reference: npt.ArrayLike, minutes: npt.ArrayLike, *, r1: float, k2_per_min: float, binding_potential: float
) -> FloatArray:
    """Simplified reference tissue model, ``C = R1 C_r + (k2 - R1 k2a) C_r * exp(-k2a t)``, ``k2a = k2 / (1 + BP)``.

    Parameters
    ----------
    reference
        Curve of a region without binding, shape ``(time,)``.
    r1
        Delivery relative to the reference.
    k2_per_min
        Efflux from the free compartment of the target [1/min].
    binding_potential
        ``BP_ND``, not below 0 [Lammertsma1996]_.

    References
    ----------
    .. [Lammertsma1996] A. A. Lammertsma, S. P. Hume, Simplified reference tissue model for PET receptor studies,
       NeuroImage 4:153-158, 1996.
    """
    if not (r1 > 0 and k2_per_min > 0 and binding_potential > -1):
        raise InputError(
            f"R1 and k2 must be above 0 and BP above -1; found {r1}, {k2_per_min} and {binding_potential}."
        )
    apparent = k2_per_min / (1 + binding_potential)
    curve = np.asarray(reference, dtype=np.float64)
    return np.asarray(r1 * curve + (k2_per_min - r1 * apparent) * convolve_exponential(curve, minutes, apparent))


def frame_means(values: npt.ArrayLike, minutes: npt.ArrayLike, frames_min: npt.ArrayLike) -> FloatArray:
    """Mean of a curve over each frame, exact for a curve that is linear between its samples.

    Parameters
    ----------
    values, minutes
        Curve and its rising times [min], shape ``(time,)``.
    frames_min
        Start and end of each frame [min], shape ``(frame, 2)``.
    """
    u, t = np.asarray(values, dtype=np.float64), np.asarray(minutes, dtype=np.float64)
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    if not (frames[:, 1] > frames[:, 0]).all() or frames.min() < t[0] or frames.max() > t[-1] + 1e-9:
        raise InputError(
            f"Frames must have a length and lie within the curve, {t[0]:g} to {t[-1]:g} min; "
            f"found {frames.min():g} to {frames.max():g}."
        )
    area = _area_to(u, t, frames)
    return np.asarray((area[:, 1] - area[:, 0]) / (frames[:, 1] - frames[:, 0]))


def _area_to(values: FloatArray, minutes: FloatArray, ends: FloatArray) -> FloatArray:
    """Integral of a piecewise-linear curve from its first sample to each end."""
    areas = np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(minutes))])
    index = np.clip(np.searchsorted(minutes, ends, side="right") - 1, 0, minutes.size - 2)
    part = ends - minutes[index]
    slope = (values[index + 1] - values[index]) / (minutes[index + 1] - minutes[index])
    return np.asarray(areas[index] + values[index] * part + 0.5 * slope * part**2)


@dataclass(frozen=True, slots=True)
class PatlakFit:
    """A line through the late part of a Patlak plot."""

    slope: float
    """``(1 - V_b) K_i`` for a tissue with blood in it [mL/cm3/min]."""
    intercept: float
    n_frames: int


def late_frames(frames_min: npt.ArrayLike, start_min: float) -> npt.NDArray[np.bool_]:
    """Which frames, start and end of each [min], begin at a time or later.

    Raises
    ------
    InputError
        If fewer than two do, through which no line can be fitted.
    """
    late = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)[:, 0] >= start_min
    if late.sum() < 2:
        raise InputError(f"A line needs at least two frames from {start_min:g} min on; found {int(late.sum())}.")
    return np.asarray(late)


def patlak(
    tissue: npt.ArrayLike,
    frames_min: npt.ArrayLike,
    plasma: npt.ArrayLike,
    minutes: npt.ArrayLike,
    *,
    start_min: float,
) -> PatlakFit:
    """Graphical analysis of an irreversible tracer: ``C / C_p`` against ``integral C_p / C_p`` [Patlak1983]_.

    Tissue and plasma are compared as means over the same frames, the integral to the middle of each.

    Parameters
    ----------
    tissue
        Mean of the tissue in each frame, shape ``(frame,)``.
    frames_min
        Start and end of each frame [min], shape ``(frame, 2)``.
    plasma, minutes
        Input and its times [min], shape ``(time,)``.
    start_min
        Frames from here on are used, ``t*`` [min].

    Raises
    ------
    InputError
        If fewer than two frames are left.

    References
    ----------
    .. [Patlak1983] C. S. Patlak, R. G. Blasberg, J. D. Fenstermacher, J Cereb Blood Flow Metab 3:1-7, 1983.
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    used = late_frames(frames, start_min)
    level, stretched = _stretched(plasma, minutes, frames[used])
    slope, intercept = np.polyfit(stretched, _finite(tissue).astype(np.float64)[used] / level, 1)
    return PatlakFit(float(slope), float(intercept), int(used.sum()))


def patlak_image(
    frames: npt.NDArray[np.float32],
    frames_min: npt.ArrayLike,
    plasma: npt.ArrayLike,
    minutes: npt.ArrayLike,
    *,
    start_min: float,
) -> npt.NDArray[np.float32]:
    """Slope of the Patlak plot in every voxel, as :func:`patlak` finds it in one curve.

    Parameters
    ----------
    frames
        Dynamic image, shape ``(frame, z, y, x)``, unit of the plasma.
    frames_min, plasma, minutes, start_min
        As :func:`patlak` takes them.

    Returns
    -------
        Shape ``(z, y, x)`` [mL/cm3/min].
    """
    ends, images = _late_images(frames, frames_min, start_min)
    level, stretched = _stretched(plasma, minutes, ends)
    centred = stretched - stretched.mean()
    return _weighted(centred / (centred @ centred) / level, images)


def patlak_extrapolation(
    frames: npt.NDArray[np.float32],
    frames_min: npt.ArrayLike,
    plasma: npt.ArrayLike,
    minutes: npt.ArrayLike,
    *,
    start_min: float,
    window_min: tuple[float, float],
) -> npt.NDArray[np.float32]:
    """Mean over a later window of the line that a Patlak plot finds in every voxel, ``K * integral C_p + V * C_p``.

    The scale of the plasma does not matter, only its course: the usual course of a population serves.

    Parameters
    ----------
    frames
        Dynamic image of what was seen, shape ``(frame, z, y, x)``, any unit.
    frames_min
        Start and end of each of them [min], shape ``(frame, 2)``.
    plasma, minutes
        Input and its times [min], shape ``(time,)``, to the end of the window.
    start_min
        Frames from here on are fitted.
    window_min
        Start and end of the window [min].

    Returns
    -------
        Shape ``(z, y, x)``, unit of the frames.

    Raises
    ------
    InputError
        If fewer than two frames are left, there is not an image for every frame, or the input ends before the window.
    """
    u, t = np.asarray(plasma, dtype=np.float64), np.asarray(minutes, dtype=np.float64)
    ends, images = _late_images(frames, frames_min, start_min)
    if t[-1] < window_min[1] - 1e-6:
        raise InputError(f"An input must reach to the end of the window, {window_min[1]:g} min; it ends at {t[-1]:g}.")
    level, stretched = _stretched(u, t, ends)
    centred = stretched - stretched.mean()
    slope = centred / (centred @ centred)
    window = np.array([window_min])
    area, late = frame_means(_area_to(u, t, t), t, window)[0], frame_means(u, t, window)[0]
    return _weighted((slope * area + (1 / len(ends) - slope * stretched.mean()) * late) / level, images)


def _late_images(
    frames: npt.NDArray[np.float32], frames_min: npt.ArrayLike, start_min: float
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    """Start and end of the frames from a time on, shape ``(frame, 2)`` [min], and their images."""
    ends = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    used = late_frames(ends, start_min)
    if frames.shape[0] != used.size:
        raise InputError(f"A Patlak image needs one image a frame; found {frames.shape[0]} for {used.size} frames.")
    return ends[used], frames[used]


def _weighted(weights: FloatArray, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sum of images by weights."""
    return np.asarray(np.tensordot(weights.astype(np.float32), _finite(images), axes=(0, 0)), dtype=np.float32)


def _stretched(plasma: npt.ArrayLike, minutes: npt.ArrayLike, frames: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of plasma in each frame, and its integral to the frame's middle over it [min]."""
    u, t = np.asarray(plasma, dtype=np.float64), np.asarray(minutes, dtype=np.float64)
    level = frame_means(u, t, frames)
    if not (np.isfinite(level).all() and level.min() > 0):
        raise InputError(
            f"A Patlak plot divides by plasma, which must be above 0 in every late frame; found {level.min():g}. "
            "Check the unit and the times of the input."
        )
    return level, np.asarray(_area_to(u, t, frames.mean(1)) / level)


def _finite(values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """The values, refused if one is NaN or infinite."""
    array = np.asarray(values)
    if not np.isfinite(array).all():
        raise InputError("A fit needs finite activity in every frame; found NaN or infinity.")
    return array


@dataclass(frozen=True, slots=True)
class ReferenceFit:
    """Parameters of the simplified reference tissue model."""

    r1: float
    k2_per_min: float
    binding_potential: float


def fit_reference_tissue(
    target: npt.ArrayLike,
    frames_min: npt.ArrayLike,
    reference: npt.ArrayLike,
    minutes: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    k2a_range_per_min: tuple[float, float] = (0.005, 0.5),
) -> ReferenceFit:
    """Fit the simplified reference tissue model by basis functions [Gunn1997]_.

    For each ``k2a`` the model is linear in ``R1`` and ``k2 - R1 k2a``; the best of a logarithmic grid is refined.

    Parameters
    ----------
    target
        Mean of the target in each frame, shape ``(frame,)``.
    frames_min
        Start and end of each frame [min], shape ``(frame, 2)``.
    reference, minutes
        Reference curve and its times [min], shape ``(time,)``.
    weights
        Of each frame; their length when unset.

    References
    ----------
    .. [Gunn1997] R. N. Gunn et al., Parametric imaging of ligand-receptor binding in PET using a simplified reference
       region model, NeuroImage 6:279-287, 1997.
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    y = _finite(target).astype(np.float64)
    weight = np.sqrt(frames[:, 1] - frames[:, 0] if weights is None else np.asarray(weights, dtype=np.float64))
    delivered = frame_means(reference, minutes, frames)
    if not (np.isfinite(delivered).all() and delivered.max() > 0):
        raise InputError("A reference model needs a finite reference with activity; its curve is 0 or NaN throughout.")

    def solve(rate: float) -> tuple[float, FloatArray]:
        """Squared error and coefficients at one ``k2a``."""
        basis = frame_means(convolve_exponential(reference, minutes, rate), minutes, frames)
        design = np.stack([delivered, basis], axis=1)
        found = np.asarray(np.linalg.lstsq(design * weight[:, None], y * weight, rcond=None)[0], dtype=np.float64)
        residual = (design @ found - y) * weight
        return float(residual @ residual), found

    grid = np.geomspace(*k2a_range_per_min, 60)
    errors = [solve(rate)[0] for rate in grid]
    best = int(np.argmin(errors))
    low, high = grid[max(0, best - 1)], grid[min(grid.size - 1, best + 1)]
    rate = float(
        minimize_scalar(lambda r: solve(r)[0], bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x
    )
    r1, second = solve(rate)[1]
    k2 = float(second + r1 * rate)
    return ReferenceFit(float(r1), k2, k2 / rate - 1)
