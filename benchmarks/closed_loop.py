r"""What a synthetic CT or a direct correction costs the PET: the loop closed on simulated patients.

    python -m benchmarks.closed_loop --task mr-to-ct --model MODEL --subjects 10 --out benchmarks/results/closed_loop
    python -m benchmarks.closed_loop --task nac-to-ct --model MODEL --subjects 10 --out benchmarks/results/closed_loop
    python -m benchmarks.closed_loop --task nac-to-ac-pet --model MODEL --subjects 10 --out \
        benchmarks/results/closed_loop

Each subject of the task's studies, by seeds that no dataset has, is scanned; the CT is synthesised; and the same counts
are reconstructed with the true CT, with the synthetic one, with water in the outline of the synthetic body, and without
correction. Errors are relative to the image that was corrected with the true CT, so that they are those of the map
alone: the mean of each organ, the body voxel by voxel, and the brain's voxels beyond 5, 10 and 15 %. Scanner and
reconstruction know one another imperfectly, as always; the estimate of scatter is the same for all maps. A model that
corrects directly gives its image in the place of a reconstruction; water then fills the outline of the true body.
The true CT has the noise of a CT, none of it in air; the image of the study itself, the target of a direct correction,
is corrected with the true attenuation instead. In one study lungs differed by 1.4 % and other organs by 1 % at most.

The loop is closed on the scanner of the training and on another one; ``--scanner`` takes one of them. ``--set`` changes
the studies. Each scanner, and each change, has a file of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmsynth.apps.cli.options import assignments
from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import find_body, on_grid
from nmsynth.data.manifest import ManifestRow
from nmsynth.data.resampling import resample
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.metrics.agreement import bootstrap_interval
from nmsynth.metrics.correction import BEYOND, error_over_mean, organ_errors, share_beyond
from nmsynth.metrics.regions import body_mask
from nmsynth.models.registry import show_model
from nmsynth.physics.phantom import Organ
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from nmsynth.workflows.study_recipe import StudyPlan, simulate_study
from nmsynth.workflows.synthesis import synthesize_study
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import LEAST_VOXELS, plan_task_studies
from nmsynth.workflows.tasks import load_task

if TYPE_CHECKING:
    from nmsynth.workflows.tasks import TaskSpec

BRAIN = (Organ.BRAIN_GREY, Organ.BRAIN_WHITE, Organ.CEREBELLUM)
FIRST_SEED = SEEDS_FROM + 1000
"""Seeds of these subjects; those of demonstrations are smaller."""
SCANNERS = ("as trained", "another")
ANOTHER = {"settings.scanner": "bgo-with-septa", "settings.voxel_mm": 4.6875}
"""Changes for another scanner where the proof of the task has none."""
NO_ORGANS = (Organ.OUTSIDE, Organ.AIR, Organ.URINE, Organ.INJECTION_SITE)
"""What is no organ whose mean would be read."""


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
    return write_nifti(image.with_array(np.where(inside, 0.0, -1000.0).astype(np.float32)), out)


def organs_of(study: Path, like: Volume) -> dict[str, Any]:
    """Masks of organs on the grid of the scan, and of the brain as a whole."""
    image = read(study / "reference" / "organs.nii.gz", unit="1", modality="PT")
    labels = np.rint(resample(image, like.affine, like.spatial_shape, order=0).array).astype(int)
    masks = {organ.name.lower(): labels == organ for organ in Organ if organ not in (*NO_ORGANS, *BRAIN)}
    masks["brain"] = np.isin(labels, [int(organ) for organ in BRAIN])
    return {name: mask for name, mask in masks.items() if mask.sum() >= LEAST_VOXELS}


def errors_of(image: Volume, reference: Volume, organs: dict[str, Any]) -> dict[str, Any]:
    """Numbers of one image of one subject."""
    body = body_mask(reference.array, reference.spacing_mm)
    found = organ_errors(image.array, reference.array, organs)
    beyond = {
        f"{100 * limit:g} %": share_beyond(image.array, reference.array, organs["brain"], limit)
        for limit in BEYOND
        if "brain" in organs
    }
    return {
        "organs": {name: round(value, 5) for name, value in found.items()},
        "error_over_mean": error_over_mean(image.array, reference.array, body),
        "brain_voxels_beyond": beyond,
    }


def close(plan: StudyPlan, work: Path, model: str) -> dict[str, Any]:
    """One subject."""
    rows, _ = simulate_study(plan, work, file_format="nifti")
    true = work / next(r for r in rows if r.name == "ct").path
    synthetic = synthesised(rows, work, model)
    is_map = next(r for r in rows if r.role == "target").name == "ct"
    maps = {"true": true, "water": water_in(synthetic if is_map else true, work / "water.nii.gz")}
    if is_map:
        maps["synthetic"] = synthetic
    settings = SimulatePetSettings(**{**plan.settings, "file_format": "nifti", "also": ("uncorrected",)})
    loop = work / "loop"
    simulate_pet(settings.model_copy(update={"attenuation": maps}), loop)
    reference = read(loop / "true.nii.gz")
    organs = organs_of(loop, reference)
    reconstructed = [name for name in maps if name != "true"]
    arms = {name: read(loop / f"{name}.nii.gz") for name in (*reconstructed, "uncorrected")}
    if not is_map:
        arms["synthetic"] = read(synthetic)  # from counts of this seed, so from the very ones of the loop
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


def summary(subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and 95th percentile of a subject's absolute errors of organs, as medians with intervals over subjects."""
    found = {}
    for arm in subjects[0]["arms"]:
        rows = [s["arms"][arm] for s in subjects]
        errors = [[abs(v) for v in row["organs"].values()] for row in rows if row["organs"]]
        medians = bootstrap_interval([float(np.median(own)) for own in errors])
        largest = bootstrap_interval([float(np.percentile(own, 95)) for own in errors])
        means = bootstrap_interval([r["error_over_mean"] for r in rows])
        names = sorted({name for row in rows for name in row["organs"]})
        found[arm] = {
            "n_subjects": len(rows),
            "organ_error_median": None if medians is None else medians.rounded(),
            "organ_error_95th": None if largest is None else largest.rounded(),
            "error_over_mean": None if means is None else means.rounded(),
            "organs": {
                n: round(float(np.median([r["organs"][n] for r in rows if n in r["organs"]])), 4) for n in names
            },
            "brain_voxels_beyond": {
                key: round(float(np.mean([r["brain_voxels_beyond"][key] for r in rows if r["brain_voxels_beyond"]])), 4)
                for key in next((r["brain_voxels_beyond"] for r in rows if r["brain_voxels_beyond"]), {})
            },
        }
    return found


def close_all(asked: argparse.Namespace, scanner: str, sha256: str, name: str) -> None:
    """Close the loop on all subjects on one scanner; those that are done are kept."""
    task, further = load_task(asked.task), assignments(asked.set)
    changes = {**changes_of(task, scanner), **further}
    path = file_of(asked.out, asked.task, scanner, further)
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = {"model": name, "sha256": sha256, "changes": {k: repr(v) for k, v in changes.items()}}
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    subjects = known["subjects"] if known.get("asked") == stated else []
    for plan in plan_task_studies(task, asked.subjects, FIRST_SEED, changes)[len(subjects) :]:
        with tempfile.TemporaryDirectory() as scratch:
            subjects.append(close(plan, Path(scratch), asked.model))
        result = {
            "schema_version": 2, "asked": stated, "scanner": scanner, "summary": summary(subjects),
            "subjects": subjects,
        }  # fmt: skip
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(scanner, json.dumps(result["summary"]), flush=True)


def main() -> None:
    """Close the loop on some subjects, on each scanner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("mr-to-ct", "nac-to-ct", "nac-to-ac-pet"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="Of the studies, by dotted key.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scanner", choices=SCANNERS, help="One of them; both when unset.")
    given = parser.parse_args()
    card = show_model(given.model)
    for scanner in (given.scanner,) if given.scanner else SCANNERS:
        close_all(given, scanner, card.sha256, card.name)


if __name__ == "__main__":
    main()
