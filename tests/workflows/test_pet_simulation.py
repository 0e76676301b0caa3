"""Simulation to disk: what an output may replace, and series at fewer counts."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, SuvError, UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.data import scan_memory
from nmsynth.data.protocols import protocol_named
from nmsynth.io import read
from nmsynth.io.nifti import read_nifti, write_nifti
from nmsynth.physics.count_reduction import CountReducer, body_contour
from nmsynth.physics.noise_texture import NoiseTexture, measure_noise
from nmsynth.workflows import pet_simulation, series_reduction
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from tests.helpers import make_volume
from tests.io.dicom_factory import make_series, save_series
from tests.renames import refuse_once


@pytest.fixture
def quick(monkeypatch):
    """The scan itself replaced by an empty study."""

    def scan(settings, work, progress):
        (work / "reference").mkdir(parents=True)
        (work / "reference" / "simulation.json").write_text("{}")
        return {}

    monkeypatch.setattr(pet_simulation, "_scan_phantom", scan)
    monkeypatch.setattr(pet_simulation, "reduce_series", scan)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_old_simulation_comes_back_when_the_last_move_fails(quick, tmp_path, monkeypatch):
    simulate_pet(SimulatePetSettings(), tmp_path / "out")
    (tmp_path / "out" / "old").write_text("old")
    before = contents(tmp_path)
    refuse_once(monkeypatch, tmp_path / "out")
    with pytest.raises(OSError, match="refused"):
        simulate_pet(SimulatePetSettings(), tmp_path / "out", overwrite=True)
    assert contents(tmp_path) == before


def test_a_simulation_of_a_long_name_is_written_through_a_link(quick, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    simulate_pet(SimulatePetSettings(), tmp_path / "link" / ("\u6838" * 85))
    simulate_pet(SimulatePetSettings(), tmp_path / "link" / ("\u6838" * 85), overwrite=True)
    assert len(list((tmp_path / "real").iterdir())) == 1


def test_a_simulation_replaces_its_own_output_only_when_asked(quick, tmp_path):
    simulate_pet(SimulatePetSettings(), tmp_path / "out")
    with pytest.raises(InputError, match="must not exist; it does"):
        simulate_pet(SimulatePetSettings(), tmp_path / "out")
    simulate_pet(SimulatePetSettings(), tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("is_file", [False, True])
def test_what_a_simulation_did_not_write_is_never_replaced(quick, tmp_path, is_file):
    kept = tmp_path / "thesis"
    if not is_file:
        kept.mkdir()
        kept /= "chapter.txt"
    kept.write_text("years of work")
    with pytest.raises(InputError, match="'thesis' is another"):
        simulate_pet(SimulatePetSettings(), tmp_path / "thesis", overwrite=True)
    assert kept.read_text() == "years of work"


@pytest.mark.parametrize("name", ["study", "study/low", "."])
def test_a_source_is_never_replaced_by_its_simulation(quick, tmp_path, name):
    study = save_series(make_series(), tmp_path / "study")
    before = contents(study)
    with pytest.raises(InputError, match="must lie apart"):
        simulate_pet(SimulatePetSettings(source=study), tmp_path / name, overwrite=True)
    assert contents(study) == before


SPACING_MM = (4.0, 5.0, 5.0)


def noisy_body(shape=(20, 48, 48), level=4000.0):
    """A body of one level on a faint outside, with correlated noise of 15 %."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape), (0.5, 0.7, 0.7))
    axis = (np.arange(shape[1]) - (shape[1] - 1) / 2) * 5.0
    body = (axis[:, None] / 85) ** 2 + (axis[None] / 105) ** 2 < 1
    return np.where(body, level * (1 + 0.15 * noise / noise.std()), 0.0).astype(np.float32)


def nifti_series(folder, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    write_nifti(make_volume(array=noisy_body(), spacing_mm=SPACING_MM, **fields), folder / "pet.nii.gz")
    return folder / "pet.nii.gz"


def reduce(source, out, **settings):
    settings = {"file_format": "nifti", "count_fraction": 0.25, **settings}
    return simulate_pet(SimulatePetSettings(source=source, **settings), out)


def test_a_series_with_fewer_counts_stands_beside_its_noisy_reference(tmp_path):
    source = nifti_series(tmp_path / "in")
    record = reduce(source, tmp_path / "out")
    scan, reference = (
        read_nifti(tmp_path / "out/scan.nii.gz"),
        read_nifti(tmp_path / "out/reference/noisy_reference.nii.gz"),
    )
    assert np.array_equal(reference.array, read_nifti(source).array)
    assert scan.provenance.simulated
    assert not scan.provenance.synthetic
    assert scan.unit == Unit.BQML
    assert np.allclose(scan.affine, reference.affine)
    assert "no CT" in record["attenuation"]
    assert "noisy reference, not a truth" in record["reference"]
    assert "truth" not in {path.name.split(".")[0] for path in (tmp_path / "out/reference").iterdir()}
    inner = np.s_[3:-3, 14:34, 14:34]
    assert scan.array[inner].std() == pytest.approx(2 * reference.array[inner].std(), rel=0.15)


def test_all_counts_add_nothing_in_dicom(tmp_path):
    stored = (noisy_body() / 0.5).round().astype(np.int16)
    source = save_series(make_series(stored=stored, slopes=0.5, spacing_mm=SPACING_MM), tmp_path / "in")
    reduce(source, tmp_path / "same", count_fraction=1.0, file_format="dicom")
    reduce(source, tmp_path / "low", count_fraction=0.25, file_format="dicom")
    before, same, low = (read(tmp_path / name) for name in ("in", "same", "low"))
    assert np.allclose(same.array, before.array, atol=0.51)
    assert low.array.std() > same.array.std()
    assert low.unit == before.unit
    assert np.allclose(low.affine, before.affine, atol=1e-4)
    assert low.acquisition.simulated_count_fraction == pytest.approx(0.25)


def test_count_fractions_of_a_simulated_source_multiply(tmp_path):
    source = nifti_series(tmp_path / "in", acquisition=Acquisition(simulated_count_fraction=0.5))
    record = reduce(source, tmp_path / "out", count_fraction=0.2)
    assert record["count_fraction_in_all"] == pytest.approx(0.1)
    assert read_nifti(tmp_path / "out/scan.nii.gz").acquisition.simulated_count_fraction == pytest.approx(0.1)


def test_suv_images_stay_suv(tmp_path):
    record = reduce(nifti_series(tmp_path / "in", unit=Unit.SUV_BODY_WEIGHT), tmp_path / "out")
    assert read_nifti(tmp_path / "out/scan.nii.gz").unit == Unit.SUV_BODY_WEIGHT
    assert record["warnings"] == []


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"provenance": Provenance(synthetic=True)}, UnsafeInputError, "synthesised by a model"),
        ({"unit": Unit.UNITLESS}, InputError, "proportional to activity; found unit '1'"),
        ({"modality": "CT", "unit": Unit.HOUNSFIELD}, InputError, "static PET series; found CT"),
    ],
)
def test_what_has_no_counts_is_refused(tmp_path, fields, error, message):
    with pytest.raises(error, match=message):
        reduce(nifti_series(tmp_path / "in", **fields), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tiny_images_and_images_without_times_are_refused(tmp_path):
    write_nifti(make_volume((4, 4, 4)), tmp_path / "tiny.nii.gz")
    with pytest.raises(InputError, match="sphere of 3 cm inside the body; none was found"):
        reduce(tmp_path / "tiny.nii.gz", tmp_path / "out")
    with pytest.raises(InputError, match="--format nifti"):
        reduce(nifti_series(tmp_path / "in"), tmp_path / "out", file_format="dicom")


def test_inserted_lesions_are_in_scan_and_reference(tmp_path):
    source = nifti_series(tmp_path / "in")
    record = reduce(source, tmp_path / "out", lesions=1, lesion_diameter_mm=(25.0, 25.0), lesion_contrast=(4.0, 4.0))
    assert [lesion["contrast"] for lesion in record["lesions"]] == [4.0]
    labels = read_nifti(tmp_path / "out/reference/lesions.nii.gz").array > 0
    for name in ("scan.nii.gz", "reference/noisy_reference.nii.gz"):
        added = read_nifti(tmp_path / "out" / name).array[labels].mean() - read_nifti(source).array[labels].mean()
        assert 5000 < added < 13000


def test_noise_added_to_a_real_scan_has_its_texture_and_variance(shared_data):
    source = read(shared_data / "pet_wholebody_ge")
    image = np.asarray(source.array)
    region = series_reduction._noise_region(source, body_contour(image, source.spacing_mm))
    planes = slice(135, 186)
    image, region = image[planes], region[planes]
    reducer = CountReducer(image, source.spacing_mm, region)
    assert not reducer.structured
    level = float(image[region].mean())
    scans = [reducer.reduce(0.25, torch.Generator().manual_seed(seed)) for seed in range(3)]
    own = measure_noise(image, region)
    total = NoiseTexture.mean_of([measure_noise(scan, region) for scan in scans])
    added = NoiseTexture.mean_of([measure_noise(scan - image + level, region) for scan in scans])
    assert 0.15 < own.cov < 0.19
    assert total.cov**2 == pytest.approx(4 * own.cov**2, rel=0.08)
    assert added.in_plane_correlation == pytest.approx(own.in_plane_correlation, abs=0.04)
    assert added.axial_correlation == pytest.approx(own.axial_correlation, abs=0.04)
    all_counts = measure_noise(reducer.reduce(1.0, torch.Generator().manual_seed(0)), region)
    assert all_counts.cov == pytest.approx(own.cov, rel=0.05)
    for fraction in (0.5, 0.1):
        less = measure_noise(reducer.reduce(fraction, torch.Generator().manual_seed(3)), region)
        assert less.cov * fraction**0.5 == pytest.approx(own.cov, rel=0.1)


def test_the_same_counts_are_reconstructed_in_other_ways(tmp_path):
    settings = SimulatePetSettings(
        phantom="cylinder", voxel_mm=8.0, length_mm=64.0, file_format="nifti", also=("uncorrected", "penalised"), seed=3
    )
    simulate_pet(settings, tmp_path / "out")
    plain = simulate_pet(settings.model_copy(update={"also": ()}), tmp_path / "plain")
    scan, without = read(tmp_path / "out" / "scan.nii.gz"), read(tmp_path / "out" / "uncorrected.nii.gz")
    assert np.array_equal(scan.array, read(tmp_path / "plain" / "scan.nii.gz").array)
    assert plain["settings"].get("also") is None
    assert without.unit is Unit.RELATIVE
    assert "ATTN" not in without.acquisition.corrections
    with pytest.raises(SuvError, match="SUV"):
        without.to_suv()
    middle = (slice(2, 6), slice(23, 27), slice(23, 27))
    assert without.array[middle].mean() < 0.3 * scan.array[middle].mean()
    penalised = read(tmp_path / "out" / "penalised.nii.gz")
    assert penalised.array[middle].mean() == pytest.approx(scan.array[middle].mean(), rel=0.05)
    assert "relative difference" in penalised.acquisition.reconstruction
    true = read(tmp_path / "out" / "reference" / "noise_free_penalised.nii.gz")
    assert np.abs(penalised.array - true.array)[middle].mean() < 0.1 * true.array[middle].mean()
    assert read(tmp_path / "out" / "reference" / "mu_map.nii.gz").array[middle].mean() == pytest.approx(0.096, rel=0.02)


def test_uncorrected_images_are_a_series_of_the_same_study(tmp_path):
    settings = SimulatePetSettings(phantom="cylinder", voxel_mm=8.0, length_mm=64.0, also=("uncorrected",), beds=True)
    simulate_pet(settings, tmp_path / "out")
    scan, without = read(tmp_path / "out" / "pet"), read(tmp_path / "out" / "uncorrected")
    assert scan.acquisition.study_uid == without.acquisition.study_uid
    assert scan.acquisition.series_uid != without.acquisition.series_uid
    assert without.has_grid_of(scan)
    assert without.unit is Unit.RELATIVE


@pytest.mark.parametrize("beds", [False, True])
def test_the_same_counts_are_corrected_by_other_maps(tmp_path, beds):
    settings = SimulatePetSettings(
        phantom="cylinder", voxel_mm=8.0, length_mm=96.0, file_format="nifti", seed=3, beds=beds
    )
    plain = simulate_pet(settings, tmp_path / "plain")
    own = read(tmp_path / "plain" / "reference" / "mu_map.nii.gz")
    write_nifti(own.with_array(0.8 * own.array), tmp_path / "thin.nii.gz")
    maps = {"own": tmp_path / "plain" / "reference" / "mu_map.nii.gz", "thin": tmp_path / "thin.nii.gz"}
    record = simulate_pet(settings.model_copy(update={"attenuation": maps}), tmp_path / "out")
    images = {name: read(tmp_path / "out" / f"{name}.nii.gz") for name in ("scan", "own", "thin")}
    assert np.array_equal(images["scan"].array, read(tmp_path / "plain" / "scan.nii.gz").array)
    middle = (slice(4, 8), slice(22, 28), slice(22, 28))
    level = {name: float(image.array[middle].mean()) for name, image in images.items()}
    assert level["own"] == pytest.approx(level["scan"], rel=0.01)
    assert level["thin"] < 0.85 * level["scan"]
    assert images["own"].acquisition == images["scan"].acquisition
    assert (record["attenuation"], plain.get("attenuation")) == (["own", "thin"], None)
    assert str(tmp_path) not in (tmp_path / "out" / "reference" / "simulation.json").read_text()


@pytest.mark.parametrize("name", ["scan", "reference", "../out", "Own map"])
def test_a_map_needs_a_name_that_is_free(tmp_path, name):
    settings = SimulatePetSettings(phantom="cylinder", attenuation={name: tmp_path / "map.nii.gz"})
    with pytest.raises(InputError, match="needs a name of small letters"):
        simulate_pet(settings, tmp_path / "out")


def test_time_of_flight_is_asked_for_by_its_resolution(tmp_path):
    settings = SimulatePetSettings(
        phantom="cylinder", voxel_mm=8.0, length_mm=64.0, file_format="nifti", timing_ps=400.0
    )
    record = simulate_pet(settings, tmp_path / "out")
    assert record["scan"]["scanner"]["timing_ps"] == 400.0
    scan, truth = (read(tmp_path / "out" / n).array for n in ("scan.nii.gz", "reference/truth.nii.gz"))
    middle = (slice(2, 6), slice(20, 30), slice(20, 30))
    assert scan[middle].mean() == pytest.approx(truth[middle].mean(), rel=0.15)


def test_other_reconstructions_of_a_series_are_refused(tmp_path):
    with pytest.raises(InputError, match="need the counts of a phantom"):
        simulate_pet(SimulatePetSettings(source=tmp_path, also=("penalised",)), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phantom": "nema", "lesions": 7}, "patient or a brain; found 7 for the phantom 'nema'"),
        ({"phantom": "jaszczak", "lesions": 1}, "found 1 for the phantom 'jaszczak'. Leave them out"),
        ({"ct": "ct.nii.gz"}, "belongs to organ labels, whose attenuation it gives; found no labels"),
        ({"ct": "ct.nii.gz", "labels": "l.nii.gz", "label_kind": "brain"}, "found labels of a brain"),
        ({"ct": "ct.nii.gz", "phantom": "brain"}, "found no labels"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        simulate_pet(SimulatePetSettings(**options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_object_without_lesions_may_say_so():
    assert pet_simulation.scan_study(
        SimulatePetSettings(phantom="cylinder", voxel_mm=8.0, length_mm=32.0, lesions=0)
    ).lesions == ()  # fmt: skip


def test_a_matrix_beyond_the_memory_is_refused_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_memory, "available_bytes", lambda: 10**9)
    with pytest.raises(InputError, match=r"voxels of 1 mm in a field of 600 mm need 14\.2 GB, 1\.0 GB are free"):
        simulate_pet(SimulatePetSettings(voxel_mm=1.0), tmp_path / "out")


def test_beds_of_a_scanner_are_its_own():
    settings = SimulatePetSettings(
        phantom="cylinder", scanner="bgo-with-septa", beds=True, voxel_mm=8.0, length_mm=64.0
    )  # fmt: skip
    study = pet_simulation.scan_study(settings)
    assert len(study.beds) == 1
    assert study.truth.array.shape[0] == 19  # 154 mm
    flat = pet_simulation.scan_study(settings.model_copy(update={"beds": False}))
    planes = slice(3, -3)
    counts = [s.draw.scanner.sensitivity for s in (study, flat)]
    assert counts[0] * max(protocol_named("bgo-with-septa", plane_mm=8.0, with_beds=True).beds.profile) == (
        pytest.approx(counts[1])
    )
    assert study.noise_free.array[planes].max() == pytest.approx(flat.noise_free.array.max(), rel=0.05)
