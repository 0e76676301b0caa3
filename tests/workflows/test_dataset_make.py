import json

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.manifest import read_manifest
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.dataset_make import Split, Wanted, make_manifest
from tests.helpers import make_volume

CT_TO_PET = (Wanted("source", "ct", "ct.nii.gz"), Wanted("target", "", "pet.nii.gz"))


def patients(folder, names=("Doe_Jane", "Roe_Richard", "Bloggs_Joe", "Public_John", "Muster_Erika")):
    for name in names:
        (folder / name).mkdir(parents=True)
        for image in ("ct", "pet"):
            (folder / name / f"{image}.nii.gz").touch()
    return folder


def test_patients_get_pseudonyms_and_paths_below_the_manifest(tmp_path):
    result = make_manifest(patients(tmp_path), None, CT_TO_PET, stated={"ct": ("CT", "HU")})
    rows = read_manifest(tmp_path)
    assert (result["cases"], result["splits"]) == (5, {"train": 4, "validation": 1})
    assert {row.case for row in rows} == {f"p00{k}" for k in range(1, 6)}
    assert (rows[0].modality, rows[0].unit, rows[0].channel) == ("CT", "HU", "ct")
    assert "Doe" not in json.dumps(result)


def test_the_split_of_a_patient_does_not_depend_on_the_others_names(tmp_path):
    results = []
    for name in ("a", "b"):
        folder = patients(tmp_path / name)
        make_manifest(folder, None, CT_TO_PET, split=Split(0.2, 0.2))
        results.append((folder / "manifest.csv").read_text())
    assert results[0] == results[1]
    assert sorted({row.split for row in read_manifest(tmp_path / "a")}) == ["test", "train", "validation"]


def test_each_subject_is_held_out_once_over_the_folds(tmp_path):
    result = make_manifest(patients(tmp_path), None, CT_TO_PET, split=Split(folds=5))
    held = [r.subject for f in result["manifests"] for r in read_manifest(tmp_path / f)
            if r.split == "validation" and r.role == "target"]  # fmt: skip
    assert sorted(held) == [f"p00{k}" for k in range(1, 6)]


def test_a_wildcard_folder_makes_cases_of_one_subject(tmp_path):
    for scan in ("first", "second"):
        for image in ("low", "full"):
            (tmp_path / "patient" / scan / image).mkdir(parents=True)
            (tmp_path / "patient" / scan / image / "1.dcm").touch()
    make_manifest(tmp_path, None, [Wanted.parse("source", "low=*/low"), Wanted.parse("target", "*/full")])
    rows = read_manifest(tmp_path)
    assert {(r.case, r.subject) for r in rows} == {("p001-1", "p001"), ("p001-2", "p001")}
    assert rows[0].path == "patient/first/low"


def test_bids_is_chosen_by_suffix_and_entities(tmp_path):
    for subject in ("01", "02"):
        folder = tmp_path / f"sub-{subject}" / "pet"
        folder.mkdir(parents=True)
        for rec in ("low", "full"):
            volume = make_volume(unit=Unit.SUV_BODY_WEIGHT)
            write_nifti(volume, folder / f"sub-{subject}_rec-{rec}_pet.nii.gz")
    command = ["dataset", "make", str(tmp_path), "--source", "pet,rec-low", "--target", "pet,rec-full", "--json"]
    assert run(command) == 0
    rows = read_manifest(tmp_path)
    assert [r.role for r in rows] == ["source", "target"] * 2
    assert (rows[0].modality, rows[0].unit) == ("PT", Unit.SUV_BODY_WEIGHT.value)


def test_bids_says_the_modality_that_a_sidecar_leaves_out(tmp_path):
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T1w.nii.gz").touch()
    (folder / "sub-01_T1w.json").write_text(json.dumps({"EchoTime": 0.002}))
    (tmp_path / "sub-01" / "pet").mkdir()
    (tmp_path / "sub-01" / "pet" / "sub-01_pet.nii.gz").touch()
    make_manifest(tmp_path, None, (Wanted("source", "t1", "T1w"), Wanted("target", "", "pet")))
    assert [(r.modality, r.unit) for r in read_manifest(tmp_path)] == [("MR", ""), ("PT", "")]


def test_what_lacks_an_image_is_left_out_and_said(tmp_path):
    (patients(tmp_path) / "Doe_Jane" / "pet.nii.gz").unlink()
    result = make_manifest(tmp_path, None, CT_TO_PET)
    assert result["cases"] == 4
    assert result["left_out"] == ["Case 'p002' was left out: it has no target."]


@pytest.mark.parametrize(
    ("wanted", "split", "message"),
    [
        ([Wanted("target", "", "pet.nii.gz")], Split(), "at least one --source"),
        ([*CT_TO_PET, CT_TO_PET[0]], Split(), "different names"),
        ([Wanted("sauce", "", "x"), *CT_TO_PET], Split(), "found 'sauce'"),
        ([Wanted("source", "", "*.nii.gz"), CT_TO_PET[1]], Split(), "fits several for the source"),
        ([Wanted("source", "", "mr.nii.gz"), CT_TO_PET[1]], Split(), "Case 'p001' was left out"),
        (CT_TO_PET, Split(0.6, 0.5), "leave subjects for training"),
        (CT_TO_PET, Split(folds=1), "at least 2 folds"),
        (CT_TO_PET, Split(folds=9), "9 folds need as many subjects; 5"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, wanted, split, message):
    with pytest.raises(InputError, match=message):
        make_manifest(patients(tmp_path), None, wanted, split=split)


def test_shares_that_leave_no_subject_for_training_are_refused(tmp_path):
    patients(tmp_path, ("Doe_Jane", "Roe_Richard"))
    with pytest.raises(InputError, match="leave a subject for training; of 2 they take 1 for test and 1 for valid"):
        make_manifest(tmp_path, None, CT_TO_PET, split=Split(0.5, 0.4))
    assert not (tmp_path / "manifest.csv").exists()


def test_a_manifest_elsewhere_or_there_already_is_refused(tmp_path):
    patients(tmp_path / "data")
    with pytest.raises(InputError, match="in the folder of its images or above"):
        make_manifest(tmp_path / "data", tmp_path / "other" / "manifest.csv", CT_TO_PET)
    make_manifest(tmp_path / "data", tmp_path / "manifest.csv", CT_TO_PET)
    with pytest.raises(InputError, match="there already"):
        make_manifest(tmp_path / "data", tmp_path / "manifest.csv", CT_TO_PET)


def test_patterns_are_read_with_their_names(capsys, tmp_path):
    with pytest.raises(InputError, match="NAME=PATTERN or PATTERN"):
        Wanted.parse("source", "ct=../elsewhere")
    assert run(["dataset", "make", str(patients(tmp_path)), "--source", "ct.nii.gz", "--target", "pet.nii.gz",
                "--as", "ct"]) == 2  # fmt: skip
    assert "--as must be NAME=MODALITY,UNIT; found 'ct'" in capsys.readouterr().err


def test_a_made_dataset_can_be_checked(tmp_path):
    for k in range(2):
        (tmp_path / f"patient-{k}").mkdir()
        array = np.zeros((12, 20, 20))
        array[:, 4:16, 4:16] = 2 + np.random.default_rng(k).random((12, 12, 12))
        for name in ("low", "full"):
            write_nifti(
                make_volume(array=array, unit=Unit.SUV_BODY_WEIGHT), tmp_path / f"patient-{k}" / f"{name}.nii.gz"
            )
    assert run(["dataset", "make", str(tmp_path), "--source", "low.nii.gz", "--target", "full.nii.gz"]) == 0
    assert run(["dataset", "check", str(tmp_path)]) == 0
