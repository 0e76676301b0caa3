"""Options of ``simulate pet`` that exclude or need each other, and what it says of a series."""

import json
from pathlib import Path

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.workflows import pet_simulation


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--unit Bq/mL", "belong to --from"),
        ("--series-uid 1.2 --phantom nema", "belong to --from"),
        ("--from in --voxel-mm 3", "A series keeps its grid"),
        ("--from in --length-mm 100", "A series keeps its grid"),
        ("--from in --with ct", "beside the scan of a phantom"),
        ("--with misregistration", "Add ct or mr"),
        ("--from in --beds", "A series keeps its grid"),
    ],
)
def test_options_that_do_not_fit_are_one_line(words, message, capsys):
    assert run(["simulate", "pet", "out", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_series_says_how_it_was_attenuated_and_what_it_is(monkeypatch, capsys):
    record = {"attenuation": "guessed", "reference": "noisy", "warnings": ["few counts"]}
    monkeypatch.setattr(pet_simulation, "simulate_pet", lambda *_, **__: record)
    assert run(["simulate", "pet", "out", "--from", str(Path("in"))]) == 0
    out = capsys.readouterr().out
    for line in ("attenuation: guessed", "reference: noisy", "warning: few counts"):
        assert line in out


def test_spect_of_lutetium_through_thin_septa_warns(tmp_path, capsys):
    words = ["simulate", "spect", str(tmp_path / "out"), "--phantom", "cylinder", "--tracer", "DOTATATE"]
    words += ["--voxel-mm", "10", "--length-mm", "40", "--views", "8", "--subsets", "2", "--iterations", "1"]
    assert run([*words, "--collimator", "LEHR"]) == 0
    assert "pass a septum" in capsys.readouterr().out
    assert run([*words, "--overwrite", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scan"]["camera"]["collimator"] == "MEGP"
    assert record["scan"]["septal_penetration"] < 0.01


def test_ct_and_couch_come_with_a_scan(tmp_path, capsys):
    words = ["simulate", "spect", str(tmp_path / "out"), "--phantom", "cylinder", "--with", "ct", "--with", "couch"]
    words += ["--voxel-mm", "10", "--length-mm", "40", "--views", "8", "--subsets", "2", "--iterations", "1", "--json"]
    assert run(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["anatomy"]["couch"]["top_mm"] == pytest.approx(100.0, abs=8.0)
    assert (tmp_path / "out" / "reference" / "ct.nii.gz").is_file()


def test_beds_are_scanned_one_after_another(tmp_path, capsys):
    words = ["simulate", "pet", str(tmp_path / "out"), "--phantom", "cylinder", "--voxel-mm", "8", "--format", "nifti"]
    assert run([*words, "--beds", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["beds"]
    assert [bed["first_plane"] for bed in record["beds"]] == [0, 16]
    assert record["beds"][1]["delay_s"] == pytest.approx(153.0)
    assert record["beds"][1]["decay"] == pytest.approx(0.984, abs=1e-3)


def test_spect_of_a_heart_takes_its_defects_and_state(tmp_path, capsys):
    words = ["simulate", "spect", str(tmp_path / "out"), "--phantom", "heart", "--rest", "--voxel-mm", "10"]
    words += ["--length-mm", "120", "--views", "8", "--subsets", "2", "--iterations", "1", "--gate", "3", "--json"]
    assert run([*words, "--defect", "10,severity=0.5,reversible=0.4", "--defect", "7"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scan"]["tracer"] == "SESTAMIBI-REST"
    assert record["scan"]["orbit"]["first_deg"] == -45.0
    assert [d["severity"] for d in record["heart"]["defects"]] == [pytest.approx(0.3), 0.6]
    assert record["settings"]["heart"]["gate"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--phantom heart --defect inferior", "--defect begins with a segment"),
        ("--phantom heart --defect 10,severty=0.5", "Did you mean"),
        ("--phantom heart --defect 18", "less than or equal to 17"),
        ("--phantom heart --defect 3 --defects 2", "listed or drawn"),
        ("--phantom heart --tracer MDP", "SESTAMIBI or TETROFOSMIN"),
        ("--rest", "belong to the phantom 'heart'"),
    ],
)
def test_options_of_a_heart_that_do_not_fit_are_one_line(words, message, tmp_path, capsys):
    assert run(["simulate", "spect", str(tmp_path / "out"), *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
