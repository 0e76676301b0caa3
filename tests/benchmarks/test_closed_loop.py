"""What a map costs the PET is summarised subject by subject, and each scanner keeps its own numbers."""

import json

import numpy as np
import pytest
from benchmarks.closed_loop import ANOTHER, changes_of, file_of, summary

from nmsynth.workflows.study_recipe import load_study_recipe
from nmsynth.workflows.tasks import load_task


def subject(scale):
    """Of one subject, with twenty organs."""
    organs = {f"organ {k}": scale * (-1) ** k * k for k in range(1, 21)}
    return {"arms": {"synthetic": {"organs": organs, "error_over_mean": scale, "brain_voxels_beyond": {}}}}


def test_the_percentile_is_of_a_subject_and_has_an_interval_over_subjects():
    found = summary([subject(0.001), subject(0.001), subject(0.004)])["synthetic"]
    of_one = float(np.percentile(0.001 * np.arange(1, 21), 95))
    value, lower, upper = found["organ_error_95th"]
    assert value == pytest.approx(of_one, abs=1e-4)  # of the subject in the middle, whatever the third has
    assert (lower, upper) == pytest.approx((of_one, 4 * of_one), abs=1e-4)
    assert found["organ_error_median"][0] == pytest.approx(0.0105, abs=1e-4)
    assert json.loads(json.dumps(found))["n_subjects"] == 3


def test_every_scanner_and_change_has_its_own_file(tmp_path):
    places = {
        file_of(tmp_path, task, scanner, changes)
        for task in ("mr-to-ct", "nac-to-ct")
        for scanner in ("as trained", "another")
        for changes in ({}, {"settings.length_mm": 200.0}, {"settings.length_mm": 400.0})
    }
    assert len(places) == 12
    assert file_of(tmp_path, "mr-to-ct", "as trained", {}).name == "mr-to-ct-as-trained.json"


@pytest.mark.parametrize("name", ["mr-to-ct", "nac-to-ct", "nac-to-ac-pet"])
def test_another_scanner_is_one(name):
    task = load_task(name)
    assert changes_of(task, "as trained") == {}
    changes = changes_of(task, "another")
    assert changes["settings.scanner"] == ANOTHER["settings.scanner"]
    load_study_recipe(task.study, changes)
