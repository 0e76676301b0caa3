import json

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.data.cohort import open_cohort
from nmsynth.data.scan import ReferenceScan
from nmsynth.physics.phantom import LesionPlan
from nmsynth.training.calibration import CalibrationPoint, choose_thresholds
from nmsynth.workflows.training import load_recipe, recipe_names, train_recipe

SMALL = {
    "network.channels": [4, 4],
    "simulation.families": {"whole-body": 5},
    "simulation.grids": [96],
    "simulation.planes": 8,
    "simulation.validation_share": 0.4,
    "optimisation.steps": 6,
    "optimisation.batch": 1,
    "optimisation.patch": [8, 32, 32],
    "optimisation.validate_every": 3,
    "optimisation.precision": "fp32",
    "optimisation.threads": 1,
    "calibration.patients": 1,
    "refinements": [
        {
            "optimisation": {
                "steps": 2,
                "batch": 1,
                "patch": [8, 32, 32],
                "validate_every": 1,
                "precision": "fp32",
                "threads": 1,
                "inserted_lesions": 3.0,
                "count_power": power,
            },
            "loss": {"lesion": 4.0, "activity": power},
        }
        for power in (0.0, 0.5)
    ],
}


def test_every_recipe_reads():
    assert "lowcount-pet" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'lowcount-pet'"):
        load_recipe("lowcont-pet")


def test_unknown_key_names_the_nearest():
    with pytest.raises(InputError, match="steps"):
        load_recipe("lowcount-pet", {"optimisation.step": 3})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patched:
        # a hundred isolated lesions take most of a minute to place
        patched.setattr("nmsynth.data.reference.LesionPlan", lambda **plan: LesionPlan(**(plan | {"count": 12})))
        patched.setattr("nmsynth.data.reference.ReferenceScan", lambda: ReferenceScan(voxel_mm=8.0, plane_mm=8.0))
        package = train_recipe("lowcount-pet", output=folder, overrides=SMALL)
    return folder, package


def test_training_writes_a_package_that_loads(run):
    from nmsynth.models.registry import verify_model

    folder, package = run
    card = verify_model(package)
    assert card.training["optimisation"]["steps"] == 6
    assert list(card.significance) == ["low", "standard", "high"]
    assert json.loads((folder / "calibration.json").read_text())["schema_version"] == 1
    assert (folder / "training" / "recipe.json").is_file()
    for number, power in ((1, 0.0), (2, 0.5)):
        found = json.loads((folder / f"refinement-{number}" / "recipe.json").read_text())
        assert found["optimisation"]["steps"] == 2
        assert found["loss"]["activity"] == power


def test_no_subject_stands_in_two_splits(run):
    folder, _ = run
    train = {case.subject for case in open_cohort(folder / "cohort", "train")}
    validation = {case.subject for case in open_cohort(folder / "cohort", "validation")}
    assert train
    assert validation
    assert not train & validation


def test_resumed_training_equals_an_unbroken_one(run, tmp_path):
    from nmsynth.training.trainer import train
    from nmsynth.workflows.training import _build

    folder, _ = run
    recipe = load_recipe("lowcount-pet", SMALL)
    cohort = folder / "cohort"
    unbroken = train(_build(recipe), recipe, cohort, tmp_path / "a", progress_bar=False)
    train(_build(recipe), recipe, cohort, tmp_path / "b", progress_bar=False, stop_after=3)
    resumed = train(_build(recipe), recipe, cohort, tmp_path / "b", progress_bar=False)
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_folder_of_another_recipe_is_refused(run):
    folder, _ = run
    with pytest.raises(InputError, match="belongs to one recipe"):
        train_recipe("lowcount-pet", output=folder, overrides={**SMALL, "optimisation.learning_rate": 0.5})


def test_patches_are_a_function_of_the_seed(run):
    from nmsynth.data.patches import PatchDataset

    folder, _ = run
    cases = open_cohort(folder / "cohort", "train")
    streams = [iter(PatchDataset(cases, patch=(8, 32, 32), seed=3)) for _ in range(2)]
    later = iter(PatchDataset(cases, patch=(8, 32, 32), seed=3, start=1))
    first, second = (next(stream) for stream in streams)
    assert torch.equal(first["source"], second["source"])
    assert torch.equal(next(streams[0])["target"], next(later)["target"])
    assert first["source"].shape == (1, 8, 32, 32)


def test_count_power_draws_higher_counts_more_often(run):
    from nmsynth.data.patches import PatchDataset

    folder, _ = run
    case = open_cohort(folder / "cohort", "train")[0]
    rng = np.random.default_rng(0)

    def mean_fraction(power):
        stream = PatchDataset([case], patch=(8, 32, 32), seed=1, count_power=power)
        return np.mean([case.record["fractions"][stream._count_level(case, rng)] for _ in range(400)])

    assert mean_fraction(1.0) > 1.3 * mean_fraction(0.0)


def test_lesions_are_added_to_a_share_of_patches(run):
    from nmsynth.data.inserted import FIRST_LABEL, InsertionRanges
    from nmsynth.data.patches import PatchDataset

    folder, _ = run
    cases = open_cohort(folder / "cohort", "train")
    ranges = InsertionRanges(mean_count=8.0, patch_share=0.5)
    stream = iter(PatchDataset(cases, patch=(8, 48, 48), seed=3, insertion=ranges))
    holding = [bool((next(stream)["labels"] >= FIRST_LABEL).any()) for _ in range(40)]
    assert 8 <= sum(holding) <= 32


def test_thresholds_are_the_lowest_that_are_allowed():
    points = [CalibrationPoint(float(t), 0.1, 20.0 - 5 * t, 1.0, 1.0) for t in range(5)]
    points += [CalibrationPoint(float(t), 0.05, 4.0 * (t < 2), 1.0, 1.0) for t in range(5)]
    allowed = {"low": {0.1: 15.0, 0.05: 9.0}, "standard": {0.1: 15.0, 0.05: 3.0}, "high": {0.1: 1.0, 0.05: 0.0}}
    assert choose_thresholds(points, allowed) == {"low": 1.0, "standard": 2.0, "high": 4.0}


def test_focal_mask_finds_a_sphere_and_no_plain_organ():
    from nmsynth.data.simulation import focal_mask

    image = np.zeros((24, 48, 48), dtype=np.float32)
    image[:, 8:40, 8:40] = 1.0
    z, y, x = np.indices(image.shape)
    image[(z - 12) ** 2 + (y - 24) ** 2 + (x - 24) ** 2 <= 9] = 3.0
    mask = focal_mask(image, (4.0, 4.0, 4.0))
    assert mask[12, 24, 24]
    assert not mask[12, 12, 12]


def test_inserted_lesions_stand_in_source_and_target():
    from nmsynth.data.inserted import FIRST_LABEL, InsertionRanges, insert_in_patch

    target = np.full((16, 32, 32), 1.0, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, target.shape).astype(np.float32)
    source, labels = target + noise, np.zeros(target.shape, dtype=np.uint8)
    insert_in_patch(
        source, target, labels, spacing_mm=(4.0, 4.0, 4.0), resolution_mm=(6.0, 6.0),
        ranges=InsertionRanges(mean_count=6.0, diameter_mm=(14.0, 20.0), contrast=(4.0, 5.0)),
        rng=np.random.default_rng(2),
    )  # fmt: skip
    inside = labels >= FIRST_LABEL
    assert inside.any()
    assert target[inside].mean() > 1.8
    assert source[inside].mean() == pytest.approx(target[inside].mean(), rel=0.05)
    assert target[0, 0, 0] == pytest.approx(1.0, abs=0.7)
