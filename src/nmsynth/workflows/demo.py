"""The demonstration: a procedural patient from scan to report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.scanned_phantom import ScannedPhantom
    from nmsynth.evaluation.curves import Curves
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.inference.predictor import Model
    from nmsynth.inference.synthesize import Synthesis
    from nmsynth.models.filters import Baseline

SCHEMA_VERSION = 1
MODEL = "lowcount-pet"
PREDICTION, FULL_THROUGH_MODEL = "prediction", "full counts through the model"
"""Names of arms."""
_FOLDERS = {"source": "low", "synthetic": "synthetic", "full counts": "full"}
"""Folder of each image."""
COUNT_FRACTION = 0.05
LENGTH_MM = 400.0
"""Of the patient that is scanned [mm]."""
N_LESIONS = 20
"""Put into the whole patient; about half of them lie in the part that is scanned."""
_MIN_VOXELS = 100
"""Of a region that is measured."""
_N_TUNING = 2
"""Patients on whom the filters are tuned; never the one that is shown."""
_COLUMNS = (
    ("NRMSE", None, "NRMSE"),
    ("PSNR", None, "PSNR [dB]"),
    ("SSIM", None, "SSIM"),
    ("recovery", "lesions 10-18 mm", "recovery 10-18 mm"),
    ("SUVpeak bias", "lesions", "SUVpeak bias"),
    ("COV", None, "liver COV"),
    ("false structures", None, "false / 100 slices"),
)
"""Name and mask of a measurement, and its column in the table."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demonstration found."""

    metrics: Metrics
    report: Path
    title: str = "Simulated patient at 1/20 of the counts, against the noise-free reconstruction (T1)"

    def rows(self) -> list[dict[str, Any]]:
        """One row a method."""
        table = []
        for arm in self.metrics.arms:
            if self.metrics.value("NRMSE", arm=arm) is None:
                continue
            row: dict[str, Any] = {"method": f"synthetic ({MODEL})" if arm == PREDICTION else arm}
            for name, mask, title in _COLUMNS:
                value = self.metrics.value(name, mask=mask, arm=arm)
                row[title] = "–" if value is None else f"{value:.3f}"
            table.append(row)
        return table

    def to_json(self) -> dict[str, Any]:
        """All measurements, and where the report is."""
        return {"schema_version": SCHEMA_VERSION, "report": str(self.report), "metrics": self.metrics.to_json()}


def run_demo(output: Path, *, seed: int = 0, overwrite: bool = False, progress: Progress = silent) -> DemoResult:
    """Scan a simulated patient at full and at 1/20 counts, synthesise, evaluate, report.

    Parameters
    ----------
    output
        Folder: ``full`` and ``low`` (DICOM), ``synthetic`` (DICOM), ``report.html``, ``metrics.json``, ``metrics.csv``,
        ``curves.json``, ``demo.json``.
    seed
        Of the patient and of the counts.
    overwrite
        Whether a folder that the demonstration wrote is replaced.

    Raises
    ------
    InputError
        If the output exists without ``overwrite``, is a file, or holds what the demonstration did not write.
    """
    from nmsynth.io.atomic import atomic_directory

    output = Path(output)
    if output.exists() and not overwrite:
        raise InputError(f"The output '{output.name}' must not exist; it does. Choose another, or allow overwriting.")
    if output.is_dir() and any(output.iterdir()) and not (output / "demo.json").is_file():
        raise InputError(f"Only a folder that the demo wrote is replaced; '{output.name}' is another. Choose another.")
    with atomic_directory(output, overwrite=overwrite) as work:
        metrics = _run(work, seed, progress)
    return DemoResult(metrics, output / "report.html")


def _run(folder: Path, seed: int, progress: Progress) -> Metrics:
    """All steps, written below a folder."""
    from nmsynth.inference.predictor import load_network_model
    from nmsynth.io import read
    from nmsynth.workflows.evaluation import write_metrics
    from nmsynth.workflows.synthesis import synthesize_study

    study = _scan(folder, seed, part_of(progress, 0.0, 0.2))
    filters = _tuned_filters(part_of(progress, 0.2, 0.5))
    progress("synthesising", 0.5)
    model = load_network_model(MODEL)
    synthesis = synthesize_study(folder / "low", folder / "synthetic", model=model)
    images = {name: read(folder / where) for name, where in _FOLDERS.items()}
    full = images["full counts"]
    arms = {PREDICTION: images["synthetic"]}
    for family, baseline in filters.items():
        source = images["source"]
        arms[f"{family}, tuned"] = source.with_array(baseline(source.array, source.spacing_mm))
    arms[FULL_THROUGH_MODEL] = full.with_array(model.predict(full.array, full.spacing_mm)["image"])
    progress("evaluating", 0.6)
    metrics = _evaluate(study, images, arms, filters)
    write_metrics(metrics, folder / "metrics.json")
    write_metrics(metrics, folder / "metrics.csv")
    progress("drawing curves", 0.75)
    curves = _curves(study, images, arms, model)
    progress("writing the report", 0.85)
    _write_report(folder, study, images | arms, metrics, curves, synthesis)
    _write_json(folder / "curves.json", {} if curves is None else curves.to_json())
    names = {family: baseline.name for family, baseline in filters.items()}
    _write_json(
        folder / "demo.json",
        {"schema_version": SCHEMA_VERSION, "seed": seed, "scan": study.draw.to_json(), "filters": names},
    )
    progress("done", 1.0)
    return metrics


def _write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document into the folder that is still being made."""
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _scan(folder: Path, seed: int, progress: Progress) -> ScannedPhantom:
    """Scan a patient at full and at few counts, and write both series."""
    from nmsynth.io.dicom_new import write_new_pet_series
    from nmsynth.workflows.pet_simulation import SimulatePetSettings, scan_study

    settings = SimulatePetSettings(
        seed=seed, count_fraction=COUNT_FRACTION, lesions=N_LESIONS, length_mm=LENGTH_MM, lesion_diameter_mm=(8.0, 30.0)
    )
    study = scan_study(settings, progress=progress)
    identity = f"nmsynth demo {seed}"
    for number, (name, scan) in enumerate(zip(("full", "low"), study.scans, strict=True), start=1):
        write_new_pet_series(
            scan, folder / name, seed_uid=f"{identity} {name}", study_seed=identity, series_number=number,
            description=f"simulated, {name} counts",
        )  # fmt: skip
    return study


def _evaluate(
    study: ScannedPhantom, images: Mapping[str, Volume], arms: Mapping[str, Volume], filters: Mapping[str, Baseline]
) -> Metrics:
    """Measure all against T1, with the controls at low and at full counts."""
    from nmsynth.evaluation import evaluate_arms

    found = evaluate_arms(
        arms,
        study.noise_free,
        source=images["source"],
        full_counts=images["full counts"],
        masks=_masks(study),
        settings={"reference_kind": "T1"},
    )
    tuned = ", ".join(baseline.name for baseline in filters.values())
    text = f"width or strength of least mean NRMSE against T1 on {_N_TUNING} other patients at these counts: {tuned}"
    return replace(found, definitions={**found.definitions, "tuned filters": text})


def _curves(
    study: ScannedPhantom, images: Mapping[str, Volume], arms: Mapping[str, Volume], model: Model
) -> Curves | None:
    """Curves of the model and the Gaussian, and a point for each other image."""
    from nmsynth.workflows.curves import study_curves

    others = {name: image for name, image in arms.items() if name.startswith(("non-local", "wavelet"))}
    return study_curves(
        images["source"],
        study.noise_free,
        masks=_masks(study),
        main="synthetic",
        model=model,
        others={**others, "full counts": images["full counts"]},
        reference_kind="T1",
    )


def _write_report(
    folder: Path,
    study: ScannedPhantom,
    images: Mapping[str, Volume],
    metrics: Metrics,
    curves: Curves | None,
    synthesis: Synthesis,
) -> None:
    """Write the page."""
    from nmsynth.models.registry import show_model
    from nmsynth.report.claim import claim_sentence
    from nmsynth.report.html import write_report

    documents = {"synthetic": metrics.to_json()}
    subject = "this one simulated patient at 1/20 of the counts"
    claim = claim_sentence(documents, main="synthetic", subject=subject, reference_kind="T1")
    shown = {name: images[name] for name in ("source", "synthetic")}
    shown |= {"reference": study.noise_free}
    shown |= {name: images[name] for name in ("full counts", "Gaussian, tuned")}
    write_report(
        folder / "report.html",
        images=shown,
        metrics=documents,
        lesions=_lesions(study),
        curves=None if curves is None else curves.rows(),
        card=show_model(MODEL).model_dump(mode="json"),
        record=synthesis.record,
        title="A simulated patient at 1/20 of the counts",
        reference_kind="T1",
        claim=claim or "No error was measured: this page supports no claim.",
        flags=synthesis.flags,
    )


def _tuned_filters(progress: Progress) -> dict[str, Baseline]:
    """Gaussian, non-local means and wavelet, tuned by NRMSE against T1 on other patients at the same counts."""
    from nmsynth.data.reference import TUNING_SEEDS, reference_patient
    from nmsynth.metrics.regions import body_mask
    from nmsynth.models.classical import TuningCase, tune

    cases = []
    for k, seed in enumerate(TUNING_SEEDS[:_N_TUNING]):
        patient = reference_patient(seed, (COUNT_FRACTION,))
        body = body_mask(patient.noise_free, patient.spacing_mm)
        image = patient.scans[COUNT_FRACTION][0]
        cases.append(TuningCase(image, patient.noise_free, body, patient.spacing_mm))
        progress("tuning the filters", (k + 1) / 4)
    found = {}
    for k, family in enumerate(("Gaussian", "non-local means", "wavelet")):
        found[family] = tune(family, cases).baseline
        progress("tuning the filters", (k + 2) / 4)
    return found


def _masks(study: ScannedPhantom) -> dict[str, Any]:
    """Masks of lesions and of organs that are large enough."""
    from scipy import ndimage

    from nmsynth.physics.phantom import Organ

    masks: dict[str, Any] = {"lesions": study.lesion_labels}
    for organ in (Organ.LIVER, Organ.SPLEEN, Organ.LUNG, Organ.MUSCLE, Organ.KIDNEY):
        inside = (study.organ_labels == organ) & (study.lesion_labels == 0)
        if inside.sum() > _MIN_VOXELS:
            masks[organ.name.lower()] = inside
    blood = ndimage.binary_erosion((study.organ_labels == Organ.BLOOD) & (study.lesion_labels == 0))
    if blood.sum() > _MIN_VOXELS:
        masks["blood_pool"] = blood  # eroded by a voxel: what spills in from the heart's wall is left out
    return masks


def _lesions(study: ScannedPhantom) -> list[dict[str, Any]]:
    """Lesions as the report shows them."""
    import numpy as np

    by_index = {lesion.index: lesion for lesion in study.lesions}
    shown = []
    for number in np.unique(study.lesion_labels[study.lesion_labels > 0]):
        lesion = by_index.get(int(number))
        centre = np.argwhere(study.lesion_labels == number).mean(axis=0)
        if lesion is not None:
            shown.append(
                {
                    "name": f"lesion {int(number)}",
                    "centre_index": centre.tolist(),
                    "diameter_mm": lesion.diameter_mm,
                    "contrast": lesion.contrast,
                }
            )
    return shown
