import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.bids import find_bids_images, is_bids, select

NAMES = (
    "sub-01/ses-1/pet/sub-01_ses-1_rec-low_pet.nii.gz",
    "sub-01/ses-1/pet/sub-01_ses-1_rec-full_pet.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii",
    "sub-02/pet/sub-02_trc-fdg_rec-low_pet.nii.gz",
)


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_are_known_by_their_names(folder):
    assert is_bids(folder)
    images = {i.path.as_posix(): i for i in find_bids_images(folder)}
    assert set(images) == set(NAMES)
    low = images[NAMES[0]]
    assert (low.subject, low.session, low.suffix, low.modality) == ("01", "1", "pet", "PT")
    assert images[NAMES[2]].modality == "MR"
    assert images[NAMES[3]].session == ""


def test_images_are_chosen_by_suffix_and_entities(folder):
    images = find_bids_images(folder)
    assert [i.subject for i in select(images, "pet,rec-low")] == ["01", "02"]
    assert [i.subject for i in select(images, "pet,rec-low,trc-fdg")] == ["02"]
    assert len(select(images, "T1w")) == 1
    with pytest.raises(InputError, match=r"such as 'pet,rec-low'; found 'pet,rec=low'"):
        select(images, "pet,rec=low")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(InputError, match="none was found"):
        find_bids_images(tmp_path)
