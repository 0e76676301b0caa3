"""Faults 36-53, 55 of the list: slices that do not form one image of one patient."""

import numpy as np
import pytest

from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.io import read
from tests.io.dicom_factory import make_nm, make_series, save_series, stored_pixels

SAGITTAL_OBLIQUE = (0.0, 0.8, 0.6, 0.0, -0.6, 0.8)


def refuse(folder, slices, match):
    with pytest.raises(UnsafeInputError, match=match):
        read(save_series(slices, folder))


def test_fault_36_missing_slice_is_named(tmp_path):
    slices = make_series()
    del slices[2]
    refuse(tmp_path, slices, r"without a gap; between slice-001\.dcm and slice-002\.dcm there are 6\.00 mm")


def test_fault_36_missing_end_is_said(tmp_path):
    volume = read(save_series(make_series()[:-1], tmp_path))
    assert "The series states 5 slices; 4 were found, without a gap." in volume.warnings


def test_fault_37_duplicate_position(tmp_path):
    slices = make_series()
    slices[3].ImagePositionPatient = slices[2].ImagePositionPatient
    refuse(tmp_path, slices, r"different positions; slice-002\.dcm and slice-003\.dcm")


def test_fault_38_single_slice(tmp_path):
    refuse(tmp_path, make_series()[:1], "at least two slices")


def test_fault_39_mixed_orientation(tmp_path):
    slices = make_series()
    slices[3].ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
    refuse(tmp_path, slices, r"one orientation; File slice-003\.dcm")


def test_fault_40_two_frames_of_reference(tmp_path):
    slices = make_series()
    slices[3].FrameOfReferenceUID = "1.2.3"
    refuse(tmp_path, slices, r"one frame of reference; file slice-003\.dcm")


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0.1, 1, 0], [2, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0]])
def test_fault_41_orientation_not_orthonormal(tmp_path, orientation):
    refuse(tmp_path, make_series(ImageOrientationPatient=orientation), "ImageOrientationPatient")


@pytest.mark.parametrize("position", [None, [1, 2]])
def test_fault_42_no_position(tmp_path, position):
    refuse(tmp_path, make_series(ImagePositionPatient=position), "ImagePositionPatient")


def test_fault_43_shuffled_and_reversed(tmp_path):
    slices = make_series()
    plain = read(save_series(slices, tmp_path / "a"))
    order = [3, 0, 4, 2, 1]
    shuffled = [slices[index] for index in order]
    for number, dataset in enumerate(shuffled):
        dataset.InstanceNumber = str(number)
    volume = read(save_series(shuffled, tmp_path / "b"))
    np.testing.assert_array_equal(volume.array, plain.array)
    np.testing.assert_array_equal(volume.affine, plain.affine)
    reversed_names = read(save_series(slices[::-1], tmp_path / "c"))
    np.testing.assert_array_equal(reversed_names.array, plain.array)


def test_fault_44_feet_first_prone(tmp_path):
    stored = stored_pixels()
    slices = make_series(stored=stored, orientation=(-1, 0, 0, 0, -1, 0), step_sign=-1, PatientPosition="FFP")
    volume = read(save_series(slices, tmp_path))
    np.testing.assert_array_equal(volume.array, stored[::-1] * np.float32(0.5))
    first = volume.affine @ (0, 0, 0, 1)
    np.testing.assert_allclose(first[:3], (-20.0, 10.0, 30.0 - 4 * 3.0))
    np.testing.assert_allclose(volume.affine[:3, 2], (-5.0, 0.0, 0.0))
    assert np.linalg.det(volume.affine[:3, :3]) < 0  # (z, y, x) order of a right-handed (x, y, z) grid


def test_fault_45_mixed_pixel_spacing(tmp_path):
    slices = make_series()
    slices[3].PixelSpacing = [4.0, 5.2]
    refuse(tmp_path, slices, r"one PixelSpacing; File slice-003\.dcm")


def test_fault_45_mixed_slice_spacing(tmp_path):
    slices = make_series()
    slices[4].ImagePositionPatient = [-20, 10, 43]
    refuse(tmp_path, slices, r"one spacing; between slice-003\.dcm and slice-004\.dcm")


def test_slices_off_the_line(tmp_path):
    slices = make_series()
    slices[2].ImagePositionPatient = [-18, 10, 36]
    refuse(tmp_path, slices, r"on one line; slice-002\.dcm")


def test_tilted_gantry(tmp_path):
    slices = make_series("CT")
    for index, dataset in enumerate(slices):
        dataset.ImagePositionPatient = [-20, 10 + index, 30 + 3 * index]
    refuse(tmp_path, slices, "tilted gantry")


def test_fault_46_mixed_matrix(tmp_path):
    slices = make_series()
    slices[3].Rows = 5
    refuse(tmp_path, slices, r"one matrix; file slice-003\.dcm")


@pytest.mark.parametrize(("number", "kind"), [(47, "DYNAMIC"), (48, "GATED")])
def test_fault_47_48_dynamic_and_gated_are_not_stacked(tmp_path, number, kind):
    refuse(tmp_path, make_series(SeriesType=[kind, "IMAGE"]), kind)


def test_fault_49_nm_vector_length(tmp_path):
    refuse(tmp_path, [make_nm(SliceVector=[1, 2, 3])], "SliceVector must have one value for each of 5 frames")


def test_fault_50_raw_projections(tmp_path):
    refuse(tmp_path, [make_nm(kind="TOMO")], "raw projections")


@pytest.mark.parametrize("changes", [{"EnergyWindowVector": [1, 1, 1, 2, 2]}, {"NumberOfEnergyWindows": 2}])
def test_fault_51_two_energy_windows(tmp_path, changes):
    refuse(tmp_path, [make_nm(kind="STATIC", **changes)], "Separate them")


@pytest.mark.parametrize(("sop_class", "name"), [("130", "enhanced PET"), ("128.1", "legacy converted enhanced PET")])
def test_fault_52_enhanced_pet(tmp_path, sop_class, name):
    refuse(tmp_path, make_series(SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop_class}"), name)


def test_fault_53_two_patients_in_a_series(tmp_path):
    slices = make_series()
    slices[3].PatientID = "OTHER-SECRET"
    with pytest.raises(UnsafeInputError, match=r"one patient; file slice-003\.dcm") as caught:
        read(save_series(slices, tmp_path))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("modality", ["CT", "NM", None])
def test_fault_55_modality_and_sop_class_disagree(tmp_path, modality):
    refuse(tmp_path, make_series(Modality=modality), "Modality and SOP class must agree")


@pytest.mark.parametrize("spacing_mm", [4.0, -4.0])
def test_nm_reconstruction_is_a_volume_in_counts(tmp_path, spacing_mm):
    stored = stored_pixels().astype(np.uint16)
    volume = read(save_series([make_nm(stored, spacing_mm=spacing_mm)], tmp_path))
    assert (volume.modality, volume.unit, volume.suv_rule) == ("NM", Unit.COUNTS, None)
    assert volume.acquisition.radionuclide == "Tc-99m"
    first_frame = 0 if spacing_mm > 0 else 4
    np.testing.assert_array_equal(volume.array[first_frame], stored[0])
    np.testing.assert_allclose((volume.affine @ (first_frame, 0, 0, 1))[:3], (-20.0, 10.0, 30.0))
    assert volume.spacing_mm == (4.0, 4.0, 5.0)


def test_planar_views(tmp_path):
    stored = stored_pixels((2, 6, 7)).astype(np.uint16)
    volume = read(save_series([make_nm(stored, kind="STATIC")], tmp_path))
    assert volume.axes == ("view", "y", "x")
    np.testing.assert_array_equal(volume.array, stored)


def test_fault_47_48_one_slice_of_another_series_type_is_refused(tmp_path):
    slices = make_series()
    slices[3].SeriesType = ["GATED", "IMAGE"]
    refuse(tmp_path, slices, r"slice-003\.dcm is GATED")


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "PatientBirthDate"])
def test_fault_53_two_patients_of_whom_one_attribute_differs(tmp_path, keyword):
    slices = make_series(PatientID="", PatientName="")
    setattr(slices[2], keyword, "19500101")
    with pytest.raises(UnsafeInputError, match=r"one patient; file slice-002\.dcm") as caught:
        read(save_series(slices, tmp_path))
    assert "1950" not in str(caught.value)


def test_one_name_may_be_written_in_two_ways(tmp_path):
    slices = make_series(PatientName="PHANTOM^Factory")
    slices[2].PatientName = "Phantom^Factory^^"
    assert read(save_series(slices, tmp_path)).shape == (5, 6, 7)
