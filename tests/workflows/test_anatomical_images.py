"""Studies with CT, MR, couch and misregistration; and studies without them, which stay what they were."""

import json

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.io import find_series, read
from nmsynth.workflows.anatomical_images import check_companions, companion_subject
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect

SMALL = SimulatePetSettings(voxel_mm=8.0, length_mm=64.0, seed=3, lesions=0)
SPECT = SimulateSpectSettings(
    voxel_mm=9.6, length_mm=48.0, n_views=8, n_iterations=1, n_subsets=2, lesions=0, seed=3
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A PET study with everything beside it, in DICOM."""
    output = tmp_path_factory.mktemp("pet") / "study"
    settings = SMALL.model_copy(update={"companions": ("ct", "mr", "couch", "misregistration")})
    return output, simulate_pet(settings, output)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same study without."""
    output = tmp_path_factory.mktemp("pet") / "study"
    return output, simulate_pet(SMALL, output)


def test_pet_ct_and_mr_are_one_patient_in_dicom(study):
    output, _ = study
    found = {s.modality: s for s in find_series(output)}
    assert sorted(found) == ["CT", "MR", "PT"]
    pet, ct, mr = (read(output / name) for name in ("pet", "ct", "mr"))
    assert (pet.unit.value, ct.unit.value, mr.unit.value) == ("Bq/mL", "HU", "relative")
    assert pet.acquisition.study_uid == ct.acquisition.study_uid == mr.acquisition.study_uid
    assert pet.acquisition.frame_of_reference_uid == ct.acquisition.frame_of_reference_uid
    assert ct.resample_to(pet, fill=-1000.0).has_grid_of(pet)
    assert ct.provenance.simulated


def test_reference_holds_the_same_images_and_the_attenuation(study):
    output, record = study
    volumes = {n: read(output / "reference" / f"{n}.nii.gz") for n in ("ct", "mr", "mu_map", "truth", "organs")}
    assert np.abs(volumes["ct"].array - read(output / "ct").array).max() <= 0.5
    assert volumes["mu_map"].unit.value == "1/cm"
    assert volumes["mu_map"].has_grid_of(volumes["truth"])
    muscle = volumes["organs"].array == 2
    assert np.median(volumes["mu_map"].array[muscle]) == pytest.approx(0.1007, abs=0.002)
    anatomy = json.loads((output / "reference" / "simulation.json").read_text())["anatomy"]
    assert anatomy == json.loads(json.dumps(record["anatomy"]))
    assert anatomy["ct"]["kvp"] == 120
    for name in ("ct", "mr"):
        motion = anatomy["misregistration"][name]
        assert 0 < motion["mean_mm"] <= motion["max_mm"]


def test_same_seed_gives_the_same_files(study, tmp_path):
    output, _ = study
    settings = SMALL.model_copy(update={"companions": ("ct", "mr", "couch", "misregistration")})
    simulate_pet(settings, tmp_path / "again")
    names = sorted(p.relative_to(output) for p in output.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    for name in names:
        assert (output / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_study_without_companions_is_what_it_was(plain):
    output, record = plain
    assert sorted(p.name for p in output.iterdir()) == [*(f"0000{k}.dcm" for k in range(1, 9)), "reference"]
    names = {p.name for p in (output / "reference").glob("*.nii.gz")}
    assert names == {f"{n}.nii.gz" for n in ("full_count", "noise_free", "truth", "mu_map", "lesions", "organs")}
    assert "anatomy" not in record
    assert "companions" not in record["settings"]
    # the text from which the UIDs follow
    assert "companions" not in SMALL.study_seed
    assert SMALL.study_seed != SMALL.model_copy(update={"companions": ("ct",)}).study_seed
    with_nothing = companion_subject(None, (), seed=0, z_range_mm=(0.0, 1.0), field_mm=1.0, tissues=True)
    assert with_nothing is None


def test_couch_and_tissues_take_photons(study, plain):
    """Truth is the same; the couch and the denser tissue attenuate more, and are corrected for."""
    truths = [read(folder / "reference" / "truth.nii.gz").array for folder, _ in (study, plain)]
    assert np.array_equal(*truths)
    body = truths[0] > 0.2 * truths[0].max()
    ones = [read(folder / "reference" / "noise_free.nii.gz").array for folder, _ in (study, plain)]
    assert not np.array_equal(*ones)
    assert ones[0][body].mean() == pytest.approx(ones[1][body].mean(), rel=0.1)


def test_objects_keep_their_attenuation(tmp_path):
    settings = SMALL.model_copy(
        update={"phantom": "cylinder", "length_mm": 72.0, "companions": ("ct", "couch"), "file_format": "nifti"}
    )
    record = simulate_pet(settings, tmp_path / "o")
    assert record["anatomy"]["tissues"] is None
    assert (tmp_path / "o" / "scan.nii.gz").is_file()
    ct = read(tmp_path / "o" / "reference" / "ct.nii.gz")
    middle = ct.array[:, 45:55, 45:55]
    assert middle.mean() == pytest.approx(0.0, abs=3.0)
    assert middle.std() == pytest.approx(18.0, rel=0.15)


def test_spect_has_its_companions_too(tmp_path):
    settings = SPECT.model_copy(update={"companions": ("ct", "mr-randomised", "couch")})
    record = simulate_spect(settings, tmp_path / "o")
    ct, mr = (read(tmp_path / "o" / "reference" / f"{n}.nii.gz") for n in ("ct", "mr"))
    assert ct.shape == mr.shape
    mu_map = read(tmp_path / "o" / "reference" / "mu_map.nii.gz")
    organs = read(tmp_path / "o" / "reference" / "organs.nii.gz")
    assert np.median(mu_map.array[organs.array == 2]) == pytest.approx(0.161, abs=0.004)
    assert record["anatomy"]["mr"]["t1_spread"] == 0.12
    assert record["settings"]["companions"] == ["ct", "mr-randomised", "couch"]


def test_companions_that_do_not_fit_are_refused(tmp_path):
    assert check_companions(("couch", "ct", "ct")) == ("ct", "couch")
    with pytest.raises(InputError, match="one MR"):
        check_companions(("mr", "mr-randomised"))
    with pytest.raises(InputError, match="neither was asked for"):
        check_companions(("couch", "misregistration"))
    with pytest.raises(InputError, match="beside the scan of a phantom"):
        simulate_pet(SMALL.model_copy(update={"source": tmp_path, "companions": ("ct",)}), tmp_path / "o")
    with pytest.raises(InputError, match="neither was asked for"):
        simulate_spect(SPECT.model_copy(update={"companions": ("misregistration",)}), tmp_path / "o")
    assert not (tmp_path / "o").exists()
