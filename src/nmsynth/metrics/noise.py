"""Noise: variation in a sphere and over realisations, correlation between voxels, repeatability."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.quantitative import region_mean
from nmsynth.metrics.regions import Spacing, sphere_weights


def standard_deviation(image: npt.ArrayLike, weights: npt.ArrayLike) -> float | None:
    """Measure the standard deviation of the voxels in a mask or with partial-volume weights [unit of the image].

    Weighted by w: sqrt(sum w (I - m)^2 / (sum w - sum w^2 / sum w)), the sample value for a mask.
    ``None`` for fewer than two voxels.
    """
    w = np.asarray(weights, dtype=np.float64)
    inside = w > 0
    values, w = np.asarray(image)[inside].astype(np.float64), w[inside]
    if values.size < 2:
        return None
    total = float(w.sum())
    mean = float((w * values).sum()) / total
    freedom = total - float((w**2).sum()) / total
    return math.sqrt(float((w * (values - mean) ** 2).sum()) / freedom) if freedom > 0 else None


def coefficient_of_variation(image: npt.ArrayLike, weights: npt.ArrayLike) -> float | None:
    """SD over mean in a mask or with partial-volume weights; ``None`` where the mean is not positive."""
    mean, deviation = region_mean(image, np.asarray(weights)), standard_deviation(image, weights)
    return None if mean is None or deviation is None or mean <= 0 else deviation / mean


def residual_noise(
    image: npt.ArrayLike, reference: npt.ArrayLike, region: npt.ArrayLike, *, as_counts: bool = False
) -> float | None:
    """Noise of an image against a noise-free reference, over the mean of the reference, in a region.

    Of the differences d to the reference r it is SD(d) / mean(r); what the region shows by itself is no noise. Of
    counts, whose noise follows their number, it is SD(d / sqrt(r)) / sqrt(mean(r)), so that no bright part of the
    region decides: 1 / sqrt(n) of Poisson counts of mean n. A bias of all of the region is no noise, but one that
    varies is taken for some.

    Parameters
    ----------
    image, reference
        One shape and unit; the reference without noise.
    region
        Where it is measured, of that shape; of counts only where the reference is positive.
    as_counts
        Whether values are counts or proportional to them.

    Returns
    -------
        ``None`` for fewer than two voxels, or a mean that is not positive.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(25.0, (200, 200))
    >>> round(residual_noise(counts, np.full((200, 200), 25.0), counts >= 0, as_counts=True), 2)
    0.2
    """
    expected = np.asarray(reference, dtype=np.float64)
    inside = np.asarray(region, dtype=bool)
    if as_counts:
        inside = inside & (expected > 0)
    expected = expected[inside]
    if expected.size < 2 or expected.mean() <= 0:
        return None
    difference = np.asarray(image)[inside].astype(np.float64) - expected
    if as_counts:
        return float((difference / np.sqrt(expected)).std(ddof=1) / math.sqrt(expected.mean()))
    return float(difference.std(ddof=1) / expected.mean())


def ensemble_cov(realisations: npt.ArrayLike, mask: npt.ArrayLike) -> float | None:
    """Noise over realisations: root of the mean over voxels of the variance, over the mean.

    Unlike the variation within one image, it holds no structure of the organ.

    Parameters
    ----------
    realisations
        Shape ``(realisation, z, y, x)``, at least two.
    mask
        Shape ``(z, y, x)``.
    """
    values = _stack(realisations)[:, np.asarray(mask, dtype=bool)]
    if not values.shape[1] or values.mean() <= 0:
        return None
    return math.sqrt(float(values.var(axis=0, ddof=1).mean())) / float(values.mean())


def _stack(realisations: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Realisations as float64, at least two."""
    stack = np.asarray(realisations, dtype=np.float64)
    if stack.ndim < 2 or stack.shape[0] < 2:
        raise InputError(f"Noise over realisations needs at least two; found shape {stack.shape}. Give more of them.")
    return stack


def autocorrelation(
    noise: npt.ArrayLike, mask: npt.ArrayLike, *, lags: Sequence[int] = (1, 2, 3)
) -> dict[str, dict[int, float | None]]:
    """Correlation of noise between voxels some lags apart, in the plane and along the axis.

    For each pair of voxels both in the mask, the mean product over the mean square. One image has its mean in the mask
    taken off, which leaves organ structure in; several realisations have their voxel-wise mean taken off, which
    does not, with the products averaged over all.

    Parameters
    ----------
    noise
        One image, shape ``(z, y, x)``, or realisations, shape ``(realisation, z, y, x)``.
    mask
        Homogeneous region, shape ``(z, y, x)``.
    lags
        In voxels.

    Returns
    -------
        ``{"in-plane": {lag: value}, "axial": {lag: value}}``; in-plane is over y and x together. ``None`` where no
        pair fits in the mask or the image does not vary.
    """
    inside = np.asarray(mask, dtype=bool)
    stack = np.asarray(noise, dtype=np.float64)
    if stack.ndim == inside.ndim:
        stack = stack[None]
        centred = stack - (stack[:, inside].mean() if inside.any() else 0.0)
    else:
        centred = stack - stack.mean(axis=0)
    directions = {"in-plane": (1, 2), "axial": (0,)}
    return {
        name: {lag: _lagged_correlation(centred, inside, axes, lag) for lag in lags}
        for name, axes in directions.items()
    }


def _lagged_correlation(
    stack: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_], axes: Sequence[int], lag: int
) -> float | None:
    """Sum of products over the geometric mean of the sums of squares, over pairs in the mask along some axes."""
    products = first_squares = second_squares = 0.0
    for axis in axes:
        n = mask.shape[axis]
        if lag >= n:
            continue
        head = tuple(slice(0, n - lag) if i == axis else slice(None) for i in range(3))
        tail = tuple(slice(lag, n) if i == axis else slice(None) for i in range(3))
        pairs = mask[head] & mask[tail]
        first, second = stack[(slice(None), *head)][:, pairs], stack[(slice(None), *tail)][:, pairs]
        products += float((first * second).sum())
        first_squares += float((first**2).sum())
        second_squares += float((second**2).sum())
    norm = math.sqrt(first_squares * second_squares)
    return products / norm if norm > 0 else None


def background_variability(
    image: npt.ArrayLike,
    spacing_mm: Spacing,
    *,
    centres_index: Sequence[tuple[float, float, float]],
    diameter_mm: float,
) -> float | None:
    """Background variability after NEMA NU 2: SD over mean of the means of equal spheres in the background.

    Parameters
    ----------
    image
        Shape ``(z, y, x)``.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    centres_index
        Fractional array indices of the spheres' centres; NEMA takes 60 discs, here spheres, as many as are given.
    diameter_mm
        Of the spheres [mm].
    """
    array = np.asarray(image)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    means = [
        region_mean(array, sphere_weights(shape, spacing_mm, centre_index=centre, diameter_mm=diameter_mm))
        for centre in centres_index
    ]
    values = np.array([value for value in means if value is not None])
    if values.size < 2 or values.mean() <= 0:
        return None
    return float(values.std(ddof=1) / values.mean())


def noise_reduction(image: npt.ArrayLike, source: npt.ArrayLike, weights: npt.ArrayLike) -> float | None:
    """1 minus the ratio of the standard deviations of image and source in a region; 0.5 means half the noise."""
    after, before = standard_deviation(image, weights), standard_deviation(source, weights)
    return None if after is None or not before else 1.0 - after / before


def repeatability(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Within-lesion coefficient of variation over realisations, SD / mean.

    Parameters
    ----------
    values
        Such as SUVpeak, shape ``(realisation, lesion)``, at least two realisations.

    Returns
    -------
        Shape ``(lesion,)``; infinite where the mean is not positive.
    """
    stack = _stack(values)
    mean, deviation = stack.mean(axis=0), stack.std(axis=0, ddof=1)
    return np.asarray(np.divide(deviation, mean, out=np.full_like(mean, math.inf), where=mean > 0))


def neighbour_dispersion(counts: npt.ArrayLike) -> float | None:
    """Variance over mean of counts, from differences of neighbours along the last axis.

    ``D = sum (a - b)^2 / sum (a + b)`` over pairs of neighbours, disjoint. For independent Poisson counts of slowly
    varying expectation it is 1 or, where the expectation changes, a little more; below 1 the image was smoothed,
    interpolated or scaled down, and above it scaled up.

    Parameters
    ----------
    counts
        Any shape, the last axis in space.

    Returns
    -------
        ``None`` where there are no counts.

    Examples
    --------
    >>> neighbour_dispersion([[4.0, 2.0, 3.0, 3.0]])
    0.3333333333333333
    """
    array = np.asarray(counts, dtype=np.float64)
    n = array.shape[-1] // 2 * 2
    one, other = array[..., 0:n:2], array[..., 1:n:2]
    total = float((one + other).sum())
    return float(((one - other) ** 2).sum() / total) if total > 0 else None
