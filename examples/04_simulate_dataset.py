"""Simulate a small dataset of low-count PET, and look at what its manifest says.

Shows: a recipe with some of its values changed, subjects over processes, the manifest, a case's truth beside its scan.
"""

import tempfile
from pathlib import Path

from nmsynth import read
from nmsynth.data.manifest import read_manifest
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset

SMALLER = {"simulation.families": {"whole-body": 1}, "simulation.grids": [96], "simulation.planes": 16}


def main(folder: Path) -> None:
    """Simulate two subjects into the folder."""
    simulate_dataset(SimulateCohortSettings(recipe="lowcount-pet", subjects=2, seed=7), folder, overrides=SMALLER)
    for row in read_manifest(folder):
        counts = "" if row.count_fraction is None else f"{row.count_fraction:.3f} of the counts"
        print(f"{row.case}  {row.split:<10}  {row.role:<8}  {row.name:<10}  {counts}")
    truth = read(folder / "whole-body-00000" / "truth.nii.gz").to_suv()
    scan = read(folder / "whole-body-00000" / "scan_5.nii.gz").to_suv()
    body = truth.array > 0.3
    print(
        f"mean SUV of the body: true {truth.array[body].mean():.2f}, in the noisiest scan {scan.array[body].mean():.2f}"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place) / "dataset")
