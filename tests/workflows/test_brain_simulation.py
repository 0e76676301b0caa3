"""Brains from labels scanned by PET and SPECT: what is written and what the header states."""

import json

import numpy as np
import pytest

import nmsynth
from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect
from tests.physics.brain_map import head


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """The small head as a NIfTI label image."""
    path = tmp_path_factory.mktemp("labels") / "head.nii.gz"
    affine = np.array([[0, 0, 4.0, -94], [0, 4.0, 0, -112], [4.0, 0, 0, -120], [0, 0, 0, 1]])
    write_nifti(Volume(array=head()[0].astype(np.float32), affine=affine, unit=Unit.UNITLESS, modality="MR"), path)
    path.with_name("head.json").unlink()
    return path


@pytest.fixture(scope="module")
def pet(labels, tmp_path_factory):
    output = tmp_path_factory.mktemp("pet") / "study"
    settings = SimulatePetSettings(
        labels=labels, label_kind="brain", tracer="florbetapir", disease="alzheimer", severity=0.6,
        coupling="published", voxel_mm=6.0, seed=3,
    )  # fmt: skip
    return output, simulate_pet(settings, output)


def read(path):
    return np.asarray(nmsynth.read(path).array)


def test_the_acquisition_follows_the_tracer(pet):
    output, record = pet
    scan = nmsynth.read(output)
    facts = scan.acquisition
    assert facts.radiopharmaceutical == "Florbetapir F^18^"
    assert facts.radionuclide == "F-18"
    assert facts.injected_activity_bq == pytest.approx(370e6)
    assert (facts.acquisition_times[0] - facts.injection_time).total_seconds() == 50 * 60
    assert facts.frame_durations_s[0] == 600.0
    assert record["scan"]["protocol"]["uptake_time_s"] == 3000.0


def test_the_record_states_subject_and_regional_truth(pet):
    output, record = pet
    brain = record["brain"]
    assert json.loads((output / "reference" / "simulation.json").read_text())["brain"] == brain
    assert (brain["tracer"], brain["disease"], brain["severity"]) == ("florbetapir", "alzheimer", 0.6)
    assert brain["coupling"] == "published"
    assert 0 < brain["atrophy"] < 1
    assert brain["reference_region"] == ["cerebellar cortex", "cerebellar white"]
    regions = {r["name"]: r for r in brain["regions"]}
    assert regions["left frontal"]["suvr"] > 1.2
    assert regions["pons"]["volume_ml"] > 1


def test_the_ratio_is_over_the_reference_region_and_left_out_where_that_was_not_scanned(pet, labels, tmp_path):
    output, record = pet
    ratio = nmsynth.read(output / "reference" / "suvr.nii.gz")
    regions = read(output / "reference" / "regions.nii.gz")
    cerebellum = ("cerebellar cortex", "cerebellar white")
    numbers = [r["number"] for r in record["brain"]["regions"] if r["name"].endswith(cerebellum)]
    assert ratio.unit is Unit.SUVR
    assert ratio.provenance.settings["reference_region"] == "cerebellar cortex and cerebellar white"
    assert ratio.array[np.isin(regions, numbers)].mean() == pytest.approx(1.0, rel=1e-5)
    assert 50 < record["told"]["age"] < 100
    short = SimulatePetSettings(
        labels=labels, label_kind="brain", tracer="FDG", voxel_mm=6.0, length_mm=30.0, seed=3, file_format="nifti"
    )
    found = simulate_pet(short, tmp_path / "short")
    assert "at least 1 mL" in found["left_out"]["suvr"]
    assert not (tmp_path / "short" / "reference" / "suvr.nii.gz").exists()


def test_another_tracer_in_the_same_subject_has_regions_of_its_own(labels, tmp_path):
    settings = SimulatePetSettings(
        labels=labels, label_kind="brain", tracer="FDG", target_tracer="florbetapir", disease="alzheimer",
        coupling="none", healthy_share=0.5, voxel_mm=6.0, seed=4, file_format="nifti",
    )  # fmt: skip
    record = simulate_pet(settings, tmp_path / "study")
    assert (record["brain"]["tracer"], record["target_brain"]["tracer"]) == ("FDG", "florbetapir")
    assert record["brain"]["atrophy"] == record["target_brain"]["atrophy"]
    assert record["brain"]["severity"] != record["target_brain"]["severity"]
    assert record["told"]["target_tracer"] == "florbetapir"
    assert nmsynth.read(tmp_path / "study" / "reference" / "suvr.nii.gz").provenance.settings["tracer"] == "florbetapir"


def test_regions_lie_where_the_truth_has_their_uptake(pet):
    output, record = pet
    truth, regions = (read(output / "reference" / f"{n}.nii.gz") for n in ("truth", "regions"))
    assert truth.shape == regions.shape
    per_suv = 370e6 * 2 ** (-3000 / 6586.2) / 75e3
    for name in ("left cerebral white", "right cerebral white", "left cerebellar cortex"):
        region = next(r for r in record["brain"]["regions"] if r["name"] == name)
        inside = truth[regions == region["number"]]
        assert np.median(inside) / per_suv == pytest.approx(region["suv"], rel=0.08)


@pytest.mark.parametrize("tracer", ["ioflupane", "HMPAO"])
def test_spect_of_a_brain(labels, tmp_path, tracer):
    settings = SimulateSpectSettings(
        labels=labels, tracer=tracer, disease="parkinson", severity=0.5, voxel_mm=9.6, n_views=16, n_iterations=2,
        n_subsets=4, seed=1,
    )  # fmt: skip
    record = simulate_spect(settings, tmp_path / "study")
    scan = nmsynth.read(tmp_path / "study" / "scan.nii.gz")
    nuclide, window = {"ioflupane": ("I-123", 159.0), "HMPAO": ("Tc-99m", 140.5)}[tracer]
    assert scan.acquisition.radionuclide == nuclide
    assert record["scan"]["camera"]["window"]["centre_kev"] == window
    assert record["scan"]["camera"]["collimator"] == "LEHR"
    assert record["brain"]["worse_side"] in ("left", "right")
    truth, regions = (read(tmp_path / "study" / "reference" / f"{n}.nii.gz") for n in ("truth", "regions"))
    assert truth.shape == regions.shape == scan.array.shape
    if tracer == "ioflupane":
        striatum = np.isin(regions % 100, (12, 13, 14))
        assert truth[striatum].mean() > 1.8 * truth[(regions > 0) & ~striatum].mean()


def test_the_command_line_reaches_it(labels, tmp_path, capsys):
    given = ["--labels", str(labels), "--label-kind", "brain", "--tracer", "FDOPA", "--disease", "parkinson"]
    options = [*given, "--severity", "0.8", "--voxel-mm", "8", "--json"]
    assert run(["simulate", "pet", str(tmp_path / "out"), *options]) == 0
    brain = json.loads(capsys.readouterr().out)["brain"]
    assert (brain["tracer"], brain["severity"], brain["atrophy"]) == ("FDOPA", 0.8, 0.0)


def test_a_head_is_drawn_where_no_labels_are_given(tmp_path):
    settings = SimulateSpectSettings(
        phantom="brain", tracer="ioflupane", voxel_mm=9.6, n_views=16, n_iterations=2, n_subsets=4, seed=1
    )
    record = simulate_spect(settings, tmp_path / "study")
    assert (record["brain"]["tracer"], record["brain"]["disease"]) == ("ioflupane", "normal")
    assert read(tmp_path / "study" / "reference" / "regions.nii.gz").max() > 100
    pet = SimulatePetSettings(phantom="brain", tracer="FDG", voxel_mm=8.0, length_mm=64.0, seed=1)
    assert simulate_pet(pet, tmp_path / "pet")["brain"]["regions"] != record["brain"]["regions"]
    assert read(tmp_path / "pet" / "reference" / "regions.nii.gz").max() > 100


def test_a_disease_that_changes_nothing_is_said_so(labels, tmp_path, capsys):
    words = ["simulate", "pet", str(tmp_path / "out"), "--labels", str(labels), "--label-kind", "brain"]
    options = ["--tracer", "florbetapir", "--disease", "parkinson", "--severity", "0.8", "--voxel-mm", "8"]
    assert run([*words, *options]) == 0
    out = capsys.readouterr().out
    assert "florbetapir, parkinson, severity 0.80, atrophy 0.00" in out
    assert "the uptake of florbetapir is that of health" in out


def test_plain_brain_labels_are_scanned_as_before(labels, tmp_path):
    settings = SimulatePetSettings(labels=labels, label_kind="brain", voxel_mm=8.0, length_mm=64.0)
    record = simulate_pet(settings, tmp_path / "out")
    assert "brain" not in record
    assert record["scan"]["protocol"]["duration_s"] == 150.0
    assert not (tmp_path / "out" / "reference" / "regions.nii.gz").exists()


def test_what_does_not_go_together_is_refused(labels, tmp_path):
    with pytest.raises(InputError, match="those of a brain; found none"):
        simulate_pet(SimulatePetSettings(tracer="FDG"), tmp_path / "a")
    with pytest.raises(InputError, match="belongs to a disease; none was named"):
        simulate_pet(SimulatePetSettings(labels=labels, label_kind="brain", severity=0.5), tmp_path / "b")
    with pytest.raises(InputError, match="need a brain; found none"):
        simulate_spect(SimulateSpectSettings(tracer="ioflupane"), tmp_path / "c")
    with pytest.raises(InputError, match="scanned with HMPAO or ioflupane; found MDP"):
        simulate_spect(SimulateSpectSettings(labels=labels), tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
