r"""Brain phantoms of a population without spread, averaged in one space, beside group averages of real scans.

Every label map is brought to MNI-like coordinates by its deep structures and the box of its cerebrum alone, no
registration; group averages are in the MNI space, but for that of FDG, whose brain is smaller: centre and spread of its
bright voxels along each axis are matched to those of the phantoms. Regional means weigh each voxel by the share of maps
that have the region there, in the phantoms' average and in the real one alike.

    python -m benchmarks.brain_templates --labels ../shared/data/brain_labels --templates ../shared/data/brain_templates
    python -m benchmarks.brain_templates --labels LABELS --templates TEMPLATES \
        --task mr-to-fdg --model runs/mr-to-fdg/model/package/mr-to-fdg

With a model of MR, its answers to a simulated MR of every map, healthy and without atrophy, are averaged in the same
space and stand as a third number. The FDG of the phantoms, by which such a model is trained, was fitted to the average
of the 116 controls: agreement with it says that the model learned the phantoms, not that it knows real brains.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from nmsynth.core.volume import Volume
from nmsynth.data.families import read_upright
from nmsynth.physics.phantom.brain import brain_patient
from nmsynth.physics.phantom.brain_disease import BrainSubject
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion, brain_frame
from nmsynth.physics.phantom.brain_tracers import brain_tracer_named
from nmsynth.physics.phantom.grid import Grid
from nmsynth.physics.psf import FWHM_PER_SIGMA
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import plan_task_studies, simulate_task_study, synthesize_task_study
from nmsynth.workflows.tasks import load_task

TEMPLATES = {
    "fdg_116_controls": ("FDG", "normal", 0.0),
    "Template_FBP_neg": ("florbetapir", "normal", 0.0),
    "Template_FBP_pos": ("florbetapir", "alzheimer", 0.5),
    "Template_FBB_neg": ("florbetapir", "normal", 0.0),
    "Template_FBB_pos": ("florbetapir", "alzheimer", 0.5),
    "FDOPA_f18": ("FDOPA", "normal", 0.0),
    "DAT_DATSPECT": ("ioflupane", "normal", 0.0),
}
"""Group average to tracer, disease and severity of the phantoms beside it.

There is no florbetaben here: its averages (FBB) stand beside phantoms with florbetapir, whose reference region is the
same, for orientation alone.
"""
OF_MODEL = {"mr-to-fdg": "fdg_116_controls", "mr-to-amyloid": "Template_FBP_neg"}
"""Group average that the answers of a task's model stand beside, as its MR are of healthy subjects."""
SEED = SEEDS_FROM + 4500
"""Of the studies that a model answers."""
BY_MOMENTS = ("fdg_116_controls",)
STEP_MM = 3.0
FWHM_MM = {"ioflupane": 12.0}
"""Resolution given to the phantoms, 7 mm for PET [mm]; chosen, the averages do not state theirs."""


def mni_points() -> tuple[np.ndarray, tuple[int, int, int]]:
    """Points of a grid over the brain, right, anterior and superior [mm], and its shape."""
    axes = [np.arange(low, high, STEP_MM) for low, high in ((-75, 76), (-110, 78), (-70, 86))]
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([m.reshape(-1) for m in mesh], axis=1), mesh[0].shape  # type: ignore[return-value]


def sampled(image: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values of an image at fractional indices, linear."""
    return ndimage.map_coordinates(image, index.T, order=1, mode="constant")


def template_values(path: Path, points: np.ndarray) -> np.ndarray:
    """Values of a NIfTI group average at points of the MNI space."""
    import nibabel as nib

    image = nib.load(path)
    to_index = np.linalg.inv(image.affine)
    return sampled(np.nan_to_num(image.get_fdata()), points @ to_index[:3, :3].T + to_index[:3, 3])


def matched_points(path: Path, points: np.ndarray, phantom: np.ndarray) -> np.ndarray:
    """Points moved and scaled along each axis so that bright voxels of both images have the same moments."""

    def moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the coordinates of bright voxels."""
        bright = points[image > 0.5 * np.percentile(image[image > 0.2 * image.max()], 90)]
        return bright.mean(axis=0), bright.std(axis=0)

    (own_mean, own_sd), (mean, sd) = moments(template_values(path, points)), moments(phantom)
    return (points - mean) / sd * own_sd + own_mean


def phantom_averages(folder: Path, points: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, np.ndarray]]:
    """Mean of the phantoms for each group average, and the share of maps with each region, at the points."""
    paths = sorted(folder.glob("*.nii.gz"))
    means = {name: np.zeros(len(points)) for name in TEMPLATES}
    shares = {int(r): np.zeros(len(points)) for r in BrainRegion if r}
    for path in paths:
        labels, spacing = read_upright(path, unit="1", modality="MR")
        index = brain_frame(labels.astype(np.int32), spacing).index(points, spacing)
        for k, (tracer, disease, severity) in enumerate(dict.fromkeys(TEMPLATES.values())):
            patient = brain_patient(
                labels, spacing, seed=0, tracer=tracer, subject=BrainSubject(disease, severity, 0.0, None),
                spread=0.0, textured=False,
            )  # fmt: skip
            sigma = FWHM_MM.get(tracer, 7.0) / FWHM_PER_SIGMA / np.asarray(spacing)
            shown = sampled(ndimage.gaussian_filter(patient.source.activity, sigma), index) / len(paths)
            for name in (name for name, of in TEMPLATES.items() if of == (tracer, disease, severity)):
                means[name] += shown
            if k == 0:
                near = np.rint(index).astype(int)
                inside = ((near >= 0) & (near < np.array(labels.shape))).all(axis=1)
                z, y, x = np.where(inside[:, None], near, 0).T
                region = np.where(inside, patient.regions[z, y, x] % RIGHT, 0)
                for number, share in shares.items():
                    share += (region == number) / len(paths)
        sys.stderr.write(f"{path.name}\n")
    return means, shares


def placed_in_image(
    index: np.ndarray, shape: tuple[int, ...], spacing_mm: tuple[float, ...], image: Volume
) -> np.ndarray:
    """Fractional indices in a simulated image of those in its label map, both ``(n, 3)`` as ``(z, y, x)``.

    A simulated study has the patient coordinates of its phantom: the map centred across, its first plane at 0.
    """
    origin = np.asarray(Grid.centred(tuple(shape), tuple(spacing_mm)).origin_mm)  # type: ignore[arg-type]
    points_mm = (origin + index * np.asarray(spacing_mm))[:, ::-1]  # (z, y, x) -> (left, posterior, superior)
    to_index = np.linalg.inv(image.affine)
    return points_mm @ to_index[:3, :3].T + to_index[:3, 3]


def model_average(folder: Path, points: np.ndarray, task_name: str, model: str) -> np.ndarray:
    """Mean of a model's answers to MR of the maps of a folder, healthy and without atrophy, at the points."""
    task, paths = load_task(task_name), sorted(folder.glob("*.nii.gz"))
    mean = np.zeros(len(points))
    for number, path in enumerate(paths):
        labels, spacing = read_upright(path, unit="1", modality="MR")
        index = brain_frame(labels.astype(np.int32), spacing).index(points, spacing)
        healthy = {"disease": "normal", "healthy_share": 0.0, "coupling": None, "atrophy": 0.0}
        changes = {f"settings.{name}": value for name, value in {**healthy, "labels": str(path)}.items()}
        plan = plan_task_studies(task, 1, SEED + number, {**changes, "settings.phantom": "whole-body"})[0]
        with tempfile.TemporaryDirectory() as scratch:
            study = simulate_task_study(task, plan, Path(scratch))[0]
            made, _ = synthesize_task_study(study, model, Path(scratch) / "synthetic.nii.gz", seed=number)
        there = placed_in_image(index, labels.shape, spacing, made.image)
        mean += sampled(np.asarray(made.image.array), there) / len(paths)
        sys.stderr.write(f"{path.name}, model\n")
    return mean


def compare(labels: Path, templates: Path, *, task: str = "", model: str = "") -> dict[str, dict[str, object]]:
    """Regional ratios of phantoms, group averages, and a model's answers where one is named."""
    points, _ = mni_points()
    answered = {OF_MODEL[task]: model_average(labels, points, task, model)} if model else {}
    means, shares = phantom_averages(labels, points)
    record: dict[str, dict[str, object]] = {}
    for name, (tracer, disease, severity) in TEMPLATES.items():
        path = templates / f"{name}.nii.gz"
        if not path.exists():
            continue
        reference = sum(shares[r] for r in brain_tracer_named(tracer).reference)
        pair = []
        there = matched_points(path, points, means[name]) if name in BY_MOMENTS else points
        for image in (template_values(path, there), means[name], *([answered[name]] if name in answered else [])):
            level = (reference * image).sum() / reference.sum()
            pair.append({r: (shares[r] * image).sum() / shares[r].sum() / level for r in shares})
        rows = {BrainRegion(r).name.lower(): [round(float(p[r]), 3) for p in pair] for r in shares}
        real, made, *by_model = np.array(list(rows.values())).T
        record[name] = {
            "phantom": f"{tracer}, {disease}, severity {severity:g}",
            f"regions (real, phantom{', model' if by_model else ''})": rows,
            **agreement(real, made),
        }
        if by_model:
            record[name]["model"] = {**agreement(real, by_model[0]), "with the phantom": agreement(made, by_model[0])}
            if name == "fdg_116_controls":
                record[name]["note"] = FITTED
    return record


FITTED = "FDG of the phantoms was fitted to this average, and the model to the phantoms."


def agreement(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Of ratios of regions."""
    return {
        "mean absolute difference": round(float(np.abs(made / real - 1).mean()), 3),
        "correlation": round(float(np.corrcoef(real, made)[0, 1]), 3),
    }


def main() -> None:
    """Print the comparison as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--task", choices=tuple(OF_MODEL), help="of the model")
    parser.add_argument("--model", default="", help="package whose answers are averaged too; needs --task")
    given = parser.parse_args()
    if given.model and not given.task:
        parser.error("--model needs the --task that it is a model of")
    found = compare(given.labels, given.templates, task=given.task or "", model=given.model)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
