import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.manifest import read_manifest

TEXT = """
[default.source]
modality = "CT"
unit = "HU"

[[case]]
id = "a-1"
subject = "a"
split = "train"
condition = { age_years = 61 }

[[case.image]]
role = "source"
path = "ct.nii.gz"

[[case.image]]
role = "target"
path = "pet.nii.gz"
modality = "PT"
unit = "SUVbw"
"""


def written(folder, text=TEXT):
    for name in ("ct.nii.gz", "pet.nii.gz"):
        (folder / name).touch()
    (folder / "manifest.toml").write_text(text)
    return folder


def test_toml_gives_the_rows_of_csv(tmp_path):
    source, target = read_manifest(written(tmp_path))
    assert (source.case, source.subject, source.split) == ("a-1", "a", "train")
    assert (source.modality, source.unit, target.modality, target.unit) == ("CT", "HU", "PT", "SUVbw")
    assert source.conditions == target.conditions == (("age_years", "61.0"),)


def test_subject_and_split_may_be_left_out(tmp_path):
    text = TEXT.replace('subject = "a"\n', "").replace('split = "train"\n', "")
    assert {(r.subject, r.split) for r in read_manifest(written(tmp_path, text))} == {("a-1", "train")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('role = "source"', 'role = "input"', "Image 1 of case 'a-1': 'role' must be one of source.*found 'input'"),
        ("subject =", "subjct =", "subjct.*subject"),
        ("[[case]]", "[[case", "must be TOML"),
        ('"ct.nii.gz"', '"gone.nii.gz"', "'gone.nii.gz' of case 'a-1' is not there"),
        ('path = "ct.nii.gz"\n', "", "path"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, TEXT.replace(old, new, 1)))


def test_a_split_is_stated_for_all_cases_or_none(tmp_path):
    second = '\n[[case]]\nid = "b"\n[[case.image]]\nrole = "source"\npath = "ct.nii.gz"\n'
    with pytest.raises(InputError, match="'b' has none"):
        read_manifest(written(tmp_path, TEXT + second))
    rows = read_manifest(written(tmp_path, 'split = "test"\n' + TEXT + second))
    assert [r.split for r in rows] == ["train", "train", "test"]
