"""NM objects written by nmsynth: new ones of a phantom, derived ones, and what is read as counts."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, NumericalError, UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.io import read
from nmsynth.io.dicom_nm_derived import write_derived_counts, write_derived_planar, write_derived_tomogram
from nmsynth.io.dicom_nm_module import NmCamera, NmRotation, real_world_item
from nmsynth.io.dicom_nm_new import NewSeries, Sweep, write_new_planar, write_new_projections, write_new_tomogram
from nmsynth.io.dicom_reader import read_nm_counts, read_nm_projections
from nmsynth.io.writing import write
from tests.helpers import make_volume
from tests.io.dicom_factory import coded, make_nm, make_series, save_series

ACQUISITION = Acquisition(
    radionuclide="Tc-99m",
    radiopharmaceutical="Technetium Tc^99m^ medronate",
    half_life_s=21624.0,
    injected_activity_bq=600e6,
    injection_time=datetime(2025, 1, 1, 9),
    reference_time=datetime(2025, 1, 1, 12),
    corrections=("DECY", "ATTN"),
    body_mass_kg=70.0,
    sex="F",
    frame_durations_s=(300.0,),
    body_part="WHOLEBODY",
    simulated_count_fraction=0.25,
)
SIMULATED = Provenance(simulated=True)
CAMERA = NmCamera((130.0, 151.0), "LEHR", (387.0, 533.0))
ROTATION = NmRotation(0.0, 360.0, (200.0, 210.0, 220.0, 230.0), 20.0)
SERIES = NewSeries("one")


def planar(shape=(2, 6, 8), **fields):
    """Counts of two views, 2.4 mm high and 3 mm wide."""
    affine = np.array([[0, 0, 3.0, -10.5], [1.0, 0, 0, 0], [0, -2.4, 0, 50.0], [0, 0, 0, 1.0]])
    counts = np.random.default_rng(0).poisson(20.0, shape)
    given = {"array": counts, "affine": affine, "acquisition": ACQUISITION, "provenance": SIMULATED} | fields
    return make_volume(modality="NM", unit=Unit.COUNTS, axes=("view", "y", "x"), **given)


def tomogram(**fields):
    return make_volume(modality="NM", acquisition=ACQUISITION, provenance=SIMULATED, **fields)


def written(folder):
    return pydicom.dcmread(folder / "00001.dcm")


def raw(**changes):
    """A planar series as a camera writes it."""
    counts = np.random.default_rng(1).poisson(9.0, (2, 5, 6)).astype(np.uint16)
    return make_nm(counts, kind=changes.pop("kind", "STATIC"), **changes)


def test_planar_counts_read_back_as_they_are(tmp_path):
    volume = planar()
    again = read(write_new_planar(volume, tmp_path / "o", camera=CAMERA, series=SERIES, faces_mm=(150.0, 160.0)))
    assert again.axes == ("view", "y", "x")
    assert again.unit is Unit.COUNTS
    assert (again.array == volume.array).all()
    assert again.spacing_mm[1:] == (2.4, 3.0)
    assert again.acquisition.radionuclide == "Tc-99m"
    assert again.acquisition.frame_durations_s == (300.0,)
    assert again.acquisition.simulated_count_fraction == 0.25
    assert again.provenance.simulated


def test_planar_header_says_what_each_frame_is(tmp_path):
    volume = planar()
    dataset = written(write_new_planar(volume, tmp_path / "o", camera=CAMERA, series=SERIES, faces_mm=(150.0, 160.0)))
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "STATIC", "EMISSION"]
    assert dataset.SyntheticData == "YES"
    assert dataset.CountsAccumulated == volume.array.sum()
    assert dataset.ActualFrameDuration == 300_000
    assert list(dataset.DetectorVector) == [1, 2]
    front, back = dataset.DetectorInformationSequence
    assert [d.ViewCodeSequence[0].CodeMeaning for d in (front, back)] == ["Anterior projection", "Posterior projection"]
    assert [float(d.StartAngle) for d in (front, back)] == [180.0, 0.0]
    assert [float(d.RadialPosition) for d in (front, back)] == [150.0, 160.0]
    assert list(front.ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert list(back.ImageOrientationPatient) == [-1, 0, 0, 0, 0, -1]
    assert list(front.ImagePositionPatient) == [-10.5, 0, 50]
    assert list(back.ImagePositionPatient) == [10.5, 0, 50]
    assert list(front.FieldOfViewDimensions) == [533, 387]
    window = dataset.EnergyWindowInformationSequence[0].EnergyWindowRangeSequence[0]
    assert (window.EnergyWindowLowerLimit, window.EnergyWindowUpperLimit) == (130.0, 151.0)
    # NM states the activity in MBq, where PET has Bq
    assert dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose == 600.0


def test_a_sweep_is_whole_body_with_its_speed(tmp_path):
    dataset = written(
        write_new_planar(planar(), tmp_path / "o", camera=CAMERA, series=SERIES, sweep=Sweep(2.0, 1146.3))
    )
    assert dataset.ImageType[2] == "WHOLE BODY"
    assert (dataset.ScanVelocity, dataset.ScanLength) == (2.0, 1146)
    assert read(tmp_path / "o").shape == (2, 6, 8)


def test_projections_state_the_orbit_in_the_angles_of_dicom(tmp_path):
    counts = np.random.default_rng(0).poisson(5.0, (4, 6, 8)).astype(np.float32)
    folder = write_new_projections(
        counts, tmp_path / "o", camera=CAMERA, series=SERIES, rotation=ROTATION, pixel_mm=(4.8, 4.4),
        acquisition=ACQUISITION, provenance=SIMULATED,
    )  # fmt: skip
    dataset = written(folder)
    assert dataset.ImageType[2] == "TOMO"
    assert list(dataset.AngularViewVector) == [1, 2, 3, 4]
    rotation = dataset.RotationInformationSequence[0]
    # from the front over the patient's left: from 180 degrees on, downwards
    assert (float(rotation.StartAngle), rotation.RotationDirection) == (180.0, "CW")
    assert (float(rotation.ScanArc), float(rotation.AngularStep), rotation.NumberOfFramesInRotation) == (360, 90, 4)
    assert list(rotation.RadialPosition) == [200.0, 210.0, 220.0, 230.0]
    assert rotation.ActualFrameDuration == 20_000
    with pytest.raises(UnsafeInputError, match="raw projections"):
        read(folder)
    found = read_nm_counts(folder)
    assert found.kind == "TOMO"
    assert (found.counts == counts[:, ::-1]).all()  # the head is on top
    again = read_nm_projections(folder)
    assert (again.counts == counts).all()
    assert (again.first_deg, again.arc_deg, again.pixel_mm) == (0.0, 360.0, (4.8, 4.4))
    assert again.acquisition.radionuclide == "Tc-99m"
    left = NmRotation(90.0, -180.0, (200.0,), 20.0).item()
    assert (float(left.StartAngle), left.RotationDirection) == (90.0, "CC")


def projections(tmp_path, name, change):
    """Projections of six views of 180 degrees by two heads, as a camera states them, with a change."""
    counts = np.arange(6, dtype=np.float32)[:, None, None] + np.zeros((6, 4, 8), np.float32)
    rotation = NmRotation(0.0, 90.0, (200.0,) * 6, 20.0)
    folder = write_new_projections(
        counts, tmp_path / name, camera=CAMERA, series=SERIES, rotation=rotation, pixel_mm=(4.8, 4.8),
        acquisition=ACQUISITION, provenance=SIMULATED,
    )  # fmt: skip
    dataset = written(folder)
    heads = [Dataset(), Dataset()]
    for head, start in zip(heads, (180.0, 90.0), strict=True):  # from the front, and from the left
        head.StartAngle = start
    dataset.DetectorInformationSequence = heads
    dataset.DetectorVector, dataset.AngularViewVector = [1, 1, 1, 2, 2, 2], [1, 2, 3] * 2
    dataset.RotationInformationSequence[0].AngularStep = 30.0
    change(dataset)
    dataset.save_as(folder / "00001.dcm")
    return folder


def test_views_that_heads_shared_come_back_in_the_order_of_the_orbit(tmp_path):
    def swap(dataset):
        """The head at the left came first."""
        dataset.DetectorVector = [2, 2, 2, 1, 1, 1]

    def against(dataset):
        """The other way round: from the front to the right, and from the left to the front."""
        dataset.RotationInformationSequence[0].RotationDirection = "CC"

    found = read_nm_projections(projections(tmp_path, "a", lambda _: None))
    assert (found.first_deg, found.arc_deg) == (0.0, 180.0)
    assert found.counts[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert read_nm_projections(projections(tmp_path, "b", swap)).counts[:, 0, 0].tolist() == [3, 4, 5, 0, 1, 2]
    found = read_nm_projections(projections(tmp_path, "c", against))
    assert (found.first_deg, found.arc_deg) == (300.0, 180.0)
    assert found.counts[:, 0, 0].tolist() == [2, 1, 0, 5, 4, 3]


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("DetectorVector", [1] * 6, "evenly on one orbit, each angle once"),
        ("EnergyWindowVector", [1, 1, 1, 2, 2, 2], "must have one energy window"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], "of the kind TOMO"),
        ("RotationInformationSequence", [], "must hold RotationInformationSequence"),
        ("AngularViewVector", [1, 2, 3], "one value for each of 6 frames"),
    ],
)
def test_projections_that_are_no_orbit_are_refused(tmp_path, keyword, value, message):
    folder = projections(tmp_path, "o", lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(UnsafeInputError, match=message):
        read_nm_projections(folder)


@pytest.mark.parametrize("z_sign", [1, -1])
def test_tomogram_reads_back_in_bqml(tmp_path, z_sign):
    volume = tomogram()
    affine = volume.affine.copy()
    affine[2, 0] *= z_sign
    volume = replace(volume, affine=affine)
    again = read(write_new_tomogram(volume, tmp_path / "o", camera=CAMERA, series=SERIES, rotation=ROTATION))
    assert again.unit is Unit.BQML
    array = volume.array[::z_sign]
    assert np.abs(again.array - array).max() <= volume.array.max() / 131068 * 1.01
    corner = again.affine @ (0, 0, 0, 1)
    assert np.allclose(corner, volume.affine @ (0 if z_sign == 1 else len(array) - 1, 0, 0, 1))
    assert again.spacing_mm == volume.spacing_mm
    for fact in ("radionuclide", "radiopharmaceutical", "corrections"):
        assert getattr(again.acquisition, fact) == getattr(ACQUISITION, fact)


def test_of_two_tracers_in_one_patient_none_is_that_of_the_image(tmp_path):
    dataset = make_nm()
    first = dataset.RadiopharmaceuticalInformationSequence[0]
    first.Radiopharmaceutical = "Tc-99m sestamibi"
    assert read(save_series([dataset], tmp_path / "one")).acquisition.radiopharmaceutical == "Tc-99m sestamibi"
    second = Dataset()
    second.Radiopharmaceutical = "Tl-201 chloride"
    second.RadionuclideCodeSequence = [coded("16820003", "SCT", "^201^Thallium")]
    dataset.RadiopharmaceuticalInformationSequence = [first, second]
    acquisition = read(save_series([dataset], tmp_path / "two")).acquisition
    assert (acquisition.radionuclide, acquisition.radiopharmaceutical) == (None, None)


def test_negative_and_empty_tomograms(tmp_path):
    values = np.random.default_rng(0).normal(0.0, 100.0, (3, 4, 5))
    given = {"camera": CAMERA, "series": SERIES, "rotation": ROTATION}
    again = read(write_new_tomogram(tomogram(array=values), tmp_path / "n", **given))
    assert np.allclose(again.array, values, atol=np.abs(values).max() / 60000)
    assert not read(write_new_tomogram(tomogram(array=np.zeros((3, 4, 5))), tmp_path / "z", **given)).array.any()


def test_one_seed_gives_one_file(tmp_path):
    one, same, other = (
        write_new_planar(planar(), tmp_path / name, camera=CAMERA, series=NewSeries(seed, "study"))
        for name, seed in (("a", "x"), ("b", "x"), ("c", "y"))
    )
    assert (one / "00001.dcm").read_bytes() == (same / "00001.dcm").read_bytes()
    assert written(one).StudyInstanceUID == written(other).StudyInstanceUID
    assert written(one).SeriesInstanceUID != written(other).SeriesInstanceUID


def test_what_no_nm_object_holds_is_refused(tmp_path):
    given = {"camera": CAMERA, "series": SERIES}
    with pytest.raises(InputError, match="whole numbers from 0"):
        write_new_planar(planar(array=np.full((2, 3, 3), 0.5)), tmp_path / "o", **given)
    with pytest.raises(InputError, match="at most 65535"):
        write_new_planar(planar(array=np.full((2, 3, 3), 70000.0)), tmp_path / "o", **given)
    with pytest.raises(InputError, match="found 1 views"):
        write_new_planar(planar(), tmp_path / "o", views=("anterior",), **given)
    with pytest.raises(InputError, match="lateral"):
        write_new_planar(planar(), tmp_path / "o", views=("anterior", "lateral"), **given)
    with pytest.raises(InputError, match="axes \\(view, y, x\\)"):
        write_new_planar(tomogram(), tmp_path / "o", **given)
    with pytest.raises(InputError, match="frame_durations_s; found 0"):
        write_new_planar(planar(acquisition=Acquisition()), tmp_path / "o", **given)
    with pytest.raises(InputError, match="in Bq/mL"):
        write_new_tomogram(planar(), tmp_path / "o", rotation=ROTATION, **given)
    with pytest.raises(NumericalError, match="Nothing was written"):
        write_new_tomogram(tomogram(array=np.full((2, 2, 2), np.nan)), tmp_path / "o", rotation=ROTATION, **given)
    with pytest.raises(InputError, match="a radius a view"):
        write_new_projections(
            np.ones((3, 2, 2), np.float32), tmp_path / "o", rotation=ROTATION, pixel_mm=(4.0, 4.0),
            acquisition=ACQUISITION, provenance=SIMULATED, **given,
        )  # fmt: skip
    with pytest.raises(InputError, match="up to 360 degrees"):
        NmRotation(0.0, 400.0, (200.0,), 20.0)
    assert list(tmp_path.iterdir()) == []


def test_derived_counts_keep_the_header_and_say_what_they_are(tmp_path):
    source = save_series([raw(SeriesNumber=4, WindowWidth="9")], tmp_path / "source")
    found = read_nm_counts(source)
    half = found.counts // 2
    folder = write_derived_counts(
        found.header, half, tmp_path / "o", provenance=SIMULATED, count_fraction=0.5, seed_uid="s", description="half,"
    )
    dataset, before = written(folder), pydicom.dcmread(next(source.iterdir()))
    assert (read(folder).array == half).all()
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "STATIC", "EMISSION"]
    assert dataset.CountsAccumulated == half.sum()
    assert dataset.StudyInstanceUID == before.StudyInstanceUID
    assert dataset.SeriesInstanceUID != before.SeriesInstanceUID
    assert dataset.SeriesNumber != 4
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert dataset.SeriesDescription.startswith("SYNTHETIC, RESEARCH ONLY: simulated half, Factory")
    assert "WindowWidth" not in dataset
    again = read_nm_counts(folder)  # simulated counts may be thinned again
    assert again.count_fraction == 0.5
    with pytest.raises(InputError, match="keep the frames"):
        write_derived_counts(found.header, half[:1], tmp_path / "p", provenance=SIMULATED)


@pytest.mark.parametrize("scale", [1.0, 0.37, -0.5])
def test_a_synthesis_of_planar_views_becomes_a_derived_object(tmp_path, scale):
    source = read(save_series([raw()], tmp_path / "source"))
    made = source.with_array(source.array * scale, provenance=Provenance(synthetic=True, model="m 1"))
    again = read(write(made, tmp_path / "o"))
    assert again.unit is Unit.COUNTS
    assert np.abs(again.array - made.array).max() <= (0 if scale == 1 else np.abs(made.array).max() / 60000)
    assert again.provenance.model == "m 1"
    with pytest.raises(UnsafeInputError, match="synthesised by a model"):
        read_nm_counts(tmp_path / "o")


@pytest.mark.parametrize("spacing_mm", [4.0, -4.0])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_a_synthesis_of_a_tomogram_becomes_a_derived_object(tmp_path, scale, spacing_mm):
    source = read(save_series([make_nm(spacing_mm=spacing_mm, NumberOfDetectors=2)], tmp_path / "source"))
    made = source.with_array(source.array * scale, provenance=Provenance(synthetic=True, model="m 1"))
    again = read(write(made, tmp_path / "o"))
    assert (again.unit, again.axes) == (Unit.COUNTS, ("z", "y", "x"))
    assert again.has_grid_of(source)
    assert np.abs(again.array - made.array).max() <= (0 if scale == 1 else np.abs(made.array).max() / 60000)
    assert again.provenance.model == "m 1"
    dataset, before = written(tmp_path / "o"), pydicom.dcmread(next((tmp_path / "source").iterdir()))
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]
    assert (dataset.StudyInstanceUID, dataset.NumberOfDetectors) == (before.StudyInstanceUID, 2)
    assert dataset.SeriesInstanceUID != before.SeriesInstanceUID
    assert dataset.SyntheticData == "YES"


def test_a_tomogram_in_bqml_keeps_its_unit(tmp_path):
    folder = write_new_tomogram(tomogram(), tmp_path / "s", camera=CAMERA, series=SERIES, rotation=ROTATION)
    source = read(folder)
    made = source.with_array(source.array * 0.5, provenance=Provenance(synthetic=True, model="m 1"))
    again = read(write(made, tmp_path / "o"))
    assert again.unit is Unit.BQML
    assert np.abs(again.array - made.array).max() <= np.abs(made.array).max() / 60000


def test_a_correction_by_a_model_is_stated_and_leaves_no_counts(tmp_path):
    folder = save_series([make_nm()], tmp_path / "source")
    source = read(folder)
    acquisition = replace(source.acquisition, attenuation_correction="synthetic, nmsynth")
    made = replace(
        source, array=source.array * 1.7, unit=Unit.RELATIVE, acquisition=acquisition,
        provenance=Provenance(synthetic=True, model="m 1"),
    )  # fmt: skip
    again = read(write(made, tmp_path / "o"))
    assert again.unit is Unit.RELATIVE
    assert np.abs(again.array - made.array).max() <= np.abs(made.array).max() / 60000
    assert any("of no unit" in warning for warning in again.warnings)
    assert not any("are counts" in warning for warning in again.warnings)
    dataset = written(tmp_path / "o")
    assert dataset.AttenuationCorrectionMethod == "synthetic, nmsynth"
    assert "CorrectedImage" not in dataset  # ATTN is listed only of what is calibrated
    assert dataset.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "1"
    calibrated = write_new_tomogram(tomogram(), tmp_path / "s", camera=CAMERA, series=SERIES, rotation=ROTATION)
    source = read(calibrated)
    stated = replace(acquisition, corrections=("DECY", "ATTN", "SCAT"))
    made = replace(source, acquisition=stated, provenance=Provenance(synthetic=True, model="m 1"))
    write(made, tmp_path / "c")
    assert list(written(tmp_path / "c").CorrectedImage) == ["DECY", "ATTN", "SCAT"]


def test_a_tomogram_derives_from_its_own_grid_and_kind_only(tmp_path):
    source = save_series([make_nm()], tmp_path / "source")
    volume = read(source)
    for wrong in (volume.with_array(volume.array[1:]), volume.with_array(volume.array, affine=volume.affine + 0.5)):
        with pytest.raises(InputError, match="keep the"):
            write_derived_tomogram(wrong, tmp_path / "o", source=source)
    with pytest.raises(InputError, match="NM volume in counts or Bq/mL, or relative"):
        write_derived_tomogram(planar(), tmp_path / "o", source=source)
    with pytest.raises(InputError, match="derives from one NM object"):
        write_derived_tomogram(volume, tmp_path / "o", source=save_series(make_series(), tmp_path / "pet"))
    with pytest.raises(NumericalError, match="Nothing was written"):
        write_derived_tomogram(volume.with_array(np.full(volume.shape, np.nan)), tmp_path / "o", source=source)
    assert not (tmp_path / "o").exists()


def test_planar_views_derive_from_planar_views_only(tmp_path):
    pet = save_series(make_series(), tmp_path / "pet")
    with pytest.raises(InputError, match="derive from one NM object"):
        write_derived_planar(planar(), tmp_path / "o", source=pet)
    with pytest.raises(InputError, match="was not read from one"):
        write_derived_planar(planar(), tmp_path / "o")
    with pytest.raises(NumericalError, match="Nothing was written"):
        write_derived_planar(planar(array=np.full((2, 3, 3), np.inf)), tmp_path / "o")
    with pytest.raises(InputError, match="axes \\(view, y, x\\)"):
        write_derived_planar(tomogram(), tmp_path / "o")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "RECON TOMO"}, "is RECON TOMO"),
        ({"ImageType": ["DERIVED", "PRIMARY", "STATIC", "EMISSION"]}, "not ORIGINAL"),
        ({"RescaleSlope": "2", "RescaleIntercept": "0"}, "RescaleSlope 2 "),
        ({"RescaleSlope": "1", "RescaleIntercept": "-5"}, "RescaleIntercept -5"),
        ({"CorrectedImage": ["UNIF", "SCAT"]}, r"corrected \(SCAT\)"),
        ({"LossyImageCompression": "01"}, "compressed with loss"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_refused(tmp_path, changes, message):
    with pytest.raises(UnsafeInputError, match=message):
        read_nm_counts(save_series([raw(**changes)], tmp_path / "s"))


def test_mapped_and_negative_values_are_no_counts(tmp_path):
    mapped = raw()
    mapped.RealWorldValueMappingSequence = [
        real_world_item(slope=3.0, signed=False, code_value="Bq/ml", meaning="Becquerels/milliliter", label="BQML")
    ]
    with pytest.raises(UnsafeInputError, match="maps them to other values"):
        read_nm_counts(save_series([mapped], tmp_path / "m"))
    negative = make_nm(np.full((1, 3, 3), -1, np.int16), kind="STATIC")
    with pytest.raises(UnsafeInputError, match="negative values"):
        read_nm_counts(save_series([negative], tmp_path / "n"))
    with pytest.raises(InputError, match="PT files"):
        read_nm_counts(save_series(make_series(), tmp_path / "p"))


def test_of_several_mappings_that_to_activity_counts(tmp_path):
    mapped = make_nm(kind="RECON TOMO")
    mapped.RealWorldValueMappingSequence = [
        real_world_item(slope=slope, signed=False, code_value=code, meaning=code, label="X")
        for slope, code in ((2.0, "1"), (3.0, "Bq/ml"))
    ]
    volume = read(save_series([mapped], tmp_path))
    assert volume.unit is Unit.BQML
    assert volume.array.max() == pytest.approx(3.0 * mapped.pixel_array.max())


def test_counts_that_contradict_the_header_are_reported(tmp_path):
    (warning,) = read_nm_counts(save_series([raw(CountsAccumulated=12)], tmp_path / "s")).warnings
    assert warning.startswith("The header states 12 counts; the pixels hold")
    full = make_nm(np.full((1, 3, 3), 65535, np.uint16), kind="STATIC")
    assert "cut off" in read_nm_counts(save_series([full], tmp_path / "f")).warnings[0]


@pytest.mark.parametrize("kind", ["RECON TOMO", "STATIC"])
def test_rescaled_pixels_are_no_counts(tmp_path, kind):
    dataset = make_nm(kind=kind, RescaleSlope="0.5", RescaleIntercept="0")
    volume = read(save_series([dataset], tmp_path))
    assert volume.unit is Unit.RELATIVE
    np.testing.assert_allclose(volume.array, 0.5 * dataset.pixel_array, rtol=1e-6)
    assert any("RescaleSlope" in warning for warning in volume.warnings)


@pytest.mark.parametrize("slope", ["1", "1.0"])
def test_pixels_with_a_slope_of_one_are_counts(tmp_path, slope):
    volume = read(save_series([make_nm(RescaleSlope=slope, RescaleIntercept="0")], tmp_path))
    assert volume.unit is Unit.COUNTS


def test_a_slope_of_nm_that_is_not_positive_is_refused(tmp_path):
    with pytest.raises(UnsafeInputError, match="RescaleSlope must be positive"):
        read(save_series([make_nm(RescaleSlope="0", RescaleIntercept="0")], tmp_path))
