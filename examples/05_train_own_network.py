"""Train a network of your own, any torch.nn.Module, by a recipe of your own, on two simulated patients.

Shows: what the class must take and give, a recipe that names it by its import path, the plan that is made from the
dataset, and what a run leaves. The network is too small and sees too little to be good; nothing but the way is shown.
Needs the extra "train": pip install "nmsynth[train]".

Run: python examples/05_train_own_network.py [FOLDER]
"""

import json
import sys
import tempfile
from pathlib import Path

from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.method_recipes import load_method_recipe
from nmsynth.workflows.method_training import train_on_dataset

NETWORK = '''
from torch import nn


class Plain(nn.Sequential):
    """Takes (batch, sources + conditions, z, y, x), gives (batch, 1, z, y, x); what it is told is a channel each."""

    def __init__(self, n_in: int, width: int = 8) -> None:
        super().__init__(
            nn.Conv3d(n_in, width, 3, padding=1), nn.SiLU(),
            nn.Conv3d(width, width, 3, padding=1), nn.SiLU(),
            nn.Conv3d(width, 1, 3, padding=1),
        )
'''
RECIPE = """
name = "plain"
title = "Three convolutions, to see how far they get"
reproduces = "nothing"
differs = ["It is no published method."]

[data]
sources = ["PT"]
target = "PT"

[method]
name = "my_network:Plain"

[method.arguments]
n_in = 2                    # the low-count image, and the number that says how many counts
loss = "l1"                 # l1, l2 or huber

[plan]                      # in place of what the dataset would have; keys may be dotted
patch = [16, 32, 32]
"schedule.steps" = 20
"schedule.validate_every" = 10
"schedule.batch" = 2
"""
SMALLER = {"simulation.families": {"whole-body": 1}, "simulation.grids": [96], "simulation.planes": 16}


def main(folder: Path) -> None:
    """Simulate, write network and recipe, train, and look at the curve."""
    dataset, run = folder / "dataset", folder / "run"
    simulate_dataset(SimulateCohortSettings(recipe="lowcount-pet", subjects=2, seed=7), dataset, overrides=SMALLER)
    (folder / "my_network.py").write_text(NETWORK, encoding="utf-8")
    (folder / "plain.toml").write_text(RECIPE, encoding="utf-8")
    sys.path.insert(0, str(folder))  # so that "my_network" can be imported

    recipe = load_method_recipe(folder / "plain.toml")
    trained = train_on_dataset(recipe, dataset, run)[0]
    plan = trained.plan
    told = ", ".join(c.name for c in plan.conditions)
    print(f"{plan.task}: patches of {plan.patch}, voxels of {plan.spacing_mm} mm, told: {told}")
    curve = json.loads(next(trained.folder.glob("*/curve.json")).read_text(encoding="utf-8"))["points"]
    for point in curve:
        print(f"step {point['step']}: score {point['score']:.3f}")
    print(f"package with {', '.join(sorted(path.name for path in trained.package.iterdir()))}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        place.mkdir(parents=True, exist_ok=True)
        main(place)
