import json

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.io.nifti import read_nifti, write_nifti
from nmsynth.workflows.activity_input import parse_materials, read_activity_phantom
from tests.data.test_activity_phantom import cylinder
from tests.io.test_interfile import HEADER, written

SCAN = ["--voxel-mm", "10", "--views", "8", "--subsets", "2", "--iterations", "1"]


def images(folder):
    write_nifti(cylinder(value=100.0), folder / "activity.nii.gz")
    write_nifti(cylinder(value=0.1, unit=Unit.PER_CENTIMETRE), folder / "mu.nii.gz")
    return ["--activity", str(folder / "activity.nii.gz"), "--mu", str(folder / "mu.nii.gz")]


def test_activity_of_the_user_is_scanned_at_its_total(tmp_path, capsys):
    words = ["simulate", "spect", str(tmp_path / "out"), *images(tmp_path), *SCAN, "--mu-kev", "208.4"]
    words += ["--radionuclide", "Lu-177", "--total-mbq", "70", "--window-kev", "112.9", "--json"]
    assert run(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scan"]["total_activity_bq"] == pytest.approx(70e6)
    assert (record["scan"]["radionuclide"], record["scan"]["tracer"]) == ("Lu-177", None)
    assert record["scan"]["camera"]["window"]["centre_kev"] == 112.9
    assert str(tmp_path) not in json.dumps(record)
    mu = read_nifti(tmp_path / "out" / "reference" / "mu_map.nii.gz").array
    assert mu.max() == pytest.approx(0.1 * 0.1650 / 0.1353, rel=0.02)  # water at 112.9 over 208.4 keV


def test_a_short_scan_warns_of_what_it_leaves_out(tmp_path, capsys):
    words = ["simulate", "spect", str(tmp_path / "out"), *images(tmp_path), *SCAN, "--mu-kev", "511"]
    assert run([*words, "--length-mm", "20"]) == 0
    assert "29% of the activity lies in the field" in capsys.readouterr().out
    assert run([*words, "--overwrite", "--activity", str(tmp_path / "out" / "scan.nii.gz")]) == 2
    assert "lie apart" in capsys.readouterr().err


def test_interfile_is_read_with_its_materials(tmp_path):
    values = np.zeros((2, 3, 4), "<u2")
    values[:, 1, 1:3] = (5, 7)
    path = written(tmp_path, HEADER.replace("slice thickness", "centre-centre slice separation"), values)
    phantom = read_activity_phantom(path, path, total_mbq=1.0, mu_materials="5=lung,7=water", slice_unit="mm")
    assert phantom.total_activity_bq == pytest.approx(1e6)
    assert sorted(set(np.round(phantom.mu_map.array.ravel(), 3))) == pytest.approx([0.0, 0.025, 0.096], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--activity", "a.nii.gz"], "one is missing"),
        (["--activity", "a.nii.gz", "--mu", "b.nii.gz", "--lesions", "2"], "belong to a procedural patient"),
        (["--total-mbq", "5"], "'total_mbq' belongs to an activity"),
        (["--activity", "a.mat", "--mu", "b.mat", "--total-mbq", "1"], "found '.mat'"),
        (["--activity", "a.h33", "--mu", "b.h33"], r"--unit"),
        (["--activity", "a.h33", "--mu", "b.h33", "--total-mbq", "1"], "found none at that path"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, capsys, words, message):
    assert run(["simulate", "spect", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "1", "a=water", "1="])
def test_materials_are_numbers_and_names(text):
    with pytest.raises(InputError, match="NUMBER=NAME"):
        parse_materials(text)
