"""What is derived from a dynamic scan: early and late images, ratios, parametric images, and the truth of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.dynamic_scan import ScannedDynamic
from nmsynth.metrics.suvr import MINIMUM_REFERENCE_ML, SUVR_RULES, suvr
from nmsynth.physics.kinetic_regions import BRAIN, REFERENCE_REGIONS
from nmsynth.physics.kinetics import patlak_image
from nmsynth.physics.reference_models import logan_reference, patlak_reference
from nmsynth.physics.reference_tissue_image import srtm_image
from nmsynth.physics.static_window import static_image

Images = dict[str, Volume]
"""Images by the name of their file."""


def windows_of(study: ScannedDynamic) -> dict[str, tuple[float, float]]:
    """Windows of the early and the late image that the frames cover [min]."""
    end = float(study.frames_min[-1, 1])
    windows = {"early": study.tracer.early_min, "late": study.tracer.late_min}
    return {name: window for name, window in windows.items() if window[1] <= end + 1e-6}


def static_images(study: ScannedDynamic, frames: Volume, kind: str) -> Images:
    """Early and late image of a dynamic one, and its SUVR.

    What the frames do not cover is left out, and SUVR where the tracer has no rule or less than 1 mL of its reference
    region was scanned; see :func:`left_out`.
    """
    images: Images = {}
    for name, window in windows_of(study).items():
        array = static_image(frames.array, study.frames_min, window)
        images[name] = study.image(array, f"{name} {kind}", window_min=list(window))
    rule = SUVR_RULES.get(study.tracer.name)
    region = None if rule is None else study.head.reference(rule.references, study.scan.voxel_volume_ml)
    if region is not None and "late" in images:
        mask = study.head.mask_of(region)
        ratio = suvr(images["late"].array, mask, voxel_volume_ml=study.scan.voxel_volume_ml)
        images["suvr"] = study.image(
            ratio, f"SUVR {kind}", Unit.SUVR, window_min=list(study.tracer.late_min), reference_region=region
        )
    return images


def part_images(
    study: ScannedDynamic, frames: Volume, ends_min: Sequence[float], *, seen_min: float | None = None
) -> Images:
    """Static images of successive parts of a scan, by names such as ``minutes-00-10``.

    Parameters
    ----------
    study
        With its frames.
    frames
        Dynamic image.
    ends_min
        Ends of the parts, rising, from the injection on [min].
    seen_min
        Parts that end later are left out.

    Raises
    ------
    InputError
        If the ends do not rise, the first part is not seen, or the frames do not cover a part.
    """
    ends = list(ends_min)
    if any(b <= a for a, b in itertools.pairwise([0.0, *ends])):
        raise InputError(f"Parts of a scan need ends that rise from above 0 min; found {tuple(ends)}.")
    images: Images = {}
    for start, end in itertools.pairwise([0.0, *ends]):
        if seen_min is not None and end > seen_min + 1e-6:
            break
        array = static_image(frames.array, study.frames_min, (start, end))
        name = f"minutes-{start:02.0f}-{end:02.0f}"
        images[name] = study.image(array, f"{start:g} to {end:g} minutes", window_min=[start, end])
    if ends and not images:
        raise InputError(
            f"The first part of a scan ends after {ends[0]:g} min; only {seen_min} min are seen. See more."
        )
    return images


def plasma_integral(study: ScannedDynamic, until_min: float) -> float:
    """Integral of unchanged tracer in plasma from the injection to a time [SUV min]."""
    inside = study.minutes <= until_min
    return round(float(np.trapezoid(study.plasma_suv[inside], study.minutes[inside])), 4)


def left_out(study: ScannedDynamic) -> dict[str, str]:
    """Why an image of the list is not there, by its name."""
    missing = {
        name: "the frames do not cover its window" for name in ("early", "late") if name not in windows_of(study)
    }
    rule = SUVR_RULES.get(study.tracer.name)
    if rule is None:
        missing["suvr"] = f"no window and reference region are in use for {study.tracer.name}"
    elif "late" in missing:
        missing["suvr"] = missing["late"]
    elif study.head.reference(rule.references, study.scan.voxel_volume_ml) is None:
        missing["suvr"] = f"less than {MINIMUM_REFERENCE_ML:g} mL of {' or '.join(rule.references)} was scanned"
    return missing


def parametric_images(study: ScannedDynamic, frames: Volume, kind: str) -> Images:
    """Parametric images that the tracer's analysis finds in a dynamic image.

    ``patlak`` with plasma [mL/cm3/min]; ``patlak_reference`` [1/min]; or ``r1``, ``bp`` (simplified reference tissue
    model) and ``dvr`` (Logan with reference), by the tracer.
    """
    spans, start = study.frames_min, study.fit_start_min
    if study.tracer.analysis == "plasma":
        slope = patlak_image(
            frames.array / np.float32(study.bqml_per_suv), spans, study.plasma_suv, study.minutes, start_min=start
        )
        return {"patlak": study.image(slope, f"Patlak slope {kind}", Unit.INFLUX, fit_start_min=start)}
    region = study.reference
    curve = frames.array[:, study.head.mask_of(region)].mean(axis=1, dtype=np.float64)
    stated: dict[str, Any] = {"reference_region": region}
    if study.tracer.analysis == "influx":
        relative = patlak_reference(frames.array, spans, curve, start_min=start)
        stated["fit_start_min"] = start
        return {"patlak_reference": study.image(relative, f"Patlak slope, reference {kind}", Unit.PER_MINUTE, **stated)}
    fit = srtm_image(frames.array, spans, curve)
    ratio = logan_reference(frames.array, spans, curve, start_min=start)
    return {
        "r1": study.image(fit.r1, f"R1 {kind}", Unit.UNITLESS, **stated),
        "bp": study.image(fit.binding_potential, f"BP {kind}", Unit.UNITLESS, **stated),
        "dvr": study.image(ratio, f"DVR {kind}", Unit.UNITLESS, fit_start_min=start, **stated),
    }


def true_images(study: ScannedDynamic) -> Images:
    """Parametric images that follow from the rate constants.

    ``ki_true``: ``(1 - V_b) K_i``, the slope of a Patlak plot if nothing leaves again. ``ki_reference_true``: ``K_i``
    over the reference's ``K1 / k2``. ``dvr_true``: ``V_T`` over that of the reference, ``bp_true`` that less one, in
    the brain alone. Texture scales them as it scales activity.
    """
    if study.tracer.analysis == "plasma":
        slopes = [(1 - r.blood_volume) * r.influx for r in study.rates]
        return {"ki_true": study.image(study.by_region(slopes), "true influx", Unit.INFLUX)}
    region = study.reference
    free = next((r for r, name in zip(study.rates, study.head.names, strict=True) if name in REFERENCE_REGIONS[region]))
    stated = {"reference_region": region}
    if study.tracer.analysis == "influx":
        image = study.by_region([r.influx * free.k2 / free.k1 for r in study.rates])
        return {"ki_reference_true": study.image(image, "true influx relative to reference", Unit.PER_MINUTE, **stated)}
    ratios = [
        r.distribution_volume / free.distribution_volume if name in BRAIN else 0.0
        for r, name in zip(study.rates, study.head.names, strict=True)
    ]
    volume = study.by_region(ratios)
    binding = np.where(study.head.brain_labels > 0, volume - 1, 0.0)
    return {
        "dvr_true": study.image(volume, "true DVR", Unit.UNITLESS, **stated),
        "bp_true": study.image(binding, "true BP", Unit.UNITLESS, **stated),
    }
