"""The simplified reference tissue model in every voxel of a dynamic image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.physics.input_function import FloatArray
from nmsynth.physics.kinetics import convolve_exponential, frame_means
from nmsynth.physics.reference_models import SMALLEST_SHARE, checked_frames

K2A_RANGE_PER_MIN = (0.006, 0.6)
"""Range of ``k2a`` that is tried [1/min]."""
N_BASIS = 64


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceImages:
    """Parametric images of the simplified reference tissue model; all 0 where nothing was fitted."""

    r1: npt.NDArray[np.float32]
    """Delivery relative to the reference."""
    k2_per_min: npt.NDArray[np.float32]
    binding_potential: npt.NDArray[np.float32]
    """``BP_ND``; noise may bring it below 0."""
    fitted: npt.NDArray[np.bool_]


def curve_of_frames(means: npt.ArrayLike, frames_min: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """A curve of straight lines that has the means of the frames; its times [min] and values.

    It runs from 0 at the injection through the middles of the frames to the last one's end; heights at the middles are
    corrected twice by what the frames' means still lack. Lines through the means themselves would lie below a curve
    that bends down, and bring a bias of 1 to 2 % to 1 + BP with frames of 10 minutes.

    Parameters
    ----------
    means
        Shape ``(frame,)``.
    frames_min
        Start and end of each frame from the injection on [min], shape ``(frame, 2)``.
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    wanted = np.asarray(means, dtype=np.float64)
    knots = np.concatenate([[0.0], frames.mean(1), [frames[-1, 1]]])
    minutes = np.unique(np.concatenate([knots, *(np.linspace(a, b, 9) for a, b in frames)]))

    def curve(heights: FloatArray) -> FloatArray:
        """Lines through heights at the middles, level after the last."""
        return np.asarray(np.interp(minutes, knots, np.concatenate([[0.0], heights, heights[-1:]])))

    heights = wanted
    for _ in range(2):
        heights = heights + wanted - frame_means(curve(heights), minutes, frames)
    return minutes, curve(heights)


def srtm_image(
    tissue: npt.NDArray[np.floating],
    frames_min: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    minutes: npt.ArrayLike | None = None,
    k2a_range_per_min: tuple[float, float] = K2A_RANGE_PER_MIN,
    n_basis: int = N_BASIS,
) -> ReferenceImages:
    """Fit ``C = R1 C_r + (k2 - R1 k2a) C_r * exp(-k2a t)`` in every voxel by basis functions [Gunn1997]_.

    Linear in two coefficients for each ``k2a`` of a logarithmic grid; frames weigh by their length. A parabola in
    ``log k2a`` goes through the squared errors of the grid's best three; the parameters are taken at its lowest point.

    Parameters
    ----------
    tissue
        Dynamic image, shape ``(frame, ...)``.
    frames_min
        Start and end of each frame from the injection on [min], shape ``(frame, 2)``.
    reference
        Curve of a region without binding: its mean in each frame, or, with ``minutes``, samples.
    minutes
        Rising times of the samples [min]; :func:`curve_of_frames` makes a curve when unset.

    References
    ----------
    .. [Gunn1997] R. N. Gunn et al., Parametric imaging of ligand-receptor binding in PET using a simplified reference
       region model, NeuroImage 6:279-287, 1997.
    """
    frames = np.asarray(frames_min, dtype=np.float64).reshape(-1, 2)
    if minutes is None:
        checked_frames(tissue, frames, reference)
        times, curve = curve_of_frames(reference, frames)
    else:
        times, curve = np.asarray(minutes, dtype=np.float64), np.asarray(reference, dtype=np.float64)
        checked_frames(tissue, frames, frame_means(curve, times, frames))
    low, high = k2a_range_per_min
    if not (0 < low < high and n_basis >= 3):
        raise InputError(f"Basis functions need rising rates above 0 and at least 3; found {low}, {high}, {n_basis}.")
    delivered = frame_means(curve, times, frames)
    shape = tissue.shape[1:]
    values = np.asarray(tissue, dtype=np.float32).reshape(len(frames), -1)
    length = frames[:, 1] - frames[:, 0]
    level = float(length @ delivered / length.sum())
    fitted = (length.astype(np.float32) @ values) / length.sum() > SMALLEST_SHARE * level
    rates = np.geomspace(low, high, n_basis)
    found = _fit(values[:, fitted], _designs(rates, delivered, curve, times, frames), rates, np.sqrt(length))
    images = []
    for column in found:
        image = np.zeros(fitted.size, dtype=np.float32)
        image[fitted] = column
        images.append(image.reshape(shape))
    return ReferenceImages(images[0], images[1], images[2], fitted.reshape(shape))


def _designs(
    rates: FloatArray, delivered: FloatArray, curve: FloatArray, times: FloatArray, frames: FloatArray
) -> FloatArray:
    """Reference and its convolution in each frame for every rate, shape ``(rate, frame, 2)``."""
    bases = [frame_means(convolve_exponential(curve, times, rate), times, frames) for rate in rates]
    return np.stack([np.stack([delivered, basis], axis=1) for basis in bases])


def _fit(
    values: npt.NDArray[np.float32], designs: FloatArray, rates: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``R1``, ``k2`` and ``BP`` of each column, shape ``(voxel,)``."""
    y = values * weights[:, None].astype(np.float32)
    orthogonal = [np.linalg.qr(design * weights[:, None]) for design in designs]
    explained = np.stack([((q.T.astype(np.float32) @ y) ** 2).sum(0) for q, _ in orthogonal])
    best = np.clip(explained.argmax(0), 1, len(rates) - 2)
    r1, k2, binding = (np.zeros(values.shape[1]) for _ in range(3))
    for k in np.unique(best):
        here = best == k
        near = (k - 1, k, k + 1)
        parts = [np.linalg.solve(orthogonal[n][1], orthogonal[n][0].T @ y[:, here].astype(np.float64)) for n in near]
        errors = [
            ((y[:, here] - (designs[n] * weights[:, None]) @ p) ** 2).sum(0) for n, p in zip(near, parts, strict=True)
        ]
        curvature = errors[0] - 2 * errors[1] + errors[2]
        shift = np.where(curvature > 0, 0.5 * (errors[0] - errors[2]) / np.where(curvature > 0, curvature, 1.0), 0.0)
        shift = np.clip(shift, -1.0, 1.0)
        # quadratic through the three solutions, taken at the parabola's vertex
        share = (shift * (shift - 1) / 2, 1 - shift**2, shift * (shift + 1) / 2)
        first, second = sum(s * p for s, p in zip(share, parts, strict=True))
        rate = rates[k] * (rates[k + 1] / rates[k]) ** shift
        efflux = second + first * rate
        r1[here], k2[here], binding[here] = first, efflux, efflux / rate - 1
    return r1, k2, binding
