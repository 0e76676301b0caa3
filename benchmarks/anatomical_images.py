"""Simulated CT and MR beside real ones, by organ: numbers only.

    python -m benchmarks.anatomical_images --data ../shared/data --out benchmarks/results/anatomical_images

CT: the phantom of a torso's organ labels, without its CT, imaged for eight subjects, against the CT that the labels
belong to; organs eroded by a voxel. MR: fat over muscle in T1 images of sarcoma patients, told apart by their CT,
against whole-body phantoms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from nmsynth.data.families import read_upright
from nmsynth.io.nifti import read_nifti
from nmsynth.physics.ct_image import CtSettings, ct_image
from nmsynth.physics.mr_image import MrSettings, tissue_signals
from nmsynth.physics.phantom import Organ, from_organ_labels
from nmsynth.physics.tissue_density import TissueDensities, with_tissue_densities

SUBJECTS = range(8)
GROUPS: dict[str, list[int]] = {
    "liver": [5],
    "spleen": [1],
    "kidneys": [2, 3],
    "pancreas": [7],
    "gallbladder": [4],
    "bladder": [21],
    "prostate": [22],
    "stomach": [6],
    "small bowel": [18, 19],
    "colon": [20],
    "aorta, veins": list(range(52, 69)),
    "muscles of hip and back": list(range(80, 90)),
    "cord": [79],
    "cartilage": [117],
    "lungs": list(range(10, 15)),
    "vertebrae": list(range(26, 33)),
    "sacrum": [25],
    "hips": [77, 78],
    "femora": [75, 76],
    "ribs": list(range(92, 116)),
}
"""TotalSegmentator v2 numbers by name."""


def ct_by_organ(data: Path) -> dict[str, Any]:
    """Mean and standard deviation within organs [HU], real and simulated, and the spread of means over subjects."""
    labels, spacing = read_upright(data / "torso_ct" / "organ_labels.nii.gz", unit="1", modality="CT")
    real, _ = read_upright(data / "torso_ct" / "ct.nii.gz", unit="HU", modality="CT")
    numbers = labels.astype(np.int32)
    made = []
    for seed in SUBJECTS:
        phantom = with_tissue_densities(from_organ_labels(numbers, spacing, seed=seed), TissueDensities.draw(seed))
        made.append(ct_image(phantom.mu_map, spacing, CtSettings(), np.random.default_rng(seed)))
    table = {}
    for name, members in GROUPS.items():
        mask = np.isin(numbers, members)
        inner = ndimage.binary_erosion(mask)
        mask = inner if inner.sum() > 50 else mask
        means = [float(image[mask].mean()) for image in made]
        table[name] = {
            "voxels": int(mask.sum()),
            **_real(real[mask]),
            "simulated_mean": float(np.mean(means)),
            "simulated_sd": float(np.mean([image[mask].std() for image in made])),
            "between_subjects": float(np.std(means, ddof=1)),
        }
    fat = ndimage.binary_erosion((real > -160) & (real < -50) & (numbers == 0), iterations=2)
    table["fat, by its CT number"] = {"voxels": int(fat.sum()), **_real(real[fat])}
    return table


def _real(values: Any) -> dict[str, float]:
    """Mean, median and standard deviation of real CT numbers."""
    return {
        "real_mean": float(values.mean()),
        "real_median": float(np.median(values)),
        "real_sd": float(values.std()),
    }


def fat_over_muscle(data: Path) -> dict[str, list[float]]:
    """Median signal of fat over that of muscle: real T1 images, and the two kinds of simulated contrast."""
    real = []
    for folder in sorted((data / "sts_triples").iterdir()):
        mr = read_nifti(folder / "mr_t1.nii.gz", unit="relative", modality="MR")
        ct = read_nifti(folder / "ct.nii.gz", unit="HU", modality="CT").resample_to(mr, fill=-1024.0)
        smooth = ndimage.gaussian_filter(ct.array, (0.0, 1.5, 1.5))
        fat, muscle = (
            ndimage.binary_erosion((smooth > low) & (smooth < high), iterations=2)
            for low, high in ((-130, -80), (35, 75))
        )
        if min(fat.sum(), muscle.sum()) > 500:
            real.append(float(np.median(mr.array[fat]) / np.median(mr.array[muscle])))
    kinds = {"plain": lambda _: MrSettings(), "randomised": MrSettings.randomised}
    made = {}
    for name, settings in kinds.items():
        signals = [tissue_signals(settings(seed), seed) for seed in range(40)]
        made[name] = [float(s[Organ.FAT] / s[Organ.MUSCLE]) for s in signals]
    return {"real": real, **made}


def markdown(ct: dict[str, Any], mr: dict[str, list[float]]) -> str:
    """Both results as tables."""
    lines = ["| organ | real mean | median | SD within | simulated mean | SD within | SD of means over subjects |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, row in ct.items():
        made = ("simulated_mean", "simulated_sd", "between_subjects")
        cells = [f"{row[k]:.0f}" for k in ("real_mean", "real_median", "real_sd")]
        cells += [f"{row[k]:.0f}" if k in row else "" for k in made]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| fat over muscle | images | median | 10th percentile | 90th |", "|---|---|---|---|---|"]
    for name, values in mr.items():
        low, middle, high = np.percentile(values, (10, 50, 90))
        lines.append(f"| {name} | {len(values)} | {middle:.2f} | {low:.2f} | {high:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write ``anatomical_images.json`` and ``.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    ct, mr = ct_by_organ(arguments.data), fat_over_muscle(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"ct_hu_by_organ": ct, "mr_fat_over_muscle": mr}
    (arguments.out / "anatomical_images.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "anatomical_images.md").write_text(markdown(ct, mr), encoding="utf-8")


if __name__ == "__main__":
    main()
