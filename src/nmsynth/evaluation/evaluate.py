"""Comparing a prediction with a reference, beside its source and the source's best Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.evaluation import arm as arms_module
from nmsynth.evaluation.anatomy import evaluate_anatomy
from nmsynth.evaluation.perfusion import HeartWall
from nmsynth.evaluation.planar import evaluate_planar
from nmsynth.evaluation.preparation import (
    BEST_FULL_GAUSSIAN,
    BEST_GAUSSIAN,
    EQUAL_NOISE_GAUSSIAN,
    FULL_COUNTS,
    RESIDUAL_NOISE,
    Image,
    Scene,
    as_mask_array,
    check_images,
    on_scale_of,
    prepare_scene,
    to_one_unit,
)
from nmsynth.evaluation.regional import DEFINITIONS, MASKS_WANTED, OF_BRAINS, TRUNK_NAMES, regional_measure
from nmsynth.evaluation.schema import LesionResult, Metrics, image_facts
from nmsynth.evaluation.settings import EvaluationSettings, definitions, resolve_settings
from nmsynth.evaluation.tasks import TaskEvaluation, task_evaluation
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.noise import residual_noise, standard_deviation
from nmsynth.metrics.perfusion import NormalLimits
from nmsynth.metrics.regions import bounding_box

PREDICTION, REFERENCE, SOURCE = "prediction", "reference", "source"
"""Names of the arms that every evaluation may have."""
QUIET_NAME = "homogeneous region"
"""Where residual noise is measured."""
FILTER_REACH_MM = 40.0
"""Beyond a region that a filter looks at [mm]."""
KEPT_NAMES = (REFERENCE, BEST_GAUSSIAN, EQUAL_NOISE_GAUSSIAN, BEST_FULL_GAUSSIAN)
"""Names that arms of a caller may not have."""

Masks = Mapping[str, Volume | npt.ArrayLike]


def evaluate(
    prediction: Volume,
    reference: Volume,
    *,
    source: Volume | None = None,
    full_counts: Volume | None = None,
    masks: Masks | None = None,
    task: str | None = None,
    normals: NormalLimits | None = None,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
) -> Metrics:
    """Measure how near a prediction comes to a reference.

    Parameters
    ----------
    prediction, reference
        Images with axes ``(z, y, x)`` on one grid, in one unit or both convertible to SUV.
    source
        The low-count image that the prediction was made from. It and its best Gaussian then stand beside the
        prediction, activity is compared with it by region, and the fall of noise is measured.
    full_counts
        One scan at full counts, where it is not the reference: it and its best Gaussian then stand beside the
        prediction too, so that nothing is called better than full counts on its error alone.
    masks
        By name, on the same grid: ``body``, ``liver``, ``blood_pool``, ``lesion…`` (labels, or components of a binary
        mask), any other is an organ. Without ``body`` and ``liver`` they are found in the reference.
    task
        One of :data:`nmsynth.evaluation.tasks.TASKS`; ``"lowcount-pet"`` by default. Of a synthetic CT, a source
        only says where there is something to know. Tasks of the heart take a mask ``wall`` of the left ventricle, those
        of the brain ``caudate…``, ``putamen…`` or ``striatum…`` and ``occipital``.
    normals
        Limits of people without defects, for a total perfusion deficit.
    settings
        As :class:`EvaluationSettings` or a mapping; state ``reference_kind``, which is T2 (one scan) if not given.

    Returns
    -------
        Every number with its unit, mask, reference and data range; one that is not defined is ``None`` with a reason.

    Raises
    ------
    InputError
        For other grids, units that do not convert, or unknown settings.
    UnsafeInputError
        For NaN or infinity.
    """
    arms = {PREDICTION: prediction} if source is None else {PREDICTION: prediction, SOURCE: source}
    return evaluate_arms(
        arms,
        reference,
        source=source,
        full_counts=full_counts,
        masks=masks,
        task=task,
        normals=normals,
        settings=settings,
    )


def evaluate_arms(
    arms: Mapping[str, Volume],
    reference: Volume,
    *,
    source: Volume | None = None,
    full_counts: Volume | None = None,
    masks: Masks | None = None,
    task: str | None = None,
    normals: NormalLimits | None = None,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
) -> Metrics:
    """Measure several images against one reference, with the same regions for all.

    Parameters
    ----------
    arms
        Images by method, the one in question first; as in :func:`evaluate` otherwise.
    reference, source, full_counts, masks, task, normals, settings
        As in :func:`evaluate`. With a source, its best Gaussian and the one at the noise of the first arm are added.
    """
    resolved = resolve_settings(settings)
    kind = task_evaluation(task)
    if kind.images == "ct":
        if full_counts is not None:
            raise InputError(f"A CT has no count level; the task '{kind.name}' takes no full counts. Leave them out.")
        own = {name: volume for name, volume in arms.items() if volume is not source}
        return evaluate_anatomy(own, reference, source=source, masks=masks, task=kind.name, settings=resolved)
    volumes = _all_volumes(arms, reference, source, full_counts)
    if kind.images == "planar":
        own = {name: volume for name, volume in volumes.items() if name != REFERENCE}
        return evaluate_planar(own, reference, source=source, masks=masks, task=kind.name, settings=resolved)
    check_images(volumes)
    scale_warnings: tuple[str, ...] = ()
    if kind.scaled:
        volumes, scale_warnings = on_scale_of(volumes, volumes[REFERENCE])
    volumes, unit_warnings = to_one_unit(volumes, resolved)
    scene = prepare_scene(volumes[REFERENCE], masks, resolved)
    images = {name: volume.array for name, volume in volumes.items() if name != REFERENCE}
    facts = {name: image_facts(volume) for name, volume in volumes.items()}
    source_array = images.get(SOURCE) if source is not None else None
    extra: list[Measurement] = []
    if source_array is not None and resolved.with_best_gaussian:
        extra += _add_best_gaussian(scene, images, SOURCE, facts)
    if source_array is not None and resolved.with_equal_noise_gaussian:
        add = _add_equal_residual_gaussian if _has_residual_noise(kind, resolved) else _add_equal_noise_gaussian
        extra += add(scene, images, next(iter(arms), None), facts)
    if full_counts is not None and resolved.with_best_gaussian:
        extra += _add_best_gaussian(scene, images, FULL_COUNTS, facts)
    measurements, lesions = _measure_all(scene, images, source_array)
    measurements += extra
    if _has_residual_noise(kind, resolved):
        measurements += _measure_residual_noise(scene, images)
    arrays = {name: as_mask_array(name, mask, volumes[REFERENCE]) for name, mask in (masks or {}).items()}
    heart = None
    if "perfusion" in kind.regional:
        heart = HeartWall.of(volumes[REFERENCE], arrays, against=resolved.reference_kind, normals=normals)
    regional, regional_warnings = _measure_regions(kind, volumes[REFERENCE], arrays, images, heart, resolved)
    measurements += regional
    return Metrics(
        task=kind.name,
        unit=scene.unit.value,
        reference_kind=resolved.reference_kind,
        measurements=tuple(measurements),
        lesions=tuple(lesions),
        settings=resolved.model_dump(mode="json"),
        definitions=definitions(resolved, unit=scene.unit.value, data_range=scene.data_range)
        | {name: text for part in kind.regional for name, text in DEFINITIONS[part].items()},
        images=facts,
        places=_places(scene),
        polar_maps={} if heart is None else heart.maps_of(images, REFERENCE),
        warnings=(*scale_warnings, *unit_warnings, *scene.warnings, *regional_warnings),
    )


def _all_volumes(
    arms: Mapping[str, Volume], reference: Volume, source: Volume | None, full_counts: Volume | None
) -> dict[str, Volume]:
    """All images by name; refuse an arm that has one of nmsynth's own names."""
    for name in arms:
        taken = (name == SOURCE and source is None) or (name == FULL_COUNTS and full_counts is not None)
        if name in KEPT_NAMES or taken:
            raise InputError(f"An arm must have a name of its own; '{name}' is kept for nmsynth's. Rename it.")
    controls = {SOURCE: source, FULL_COUNTS: full_counts}
    return {REFERENCE: reference, **arms, **{name: v for name, v in controls.items() if v is not None}}


def _measure_all(
    scene: Scene, images: Mapping[str, Image], source: Image | None
) -> tuple[list[Measurement], list[LesionResult]]:
    """Measurements and lesions of every arm, and the reference's own levels."""
    measurements: list[Measurement] = []
    lesions: list[LesionResult] = []
    for name, array in images.items():
        found = arms_module.measure_image(scene, array)
        found += arms_module.measure_noise(scene, array)
        found += arms_module.measure_structures(scene, array)
        if source is not None and name != SOURCE:
            found += arms_module.measure_against_source(scene, array, source)
        own = [arms_module.measure_lesion(scene, array, lesion, name) for lesion in scene.lesions]
        found += arms_module.summarise_lesions(scene, own)
        measurements += [replace(item, arm=name) for item in found]
        lesions += own
    measurements += [item.of_arm(REFERENCE) for item in arms_module.measure_noise(scene, scene.reference)]
    measurements += [item.of_arm(REFERENCE) for item in arms_module.measure_organs(scene, scene.reference)]
    return measurements, lesions


def _measure_regions(
    kind: TaskEvaluation,
    reference: Volume,
    arrays: Mapping[str, npt.NDArray[Any]],
    images: Mapping[str, Image],
    heart: HeartWall | None,
    settings: EvaluationSettings,
) -> tuple[list[Measurement], list[str]]:
    """What the task measures regionally of each arm; a warning where the masks of it are missing."""
    found: list[Measurement] = []
    missing = []
    for part in kind.regional:
        measure = regional_measure(part, reference, arrays, against=settings.reference_kind, heart=heart)
        if measure is None:
            missing.append(part)
            continue
        found += [item.of_arm(name) for name, array in images.items() for item in measure(array)]
    is_of_trunk = OF_BRAINS.issuperset(missing) and not TRUNK_NAMES.isdisjoint(arrays)
    if not missing or found or is_of_trunk:
        return found, []
    wanted = " or ".join(MASKS_WANTED[part] for part in missing)
    return [], [f"Nothing regional was measured: the task {kind.name} takes masks {wanted}."]


def _add_best_gaussian(
    scene: Scene, images: dict[str, Image], of: str, facts: dict[str, dict[str, Any]]
) -> list[Measurement]:
    """Put the oracle of the source or of full counts beside the others; its width as a measurement."""
    from nmsynth.models.classical import best_gaussian

    name = BEST_GAUSSIAN if of == SOURCE else BEST_FULL_GAUSSIAN
    if not scene.body.any() or not scene.reference[scene.body].any():
        return [
            Measurement("width", None, "mm FWHM", scene.body_name, reason="the reference is zero in the body", arm=name)
        ]
    best = best_gaussian(images[of], scene.reference, scene.body, scene.spacing_mm)
    images[name] = best.image
    facts[name] = {**facts[of], "filter": f"Gaussian {best.fwhm_mm:.1f} mm FWHM, chosen on this reference"}
    kind = scene.settings.reference_kind
    return [Measurement("width", best.fwhm_mm, "mm FWHM", scene.body_name, kind, arm=name)]


def _add_equal_noise_gaussian(
    scene: Scene, images: dict[str, Image], of: str | None, facts: dict[str, dict[str, Any]]
) -> list[Measurement]:
    """Put beside them the Gaussian of the source that leaves as much noise as an arm; its width as a measurement."""
    from nmsynth.models.classical import equal_noise_gaussian

    where = scene.sphere_name
    target = None
    if of is not None and scene.sphere_weights is not None:
        target = standard_deviation(images[of], scene.sphere_weights)
    if target is None or scene.sphere_weights is None:
        reason = "no image in question or no homogeneous sphere"
        return [Measurement("width", None, "mm FWHM", where, reason=reason, arm=EQUAL_NOISE_GAUSSIAN)]
    found = equal_noise_gaussian(images[SOURCE], scene.sphere_weights, target, scene.spacing_mm)
    images[EQUAL_NOISE_GAUSSIAN] = found(images[SOURCE], scene.spacing_mm)
    facts[EQUAL_NOISE_GAUSSIAN] = {**facts[SOURCE], "filter": f"{found.name} FWHM, as much noise as {of}"}
    return [Measurement("width", found.fwhm_mm, "mm FWHM", where, arm=EQUAL_NOISE_GAUSSIAN)]


def noise_measure(task: str | None, reference_kind: str) -> str:
    """Name of the measurement that the Gaussian at equal noise is made to equal."""
    settings = EvaluationSettings.model_validate({"reference_kind": reference_kind})
    return RESIDUAL_NOISE if _has_residual_noise(task_evaluation(task), settings) else "SD"


def _has_residual_noise(kind: TaskEvaluation, settings: EvaluationSettings) -> bool:
    """Whether noise is measured against the reference, which must have none."""
    return kind.noise == "residual" and settings.reference_kind == "T1"


def _measure_residual_noise(scene: Scene, images: Mapping[str, Image]) -> list[Measurement]:
    """What of each arm differs from the noise-free reference in the homogeneous region."""
    region, against = scene.quiet_region, scene.settings.reference_kind
    if region is None:
        return [
            Measurement(RESIDUAL_NOISE, None, "1", QUIET_NAME, against, reason=arms_module.NO_LEVEL, arm=name)
            for name in images
        ]
    return [
        Measurement(RESIDUAL_NOISE, residual_noise(array, scene.reference, region), "1", QUIET_NAME, against, arm=name)
        for name, array in images.items()
    ]


def _add_equal_residual_gaussian(
    scene: Scene, images: dict[str, Image], of: str | None, facts: dict[str, dict[str, Any]]
) -> list[Measurement]:
    """Put beside them the narrowest Gaussian of the source that differs no more from the noise-free reference."""
    from nmsynth.models.classical import narrowest_gaussian

    region = scene.quiet_region
    wanted = None if of is None or region is None else residual_noise(images[of], scene.reference, region)
    if wanted is None or region is None:
        reason = "no image in question or no homogeneous region"
        return [Measurement("width", None, "mm FWHM", QUIET_NAME, reason=reason, arm=EQUAL_NOISE_GAUSSIAN)]
    box = bounding_box(region, scene.spacing_mm, FILTER_REACH_MM)
    expected, inside = scene.reference[box], region[box]

    def left(smoothed: Image) -> float:
        """Noise of a part of the image."""
        return residual_noise(smoothed, expected, inside) or 0.0

    found = narrowest_gaussian(images[SOURCE][box], scene.spacing_mm, left, wanted)
    images[EQUAL_NOISE_GAUSSIAN] = found(images[SOURCE], scene.spacing_mm)
    facts[EQUAL_NOISE_GAUSSIAN] = {**facts[SOURCE], "filter": f"{found.name} FWHM, no more noise than {of}"}
    return [Measurement("width", found.fwhm_mm, "mm FWHM", QUIET_NAME, arm=EQUAL_NOISE_GAUSSIAN)]


def _places(scene: Scene) -> dict[str, Any]:
    """Where the automatic regions lie."""
    places: dict[str, Any] = {
        "body": {"name": scene.body_name, "voxels": int(scene.body.sum())},
        "lesions": {lesion.name: {"ring_voxels": int(lesion.ring.sum())} for lesion in scene.lesions},
    }
    if scene.sphere is not None:
        places["liver sphere"] = {
            "name": scene.sphere_name,
            "centre_index_zyx": list(scene.sphere.centre_index),
            "diameter_mm": scene.sphere.diameter_mm,
            "region_voxels": 0 if scene.noise_region is None else int(scene.noise_region.sum()),
        }
    return places
