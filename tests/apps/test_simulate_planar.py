"""``simulate planar``: options that exclude each other, and what it says."""

import json

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from tests.io.dicom_factory import make_nm, save_series


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--source in --tracer MDP --count-fraction 0.5", "An option of a simulated scan".lower()),
        ("--source in", "--count-fraction is 1"),
        ("--series-uid 1.2", "belongs to --source"),
        ("--view lateral", "lateral"),
        ("--tracer FDG", "FDG"),
        ("--tracer DMSA --lesions 3", "Lesions are put into the bones"),
        ("--view anterior --view anterior", "each once"),
    ],
)
def test_options_that_do_not_fit_are_one_line(words, message, tmp_path, capsys):
    assert run(["simulate", "planar", str(tmp_path / "out"), *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_spot_view_tells_its_counts(tmp_path, capsys):
    words = [
        "simulate",
        "planar",
        str(tmp_path / "out"),
        "--region",
        "pelvis",
        "--pixel-mm",
        "10",
        "--view",
        "anterior",
    ]
    assert run([*words, "--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert "counts: anterior" in said
    assert "posterior" not in said
    assert run([*words, "--overwrite", "--json", "--format", "nifti", "--seconds", "10"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["scan"]["seconds_per_point"] == 10.0
    assert (tmp_path / "out" / "anterior.nii.gz").is_file()


def test_thinning_tells_how_many_counts_are_kept(tmp_path, capsys):
    counts = np.full((2, 8, 8), 10, np.uint16)
    source = save_series([make_nm(counts, kind="STATIC")], tmp_path / "source")
    words = ["simulate", "planar", str(tmp_path / "out"), "--source", str(source), "--count-fraction", "0.5"]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "of 1,280 counts" in said
    assert "complement" in said
    assert "warning: Neighbouring pixels vary" in said
