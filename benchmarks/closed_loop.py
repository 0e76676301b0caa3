r"""What a synthetic CT or a direct correction costs the PET: the loop closed on simulated patients.

    python -m benchmarks.closed_loop --task mr-to-ct --model MODEL --run RUN --out benchmarks/results/closed_loop
    python -m benchmarks.closed_loop --task nac-to-ct --model MODEL --run RUN --out benchmarks/results/closed_loop
    python -m benchmarks.closed_loop --task nac-to-ac-pet --model MODEL --run RUN --out benchmarks/results/closed_loop

Each subject of the task's studies, by seeds that no dataset has, is scanned; the CT is synthesised; and the same counts
are reconstructed with the true CT, with the synthetic one, with water in the outline of the synthetic body, with four
classes (air, lung, fat, soft tissue) into which the true CT is divided, as attenuation correction by Dixon MR does it
where it makes no mistake, and without correction. With ``--run``, the folder of the model's training, the tissue lookup
that is fitted to its patients stands beside them. Errors are relative to the image that was corrected with the true CT,
so that they are those of the map alone: the mean of each organ, the body voxel by voxel, and the brain's voxels beyond
5, 10 and 15 %. Scanner and reconstruction know one another imperfectly, as always; the estimate of scatter is the same
for all maps. A model that corrects directly gives its image in the place of a reconstruction; water then fills the
outline of the true body. The true CT has the noise of a CT, none of it in air; the image of the study itself, the
target of a direct correction, is corrected with the true attenuation instead. In one study lungs differed by 1.4 % and
other organs by 1 % at most.

What is asked of a model (:data:`AIMS`) is judged over all pairs of a subject and an organ, so that no bad subject hides
behind a good one; intervals are over subjects. Fewer than ten of these decide nothing.

The loop is closed on the scanner of the training and on another one; ``--scanner`` takes one of them. ``--set`` changes
the studies. Each scanner, and each change, has a file of its own. Subjects that are done are kept in ``--scratch``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.apps.cli.options import assignments
from nmsynth.core.replacement import replace_text
from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import find_body, on_grid
from nmsynth.data.lookup import depth_below_skin
from nmsynth.data.manifest import ManifestRow
from nmsynth.data.resampling import resample
from nmsynth.evaluation.ambiguity import to_json
from nmsynth.evaluation.proof import LEAST_PAIRS
from nmsynth.evaluation.regional import organs_among
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.metrics.agreement import Interval, bootstrap_interval, cluster_bootstrap
from nmsynth.metrics.correction import BEYOND, error_over_mean, organ_errors, share_beyond
from nmsynth.metrics.regions import body_mask, smooth
from nmsynth.models.registry import show_model
from nmsynth.workflows.benchmark_baselines import source_body
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from nmsynth.workflows.study_recipe import StudyPlan, simulate_study
from nmsynth.workflows.synthesis import synthesize_study
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_proof import fitted_image
from nmsynth.workflows.task_study import TaskStudy, on_grid_of_target, organ_masks, plan_task_studies
from nmsynth.workflows.tasks import load_task

if TYPE_CHECKING:
    from nmsynth.workflows.tasks import TaskSpec

FIRST_SEED = SEEDS_FROM + 1000
"""Seeds of these subjects; those of demonstrations are smaller."""
SCHEMA_VERSION = 4
"""Of the results; 3 had no air about the body of the lookup, 2 medians over subjects of each one's percentile."""
SCANNERS = ("as trained", "another")
ANOTHER = {"settings.scanner": "bgo-with-septa", "settings.voxel_mm": 4.6875}
"""Changes for another scanner where the proof of the task has none."""
AIMS = {"organ_error_median": 0.05, "organ_error_95th": 0.15, "error_over_mean": 0.03}
"""What the errors of PET should not exceed: of organs over all subjects, and of the body over its mean."""
CLASSES_HU = ((-750.0, -200.0), (-100.0, -30.0), (40.0, float("inf")))
"""CT number that stands for lung, fat and soft tissue, and the end of each; chosen. Bone counts as soft tissue."""
AIR_HU = -1000.0
SMOOTHED_MM = 4.0
"""Of a CT before it is divided, so that its noise makes no classes [mm]."""
SKIN_MM = 12.0
"""How far below the skin no lung lies [mm]."""
LOOKUP = "tissue-lookup-depth"
"""Baseline that is fitted to the patients of a training."""


def synthesised(rows: list[ManifestRow], work: Path, model: str) -> Path:
    """What the model makes of the source of the task: a CT, or the corrected PET itself."""
    row = next(r for r in rows if r.role == "source")
    out = work / "synthetic.nii.gz"
    synthesize_study(work / row.path, out, model=model)
    return out


def water_in(ct: Path, out: Path) -> Path:
    """Water where a CT shows the body, and air elsewhere."""
    image = read(ct)
    body = find_body(image)
    inside = on_grid(body.mask, body.image, image)
    return write_nifti(image.with_array(np.where(inside, 0.0, AIR_HU).astype(np.float32)), out)


def four_classes(hu: np.ndarray[Any, Any], depth_mm: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """CT numbers of lung, fat and soft tissue within a body, and of air beside it [HU].

    A voxel near the skin that is half air is no lung, but fat.

    >>> four_classes(np.array([-800.0, -90.0, 20.0, 900.0, -500.0, 20.0]), np.array([50.0] * 4 + [2.0, 0.0])).tolist()
    [-750.0, -100.0, 40.0, 40.0, -100.0, -1000.0]
    """
    (lung, lung_ends), (fat, fat_ends), (soft, _) = CLASSES_HU
    is_lung = (hu < lung_ends) & (depth_mm > SKIN_MM)
    classes = np.where(is_lung, lung, np.where(hu < fat_ends, fat, soft))
    return np.where(depth_mm > 0, classes, AIR_HU).astype(np.float32)


def classes_of(ct: Path, out: Path) -> Path:
    """A CT that was divided into four classes."""
    image = read(ct)
    body = find_body(image)
    depth_mm = depth_below_skin(on_grid(body.mask, body.image, image), image.spacing_mm)
    hu = smooth(image.array, SMOOTHED_MM, image.spacing_mm)
    return write_nifti(image.with_array(four_classes(hu, depth_mm)), out)


def looked_up(task: TaskSpec, rows: list[ManifestRow], work: Path, run: Path) -> Volume:
    """What the tissue lookup of a training makes of the source of the task."""
    target = read(work / next(r for r in rows if r.role == "target").path)
    source = read(work / next(r for r in rows if r.role == "source").path)
    scratch = work / "lookup"
    scratch.mkdir()
    found = fitted_image(run, LOOKUP, TaskStudy(task, work, tuple(rows), target), source, scratch)
    return with_air(found, source) if found.modality == "CT" else found


def with_air(ct: Volume, source: Volume) -> Volume:
    """A CT with air outside the body that a source shows: a lookup is fitted within bodies and says nothing of it."""
    inside = on_grid(source_body(source), source, ct)
    return ct.with_array(np.where(inside, ct.array, AIR_HU).astype(np.float32))


def organs_of(study: Path, like: Volume) -> dict[str, Any]:
    """Masks of organs on the grid of the scan, as the proof of a task has them."""
    image = read(study / "reference" / "organs.nii.gz", unit="1", modality="PT")
    labels = np.rint(resample(image, like.affine, like.spatial_shape, order=0).array).astype(np.int32)
    return organ_masks(labels, like)


def errors_of(image: Volume, reference: Volume, organs: dict[str, Any]) -> dict[str, Any]:
    """Numbers of one image of one subject."""
    body = body_mask(reference.array, reference.spacing_mm)
    found = organ_errors(image.array, reference.array, organs_among(organs))
    parts = {name: organs[name] for name in ("liver_dome", "skeleton") if name in organs}
    beyond = {
        f"{100 * limit:g} %": share_beyond(image.array, reference.array, organs["brain"], limit)
        for limit in BEYOND
        if "brain" in organs
    }
    return {
        "organs": {name: round(value, 5) for name, value in found.items()},
        "parts": {name: round(v, 5) for name, v in organ_errors(image.array, reference.array, parts).items()},
        "error_over_mean": error_over_mean(image.array, reference.array, body),
        "brain_voxels_beyond": beyond,
    }


def close(task: TaskSpec, plan: StudyPlan, work: Path, model: str, run: Path | None = None) -> dict[str, Any]:
    """One subject."""
    rows, _ = simulate_study(plan, work, file_format="nifti")
    true = work / next(r for r in rows if r.name == "ct").path
    synthetic = synthesised(rows, work, model)
    is_map = next(r for r in rows if r.role == "target").name == "ct"
    maps = {
        "true": true,
        "water": water_in(synthetic if is_map else true, work / "water.nii.gz"),
        "four-classes": classes_of(true, work / "classes.nii.gz"),
    }
    baseline = None if run is None else looked_up(task, rows, work, run)
    if is_map:
        maps["synthetic"] = synthetic
        if baseline is not None:
            maps["lookup"] = write_nifti(baseline, work / "lookup.nii.gz")
    settings = SimulatePetSettings(**{**plan.settings, "file_format": "nifti", "also": ("uncorrected",)})
    loop = work / "loop"
    simulate_pet(settings.model_copy(update={"attenuation": maps}), loop)
    reference = read(loop / "true.nii.gz")
    organs = organs_of(loop, reference)
    reconstructed = [name for name in maps if name != "true"]
    arms = {name: read(loop / f"{name}.nii.gz") for name in (*reconstructed, "uncorrected")}
    if not is_map:
        arms["synthetic"] = read(synthetic)  # from counts of this seed, so from the very ones of the loop
        if baseline is not None:
            arms["lookup"] = on_grid_of_target(baseline, reference)
    return {"case": plan.case_id, "arms": {name: errors_of(image, reference, organs) for name, image in arms.items()}}


def changes_of(task: TaskSpec, scanner: str) -> dict[str, Any]:
    """What a scanner changes of the studies: as in the proof of the task, where that has another one."""
    if scanner == SCANNERS[0]:
        return {}
    return next((dict(test.changes) for test in task.tests if test.name == f"{scanner} scanner"), ANOTHER)


def file_of(out: Path, task: str, scanner: str, changes: Mapping[str, Any]) -> Path:
    """Where the numbers of a task on a scanner are kept; further changes are told apart by a digest."""
    words = [task, scanner.replace(" ", "-")]
    if changes:
        told = json.dumps({key: repr(value) for key, value in changes.items()}, sort_keys=True)
        words.append(hashlib.sha256(told.encode()).hexdigest()[:8])
    return out / f"{'-'.join(words)}.json"


def judged(found: Interval | None, aim: float) -> str:
    """Whether an error keeps to an aim, by its interval.

    >>> judged(Interval(0.04, 0.03, 0.045, n=20, level=0.95), 0.05)
    'met'
    """
    if found is None or found.n < LEAST_PAIRS:
        return "not told: too few subjects"
    return "met" if found.upper <= aim else "missed" if found.lower > aim else "not told"


def _mean(values: np.ndarray[Any, Any]) -> float:
    """Mean of a sample."""
    return float(np.mean(values))


def _percentile(values: np.ndarray[Any, Any]) -> float:
    """95th percentile of a sample."""
    return float(np.percentile(values, 95))


def worst_of(subjects: list[dict[str, Any]], arm: str) -> dict[str, Any]:
    """The subject with the largest error of an organ."""
    found = max(
        ((abs(value), name, s) for s in subjects for name, value in s["arms"][arm]["organs"].items()),
        key=lambda entry: entry[0], default=None,
    )  # fmt: skip
    if found is None:
        return {}
    error, organ, subject = found
    over_mean = subject["arms"][arm]["error_over_mean"]
    return {
        "case": subject.get("case", ""),
        "organ": organ,
        "organ_error": round(error, 4),
        "error_over_mean": over_mean,
    }


def summary(subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of each arm with intervals over subjects, and whether they keep to the aims.

    Median and 95th percentile are those of the absolute errors of all organs of all subjects; ``of_subjects`` has the
    medians over subjects of each one's own.
    """
    found = {}
    for arm in subjects[0]["arms"]:
        rows = [s["arms"][arm] for s in subjects]
        errors = [np.abs(np.array(list(row["organs"].values()))) for row in rows if row["organs"]]
        over_mean = [r["error_over_mean"] for r in rows if r["error_over_mean"] is not None]
        told = {
            "organ_error_median": cluster_bootstrap(errors),
            "organ_error_95th": cluster_bootstrap(errors, statistic=_percentile),
            "error_over_mean": bootstrap_interval(over_mean),
        }
        own = {
            "organ_error_median": bootstrap_interval([float(np.median(each)) for each in errors]),
            "organ_error_95th": bootstrap_interval([_percentile(each) for each in errors]),
        }
        shares = [r["brain_voxels_beyond"] for r in rows if r["brain_voxels_beyond"]]
        found[arm] = {
            "n_subjects": len(rows),
            **to_json(told),
            "error_over_mean_largest": max(over_mean, default=None),
            "aims": {f"{name} <= {aim:g}": judged(told[name], aim) for name, aim in AIMS.items()},
            "of_subjects": to_json(own),
            "worst_subject": worst_of(subjects, arm),
            "organs": {**_medians(rows, "organs"), **_medians(rows, "parts")},
            "brain_voxels_beyond": to_json(
                {
                    key: bootstrap_interval([share[key] for share in shares], statistic=_mean)
                    for key in (shares[0] if shares else {})
                }
            ),
        }
    return found


def _medians(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Median over subjects of the error of each organ, which has its sign."""
    names = sorted({name for row in rows for name in row.get(key, {})})
    return {n: round(float(np.median([r[key][n] for r in rows if n in r.get(key, {})])), 4) for n in names}


@dataclass(frozen=True, slots=True)
class Subject:
    """On whom the loop is closed."""

    task: str
    plan: StudyPlan
    model: str
    run: Path | None
    place: Path
    """Of its numbers."""


def close_one(subject: Subject) -> None:
    """Close the loop on one subject, and keep its numbers."""
    with tempfile.TemporaryDirectory() as scratch:
        found = close(load_task(subject.task), subject.plan, Path(scratch), subject.model, subject.run)
    replace_text(subject.place, json.dumps(found) + "\n")


def close_all(asked: argparse.Namespace, scanner: str, sha256: str, name: str) -> None:
    """Close the loop on all subjects on one scanner; those that are done are kept."""
    task, further = load_task(asked.task), assignments(asked.set)
    changes = {**changes_of(task, scanner), **further}
    stated = {"model": name, "sha256": sha256, "changes": {k: repr(v) for k, v in changes.items()}}
    stated |= {"version": SCHEMA_VERSION, "lookup": asked.run is not None}
    folder = asked.scratch / asked.task / sha256[:12]
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_task_studies(task, asked.subjects, FIRST_SEED, changes)
    places = [folder / f"{plan.key(asked=stated)}.json" for plan in plans]
    subjects = [
        Subject(asked.task, plan, asked.model, asked.run, place)
        for plan, place in zip(plans, places, strict=True)
        if not place.is_file()
    ]
    run_jobs(close_one, subjects, workers=asked.workers)
    done = [json.loads(place.read_text(encoding="utf-8")) for place in places]
    result = {
        "schema_version": SCHEMA_VERSION, "aims": AIMS, "asked": stated, "scanner": scanner,
        "summary": summary(done), "subjects": done,
    }  # fmt: skip
    path = file_of(asked.out, asked.task, scanner, further)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(scanner, json.dumps(result["summary"]), flush=True)


def main() -> None:
    """Close the loop on some subjects, on each scanner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("mr-to-ct", "nac-to-ct", "nac-to-ac-pet"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run", type=Path, help="Of the training, to whose patients a tissue lookup is fitted.")
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="Of the studies, by dotted key.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scanner", choices=SCANNERS, help="One of them; both when unset.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/closed_loop"))
    given = parser.parse_args()
    card = show_model(given.model)
    for scanner in (given.scanner,) if given.scanner else SCANNERS:
        close_all(given, scanner, card.sha256, card.name)


if __name__ == "__main__":
    main()
