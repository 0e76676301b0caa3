"""A PET series of a phantom that reads back to what was simulated."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pydicom
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, NumericalError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.dicom_new import write_new_pet_series
from nmsynth.io.writing import write
from tests.helpers import make_volume

ACQUISITION = Acquisition(
    radionuclide="F-18",
    radiopharmaceutical="Fluorodeoxyglucose",
    half_life_s=6586.2,
    injected_activity_bq=370e6,
    injection_time=datetime(2025, 1, 1, 13, 1),
    reference_time=datetime(2025, 1, 1, 14, 1),
    decay_correction="START",
    corrections=("DECY", "ATTN", "SCAT", "RAN", "NORM", "DTIM"),
    body_mass_kg=70.0,
    height_m=1.75,
    sex="F",
    frame_durations_s=(180.0,),
    simulated_count_fraction=0.05,
)


def simulated(**fields):
    """Volume as the simulator gives it."""
    return make_volume(**{"acquisition": ACQUISITION, "provenance": Provenance(simulated=True), **fields})


def test_values_geometry_and_suv_read_back(tmp_path):
    volume = simulated()
    again = read(write_new_pet_series(volume, tmp_path / "out", seed_uid="one"))
    assert np.allclose(again.affine, volume.affine)
    assert np.allclose(again.array, volume.array, atol=volume.array.max() / 130000)
    assert again.unit is Unit.BQML
    factor = 70e3 / (370e6 * 2 ** (-3600 / 6586.2))
    assert np.allclose(again.to_suv().array, volume.array * factor, rtol=1e-3, atol=1e-3)
    for name in ("radionuclide", "half_life_s", "injected_activity_bq", "injection_time", "reference_time",
                 "decay_correction", "body_mass_kg", "height_m", "sex", "simulated_count_fraction"):  # fmt: skip
        assert getattr(again.acquisition, name) == getattr(ACQUISITION, name), name
    assert set(again.acquisition.corrections) == set(ACQUISITION.corrections)
    assert again.provenance.simulated
    assert again.suv_rule.time_rule == "a"
    assert again.warnings == ()


def test_one_seed_gives_one_file_and_scans_of_a_phantom_share_the_study(tmp_path):
    full = write_new_pet_series(simulated(), tmp_path / "full", seed_uid="p1 full", study_seed="p1")
    same = write_new_pet_series(simulated(), tmp_path / "same", seed_uid="p1 full", study_seed="p1")
    low = write_new_pet_series(simulated(), tmp_path / "low", seed_uid="p1 low", study_seed="p1", series_number=2)
    assert [p.read_bytes() for p in sorted(full.iterdir())] == [p.read_bytes() for p in sorted(same.iterdir())]
    one, other = (pydicom.dcmread(folder / "00001.dcm") for folder in (full, low))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert one[keyword].value == other[keyword].value
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID


def test_simulated_scan_is_marked(tmp_path):
    dataset = pydicom.dcmread(write_new_pet_series(simulated(), tmp_path / "o", seed_uid="x") / "00001.dcm")
    assert dataset.SyntheticData == "YES"
    assert dataset.SeriesDescription.startswith("SYNTHETIC, RESEARCH ONLY: simulated")
    assert str(dataset.PatientName) == "PHANTOM^NMSYNTH"
    assert dataset.Manufacturer == "nmsynth simulator"
    assert dataset.PatientID.startswith("PHANTOM-")
    assert "PatientBirthDate" in dataset


def test_oblique_grid_and_negative_values(tmp_path):
    volume = simulated(array=np.random.default_rng(0).normal(0, 100, (4, 5, 6)))
    affine = volume.affine.copy()
    c, s = np.cos(0.3), np.sin(0.3)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    again = read(write_new_pet_series(replace(volume, affine=affine), tmp_path / "o", seed_uid="x"))
    assert np.allclose(again.affine, affine, atol=1e-6)
    assert np.allclose(again.array, volume.array, atol=np.abs(volume.array).max() / 60000)


def test_suv_image_reads_back_as_suv(tmp_path):
    volume = simulated(unit=Unit.SUV_BODY_WEIGHT)
    again = read(write_new_pet_series(volume, tmp_path / "o", seed_uid="x"))
    assert again.unit is Unit.SUV_BODY_WEIGHT
    assert np.allclose(again.to_suv().array, volume.array, rtol=1e-3, atol=0.1)


def test_write_takes_a_simulated_volume_without_source(tmp_path):
    assert read(write(simulated(), tmp_path / "o")).shape == (6, 8, 10)


def test_a_simulated_series_can_be_derived_from(tmp_path):
    first = read(write(simulated(), tmp_path / "o"))
    derived = first.with_array(first.array, provenance=Provenance(synthetic=True, model="m 1"))
    again = read(write(derived, tmp_path / "p"))
    assert np.allclose(again.to_suv().array, first.to_suv().array, rtol=1e-3, atol=1e-3)
    assert again.provenance.model == "m 1"


def test_what_is_not_stated_is_left_empty(tmp_path):
    volume = simulated(acquisition=Acquisition(frame_durations_s=(180.0,)))
    dataset = pydicom.dcmread(write_new_pet_series(volume, tmp_path / "o", seed_uid="x") / "00001.dcm")
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    assert item.RadionuclideTotalDose is None
    assert "RadionuclideHalfLife" not in item
    assert "PatientWeight" not in dataset


def test_what_a_series_cannot_hold_is_refused(tmp_path):
    with pytest.raises(NumericalError, match="Nothing was written"):
        write_new_pet_series(simulated(array=np.full((2, 2, 2), np.nan)), tmp_path / "o", seed_uid="x")
    with pytest.raises(InputError, match="needs modality PT"):
        write_new_pet_series(simulated(modality="CT"), tmp_path / "o", seed_uid="x")
    for unit in (Unit.SUVR, Unit.INFLUX, Unit.PER_MINUTE):
        with pytest.raises(InputError, match="holds Bq/mL, an SUV, counts or relative values"):
            write_new_pet_series(simulated(unit=unit), tmp_path / "o", seed_uid="x")
    with pytest.raises(InputError, match="frame_durations_s, one or one a slice; found 0"):
        write_new_pet_series(simulated(acquisition=Acquisition()), tmp_path / "o", seed_uid="x")
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    with pytest.raises(InputError, match="right angles"):
        write_new_pet_series(simulated(affine=sheared), tmp_path / "o", seed_uid="x")
    assert list(tmp_path.iterdir()) == []
