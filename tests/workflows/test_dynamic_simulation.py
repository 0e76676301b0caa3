import json

import numpy as np
import pytest

import nmsynth
from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.data.dynamic_scan import scan_head_dynamic
from nmsynth.physics.phantom import LesionPlan, Organ, whole_body_patient
from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, simulate_dynamic

SMALL = SimulateDynamicSettings(frames_s=(60.0,) * 5 + (600.0,) * 6, voxel_mm=6.0, length_mm=120.0, seed=3)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    output = tmp_path_factory.mktemp("dynamic") / "study"
    return output, simulate_dynamic(SMALL, output)


def regions(output):
    organs = nmsynth.read(output / "reference" / "organs.nii.gz").array
    return {name: organs == organ for name, organ in (("grey", Organ.BRAIN_GREY), ("white", Organ.BRAIN_WHITE))}


def test_frames_and_what_is_known_are_written(study):
    output, record = study
    scan = nmsynth.read(output / "scan.nii.gz")
    assert scan.axes == ("frame", "z", "y", "x")
    assert [f.duration_s for f in scan.frames] == list(SMALL.frames_s)
    assert scan.frames[5].start_s == 300.0
    assert scan.provenance.simulated
    influx = nmsynth.read(output / "reference" / "influx.nii.gz")
    assert influx.unit.value == "mL/cm3/min"
    assert json.loads((output / "reference" / "simulation.json").read_text()) == json.loads(json.dumps(record))
    assert (output / "plasma.csv").read_text().startswith("minutes,plasma_suv\n")


def test_grey_matter_traps_more_than_white_and_the_images_follow_the_truth(study):
    output, record = study
    truth, noise_free = (nmsynth.read(output / "reference" / f"{n}.nii.gz").array for n in ("truth", "noise_free"))
    masks = regions(output)
    curves = {name: truth[:, mask].mean(1) / record["bqml_per_suv"] for name, mask in masks.items()}
    assert curves["grey"][-1] > 1.5 * curves["white"][-1] > 1.5
    assert (np.diff(curves["grey"][5:]) > 0).all()
    # the total of a frame survives reconstruction at its own decay; blur only moves it about
    assert np.allclose(noise_free.sum((1, 2, 3))[4:], truth.sum((1, 2, 3))[4:], rtol=0.08)


def test_patlak_of_the_scan_is_near_the_influx_less_what_leaves(study):
    output, _ = study
    slope = nmsynth.read(output / "patlak.nii.gz").array
    influx = nmsynth.read(output / "reference" / "influx.nii.gz").array
    grey = regions(output)["grey"]
    assert 0.5 * influx[grey].mean() < slope[grey].mean() < influx[grey].mean()


def test_early_frames_are_noisier(study):
    output, _ = study
    scan = nmsynth.read(output / "scan.nii.gz").array
    noise_free = nmsynth.read(output / "reference" / "noise_free.nii.gz").array
    grey = regions(output)["grey"]
    relative = [(scan[k] - noise_free[k])[grey].std() / noise_free[k][grey].mean() for k in (1, 10)]
    assert relative[0] > 2 * relative[1]


def test_impossible_frames_are_refused(capsys, tmp_path):
    with pytest.raises(InputError, match="longer than 0"):
        scan_head_dynamic(whole_body_patient(0, lesions=LesionPlan(count=0)), frames_s=(10.0, 0.0))
    for words in ("6x", "x10", "0x10", "6x-1"):
        assert run(["simulate", "dynamic", str(tmp_path / "out"), "--frames", words]) == 2
        assert "number x seconds" in capsys.readouterr().err
