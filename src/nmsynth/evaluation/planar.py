"""Comparing planar views with a reference: counts, lesions and hot spots, view by view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.volume import PLANAR_AXES, SPATIAL_AXES, Volume
from nmsynth.evaluation.preparation import (
    BEST_FULL_GAUSSIAN,
    BEST_GAUSSIAN,
    BODY_NAME,
    EQUAL_NOISE_GAUSSIAN,
    FULL_COUNTS,
    LESION_PREFIX,
    RESIDUAL_NOISE,
    as_mask_array,
)
from nmsynth.evaluation.schema import Metrics, image_facts
from nmsynth.evaluation.settings import EvaluationSettings
from nmsynth.metrics import image as image_measures
from nmsynth.metrics.hot_spots import hot_spot_agreement, hot_spot_index, hot_spots
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.noise import residual_noise
from nmsynth.metrics.recovery import contrast, quartiles
from nmsynth.metrics.regions import body_mask, numbered_lesions, ring_mask, smooth

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]

APART_MM = 1e6
"""Distance between views, so that none is smoothed into another [mm]."""
QUIET_NAME, QUIET_SHARE, QUIET_SMOOTHING_MM = "flatter half of the body", 0.5, 10.0
"""Where noise is measured, which share of the body it is, and the smoothing before its slope is [mm]."""
ORGAN_NAME = "organ"
"""Mask of the organ that a spot view is taken of, in which the rings of its defects lie."""
LEAST_REFERENCE_CONTRAST = 0.05
"""Of a lesion over its ring in the reference, below which its recovery means little."""
DEFINITIONS = {
    "counts": "values are counts, or proportional to them; the reference is scaled to the counts of the image first",
    "NRMSE": "root mean square error over the root mean square of the reference, in the body",
    "PSNR and SSIM": "data range: the maximum of the scaled reference in the body; SSIM view by view, mean",
    "total counts": "relative difference of the sum over the body",
    "contrast recovery": "(lesion - ring) over that of the reference, of means; median and quartiles over lesions",
    "cold contrast recovery": (
        f"the same of lesions below their ring; below 1 where a defect was filled. Lesions in the mask '{ORGAN_NAME}' "
        "are taken for defects: their ring lies in it, and of those that show no less than their ring nothing is told"
    ),
    "lesion counts": "relative difference of the sum over the lesion; median and quartiles over lesions",
    "residual noise": (
        "against a noise-free reference r: SD of (image - r) / sqrt(r) over the root of the mean of r, in the half of "
        "each view's body where r, smoothed by 10 mm, has the smallest slope relative to its value, away from lesions "
        "and their rings; 1 / sqrt(n) of n counts a pixel. The Gaussian at equal noise is the narrowest that leaves no "
        "more of it than the image in question"
    ),
    "hot spots": (
        "areas of at least 100 mm2 above 1.5 times the median of the body within 60 mm and above half its mean, after "
        "a Gaussian of 10 mm; missed: of the reference, touched by none; false: touching none of the reference"
    ),
    "hot-spot index": "share of the body's area in hot spots; no bone scan index, which weighs by skeletal mass",
}


def evaluate_planar(
    arms: Mapping[str, Volume],
    reference: Volume,
    *,
    source: Volume | None,
    masks: Mapping[str, Volume | npt.ArrayLike] | None,
    task: str,
    settings: EvaluationSettings,
) -> Metrics:
    """Measure planar views against a reference.

    Parameters
    ----------
    arms
        Images by method, axes ``("view", "y", "x")``, or of one view as a single slice ``(z, y, x)``.
    reference
        Expected counts (T1), or one scan (T2), such as the complement of thinned counts, on the same grid.
    source
        What the image was made from; its best Gaussian is then put beside the others, as is that of an arm "full
        counts".
    masks
        ``body``, found in the reference when not given; names that begin with ``lesion`` are lesions, hot or cold,
        numbered or binary; any other is a region whose counts are compared. Rings of lesions in a region named
        ``organ`` stay in it.
    task
        Name, for the record.
    settings
        ``reference_kind``, ``reference_scale``, ``data_range``, ``with_ssim``, ``with_best_gaussian``, and those of the
        body and of rings are used.

    Raises
    ------
    InputError
        For other grids, axes or units.
    UnsafeInputError
        For NaN or infinity.
    """
    volumes = {"reference": reference, **arms}
    _check(volumes)
    pixel_mm = (reference.spacing_mm[1], reference.spacing_mm[2])
    spacing_mm = (APART_MM, *pixel_mm)
    arrays = {name: np.asarray(as_mask_array(name, m, reference)) for name, m in (masks or {}).items()}
    given = arrays.pop(BODY_NAME, None)
    body = _body(reference, pixel_mm, settings) if given is None else np.asarray(given > 0)
    body_name = BODY_NAME if given is not None else "body (automatic)"
    hosts = [np.asarray(arrays[ORGAN_NAME] > 0)] if ORGAN_NAME in arrays else []
    lesions = _lesions(
        {n: a for n, a in arrays.items() if n.startswith(LESION_PREFIX)}, spacing_mm, (*hosts, body), settings
    )
    regions = {n: np.asarray(a > 0) for n, a in arrays.items() if not n.startswith(LESION_PREFIX)}
    images = {name: (volume.array, _scale(volume, reference, settings)) for name, volume in arms.items()}
    facts = {name: image_facts(volume) for name, volume in volumes.items()}
    found: list[Measurement] = []
    widths: list[Measurement] = []
    smoothed = {BEST_GAUSSIAN: source, BEST_FULL_GAUSSIAN: arms.get(FULL_COUNTS)}
    if not (settings.with_best_gaussian and body.any() and reference.array[body].any()):
        smoothed = {}
    for name, image in smoothed.items():
        if image is None:
            continue
        scale = _scale(image, reference, settings)
        best, width_mm = _best_gaussian(image, reference.array * np.float32(scale), body, spacing_mm)
        images[name] = (best, scale)
        facts[name] = {**image_facts(image), "filter": f"Gaussian {width_mm:.1f} mm FWHM, chosen on this reference"}
        widths.append(Measurement("width", width_mm, "mm FWHM", body_name, settings.reference_kind, arm=name))
    quiet = _quiet(reference, body, lesions, spacing_mm) if settings.reference_kind == "T1" else np.zeros_like(body)
    if source is not None and settings.with_equal_noise_gaussian and quiet.any():
        scale = _scale(source, reference, settings)
        smooth_image, width_mm = _equal_noise_gaussian(source, images, reference, scale, quiet, spacing_mm)
        images[EQUAL_NOISE_GAUSSIAN] = (smooth_image, scale)
        of = next(iter(arms))
        facts[EQUAL_NOISE_GAUSSIAN] = {
            **image_facts(source), "filter": f"Gaussian {width_mm:.1f} mm FWHM, no more noise than {of}"
        }  # fmt: skip
        widths.append(Measurement("width", width_mm, "mm FWHM", QUIET_NAME, "T1", arm=EQUAL_NOISE_GAUSSIAN))
    expected_spots = hot_spots(reference.array, body, pixel_mm)
    for name, (array, scale) in images.items():
        expected = reference.array * np.float32(scale)
        own = [
            *_voxelwise(array, expected, body, body_name, reference.unit.value, settings),
            *_noise(array, expected, quiet, settings.reference_kind),
            *_counts(array, expected, {body_name: body, **regions}, settings.reference_kind),
            *_of_lesions(array, expected, lesions, hosts, settings.reference_kind),
            *_of_hot_spots(array, expected_spots, body, pixel_mm, settings.reference_kind),
        ]
        found += [replace(item, arm=name) for item in own]
    warnings = [] if body.any() else ["The body mask is empty: the reference shows nothing."]
    scales = sorted({round(scale, 6) for _, scale in images.values()})
    return Metrics(
        task=task,
        unit=reference.unit.value,
        reference_kind=settings.reference_kind,
        measurements=(*found, *widths),
        settings=settings.model_dump(mode="json"),
        definitions={"scale of the reference": ", ".join(f"{s:g}" for s in scales), **DEFINITIONS},
        images=facts,
        places={"body": {"name": body_name, "voxels": int(body.sum())}},
        warnings=tuple(warnings),
    )


def _best_gaussian(
    source: Volume, expected: Image, body: Mask, spacing_mm: tuple[float, float, float]
) -> tuple[Image, float]:
    """The source smoothed by the width that has the least error, and that width [mm]."""
    from nmsynth.models.classical import best_gaussian

    best = best_gaussian(source.array, expected, body, spacing_mm)
    return np.asarray(best.image, dtype=np.float32), best.fwhm_mm


def _equal_noise_gaussian(
    source: Volume,
    images: Mapping[str, tuple[Image, float]],
    reference: Volume,
    scale: float,
    quiet: Mask,
    spacing_mm: tuple[float, float, float],
) -> tuple[Image, float]:
    """The source smoothed by the narrowest Gaussian with no more noise than the first image, and its width [mm]."""
    from nmsynth.models.classical import narrowest_gaussian

    first, own_scale = next(iter(images.values()))
    wanted = residual_noise(first, reference.array * np.float32(own_scale), quiet, as_counts=True) or 0.0
    expected = reference.array * np.float32(scale)

    def left(smoothed: Image) -> float:
        """Noise of a smoothed image."""
        return residual_noise(smoothed, expected, quiet, as_counts=True) or 0.0

    found = narrowest_gaussian(source.array, spacing_mm, left, wanted)
    return np.asarray(found(source.array, spacing_mm), dtype=np.float32), found.fwhm_mm


def _quiet(
    reference: Volume, body: Mask, lesions: list[tuple[Mask, Mask]], spacing_mm: tuple[float, float, float]
) -> Mask:
    """The flatter half of the body of each view, without lesions and their rings."""
    shown = smooth(reference.array, QUIET_SMOOTHING_MM, spacing_mm).astype(np.float64)
    slope = np.hypot(*np.gradient(shown, *spacing_mm[1:], axis=(1, 2)))
    free = body & (shown > 0) & (reference.array > 0)
    for mask, ring in lesions:
        free &= ~(mask | ring)
    found = np.zeros_like(body)
    for number, inside in enumerate(free):
        if inside.any():
            relative = slope[number][inside] / shown[number][inside]
            found[number][inside] = relative <= np.quantile(relative, QUIET_SHARE)
    return found


def _noise(image: Image, expected: Image, quiet: Mask, kind: str) -> list[Measurement]:
    """Noise against a noise-free reference; none against any other."""
    if not quiet.any():
        return []
    return [Measurement(RESIDUAL_NOISE, residual_noise(image, expected, quiet, as_counts=True), "1", QUIET_NAME, kind)]


def _check(volumes: Mapping[str, Volume]) -> None:
    """Refuse images of other axes, grids or units, and values that are not finite."""
    first_name, first = next(iter(volumes.items()))
    for name, volume in volumes.items():
        flat = volume.axes == PLANAR_AXES or (volume.axes == SPATIAL_AXES and volume.shape[0] == 1)
        if not flat:
            raise InputError(
                f"Planar images have views or a single slice; the {name} has the axes {volume.axes} and the shape "
                f"{volume.shape}. Give another image or another task."
            )
        if volume.axes != first.axes or not volume.has_grid_of(first) or volume.unit is not first.unit:
            raise InputError(
                f"Planar images must share grid, views and unit; the {first_name} has {first.shape} in "
                f"{first.unit.value}, the {name} {volume.shape} in {volume.unit.value}, or their pixels differ. "
                "Give images of one camera."
            )
        if not np.isfinite(volume.array).all():
            raise UnsafeInputError(f"Images to evaluate must be finite; the {name} has NaN or infinity.")


def count_ratio(volume: Volume, other: Volume) -> float:
    """Counts of an image over those of another of the same scan, by the fractions that both state; all where not."""
    own, of_other = (v.acquisition.simulated_count_fraction or 1.0 for v in (volume, other))
    return own / of_other


def _scale(volume: Volume, reference: Volume, settings: EvaluationSettings) -> float:
    """What the reference is multiplied by to have the counts of an image."""
    if settings.reference_scale is not None:
        return settings.reference_scale
    return count_ratio(volume, reference)


def _body(reference: Volume, pixel_mm: tuple[float, float], s: EvaluationSettings) -> Mask:
    """Body of each view by itself."""
    return np.concatenate(
        [
            body_mask(
                view[None],
                (APART_MM, *pixel_mm),
                threshold=s.body_threshold,
                smoothing_fwhm_mm=s.body_smoothing_fwhm_mm,
                closing_mm=s.body_closing_mm,
            )
            for view in reference.array
        ]
    )


def _lesions(
    masks: Mapping[str, npt.NDArray[np.generic]],
    spacing_mm: tuple[float, float, float],
    hosts: tuple[Mask, ...],
    s: EvaluationSettings,
) -> list[tuple[Mask, Mask]]:
    """Lesions of each view with their rings, within the first host that holds most of the lesion; the last is any's."""
    found = []
    for labels in masks.values():
        everywhere = np.asarray(labels) > 0
        for number in range(labels.shape[0]):
            alone = np.zeros_like(labels)
            alone[number] = labels[number]
            if not alone.any():
                continue
            for mask in numbered_lesions(alone).values():
                host = next((h for h in hosts[:-1] if _lies_in(mask, h)), hosts[-1])
                ring = ring_mask(
                    mask,
                    spacing_mm,
                    inner_mm=s.ring_inner_mm,
                    outer_mm=s.ring_outer_mm,
                    exclude=everywhere,
                    within=host,
                )
                found.append((mask, ring))
    return found


def _lies_in(lesion: Mask, organ: Mask) -> bool:
    """Whether most of a lesion lies in an organ."""
    return bool(2 * (lesion & organ).sum() > lesion.sum())


def _voxelwise(
    image: Image, expected: Image, body: Mask, name: str, unit: str, s: EvaluationSettings
) -> list[Measurement]:
    """Metrics of all pixels of the body."""
    data_range = s.data_range or (float(expected[body].max()) if body.any() else 0.0)
    kind = s.reference_kind
    found = image_measures.image_metrics(
        image, expected, body, data_range=data_range, unit=unit, mask_name=name, reference_kind=kind, with_ssim=False
    )
    kept = [item for item in found if item.name in ("NRMSE", "RMSE", "MAE", "PSNR")]
    if s.with_ssim and data_range > 0:
        views = [
            image_measures.ssim(image[k : k + 1], expected[k : k + 1], body[k : k + 1], data_range=data_range)
            for k in range(len(image))
            if body[k].any()
        ]
        values = [v for v in views if v is not None]
        mean = float(np.mean(values)) if values else None
        kept.append(Measurement("SSIM", mean, "1", name, kind, data_range=data_range))
    return kept


def _counts(image: Image, expected: Image, regions: Mapping[str, Mask], kind: str) -> list[Measurement]:
    """Relative difference of the counts of regions."""
    return [
        Measurement("total counts", image_measures.relative_bias(image, expected, mask), "1", name, kind)
        for name, mask in regions.items()
    ]


def _of_lesions(
    image: Image, expected: Image, lesions: list[tuple[Mask, Mask]], organs: Sequence[Mask], kind: str
) -> list[Measurement]:
    """Contrast and counts of lesions; in an organ they are defects, which may outshine their ring where it is thick."""
    recovered: list[float] = []
    filled: list[float] = []
    counted: list[float] = []
    for mask, ring in lesions:
        true = contrast(expected, mask, ring)
        level = float(expected[ring].mean()) if ring.any() else 0.0
        measured = contrast(image, mask, ring)
        is_defect = any(_lies_in(mask, organ) for organ in organs)
        is_told = true is not None and abs(true) > LEAST_REFERENCE_CONTRAST * level and (true < 0 or not is_defect)
        if true is not None and measured is not None and is_told:
            (recovered if true > 0 else filled).append(measured / true)
        counts = image_measures.relative_bias(image, expected, mask)
        if counts is not None:
            counted.append(counts)
    found = []
    named = (("contrast recovery", recovered), ("cold contrast recovery", filled), ("lesion counts", counted))
    for name, values in named:
        q = quartiles(values)
        if q is not None:
            found.append(
                Measurement(
                    name, q.median, "1", "lesions", kind, lower=q.lower, upper=q.upper,
                    interval="quartiles over lesions", n=q.n,
                )
            )  # fmt: skip
    return found


def _of_hot_spots(
    image: Image, expected: npt.NDArray[np.int32], body: Mask, pixel_mm: tuple[float, float], kind: str
) -> list[Measurement]:
    """Hot spots and their index beside those of the reference."""
    labels = hot_spots(image, body, pixel_mm)
    agreement = hot_spot_agreement(labels, expected)
    index, true = hot_spot_index(labels, body), hot_spot_index(expected, body)
    return [
        Measurement("hot spots", float(agreement.found), "1", "all views"),
        Measurement("missed hot spots", float(agreement.missed), "1", "all views", kind, n=agreement.expected),
        Measurement("false hot spots", float(agreement.false), "1", "all views", kind, n=agreement.found),
        Measurement("hot-spot index", index, "1", "all views"),
        Measurement(
            "hot-spot index error", None if index is None or true is None else index - true, "1", "all views", kind
        ),
    ]
