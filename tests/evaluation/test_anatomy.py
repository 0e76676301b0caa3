import json
import re

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.evaluation import evaluate
from nmsynth.evaluation.tasks import TASKS
from nmsynth.io.nifti import write_nifti
from nmsynth.physics.materials import mu_from_hu
from tests.helpers import make_volume

SHAPE, SPACING = (12, 40, 40), (4.0, 4.0, 4.0)


def ct(soft=40.0, bone=800.0, bone_at=20, radius_mm=60.0):
    """A round body with a rod of bone."""
    y, x = (SPACING[1] * (np.indices(SHAPE)[k] - 19.5) for k in (1, 2))
    body = y**2 + x**2 < radius_mm**2
    rod = y**2 + (x - SPACING[2] * (bone_at - 19.5)) ** 2 < 14.0**2
    array = np.where(rod & body, bone, np.where(body, soft, -1000.0))
    return make_volume(array=array, spacing_mm=SPACING, unit=Unit.HOUNSFIELD, modality="CT")


def test_known_errors_are_found():
    found = evaluate(ct(soft=60.0, bone=700.0), ct(), task="mr-to-ct")
    assert found.task == "mr-to-ct"
    assert found.unit == "HU"
    assert found.value("MAE", mask="soft tissue") == pytest.approx(20.0)
    assert found.value("bias", mask="dense bone") == pytest.approx(-100.0)
    assert found.value("bone Dice", mask="at least 300 HU") == 1.0
    assert found.value("body Dice") == 1.0
    assert found.value("MAE", mask="air and lung") is None
    mu = mu_from_hu([40.0, 60.0, 800.0, 700.0], energy_kev=511.0)
    n_bone, n_soft = ((ct().array == v).sum() for v in (800.0, 40.0))
    expected = (n_soft * (mu[1] - mu[0]) + n_bone * (mu[3] - mu[2])) / (n_soft * mu[0] + n_bone * mu[2])
    assert found.value("attenuation bias") == pytest.approx(expected, rel=0.01)  # the edge of the body
    assert json.loads(json.dumps(found.to_json()))["definitions"]["bone Dice"]


def test_bone_beside_its_place_and_a_body_too_small_are_told():
    found = evaluate(ct(bone_at=28), ct(), task="mr-to-ct")
    assert found.value("bone Dice", mask="at least 300 HU") < 0.2
    smaller = evaluate(ct(radius_mm=50.0), ct(), task="nac-to-ct")
    assert smaller.value("body Dice") == pytest.approx(2 * 25 / 61, abs=0.03)
    assert smaller.value("attenuation bias") < -0.2
    everything = np.ones(SHAPE)
    given = evaluate(ct(), ct(), task="mr-to-ct", masks={"body": everything, "femur": ct().array > 300})
    assert given.value("error of the mean", mask="femur") == 0.0
    assert given.value("MAE", mask="body") == 0.0


def test_what_the_source_does_not_see_is_left_out():
    half = np.where(np.arange(SHAPE[2]) < 20, 300.0, 0.0) * np.ones(SHAPE)
    mr = make_volume(array=half[::2], spacing_mm=(8.0, 4.0, 4.0), unit=Unit.RELATIVE, modality="MR")
    wrong = ct().with_array(np.where(np.arange(SHAPE[2]) < 20, ct().array, -1000.0))
    found = evaluate(wrong, ct(), source=mr, task="mr-to-ct")
    assert found.arms == ("prediction",)
    assert found.value("MAE") == pytest.approx(0.0, abs=1.0)
    assert found.value("body Dice") > 0.97
    assert any(re.match(r"5\d % of the body lie outside", warning) for warning in found.warnings)


def test_another_unit_a_source_and_an_unknown_task_are_refused():
    pet = make_volume(array=np.ones(SHAPE), spacing_mm=SPACING, unit=Unit.SUV_BODY_WEIGHT)
    with pytest.raises(InputError, match="compared in HU; found prediction in SUV"):
        evaluate(pet, ct(), task="mr-to-ct")
    with pytest.raises(InputError, match="takes no full counts"):
        evaluate(ct(), ct(), full_counts=pet, task="mr-to-ct")
    with pytest.raises(InputError, match="must be one of lowcount-pet"):
        evaluate(ct(), ct(), task="ct-to-gold")
    assert next(iter(TASKS)) == "lowcount-pet"


def test_the_command_measures_what_the_task_asks_for(tmp_path, capsys):
    write_nifti(ct(soft=60.0), tmp_path / "a.nii.gz")
    write_nifti(ct(), tmp_path / "b.nii.gz")
    command = ["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"), "--task", "mr-to-ct"]
    assert run(command) == 0
    assert "bone Dice" in capsys.readouterr().out
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "mr-to-ct"
    assert run([*command[:-1], "mr-to-gold"]) == 2


def test_organs_that_the_ct_shows_are_overlapped():
    kidney = np.zeros((12, 30, 30), dtype=bool)
    kidney[3:9, 8:16, 10:18] = True
    liver = np.zeros_like(kidney)
    liver[3:9, 20:26, 10:18] = True  # as bright as what surrounds it
    around = np.full(kidney.shape, -100.0)
    around[:, 17:, :] = 60.0
    array = np.where(kidney, 40.0, around)
    true = make_volume(array=array, spacing_mm=(4.0, 4.0, 4.0), unit=Unit.HOUNSFIELD, modality="CT")
    beside = true.with_array(np.where(np.roll(kidney, 4, axis=2), 40.0, around))
    masks = {"kidney": kidney, "liver": liver, "body": np.ones_like(kidney), "spleen": kidney}
    for image, expected in ((true, 1.0), (beside, 0.5), (true.with_array(np.full(kidney.shape, 0.0)), None)):
        found = evaluate(image, true, masks=masks, task="pet-to-ct")
        assert found.value("organ Dice", mask="liver") is None
        assert found.value("organ Dice", mask="spleen") is None  # not asked for
        value = found.value("organ Dice", mask="kidney")
        assert value == found.value("organ Dice, mean")
        assert value == pytest.approx(expected, abs=0.1) if expected else value < 0.5
