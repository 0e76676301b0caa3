import json

import numpy as np
import pytest

import nmsynth
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.io.dicom_reader import read_nm_counts
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect

SMALL = SimulateSpectSettings(
    phantom="cylinder", voxel_mm=9.6, length_mm=77.0, n_views=24, n_iterations=6, n_subsets=4, filter_fwhm_mm=0.0,
    count_fraction=0.25, seconds_per_view=40.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    output = tmp_path_factory.mktemp("spect") / "study"
    return output, simulate_spect(SMALL, output)


def test_all_that_is_known_is_written(study):
    output, record = study
    names = {p.name for p in (output / "reference").iterdir()}
    for name in ("full_count", "noise_free", "truth", "mu_map", "lesions", "organs"):
        assert {f"{name}.nii.gz", f"{name}.json"} <= names
    assert json.loads((output / "reference" / "simulation.json").read_text()) == json.loads(json.dumps(record))
    scan = nmsynth.read(output / "scan.nii.gz")
    assert (scan.modality, scan.unit.value) == ("NM", "Bq/mL")
    assert scan.provenance.simulated
    assert scan.acquisition.radionuclide == "Tc-99m"
    assert scan.acquisition.simulated_count_fraction == 0.25
    counts = np.load(output / "projections.npy")
    assert counts.shape == (24, 8, 64)
    assert (counts == np.round(counts)).all()
    assert counts.sum() == record["scan"]["counts"][1] == pytest.approx(0.25 * record["scan"]["counts"][0], rel=0.01)


def test_reconstruction_without_noise_comes_near_the_truth(study):
    output, record = study
    read = {n: nmsynth.read(output / "reference" / f"{n}.nii.gz") for n in ("truth", "noise_free", "mu_map")}
    truth, found = read["truth"].array, read["noise_free"].array
    assert np.allclose(read["truth"].affine, read["noise_free"].affine)
    inner = np.zeros(truth.shape, bool)
    inner[2:-2, 27:37, 27:37] = True
    # the reconstruction's scatter is wrong by up to 15 % of a quarter of the counts, its resolution too
    assert found[inner].mean() == pytest.approx(truth[inner].mean(), rel=0.12)
    assert record["scan"]["mismatch"]["scatter_scale"] != 1.0
    assert read["mu_map"].array[inner].mean() == pytest.approx(0.154, rel=0.02)


def test_the_same_seed_gives_the_same_study(study, tmp_path):
    output, _ = study
    again = tmp_path / "again"
    simulate_spect(SMALL, again)
    for name in ("scan.nii.gz", "projections.npy", "reference/noise_free.nii.gz"):
        assert (again / name).read_bytes() == (output / name).read_bytes()


def test_further_images_are_of_the_same_counts(study, tmp_path):
    output, record = study
    settings = SMALL.model_copy(
        update={"also": ("uncorrected", "sparse"), "sparse_factor": 3, "further_sparse_factors": (2,)}
    )
    again = simulate_spect(settings, tmp_path / "also")
    for name in ("scan.nii.gz", "projections.npy"):
        assert (tmp_path / "also" / name).read_bytes() == (output / name).read_bytes()
    assert again["scan"]["counts"] == record["scan"]["counts"]
    read = {n: nmsynth.read(tmp_path / "also" / f"{n}.nii.gz") for n in ("scan", "uncorrected", "sparse", "sparse_1")}
    truth = nmsynth.read(output / "reference" / "truth.nii.gz").array
    inner = np.zeros(truth.shape, bool)
    inner[2:-2, 27:37, 27:37] = True
    levels = {name: volume.array[inner].mean() / truth[inner].mean() for name, volume in read.items()}
    assert levels["sparse"] == pytest.approx(levels["scan"], rel=0.1)
    assert levels["sparse_1"] == pytest.approx(levels["scan"], rel=0.1)
    errors = [np.abs(read[n].array[inner] - read["scan"].array[inner]).mean() for n in ("sparse", "sparse_1")]
    assert errors[1] < errors[0]  # more views
    assert levels["uncorrected"] < 0.5  # 10 cm of water let a fifth of the photons pass
    assert read["uncorrected"].unit is Unit.RELATIVE
    assert "ATTN" not in read["uncorrected"].acquisition.corrections
    assert "ATTN" in read["sparse"].acquisition.corrections
    assert not np.allclose(read["sparse"].array[inner], read["scan"].array[inner], rtol=0.1)


def test_existing_output_is_kept_without_overwrite(study):
    output, _ = study
    with pytest.raises(InputError, match="must not exist"):
        simulate_spect(SMALL, output)


def test_fewer_views_of_a_limited_arc_follow_the_body(tmp_path):
    settings = SMALL.model_copy(update={"n_views": 8, "arc_deg": 180.0, "first_deg": -45.0, "n_subsets": 2})
    orbit = simulate_spect(settings, tmp_path / "arc")["scan"]["orbit"]
    assert (orbit["n_views"], orbit["arc_deg"], orbit["first_deg"]) == (8, 180.0, -45.0)
    assert len(set(np.round(orbit["radius_mm"], 0))) < 8
    assert 100 < min(orbit["radius_mm"]) <= max(orbit["radius_mm"]) < 140
    with pytest.raises(InputError, match="outside the body"):
        simulate_spect(SMALL.model_copy(update={"radius_mm": 80.0}), tmp_path / "inside")
    assert not (tmp_path / "inside").exists()


def test_perfusion_tracer_is_scanned_in_the_head(tmp_path):
    settings = SimulateSpectSettings(
        tracer="HMPAO", voxel_mm=9.6, n_views=16, n_iterations=2, n_subsets=4, seed=2, lesions=0
    )
    record = simulate_spect(settings, tmp_path / "brain")
    image = nmsynth.read(tmp_path / "brain" / "reference" / "truth.nii.gz")
    organs = nmsynth.read(tmp_path / "brain" / "reference" / "organs.nii.gz").array
    assert image.array.shape == (25, 32, 32)
    grey, white = (image.array[organs == o].mean() for o in (15, 16))
    assert 1.5 * white < grey
    assert max(record["scan"]["orbit"]["radius_mm"]) < 220


def test_dicom_holds_the_scan_and_its_projections(study, tmp_path):
    output, record = study
    simulate_spect(SMALL.model_copy(update={"file_format": "dicom"}), tmp_path / "d")
    ours, theirs = nmsynth.read(output / "scan.nii.gz"), nmsynth.read(tmp_path / "d" / "scan")
    assert theirs.unit.value == "Bq/mL"
    assert np.allclose(theirs.affine, ours.affine)
    # half a step of 65534, and what float32 rounds
    assert np.abs(theirs.array - ours.array).max() <= ours.array.max() * (1 / 131068 + 2**-23)
    projections = read_nm_counts(tmp_path / "d" / "projections")
    assert projections.kind == "TOMO"
    assert (projections.counts == np.load(output / "projections.npy")[:, ::-1]).all()
    rotation = projections.header.RotationInformationSequence[0]
    assert np.allclose([float(r) for r in rotation.RadialPosition], record["scan"]["orbit"]["radius_mm"], atol=1e-3)


def test_further_counts_are_scans_of_the_same_study(tmp_path):
    record = simulate_spect(SMALL.model_copy(update={"further_fractions": (0.5, 0.1)}), tmp_path / "study")
    counts = record["scan"]["counts"]
    assert [n / counts[0] for n in counts] == pytest.approx([1.0, 0.5, 0.1, 0.25], rel=0.02)
    for name, fraction in (("scan", 0.25), ("scan_1", 0.5), ("scan_2", 0.1)):
        scan = nmsynth.read(tmp_path / "study" / f"{name}.nii.gz")
        assert scan.acquisition.simulated_count_fraction == fraction
    wrong = {"further_fractions": (0.5,), "file_format": "dicom"}
    with pytest.raises(InputError, match="written as NIfTI; DICOM was asked for"):
        simulate_spect(SMALL.model_copy(update=wrong), tmp_path / "dicom")
    with pytest.raises(InputError, match=r"above 0 and at most at 1; found \(1\.5,\)"):
        simulate_spect(SMALL.model_copy(update={"further_fractions": (1.5,)}), tmp_path / "more")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phantom": "nema", "lesions": 7}, "found 7 for the phantom 'nema'. Leave them out"),
        (
            {"phantom": "cylinder", "region": "head"},
            "of a patient is scanned; found 'head' with the phantom 'cylinder'",
        ),
        ({"phantom": "brain", "tracer": "HMPAO", "region": "head"}, "with the phantom 'brain'. Leave it out"),
        ({"labels": "l.nii.gz", "tracer": "HMPAO", "region": "trunk"}, "'trunk' with labels of a brain"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        simulate_spect(SimulateSpectSettings(**options), tmp_path / "out")
    assert not (tmp_path / "out").exists()
