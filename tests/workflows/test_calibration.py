"""Intervals of a training, calibrated on the patients that it held."""

import json
from dataclasses import replace

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.models.package import read_card
from nmsynth.workflows.calibration import calibrate_run
from nmsynth.workflows.method_recipes import load_method_recipe
from tests.workflows.methods_dataset import SMALL, make_dataset

pytest.importorskip("lightning")

from nmsynth.workflows.method_training import split_of_run, train_on_dataset, training_options


def test_a_recipe_calibrates_and_the_command_does_it_again(tmp_path, capsys):
    data = make_dataset(tmp_path / "data")
    recipe = load_method_recipe("cvae").model_copy(update={"interval_samples": 3})
    (found,) = train_on_dataset(
        recipe, data, tmp_path / "run", options=training_options(threads=1, device="cpu"), overrides=SMALL
    )
    first = read_card(found.package).interval
    assert (first.n_samples, first.coverage, first.n_cases) == (3, 0.9, 1)
    assert first.voxel_factor > 0
    assert "held for validation" in read_card(found.package).to_markdown()
    assert run(["models", "calibrate", str(tmp_path / "run"), "--samples", "4"]) == 0
    assert "90 % intervals from 4 samples" in capsys.readouterr().out
    again = read_card(found.package)
    assert again.interval.n_samples == 4
    assert again.sha256 == found.package.joinpath("card.json").read_text().split('"sha256": "')[1].split('"')[0]


def test_what_draws_no_samples_has_no_intervals(tmp_path):
    data = make_dataset(tmp_path / "data")
    options = training_options(threads=1, device="cpu")
    train_on_dataset(load_method_recipe("unet"), data, tmp_path / "run", options=options, overrides=SMALL)
    with pytest.raises(InputError, match="this method has one answer"):
        calibrate_run(tmp_path / "run", n_samples=4)
    with pytest.raises(InputError, match="has one model; found 0"):
        calibrate_run(tmp_path / "data", n_samples=4)


def test_patients_that_a_training_held_out_by_itself_are_those_of_the_calibration(tmp_path):
    def untold(images, rows):
        rows[:] = [replace(row, split="test" if row.split == "test" else "train") for row in rows]

    data = make_dataset(tmp_path / "data", change=untold)
    options = training_options(threads=1, device="cpu")
    (found,) = train_on_dataset(
        load_method_recipe("cvae"), data, tmp_path / "run", options=options, overrides={**SMALL, "schedule.steps": 1}
    )
    noted = json.loads((tmp_path / "run" / "training" / "split.json").read_text())
    assert noted["validation"] == list(found.split.validation) != []
    assert calibrate_run(tmp_path / "run", n_samples=2).n_cases == 1
    (tmp_path / "run" / "training" / "split.json").unlink()  # of a run of before: the same choice is made again
    splits = {"s4": "test", **{f"s{k}": "train" for k in range(4)}}
    assert split_of_run(tmp_path / "run", None, splits) == found.split
    assert calibrate_run(tmp_path / "run", n_samples=2).n_cases == 1
