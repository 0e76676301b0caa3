"""Synthesis with a method: on the plan's grid, and back on the source's where the output is of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import ATTENUATION, SCATTER, Acquisition
from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.geometry import same_grid
from nmsynth.core.plan import Plan
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import SuvKind, Unit
from nmsynth.core.volume import ACTIVITY_MODALITIES, Volume
from nmsynth.data.orientation import turn_towards, turned, turned_grid
from nmsynth.data.resampling import resample
from nmsynth.inference.air import open_air, with_open_air
from nmsynth.inference.card_model import Progress
from nmsynth.inference.guard import ALL_ZERO, check_finite, check_output
from nmsynth.inference.imitation import imitation_of
from nmsynth.inference.method_inputs import MethodInputs, method_inputs
from nmsynth.inference.method_model import MethodModel
from nmsynth.inference.settings import SynthesisSettings
from nmsynth.inference.synthesis import Synthesis, common_record, described, in_unit, provenance_of
from nmsynth.inference.tiling import FloatImage
from nmsynth.metrics.intervals import Widening

SAMPLES = 4
"""Of a stochastic method without intervals, unless said otherwise."""
SYNTHETIC_CORRECTION = "synthetic, nmsynth"
"""DICOM AttenuationCorrectionMethod of what a model corrected."""


def keeps_kind(plan: Plan) -> bool:
    """Whether the target is of the first source's modality and unit, so that its grid and scale are kept."""
    first = plan.sources[0]
    return (first.modality, first.unit) == (plan.target.modality, plan.target.unit)


def synthesize_with_method(
    given: Volume | Mapping[str, Volume],
    model: MethodModel,
    settings: SynthesisSettings,
    *,
    progress: Progress | None = None,
) -> Synthesis:
    """Synthesise with a method.

    The sources are converted to the units of the plan and brought to its grid over the first source's field of view.
    Where the target is of the first source's modality and unit, the answer is interpolated back, linearly, so that
    nothing overshoots, to that source's own grid, and from an SUV back to its Bq/mL by its own factor; acquisition and
    SUV rule are kept. Else the image stays on the plan's grid, in the unit of the target.

    Parameters
    ----------
    given
        The first source, or volumes by the names of the plan's sources.
    model
        With its plan.
    settings
        Conditions, seed, samples, device; those of other models must be left out.
    progress
        Told how many of how many windows are done.

    Returns
    -------
        The image, and the samples of which it is the mean, where the method is stochastic.

    Raises
    ------
    InputError, EnvelopeError, UnsafeInputError, SuvError
        As :func:`~nmsynth.inference.method_inputs.method_inputs`.
    NumericalError
        If the network gives NaN or infinity.
    """
    _check_settings(settings)
    plan = model.plan
    inputs = method_inputs(given, model, settings)
    first = inputs.volumes[plan.sources[0].name]
    flags = list(inputs.flags)
    arrays, run = _answers(inputs, model, settings, progress)
    turn = turn_towards(inputs.affine, first.affine if keeps_kind(plan) else inputs.affine)
    if not same_grid(first.affine, first.spatial_shape, *turned_grid(inputs.affine, inputs.shape, turn)):
        flags.append(
            "computed on the model's grid and interpolated linearly to the source's, which may lose detail"
            if keeps_kind(plan)
            else "the image has the model's grid, not that of the input"
        )
    provenance = _provenance(inputs, model, settings, run)
    placed = [_placed(array, inputs, plan, provenance) for array in arrays]
    air = open_air(first, placed[0]) if plan.target.unit is Unit.HOUNSFIELD else None
    volumes = [in_unit(with_open_air(volume, air), settings.unit, energy_kev=settings.energy_kev) for volume in placed]
    image = volumes[0] if len(volumes) == 1 else volumes[0].with_array(np.mean([v.array for v in volumes], axis=0))
    samples = tuple(volumes) if model.method.stochastic and not inputs.is_zero else ()
    found, numbers = _checked(image, first, plan, is_zero=inputs.is_zero)
    interval, said = _interval(image, samples, model, settings)
    flags = list(dict.fromkeys((*flags, *found, *said)))
    image = image.with_warnings(flags)
    record = common_record(model, settings, first) | {
        "inputs": {role: described(volume) for role, volume in inputs.volumes.items()},
        "conditions": inputs.facts,
        "method": {"name": model.card.method.name if model.card.method else "", "plan_sha256": model.plan_sha256},
        "output": {
            "unit": image.unit.value,
            "modality": image.modality,
            "shape": list(image.shape),
            "spacing_mm": [round(s, 6) for s in image.spacing_mm],
        },
        "run": run,
        "checks": numbers | ({} if air is None else {"open_air_share": round(float(air.mean()), 4)}),
        "flags": flags,
        "warnings": list(first.warnings),
    }
    if interval is not None and model.card.interval is not None:
        record["interval"] = model.card.interval.model_dump(mode="json", exclude={"note"})
    return Synthesis(image, {"image": image}, samples, interval, tuple(flags), record)


def _interval(
    image: Volume, samples: tuple[Volume, ...], model: MethodModel, settings: SynthesisSettings
) -> tuple[tuple[Volume, Volume] | None, tuple[str, ...]]:
    """Lower and upper bound of each voxel by the card's calibration, and what is to be said where there is none."""
    card = model.card.interval
    if not samples:
        return None, ()
    if card is None:
        return None, ("the spread of the samples is not calibrated: it promises nothing",)
    if len(samples) < card.n_samples:
        return None, (f"no intervals: they are calibrated for {card.n_samples} samples, and {len(samples)} were drawn",)
    steps = getattr(model.method, "sampling_steps", None)
    if settings.overlap != SynthesisSettings().overlap or settings.sampling_steps not in (None, steps):
        return None, ("no intervals: they are calibrated for the model's own sampling steps and overlap of windows",)
    spread = np.std([s.array for s in samples], axis=0, ddof=1)
    half = Widening(card.voxel_factor, card.voxel_floor).half_width(spread)
    if image.unit is not model.plan.target.unit:
        return None, (f"no intervals: they are calibrated in {model.plan.target.unit.value}",)
    return (image.with_array(image.array - half), image.with_array(image.array + half)), ()


def _check_settings(settings: SynthesisSettings) -> None:
    """Refuse settings that a method does not follow."""
    standard = SynthesisSettings()
    for name in ("significance", "heads", "max_tile_voxels", "precision"):
        if getattr(settings, name) != getattr(standard, name):
            raise InputError(
                f"The setting {name} is not one of this model, which is a method with a plan. Leave it out."
            )
    if settings.backend == "openvino":
        raise InputError("This model runs on torch; found the backend openvino. Leave it out, or export the model.")


def _answers(
    inputs: MethodInputs, model: MethodModel, settings: SynthesisSettings, progress: Progress | None
) -> tuple[list[FloatImage], dict[str, Any]]:
    """Images on the plan's grid in the unit of the target, one a sample, and how they were computed."""
    plan = model.plan
    if inputs.is_zero:
        if not keeps_kind(plan):
            raise UnsafeInputError(
                "The input must show something; it is zero everywhere. Check that it is the right scan."
            )
        return [np.zeros(inputs.shape, dtype=np.float32)], {}
    image, samples = model.predict(
        inputs.arrays,
        inputs.condition,
        seed=settings.seed,
        n_samples=settings.n_samples or (model.card.interval.n_samples if model.card.interval else SAMPLES),
        sampling_steps=settings.sampling_steps,
        overlap=settings.overlap,
        device=settings.device,
        threads=settings.threads,
        progress=progress,
    )
    return [inputs.target_scale.invert(answer) for answer in samples or [image]], dict(model.last_run)


def _provenance(
    inputs: MethodInputs, model: MethodModel, settings: SynthesisSettings, run: dict[str, Any]
) -> Provenance:
    """Where the image comes from."""
    facts = {
        "method": model.card.method.name if model.card.method else "",
        "plan_sha256": model.plan_sha256,
        "seed": settings.seed,
        "conditions": inputs.facts,
        "n_samples": run.get("n_samples", 0),
        "sampling_steps": run.get("sampling_steps"),
    }
    return provenance_of(model, list(inputs.volumes.values()), facts)


def _placed(array: FloatImage, inputs: MethodInputs, plan: Plan, provenance: Provenance) -> Volume:
    """An answer as a volume: on the first source's grid and scale where the target is of its kind."""
    first, target = inputs.volumes[plan.sources[0].name], plan.target
    imitation = imitation_of(plan, inputs.facts)
    if not keeps_kind(plan) or imitation is not None:
        same = first.modality == target.modality and imitation is None
        known = first.acquisition if same else _patient_only(first.acquisition)
        image = Volume(array, inputs.affine, target.unit, target.modality, acquisition=known, source=first.source)
        if imitation is not None:
            known = replace(known, series_description=imitation.description)
            image = replace(image, acquisition=known, suv_rule=imitation.suv_rule)
            provenance = replace(provenance, settings={**provenance.settings, **imitation.facts})
        return replace(image, provenance=provenance)
    on_plan = Volume(array, inputs.affine, target.unit, target.modality)
    values = back_on_grid(on_plan, first).array
    factor = 1.0 if target.normalisation.kind == "level" else _factor(first, target.unit)
    return _stating_correction(first.with_array(values / factor, provenance=provenance), plan)


def _stating_correction(image: Volume, plan: Plan) -> Volume:
    """An image whose attenuation the model corrected, with the method; it counts as corrected where it has a unit.

    Counts that gains were applied to are none any more: they are relative.
    """
    if plan.sources[0].attenuation_corrected is not False or not plan.target.attenuation_corrected:
        return image
    found = image.acquisition.corrections
    if not image.unit.has_unknown_scale:
        found = (*found, *(c for c in (ATTENUATION, SCATTER) if c not in found))
    stated = replace(image.acquisition, corrections=found, attenuation_correction=SYNTHETIC_CORRECTION)
    unit = Unit.RELATIVE if image.unit is Unit.COUNTS else image.unit
    return replace(image, acquisition=stated, unit=unit)


def _factor(first: Volume, unit: Unit) -> float | npt.NDArray[np.float32]:
    """What the source's values were multiplied by to come to the plan's unit; one number, or one a slice."""
    if first.unit is unit or first.suv_rule is None:
        return 1.0
    kind = next(kind for kind in SuvKind if kind.unit is unit)
    factor = np.asarray(first.suv_rule.factor(kind, acquisition=first.acquisition, unit=first.unit), dtype=np.float32)
    return float(factor) if factor.ndim == 0 else factor[:, None, None]


def back_on_grid(volume: Volume, other: Volume) -> Volume:
    """Interpolate an image linearly on the grid of another that it covers; its borders go on beyond its last centres.

    Parameters
    ----------
    volume
        On the plan's grid.
    other
        Whose field of view the plan's grid was laid over.
    """
    volume = turned(volume, turn_towards(volume.affine, other.affine))
    if same_grid(volume.affine, volume.spatial_shape, other.affine, other.spatial_shape):
        return volume
    affine = np.array(volume.affine)
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)
    padded = replace(volume, array=np.pad(volume.array, 1, mode="edge"), affine=affine)
    return resample(padded, np.array(other.affine), other.spatial_shape)


def _patient_only(acquisition: Acquisition) -> Acquisition:
    """What is true of an image of another modality too: whose it is and where."""
    return Acquisition(
        body_mass_kg=acquisition.body_mass_kg,
        height_m=acquisition.height_m,
        sex=acquisition.sex,
        body_part=acquisition.body_part,
        patient_position=acquisition.patient_position,
        frame_of_reference_uid=acquisition.frame_of_reference_uid,
        study_uid=acquisition.study_uid,
    )


def _checked(image: Volume, first: Volume, plan: Plan, *, is_zero: bool) -> tuple[tuple[str, ...], dict[str, float]]:
    """Flags and numbers of an output; that activity is kept is asked only of images of one kind."""
    if is_zero:
        return (ALL_ZERO,), {}
    # what attenuation took is given back, and another time has other activity, so that it is not kept
    keeps_activity = keeps_kind(plan) and not plan.same_calibration and not plan.target_time
    if keeps_activity and image.modality in ACTIVITY_MODALITIES:
        return check_output(image.array, in_unit(first, image.unit))
    check_finite(image.array)
    return (), {"minimum": round(float(image.array.min()), 6), "maximum": round(float(image.array.max()), 6)}
