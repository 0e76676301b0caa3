"""Channelised Hotelling observer: how well a lesion at a known place can be told from its absence."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED, Interval
from nmsynth.metrics.regions import Spacing

FloatArray = npt.NDArray[np.float64]

CHANNEL_SIGMAS_MM = (2.0, 3.2, 5.1, 8.2, 13.1)
"""Standard deviations of the Gaussians whose successive differences are the channels [mm]."""
MIN_PER_FOLD = 4
"""Least images of each kind in each half, over the number of channels, below which a covariance means little."""


def difference_of_gaussian_channels(shape: tuple[int, int, int], spacing_mm: Spacing) -> FloatArray:
    """Rotation-symmetric band-pass channels in 3-D, centred in a patch.

    Each is a narrower Gaussian less the next wider one, both of unit sum, so that a constant gives zero.

    Parameters
    ----------
    shape
        Of the patch, ``(z, y, x)``, odd, about 80 mm wide or more.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].

    Returns
    -------
        Shape ``(channel, z, y, x)``.

    References
    ----------
    C. K. Abbey, H. H. Barrett, J Opt Soc Am A 18(3):473-488, 2001.
    """
    axes = [(np.arange(n) - (n - 1) / 2.0) * size for n, size in zip(shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    square = z**2 + y**2 + x**2
    gaussians = [np.exp(-square / (2.0 * sigma**2)) for sigma in CHANNEL_SIGMAS_MM]
    unit = [gaussian / gaussian.sum() for gaussian in gaussians]
    return np.stack([narrow - wide for narrow, wide in itertools.pairwise(unit)])


def area_under_curve(present: npt.ArrayLike, absent: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a present score exceeds an absent one, ties counted half."""
    a, b = np.asarray(present, dtype=np.float64)[:, None], np.asarray(absent, dtype=np.float64)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def hotelling_auc(
    present: npt.ArrayLike,
    absent: npt.ArrayLike,
    channels: npt.ArrayLike,
    *,
    n_bootstrap: int = N_BOOTSTRAP,
    level: float = 0.95,
    seed: int = SEED,
) -> Interval:
    """AUC of a channelised Hotelling observer, trained on one half of the images and read on the other, both ways.

    The template is K^-1 (m_1 - m_0) in channel space, K the mean covariance of both kinds. Training and reading on
    the same images would overstate the AUC. The interval resamples the scores of each half; it does not hold the
    uncertainty of training.

    Parameters
    ----------
    present, absent
        Patches with and without the lesion, around its known place, shape ``(image, z, y, x)``; independent noise.
    channels
        Shape ``(channel, z, y, x)``; see :func:`difference_of_gaussian_channels`.
    n_bootstrap, level, seed
        Of the percentile interval.

    Raises
    ------
    InputError
        For fewer than 4 images of each kind per half and channel.
    """
    folds = _read_both_ways(present, absent, channels)
    generator = np.random.default_rng(seed)
    draws = [
        np.mean([area_under_curve(generator.choice(a, a.size), generator.choice(b, b.size)) for a, b in folds])
        for _ in range(n_bootstrap)
    ]
    value = float(np.mean([area_under_curve(a, b) for a, b in folds]))
    return _interval(value, draws, min(len(np.asarray(present)), len(np.asarray(absent))), level)


def hotelling_auc_difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    channels: npt.ArrayLike,
    *,
    n_bootstrap: int = N_BOOTSTRAP,
    level: float = 0.95,
    seed: int = SEED,
) -> Interval:
    """AUC of the observer on images of one method less that on images of another, of the same subjects.

    Each method has its own template, as a reader who knows it. The interval resamples subjects, the same for both, so
    that what is hard to see in both does not widen it.

    Parameters
    ----------
    first, second
        Patches with and without the lesion, as in :func:`hotelling_auc`; of both methods in the same order of subjects.
    channels
        Shape ``(channel, z, y, x)``.
    n_bootstrap, level, seed
        Of the percentile interval.

    Raises
    ------
    InputError
        If the numbers of images differ, or there are too few.
    """
    numbers = [[len(np.asarray(patches)) for patches in pair] for pair in (first, second)]
    if numbers[0] != numbers[1]:
        raise InputError(
            f"Methods are compared on the same subjects; found {numbers[0]} and {numbers[1]} images. Give both for all."
        )
    folds = list(zip(_read_both_ways(*first, channels), _read_both_ways(*second, channels), strict=True))
    generator = np.random.default_rng(seed)

    def drawn(here: tuple[FloatArray, FloatArray], there: tuple[FloatArray, FloatArray]) -> float:
        """Difference for subjects drawn with replacement."""
        with_ = generator.integers(0, here[0].size, here[0].size)
        without = generator.integers(0, here[1].size, here[1].size)
        return area_under_curve(here[0][with_], here[1][without]) - area_under_curve(there[0][with_], there[1][without])

    draws = [np.mean([drawn(*fold) for fold in folds]) for _ in range(n_bootstrap)]
    value = float(np.mean([area_under_curve(*a) - area_under_curve(*b) for a, b in folds]))
    return _interval(value, draws, min(numbers[0]), level)


def _interval(value: float, draws: npt.ArrayLike, n: int, level: float) -> Interval:
    """A value with percentiles of what was drawn."""
    tail = 100.0 * (1.0 - level) / 2.0
    lower, upper = np.percentile(np.asarray(draws), [tail, 100.0 - tail])
    return Interval(value, float(lower), float(upper), n, level)


def _read_both_ways(
    present: npt.ArrayLike, absent: npt.ArrayLike, channels: npt.ArrayLike
) -> list[tuple[FloatArray, FloatArray]]:
    """Scores with and without the lesion of each half, by the template of the other half."""
    bank = np.asarray(channels, dtype=np.float64)
    outputs = [_channel_outputs(patches, bank) for patches in (present, absent)]
    fewest = min(len(outputs[0]), len(outputs[1])) // 2
    if fewest < MIN_PER_FOLD * len(bank):
        raise InputError(
            f"A Hotelling observer of {len(bank)} channels needs {2 * MIN_PER_FOLD * len(bank)} images of each kind; "
            f"found {len(outputs[0])} with and {len(outputs[1])} without the lesion. Simulate more realisations."
        )
    folds: list[tuple[FloatArray, FloatArray]] = []
    for first in (0, 1):
        train = [values[first::2] for values in outputs]
        test = [values[1 - first :: 2] for values in outputs]
        covariance = (np.cov(train[0], rowvar=False) + np.cov(train[1], rowvar=False)) / 2.0
        template = np.linalg.pinv(covariance, hermitian=True) @ (train[0].mean(axis=0) - train[1].mean(axis=0))
        folds.append((test[0] @ template, test[1] @ template))
    return folds


def _channel_outputs(patches: npt.ArrayLike, channels: FloatArray) -> FloatArray:
    """Inner products of patches and channels, shape ``(image, channel)``."""
    stack = np.asarray(patches, dtype=np.float64)
    if stack.shape[1:] != channels.shape[1:]:
        raise InputError(f"Patches must have the shape of the channels {channels.shape[1:]}; found {stack.shape[1:]}.")
    return np.asarray(stack.reshape(len(stack), -1) @ channels.reshape(len(channels), -1).T)
