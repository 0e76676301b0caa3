"""Drawn heads beside segmented ones: volumes, places, and pictures of the drawn.

    python -m benchmarks.drawn_heads --labels ../shared/data/brain_labels --out benchmarks/results/drawn_heads \
        --figure docs/figures/drawn-heads.png

Volumes are of both sides; places of the right one, in the coordinates that each map's own deep structures give.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from nmsynth.data.families import read_upright
from nmsynth.physics.phantom.brain import brain_patient
from nmsynth.physics.phantom.brain_regions import brain_frame
from nmsynth.physics.phantom.head_map import head_map

STRUCTURES = {
    "cortex": (3, 42), "cerebral white matter": (2, 41), "lateral ventricles": (4, 43), "thalamus": (10, 49),
    "caudate": (11, 50), "putamen": (12, 51), "pallidum": (13, 52), "hippocampus": (17, 53), "amygdala": (18, 54),
    "accumbens": (26, 58), "cerebellar cortex": (8, 47), "cerebellar white matter": (7, 46),
}  # fmt: skip
GREY = {
    2: 0.95, 41: 0.95, 3: 0.6, 42: 0.6, 24: 0.15, 4: 0.12, 43: 0.12, 5: 0.12, 44: 0.12, 14: 0.12, 15: 0.12, 7: 0.9,
    46: 0.9, 8: 0.62, 47: 0.62, 16: 0.85, 507: 0.5, 511: 0.75, 515: 0.05, 516: 0.55, 514: 0.3, 506: 0.3, 0: 0.0,
}  # fmt: skip
"""As a T1-weighted image would show them, about."""
Labels = npt.NDArray[np.int32]


def measured(labels: Labels, spacing_mm: tuple[float, float, float]) -> dict[str, dict[str, Any]]:
    """Volume of both sides [mL] and centre of the right one [mm] of each structure."""
    labels = np.where((labels >= 1000) & (labels < 2000), 3, np.where(labels >= 2000, 42, labels))
    frame, voxel_ml = brain_frame(labels, spacing_mm), float(np.prod(spacing_mm)) / 1000
    found = {}
    for name, pair in STRUCTURES.items():
        centre = frame.coordinates(np.argwhere(labels == pair[1]), spacing_mm).mean(0)
        found[name] = {"ml": float(np.isin(labels, pair).sum() * voxel_ml), "centre": [float(c) for c in centre]}
    return found


def table(real: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a structure: median volumes with the least and the most, and how far the median places are apart."""
    rows = []
    for name in STRUCTURES:
        ml = {kind: np.array([m[name]["ml"] for m in maps]) for kind, maps in (("real", real), ("drawn", drawn))}
        places = [np.median([m[name]["centre"] for m in maps], axis=0) for maps in (real, drawn)]
        row: dict[str, Any] = {"structure": name, "apart_mm": float(np.linalg.norm(places[0] - places[1]))}
        for kind, values in ml.items():
            row[f"{kind}_ml"] = [float(np.median(values)), float(values.min()), float(values.max())]
        rows.append(row)
    return rows


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = ["| structure | segmented [mL] | drawn [mL] | centres apart [mm] |", "|---|---|---|---|"]
    for row in rows:
        real, drawn = ("{:.3g} ({:.3g} to {:.3g})".format(*row[f"{kind}_ml"]) for kind in ("real", "drawn"))
        lines.append(f"| {row['structure']} | {real} | {drawn} | {row['apart_mm']:.1f} |")
    return "\n".join(lines) + "\n"


def draw(seeds: tuple[int, ...], place: Path) -> None:
    """Each head as labels through its thalamus, and FDG and ioflupane in it."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(seeds), 5, figsize=(12.5, 2.7 * len(seeds)), facecolor="white", squeeze=False)
    for number, (row, seed) in enumerate(zip(axes, seeds, strict=True)):
        labels, spacing = head_map(seed)
        shades = np.full(labels.max() + 1, 0.55)
        shades[[k for k in GREY if k < len(shades)]] = [v for k, v in GREY.items() if k < len(shades)]
        z, y, x = (int(c) for c in np.argwhere(labels == 10).mean(0))
        image = shades[labels]
        uptake = {
            name: brain_patient(labels, spacing, seed=seed, tracer=name).source.activity[z]
            for name in ("FDG", "ioflupane")
        }
        pictures = {"axial": image[z], "coronal": image[::-1, y], "sagittal": image[::-1, :, x], **uptake}
        for axis, (name, picture) in zip(row, pictures.items(), strict=True):
            axis.imshow(picture, cmap="gray_r" if name in uptake else "gray", vmin=0, vmax=np.percentile(picture, 99.8))
            axis.axis("off")
            if number == 0:
                axis.set_title(name, fontsize=10)
    figure.tight_layout(pad=0.3)
    figure.savefig(place, dpi=70)


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=15)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    real = []
    for path in sorted(given.labels.glob("*.nii.gz")):
        array, spacing = read_upright(path, unit="1", modality="MR")
        real.append(measured(np.asarray(array).astype(np.int32), spacing))
    rows = table(real, [measured(*head_map(seed)) for seed in range(1, given.heads + 1)])
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"schema_version": 1, "segmented": len(real), "drawn": given.heads, "rows": rows}
    (given.out / "drawn_heads.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (given.out / "drawn_heads.md").write_text(to_markdown(rows), encoding="utf-8")
    print(to_markdown(rows))
    if given.figure:
        draw((1, 2, 3), given.figure)


if __name__ == "__main__":
    main()
