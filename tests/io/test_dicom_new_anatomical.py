"""CT and MR series of a phantom that read back, beside the PET of the same study."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, NumericalError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.dicom_new import write_new_pet_series
from nmsynth.io.dicom_new_anatomical import write_new_anatomical_series
from tests.helpers import make_volume, require_peer
from tests.io.test_dicom_new import ACQUISITION, simulated
from tests.io.validators import errors_of, missing_attributes

SCANS = {
    "CT": {"image": "CT", "kvp": 120},
    "MR": {"image": "T1-like MR", "repetition_ms": 18.0, "echo_ms": 3.0, "flip_deg": 25.0, "field_t": 1.5},
}


def _anatomical(modality, **fields):
    values = np.random.default_rng(1).uniform(-1024 if modality == "CT" else 0, 3000, (6, 16, 20)).round()
    stated = Acquisition(
        sex="F", body_mass_kg=70.0, height_m=1.75, series_time=ACQUISITION.reference_time, patient_position="HFS"
    )
    given = {
        "array": values,
        "spacing_mm": (3.0, 2.0, 2.5),
        "unit": Unit.HOUNSFIELD if modality == "CT" else Unit.RELATIVE,
        "modality": modality,
        "acquisition": stated,
        "provenance": Provenance(simulated=True, settings=SCANS[modality]),
    }
    return make_volume(**{**given, **fields})


@pytest.fixture(scope="module", params=["CT", "MR"])
def series(request, tmp_path_factory):
    """Volume, and the folder that was written from it."""
    volume = _anatomical(request.param)
    folder = tmp_path_factory.mktemp(request.param) / "out"
    return volume, write_new_anatomical_series(volume, folder, seed_uid="p1 image", study_seed="p1")


def test_values_geometry_and_unit_read_back(series):
    volume, folder = series
    again = read(folder)
    assert np.array_equal(again.array, volume.array)
    assert np.allclose(again.affine, volume.affine)
    assert (again.unit, again.modality) == (volume.unit, volume.modality)
    assert again.provenance.simulated
    assert again.warnings == ()


def test_pet_ct_and_mr_are_one_study_in_one_frame_of_reference(series, tmp_path):
    volume, folder = series
    pet = pydicom.dcmread(write_new_pet_series(simulated(), tmp_path / "p", seed_uid="p1 pet", study_seed="p1")
                          / "00001.dcm")  # fmt: skip
    other = pydicom.dcmread(folder / "00001.dcm")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientSex", "StudyDate",
                    "StudyTime", "StudyID", "PatientWeight"):  # fmt: skip
        assert pet[keyword].value == other[keyword].value, keyword
    assert pet.SeriesInstanceUID != other.SeriesInstanceUID
    assert other.Modality == volume.modality


def test_image_is_marked_and_states_its_scan(series):
    volume, folder = series
    dataset = pydicom.dcmread(folder / "00001.dcm")
    assert dataset.SyntheticData == "YES"
    assert dataset.SeriesDescription.startswith("SYNTHETIC, RESEARCH ONLY: simulated")
    if volume.modality == "CT":
        assert (dataset.KVP, dataset.RescaleSlope, dataset.RescaleType) == (120, 1, "HU")
    else:
        assert (dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle) == (18, 3, 25)
        assert "RescaleSlope" not in dataset


def test_one_seed_gives_one_file(series, tmp_path):
    volume, folder = series
    same = write_new_anatomical_series(volume, tmp_path / "same", seed_uid="p1 image", study_seed="p1")
    assert [p.read_bytes() for p in sorted(folder.iterdir())] == [p.read_bytes() for p in sorted(same.iterdir())]


def test_what_a_series_cannot_hold_is_refused(tmp_path):
    def write(volume):
        return write_new_anatomical_series(volume, tmp_path / "out", seed_uid="a", study_seed="b")

    with pytest.raises(InputError, match="modality CT or MR"):
        write(simulated())
    with pytest.raises(InputError, match="needs the unit 'HU'"):
        write(_anatomical("CT", unit=Unit.PER_CENTIMETRE))
    with pytest.raises(InputError, match="values from 0 to 65535"):
        write(_anatomical("MR", array=np.full((2, 2, 2), -5.0)))
    with pytest.raises(NumericalError, match="Nothing was written"):
        write(_anatomical("CT", array=np.full((2, 2, 2), np.nan)))
    affine = _anatomical("CT").affine.copy()
    affine[0, 1] = 1.0
    with pytest.raises(InputError, match="right angles"):
        write(replace(_anatomical("CT"), affine=affine))
    assert not (tmp_path / "out").exists()


def test_validators_find_no_error(series, tmp_path):
    _, folder = series
    files = sorted(folder.iterdir())
    assert errors_of(require_peer("dciodvfy"), files[:1]) == []
    pet = write_new_pet_series(simulated(), tmp_path / "p", seed_uid="p1 pet", study_seed="p1")
    assert errors_of(require_peer("dcentvfy"), [*files, *sorted(pet.iterdir())]) == []


def test_required_attributes_are_there(series):
    volume, out = series
    dataset = pydicom.dcmread(sorted(out.iterdir())[0])
    assert missing_attributes(dataset, {"CT": "ct-image", "MR": "mr-image"}[volume.modality]) == []


def test_simpleitk_reads_the_same_voxels_and_geometry(series):
    sitk = pytest.importorskip("SimpleITK")
    volume, out = series
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(out)), sitk.sitkFloat64)
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array)
    assert image.GetSpacing() == pytest.approx(volume.spacing_mm[::-1])
