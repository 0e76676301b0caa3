"""Synthesise a standard-count image from a simulated low-count scan, and measure it against the known truth.

Shows: the whole path from a DICOM series to a derived DICOM series, metrics beside the source and its best Gaussian,
and a report as one HTML file. The patient is simulated, so that the noise-free reconstruction (T1) is known; with a
scan of your own, the full-count series takes its place and is a noisy reference (T2).

Run: python examples/02_synthesize_and_evaluate.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import nmsynth
from nmsynth.workflows.pet_simulation import SimulatePetSettings
from nmsynth.workflows.report import report_study

SHOWN = ("NRMSE", "PSNR", "SSIM", "COV")
"""Names of the measurements that are printed."""


def main(folder: Path, model: str = "lowcount-pet") -> None:
    """Simulate, synthesise, write, evaluate, report."""
    settings = SimulatePetSettings(count_fraction=0.1, lesions=6, length_mm=160.0, seed=3)
    nmsynth.simulate_pet(settings, folder / "low", overwrite=True)
    scan = nmsynth.read(folder / "low")

    synthesis = nmsynth.synthesize(scan, model, settings={"significance": "standard"})
    print(f"model {synthesis.record['model']}, flags: {', '.join(synthesis.flags) or 'none'}")
    nmsynth.write(synthesis.image, folder / "synthetic", overwrite=True)

    reference = folder / "low" / "reference"
    masks = {"lesions": nmsynth.read(reference / "lesions.nii.gz")}
    metrics = nmsynth.evaluate(
        synthesis.image,
        nmsynth.read(reference / "noise_free.nii.gz"),
        source=scan,
        masks=masks,
        settings={"reference_kind": "T1"},
    )
    for row in metrics.rows():
        if row["name"] in SHOWN and row["value"] is not None:
            print(f"{row['arm']:24s} {row['name']:8s} {row['mask']:32s} {row['value']:.3f} {row['unit']}")

    page = report_study(
        folder / "synthetic",
        folder / "report.html",
        source=folder / "low",
        reference=reference / "noise_free.nii.gz",
        reference_kind="T1",
        masks={"lesions": reference / "lesions.nii.gz"},
        overwrite=True,
    )
    print(f"wrote {page}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
