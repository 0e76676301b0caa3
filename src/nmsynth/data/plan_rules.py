"""From the fingerprint of a dataset to a plan: the rules, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import (
    SOURCE_TRACER,
    TARGET_TRACER,
    AugmentationPlan,
    ConditionPlan,
    ImagePlan,
    Plan,
    SchedulePlan,
)
from nmsynth.core.units import Unit
from nmsynth.data.fingerprint import Fingerprint, ImageStatistics
from nmsynth.data.manifest import short_name

PATCH_VOXELS = {"cpu": 32 * 64 * 64, "cuda": 96 * 96 * 96}
"""Most voxels of a 3D or 2D patch: what a step of a second (CPU) or 8 GB (GPU) allows."""
BATCH_VOXELS = {"cpu": 2 * 32 * 64 * 64, "cuda": 4 * 96 * 96 * 96}
"""Most voxels of a batch of 3D or 2D patches."""
PATCH_PIXELS = {"cpu": 64 * 64, "cuda": 256 * 256}
"""Most pixels of a 2.5D patch."""
BATCH_PIXELS = {"cpu": 8 * 64 * 64, "cuda": 16 * 256 * 256}
"""Most pixels of a batch of such patches: many small steps learn faster than few large ones."""
VALIDATION_SHARE = 0.4
"""Time of all validations over that of all steps, as far as :data:`VALIDATIONS` goes."""
ANSWER_OF_STEP = 1 / 3
"""Time of an answer for a voxel over that of a step for one, which goes backwards too."""
VALIDATIONS = ((20, 4), (10, 4), (10, 2), (6, 2), (6, 1))
"""How often a training validates, and on how many cases: the first that takes no more than its share, or the last."""
LEAST_PLANES = 8
"""Slices below which a dataset is planned slice by slice, without neighbours."""
CONTEXT = 5
"""Slices that a 2.5D network sees for each one that it predicts."""
BYTES_PER_VOXEL = 4000
"""Memory a training takes for a voxel of a batch, rounded up from what was measured."""
HEAVY_TAIL = 8.0
"""99.5th percentile over the median of a body, above which activity that is predicted from another modality is learned
on a compressed scale: tumours and bladder would rule the gradient, and the median that the absolute error asks for is
the same on either scale."""
AIR_HU = -1024.0
OUTSIDE_SHARE = 0.05
"""Share of patches that may lie in the air."""
PLAIN_SHARE = 0.3
"""Share of patches that are shown as they are."""


def plan_from_fingerprint(
    fingerprint: Fingerprint,
    *,
    device: str = "cpu",
    memory_bytes: int | None = None,
    dimensions: str | None = None,
    steps: int | None = None,
    same_calibration: bool = False,
) -> Plan:
    """A plan for a dataset.

    - **Spacing**: the target's median along each axis, as it is to be given back on its own grid.
    - **Dimensions**: 3D on a GPU; on a CPU 2.5D, slices with their neighbours, which learn there in minutes what 3D
      patches learn in half an hour (`docs/league.md`); 2D where images have fewer than 8 slices.
    - **Patch**: as large as the median image, within what the device bears, sides in multiples of 8; the plane is kept
      and the axis cut first where slices are thicker than pixels.
    - **Depth**: levels while the coarsest keeps 4 voxels along its longest axis, at most four (five on a GPU).
    - **Normalisation**: SUV and activity linear with zero kept, by the 99.5th percentile of the body, or where they are
      predicted from another modality and reach beyond eight times their median, by asinh with the median as its knee;
      HU by a window of -1024 to what the 99.5th percentile needs, in thousands; MR by the 95th percentile of each
      image's own body; SPECT, planar images and PET without a scale by each image's own level, which is the source's
      also for the target where both are calibrated.
    - **Sources**: one that every case has comes first, that of the target's modality before others; what some cases
      lack may be missing. Cases that have a target alone do not count.
    - **Residual**: where the first source is the target's modality and unit.
    - **Validation**: twenty times on four cases, less often and on fewer where images are so large that this would take
      longer than :data:`VALIDATION_SHARE` of the steps.

    Parameters
    ----------
    fingerprint
        As :func:`~nmsynth.data.fingerprint.take_fingerprint` gives it.
    device
        ``cpu`` or ``cuda``.
    memory_bytes
        Of the device; bounds the batch.
    dimensions
        ``2d``, ``2.5d`` or ``3d``, where it is not to be chosen.
    steps
        Optimiser steps; by the number of cases when unset.
    same_calibration
        Whether targets have the calibration of their first source; see :class:`~nmsynth.core.plan.Plan`. The answer is
        then on the scale of the source, in no unit unless the source has one.

    Raises
    ------
    InputError
        If no source is in every case, a condition is not what it must be, or targets are to have the calibration of a
        source of another modality, or of one that is no image of activity.
    """
    target = _image(short_name(fingerprint.target.modality), fingerprint.target, optional=False)
    sources = [
        _image(name, s, optional=s.n_cases < fingerprint.n_with_source)
        for name, s in _ordered(fingerprint, target.modality)
    ]
    if sources[0].optional:
        counts = ", ".join(f"{name} in {s.n_cases}" for name, s in fingerprint.sources.items())
        raise InputError(
            f"One source must be there in every case; of {fingerprint.n_with_source} cases found {counts}. Leave out "
            "the cases that lack one of them, or give the sources that stand for each other one name."
        )
    if same_calibration:
        sources[0], target = _calibrated_alike(sources[0], target)
    elif target.normalisation.kind == "level" and sources[0].normalisation.kind != "level":
        target = target.model_copy(update={"normalisation": _linear(fingerprint.target)})  # no level to come back to
    elif target.normalisation.kind == "level" and sources[0].unit is not target.unit:
        # that one of the two has an unknown scale leaves their ratio unknown
        sources[0], target = (image.model_copy(update={"unit": Unit.RELATIVE}) for image in (sources[0], target))
    residual = sources[0].modality == target.modality and sources[0].unit is target.unit
    if residual:
        sources[0] = sources[0].model_copy(update={"normalisation": target.normalisation})
    elif sources[0].modality != target.modality:
        target = target.model_copy(update={"normalisation": _compressed(target.normalisation, fingerprint.target)})
    spacing = _rounded(fingerprint.target.median("spacings_mm"))
    voxels = [max(1, round(e / s)) for e, s in zip(fingerprint.target.median("extents_mm"), spacing, strict=True)]
    kind = dimensions or plan_dimensions(voxels, device)
    most = (PATCH_PIXELS if kind == "2.5d" else PATCH_VOXELS)[_kind(device)]
    patch = plan_patch(voxels, spacing, kind=kind, most=most)
    channels = plan_channels(patch, device)
    batch = plan_batch(patch, device, memory_bytes, kind=kind)
    n_seen = max(fingerprint.n_with_source, fingerprint.n_with_target)
    n_steps = steps or int(np.clip(250 * n_seen, 2000, 50_000))
    n_in_all_steps = n_steps * batch * math.prod(patch) / (ANSWER_OF_STEP * math.prod(voxels))
    n_validations, n_cases = plan_validations(VALIDATION_SHARE * n_in_all_steps)
    return Plan(
        task=f"{'-'.join(s.name for s in sources)}-to-{short_name(target.modality)}",
        sources=tuple(sources),
        target=target,
        conditions=_conditions(fingerprint),
        tracer_pairs=_tracer_pairs(fingerprint),
        residual=residual,
        same_calibration=same_calibration,
        spacing_mm=spacing,
        dimensions=kind,
        context=CONTEXT if kind == "2.5d" else 1,
        windows="patch",
        patch=patch,
        channels=channels,
        augmentation=AugmentationPlan(flip_axes=("x",), rotation_degrees=10.0, zoom=0.05, plain_share=PLAIN_SHARE),
        schedule=SchedulePlan(
            steps=n_steps,
            batch=batch,
            warmup=min(200, n_steps // 10),
            validate_every=-(-n_steps // n_validations),
            validation_cases=n_cases,
            region_share=0.33 if fingerprint.regions else 0.0,
            outside_share=OUTSIDE_SHARE,
            learns_ends=kind == "2.5d",
        ),
        fingerprint=fingerprint.to_json(),
    )


def plan_dimensions(voxels: Sequence[int], device: str) -> str:
    """``2d``, ``2.5d`` or ``3d``, by the slices of the median image and the device."""
    if voxels[0] < LEAST_PLANES:
        return "2d"
    return "3d" if _kind(device) == "cuda" else "2.5d"


def plan_patch(voxels: Sequence[int], spacing_mm: Sequence[float], *, kind: str, most: int) -> tuple[int, int, int]:
    """Size of a patch along ``(z, y, x)``.

    Examples
    --------
    >>> plan_patch((267, 128, 128), (3.3, 4.7, 4.7), kind="3d", most=32 * 64 * 64)
    (64, 40, 48)
    """
    multiple = (8, 8, 8) if kind == "3d" else (1, 16, 16)
    size = [max(m, n // m * m) for n, m in zip(voxels, multiple, strict=True)]
    if kind != "3d":
        size[0] = 1
    while math.prod(size) > most:
        # the longest side in millimetres gives way, so that patches become cubes
        longest = max((k for k in range(3) if size[k] > multiple[k]), key=lambda k: size[k] * spacing_mm[k])
        size[longest] -= multiple[longest]
    return size[0], size[1], size[2]


def plan_channels(patch: Sequence[int], device: str) -> tuple[int, ...]:
    """Width of each level of a U-Net."""
    most, first, widest = (5, 32, 320) if _kind(device) == "cuda" else (4, 16, 128)
    n_levels = max(2, min(most, int(math.log2(max(patch) / 4)) + 1))
    return tuple(min(widest, first * 2**level) for level in range(n_levels))


def plan_validations(n_answers: float, choices: Sequence[tuple[int, int]] = VALIDATIONS) -> tuple[int, int]:
    """How often a training validates, and on how many cases.

    Parameters
    ----------
    n_answers
        Images that may be answered in all.
    choices
        Numbers of validations and of cases, the most first; the last is taken where even that is too much.

    Examples
    --------
    >>> plan_validations(80), plan_validations(13.5), plan_validations(0)
    ((20, 4), (6, 2), (6, 1))
    """
    return next((choice for choice in choices if math.prod(choice) <= n_answers), choices[-1])


def plan_batch(patch: Sequence[int], device: str, memory_bytes: int | None, *, kind: str = "3d") -> int:
    """Patches a batch."""
    voxels = math.prod(patch)
    most = (BATCH_PIXELS if kind == "2.5d" else BATCH_VOXELS)[_kind(device)]
    wanted = int(np.clip(most // voxels, 1, 16))
    if memory_bytes is None:
        return max(2, wanted)
    return max(1, min(max(2, wanted), memory_bytes // (BYTES_PER_VOXEL * voxels)))


def _kind(device: str) -> str:
    """``cpu`` or ``cuda``."""
    return "cuda" if device.startswith("cuda") else "cpu"


def _ordered(fingerprint: Fingerprint, modality: str) -> list[tuple[str, ImageStatistics]]:
    """Sources by name: those of every case first, of these those of the target's modality, as it is built upon them."""
    n_cases = fingerprint.n_with_source
    return sorted(
        fingerprint.sources.items(), key=lambda item: (item[1].n_cases < n_cases, item[1].modality != modality, item[0])
    )


def _image(name: str, statistics: ImageStatistics, *, optional: bool) -> ImagePlan:
    """Unit, normalisation and fill of one kind of image."""
    unit = Unit.parse(statistics.unit)
    fill = AIR_HU if unit is Unit.HOUNSFIELD else 0.0
    if unit is Unit.HOUNSFIELD:
        high = float(np.clip(math.ceil(statistics.percentile(99.5) / 500 + 1) * 500, 1500, 3071))
        normalisation = Normalisation(kind="window", scale=1000.0, low=AIR_HU, high=high)
    elif statistics.modality == "MR":
        normalisation = Normalisation(kind="robust", scale=_digits(max(statistics.percentile(95.0), 1e-6)))
    elif statistics.levels:
        normalisation = Normalisation(kind="level", scale=_digits(max(statistics.peak_over_level(), 1e-6)))
    else:
        normalisation = _linear(statistics)
    return ImagePlan(
        name=name,
        modality=statistics.modality,
        unit=unit,
        normalisation=normalisation,
        fill=fill,
        attenuation_corrected=statistics.attenuation_corrected,
        tracers=tuple(sorted(statistics.tracers)),
        references=tuple(sorted(statistics.references)),
        optional=optional,
    )


def _calibrated_alike(source: ImagePlan, target: ImagePlan) -> tuple[ImagePlan, ImagePlan]:
    """Both in no unit, by the level of the source."""
    if source.modality != target.modality or source.normalisation.kind != "level":
        raise InputError(
            "Only a target of the modality of the first source, of an image of activity without a unit, can have its "
            f"calibration; found {source.modality} in {source.unit.value} and {target.modality}. "
            "Leave same_calibration out."
        )
    source = source.model_copy(update={"unit": Unit.RELATIVE})
    return source, target.model_copy(update={"unit": Unit.RELATIVE, "normalisation": source.normalisation})


def _linear(statistics: ImageStatistics) -> Normalisation:
    """Divided by the 99.5th percentile of the body."""
    return Normalisation(kind="linear", scale=_digits(max(statistics.percentile(99.5), 1e-6)))


def _compressed(normalisation: Normalisation, statistics: ImageStatistics) -> Normalisation:
    """The same, or where activity has a heavy tail an asinh that is linear up to the median of the body."""
    median = statistics.percentile(50.0)
    if normalisation.kind != "linear" or not 0 < HEAVY_TAIL * median < normalisation.scale:
        return normalisation
    return normalisation.model_copy(update={"kind": "asinh", "knee": _digits(median)})


def _tracer_pairs(fingerprint: Fingerprint) -> tuple[tuple[str, str], ...]:
    """Tracers of source and target that cases state together."""
    of: list[dict[str, str]] = []
    for name in (SOURCE_TRACER, TARGET_TRACER):
        values, cases = fingerprint.conditions.get(name, []), fingerprint.stated_by.get(name, [])
        of.append(dict(zip(cases, values, strict=True)))
    return tuple(sorted({(of[0][case], of[1][case]) for case in of[0].keys() & of[1].keys()}))


def _conditions(fingerprint: Fingerprint) -> tuple[ConditionPlan, ...]:
    """Facts that differ between scans, as numbers of order one; those that some cases leave unsaid are optional."""
    plans = []
    for name, values in sorted(fingerprint.conditions.items()):
        if len(set(values)) < 2:
            continue  # a network learns nothing from what is always the same
        cases = fingerprint.stated_by.get(name)
        optional = cases is not None and len(set(cases)) < fingerprint.n_with_source
        found = condition_numbers(name, values, cases)
        if found is None:
            categories = tuple(sorted(set(values)))
            plans.append(ConditionPlan(name=name, kind="category", categories=categories, optional=optional))
            continue
        logarithm = name == "count_fraction"
        numbers = np.log(found) if logarithm else found
        plans.append(
            ConditionPlan(
                name=name,
                kind="logarithm" if logarithm else "number",
                offset=_digits(float(numbers.mean())),
                scale=_digits(max(float(numbers.std()), 1e-6)),
                optional=optional,
            )
        )
    return tuple(plans)


def condition_numbers(
    name: str, values: Sequence[str], cases: Sequence[str] | None = None
) -> npt.NDArray[np.float64] | None:
    """Values of a condition as numbers; ``None`` where at least half of them are names.

    Parameters
    ----------
    name
        Of the condition.
    values
        As they are stated.
    cases
        Case of each value, for the message.

    Raises
    ------
    InputError
        If most are numbers and one is not: a slip of the pen would make each of them a category.
    """
    numbers = np.asarray([_number(v) for v in values])
    odd = np.flatnonzero(~np.isfinite(numbers))
    if not odd.size:
        return numbers
    if 2 * odd.size >= len(values):
        return None
    where = "" if cases is None else f" of case '{cases[odd[0]]}'"
    raise InputError(
        f"A condition is a finite number in all cases, or a name; '{name}' mostly is a number, and that{where} is "
        f"'{values[odd[0]]:.40}'. Correct it, or leave it empty where it is not known."
    )


def _number(text: str) -> float:
    """A text as a number; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _digits(value: float) -> float:
    """Three digits, so that a plan is readable and does not hang on the last bit of an image."""
    return float(f"{value:.3g}")


def _rounded(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """Spacing to four digits."""
    z, y, x = (float(f"{s:.4g}") for s in spacing)
    return z, y, x
