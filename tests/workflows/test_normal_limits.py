import json
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.io.nifti import write_nifti
from nmsynth.metrics.perfusion import NormalLimits
from nmsynth.workflows.normal_limits import make_normal_limits
from tests.evaluation.test_regional import WALL, heart


@pytest.fixture
def hearts(tmp_path):
    rows = []
    write_nifti(heart().with_array(WALL.astype(np.float32), unit=Unit.UNITLESS), tmp_path / "wall.nii.gz")
    for k in range(11):
        volume = heart(noise=0.05, seed=k)
        volume = replace(volume, acquisition=replace(volume.acquisition, sex="F" if k else "M"))
        write_nifti(volume, tmp_path / f"{k}.nii.gz")
        rows.append(ManifestRow(f"c{k}", f"s{k}", "train", "target", "", f"{k}.nii.gz"))
        rows.append(ManifestRow(f"c{k}", f"s{k}", "train", "mask", "segments", "wall.nii.gz"))
    write_manifest(tmp_path / "manifest.csv", rows)
    return tmp_path, rows


def test_limits_are_those_of_the_hearts(hearts, capsys):
    folder, _ = hearts
    assert run(["dataset", "normals", str(folder), str(folder / "normals.json")]) == 0
    told = capsys.readouterr().out
    assert "limits of 11 hearts (F 10, M 1)" in told
    assert "these are of several" in told
    limits = NormalLimits.from_json(json.loads((folder / "normals.json").read_text()))
    assert limits.n_subjects == 11
    assert 0.9 < np.nanmean(limits.mean) <= 1.0
    assert 0.0 < np.nanmean(limits.deviation) < 0.05


def test_hearts_that_do_not_belong_together_are_refused(hearts):
    folder, rows = hearts
    write_manifest(folder / "few.csv", rows[:8])
    write_manifest(folder / "bare.csv", [row for row in rows if row.case != "c0" or row.role != "mask"])
    with pytest.raises(InputError, match="at least 10"):
        make_normal_limits(folder / "few.csv", folder / "few.json")
    with pytest.raises(InputError, match="one image of role or name 'segments'; case 'c0' has 0"):
        make_normal_limits(folder / "bare.csv", folder / "bare.json")
    volume = heart(seed=3)
    stated = replace(volume.acquisition, corrections=("ATTN",))
    write_nifti(replace(volume, acquisition=stated), folder / "3.nii.gz", overwrite=True)
    with pytest.raises(InputError, match="some images are corrected for attenuation"):
        make_normal_limits(folder, folder / "mixed.json")
    assert not (folder / "mixed.json").exists()
