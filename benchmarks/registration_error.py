r"""Whether a synthetic CT or MR lays a PET over another image of the patient better than the PET does itself.

    python -m benchmarks.registration_error --task pet-to-ct --model MODEL --subjects 20 --out OUT
    python -m benchmarks.registration_error --task pet-to-ct --model MODEL --breathing-mm 10 --out OUT

Each subject of the task's studies, by seeds that no dataset has, has a CT (or MR) that is turned by up to 6 degrees
about each axis and shifted by up to 10 mm. It is laid over the PET again, rigidly and by mutual information: once
with the PET, once with what the model makes of the PET, and once with the true image of the PET's place, which is
as good as can be. The error is how far the voxels of the body then lie from where they belong; its mean over the
body; of these, the median over subjects with an interval, and the paired differences.

PET and CT (or MR) of a simulated study show one breath; patients' do not. With ``--breathing-mm`` the domes of the
diaphragm of the image that is laid over the PET lie so much higher, and what is around them with them; the error is
then how far voxels lie from where they would belong without that breath. How far organs overlap is in the proofs of
the tasks (``organ Dice``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from nmsynth.core.volume import Volume
from nmsynth.data.body import body_contour
from nmsynth.data.registration import RegistrationSettings, register
from nmsynth.io import read
from nmsynth.io.atomic import atomic_file
from nmsynth.metrics.agreement import bootstrap_interval, paired_difference
from nmsynth.models.registry import show_model
from nmsynth.physics.misregistration import Misregistration
from nmsynth.physics.phantom.grid import Grid
from nmsynth.physics.phantom.organs import Organ
from nmsynth.workflows.evaluation import read_mask
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.study_recipe import StudyPlan, simulate_study
from nmsynth.workflows.synthesis import synthesize_study
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import plan_task_studies
from nmsynth.workflows.tasks import load_task

LARGEST_DEG, LARGEST_MM = 6.0, 10.0
FIRST_SEED = SEEDS_FROM + 4000
"""Seeds of these subjects; those of other benchmarks are smaller."""
SETTINGS = RegistrationSettings(how="rigid", by="intensity")
EVERY = 50
"""Of the voxels of the body, one is taken of so many."""
ARMS = ("PET", "synthetic", "true image")
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject to be registered."""

    plan: StudyPlan
    model: str
    breathing_mm: float
    place: Path


def moved(image: Volume, rng: np.random.Generator) -> tuple[Volume, FloatArray]:
    """The image in another place, and the matrix from where a point was to where it is, LPS [mm]."""
    turn = Rotation.from_euler("zyx", rng.uniform(-LARGEST_DEG, LARGEST_DEG, 3), degrees=True).as_matrix()
    centre = (image.affine @ [*(np.array(image.spatial_shape) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + rng.uniform(-LARGEST_MM, LARGEST_MM, 3)
    return replace(image, affine=matrix @ image.affine), matrix


def breathed(image: Volume, organs: Volume, breathing_mm: float) -> Volume:
    """The image of a patient whose diaphragm lies higher, by the top of the liver in labels of organs."""
    if not breathing_mm:
        return image
    planes = np.flatnonzero((np.rint(organs.array) == Organ.LIVER).any(axis=(1, 2)))
    # rows are x, y and z of the patient, columns z, y and x of the image
    straight = all(np.allclose(v.affine[:3, :3], np.flipud(np.diag(v.spacing_mm))) for v in (image, organs))
    if not planes.size or not straight:
        raise SystemExit("A breath needs a liver, and an image along the patient's axes; found another. Leave it out.")
    top_mm = float(organs.affine[2, 3] + planes[-1] * organs.spacing_mm[0])
    z, y, x = image.spatial_shape
    origin = (float(image.affine[2, 3]), float(image.affine[1, 3]), float(image.affine[0, 3]))
    grid = Grid((z, y, x), image.spacing_mm, origin)
    displaced = Misregistration(breathing_mm=breathing_mm, diaphragm_mm=top_mm)
    return image.with_array(displaced.apply(np.asarray(image.array, dtype=np.float32), grid))


def points_of(image: Volume) -> FloatArray:
    """Some voxels of the body, LPS [mm], shape ``(point, 3)``."""
    index = np.argwhere(body_contour(image))[::EVERY]
    return np.asarray((np.c_[index, np.ones(len(index))] @ image.affine.T)[:, :3])


def error_mm(fixed: Volume, moving: Volume, matrix: FloatArray, points: FloatArray) -> tuple[float, float]:
    """Mean and 95th percentile of how far points lie from where they belong after registration [mm]."""
    transform = register(fixed, moving, SETTINGS).transform
    found = np.array([transform.TransformPoint([float(v) for v in p]) for p in points])
    expected = points @ matrix[:3, :3].T + matrix[:3, 3]
    distance = np.linalg.norm(found - expected, axis=1)
    return float(distance.mean()), float(np.percentile(distance, 95))


def measure(subject: Subject) -> None:
    """Register one subject three times, and keep the errors."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        rows, _ = simulate_study(subject.plan, work, file_format="nifti")
        source = work / next(r.path for r in rows if r.role == "source")
        target = read(work / next(r.path for r in rows if r.role == "target"))
        made = synthesize_study(source, work / "synthetic.nii.gz", model=subject.model, settings={"threads": 1})
        pet = read(source)
        organs = read_mask(work / next(r.path for r in rows if r.name == "organs"))
        away, matrix = moved(
            breathed(target, organs, subject.breathing_mm), np.random.default_rng((subject.plan.settings["seed"], 71))
        )
        points = points_of(target)
        images = dict(zip(ARMS, (pet, made.image, target), strict=True))
        result = {name: error_mm(image, away, matrix, points) for name, image in images.items()}
        start = np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1)
        result["unregistered"] = (float(start.mean()), float(np.percentile(start, 95)))
    with atomic_file(subject.place) as temporary:
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")


def summary(subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """Median error of each arm over subjects, and that of the synthetic image less the PET's, paired [mm]."""
    errors = {arm: [s[arm][0] for s in subjects] for arm in subjects[0]}
    found = {arm: bootstrap_interval(values) for arm, values in errors.items()}
    found["synthetic less PET"] = paired_difference(errors["synthetic"], errors["PET"])
    return {arm: None if interval is None else interval.rounded(3) for arm, interval in found.items()}


def main() -> None:
    """Register what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("pet-to-ct", "pet-to-mr"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--breathing-mm", type=float, default=0.0, help="Of the image that is laid over the PET.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path("runs/registration_error"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    card = show_model(given.model)
    folder = given.scratch / f"{given.task}-{card.sha256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_task_studies(load_task(given.task), given.subjects, FIRST_SEED)
    how = {"how": SETTINGS.model_dump()} | ({"breathing_mm": given.breathing_mm} if given.breathing_mm else {})
    jobs = [Subject(plan, given.model, given.breathing_mm, folder / f"{plan.key(**how)}.json") for plan in plans]
    run_jobs(measure, [job for job in jobs if not job.place.is_file()], workers=given.workers)
    results = [json.loads(job.place.read_text(encoding="utf-8")) for job in jobs]
    found = {
        "schema_version": 1,
        "model": {"name": card.name, "sha256": card.sha256},
        "subjects": given.subjects,
        "breathing_mm": given.breathing_mm,
        "error_mm": summary(results),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    breath = f"-breath-{given.breathing_mm:g}-mm" if given.breathing_mm else ""
    (given.out / f"{given.task}{breath}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
