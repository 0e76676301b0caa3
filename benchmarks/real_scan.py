"""The real whole-body scan, never trained on: what synthesis changes, and a twentieth of its counts with lesions.

    python -m benchmarks.real_scan --series ../shared/data/pet_wholebody_ge --out benchmarks/results/real_scan

1. The series as it is: activity in the body and in its axial sixths against the source, noise in a homogeneous
   region, beside the identity and the Gaussian that leaves as much noise.
2. Lesions of known contrast inserted, 1/20 of the counts simulated from the series, synthesised, and compared with
   the *noisy reference*, which is the series with the lesions and its own noise, no truth. Recovery of an inserted
   lesion is the contrast found over the contrast that was inserted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth import evaluate, read
from nmsynth.core.volume import Volume
from nmsynth.evaluation import evaluate_arms
from nmsynth.io.nifti import read_nifti
from nmsynth.metrics.regions import body_mask, ring_mask
from nmsynth.models.classical import TuningCase, tune
from nmsynth.workflows.simulation import REFERENCE_FOLDER, SimulatePetSettings, simulate_pet
from nmsynth.workflows.synthesis import synthesize_study

N_LESIONS = 24
COUNT_FRACTION = 0.05
SIGNIFICANCES = ("low", "standard", "high")


def unchanged_counts(series: Path, work: Path) -> dict[str, Any]:
    """Synthesis of the series as it is, DICOM to DICOM."""
    synthesize_study(series, work / "synthetic", model="lowcount-pet")
    source, synthetic = read(series), read(work / "synthetic")
    metrics = evaluate(synthetic, source, source=source, settings={"reference_kind": "T2"})
    rows = [r for r in metrics.rows() if r["name"] in ("relative bias", "COV", "SD", "noise reduction")]
    same = {
        "same geometry": bool(np.allclose(source.affine, synthetic.affine, atol=1e-4)),
        "SUV factor ratio": float(
            synthetic.to_suv().array.sum(dtype=np.float64) / synthetic.array.sum(dtype=np.float64)
            / (source.to_suv().array.sum(dtype=np.float64) / source.array.sum(dtype=np.float64))
        ),
    }  # fmt: skip
    return {"rows": rows, **same}


def inserted_recovery(image: Volume, labels: np.ndarray, clean: Volume, reference: Volume) -> dict[int, float]:
    """Contrast of each inserted lesion over what was inserted, the background taken from images without lesions."""
    found = {}
    added = reference.array - clean.array
    for number in np.unique(labels[labels > 0]):
        lesion = labels == number
        ring = ring_mask(lesion, reference.spacing_mm, exclude=labels > 0)
        inserted = float(added[lesion].mean() - added[ring].mean())
        measured = float(image.array[lesion].mean() - image.array[ring].mean())
        before = float(clean.array[lesion].mean() - clean.array[ring].mean())
        found[int(number)] = (measured - before) / inserted
    return found


def fewer_counts(series: Path, work: Path, seed: int) -> dict[str, Any]:
    """A twentieth of the counts, with inserted lesions, against the noisy reference."""
    settings = SimulatePetSettings(
        source=series, count_fraction=COUNT_FRACTION, lesions=N_LESIONS, lesion_diameter_mm=(10.0, 30.0), seed=seed
    )
    record = simulate_pet(settings, work / "low")
    folder = work / "low" / REFERENCE_FOLDER
    clean = read(series).to_suv()
    reference = read_nifti(folder / "noisy_reference.nii.gz").to_suv()
    labels = np.asarray(read_nifti(folder / "lesions.nii.gz").array).round().astype(np.uint8)
    scan = read(work / "low").to_suv()
    arms: dict[str, Volume] = {}
    for level in SIGNIFICANCES:
        target = work / f"synthetic-{level}"
        synthesize_study(work / "low", target, model="lowcount-pet", settings={"significance": level})
        arms[f"model {level}"] = read(target).to_suv()
    # the filters are tuned on the lesion-free upper half of the same scan: kinder to them than other patients would be
    half = scan.array.shape[0] // 2
    body = body_mask(reference.array, reference.spacing_mm)
    case = TuningCase(scan.array[half:], reference.array[half:], body[half:], scan.spacing_mm)
    for family in ("non-local means", "wavelet"):
        arms[family] = scan.with_array(tune(family, [case]).baseline(scan.array, scan.spacing_mm))
    metrics = evaluate_arms(
        arms, reference, source=scan, masks={"lesions": labels}, settings={"reference_kind": "T2", "n_slabs": 6}
    )
    images = {**arms, "source": scan, "noisy reference": reference}
    diameters = {lesion["index"]: lesion["diameter_mm"] for lesion in record["lesions"]}
    recoveries = {name: inserted_recovery(image, labels, clean, reference) for name, image in images.items()}
    return {"metrics": metrics.to_json(), "rows": metrics.rows(), "recovery": recoveries, "diameters_mm": diameters}


def tables(unchanged: dict[str, Any], low: dict[str, Any]) -> str:
    """The numbers of both parts as Markdown."""
    lines = ["## As it is", "", "| method | region | measure | value |", "|---|---|---|---|"]
    lines += [
        f"| {row['arm']} | {row['mask']} | {row['name']} | {row['value']:.4f} |"
        for row in unchanged["rows"]
        if row["value"] is not None
    ]
    lines += ["", "## 1/20 of the counts, against the noisy reference (T2)", ""]
    names = ("NRMSE", "PSNR", "SSIM", "COV", "false structures")
    lines += ["| method | " + " | ".join(names) + " | inserted contrast 10-18 mm | 18-25 mm | >= 25 mm |"]
    lines += ["|" + "---|" * (len(names) + 4)]
    arms = dict.fromkeys(row["arm"] for row in low["rows"])
    for arm in arms:
        cells = []
        for name in names:
            value = next((r["value"] for r in low["rows"] if r["arm"] == arm and r["name"] == name), None)
            cells.append("" if value is None else f"{value:.3f}")
        by_lesion = low["recovery"].get(arm)
        for first, last in ((10, 18), (18, 25), (25, 99)):
            values = [] if by_lesion is None else [
                v for k, v in by_lesion.items() if first <= low["diameters_mm"][k] < last
            ]  # fmt: skip
            cells.append(f"{np.median(values):.2f}" if values else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run both parts and write ``real_scan.json`` and ``real_scan.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, default=Path("../shared/data/pet_wholebody_ge"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/real_scan"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        unchanged = unchanged_counts(options.series, work)
        low = fewer_counts(options.series, work, options.seed)
    record = {"schema_version": 1, "as it is": unchanged, "1/20 of the counts": {**low, "rows": None}}
    (options.out / "real_scan.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    text = tables(unchanged, low)
    (options.out / "real_scan.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
