import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.data.manifest_cohort import cases_of

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
    ],
)
def test_wrong_rows_are_refused_by_line(tmp_path, old, new, message):
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


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
