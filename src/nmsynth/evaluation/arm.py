"""What is measured of one arm: image, regions, noise, structures and lesions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from nmsynth.evaluation.preparation import BLOOD_POOL_NAME, Image, Lesion, Scene
from nmsynth.evaluation.schema import LesionResult
from nmsynth.metrics import decisions, detection, image, noise, quantitative, recovery, regions
from nmsynth.metrics.agreement import bland_altman, concordance_correlation
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.regions import Mask

NOISE_REGION_NAME = "homogeneous region around the sphere"
NO_LEVEL = "no liver level: no homogeneous sphere was found"


def measure_image(scene: Scene, array: Image) -> list[Measurement]:
    """Voxel-wise metrics in the body and, for NRMSE and bias, in each organ."""
    kind = scene.settings.reference_kind
    found = image.image_metrics(
        array,
        scene.reference,
        scene.body,
        data_range=scene.data_range or 0.0,
        unit=scene.unit.value,
        mask_name=scene.body_name,
        reference_kind=kind,
        with_ssim=scene.settings.with_ssim,
    )
    for name, mask in scene.organs.items():
        found.append(Measurement("NRMSE", image.nrmse(array, scene.reference, mask), "1", name, kind))
    found += measure_organs(scene, array)
    for name, mask in _activity_regions(scene).items():
        found.append(Measurement("relative bias", image.relative_bias(array, scene.reference, mask), "1", name, kind))
    return found


def measure_organs(scene: Scene, array: Image) -> list[Measurement]:
    """Mean, maximum and peak of each organ."""
    prefix, unit = scene.value_prefix, scene.unit.value
    found: list[Measurement] = []
    for name, measure in (
        ("mean", quantitative.region_mean),
        ("max", quantitative.suv_max),
        ("peak", functools.partial(_peak, scene)),
    ):
        found += [
            Measurement(f"{prefix}{name}", measure(array, mask), unit, organ) for organ, mask in scene.organs.items()
        ]
    return found


def _activity_regions(scene: Scene) -> dict[str, Mask]:
    """Regions besides the body in which activity is compared."""
    regions_by_name = {**scene.organs, **scene.slabs}
    if scene.sphere_weights is not None:
        regions_by_name[scene.sphere_name] = scene.sphere_weights >= 0.5
    return regions_by_name


def measure_against_source(scene: Scene, array: Image, source: Image) -> list[Measurement]:
    """Activity conservation against the source by region, and how much less noise there is."""
    masks = {scene.body_name: scene.body, **_activity_regions(scene)}
    found = [
        Measurement("relative bias", image.relative_bias(array, source, mask), "1", name, "source")
        for name, mask in masks.items()
    ]
    if scene.sphere_weights is None:
        found.append(Measurement("noise reduction", None, "1", scene.sphere_name, "source", reason=NO_LEVEL))
    else:
        value = noise.noise_reduction(array, source, scene.sphere_weights)
        found.append(Measurement("noise reduction", value, "1", scene.sphere_name, "source"))
    return found


def measure_noise(scene: Scene, array: Image) -> list[Measurement]:
    """Mean, SD and COV in the liver sphere, autocorrelation in the homogeneous region around it."""
    where, unit = scene.sphere_name, scene.unit.value
    weights = scene.sphere_weights
    prefix = scene.value_prefix
    if weights is None:
        return [Measurement("COV", None, "1", where, reason=NO_LEVEL)]
    found = [
        Measurement(f"{prefix}mean", quantitative.region_mean(array, weights), unit, where),
        Measurement("SD", noise.standard_deviation(array, weights), unit, where),
        Measurement("COV", noise.coefficient_of_variation(array, weights), "1", where),
    ]
    inside = scene.noise_region
    if inside is None or not inside.any():
        return found
    box = regions.bounding_box(inside, scene.spacing_mm, 0.0)
    for direction, by_lag in noise.autocorrelation(array[box], inside[box]).items():
        for lag, value in by_lag.items():
            name = f"noise autocorrelation {direction} lag {lag}"
            found.append(Measurement(name, value, "1", NOISE_REGION_NAME))
    return found


def measure_structures(scene: Scene, array: Image) -> list[Measurement]:
    """Count false and missing structures per 100 slices."""
    s = scene.settings
    level = None if scene.sphere_weights is None else quantitative.region_mean(scene.reference, scene.sphere_weights)
    note = None if s.reference_kind == "T1" else f"defined against T1; {s.reference_kind} has noise or edges of its own"
    found: list[Measurement] = []
    for name, sign in (("false structures", 1), ("missing structures", -1)):
        if level is None or level <= 0:
            found.append(Measurement(name, None, "per 100 slices", "all slices", s.reference_kind, reason=NO_LEVEL))
            continue
        structures = detection.false_structures(
            array,
            scene.reference,
            scene.spacing_mm,
            liver_level=level,
            fwhm_mm=s.structure_smoothing_fwhm_mm,
            fraction=s.structure_fraction,
            min_voxels=s.structure_min_voxels,
            end_slices=s.end_slices,
            sign=sign,
        )
        where = f"all slices but {s.end_slices} at each end"
        reason = "no slice is left" if structures.n_slices == 0 else note
        value = structures.per_100_slices
        found.append(
            Measurement(name, value, "per 100 slices", where, s.reference_kind, n=structures.count, reason=reason)
        )
    return found


def _relative(value: float | None, expected: float | None) -> float | None:
    """Relative difference; ``None`` where the expected value is not positive."""
    return None if value is None or expected is None or expected <= 0 else value / expected - 1.0


def _peak(scene: Scene, array: Image, mask: Mask) -> float | None:
    """Value of SUVpeak."""
    found = quantitative.suv_peak(array, mask, scene.spacing_mm)
    return None if found is None else found.value


@dataclass(frozen=True, slots=True)
class _Decision:
    """What a reader's decision on a lesion hangs on, from one image alone."""

    liver_ratio: float | None = None
    blood_pool_ratio: float | None = None
    category: int | None = None
    measurable: bool | None = None


def _decide(scene: Scene, array: Image, peak: float | None) -> _Decision:
    """Ratios, category and measurability of a peak by this image's own liver sphere and blood pool."""
    if scene.sphere_weights is None or peak is None or scene.modality != "PT":
        return _Decision()  # decisions by liver and blood pool are those of FDG PET
    liver = quantitative.region_mean(array, scene.sphere_weights)
    deviation = noise.standard_deviation(array, scene.sphere_weights)
    blood_pool = scene.organs.get(BLOOD_POOL_NAME)
    blood = None if blood_pool is None else quantitative.region_mean(array, blood_pool)
    if liver is None or liver <= 0:
        return _Decision(blood_pool_ratio=None if not blood or blood < 0 else peak / blood)
    return _Decision(
        liver_ratio=peak / liver,
        blood_pool_ratio=None if not blood or blood < 0 else peak / blood,
        category=decisions.deauville_like(peak, liver_mean=liver, blood_pool_mean=blood),
        measurable=None if deviation is None else peak >= decisions.percist_threshold(liver, deviation),
    )


def _beside(own: _Decision, expected: _Decision) -> dict[str, Any]:
    """Fields of a decision, alone and with ``_reference``."""
    return asdict(own) | {f"{name}_reference": value for name, value in asdict(expected).items()}


def _volumes(scene: Scene, array: Image, mask: Mask) -> tuple[float | None, float | None, float | None, float | None]:
    """MTV and TLG by the relative threshold, then by the fixed one, which needs SUV."""
    s = scene.settings
    values: list[float | None] = [
        function(array, mask, scene.spacing_mm, fraction_of_maximum=s.fraction_of_maximum)
        for function in (quantitative.metabolic_volume_ml, quantitative.total_glycolysis)
    ]
    for function in (quantitative.metabolic_volume_ml, quantitative.total_glycolysis):
        fixed = function(array, mask, scene.spacing_mm, threshold=s.fixed_threshold_suv) if scene.unit.is_suv else None
        values.append(fixed)
    return values[0], values[1], values[2], values[3]


def measure_lesion(scene: Scene, array: Image, lesion: Lesion, arm: str) -> LesionResult:
    """All uptake values of a lesion in an arm and in the reference."""
    s, reference, mask = scene.settings, scene.reference, lesion.mask
    diameter = regions.equivalent_diameter_mm(mask, scene.spacing_mm)
    mean, mean_reference = (quantitative.region_mean(a, mask) for a in (array, reference))
    maximum, maximum_reference = (quantitative.suv_max(a, mask) for a in (array, reference))
    peak, peak_reference = (_peak(scene, a, mask) for a in (array, reference))
    own, expected = _volumes(scene, array, mask), _volumes(scene, reference, mask)
    recovered = recovery.recovery(array, reference, mask, lesion.ring)
    ring_mean = quantitative.region_mean(reference, lesion.ring)
    peak_bias = _relative(peak, peak_reference)
    shifted = detection.is_shifted(
        recovered, peak_bias, threshold=s.shift_fraction, omission_threshold=s.omission_recovery
    )
    decided, expected_decision = (_decide(scene, a, p) for a, p in ((array, peak), (reference, peak_reference)))
    centre = np.asarray(ndimage.center_of_mass(mask), dtype=np.float64)
    return LesionResult(
        arm=arm,
        lesion=lesion.name,
        diameter_mm=diameter,
        volume_ml=regions.volume_ml(mask, scene.spacing_mm),
        size_class=recovery.size_class(diameter),
        reference_contrast=None if mean_reference is None or not ring_mean else mean_reference / ring_mean,
        recovery=recovered,
        mean=mean,
        mean_reference=mean_reference,
        mean_bias=_relative(mean, mean_reference),
        maximum=maximum,
        maximum_reference=maximum_reference,
        maximum_bias=_relative(maximum, maximum_reference),
        peak=peak,
        peak_reference=peak_reference,
        peak_bias=peak_bias,
        mtv_relative_ml=own[0],
        mtv_relative_reference_ml=expected[0],
        tlg_relative=own[1],
        tlg_relative_reference=expected[1],
        mtv_fixed_ml=own[2],
        mtv_fixed_reference_ml=expected[2],
        tlg_fixed=own[3],
        tlg_fixed_reference=expected[3],
        omitted=detection.is_omitted(recovered, threshold=s.omission_recovery),
        shifted=shifted,
        **_beside(decided, expected_decision),
        centre_index=(float(centre[0]), float(centre[1]), float(centre[2])),
    )


def summarise_lesions(scene: Scene, lesions: Sequence[LesionResult]) -> list[Measurement]:
    """Recovery and biases by size class, omissions, shifts, agreement and flips of one arm's lesions."""
    if not lesions:
        return []
    kind, prefix = scene.settings.reference_kind, scene.value_prefix
    diameters = [item.diameter_mm for item in lesions]
    getters: dict[str, Callable[[LesionResult], float | None]] = {
        "recovery": lambda item: item.recovery,
        f"{prefix}mean bias": lambda item: item.mean_bias,
        f"{prefix}peak bias": lambda item: item.peak_bias,
        f"{prefix}max bias": lambda item: item.maximum_bias,
    }
    found: list[Measurement] = []
    for name, getter in getters.items():
        values = [getter(item) for item in lesions]
        groups = {"lesions": recovery.quartiles([v for v in values if v is not None])}
        groups |= {f"lesions {size}": q for size, q in recovery.by_size(values, diameters).items()}
        for where, q in groups.items():
            if q is not None:
                found.append(_quartile_row(name, where, kind, q))
    levels = {
        f"{prefix}mean": [item.mean for item in lesions],
        f"{prefix}mean of the reference": [item.mean_reference for item in lesions],
    }
    for name, means in levels.items():
        q = recovery.quartiles([v for v in means if v is not None])
        if q is not None:
            found.append(replace(_quartile_row(name, "lesions", kind, q), unit=scene.unit.value))
    n = len(lesions)
    found.append(Measurement("omissions", float(sum(i.omitted for i in lesions)), "lesions", "lesions", kind, n=n))
    found.append(
        Measurement("intensity shifts", float(sum(i.shifted for i in lesions)), "lesions", "lesions", kind, n=n)
    )
    return found + _agreement(scene, lesions)


def _quartile_row(name: str, where: str, kind: str, q: recovery.Quartiles) -> Measurement:
    """Median with quartiles as a measurement."""
    return Measurement(
        name, q.median, "1", where, kind, lower=q.lower, upper=q.upper, interval="quartiles over lesions", n=q.n
    )


def _agreement(scene: Scene, lesions: Sequence[LesionResult]) -> list[Measurement]:
    """Bland-Altman and concordance of SUVpeak, and category flips."""
    kind, name = scene.settings.reference_kind, f"{scene.value_prefix}peak"
    pairs = [(i.peak, i.peak_reference) for i in lesions if i.peak is not None and i.peak_reference is not None]
    found: list[Measurement] = []
    limits = bland_altman([a for a, _ in pairs], [b for _, b in pairs], relative=True) if pairs else None
    if limits is not None:
        found.append(
            Measurement(
                f"{name} Bland-Altman bias",
                limits.bias,
                "1",
                "lesions",
                kind,
                lower=limits.lower_limit,
                upper=limits.upper_limit,
                interval="limits of agreement, 1.96 SD",
                n=limits.n,
            )
        )
        concordance = concordance_correlation([a for a, _ in pairs], [b for _, b in pairs])
        found.append(Measurement(f"{name} concordance", concordance, "1", "lesions", kind, n=limits.n))
    return found + _flips(lesions, kind)


def _flips(lesions: Sequence[LesionResult], kind: str) -> list[Measurement]:
    """Lesions whose category, or measurability, is another one in the reference."""
    found: list[Measurement] = []
    for name, pairs in (
        ("Deauville category flips", [(i.category, i.category_reference) for i in lesions]),
        ("PERCIST measurable flips", [(i.measurable, i.measurable_reference) for i in lesions]),
    ):
        both = [(int(a), int(b)) for a, b in pairs if a is not None and b is not None]
        if both:
            flips = decisions.category_flips([a for a, _ in both], [b for _, b in both])
            found.append(Measurement(name, float(flips), "lesions", "lesions", kind, n=len(both)))
    return found
