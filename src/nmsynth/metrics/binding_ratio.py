"""Specific binding in the striatum against a region without it, as in dopamine-transporter SPECT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.suvr import region_ratios


def binding_ratios(
    image: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    names: dict[int, str],
    reference_mask: npt.NDArray[np.bool_],
    *,
    voxel_volume_ml: float,
) -> dict[str, float]:
    """Specific binding ratio of each region, ``(region - reference) / reference``, of mean concentrations [Innis2007]_.

    What small regions lose by the blur of the scanner is in it: ratios compare images of one resolution.

    Parameters
    ----------
    image
        Counts or activity concentration, shape ``(z, y, x)``; any unit, as it falls out.
    labels
        Region of each voxel, same shape, such as caudate and putamen of each side.
    names
        Name of each label; labels without a voxel are left out.
    reference_mask
        Region without specific binding, same shape: occipital cortex for ioflupane.
    voxel_volume_ml
        Volume of a voxel [mL].

    Raises
    ------
    InputError
        If the reference is smaller than 1 mL, or its mean is not above 0.

    References
    ----------
    .. [Innis2007] R. B. Innis et al., Consensus nomenclature for in vivo imaging of reversibly binding radioligands,
       J Cereb Blood Flow Metab 27:1533-1539, 2007.

    Examples
    --------
    >>> image = np.array([[[6.0, 2.0, 2.0]]])
    >>> labels, reference = np.array([[[1, 0, 0]]]), np.array([[[False, True, True]]])
    >>> binding_ratios(image, labels, {1: "left putamen"}, reference, voxel_volume_ml=1.0)
    {'left putamen': 2.0}
    """
    found = region_ratios(image, labels, names, reference_mask, voxel_volume_ml=voxel_volume_ml)
    return {name: ratio - 1.0 for name, ratio in found.items()}


def asymmetry_percent(left: float, right: float) -> float:
    """Difference of both sides over their mean, left minus right [%].

    Raises
    ------
    InputError
        If their mean is not above 0.

    Examples
    --------
    >>> asymmetry_percent(3.0, 1.0)
    100.0
    """
    mean = (left + right) / 2.0
    if not mean > 0:
        raise InputError(f"An asymmetry needs a mean of both sides above 0; found {mean:g}.")
    return 100.0 * (left - right) / mean
