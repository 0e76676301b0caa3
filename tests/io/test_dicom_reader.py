"""Reading series: values, geometry, choice of the series, and agreement with a second reader."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from nmsynth.core.errors import InputError, SuvError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.io import find_series, read
from nmsynth.io.dicom_reader import read_headers
from tests.io.dicom_factory import AXIAL, make_series, save_series, stored_pixels

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize("orientation", [AXIAL, (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, -1, 0), OBLIQUE, CORONAL])
@pytest.mark.parametrize("step_sign", [1, -1])
def test_voxels_and_geometry_are_those_of_simpleitk(tmp_path, orientation, step_sign):
    sitk = pytest.importorskip("SimpleITK")
    slices = make_series(slopes=[0.1, 0.2, 0.35, 1.5, 3.0], orientation=orientation, step_sign=step_sign)
    folder = save_series(slices, tmp_path)
    volume = read(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat64)
    image = reader.Execute()
    np.testing.assert_allclose(volume.array, sitk.GetArrayFromImage(image), rtol=1e-6)
    for index in [(0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 6), (3, 2, 1)]:
        expected = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose((volume.affine @ (*index, 1))[:3], expected, atol=1e-4)


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_transfer_syntaxes(tmp_path, transfer_syntax):
    plain = read(save_series(make_series(), tmp_path / "a"))
    folder = tmp_path / "b"
    folder.mkdir()
    for index, dataset in enumerate(make_series()):
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        if transfer_syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        content = Dataset()
        content.update(dataset)
        content.file_meta = dataset.file_meta
        content.save_as(
            folder / f"{index}.dcm",
            implicit_vr=transfer_syntax.is_implicit_VR,
            little_endian=transfer_syntax.is_little_endian,
            enforce_file_format=True,
        )
    volume = read(folder)
    np.testing.assert_array_equal(volume.array, plain.array)
    np.testing.assert_allclose(volume.to_suv().array, plain.to_suv().array)


def test_zone_of_an_acquisition_datetime(tmp_path):
    changes = {"AcquisitionDate": None, "AcquisitionTime": None, "AcquisitionDateTime": "20250101100000+0000"}
    plain = read(save_series(make_series(**changes), tmp_path / "a"))
    with pytest.raises(SuvError, match="time of the scan"):  # nothing says how its clock and that of the series differ
        plain.to_suv()
    unzoned = changes | {"AcquisitionDateTime": "20250101110000"}
    assert read(save_series(make_series(**unzoned), tmp_path / "c")).suv_rule.time_rule == "a"
    zoned = read(save_series(make_series(**changes, TimezoneOffsetFromUTC="+0100"), tmp_path / "b"))
    assert zoned.suv_rule.time_rule == "a"
    assert zoned.acquisition.acquisition_times == (zoned.acquisition.series_time,)


def test_zones_that_differ_between_slices_are_refused(tmp_path):
    slices = make_series(TimezoneOffsetFromUTC="+0100")
    del slices[2].TimezoneOffsetFromUTC
    with pytest.raises(UnsafeInputError, match="one TimezoneOffsetFromUTC"):
        read(save_series(slices, tmp_path))


def test_ct_is_in_hounsfield_units(tmp_path):
    stored = stored_pixels()
    volume = read(save_series(make_series("CT", stored=stored), tmp_path))
    assert (volume.modality, volume.unit, volume.suv_rule) == ("CT", Unit.HOUNSFIELD, None)
    np.testing.assert_array_equal(volume.array, stored - 1024.0)


def test_mr_is_relative(tmp_path):
    volume = read(save_series(make_series("MR"), tmp_path))
    assert (volume.modality, volume.unit) == ("MR", Unit.RELATIVE)


def test_several_series_need_a_choice(tmp_path):
    save_series(make_series(), tmp_path / "a")
    slices = make_series("CT", series=1)
    save_series(slices, tmp_path / "b")
    wanted = str(slices[0].SeriesInstanceUID)
    with pytest.raises(InputError, match=r"holds 2 series; choose one by series_uid.*Factory PT.*Factory CT") as caught:
        read(tmp_path)
    assert wanted in str(caught.value)
    assert read(tmp_path, series_uid=wanted).modality == "CT"


def test_find_series_describes_each(tmp_path):
    save_series(make_series(), tmp_path / "a")
    save_series(make_series("CT", spacing_mm=(2.0, 1.0, 1.0)), tmp_path / "b")
    found = {summary.modality: summary for summary in find_series(tmp_path)}
    assert (found["PT"].n_slices, found["PT"].spacing_mm) == (5, (3.0, 4.0, 5.0))
    assert found["CT"].spacing_mm == pytest.approx((2.0, 1.0, 1.0))
    assert found["CT"].description == "Factory CT"


def test_one_file_brings_its_series(tmp_path):
    save_series(make_series(), tmp_path)
    save_series(make_series(series=1), tmp_path, name="other-{}.dcm".format)
    volume = read(tmp_path / "slice-003.dcm")
    assert volume.shape == (5, 6, 7)
    assert any("One file was given" in warning for warning in volume.warnings)


def test_headers_are_in_the_order_of_the_volume(tmp_path):
    slices = make_series()
    volume = read(save_series(slices[::-1], tmp_path))
    headers = read_headers(tmp_path, volume.source.series_uid)
    assert [header.SOPInstanceUID for header in headers] == [dataset.SOPInstanceUID for dataset in slices]
    assert headers[0].PatientName == "PHANTOM^Works"
    assert "PixelData" not in headers[0]
    assert headers[0].file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_source_and_acquisition(tmp_path):
    volume = read(save_series(make_series(), tmp_path))
    scan = volume.acquisition
    assert (volume.source.format, volume.source.path) == ("dicom", tmp_path)
    assert (scan.radionuclide, scan.radiopharmaceutical, scan.injected_activity_bq) == ("F-18", "FDG", 368.08e6)
    assert (scan.body_mass_kg, scan.height_m, scan.sex, scan.patient_position) == (70.0, 1.75, "M", "HFS")
    assert scan.frame_durations_s == (300.0,)
    assert (scan.reference_time - scan.injection_time).total_seconds() == 3600.0


@pytest.mark.parametrize("options", [{"unit": "HU"}, {"modality": "CT"}])
def test_dicom_states_unit_and_modality(tmp_path, options):
    save_series(make_series(), tmp_path)
    with pytest.raises(InputError, match="is stated by DICOM"):
        read(tmp_path, **options)


def test_path_must_exist(tmp_path):
    with pytest.raises(InputError, match="must exist"):
        read(tmp_path / "nothing")


def test_synthetic_mark_is_read(tmp_path):
    volume = read(save_series(make_series(SyntheticData="YES"), tmp_path))
    assert volume.provenance.synthetic


def bare(path, *, meta):
    """Strip the preamble of a file, and its file meta information where ``meta`` is false."""
    content = path.read_bytes()
    start = 132 if meta else 132 + 12 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[start:])


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_preamble_are_read(tmp_path, transfer_syntax, meta):
    plain = read(save_series(make_series(), tmp_path / "plain"))
    slices = make_series()
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
    folder = save_series(slices, tmp_path / "bare")
    for path in folder.iterdir():
        bare(path, meta=meta)
    volume = read(folder)
    np.testing.assert_array_equal(volume.array, plain.array)
    assert volume.acquisition == plain.acquisition


def test_one_slice_without_preamble_is_not_lost(tmp_path):
    folder = save_series(make_series(), tmp_path)
    bare(folder / "slice-004.dcm", meta=True)
    assert read(folder).shape == (5, 6, 7)


def test_one_number_may_be_written_in_two_ways(tmp_path):
    slices = make_series()
    slices[2].PatientWeight = "70.00"
    slices[3].RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "3.6808E8"
    assert read(save_series(slices, tmp_path)).to_suv().unit is Unit.SUV_BODY_WEIGHT


def test_another_weight_in_one_slice_is_refused(tmp_path):
    slices = make_series()
    slices[2].PatientWeight = "71"
    with pytest.raises(UnsafeInputError, match="one PatientWeight"):
        read(save_series(slices, tmp_path))
