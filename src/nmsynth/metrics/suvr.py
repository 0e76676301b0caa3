"""Uptake relative to a reference region, with each tracer's own window and region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

MINIMUM_REFERENCE_ML = 1.0
"""Smallest reference region [mL]: in less, noise and the blur of its neighbours decide the ratio."""


@dataclass(frozen=True, slots=True)
class SuvrRule:
    """When a tracer is imaged for a ratio, and what it is compared with.

    Attributes
    ----------
    start_min, end_min
        Window after injection [min].
    references
        Reference regions in use, the preferred first.
    source
        Publication of window and region.
    """

    start_min: float
    end_min: float
    references: tuple[str, ...]
    source: str


SUVR_RULES: dict[str, SuvrRule] = {
    "FDG": SuvrRule(
        30, 60, ("pons", "cerebellar vermis"),
        "W. J. Jagust et al., Alzheimers Dement 6:221-229, 2010 (window); S. M. Landau et al., Neurobiol Aging "
        "32:1207-1218, 2011 (pons and vermis)",
    ),
    "PiB": SuvrRule(
        50, 70, ("cerebellar grey", "whole cerebellum"),
        "W. E. Klunk et al., Alzheimers Dement 11:1-15, 2015 (Centiloid: whole cerebellum)",
    ),
    "florbetapir": SuvrRule(
        50, 70, ("whole cerebellum",),
        "S. M. Landau et al., J Nucl Med 54:70-77, 2013; Centiloid takes 50-60 min (M. Navitsky et al., Alzheimers "
        "Dement 14:1565-1571, 2018)",
    ),
    "florbetaben": SuvrRule(
        90, 110, ("whole cerebellum",), "C. C. Rowe et al., Eur J Nucl Med Mol Imaging 44:2053-2059, 2017"
    ),
    "flutemetamol": SuvrRule(
        90, 110, ("whole cerebellum", "pons"), "M. R. Battle et al., EJNMMI Res 8:107, 2018"
    ),
    "flortaucipir": SuvrRule(
        80, 100, ("inferior cerebellar grey",), "S. L. Baker et al., Data Brief 15:648-657, 2017"
    ),
}  # fmt: skip
"""Rules by tracer. A threshold belongs to tracer, region and pipeline; a Centiloid only to its standard regions."""


def suvr_rule(tracer: str) -> SuvrRule:
    """The rule of a tracer.

    Raises
    ------
    InputError
        If there is none.
    """
    for name, rule in SUVR_RULES.items():
        if name.lower() == tracer.strip().lower():
            return rule
    raise InputError(f"SUVR is defined for {', '.join(SUVR_RULES)}; found '{tracer}'.")


def suvr(
    image: npt.NDArray[np.floating],
    reference_mask: npt.NDArray[np.bool_],
    *,
    voxel_volume_ml: float,
    minimum_ml: float = MINIMUM_REFERENCE_ML,
) -> npt.NDArray[np.float32]:
    """Image over its mean in a reference region.

    Parameters
    ----------
    image
        Activity concentration or SUV, shape ``(z, y, x)``; any unit, as it falls out.
    reference_mask
        Reference region, same shape.
    voxel_volume_ml
        Volume of a voxel [mL].
    minimum_ml
        Smallest region that is taken [mL].

    Returns
    -------
        Ratio without unit, same shape.

    Raises
    ------
    InputError
        If the region is empty or too small, or its mean is not above 0.

    Examples
    --------
    >>> suvr(np.array([[[2.0, 4.0]]]), np.array([[[True, False]]]), voxel_volume_ml=1.0)
    array([[[1., 2.]]], dtype=float32)
    """
    mean = reference_mean(image, reference_mask, voxel_volume_ml=voxel_volume_ml, minimum_ml=minimum_ml)
    return np.asarray(np.asarray(image, dtype=np.float64) / mean, dtype=np.float32)


def reference_mean(
    image: npt.NDArray[np.floating],
    reference_mask: npt.NDArray[np.bool_],
    *,
    voxel_volume_ml: float,
    minimum_ml: float = MINIMUM_REFERENCE_ML,
) -> float:
    """Mean of a reference region that can bear a ratio; arguments and errors as :func:`suvr` has them."""
    values, mask = np.asarray(image), np.asarray(reference_mask, dtype=bool)
    if values.shape != mask.shape:
        raise InputError(f"Image and reference region must share a grid; found {values.shape} and {mask.shape}.")
    volume = float(mask.sum()) * voxel_volume_ml
    if not volume >= minimum_ml:
        raise InputError(
            f"A reference region must hold at least {minimum_ml:g} mL; found {volume:.3g} mL. "
            "Check that the mask lies on the image's grid and in its field of view."
        )
    mean = float(values[mask].mean(dtype=np.float64))
    if not (np.isfinite(mean) and mean > 0):
        raise InputError(f"A ratio needs a reference region with a mean above 0; found {mean:g}.")
    return mean


def region_ratios(
    image: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    names: dict[int, str],
    reference_mask: npt.NDArray[np.bool_],
    *,
    voxel_volume_ml: float,
) -> dict[str, float]:
    """SUVR of each region: its mean over that of the reference.

    Parameters
    ----------
    image, reference_mask, voxel_volume_ml
        As :func:`suvr` takes them.
    labels
        Region of each voxel, shape ``(z, y, x)``.
    names
        Name of each label; labels without a voxel are left out.
    """
    mean = reference_mean(image, reference_mask, voxel_volume_ml=voxel_volume_ml)
    return {
        name: float(np.asarray(image)[labels == label].mean(dtype=np.float64)) / mean
        for label, name in names.items()
        if (labels == label).any()
    }


COMPOSITES: dict[str, tuple[str, ...]] = {
    "amyloid cortex": ("frontal", "anterior cingulate", "precuneus", "parietal", "lateral temporal"),
    "metabolic cortex": ("precuneus", "parietal", "lateral temporal"),
}
"""Regions of a cortical composite by its name, in nmsynth's own atlas: of plaques as C. M. Clark et al., JAMA
305:275-283, 2011 took them, and where Alzheimer's disease lowers metabolism first, after S. M. Landau et al., Neurobiol
Aging 32:1207-1218, 2011. Levels and thresholds of another atlas do not hold for it."""


def composite_ratio(ratios: Mapping[str, float], composite: str) -> float | None:
    """Mean of the ratios of a composite's regions, each region alike; ``None`` where one is missing.

    Examples
    --------
    >>> composite_ratio({"precuneus": 2.0, "parietal": 1.5, "lateral temporal": 1.0}, "metabolic cortex")
    1.5
    """
    regions = COMPOSITES[composite]
    return sum(ratios[r] for r in regions) / len(regions) if all(r in ratios for r in regions) else None
