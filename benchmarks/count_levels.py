"""Error, recovery, noise and false structures at every count level, of the model, its baselines and the controls.

Two tests on patients that the model was never trained on:

``simulated``    procedural patients and the reference protocol of nmsynth's simulator, seeds apart from training;
``independent``  another phantom family, projector, scatter and reconstruction (``benchmarks/independent``).

    python -m benchmarks.count_levels --out benchmarks/results/count_levels

The model at standard significance, the input and the Gaussians see every realisation; the other filters, the other
levels of significance and the single heads see the first. Values of a patient are averaged over realisations, intervals
are over patients. Patients are simulated once into ``--cache`` and scored one by one; a broken run goes on.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.reference import REPORTED_SEEDS, TUNING_SEEDS, ReferencePatient, reference_patient
from nmsynth.evaluation import CohortEntry, cohort_table, evaluate_arms
from nmsynth.inference.predictor import Model, load_model
from nmsynth.metrics.regions import body_mask
from nmsynth.models.classical import TuningCase, best_gaussian, tune

FRACTIONS = (0.25, 0.1, 0.05, 0.02, 0.01)
N_REALISATIONS = 10
SIGNIFICANCES = ("low", "standard", "high")


def simulated_case(seed: int, *, lesions: bool, n_realisations: int, cache: Path) -> ReferencePatient:
    """A procedural patient around the liver, scanned by the reference protocol; kept in the cache."""
    path = cached(cache, f"simulated-{seed}{'' if lesions else '-free'}", n_realisations, ".pickle")
    if not path.is_file():
        case = reference_patient(seed, FRACTIONS, n_realisations=n_realisations, lesions=lesions)
        path.write_bytes(pickle.dumps(case))
    found: ReferencePatient = pickle.loads(path.read_bytes())
    return replace(found, scans={f: list(found.scans[f])[:n_realisations] for f in FRACTIONS})


def cached(cache: Path, name: str, n_realisations: int, suffix: str) -> Path:
    """File of a patient in the cache: one with more realisations serves too, where it is there."""
    more = cache / f"{name}-{N_REALISATIONS}{suffix}"
    return more if n_realisations <= N_REALISATIONS and more.is_file() else cache / f"{name}-{n_realisations}{suffix}"


def independent_case(seed: int, *, lesions: bool, n_realisations: int, cache: Path) -> ReferencePatient:
    """A patient of the independent test set."""
    from benchmarks.independent.case import load_case, make_case, save_case

    name = f"independent-{seed}{'' if lesions else '-free'}"
    path = cached(cache, name, n_realisations, ".npz")
    existing = cache.parent / "independent" / f"{name}.npz"
    if n_realisations == 1 and existing.is_file():
        path = existing
    if not path.is_file():
        save_case(make_case(seed, fractions=FRACTIONS, n_realisations=n_realisations, lesions=lesions), path)
    case = load_case(path)
    return ReferencePatient(
        case_id=name,
        spacing_mm=case.spacing_mm,
        noise_free=case.noise_free,
        truth=case.truth,
        full=case.full,
        scans={f: list(case.scans[f])[:n_realisations] for f in FRACTIONS},
        lesions=case.lesion_labels,
        liver=case.liver_mask,
        diameters_mm={int(x["index"]): float(x["diameter_mm"]) for x in case.lesions},
    )


def make_test(name: str, seed: int, *, lesions: bool, n_realisations: int, cache: Path) -> ReferencePatient:
    """A patient of one of the tests."""
    if name == "simulated":
        return simulated_case(seed, lesions=lesions, n_realisations=n_realisations, cache=cache)
    return independent_case(seed - 9000 + 7100, lesions=lesions, n_realisations=n_realisations, cache=cache)


def as_volume(case: ReferencePatient, array: np.ndarray) -> Volume:
    """An image of a case as a volume in SUV."""
    return Volume(
        array=array, affine=affine_from_axes(spacing_mm=case.spacing_mm), unit=Unit.SUV_BODY_WEIGHT, modality="PT"
    )


def tuned_filters(test: str, cache: Path, n_patients: int) -> dict[float, dict[str, Any]]:
    """Non-local means and wavelet for each count level, tuned on patients that are not reported."""
    path = cache / f"filters-{test}-{n_patients}.pickle"
    if path.is_file():
        return pickle.loads(path.read_bytes())
    cases = [make_test(test, seed, lesions=True, n_realisations=1, cache=cache) for seed in TUNING_SEEDS[:n_patients]]
    found: dict[float, dict[str, Any]] = {}
    for fraction in FRACTIONS:
        tuning = [
            TuningCase(c.scans[fraction][0], c.noise_free, body_mask(c.noise_free, c.spacing_mm), c.spacing_mm)
            for c in cases
        ]
        found[fraction] = {family: tune(family, tuning).baseline for family in ("non-local means", "wavelet")}
    path.write_bytes(pickle.dumps(found))
    return found


def arms_of(case: ReferencePatient, scan: np.ndarray, model: Model, filters: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every method's image of one scan."""
    heads = model.predict(scan, case.spacing_mm, significance="standard", heads=True)
    arms = {
        "model standard": heads["image"],
        "model mean head": heads["mean"],
        "model contrast head": heads["contrast"],
    }
    for level in ("low", "high"):
        arms[f"model {level}"] = model.predict(scan, case.spacing_mm, significance=level)["image"]
    for family, baseline in filters.items():
        arms[family] = baseline(scan, case.spacing_mm)
    return arms


def score(case: ReferencePatient, scan: np.ndarray, arms: dict[str, np.ndarray]) -> Any:
    """Metrics of all arms of one scan against T1."""
    masks: dict[str, Any] = {"liver": case.liver}
    if case.lesions.any():
        masks["lesions"] = case.lesions
    return evaluate_arms(
        {name: as_volume(case, image) for name, image in arms.items()},
        as_volume(case, case.noise_free),
        source=as_volume(case, scan),
        masks=masks,
        settings={"reference_kind": "T1", "n_slabs": 0},
    )


def full_count_arms(case: ReferencePatient, model: Model) -> dict[str, np.ndarray]:
    """Controls at full counts: as they are, their best Gaussian, and through the model."""
    body = body_mask(case.noise_free, case.spacing_mm)
    return {
        "full counts, best Gaussian": best_gaussian(case.full, case.noise_free, body, case.spacing_mm).image,
        "full counts through the model": model.predict(case.full, case.spacing_mm)["image"],
        "true activity (T0)": case.truth,
    }


def scan_list(
    test: str, cache: Path, n_patients: int, n_realisations: int, n_lesion_free: int
) -> Iterator[tuple[ReferencePatient, float, int]]:
    """All scans of a test: realisations of each patient at each count level; the last patients are lesion-free."""
    for number, seed in enumerate(list(REPORTED_SEEDS)[:n_patients]):
        lesions = number < n_patients - n_lesion_free
        case = make_test(test, seed, lesions=lesions, n_realisations=n_realisations, cache=cache)
        yield case, 1.0, 0
        for fraction in FRACTIONS:
            for k in range(n_realisations):
                yield case, fraction, k


def main() -> None:
    """Score everything, then write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/count_levels"))
    parser.add_argument("--model", default="lowcount-pet")
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--realisations", type=int, default=N_REALISATIONS)
    parser.add_argument("--tuning-patients", type=int, default=3)
    parser.add_argument("--lesion-free", type=int, default=2)
    parser.add_argument("--tests", nargs="+", default=["simulated", "independent"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    model = load_model(options.model)
    scratch = options.cache / f"scores-{model.sha256[:12]}"
    scratch.mkdir(exist_ok=True)
    entries: list[CohortEntry] = []
    for test in options.tests:
        filters = tuned_filters(test, options.cache, options.tuning_patients)
        for case, fraction, k in scan_list(
            test, options.cache, options.patients, options.realisations, options.lesion_free
        ):
            path = scratch / f"{case.case_id}-{fraction:g}-{k}.pickle"
            if not path.is_file():
                if fraction == 1.0:
                    metrics = score(case, case.full, full_count_arms(case, model))
                else:
                    scan = case.scans[fraction][k]
                    if k == 0:
                        arms = arms_of(case, scan, model, filters[fraction])
                    else:  # the slow filters and the variants of the model see the first realisation only
                        arms = {"model standard": model.predict(scan, case.spacing_mm)["image"]}
                    metrics = score(case, scan, arms)
                path.write_bytes(pickle.dumps(metrics))
                print(f"{case.case_id} {fraction:g} {k}", flush=True)
            metrics = pickle.loads(path.read_bytes())
            labels = {"test": test, "counts": f"1/{round(1 / fraction)}"}
            entries.append(CohortEntry(case.case_id, metrics, labels))
    write_tables(entries, options.out, model)


def write_tables(entries: list[CohortEntry], out: Path, model: Model) -> None:
    """All numbers as JSON, the ones of the README as Markdown."""
    table = cohort_table(entries)
    record = {"model": model.name, "version": model.version, "sha256": model.sha256, **table.to_json()}
    (out / "table.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    columns = [
        ("NRMSE", None), ("PSNR", None), ("SSIM", None), ("recovery", "lesions 10-18 mm"), ("COV", None),
        ("false structures", None), ("missing structures", None),
    ]  # fmt: skip
    (out / "table.md").write_text(table.to_markdown(columns), encoding="utf-8")
    sizes = ("lesions <10 mm", "lesions 10-18 mm", "lesions 18-25 mm", "lesions >=25 mm")
    lesions = [(name, size) for name in ("recovery", "mean bias", "peak bias") for size in sizes]
    (out / "lesions.md").write_text(table.to_markdown(lesions), encoding="utf-8")
    print((out / "table.md").read_text())


if __name__ == "__main__":
    main()
