"""One simulated study of a task: what is synthesised from it, and how the answer is measured against what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.numbered import unnumbered
from nmsynth.workflows.study_output import read_record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.inference.synthesize import Synthesis
    from nmsynth.metrics.measurement import Measurement
    from nmsynth.workflows.study_recipe import StudyPlan
    from nmsynth.workflows.tasks import TaskSpec

LEAST_VOXELS = 100
"""Of an organ that is measured."""
LEAST_REGION_VOXELS = 30
"""Of a region of the brain."""
MOST_TURNS, WIDTH_STAYS_MM = 6, 0.1
"""Of the search of a Gaussian and a factor."""
DOME_MM = 25.0
"""How far below the lung the dome of the liver reaches [mm]."""
NOISE = "noise"
"""Heading of the noise of an arm, where some number is judged at equal noise."""
NORMAL_LOSS, DEFECT_LOSS = 0.03, 0.1
"""Share of a heart's segment lost to defects, up to which it is normal, and from which it has one."""
FULL_COUNTS = "full_count"
"""Name of the scan at full counts among what is known of a study."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskStudy:
    """A case of a simulated study: a scan, or one view of it."""

    task: TaskSpec
    folder: Path
    """That the paths of the rows are in."""
    rows: tuple[ManifestRow, ...]
    target: Volume
    """What answers are measured against."""

    @property
    def case(self) -> str:
        """Name of the case."""
        return self.rows[0].case

    @property
    def sources(self) -> dict[str, Path]:
        """Sources by role."""
        return {row.channel: self.folder / row.path for row in self.rows if row.role in ("source", "condition")}


def plan_task_studies(
    task: TaskSpec, n_subjects: int, seed: int, changes: Mapping[str, Any] | None = None
) -> list[StudyPlan]:
    """Studies of a task, by its recipe with changes by dotted key.

    Raises
    ------
    InputError
        If the task has no such recipe, or a change does not fit.
    """
    from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies

    recipe = load_study_recipe(task.study, changes)
    if recipe is None:
        raise InputError(f"The task {task.name} names the recipe of studies '{task.study}', which is none.")
    return plan_studies(recipe, n_subjects, seed)


def simulate_task_study(task: TaskSpec, plan: StudyPlan, folder: Path) -> list[TaskStudy]:
    """Simulate a study into a folder; views that are images of their own are cases, the anterior one first."""
    from nmsynth.io import read
    from nmsynth.workflows.study_recipe import simulate_study

    rows, _ = simulate_study(plan, folder, file_format="nifti")
    studies = []
    for case in dict.fromkeys(row.case for row in rows):
        own = tuple(row for row in rows if row.case == case)
        against = task.measured_against
        target = read(folder / next(r for r in own if (r.name == against if against else r.role == "target")).path)
        studies.append(TaskStudy(task, folder, own, target))
    return studies


def at_level(study: TaskStudy, name: str) -> TaskStudy:
    """The study with one of its sources that differ in counts or views, such as ``scan_1``; as it is for no name."""
    if not name:
        return study
    others = {r.name for r in study.rows if r.name != name and unnumbered(r.name) == unnumbered(name)}
    return replace(study, rows=tuple(r for r in study.rows if r.role != "source" or r.name not in others))


def synthesize_task_study(
    study: TaskStudy, model: str, output: Path, *, seed: int | None = None
) -> tuple[Synthesis, Volume]:
    """Synthesis from the sources that a model takes, written to a NIfTI file, and the one that it is compared with.

    Parameters
    ----------
    study
        With the sources.
    model
        Name or folder.
    output
        File.
    seed
        Of the noise of a model that draws samples; as usual when unset.
    """
    from nmsynth.io import read
    from nmsynth.models.registry import show_model
    from nmsynth.workflows.synthesis import synthesize_study

    sources, card = study.sources, show_model(model)
    roles = card.inputs
    first = sources.get(roles[0]) or next(iter(sources.values()))
    further = {role: sources[role] for role in roles[1:] if role in sources}
    known = {condition.name for condition in card.plan.conditions} if card.plan is not None else set()
    conditions = {name: value for row in study.rows for name, value in row.conditions if name in known}
    settings: dict[str, Any] = {"conditions": conditions} if conditions else {}
    if seed is not None:
        settings["seed"] = seed
    shown = first if study.task.compared_source == "first" else list(sources.values())[-1]
    return synthesize_study(first, output, model=model, inputs=further, settings=settings or None), read(shown)


def evaluate_task_study(
    study: TaskStudy, arms: Mapping[str, Volume], source: Volume, *, masks: Mapping[str, Any] | None = None
) -> Metrics:
    """Measure images by the task, beside the source, its best Gaussian and full counts where they can be compared.

    Full counts that are the very reference are left out: their error is none. Where source and target have one
    calibration but not one level, as where nothing was corrected, the best Gaussian of the source gets a factor too.

    Parameters
    ----------
    study
        With the target.
    arms
        Images by method, the one in question first; on other grids than the target's they are resampled.
    source
        That they were made from.
    masks
        As :func:`study_masks` gives them, where they are there already.
    """
    from nmsynth.evaluation.beyond_anatomy import measure_beyond_anatomy
    from nmsynth.evaluation.evaluate import evaluate_arms
    from nmsynth.evaluation.preparation import BEST_SCALED_GAUSSIAN
    from nmsynth.evaluation.tasks import task_evaluation
    from nmsynth.io import read
    from nmsynth.report.scene import is_comparable
    from nmsynth.workflows.brain_baselines import POPULATION_UPTAKE
    from nmsynth.workflows.normal_limits import fitting_limits

    task, target = study.task, study.target
    kind = task_evaluation(task.name)
    full = next((read(study.folder / row.path) for row in study.rows if row.name == FULL_COUNTS), None)
    if task.same_calibration:
        source, arms = of_one_calibration(source, target), {n: of_one_calibration(a, target) for n, a in arms.items()}
    alike = is_comparable(source, target) or (kind.scaled and source.modality == target.modality)
    shown = {name: on_grid_of_target(image, target) for name, image in arms.items()}
    masks = study_masks(study) if masks is None else masks
    further: list[Measurement] = []
    normals, told = fitting_limits(task.normals, target) if task.normals else (None, ())
    if task.same_calibration and alike:
        shown[BEST_SCALED_GAUSSIAN], further = _best_scaled_gaussian(source, target, masks.get("body"))
    metrics = evaluate_arms(
        shown,
        target,
        source=source if alike or target.modality == "CT" else None,
        full_counts=full if full is not None and alike and _is_control(full, target) else None,
        masks=masks,
        task=task.name,
        normals=normals,
        settings={"reference_kind": task.reference_kind},
    )
    if task.ratios and POPULATION_UPTAKE in shown:
        images = {name: image.array for name, image in shown.items()}
        further += measure_beyond_anatomy(
            images, target.array, images[POPULATION_UPTAKE], masks, unit=target.unit.value, against=task.reference_kind
        )
    return replace(metrics, measurements=(*metrics.measurements, *further), warnings=(*metrics.warnings, *told))


def _is_control(full: Volume, target: Volume) -> bool:
    """Whether a scan at full counts can stand beside a target, and is not the target itself."""
    import numpy as np

    from nmsynth.report.scene import is_comparable

    return is_comparable(full, target) and not np.array_equal(full.array, target.array)


def _best_scaled_gaussian(source: Volume, target: Volume, body: Any | None) -> tuple[Volume, list[Measurement]]:
    """The source smoothed and multiplied so that it differs least from the target, with width and factor.

    An oracle as the best Gaussian is one. Width and factor are found in turn until the width stays.
    """
    import numpy as np

    from nmsynth.evaluation.preparation import BEST_SCALED_GAUSSIAN
    from nmsynth.metrics.measurement import Measurement
    from nmsynth.metrics.regions import body_mask
    from nmsynth.models.classical import best_gaussian

    inside = np.asarray(body > 0) if body is not None else body_mask(target.array, target.spacing_mm)
    expected = target.array[inside].astype(np.float64)

    def factor_of(image: npt.NDArray[np.float32]) -> float:
        """Of least squares in the body; one where there is nothing to scale."""
        own = image[inside].astype(np.float64)
        square = float(own @ own)
        return float(own @ expected) / square if square > 0 else 1.0

    smooth, factor, width_mm = source.array, factor_of(source.array), float("nan")
    for _ in range(MOST_TURNS if expected.any() else 0):
        best = best_gaussian(source.array * np.float32(factor), target.array, inside, target.spacing_mm)
        smooth = best.image / np.float32(factor)
        factor, before, width_mm = factor_of(smooth), width_mm, best.fwhm_mm
        if abs(width_mm - before) < WIDTH_STAYS_MM:
            break
    found = [
        Measurement("width", width_mm, "mm FWHM", "body", arm=BEST_SCALED_GAUSSIAN),
        Measurement("factor", factor, "1", "body", arm=BEST_SCALED_GAUSSIAN),
    ]
    return source.with_array(smooth * np.float32(factor)), found


def numbers_of(task: TaskSpec, metrics: Metrics) -> dict[str, dict[str, float | None]]:
    """Numbers that judge a task, by arm and heading, and the noise of each arm; ``None`` where one is not defined."""
    from nmsynth.evaluation.evaluate import noise_measure

    found = {
        arm: {p.heading: metrics.value(p.measure, mask=p.mask, arm=arm) for p in task.proof} for arm in metrics.arms
    }
    if task.is_at_equal_noise:
        measure = noise_measure(task.name, task.reference_kind)
        found = {arm: {**numbers, NOISE: metrics.value(measure, arm=arm)} for arm, numbers in found.items()}
    return found


def of_one_calibration(image: Volume, target: Volume) -> Volume:
    """An image without a unit that comes from the counts of the target by the same calibration, in the target's unit.

    What is read of a scan says so of no image; what is simulated is known.
    """
    if not image.unit.has_unknown_scale:
        return image
    return replace(image, unit=target.unit, acquisition=target.acquisition, suv_rule=target.suv_rule)


def on_grid_of_target(image: Volume, target: Volume) -> Volume:
    """An image on the grid of the target; air lies beyond a CT and nothing beyond any other."""
    from nmsynth.data.body_contours import OUTSIDE_HU
    from nmsynth.data.resampling import resample

    if image.has_grid_of(target):
        return image
    fill = OUTSIDE_HU if image.modality == "CT" else 0.0
    return resample(image, target.affine, target.spatial_shape, fill=fill)


def study_masks(study: TaskStudy) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.bool_]]:
    """Masks of the evaluation on the grid of the target; those that are empty are left out."""
    import numpy as np

    from nmsynth.data.resampling import resample
    from nmsynth.physics.phantom.brain_regions import CORTEX, RIGHT, STRIATUM, BrainRegion
    from nmsynth.workflows.evaluation import read_mask

    task, target = study.task, study.target
    # a recipe may keep a mask from a training, whose labels are all masks, by calling it a reference
    paths = {row.name: study.folder / row.path for row in study.rows if row.role in ("mask", "reference")}

    def labels(name: str) -> npt.NDArray[np.int32]:
        """Labels of an image of the study on the grid of the target."""
        found = resample(read_mask(paths[name]), target.affine, target.spatial_shape, order=0)
        return np.rint(found.array).astype(np.int32)

    masks: dict[str, Any] = {name: labels(known) for name, known in task.masks.items() if known in paths}
    if task.masks.get("wall") in paths:
        masks |= _perfused(masks["wall"], paths[task.masks["wall"]])
    if task.organs and "organs" in paths:
        masks = organ_masks(labels("organs"), target) | masks
    if task.ratios and "regions" in paths:
        numbers = labels("regions") % RIGHT
        for region in BrainRegion:
            inside = numbers == region
            if region is not BrainRegion.OUTSIDE and inside.sum() >= LEAST_REGION_VOXELS:
                masks.setdefault(region.words, inside)
    if task.named_regions and "brain_regions" in paths:
        numbers = labels("brain_regions")
        for name, number in _names_of_regions(paths["brain_regions"]).items():
            inside = numbers == number
            if inside.sum() >= LEAST_REGION_VOXELS:
                masks.setdefault(name, inside)
    if task.binding and "regions" in paths:
        numbers = labels("regions") % RIGHT
        ratio = {"cerebral_cortex": CORTEX, "cerebellar_cortex": (BrainRegion.CEREBELLAR_CORTEX,)}
        named = STRIATUM if _binds_in_striatum(paths["regions"]) else ratio
        masks |= {name: np.isin(numbers, regions) for name, regions in named.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}


def organ_masks(labels: npt.NDArray[np.int32], like: Volume) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of the organs of a phantom, of brain and skeleton as a whole, and of the dome of the liver.

    The dome is liver with lung at most 25 mm above it, where a breath between CT and PET does the most harm. Masks of
    fewer than 100 voxels are left out, as are air, urine, the site of the injection and clutter, which are no organs.

    Parameters
    ----------
    labels
        Numbers of :class:`~nmsynth.physics.phantom.Organ`, shape ``(z, y, x)``.
    like
        Image on whose grid they are.
    """
    import numpy as np

    from nmsynth.physics.phantom import Organ
    from nmsynth.physics.phantom.organs import BRAIN, NO_ORGANS, SKELETON

    masks = {organ.name.lower(): labels == organ for organ in Organ if organ not in NO_ORGANS}
    masks |= {"brain": np.isin(labels, BRAIN), "skeleton": np.isin(labels, SKELETON)}
    masks["liver_dome"] = masks["liver"] & _below(labels == Organ.LUNG, like)
    return {name: mask for name, mask in masks.items() if mask.sum() >= LEAST_VOXELS}


def _below(mask: npt.NDArray[np.bool_], like: Volume) -> npt.NDArray[np.bool_]:
    """Voxels that have some of a mask at most 25 mm above them, along the first axis of an image."""
    import numpy as np

    downwards = like.affine[2, 0] < 0
    found, upright = np.zeros_like(mask), mask[::-1] if downwards else mask
    for step in range(1, min(int(DOME_MM / like.spacing_mm[0]), len(mask) - 1) + 1):
        found[:-step] |= upright[step:]
    return np.asarray(found[::-1] if downwards else found)


def _perfused(segments: npt.NDArray[np.int32], path: Path) -> dict[str, npt.NDArray[np.bool_]]:
    """Segments of a simulated heart that are normal, and those with a defect, of those that it is known of."""
    import numpy as np

    record = read_record(path.parent)
    lost = {s["number"]: s.get("lost_to_defects") for s in record.get("heart", {}).get("segments", ())}
    known = {number: share for number, share in lost.items() if share is not None}
    return {
        "normal_wall": np.isin(segments, [n for n, share in known.items() if share <= NORMAL_LOSS]),
        "defect": np.isin(segments, [n for n, share in known.items() if share >= DEFECT_LOSS]),
    }


def _names_of_regions(regions: Path) -> dict[str, int]:
    """Numbers by name of the regions of a dynamic study."""
    return {name: int(number) for number, name in read_record(regions.parent)["regions"].items()}


def _binds_in_striatum(regions: Path) -> bool:
    """Whether the tracer of a simulated brain is measured against the occipital cortex."""
    return "occipital" in read_record(regions.parent).get("brain", {}).get("reference_region", ())
