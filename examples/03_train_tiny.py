"""Train a tiny model by the recipe of lowcount-pet, on four simulated patients, and use its package.

Shows: how a recipe is read, changed and run, what a run leaves (cohort, training, calibration, package), and that a
package is used by its path. The network is too small and sees too little to be good; nothing but the way is shown.
Needs the extra "train": pip install "nmsynth[train]".

Run: python examples/03_train_tiny.py [FOLDER]
"""

import json
import sys
import tempfile
from pathlib import Path

import nmsynth
from nmsynth.workflows.pet_simulation import SimulatePetSettings
from nmsynth.workflows.training import train_recipe

TINY = {
    "network.channels": [8, 12],
    "simulation.families": {"whole-body": 4},
    "simulation.grids": [96],
    "simulation.planes": 16,
    "simulation.validation_share": 0.25,
    "optimisation.steps": 20,
    "optimisation.batch": 2,
    "optimisation.patch": [8, 32, 32],
    "optimisation.warmup": 5,
    "optimisation.validate_every": 20,
    "optimisation.precision": "fp32",
    "refinements": [],
    "calibration.patients": 1,
    "calibration.count_fractions": [0.1],
    "calibration.false_structures_per_100_slices": {"low": [16.0], "standard": [4.0], "high": [1.0]},
}
"""Values of the recipe that make it small."""


def main(folder: Path) -> None:
    """Train, then synthesise with what was trained."""
    package = train_recipe("lowcount-pet", output=folder / "run", overrides=TINY)
    thresholds = json.loads((folder / "run" / "calibration.json").read_text(encoding="utf-8"))["thresholds"]
    print(f"package of {sum(path.stat().st_size for path in package.iterdir()) / 1e3:.0f} kB, thresholds {thresholds}")

    nmsynth.simulate_pet(SimulatePetSettings(count_fraction=0.1, length_mm=64.0), folder / "low", overwrite=True)
    synthesis = nmsynth.synthesize(nmsynth.read(folder / "low"), package)
    print(f"synthesised {synthesis.image.shape} with {synthesis.record['model']['name']}; flags: {synthesis.flags}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
