import json

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.acquisition import Acquisition
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.dataset_check import check_dataset
from tests.helpers import make_volume


def body(rng, scale=1.0):
    image = np.zeros((12, 24, 24), dtype=np.float32)
    image[3:9, 6:18, 6:18] = 2.0 + rng.random((6, 12, 12))
    return scale * image


def dataset(folder, change=None):
    """Three cases of a source and a target in SUV; ``change`` spoils them before they are written."""
    images, rows = {}, []
    for k in range(3):
        rng = np.random.default_rng(k)
        clean = body(rng)
        for role, array in (("source", clean + 0.1 * rng.random(clean.shape, dtype=np.float32)), ("target", clean)):
            path = f"{role}-{k}.nii.gz"
            images[path] = make_volume(array=array, unit=Unit.SUV_BODY_WEIGHT)
            rows.append(
                ManifestRow(f"c{k}", f"s{k}", "validation" if k == 1 else "train", role, role, path, 0.5, "PT",
                            Unit.SUV_BODY_WEIGHT.value)
            )  # fmt: skip
    if change is not None:
        change(images, rows)
    for path, volume in images.items():
        write_nifti(volume, folder / path)
    write_manifest(folder / "manifest.csv", rows)
    return folder


def found(folder):
    return [(f["level"], f["case"], f["role"], f["what"]) for f in check_dataset(folder)["findings"]]


def test_a_sound_dataset_has_no_findings(tmp_path):
    result = check_dataset(dataset(tmp_path))
    assert result["findings"] == []
    assert (result["cases"], result["images"], result["splits"]) == (3, 6, {"train": 2, "validation": 1})


def with_array(path, array):
    def change(images, rows):
        images[path] = images[path].with_array(array(images[path].array))

    return change


@pytest.mark.parametrize(
    ("change", "level", "message"),
    [
        (with_array("target-0.nii.gz", np.zeros_like), "error", "is empty: every voxel is 0"),
        (with_array("source-0.nii.gz", lambda a: 100 * a), "warning", "its values reach"),
        (with_array("source-0.nii.gz", lambda a: np.roll(a, 4, axis=2)), "warning", "mm from the target"),
        (with_array("source-0.nii.gz", lambda a: a[:, :20]), "error", "grid is not the target's"),
    ],
)
def test_what_is_wrong_with_an_image_is_told(tmp_path, change, level, message):
    (finding,) = found(dataset(tmp_path, change))
    assert finding[:2] == (level, "c0")
    assert message in finding[3]


def test_the_same_voxels_in_two_splits_are_a_leak(tmp_path):
    def copy(images, rows):
        images["source-1.nii.gz"] = images["source-0.nii.gz"]
        images["target-1.nii.gz"] = images["target-0.nii.gz"]

    findings = found(dataset(tmp_path, copy))
    assert [f[:3] for f in findings] == [("error", "c1", "source"), ("error", "c1", "target")]
    assert "case 'c0', which is in 'train'" in findings[0][3]


def test_the_manifest_must_tell_the_truth_of_unit_and_modality(tmp_path):
    def lie(images, rows):
        rows[0] = ManifestRow("c0", "s0", "train", "source", "source", "source-0.nii.gz", 0.5, "CT", "HU")

    findings = found(dataset(tmp_path, lie))
    assert len(findings) == 2
    assert any("states the unit 'HU'" in f[3] for f in findings)


def test_pet_without_an_suv_is_told(tmp_path):
    def strip(images, rows):
        bare = make_volume(array=images["source-0.nii.gz"].array, unit=Unit.BQML, acquisition=Acquisition())
        images["source-0.nii.gz"] = bare
        rows[0] = ManifestRow("c0", "s0", "train", "source", "source", "source-0.nii.gz", 0.5, "PT", "Bq/mL")

    assert any("no SUV" in f[3] for f in found(dataset(tmp_path, strip)))


def test_damage_and_missing_roles_are_told_and_the_rest_is_checked(tmp_path, capsys):
    folder = dataset(tmp_path, lambda *written: written[1].pop())
    (folder / "source-0.nii.gz").write_bytes(b"not an image")
    assert run(["dataset", "check", str(folder), "--json"]) == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {(f["case"], f["level"]) for f in findings} == {("c0", "error"), ("c2", "error")}
    assert "the case has no target" in {f["what"] for f in findings}


def test_the_table_names_what_is_wrong(tmp_path, capsys):
    assert run(["dataset", "check", str(dataset(tmp_path))]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out
