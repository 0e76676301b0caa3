"""The real whole-body scan, never trained on: what synthesis changes, and a twentieth of its counts with lesions.

    python -m benchmarks.real_scan --series ../shared/data/pet_wholebody_ge --out benchmarks/results/real_scan

1. The series as it is: activity in the body, in its axial sixths and in the quarters of these against the source, noise
   in a homogeneous region, beside the identity and the Gaussian that leaves as much noise. The sphere of 3 cm is small:
   how well the source itself knows its mean is printed beside it.
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
from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
from nmsynth.metrics.image import relative_bias
from nmsynth.metrics.noise import autocorrelation, coefficient_of_variation
from nmsynth.metrics.regions import body_mask, ring_mask, sphere_weights
from nmsynth.models.classical import TuningCase, tune
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from nmsynth.workflows.study_output import REFERENCE_FOLDER
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
    parts = {"regions": region_biases(source, synthetic), "homogeneous": homogeneous_region(source, synthetic)}
    return {"rows": rows, **same, **parts}


def region_biases(source: Volume, synthetic: Volume) -> dict[str, Any]:
    """Relative change of activity in 24 parts of the body: axial sixths, each in four quarters of equal voxels."""
    body = body_mask(source.array, source.spacing_mm)
    z, y, x = np.nonzero(body)
    parts = np.zeros(body.shape, dtype=np.uint8)
    sixth = np.minimum(np.argsort(np.argsort(z, kind="stable")) * 6 // len(z), 5)
    for k in range(6):
        chosen = sixth == k
        front = (y[chosen] > np.median(y[chosen])).astype(np.uint8)
        left = (x[chosen] > np.median(x[chosen])).astype(np.uint8)
        parts[z[chosen], y[chosen], x[chosen]] = 1 + 4 * k + 2 * front + left
    biases = [
        float(synthetic.array[parts == n].sum(dtype=np.float64) / source.array[parts == n].sum(dtype=np.float64) - 1)
        for n in range(1, 25)
    ]
    return {"biases": biases, "largest": max(biases, key=abs), "median of magnitudes": float(np.median(np.abs(biases)))}


def homogeneous_region(source: Volume, synthetic: Volume) -> dict[str, float]:
    """How well the source knows the mean of the homogeneous sphere, and the change of the region around it.

    The standard error is ``COV / sqrt(n / c)``, with ``c`` the voxels that one correlation volume holds: the product
    over axes of ``1 + 2 (r1 + r2)``, from correlations in the region at lags of one and two voxels.
    """
    body = body_mask(source.array, source.spacing_mm)
    sphere = find_homogeneous_sphere(source.array, source.spacing_mm, body)
    if sphere is None:
        return {}
    region = grow_region(source.array, source.spacing_mm, sphere, body)
    weights = sphere_weights(
        source.array.shape, source.spacing_mm, centre_index=sphere.centre_index, diameter_mm=sphere.diameter_mm
    )
    by_axis = autocorrelation(source.array, region, lags=(1, 2))
    plane, axial = (1 + 2 * sum(r or 0.0 for r in by_axis[name].values()) for name in ("in-plane", "axial"))
    cov = coefficient_of_variation(source.array, weights) or 0.0
    return {
        "sphere, standard error of the source's mean": cov * float(np.sqrt(plane**2 * axial / weights.sum())),
        "region around it, relative bias": relative_bias(synthetic.array, source.array, region) or 0.0,
        "region around it, volume [mL]": float(region.sum() * np.prod(source.spacing_mm) / 1000.0),
    }


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
    regions = unchanged["regions"]
    lines += [
        "", f"Activity in 24 parts of the body: largest change {100 * regions['largest']:+.2f} %, median magnitude "
        f"{100 * regions['median of magnitudes']:.2f} %.",
        "", *(f"- {name}: {value:.4f}" for name, value in unchanged["homogeneous"].items()),
    ]  # fmt: skip
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
