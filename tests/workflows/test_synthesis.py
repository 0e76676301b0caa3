"""A study on disk becomes a synthetic study on disk, whole or not at all."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from nmsynth.core.errors import EnvelopeError, InputError, NumericalError, UnsafeInputError
from nmsynth.inference import Model, predictor
from nmsynth.io import read, write
from nmsynth.io.dicom_parse import quiet_pydicom
from nmsynth.workflows.synthesis import check_paths, synthesize_study
from tests.io.dicom_factory import make_nm, make_series, save_series
from tests.io.test_faults_files import dicomdir
from tests.models.packages import make_card, make_pet, save_tiny, tiny_network

SETTINGS = {"backend": "torch", "threads": 1}


@pytest.fixture
def model(tmp_path):
    """Folder of a tiny package."""
    return save_tiny(tmp_path / "models")


@pytest.fixture
def nifti(tmp_path):
    """A scan as NIfTI with its sidecar."""
    return write(make_pet(), tmp_path / "scan.nii.gz")


@pytest.fixture
def dicom(tmp_path):
    """A simulated scan as a DICOM series."""
    scan = make_pet()
    scan = replace(
        scan,
        provenance=replace(scan.provenance, simulated=True),
        acquisition=replace(
            scan.acquisition,
            injected_activity_bq=3e8,
            injection_time=datetime(2020, 1, 1, 9),
            reference_time=datetime(2020, 1, 1, 10),
            series_time=datetime(2020, 1, 1, 10),
            acquisition_times=(datetime(2020, 1, 1, 10),),
            frame_durations_s=(120.0,),
            body_mass_kg=70.0,
            half_life_s=6586.2,
            decay_correction="START",
        ),
    )
    return write(scan, tmp_path / "scan")


def test_a_nifti_scan_becomes_a_nifti_image_with_its_record(nifti, model, tmp_path):
    output = tmp_path / "out.nii.gz"
    result = synthesize_study(nifti, output, model=model, settings=SETTINGS)
    image = read(output)
    np.testing.assert_array_equal(image.array, result.image.array)
    assert image.provenance.synthetic
    assert image.provenance.model == "tiny 0.0.1"
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["synthesis"] == json.loads(json.dumps(result.record))
    assert sidecar["synthesis"]["schema_version"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "models",
        "out.json",
        "out.nii.gz",
        "scan.json",
        "scan.nii.gz",
    ]


def test_a_dicom_series_becomes_a_series_of_dicom_files_with_the_record_beside_it(dicom, model, tmp_path):
    result = synthesize_study(dicom, tmp_path / "out", model=model, settings=SETTINGS)
    image = read(tmp_path / "out")
    source = read(dicom)
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".dcm"}
    assert image.has_grid_of(source)
    assert image.provenance.synthetic
    assert image.acquisition.series_uid != source.acquisition.series_uid
    assert np.abs(image.array - result.image.array).max() < 1e-4 * np.abs(result.image.array).max()
    np.testing.assert_allclose(
        source.to_suv().array[5, 12, 10] / source.array[5, 12, 10],
        image.to_suv().array[5, 12, 10] / image.array[5, 12, 10],
        rtol=1e-3,
    )
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["model"]["sha256"] == result.image.provenance.model_sha256
    assert record["times_s"]["study"] > 0


def test_an_output_is_not_synthesised_again(dicom, model, tmp_path):
    synthesize_study(dicom, tmp_path / "out", model=model, settings=SETTINGS)
    with pytest.raises(EnvelopeError, match="this one is synthetic"):
        synthesize_study(tmp_path / "out", tmp_path / "again", model=model, settings=SETTINGS)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["out.nii.gz", "out.json"])
def test_an_existing_output_is_refused_before_anything_is_read(nifti, model, tmp_path, name):
    (tmp_path / name).write_text("{}")
    nifti.write_bytes(b"not an image")
    with pytest.raises(InputError, match="must not exist; it does"):
        synthesize_study(nifti, tmp_path / "out.nii.gz", model=model, settings=SETTINGS)
    assert (tmp_path / name).read_text() == "{}"


def test_an_existing_output_is_replaced_when_asked(dicom, model, tmp_path):
    for significance in ("low", "high"):
        synthesize_study(
            dicom, tmp_path / "out", model=model, settings=SETTINGS | {"significance": significance}, overwrite=True
        )
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["significance"] == "high"


@pytest.mark.parametrize("name", ["scan", "scan/sub", "."])
def test_input_and_output_lie_apart(dicom, model, tmp_path, name):
    with pytest.raises(InputError, match="must lie apart"):
        synthesize_study(dicom, tmp_path / name, model=model, overwrite=True)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["scan/out", "scan/out.nii.gz", "scan", "."])
@pytest.mark.parametrize("directory", [False, True])
def test_an_output_lies_apart_from_the_series_of_one_slice_and_from_what_a_dicomdir_lists(
    dicom, model, tmp_path, name, directory
):
    given = sorted(dicom.iterdir())[0]
    if directory:
        with quiet_pydicom():
            given = dicomdir(dicom, [[path.name] for path in sorted(dicom.iterdir())])
    before = contents(tmp_path)
    with pytest.raises(InputError, match="must lie apart"):
        synthesize_study(given, tmp_path / name, model=model, settings=SETTINGS, overwrite=True)
    assert contents(tmp_path) == before


def test_an_output_may_lie_beside_an_object_of_several_frames(tmp_path):
    source = save_series([make_nm()], tmp_path / "views")
    check_paths(next(source.iterdir()), source / "out", overwrite=False)


@pytest.mark.parametrize("name", ["ct", "ct/out", "ct.nii", "ct.nii.gz"])
def test_an_output_lies_apart_from_the_inputs_of_all_roles(nifti, tmp_path, name):
    series = save_series(make_series("CT"), tmp_path / "ct")
    image = write(make_pet(), tmp_path / "ct.nii")
    before = contents(tmp_path)
    for others in ((next(series.iterdir()), image), (image, series)):
        with pytest.raises(InputError, match=r"must lie apart|its sidecar"):
            check_paths(nifti, tmp_path / name, others=others, overwrite=True)
    assert contents(tmp_path) == before


def test_samples_lie_apart_from_the_inputs(dicom, model, tmp_path):
    with pytest.raises(InputError, match="must lie apart"):
        synthesize_study(dicom, tmp_path / "out", model=model, settings=SETTINGS, samples_path=dicom / "samples")
    assert not (dicom / "samples").exists()


@pytest.mark.parametrize("name", ["scan.nii", "scan"])
def test_a_record_never_replaces_the_sidecar_of_an_input(nifti, model, tmp_path, name):
    before = contents(tmp_path)
    with pytest.raises(InputError, match="would replace an input or its sidecar"):
        synthesize_study(nifti, tmp_path / name, model=model, settings=SETTINGS, overwrite=True)
    (tmp_path / "link.nii.gz").symlink_to(nifti)
    with pytest.raises(InputError, match="would replace an input or its sidecar"):
        check_paths(tmp_path / "link.nii.gz", tmp_path / name, overwrite=True)
    with pytest.raises(InputError, match="would replace an input or its sidecar"):
        check_paths(model, tmp_path / name, others=[nifti], overwrite=True)
    (tmp_path / "link.nii.gz").unlink()
    assert contents(tmp_path) == before


def test_a_record_is_no_sidecar_of_another_image(dicom, model, tmp_path):
    write(make_pet(), tmp_path / "other.nii.gz")
    before = contents(tmp_path)
    for name in ("other", "other.nii"):
        with pytest.raises(InputError, match=r"sidecar of another image, 'other.nii.gz'"):
            synthesize_study(dicom, tmp_path / name, model=model, settings=SETTINGS, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["out", "out.nii.gz"])
@pytest.mark.parametrize("text", ["thesis", "[1]", '{"schema_version": 1}', '{"Units": "Bq/mL"}'])
def test_only_a_record_of_nmsynth_is_replaced(dicom, model, tmp_path, name, text):
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(InputError, match="Only a record that nmsynth wrote"):
        synthesize_study(dicom, tmp_path / name, model=model, settings=SETTINGS, overwrite=True)
    assert (tmp_path / "out.json").read_text() == text
    assert not (tmp_path / name).exists()


def test_a_nifti_output_with_its_record_is_replaced_when_asked(dicom, model, tmp_path):
    for significance in ("low", "high"):
        settings = SETTINGS | {"significance": significance}
        synthesize_study(dicom, tmp_path / "out.nii.gz", model=model, settings=settings, overwrite=True)
    record = json.loads((tmp_path / "out.json").read_text())["synthesis"]
    assert record["settings"]["significance"] == "high"


def test_a_long_name_of_letters_of_several_bytes_is_written(dicom, model, tmp_path):
    name = "\u6838" * 80
    synthesize_study(dicom, tmp_path / name, model=model, settings=SETTINGS)
    synthesize_study(dicom, tmp_path / f"{name}2.nii.gz", model=model, settings=SETTINGS)
    assert read(tmp_path / name).shape == read(tmp_path / f"{name}2.nii.gz").shape


@pytest.mark.parametrize("name", ["out.zip", "out.dcm", "out.mha"])
def test_an_output_of_another_format_is_a_mistake(dicom, model, tmp_path, name):
    with pytest.raises(InputError, match="An output is a folder for DICOM"):
        synthesize_study(dicom, tmp_path / name, model=model)


def test_a_missing_input_is_a_mistake(model, tmp_path):
    with pytest.raises(InputError, match="The input must exist; 'nowhere' does not"):
        synthesize_study(tmp_path / "nowhere", tmp_path / "out", model=model)


def test_dicom_out_of_nifti_is_refused(nifti, model, tmp_path):
    with pytest.raises(InputError, match="A DICOM output needs a DICOM input"):
        synthesize_study(nifti, tmp_path / "out", model=model, settings=SETTINGS)


def test_an_attenuation_is_no_dicom(dicom, model, tmp_path):
    with pytest.raises(InputError, match="A DICOM CT holds HU"):
        synthesize_study(dicom, tmp_path / "out", model=model, settings={"unit": "1/cm"})
    assert not (tmp_path / "out").exists()


def test_an_unknown_role_is_a_mistake(nifti, model, tmp_path):
    with pytest.raises(InputError, match="further inputs of tiny must be none; found ct"):
        synthesize_study(nifti, tmp_path / "out.nii.gz", model=model, inputs={"ct": nifti})


def test_fault_90_nothing_is_written_when_the_network_gives_nan(dicom, tmp_path):
    network = tiny_network()
    network.leave.weight.data[:] = float("nan")
    with pytest.raises(NumericalError, match="nothing was written"):
        synthesize_study(dicom, tmp_path / "out", model=Model(make_card(), network), settings=SETTINGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scan"]


def test_fault_75_changed_weights_write_nothing(nifti, model, tmp_path):
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UnsafeInputError, match="sha256"):
        synthesize_study(nifti, tmp_path / "out.nii.gz", model=model, settings=SETTINGS)
    assert not (tmp_path / "out.nii.gz").exists()


def test_fault_74_a_scan_outside_the_envelope_writes_nothing(model, tmp_path):
    scan = write(make_pet(spacing_mm=(20.0, 4.0, 4.0)), tmp_path / "thick.nii.gz")
    with pytest.raises(EnvelopeError, match="axial voxel size"):
        synthesize_study(scan, tmp_path / "out.nii.gz", model=model, settings=SETTINGS)
    assert not (tmp_path / "out.nii.gz").exists()


def test_the_model_is_loaded_once_for_a_study(nifti, model, tmp_path, monkeypatch):
    loads = []
    load = predictor.load_network
    monkeypatch.setattr(predictor, "load_network", lambda *args: loads.append(args) or load(*args))
    synthesize_study(nifti, tmp_path / "out.nii.gz", model=model, settings=SETTINGS)
    assert len(loads) == 1


@pytest.mark.slow
def test_the_real_series_keeps_geometry_and_suv_scale(shared_data, model, tmp_path):
    synthesize_study(shared_data / "pet_wholebody_ge", tmp_path / "out", model=model, settings={"backend": "torch"})
    source, image = read(shared_data / "pet_wholebody_ge"), read(tmp_path / "out")
    assert image.has_grid_of(source)
    place = np.unravel_index(int(image.array.argmax()), image.shape)
    scales = [float(v.to_suv().array[place] / v.array[place]) for v in (source, image)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-4)
