"""How far images that were corrected in two ways agree: what an attenuation map that is not the true one costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BEYOND = (0.05, 0.10, 0.15)
"""Relative errors beyond which voxels are counted."""


def share_beyond(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, limit: float) -> float | None:
    """Share of the voxels of a mask whose value differs from the reference's by more than a share of that.

    Voxels at which the reference is zero or below count where the image differs at all.

    Parameters
    ----------
    image, reference
        In one unit, one shape.
    mask
        Where voxels are counted, same shape.
    limit
        Relative error, such as 0.05.

    Returns
    -------
        From 0 to 1; ``None`` for an empty mask.

    Examples
    --------
    >>> share_beyond([1.0, 1.2, 3.0, 9.0], [1.0, 1.0, 2.9, 1.0], [True, True, True, False], 0.05)
    0.3333333333333333
    """
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        return None
    values, expected = (np.asarray(a, dtype=np.float64)[inside] for a in (image, reference))
    return float(np.mean(np.abs(values - expected) > limit * np.maximum(expected, 0.0)))


def error_over_mean(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike) -> float | None:
    """Mean absolute error over the mean of the reference, both in a mask.

    Parameters
    ----------
    image, reference, mask
        As in :func:`share_beyond`.

    Returns
    -------
        ``None`` for an empty mask or a reference whose mean is not positive.

    Examples
    --------
    >>> error_over_mean([1.0, 3.0], [2.0, 2.0], [True, True])
    0.5
    """
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        return None
    values, expected = (np.asarray(a, dtype=np.float64)[inside] for a in (image, reference))
    mean = float(expected.mean())
    return float(np.abs(values - expected).mean() / mean) if mean > 0 else None


def organ_errors(
    image: npt.ArrayLike, reference: npt.ArrayLike, organs: dict[str, npt.NDArray[np.bool_]]
) -> dict[str, float]:
    """Relative error of the mean of each organ; organs that are empty, or without activity, are left out.

    Parameters
    ----------
    image, reference
        In one unit, one shape.
    organs
        Masks by name, same shape.

    Examples
    --------
    >>> organ_errors([2.0, 3.0], [4.0, 3.0], {"liver": np.array([True, False])})
    {'liver': -0.5}
    """
    values, expected = (np.asarray(a, dtype=np.float64) for a in (image, reference))
    found = {}
    for name, mask in organs.items():
        mean = float(expected[mask].mean()) if mask.any() else 0.0
        if mean > 0:
            found[name] = float(values[mask].mean()) / mean - 1.0
    return found
