"""What a map costs the PET is summarised subject by subject, and each scanner keeps its own numbers."""

import json

import numpy as np
import pytest
from benchmarks.closed_loop import ANOTHER, changes_of, classes_of, file_of, judged, summary, with_air

from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.metrics.agreement import Interval
from nmsynth.workflows.study_recipe import load_study_recipe
from nmsynth.workflows.tasks import load_task
from tests.helpers import make_volume


def subject(scale, number=0):
    """Of one subject, with twenty organs, each of which has an error of its number."""
    organs = {f"organ {k}": scale * (-1) ** k * k for k in range(1, 21)}
    arm = {"organs": organs, "parts": {"liver_dome": -scale}, "error_over_mean": scale}
    return {"case": f"case {number}", "arms": {"synthetic": {**arm, "brain_voxels_beyond": {"5 %": scale}}}}


def test_errors_are_those_of_all_organs_of_all_subjects():
    subjects = [subject(0.004 if k == 7 else 0.001, k) for k in range(20)]
    found = summary(subjects)["synthetic"]
    every = np.abs([v for s in subjects for v in s["arms"]["synthetic"]["organs"].values()])
    assert found["organ_error_95th"][0] == pytest.approx(np.percentile(every, 95), abs=1e-4)
    of_one = float(np.percentile(0.001 * np.arange(1, 21), 95))
    assert found["of_subjects"]["organ_error_95th"][0] == pytest.approx(of_one, abs=1e-4)  # hides the bad subject
    assert found["organ_error_95th"][0] > of_one
    assert found["organ_error_95th"][2] > found["organ_error_95th"][0]  # in which it is drawn more than once
    assert found["worst_subject"] == {"case": "case 7", "organ": "organ 20", "organ_error": 0.08,
                                      "error_over_mean": 0.004}  # fmt: skip
    assert found["organs"]["liver_dome"] == -0.001
    assert found["brain_voxels_beyond"]["5 %"][0] == pytest.approx(0.00115, abs=1e-4)
    assert json.loads(json.dumps(found))["n_subjects"] == 20


def test_aims_are_judged_by_intervals_over_enough_subjects():
    good, bad = (summary([subject(scale, k) for k in range(12)])["synthetic"]["aims"] for scale in (0.001, 0.02))
    assert set(good.values()) == {"met"}
    assert bad == {"organ_error_median <= 0.05": "missed", "organ_error_95th <= 0.15": "missed",
                   "error_over_mean <= 0.03": "met"}  # fmt: skip
    assert set(summary([subject(0.001)])["synthetic"]["aims"].values()) == {"not told: too few subjects"}
    assert judged(Interval(0.05, 0.04, 0.06, n=20, level=0.95), 0.05) == "not told"


def test_a_ct_in_four_classes_has_no_bone(tmp_path):
    hu = np.full((6, 60, 60), -1000.0, dtype=np.float32)
    hu[:, 10:50, 10:50] = 30.0
    hu[:, 14:26, 14:26], hu[:, 30:42, 14:26], hu[:, 14:26, 30:42] = -760.0, -100.0, 800.0
    hu += np.random.default_rng(0).normal(0.0, 15.0, hu.shape).astype(np.float32)
    ct = make_volume(array=hu, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.HOUNSFIELD, modality="CT")
    write_nifti(ct, tmp_path / "ct.nii.gz")
    found = read(classes_of(tmp_path / "ct.nii.gz", tmp_path / "classes.nii.gz")).array[3]
    assert [found[y, x] for y, x in ((2, 2), (20, 20), (36, 20), (20, 36), (46, 46))] == [-1000, -750, -100, 40, 40]
    assert len(np.unique(found)) == 4


def test_a_lookup_has_air_about_the_body_of_its_source():
    """A lookup is fitted within bodies; outside one it says what is usual near a skin."""
    array = np.zeros((6, 60, 60), dtype=np.float32)
    array[:, 10:50, 10:50] = 100.0
    source = make_volume(array=array, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.RELATIVE, modality="PT")
    hu = np.full((6, 120, 120), -165.0, dtype=np.float32)
    ct = make_volume(array=hu, spacing_mm=(4.0, 2.0, 2.0), unit=Unit.HOUNSFIELD, modality="CT")
    found = with_air(ct, source).array[3]
    assert found[4, 4] == found[60, 4] == -1000.0
    assert found[60, 60] == -165.0
    assert 0.3 < (found > -1000).mean() < 0.6


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
