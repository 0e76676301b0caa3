"""The test that counts: the SUV of what was written is the SUV of what was read."""

import json

import numpy as np
import pytest
from pydicom import dcmread

from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.io import read
from nmsynth.io.writing import write
from tests.io.dicom_factory import make_series, save_series

REFERENCE_OBJECTS = (
    "DRO_0_0", "DRO_2_0", "DRO_2_1", "DRO_2_2", "DRO_2_3", "DRO_2_5",
    "DRO_3_0", "DRO_3_1", "DRO_3_2", "DRO_3_4", "DRO_4_0", "DRO_4_1",
)  # fmt: skip
EXPECTED = {"DRO_2_3": (0.189, 0.985, 3.977)}


def _same_suv(first, second, kind="bw"):
    one, other = first.to_suv(kind).array, second.to_suv(kind).array
    assert np.allclose(other, one, rtol=1e-3, atol=one.max() / 60000)


@pytest.mark.parametrize("name", REFERENCE_OBJECTS)
def test_reference_object_keeps_its_suv(shared_data, tmp_path, name):
    volume = read(shared_data / "suv_dro" / name / "PT")
    again = read(write(volume, tmp_path / "out"))
    suv, suv_again = volume.to_suv().array, again.to_suv().array
    for value in EXPECTED.get(name, (0.2, 1.0, 4.0)):
        region = np.abs(suv - value) < 0.006
        assert region.sum() > 50
        assert suv_again[region].mean() == pytest.approx(suv[region].mean(), rel=1e-3)
        assert round(float(suv_again[region].mean()), 2 if name != "DRO_2_3" else 3) == value
    assert np.allclose(suv_again, suv, rtol=1e-3, atol=4.0 / 65535)
    assert np.array_equal(again.affine, volume.affine)


@pytest.mark.parametrize("kind", ["bw", "lbm-james", "lbm-janmahasatian", "bsa", "ibw"])
def test_every_kind_of_suv_can_be_written(tmp_path, kind):
    volume = read(save_series(make_series(), tmp_path / "source"))
    suv = volume.to_suv(kind)
    again = read(write(suv, tmp_path / "out"))
    assert again.unit is suv.unit
    assert np.allclose(again.array, suv.array, rtol=1e-3, atol=suv.array.max() / 60000)
    assert np.allclose(again.to_suv("bw").array, volume.to_suv("bw").array, rtol=1e-3, atol=1e-3)


def _ge(**changes):
    """Series whose time was changed after the scan, with the private decay time of GE before the acquisition."""
    slices = make_series(
        Manufacturer="GE MEDICAL SYSTEMS", SeriesTime="153000", FrameReferenceTime="5000000.0", **changes
    )
    for dataset in slices:
        block = dataset.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20250101105000.00")
    return slices


def test_private_time_of_ge_moves_into_the_series_time(tmp_path):
    volume = read(save_series(_ge(), tmp_path / "source"))
    assert volume.suv_rule.time_rule == "b"
    again = read(write(volume, tmp_path / "out"))
    assert again.suv_rule.time_rule == "a"
    assert again.acquisition.reference_time == volume.acquisition.reference_time
    _same_suv(volume, again)


def test_reference_after_the_acquisition_moves_with_the_values(tmp_path):
    slices = _ge(AcquisitionTime="104000")
    volume = read(save_series(slices, tmp_path / "source"))
    assert volume.suv_rule.time_rule == "b"
    again = read(write(volume, tmp_path / "out"))
    assert again.suv_rule.time_rule == "a"
    assert again.array.max() / volume.array.max() == pytest.approx(2 ** (600 / 6586.2), rel=1e-4)
    _same_suv(volume, again)


def test_back_computed_time_moves_into_the_series_time(tmp_path):
    volume = read(save_series(make_series(SeriesTime="153000", FrameReferenceTime="750000.0"), tmp_path / "source"))
    assert volume.suv_rule.time_rule == "c"
    again = read(write(volume, tmp_path / "out"))
    assert again.suv_rule.time_rule == "a"
    _same_suv(volume, again)


def test_injection_before_midnight_gets_its_date(tmp_path):
    slices = make_series(
        SeriesTime="003000",
        AcquisitionTime="003000",
        radiopharmaceutical={"RadiopharmaceuticalStartTime": "233000", "RadiopharmaceuticalStartDateTime": None},
    )
    volume = read(save_series(slices, tmp_path / "source"))
    again = read(write(volume, tmp_path / "out"))
    assert again.acquisition.injection_time == volume.acquisition.injection_time
    assert (again.acquisition.reference_time - again.acquisition.injection_time).total_seconds() == 3600
    _same_suv(volume, again)


def test_philips_counts_become_becquerels(tmp_path):
    slices = make_series(Units="CNTS", Manufacturer="Philips Medical Systems")
    for dataset in slices:
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.00025")
        block.add_new(0x09, "DS", "0.5")
    volume = read(save_series(slices, tmp_path / "source"))
    out = write(volume, tmp_path / "out")
    again = read(out)
    assert again.unit in (Unit.BQML, Unit.SUV_BODY_WEIGHT)
    _same_suv(volume, again)


def test_interpreted_sizes_are_written_in_the_units_of_dicom(tmp_path):
    slices = make_series(
        PatientWeight="70000", PatientSize="175", radiopharmaceutical={"RadionuclideTotalDose": "368.08"}
    )
    volume = read(save_series(slices, tmp_path / "source"))
    again = read(write(volume, tmp_path / "out"))
    _same_suv(volume, again)
    assert (again.acquisition.body_mass_kg, again.acquisition.height_m) == (70.0, 1.75)
    assert again.acquisition.injected_activity_bq == pytest.approx(368.08e6)


def test_image_without_attenuation_correction_gets_no_suv_by_being_written(tmp_path):
    volume = read(save_series(make_series(CorrectedImage=["DECY"]), tmp_path / "source"))
    again = read(write(volume, tmp_path / "out"))
    assert again.unit is volume.unit
    with pytest.raises(SuvError, match="ATTN"):
        again.to_suv()


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 0.8, 0.6), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("step_sign", [1, -1])
def test_oblique_and_flipped_grids_round_trip(tmp_path, orientation, step_sign):
    slices = make_series(orientation=orientation, step_sign=step_sign, PatientPosition=None)
    volume = read(save_series(slices, tmp_path / "source"))
    again = read(write(volume, tmp_path / "out"))
    assert np.array_equal(again.affine, volume.affine)
    assert np.allclose(again.array, volume.array, atol=volume.array.max() / 60000)


def test_derived_series_goes_through_nifti_with_its_suv(tmp_path):
    volume = read(save_series(make_series(), tmp_path / "source"))
    again = read(write(volume.with_array(volume.array, provenance=Provenance(synthetic=True)), tmp_path / "a.nii.gz"))
    assert np.array_equal(again.to_suv().array, volume.to_suv().array)
    assert again.provenance.synthetic
    assert again.acquisition == volume.acquisition


def test_real_series_keeps_its_suv(shared_data, tmp_path):
    volume = read(shared_data / "pet_wholebody_ge")
    again = read(write(volume, tmp_path / "out"))
    assert again.to_suv().array[:59].max() == pytest.approx(25.4123, abs=1e-4)
    assert np.array_equal(again.affine, volume.affine)
    peaks = volume.array.max(axis=(1, 2), keepdims=True)
    assert (np.abs(again.array - volume.array) <= peaks / 65535).all()


def test_header_of_the_source_is_not_changed(tmp_path):
    folder = save_series(make_series(), tmp_path / "source")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write(read(folder), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_suv_survives_where_no_acquisition_time_is_stated(tmp_path):
    """The private time is dropped; in nmsynth's own output the series time stands for it."""
    slices = _ge(AcquisitionTime=None, AcquisitionDate=None)
    volume = read(save_series(slices, tmp_path / "source"))
    assert volume.suv_rule.time_rule == "b"
    again = read(write(volume, tmp_path / "out"))
    assert again.suv_rule.time_rule == "a"
    _same_suv(volume, again)


def test_both_attributes_of_the_injection_say_one_time(tmp_path):
    """A reader that knows only RadiopharmaceuticalStartTime finds the injection that nmsynth found."""
    volume = read(
        save_series(make_series(radiopharmaceutical={"RadiopharmaceuticalStartTime": "093000"}), tmp_path / "source")
    )
    out = write(volume, tmp_path / "out")
    item = dcmread(out / "00001.dcm").RadiopharmaceuticalInformationSequence[0]
    assert item.RadiopharmaceuticalStartTime.startswith("100000")
    assert "RadiopharmaceuticalStartTime was 093000." in dcmread(out / "00001.dcm").DerivationDescription
    again = read(out)
    assert again.warnings == ()
    _same_suv(volume, again)


def test_zones_in_conflict_are_not_settled_by_being_written(tmp_path):
    slices = make_series(
        TimezoneOffsetFromUTC="+0100", radiopharmaceutical={"RadiopharmaceuticalStartDateTime": "20250101100000+0000"}
    )
    again = read(write(read(save_series(slices, tmp_path / "source")), tmp_path / "out"))
    with pytest.raises(SuvError, match="zone"):
        again.to_suv()


@pytest.mark.parametrize("value", [100, -100])
def test_a_uniform_slice_is_not_written_as_saturated(tmp_path, value):
    stored = np.full((4, 6, 7), 50, np.int16)
    stored[:, 0, 0] = value
    again = read(write(read(save_series(make_series(stored=stored), tmp_path / "source")), tmp_path / "out"))
    assert again.warnings == ()


def test_values_without_acquisition_take_that_of_the_source(tmp_path):
    """As after a NIfTI of another program: the private time of GE must not be lost."""
    volume = read(save_series(_ge(), tmp_path / "source"))
    bare = Volume(array=volume.array, affine=volume.affine, unit=Unit.BQML, modality="PT")
    again = read(write(bare, tmp_path / "out", source=tmp_path / "source"))
    assert again.suv_rule.time_rule == "a"
    _same_suv(volume, again)


@pytest.mark.parametrize(("unit", "units"), [(Unit.RELATIVE, "PROPCNTS"), (Unit.COUNTS, "CNTS")])
def test_values_without_scale_are_not_written_as_becquerels(tmp_path, unit, units):
    volume = read(save_series(make_series(), tmp_path / "source"))
    out = write(volume.with_array(volume.array, unit=unit), tmp_path / "out")
    assert dcmread(out / "00001.dcm").Units == units
    with pytest.raises(SuvError, match="SUV needs"):
        read(out).to_suv()


def test_values_that_pet_has_no_units_for_are_refused(tmp_path):
    volume = read(save_series(make_series(), tmp_path / "source"))
    with pytest.raises(InputError, match="these are in HU"):
        write(volume.with_array(volume.array, unit=Unit.HOUNSFIELD), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_patient_position_is_read_back_from_its_codes(tmp_path, position):
    volume = read(save_series(make_series(PatientPosition=position), tmp_path / "source"))
    out = write(volume, tmp_path / "out")
    assert "PatientPosition" not in dcmread(out / "00001.dcm")
    assert read(out).acquisition.patient_position == position


@pytest.mark.parametrize("absent", ["", None])
def test_refused_suv_stays_refused_where_no_acquisition_time_is_stated(tmp_path, absent):
    """Nothing says that the series time is the decay reference, before and after writing."""
    slices = make_series(AcquisitionDate=absent, AcquisitionTime=absent, SeriesTime="140000", FrameReferenceTime=None)
    volume = read(save_series(slices, tmp_path / "source"))
    again = read(write(volume, tmp_path / "out"))
    third = read(write(again, tmp_path / "again"))
    for image in (volume, again, third):
        with pytest.raises(SuvError, match="time of the scan"):
            image.to_suv()


def test_series_time_of_an_output_that_does_not_call_it_the_reference_is_not_believed(tmp_path):
    """As of a release that did not write it down."""
    volume = read(save_series(_ge(AcquisitionTime=None, AcquisitionDate=None), tmp_path / "source"))
    out = write(volume, tmp_path / "out")
    for path in out.iterdir():
        dataset = dcmread(path)
        item = dataset.ContributingEquipmentSequence[-1]
        item.ContributionDescription = item.ContributionDescription.replace('"decay_reference":"series time",', "")
        dataset.save_as(path)
    with pytest.raises(SuvError, match="time of the scan"):
        read(out).to_suv()


def test_decay_factor_and_frame_time_follow_a_reference_that_moves(tmp_path):
    slices = _ge(AcquisitionTime="104000", DecayFactor="1.25")
    slices[2].DecayFactor, slices[3].DecayFactor = "1.5", None
    out = write(read(save_series(slices, tmp_path / "source")), tmp_path / "out")
    written = [dcmread(path) for path in sorted(out.iterdir())]
    scale = 2 ** (600 / 6586.2)
    assert float(written[0].DecayFactor) == pytest.approx(1.25 * scale)
    assert float(written[2].DecayFactor) == pytest.approx(1.5 * scale)
    assert not written[3].get("DecayFactor")
    assert all(float(dataset.FrameReferenceTime) == 5000000.0 + 600000.0 for dataset in written)


def test_decay_factor_of_a_reference_that_stays_is_that_of_the_source(tmp_path):
    slices = make_series(DecayFactor="1.25")
    out = write(read(save_series(slices, tmp_path / "source")), tmp_path / "out")
    assert {(str(d.DecayFactor), str(d.FrameReferenceTime)) for d in map(dcmread, out.iterdir())} == {
        ("1.25", "150000.0")
    }


def test_suv_of_an_uncorrected_image_is_written_as_corrected_to_the_injection(tmp_path):
    slices = make_series(DecayCorrection="NONE", DecayFactor=None, CorrectedImage=["NORM", "ATTN"])
    for index, dataset in enumerate(slices):
        dataset.AcquisitionTime = f"11{10 * index:02d}00"
    volume = read(save_series(slices, tmp_path / "source"))
    suv = volume.to_suv()
    out = write(suv, tmp_path / "out")
    written = [dcmread(path) for path in sorted(out.iterdir())]
    assert {dataset.DecayCorrection for dataset in written} == {"ADMIN"}
    assert all("DECY" in dataset.CorrectedImage and "ATTN" in dataset.CorrectedImage for dataset in written)
    factors = [float(dataset.DecayFactor) for dataset in written]
    assert factors == pytest.approx(volume.suv_rule.slice_decay)
    assert factors[1] / factors[0] == pytest.approx(2 ** (600 / 6586.2))
    _same_suv(volume, read(out))
    record = json.loads((write(suv, tmp_path / "a.nii.gz").parent / "a.json").read_text())
    assert (record["ImageDecayCorrected"], record["ImageDecayCorrectionTime"]) == (True, 0.0)
    record = json.loads((write(volume, tmp_path / "b.nii.gz").parent / "b.json").read_text())
    assert record["ImageDecayCorrected"] is False
    assert "ImageDecayCorrectionTime" not in record
    assert dcmread(write(volume, tmp_path / "raw") / "00001.dcm").DecayCorrection == "NONE"


def test_sidecar_of_an_image_corrected_to_the_injection_says_so(tmp_path):
    volume = read(save_series(make_series(DecayCorrection="ADMIN"), tmp_path / "source"))
    write(volume, tmp_path / "a.nii.gz")
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["ImageDecayCorrected"], record["ImageDecayCorrectionTime"]) == (True, 0.0)
    del record["nmsynth"]
    (tmp_path / "a.json").write_text(json.dumps(record | {"AttenuationCorrection": "CT-based"}))
    other = read(tmp_path / "a.nii.gz")
    assert other.acquisition.decay_correction == "ADMIN"
