"""What each choice of the recipe lowcount-pet is worth: variants trained for the same time on the same cohort.

    nmsynth train lowcount-pet -o runs/lowcount-pet       # or only its cohort
    python -m benchmarks.ablation --cohort runs/lowcount-pet/cohort --out benchmarks/results/ablation

Every variant starts from the same seed, sees the same stream of patches and is trained for ``--seconds`` on the clock,
so a cheaper network takes more steps. It is scored on the patients on whom thresholds are calibrated: none is trained
on, none is reported elsewhere. The times are short; a difference tells which way to go, not where a long training ends.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nmsynth.data.cohort import open_cohort
from nmsynth.data.inserted import InsertionRanges
from nmsynth.data.patches import PatchDataset
from nmsynth.data.reference import CALIBRATION_SEEDS, ReferencePatient, reference_patient
from nmsynth.metrics.detection import false_structures
from nmsynth.metrics.recovery import recovery
from nmsynth.metrics.regions import body_mask
from nmsynth.models.classical import best_gaussian
from nmsynth.models.package import load_network, read_card
from nmsynth.models.registry import find_model
from nmsynth.models.unet import HomogeneousUNet
from nmsynth.training.calibration import lesion_regions
from nmsynth.training.losses import LossWeights, low_count_loss
from nmsynth.training.muon import Muon

FRACTIONS = (0.25, 0.1, 0.05)
SIZES = {"10-18 mm": (10.0, 18.0), "18 mm and more": (18.0, 99.0)}
SHIPPED_LOSS = LossWeights(lesion=40.0, focal=4.0, lesion_mean=0.5, evidence=1.0, evidence_of_lesions_only=True)
PLAIN_LOSS = LossWeights(contrast=0.0, lesion_mean=0.0, evidence=0.0, regional=0.0)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to train."""

    network: dict[str, Any] = field(default_factory=dict)
    loss: LossWeights = SHIPPED_LOSS
    inserted: float = 4.0
    optimiser: str = "muon"
    heads: tuple[str, ...] = ("mean", "contrast")
    """Heads that are trained."""


SHIPPED = Variant()
VARIANTS = {
    "3D, lesion-weighted, inserted lesions, Muon": SHIPPED,
    "2.5D (five slices in, kernels in plane, wider)": replace(
        SHIPPED, network={"channels": (48, 96, 144), "planes": 1, "context": 5}
    ),
    "plain squared error": replace(SHIPPED, loss=PLAIN_LOSS, heads=("mean",)),
    "plain squared error, no inserted lesions": replace(SHIPPED, loss=PLAIN_LOSS, inserted=0.0, heads=("mean",)),
    "errors relative to the target": replace(SHIPPED, loss=replace(SHIPPED_LOSS, scale="target")),
    "no inserted lesions": replace(SHIPPED, inserted=0.0),
    "AdamW": replace(SHIPPED, optimiser="adamw"),
}


def train_variant(variant: Variant, cohort: Path, seconds: float) -> tuple[nn.Module, int]:
    """Train by the clock and return the averaged network and its steps."""
    torch.manual_seed(1)
    network = HomogeneousUNet(**variant.network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    stream = PatchDataset(
        open_cohort(cohort, "train"), patch=(32, 64, 64), seed=1, lesion_share=0.5,
        insertion=InsertionRanges(mean_count=variant.inserted) if variant.inserted else None,
    )  # fmt: skip
    optimiser: torch.optim.Optimizer = (
        Muon(network, learning_rate=3e-3, other_learning_rate=1e-3, weight_decay=1e-4)
        if variant.optimiser == "muon"
        else torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.98))
    )
    peaks = [group["lr"] for group in optimiser.param_groups]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    start, steps = time.monotonic(), 0
    for batch in torch.utils.data.DataLoader(stream, batch_size=4):
        done = (time.monotonic() - start) / seconds
        if done >= 1:
            break
        factor = min(1.0, (steps + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch["source"].contiguous(memory_format=torch.channels_last_3d))
        loss = low_count_loss(outputs, batch["target"], batch["source"], batch["labels"], batch["focal"], variant.loss)[
            "total"
        ]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        steps += 1
    trained: nn.Module = average.module
    return trained.eval(), steps


def calibration_patients(cache: Path) -> list[ReferencePatient]:
    """Patients of the reference protocol, kept in the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in CALIBRATION_SEEDS:
        path = cache / f"{seed}.pickle"
        if not path.is_file():
            path.write_bytes(pickle.dumps(reference_patient(seed, FRACTIONS)))
        found.append(pickle.loads(path.read_bytes()))
    return found


@torch.no_grad()
def heads_of(network: nn.Module, source: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and contrast head for a whole image."""
    padding = [(0, -n % int(s)) for n, s in zip(source.shape, network.stride, strict=True)]  # type: ignore[arg-type]
    x = torch.from_numpy(np.pad(source, padding))[None, None].contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(x).float()
    n_z, n_y, n_x = source.shape
    return {name: outputs[0, k, :n_z, :n_y, :n_x].numpy() for k, name in enumerate(("mean", "contrast"))}


def error(image: np.ndarray, patient: ReferencePatient, body: np.ndarray) -> float:
    """NRMSE against T1 in the body."""
    squares = float(((image - patient.noise_free)[body] ** 2).mean())
    return math.sqrt(squares / float((patient.noise_free[body] ** 2).mean()))


def score(images: dict[str, np.ndarray], patient: ReferencePatient, into: dict[str, Any], best: float) -> None:
    """Add the measurements of one scan."""
    body = body_mask(patient.noise_free, patient.spacing_mm)
    for name, image in images.items():
        tally = into.setdefault(name, {"error": [], "structures": 0, "slices": 0, **{size: [] for size in SIZES}})
        tally["error"].append(error(image, patient, body) / best)
        found = false_structures(image, patient.noise_free, patient.spacing_mm, liver_level=patient.liver_level)
        tally["structures"] += found.count
        tally["slices"] += found.n_slices
        for size, limits in SIZES.items():
            values = (recovery(image, patient.noise_free, *r) for r in lesion_regions(patient, diameter_mm=limits))
            tally[size] += [v for v in values if v is not None]


def row(name: str, counts: str, steps: int, tally: dict[str, Any]) -> dict[str, Any]:
    """What the table prints."""
    return {
        "variant": name, "counts": counts, "steps": steps,
        "NRMSE over the best Gaussian's": float(np.mean(tally["error"])),
        "false structures per 100 slices": 100.0 * tally["structures"] / max(1, tally["slices"]),
        **{f"recovery, {size}": float(np.median(tally[size])) if tally[size] else None for size in SIZES},
    }  # fmt: skip


def score_network(
    name: str,
    network: nn.Module,
    steps: int,
    heads: tuple[str, ...],
    patients: list[ReferencePatient],
    best: dict[tuple[str, float], float],
) -> list[dict[str, Any]]:
    """Rows of a network's heads at every count level."""
    rows = []
    for fraction in FRACTIONS:
        tallies: dict[str, Any] = {}
        for patient in patients:
            images = heads_of(network, patient.scans[fraction][0])
            score({head: images[head] for head in heads}, patient, tallies, best[patient.case_id, fraction])
        rows += [row(f"{name}, {h} head", f"1/{round(1 / fraction)}", steps, t) for h, t in tallies.items()]
    return rows


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same columns, numbers to two decimals, nothing for ``None``."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for item in rows:
        cells = [f"{v:.2f}" if isinstance(v, float) else "" if v is None else str(v) for v in item.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train and score every variant, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/ablation"))
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    patients = calibration_patients(options.cache)
    best: dict[tuple[str, float], float] = {}
    rows: list[dict[str, Any]] = []
    gaussian: dict[float, dict[str, Any]] = {f: {} for f in FRACTIONS}
    for patient in patients:
        body = body_mask(patient.noise_free, patient.spacing_mm)
        for fraction in FRACTIONS:
            image = best_gaussian(patient.scans[fraction][0], patient.noise_free, body, patient.spacing_mm).image
            best[patient.case_id, fraction] = error(image, patient, body)
            score({"": image}, patient, gaussian[fraction], best[patient.case_id, fraction])
    rows += [row("best Gaussian", f"1/{round(1 / f)}", 0, gaussian[f][""]) for f in FRACTIONS]
    folder = find_model("lowcount-pet")
    shipped = load_network(folder, read_card(folder))
    rows += score_network("lowcount-pet as it ships", shipped, 0, SHIPPED.heads, patients, best)
    for name, variant in VARIANTS.items():
        network, steps = train_variant(variant, options.cohort, options.seconds)
        rows += score_network(name, network, steps, variant.heads, patients, best)
        print(json.dumps(rows[-1]), flush=True)
    record = {"schema_version": 1, "seconds": options.seconds, "patients": len(patients), "rows": rows}
    (options.out / "ablation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (options.out / "ablation.md").write_text(markdown_table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
