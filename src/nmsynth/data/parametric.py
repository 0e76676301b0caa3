"""What is derived from a dynamic scan: early and late images, ratios, parametric images, and the truth of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.dynamic_scan import ScannedDynamic
from nmsynth.metrics.suvr import SUVR_RULES, suvr
from nmsynth.physics.brain_regions import BRAIN, REFERENCE_REGIONS
from nmsynth.physics.kinetics import patlak_image
from nmsynth.physics.reference_models import logan_reference, patlak_reference
from nmsynth.physics.reference_tissue_image import srtm_image
from nmsynth.physics.static_window import static_image

_STAND_INS = {"pons": ("brainstem", "cerebellar grey")}
"""What takes the place of a reference region that the head does not have."""

Images = dict[str, Volume]
"""Images by the name of their file."""


def reference_mask(study: ScannedDynamic, region: str) -> npt.NDArray[np.bool_]:
    """Voxels of a reference region of a study, shape ``(z, y, x)``."""
    parts = REFERENCE_REGIONS.get(region, (region,))
    wanted = [k for k, name in enumerate(study.head.names) if name in parts]
    return np.isin(study.head.labels, wanted)


def reference_of(study: ScannedDynamic, regions: tuple[str, ...]) -> str:
    """The first reference region that the head has, with stand-ins for those that no head has.

    Raises
    ------
    InputError
        If it has none.
    """
    for region in regions:
        for candidate in (region, *_STAND_INS.get(region, ())):
            if reference_mask(study, candidate).any():
                return candidate
    raise InputError(
        f"The analysis of {study.tracer.name} needs one of the regions {', '.join(regions)} in the scan; found none. "
        "Scan a greater length, or use a label map that has it."
    )


def windows_of(study: ScannedDynamic) -> dict[str, tuple[float, float]]:
    """Windows of the early and the late image that the frames cover [min]."""
    end = float(study.frames_min[-1, 1])
    windows = {"early": study.tracer.early_min, "late": study.tracer.late_min}
    return {name: window for name, window in windows.items() if window[1] <= end + 1e-6}


def static_images(study: ScannedDynamic, frames: Volume, kind: str) -> Images:
    """Early and late image of a dynamic one, and its SUVR where the tracer has a rule and was scanned long enough."""
    images: Images = {}
    for name, window in windows_of(study).items():
        array = static_image(frames.array, study.frames_min, window)
        images[name] = study.image(array, f"{name} {kind}", window_min=list(window))
    rule = SUVR_RULES.get(study.tracer.name)
    if rule is not None and "late" in images:
        region = reference_of(study, rule.references)
        mask = reference_mask(study, region)
        ratio = suvr(images["late"].array, mask, voxel_volume_ml=study.scan.voxel_volume_ml)
        images["suvr"] = study.image(
            ratio, f"SUVR {kind}", Unit.SUVR, window_min=list(study.tracer.late_min), reference_region=region
        )
    return images


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
    region = reference_of(study, study.tracer.reference)
    curve = frames.array[:, reference_mask(study, region)].mean(axis=1, dtype=np.float64)
    stated: dict[str, Any] = {"reference_region": region}
    if study.tracer.analysis == "influx":
        slope = patlak_reference(frames.array, spans, curve, start_min=start)
        stated["fit_start_min"] = start
        return {"patlak_reference": study.image(slope, f"Patlak slope, reference {kind}", Unit.PER_MINUTE, **stated)}
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
    region = reference_of(study, study.tracer.reference)
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
    binding = np.where(np.isin(study.head.labels, _brain_indices(study)), volume - 1, 0.0)
    return {
        "dvr_true": study.image(volume, "true DVR", Unit.UNITLESS, **stated),
        "bp_true": study.image(binding, "true BP", Unit.UNITLESS, **stated),
    }


def _brain_indices(study: ScannedDynamic) -> list[int]:
    """Indices of the regions of the brain."""
    return [k for k, name in enumerate(study.head.names) if name in BRAIN]
