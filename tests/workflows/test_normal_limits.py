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
from nmsynth.workflows import normal_limits
from nmsynth.workflows.normal_limits import fitting_limits, make_normal_limits, misfits
from nmsynth.workflows.tasks import load_task
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


ABOUT = {"scanner": "gamma camera, LEHR", "reconstruction": "OSEM 4i6s, 8 mm"}


def imaged(sex="F", corrections=("DECY", "ATTN", "SCAT"), **changes):
    """A heart as a simulated study states it."""
    volume, stated = heart(), {"sex": sex, "corrections": corrections, **ABOUT, **changes}
    return replace(volume, acquisition=replace(volume.acquisition, **stated))


def test_limits_of_a_task_are_those_of_sex_correction_and_camera():
    names = load_task("lowcount-mpi").normals
    women, told = fitting_limits(names, imaged())
    men, _ = fitting_limits(names, imaged("M"))
    without, _ = fitting_limits(names, imaged(corrections=("DECY",)))
    other, _ = fitting_limits(names, imaged(scanner="gamma camera, LEUHR", reconstruction="OSEM 4i6s, 11 mm"))
    assert all(isinstance(found, NormalLimits) for found in (women, men, without, other))
    assert len({found.mean[5, 0] for found in (women, men, without, other)}) == 4
    assert "hearts, which is few" in told[0]
    for strange in (imaged(None), imaged("O"), imaged(scanner="another")):
        found, told = fitting_limits(names, strange)
        assert found is None
        assert "No normal limits fit this heart (sex" in told[0]
    with pytest.raises(InputError, match="must be those of nmsynth; found the name 'none'"):
        fitting_limits(("none",), imaged())


def test_every_task_names_limits_that_there_are():
    for name in ("lowcount-mpi", "ac-spect"):
        for of in load_task(name).normals:
            document = normal_limits._bundled(of)
            limits = NormalLimits.from_json(document)
            assert limits.n_subjects >= 10
            assert np.nanmean(limits.mean) == pytest.approx(0.95, abs=0.1)
            assert (document["simulated"], document["licence"]) == (True, "Apache-2.0")
            assert f"-{'' if document['attenuation_corrected'] else 'un'}corrected-" in of


def test_attenuation_takes_from_the_inferior_wall_of_normal_hearts():
    found = {}
    for way in ("corrected", "uncorrected"):
        mean = np.array(normal_limits._bundled(f"sestamibi-lehr-{way}-m")["mean"], dtype=float)
        found[way] = np.nanmean(mean[2:8, 24:30]) / np.nanmean(mean[2:8, 6:12])  # 270 and 90 degrees
    assert found["uncorrected"] < found["corrected"] - 0.05


def test_limits_of_others_are_said_not_to_fit(hearts, capsys):
    folder, _ = hearts
    assert run(["dataset", "normals", str(folder), str(folder / "normals.json"), "--scaled-in", "target"]) == 0
    document = json.loads((folder / "normals.json").read_text()) | {"sexes": {"M": 11}}
    assert misfits(document, imaged(corrections=())) == ["they are of sex M, the heart is of sex F"]
    told = misfits(document, imaged("M"))
    assert told == ["they are not corrected for attenuation, the heart is corrected for attenuation"]
    assert misfits(document | ABOUT, imaged("M", ("DECY",), scanner="x")) == ["they are of another scanner"]
    (folder / "normals.json").write_text(json.dumps(document))
    capsys.readouterr()
    image, wall = str(folder / "1.nii.gz"), f"wall={folder / 'wall.nii.gz'}"
    command = ["evaluate", image, image, "--task", "lowcount-mpi", "--mask", wall]
    assert run([*command, "--normals", str(folder / "normals.json")]) == 0
    output = capsys.readouterr()
    assert "do not fit this heart: they are of sex M" in " ".join((output.out + output.err).split())
