"""NIfTI in and out, and the sidecar that carries what NIfTI cannot."""

import gzip
import json
from datetime import datetime, timedelta, timezone

import nibabel
import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition, Frame
from nmsynth.core.errors import InputError, NumericalError, SuvError, UnsafeInputError
from nmsynth.core.geometry import affine_from_axes, to_world
from nmsynth.core.provenance import Provenance
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.io.nifti import read_nifti, write_nifti
from nmsynth.io.sidecar import sidecar_path
from tests.helpers import make_volume

ACQUISITION = Acquisition(
    radionuclide="F-18",
    radiopharmaceutical="Fluorodeoxyglucose",
    half_life_s=6586.2,
    injected_activity_bq=370e6,
    injection_time=datetime(2025, 1, 1, 13, 1),
    reference_time=datetime(2025, 1, 1, 14, 1),
    decay_correction="START",
    corrections=("DECY", "ATTN"),
    body_mass_kg=70.0,
    height_m=1.75,
    sex="F",
    acquisition_times=(datetime(2025, 1, 1, 14, 1, 0, 250000),),
    frame_reference_times_s=(90.0,),
    frame_durations_s=(180.0,),
    simulated_count_fraction=0.05,
)


def _rotation(angles):
    a, b, c = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _oblique():
    affine = affine_from_axes(spacing_mm=(3.27, 4.6875, 2.1), origin_mm=(-297.65625, 11.1, -1234.567))
    affine[:3, :3] = _rotation((0.2, -0.1, 0.3)) @ affine[:3, :3]
    return affine


def _flipped():
    affine = affine_from_axes(spacing_mm=(3.0, 4.0, 5.0))
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    return affine


GRIDS = {"anisotropic": affine_from_axes(spacing_mm=(3.0, 4.0, 5.0)), "oblique": _oblique(), "flipped": _flipped()}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("grid", GRIDS)
def test_values_and_grid_round_trip(tmp_path, grid, ending):
    volume = make_volume((3, 4, 5), affine=GRIDS[grid])
    path = write_nifti(volume, tmp_path / f"image{ending}")
    again = read_nifti(path)
    assert np.array_equal(again.array, volume.array)
    assert np.array_equal(again.affine, volume.affine)
    assert again.sha256 == volume.sha256
    assert again.warnings == ()


@pytest.mark.parametrize("grid", GRIDS)
def test_nibabel_finds_every_voxel_where_it_is(tmp_path, grid):
    volume = make_volume((3, 4, 5), affine=GRIDS[grid])
    image = nibabel.load(write_nifti(volume, tmp_path / "image.nii.gz"))
    z, y, x = 2, 1, 4
    assert image.dataobj[x, y, z] == pytest.approx(volume.array[z, y, x], rel=1e-6)
    ras = (image.affine @ (x, y, z, 1.0))[:3]
    assert ras * (-1, -1, 1) == pytest.approx(to_world(volume.affine, [(z, y, x)])[0], abs=1e-3)
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.float32


def test_simpleitk_reads_the_same_voxels_and_geometry(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    volume = make_volume((3, 4, 5), affine=GRIDS["oblique"])
    image = sitk.ReadImage(str(write_nifti(volume, tmp_path / "image.nii.gz")))
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array)
    assert image.TransformIndexToPhysicalPoint((4, 1, 2)) == pytest.approx(
        to_world(volume.affine, [(2, 1, 4)])[0], abs=1e-3
    )


def test_everything_survives_in_the_sidecar(tmp_path):
    volume = make_volume(
        acquisition=ACQUISITION,
        provenance=Provenance(
            synthetic=True,
            model="lowcount-pet 1.0.0",
            model_sha256="ab" * 32,
            parents=("1.2.3",),
            settings={"s": [1, "a"]},
        ),
        warnings=("one", "two"),
        suv_rule=SuvRule(time_rule="c", decay_rule="START", notes=("said",)),
    )
    again = read_nifti(write_nifti(volume, tmp_path / "image.nii.gz"))
    for name in ("acquisition", "provenance", "warnings", "suv_rule", "unit", "modality", "frames", "axes"):
        assert getattr(again, name) == getattr(volume, name), name
    assert np.array_equal(again.to_suv("bw").array, volume.to_suv("bw").array)


def test_times_keep_their_zone(tmp_path):
    zone = timezone(timedelta(hours=-3))
    acquisition = Acquisition(injection_time=datetime(2025, 1, 1, 23, 0, tzinfo=zone))
    again = read_nifti(write_nifti(make_volume(acquisition=acquisition), tmp_path / "image.nii"))
    assert again.acquisition == acquisition


def test_sidecar_has_bids_names_and_no_identity(tmp_path):
    path = write_nifti(
        make_volume(acquisition=ACQUISITION, provenance=Provenance(simulated=True)), tmp_path / "i.nii.gz"
    )
    text = sidecar_path(path).read_text()
    record = json.loads(text)
    assert record["InjectedRadioactivity"] == 370e6
    assert record["InjectedRadioactivityUnits"] == "Bq"
    assert record["TracerRadionuclide"] == "F18"
    assert record["Units"] == "Bq/mL"
    assert record["TimeZero"] == "13:01:00"
    assert record["ImageDecayCorrectionTime"] == 3600.0
    assert record["BodyWeight"] == 70.0
    assert record["FrameDuration"] == [180.0]
    assert record["nmsynth"]["schema_version"] == 1
    assert "PatientName" not in text
    assert "PatientID" not in text
    assert "SYNTHETIC" in record["ImageComments"]
    assert b"SYNTHETIC" in nibabel.load(path).header["descrip"].item()


def test_frames_stay_in_front(tmp_path):
    frames = (Frame(0.0, 60.0), Frame(60.0, 60.0))
    volume = make_volume((2, 3, 4, 5), axes=("frame", "z", "y", "x"), frames=frames)
    path = write_nifti(volume, tmp_path / "image.nii.gz")
    assert nibabel.load(path).shape == (5, 4, 3, 2)
    again = read_nifti(path)
    assert again.axes == volume.axes
    assert again.frames == frames
    assert np.array_equal(again.array, volume.array)


def test_one_volume_writes_the_same_bytes_twice(tmp_path):
    volume = make_volume()
    first = write_nifti(volume, tmp_path / "a.nii.gz").read_bytes()
    assert first == write_nifti(volume, tmp_path / "b.nii.gz").read_bytes()


def _foreign(path, affine=None, array=None, **header):
    image = nibabel.Nifti1Image(np.ones((5, 4, 3), np.float32) if array is None else array, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def test_without_a_sidecar_unit_and_modality_are_needed(tmp_path):
    path = _foreign(tmp_path / "foreign.nii.gz", np.eye(4))
    with pytest.raises(InputError, match=r"needs unit and modality.*; unit and modality not given"):
        read_nifti(path)
    with pytest.raises(InputError, match="modality not given"):
        read_nifti(path, unit="Bq/mL")
    with pytest.raises(InputError, match=r"unit must be one of .* found 'becquerels'"):
        read_nifti(path, unit="becquerels", modality="PT")
    with pytest.raises(InputError, match="modality must be one of PT, NM, CT, MR"):
        read_nifti(path, unit="HU", modality="XX")
    volume = read_nifti(path, unit="HU", modality="CT")
    assert (volume.unit, volume.modality) == (Unit.HOUNSFIELD, "CT")


def test_the_caller_may_not_contradict_the_sidecar(tmp_path):
    path = write_nifti(make_volume(), tmp_path / "image.nii")
    with pytest.raises(InputError, match="unit must be that of the sidecar"):
        read_nifti(path, unit="HU")
    assert read_nifti(path, unit="Bq/mL", modality="PT").unit is Unit.BQML


def test_axes_of_a_sagittal_image_are_permuted_to_z_y_x(tmp_path):
    array = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -7.0, -6.0, 5.0, 1.0  # i to -A, j to -S, k to R
    volume = read_nifti(_foreign(tmp_path / "sagittal.nii", affine, array), unit="HU", modality="CT")
    assert volume.shape == (3, 2, 4)
    assert volume.spacing_mm == pytest.approx((6.0, 7.0, 5.0))
    assert volume.array[2, 1, 3] == array[1, 2, 3]
    ras = affine @ (1, 2, 3, 1.0)
    assert to_world(volume.affine, [(2, 1, 3)])[0] == pytest.approx(ras[:3] * (-1, -1, 1))


def test_bids_sidecar_of_another_program_states_the_unit(tmp_path):
    path = _foreign(tmp_path / "pet.nii.gz", np.eye(4))
    record = {"Modality": "PT", "Units": "kBq/mL", "TracerRadionuclide": "F18", "InjectedRadioactivity": 370,
              "InjectedRadioactivityUnits": "MBq"}  # fmt: skip
    (tmp_path / "pet.json").write_text(json.dumps(record))
    volume = read_nifti(path)
    assert volume.unit is Unit.BQML
    assert volume.array.max() == 1000.0
    assert volume.acquisition.radionuclide == "F-18"
    assert volume.acquisition.injected_activity_bq == 370e6


def test_metres_become_millimetres(tmp_path):
    path = _foreign(tmp_path / "a.nii", np.diag([0.002, 0.002, 0.003, 1.0]), xyzt_units=1)
    assert read_nifti(path, unit="HU", modality="CT").spacing_mm == pytest.approx((3.0, 2.0, 2.0))


def test_no_orientation_is_said(tmp_path):
    path = _foreign(tmp_path / "a.nii", None)
    assert any("no orientation" in said for said in read_nifti(path, unit="HU", modality="CT").warnings)


def test_changed_values_are_said(tmp_path):
    path = write_nifti(make_volume(), tmp_path / "image.nii")
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) * 2, image.affine, image.header), path)
    assert any("changed after nmsynth wrote" in said for said in read_nifti(path).warnings)


@pytest.mark.parametrize("kept", [0, 100, 351, 700])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_truncated_file_is_refused(tmp_path, ending, kept):
    path = write_nifti(make_volume((8, 16, 16)), tmp_path / f"image{ending}")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnsafeInputError, match="must be whole"):
        read_nifti(path)


def test_truncated_stream_and_broken_checksum_are_refused(tmp_path):
    path = write_nifti(make_volume((8, 16, 16)), tmp_path / "image.nii.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UnsafeInputError, match="must be whole"):
        read_nifti(path)
    path.write_bytes(b"\x89PNG" + bytes(400))
    with pytest.raises(UnsafeInputError, match="must be whole"):
        read_nifti(path)


def _header(**fields):
    header = nibabel.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock


def test_claimed_sizes_are_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    huge = _header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    path.write_bytes(gzip.compress(huge + bytes(4 + 256)))
    with pytest.raises(UnsafeInputError, match="at most"):
        read_nifti(path, unit="HU", modality="CT")
    path.write_bytes(gzip.compress(_header(dim=[3, 1000, 1000, 500, 1, 1, 1, 1]) + bytes(4 + 256)))
    with pytest.raises(UnsafeInputError, match="more than the file can hold"):
        read_nifti(path, unit="HU", modality="CT")
    path.write_bytes(gzip.compress(_header(vox_offset=2e9) + bytes(4 + 256)))
    with pytest.raises(UnsafeInputError, match="do not begin where a header ends"):
        read_nifti(path, unit="HU", modality="CT")


def test_bytes_after_the_voxels_are_never_inflated(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(_header(sform_code=1) + bytes(4 + 256)) + gzip.compress(bytes(50_000_000)))
    header = nibabel.Nifti1Header(_header(), check=False)
    assert header["vox_offset"] == 352
    path_affine = _header(sform_code=1, srow_x=[1, 0, 0, 0], srow_y=[0, 1, 0, 0], srow_z=[0, 0, 1, 0])
    path.write_bytes(gzip.compress(path_affine + bytes(4 + 256)) + gzip.compress(bytes(50_000_000)))
    assert read_nifti(path, unit="HU", modality="CT").shape == (4, 4, 4)


def test_values_that_are_not_numbers_are_refused(tmp_path):
    array = np.ones((5, 4, 3), np.float32)
    array[1, 2, 0] = np.nan
    path = _foreign(tmp_path / "a.nii.gz", np.eye(4), array)
    with pytest.raises(UnsafeInputError, match="1 NaN"):
        read_nifti(path, unit="HU", modality="CT")
    path = _foreign(tmp_path / "b.nii.gz", np.eye(4), np.ones((5, 4, 3), np.complex64))
    with pytest.raises(UnsafeInputError, match="real numbers"):
        read_nifti(path, unit="HU", modality="CT")
    path = _foreign(tmp_path / "c.nii.gz", np.eye(4), np.ones((5, 4, 3, 2, 2), np.float32))
    with pytest.raises(UnsafeInputError, match="3 or 4 dimensions"):
        read_nifti(path, unit="HU", modality="CT")


def _edit(path, **changes):
    beside = sidecar_path(path)
    record = json.loads(beside.read_text())
    record["nmsynth"].update(changes)
    beside.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema_version": 99}, "schema_version must be 1; found 99"),
        ({"shape": [9, 9, 9]}, "must belong to the image"),
        ({"affine_lps_mm": np.eye(4).tolist()}, "must belong to the image"),
        ({"affine_lps_mm": [[1]]}, "values of the right kind"),
        ({"unit": "becquerels"}, "values of the right kind"),
        ({"acquisition": {"patient_name": "X"}}, "unknown acquisition field"),
        ({"acquisition": {"half_life_s": "long"}}, "impossible value"),
        ({"provenance": {"synthetic": "yes"}}, "true or false"),
        ({"frames": [[1]]}, "values of the right kind"),
    ],
)
def test_wrong_sidecar_is_refused(tmp_path, changes, match):
    path = write_nifti(make_volume(), tmp_path / "image.nii")
    _edit(path, **changes)
    with pytest.raises(UnsafeInputError, match=match):
        read_nifti(path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 100000, '{"nmsynth": 3}'])
def test_unreadable_sidecar_is_refused(tmp_path, text):
    path = write_nifti(make_volume(), tmp_path / "image.nii")
    sidecar_path(path).write_text(text)
    with pytest.raises(UnsafeInputError, match="sidecar"):
        read_nifti(path)


def test_infinity_is_never_written(tmp_path):
    volume = make_volume(array=np.full((2, 2, 2), np.inf))
    with pytest.raises(NumericalError, match="Nothing was written"):
        write_nifti(volume, tmp_path / "image.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_refused_and_replaced_on_request(tmp_path):
    path = write_nifti(make_volume(seed=1), tmp_path / "image.nii.gz")
    before = path.read_bytes()
    with pytest.raises(InputError, match="must not exist"):
        write_nifti(make_volume(seed=2), path)
    assert path.read_bytes() == before
    write_nifti(make_volume(seed=2), path, overwrite=True)
    assert np.array_equal(read_nifti(path).array, make_volume(seed=2).array)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["image.json", "image.nii.gz"]


def test_other_names_and_axes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.nii"):
        write_nifti(make_volume(), tmp_path / "image.mhd")
    with pytest.raises(InputError, match="holds axes"):
        write_nifti(make_volume(axes=("view", "y", "x")), tmp_path / "image.nii")
    with pytest.raises(InputError, match="must be a file"):
        read_nifti(tmp_path / "absent.nii", unit="HU", modality="CT")


def test_missing_unit_names_the_options_of_the_command_line(tmp_path):
    with pytest.raises(InputError, match=r"--unit.*--modality"):
        read_nifti(_foreign(tmp_path / "a.nii"))


@pytest.mark.parametrize("text", ["Bq/mL", "bq/ml", "BQML"])
def test_unit_may_be_spelt_as_in_dicom(tmp_path, text):
    assert read_nifti(_foreign(tmp_path / "a.nii"), unit=text, modality="PT").unit is Unit.BQML


def test_values_beyond_float32_are_refused_quietly(tmp_path):
    path = _foreign(tmp_path / "a.nii", array=np.full((2, 3, 4), 1e300))
    with pytest.raises(UnsafeInputError, match="finite"):
        read_nifti(path, unit="Bq/mL", modality="PT")


def test_bids_sidecar_states_what_is_known_and_no_suv_follows(tmp_path):
    path = _foreign(tmp_path / "a.nii")
    record = {
        "Modality": "PT", "Units": "BQML", "InjectedRadioactivity": "n/a", "InjectedRadioactivityUnits": "MBq",
        "BodyWeight": 70, "BodyWeightUnits": "kg", "RadionuclideHalfLife": 6586.2, "TracerRadionuclide": "F18",
    }  # fmt: skip
    sidecar_path(path).write_text(json.dumps(record))
    volume = read_nifti(path)
    assert (volume.unit, volume.acquisition.body_mass_kg, volume.acquisition.half_life_s) == (Unit.BQML, 70.0, 6586.2)
    assert volume.acquisition.injected_activity_bq is None
    lacks = (
        "needs InjectedRadioactivity with its units, TimeZero with InjectionStart, AttenuationCorrection, "
        "ImageDecayCorrected; the image's BIDS sidecar does not state it"
    )
    with pytest.raises(SuvError, match=lacks):
        volume.to_suv()


BIDS_PET = {
    "Modality": "PT", "Units": "kBq/mL", "TracerName": "FDG", "TracerRadionuclide": "F18",
    "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq", "ModeOfAdministration": "bolus",
    "BodyWeight": 70, "BodyWeightUnits": "kg", "TimeZero": "13:00:00", "InjectionStart": 60, "ScanStart": 3660,
    "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 3660, "AttenuationCorrection": "CT-based",
}  # fmt: skip


def _bids_pet(folder, **changes):
    path = _foreign(folder / "a.nii", np.eye(4), np.full((2, 3, 4), 7.972 * 0.453901487278775, np.float32))
    record = {name: value for name, value in (BIDS_PET | changes).items() if value is not None}
    sidecar_path(path).write_text(json.dumps(record))
    return read_nifti(path)


def test_an_suv_follows_from_a_bids_sidecar_that_states_all(tmp_path):
    volume = _bids_pet(tmp_path, RadionuclideHalfLife=6586)  # the public numbers of SuvRule
    assert volume.to_suv().array == pytest.approx(1.0, abs=1e-3)
    stated = volume.acquisition
    assert (stated.decay_correction, stated.corrections) == ("START", ("DECY", "ATTN"))
    write_nifti(volume, tmp_path / "again.nii")
    assert read_nifti(tmp_path / "again.nii").to_suv().array == pytest.approx(volume.to_suv().array)


def test_no_decay_is_taken_from_a_bids_image_corrected_to_the_injection(tmp_path):
    volume = _bids_pet(tmp_path, ImageDecayCorrectionTime=60)
    assert volume.to_suv().array == pytest.approx(volume.array * 70e3 / 370e6)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"BodyWeight": "n/a"}, "SUV needs BodyWeight in kg; the image's BIDS sidecar does not state it"),
        ({"InjectedRadioactivityUnits": None}, "SUV needs InjectedRadioactivity with its units"),
        ({"TimeZero": None}, "SUV needs TimeZero with InjectionStart, .*ImageDecayCorrectionTime"),
        ({"InjectionStart": None}, "SUV needs TimeZero with InjectionStart"),
        ({"ImageDecayCorrectionTime": None}, "SUV needs ImageDecayCorrectionTime"),
        ({"ImageDecayCorrected": None}, "SUV needs ImageDecayCorrected"),
        ({"ImageDecayCorrected": False}, "needs decay correction; the image's BIDS sidecar says that there was none"),
        ({"TracerRadionuclide": "n/a"}, "SUV needs TracerRadionuclide or RadionuclideHalfLife"),
        ({"AttenuationCorrection": None}, "SUV needs AttenuationCorrection"),
        (
            {"AttenuationCorrection": "none"},
            "attenuation correction; the image's BIDS sidecar says that there was none",
        ),
        ({"ModeOfAdministration": "bolus-infusion"}, "given at once; the image's BIDS sidecar states 'bolus-infusion'"),
        ({"InjectedRadioactivityUnits": "Bq"}, "plausible injected activity; .* states 370 Bq"),
        ({"InjectionStart": 4000}, "an injection before the scan; the times say it was later"),
    ],
)
def test_what_a_bids_sidecar_lacks_for_an_suv_is_said(tmp_path, changes, match):
    volume = _bids_pet(tmp_path, **changes)
    assert volume.unit is Unit.BQML
    with pytest.raises(SuvError, match=match):
        volume.to_suv()


@pytest.mark.parametrize(
    ("stated", "said"),
    [("none", False), (False, False), ("CT-based", True), (True, True), ("unknown", None), (None, None)],
)
def test_a_bids_sidecar_keeps_that_there_was_no_attenuation_correction(tmp_path, stated, said):
    volume = _bids_pet(tmp_path, AttenuationCorrection=stated, ImageDecayCorrected=None)
    assert volume.acquisition.is_attenuation_corrected is said
    write_nifti(volume, tmp_path / "again.nii")
    assert read_nifti(tmp_path / "again.nii").acquisition.is_attenuation_corrected is said


def test_a_bids_sidecar_of_mr_keeps_what_tells_the_weighting_and_no_free_text(tmp_path):
    path = _foreign(tmp_path / "a.nii")
    record = {
        "Modality": "MR", "BodyPartExamined": "BRAIN", "EchoTime": 0.095, "RepetitionTime": 5.0, "InversionTime": 2.5,
        "ScanningSequence": "SE_IR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "SeriesDescription": "Doe Jane t2_tirm_dark-fluid",
    }  # fmt: skip
    sidecar_path(path).write_text(json.dumps(record))
    found = read_nifti(path, unit="relative").acquisition
    assert (found.body_part, found.echo_time_ms, found.repetition_time_ms) == ("BRAIN", 95.0, 5000.0)
    assert (found.inversion_time_ms, found.scanning_sequence, found.image_kinds) == (2500.0, ("SE", "IR"), ())
    assert found.sequence_words == ("FLAIR", "T2")
    assert "doe" not in str(found).lower()


def test_a_bids_sidecar_without_a_modality_makes_no_pet_of_a_spect_image(tmp_path):
    path = _foreign(tmp_path / "a.nii")
    sidecar_path(path).write_text(json.dumps({"Units": "Bq/mL"}))
    assert read_nifti(path, modality="NM").suv_rule is None
    assert "BIDS sidecar" in read_nifti(path, modality="PT").suv_rule.reason


def test_stored_integers_are_scaled_by_slope_and_intercept(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_slope_inter(2.0, 5.0)
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii").dataobj.get_unscaled().transpose(2, 1, 0)
    assert np.array_equal(read_nifti(tmp_path / "a.nii", unit="Bq/mL", modality="PT").array, stored * 2.0 + 5.0)


def test_sform_and_qform_in_conflict_are_said(tmp_path):
    image = nibabel.Nifti1Image(np.ones((2, 3, 4), np.float32), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.set_sform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
    image.set_qform(np.diag([2.0, 3.0, 5.0, 1.0]), 1)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii", unit="Bq/mL", modality="PT")
    assert volume.spacing_mm == (4.0, 3.0, 2.0)
    assert volume.warnings == ("The sform and the qform of the NIfTI header differ; the sform was taken.",)
