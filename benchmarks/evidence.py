"""How well each head finds small lesions: free-response curves on the patients on whom thresholds are calibrated.

    python -m benchmarks.evidence --out benchmarks/results/evidence

A lesion of 10 to 18 mm is found where the largest value of a map within it exceeds a threshold; a false alarm is a
local maximum above it in even tissue (where the noise-free image varies by less than 80 % of its local mean within 5
voxels) away from lesions. The maps: the evidence, and the blob response of the mean head, the contrast head and the
source (a difference of Gaussians over the root of the local activity, the noise that counting leaves).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.ablation import FRACTIONS, calibration_patients, markdown_table
from scipy import ndimage

from nmsynth.data.reference import ReferencePatient
from nmsynth.inference.predictor import Model, load_model
from nmsynth.metrics.regions import body_mask
from nmsynth.training.calibration import lesion_regions

FALSE_ALARMS = (1.0, 4.0, 15.0, 60.0)
"""For every 100 slices."""
RADIUS_MM = {"source": 3.0, "mean head": 1.5, "contrast head": 1.5}
"""Standard deviation of the inner Gaussian: the best of a few for each map."""
APART = (5, 7, 7)
"""Voxels within which there is one local maximum."""


def blob_response(
    image: np.ndarray, source: np.ndarray, spacing_mm: tuple[float, float, float], sigma_mm: float
) -> Any:
    """Difference of Gaussians, shape ``(z, y, x)``, over the root of the activity around."""
    spacing = np.asarray(spacing_mm)
    inner, outer = (ndimage.gaussian_filter(image, s / spacing) for s in (sigma_mm, 2.2 * sigma_mm))
    around = ndimage.gaussian_filter(source, 12.0 / spacing)
    return (inner - outer) / np.sqrt(np.maximum(around, 0.05))


def maps_of(patient: ReferencePatient, source: np.ndarray, model: Model) -> dict[str, np.ndarray]:
    """What is searched for lesions."""
    heads = model.predict(source, patient.spacing_mm, heads=True)
    images = {"source": source, "mean head": heads["mean"], "contrast head": heads["contrast"]}
    responses = {n: blob_response(i, source, patient.spacing_mm, RADIUS_MM[n]) for n, i in images.items()}
    return {"evidence": heads["evidence"], **responses}


def even_tissue(patient: ReferencePatient) -> np.ndarray:
    """Where a local maximum is a false alarm."""
    image = patient.noise_free
    spread = ndimage.maximum_filter(image, 5) - ndimage.minimum_filter(image, 5)
    near = ndimage.binary_dilation(patient.lesions > 0, iterations=2)
    return body_mask(image, patient.spacing_mm) & (spread < 0.8 * ndimage.uniform_filter(image, 5)) & ~near


def main() -> None:
    """Search every patient at every count level and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/ablation"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = load_model("lowcount-pet")
    patients = calibration_patients(options.cache)
    rows: list[dict[str, Any]] = []
    for fraction in FRACTIONS:
        hits: dict[str, list[float]] = {}
        alarms: dict[str, list[float]] = {}
        for patient in patients:
            searched = even_tissue(patient)
            regions = [lesion for lesion, _ in lesion_regions(patient)]
            for name, values in maps_of(patient, patient.scans[fraction][0], model).items():
                peaks = (ndimage.maximum_filter(values, size=APART) == values) & searched
                hits.setdefault(name, []).extend(float(values[lesion].max()) for lesion in regions)
                alarms.setdefault(name, []).extend(float(v) for v in values[peaks])
        n_slices = sum(p.noise_free.shape[0] for p in patients)
        for name, found in hits.items():
            ordered = np.sort(alarms[name])[::-1]
            row: dict[str, Any] = {"map": name, "counts": f"1/{round(1 / fraction)}", "lesions": len(found)}
            for rate in FALSE_ALARMS:
                threshold = ordered[min(int(rate * n_slices / 100), ordered.size - 1)]
                row[f"found at {rate:g} false alarms"] = float((np.asarray(found) > threshold).mean())
            rows.append(row)
    record = {"schema_version": 1, "model": model.sha256, "rows": rows}
    (options.out / "evidence.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    table = markdown_table(rows)
    (options.out / "evidence.md").write_text(table, encoding="utf-8")
    print(table, end="")


if __name__ == "__main__":
    main()
