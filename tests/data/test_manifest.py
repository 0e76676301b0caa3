from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import InputError, SuvError
from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.data.manifest_cohort import cases_of, import_case
from tests.helpers import make_volume

ROWS = [
    ManifestRow("c1", "s1", "train", "source", "scan", "a.nii.gz", 0.25, "PT", "Bq/mL"),
    ManifestRow("c1", "s1", "train", "target", "full", "b.nii.gz", None, "PT", "Bq/mL"),
]


def written(folder, rows=ROWS):
    for row in rows:
        (folder / row.path).touch()
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def test_rows_survive_a_round_trip(tmp_path):
    assert read_manifest(written(tmp_path)) == ROWS
    assert read_manifest(tmp_path) == ROWS


def test_optional_columns_may_be_absent(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "manifest.csv").write_text("case,subject,split,role,path\nc,s,test,source,a.nii.gz\n")
    assert read_manifest(tmp_path)[0].count_fraction is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source", "input", "'role' must be one of source, condition, target.*found 'input'"),
        ("train", "training", "'split' must be one of train, validation, test"),
        ("0.25", "25", "count fraction must lie above 0 and at most at 1; found '25'"),
        ("0.25", "many", "count fraction must lie above 0"),
        ("a.nii.gz", "../a.nii.gz", "must lie below the manifest's folder"),
        ("a.nii.gz", "gone.nii.gz", "Line 2 of the manifest: the image 'gone.nii.gz' of case 'c1' is not there"),
        ("c1,s1,train,source", "c1,,train,source", "needs a value for 'subject'"),
        ("subject", "patient", "missing: subject"),
        ("c1,", "site/c1,", r"Line 2 of the manifest: a case is the name of files, .*; found 'site/c1'. Rename it"),
        ("c1,", r"site\c1,", "a case is the name of files"),
        ("c1,", ".c1,", "not beginning with a dot"),
        ("c1,", "c" * 201 + ",", "of at most 200 characters"),
        (
            "a.nii.gz",
            r"p\a.nii.gz",
            "Line 2 of the manifest: a path is written with slashes; that of 'a.nii.gz' of case",
        ),
    ],
)
def test_wrong_rows_are_refused_by_line(tmp_path, old, new, message):
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


@pytest.mark.parametrize("line", [",,,,,,,,", " ,, ,", ",,,,,,,,,,,,,", ""])
def test_lines_of_empty_cells_are_not_read(tmp_path, line):
    path = written(tmp_path)
    path.write_text(path.read_text().replace("\n", f"\n{line}\n", 1) + line + "\r\n")
    assert read_manifest(path) == ROWS
    path.write_text(path.read_text().replace("train", "training"))
    with pytest.raises(InputError, match="Line 3 of the manifest: 'split' must be"):
        read_manifest(path)


@pytest.mark.parametrize("unsaid", ["", " ", "NA", "n/a", "NaN", "nan"])
def test_a_condition_may_be_unsaid(tmp_path, unsaid):
    rows = [replace(ROWS[0], conditions=(("age", "61"),)), replace(ROWS[1], conditions=(("age", "62"),))]
    path = written(tmp_path, rows)
    path.write_text(path.read_text().replace("62", unsaid))
    assert [row.facts for row in read_manifest(path)] == [{"age": "61"}, {}]


def test_a_subject_in_two_splits_is_refused(tmp_path):
    rows = [*ROWS, ManifestRow("c2", "s1", "validation", "source", "scan", "c.nii.gz")]
    with pytest.raises(InputError, match="'s1' is in 'train' and 'validation'"):
        read_manifest(written(tmp_path, rows))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(InputError, match=r"'manifest.csv' is not there"):
        read_manifest(tmp_path)


def test_a_case_needs_one_target():
    with pytest.raises(InputError, match="'c1' has 1 and 0"):
        cases_of(ROWS[:1])


def test_a_case_has_one_subject():
    other = ManifestRow("c1", "s2", "train", "truth", "truth", "c.nii.gz")
    with pytest.raises(InputError, match="one subject and one split; 'c1' names several"):
        cases_of([*ROWS, other])


def test_without_a_split_all_is_for_training(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "manifest.csv").write_text("case,subject,role,path\nc,s,source,a.nii.gz\n")
    assert read_manifest(tmp_path)[0].split == "train"


def test_a_bids_dataset_is_told_how_to_get_its_manifest(tmp_path):
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="BIDS dataset gets one by 'nmsynth dataset make"):
        read_manifest(tmp_path)


def test_bare_images_are_imported_as_the_manifest_states_them(tmp_path):
    import nibabel

    array = make_volume((4, 6, 6)).array
    for name, values in (("low", array), ("full", array + 1), ("lesions", (array > 1).astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)), tmp_path / f"{name}.nii.gz")
    rows = [
        ManifestRow("c1", "s1", "train", "source", "low", "low.nii.gz", 0.25, "PT", "SUVbw"),
        ManifestRow("c1", "s1", "train", "target", "", "full.nii.gz", None, "PT", "SUVbw"),
        ManifestRow("c1", "s1", "train", "mask", "lesions", "lesions.nii.gz"),
    ]
    import_case("c1", rows, tmp_path, tmp_path / "out")
    assert list((tmp_path / "out").rglob("*c1*"))
    bare = [replace(rows[0], unit="Bq/mL"), *rows[1:]]
    with pytest.raises(SuvError, match="Case 'c1', source 'low': An SUV needs the injected activity"):
        import_case("c1", bare, tmp_path, tmp_path / "again")
