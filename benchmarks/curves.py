"""Recovery against noise and against false structures, and detection, of the model beside the Gaussian's curve.

The patients, scans and filters are those of ``benchmarks.count_levels``, from the same ``--cache``; lesion-free
patients are left out.

    python -m benchmarks.curves --out benchmarks/results/curves

Each scan is measured once; a run that was interrupted continues.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.count_levels import as_volume, make_test, tuned_filters

from nmsynth.core.volume import Volume
from nmsynth.data.reference import REPORTED_SEEDS, ReferencePatient
from nmsynth.evaluation.curves import GAUSSIAN, Curves, gains, gaussian_settings, measure_curves, pool_curves
from nmsynth.evaluation.detectability import pool_detection, sample_detection
from nmsynth.inference.predictor import Model, load_model
from nmsynth.metrics.regions import body_mask
from nmsynth.models.classical import best_gaussian
from nmsynth.report.tradeoff import trade_off_rows
from nmsynth.workflows.curves import significance_settings

SCHEMA_VERSION = 1
FRACTIONS = (0.25, 0.1, 0.05)
FULL = "full counts"
DETECTED = ("low", "standard", "high", "0 mm")
"""Settings of the model and of the Gaussian whose detection is measured, besides the best Gaussian."""
T1 = {"reference_kind": "T1", "n_slabs": 0}


def masks_of(case: ReferencePatient) -> dict[str, Any]:
    """Liver and lesions of a patient."""
    return {"liver": case.liver, "lesions": case.lesions}


def methods_of(
    case: ReferencePatient, source: Volume, model: Model, filters: dict[str, Any]
) -> dict[str, list[tuple[str, Volume]]]:
    """Images of every method by its settings; the Gaussian's widths hold the best one of this scan."""
    body = body_mask(case.noise_free, case.spacing_mm)
    best = best_gaussian(source.array, case.noise_free, body, case.spacing_mm)
    return {
        model.name: list(significance_settings(model, source)),
        GAUSSIAN: list(gaussian_settings(source)),
        "best Gaussian": [("", source.with_array(best.image))],
        **{name: [("", source.with_array(f(source.array, case.spacing_mm)))] for name, f in filters.items()},
        FULL: [("", as_volume(case, case.full))],
    }


def measure(case: ReferencePatient, scan: np.ndarray, model: Model, filters: dict[str, Any]) -> dict[str, Any]:
    """Points of the curves and samples of detection of one scan."""
    methods = methods_of(case, as_volume(case, scan), model, filters)
    reference = as_volume(case, case.noise_free)
    samples = measure_curves(methods, reference, masks=masks_of(case), settings=T1, case_id=case.case_id)
    detection = {
        f"{name} {setting}".strip(): sample_detection(image, reference, masks=masks_of(case), settings=T1)
        for name, line in methods.items()
        for setting, image in line
        if len(line) == 1 or setting in DETECTED
    }
    return {"curves": samples, "detection": detection}


def cases_of(test: str, options: argparse.Namespace) -> Iterator[ReferencePatient]:
    """Patients of a test that have lesions."""
    for seed in list(REPORTED_SEEDS)[: options.patients]:
        yield make_test(test, seed, lesions=True, n_realisations=1, cache=options.cache)


def measured(test: str, fraction: float, model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measurements of all patients of a test at a count level, kept in the cache."""
    scratch = options.cache / f"curves-{model.sha256[:12]}"
    scratch.mkdir(parents=True, exist_ok=True)
    filters = {} if options.tuning_patients == 0 else tuned_filters(test, options.cache, options.tuning_patients)
    found = []
    for case in cases_of(test, options):
        path = scratch / f"{case.case_id}-{fraction:g}-{options.tuning_patients}.pickle"
        if not path.is_file():
            path.write_bytes(pickle.dumps(measure(case, case.scans[fraction][0], model, filters.get(fraction, {}))))
            print(f"{case.case_id} {fraction:g}", flush=True)
        found.append(pickle.loads(path.read_bytes()))
    return found


def summarise(test: str, model: Model, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Curves]]:
    """All numbers of a test by count level, and the curves that are drawn."""
    record: dict[str, Any] = {}
    drawn: dict[str, Curves] = {}
    for fraction in options.fractions:
        found = measured(test, fraction, model, options)
        samples = [sample for item in found for sample in item["curves"]]
        level = f"1/{round(1 / fraction)} of the counts"
        drawn[level] = pool_curves(samples, lesions="10-18 mm")
        classes = ("10-18 mm", "18-25 mm", ">=25 mm", "all")
        record[level] = {
            "curves": {name: pool_curves(samples, lesions=name).to_json() for name in classes},
            "recovery_over_gaussian": gains(drawn[level]),
            "detection": {
                name: pool_detection([item["detection"][name] for item in found]) for name in found[0]["detection"]
            },
        }
    return record, drawn


def main() -> None:
    """Measure everything, then write JSON and a figure for each test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/count_levels"))
    parser.add_argument("--model", default="lowcount-pet")
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--tuning-patients", type=int, default=3, help="0 leaves non-local means and wavelet out")
    parser.add_argument("--fractions", type=float, nargs="+", default=list(FRACTIONS))
    parser.add_argument("--tests", nargs="+", default=["simulated", "independent"])
    options = parser.parse_args()
    for folder in (options.out, options.cache):
        folder.mkdir(parents=True, exist_ok=True)
    model = load_model(options.model)
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "model": model.name, "version": model.version}
    record |= {"sha256": model.sha256, "patients": options.patients, "tests": {}}
    for test in options.tests:
        record["tests"][test], drawn = summarise(test, model, options)
        png = trade_off_rows({f"{test}, {level}": curves.rows() for level, curves in drawn.items()}, main=model.name)
        if png is not None:
            (options.out / f"{test}.png").write_bytes(png)
    (options.out / "curves.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
