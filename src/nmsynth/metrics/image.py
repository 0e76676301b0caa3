"""Voxel-wise image metrics in a mask: NRMSE, PSNR, SSIM, MAE and bias, with their data range and reference printed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.metrics.measurement import Measurement

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

SSIM_SIGMA_VOXELS = 1.5
"""Standard deviation of the Gaussian window of SSIM [voxels], as in Wang et al. 2004."""
SSIM_TRUNCATE = 3.5
"""Radius of that window in standard deviations: 11 voxels wide."""
SSIM_K = (0.01, 0.03)
"""Constants K1 and K2 of SSIM."""


def _pair(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values of both images inside the mask, as float64."""
    a, b = np.asarray(image), np.asarray(reference)
    if a.shape != b.shape:
        raise InputError(
            f"Images must share a grid to be compared; found shapes {a.shape} and {b.shape}. Resample one to the other."
        )
    if mask is None:
        return a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    inside = np.asarray(mask, dtype=bool)
    if inside.shape != a.shape:
        raise InputError(f"A mask must have the shape of the image {a.shape}; found {inside.shape}. Resample the mask.")
    return a[inside].astype(np.float64), b[inside].astype(np.float64)


def rmse(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float | None:
    """Root mean square error, sqrt(mean (I - R)^2) over the mask.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit.
    mask
        Shape ``(z, y, x)``; the whole image where ``None``.

    Returns
    -------
        In the unit of the images; ``None`` where the mask is empty.
    """
    a, b = _pair(image, reference, mask)
    return math.sqrt(float(np.mean((a - b) ** 2))) if a.size else None


def nrmse(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float | None:
    """Normalised root mean square error: RMS of I - R in the mask over the RMS of R there.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit.
    mask
        Shape ``(z, y, x)``, normally the body; the whole image where ``None``.

    Returns
    -------
        Ratio; ``None`` where the mask is empty or the reference is zero in it.

    Examples
    --------
    >>> round(nrmse(np.full((2, 2, 2), 1.1), np.ones((2, 2, 2))), 6)
    0.1
    """
    a, b = _pair(image, reference, mask)
    if not a.size:
        return None
    level = math.sqrt(float(np.mean(b**2)))
    return math.sqrt(float(np.mean((a - b) ** 2))) / level if level > 0 else None


def psnr(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None, *, data_range: float
) -> float | None:
    """Peak signal-to-noise ratio, 20 log10(data_range / RMSE) in the mask [dB].

    Returns
    -------
        ``None`` where the mask is empty, the data range is not positive, or the images are equal (infinite).
    """
    error = rmse(image, reference, mask)
    if not error or data_range <= 0:
        return None
    return 20.0 * math.log10(data_range / error)


def mae(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float | None:
    """Mean absolute error over the mask, in the unit of the images; ``None`` where the mask is empty."""
    a, b = _pair(image, reference, mask)
    return float(np.mean(np.abs(a - b))) if a.size else None


def bias(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float | None:
    """Mean of I - R over the mask, in the unit of the images; ``None`` where the mask is empty."""
    a, b = _pair(image, reference, mask)
    return float(np.mean(a - b)) if a.size else None


def relative_bias(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float | None:
    """Activity conservation: sum of I over sum of R in the mask, minus 1.

    Returns
    -------
        Ratio minus 1; ``None`` where the mask is empty or the reference sums to nothing positive.

    Examples
    --------
    >>> relative_bias(np.full((2, 2, 2), 1.5), np.ones((2, 2, 2)))
    0.5
    """
    a, b = _pair(image, reference, mask)
    total = float(b.sum())
    return float(a.sum()) / total - 1.0 if total > 0 else None


def _bounding_slices(mask: Mask, margin: int) -> tuple[slice, ...]:
    """Smallest box around the mask, widened by a margin in voxels and cut at the image's edge."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(i for i in range(mask.ndim) if i != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + margin + 1, mask.shape[axis])))
    return tuple(box)


def ssim_map(image: npt.ArrayLike, reference: npt.ArrayLike, *, data_range: float) -> npt.NDArray[np.float64]:
    """Local structural similarity in 3-D with a Gaussian window of 1.5 voxels, 11 voxels wide.

    SSIM = (2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2)), C = (K L)^2 with
    K = 0.01 and 0.03 and L the data range [Wang2004]_. The window is in voxels, so on anisotropic voxels it is
    anisotropic in mm. Edges are continued by reflection, so thin volumes have a value too.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)``, one unit; neither is rescaled.
    data_range
        L, in the unit of the images, positive.

    Returns
    -------
        Shape ``(z, y, x)``.

    References
    ----------
    .. [Wang2004] Z. Wang et al., IEEE Trans Image Process 13(4):600-612, 2004.
    """
    if not data_range > 0:
        raise InputError(f"SSIM needs a positive data range; found {data_range}. Give the range of the display window.")
    a, b = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)

    def window(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(values, SSIM_SIGMA_VOXELS, truncate=SSIM_TRUNCATE, mode="reflect"))

    mean_a, mean_b = window(a), window(b)
    variance_a = window(a * a) - mean_a**2
    variance_b = window(b * b) - mean_b**2
    covariance = window(a * b) - mean_a * mean_b
    c1, c2 = ((k * data_range) ** 2 for k in SSIM_K)
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray(numerator / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)))


def ssim(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike | None = None, *, data_range: float
) -> float | None:
    """Mean over the mask of the local structural similarity; see :func:`ssim_map`.

    The images are taken as they are: dividing each by its own maximum would hide a global bias.

    Returns
    -------
        ``None`` where the mask is empty or the data range is not positive.
    """
    a, b = np.asarray(image), np.asarray(reference)
    inside = np.ones(a.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    _pair(a[:0], b[:0], None)
    if not inside.any() or data_range <= 0:
        return None
    box = _bounding_slices(inside, 6)
    return float(ssim_map(a[box], b[box], data_range=data_range)[inside[box]].mean())


def image_metrics(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    data_range: float,
    unit: str,
    mask_name: str,
    reference_kind: str,
    with_ssim: bool = True,
) -> list[Measurement]:
    """All voxel-wise metrics, each with its data range, mask, unit and reference.

    Parameters
    ----------
    image, reference
        Shape ``(z, y, x)`` in ``unit``.
    mask
        Shape ``(z, y, x)``.
    data_range
        For PSNR and SSIM, in ``unit``.
    unit
        Unit of the images, as printed.
    mask_name
        Name of the mask, as printed.
    reference_kind
        ``T0``, ``T1`` or ``T2``.
    with_ssim
        Compute SSIM, the slowest of them.
    """
    reason = None
    if not np.asarray(mask).any():
        reason = "the mask is empty"
    elif not np.any(np.asarray(reference)[np.asarray(mask, dtype=bool)]):
        reason = "the reference is zero in the mask"
    error = rmse(image, reference, mask)
    psnr_reason = "the images are equal in the mask: PSNR is infinite" if error == 0 and reason is None else reason
    values: list[tuple[str, float | None, str, float | None, str | None]] = [
        ("NRMSE", nrmse(image, reference, mask), "1", None, reason),
        ("RMSE", error, unit, None, reason),
        ("PSNR", psnr(image, reference, mask, data_range=data_range), "dB", data_range, psnr_reason),
        ("MAE", mae(image, reference, mask), unit, None, reason),
        ("bias", bias(image, reference, mask), unit, None, reason),
        ("relative bias", relative_bias(image, reference, mask), "1", None, reason),
    ]
    if with_ssim:
        values.append(("SSIM", ssim(image, reference, mask, data_range=data_range), "1", data_range, reason))
    return [
        Measurement(name, value, units, mask_name, reference_kind, scale, reason=why if value is None else None)
        for name, value, units, scale, why in values
    ]
