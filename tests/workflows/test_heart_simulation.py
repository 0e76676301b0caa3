"""Myocardial perfusion studies: defects are seen, states and gates belong together."""

import json

import numpy as np
import pytest

import nmsynth
from nmsynth.core.errors import InputError
from nmsynth.workflows.heart_simulation import DefectSettings, HeartStudy
from nmsynth.workflows.pet_simulation import SimulatePetSettings, scan_study
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, scan_spect_study, simulate_spect
from nmsynth.workflows.spect_subject import spect_subject

LATERAL = DefectSettings(segment=12, severity=0.9, extent_deg=100.0, reversible=0.5)


def settings_of(heart=None, **changes):
    values = {
        "phantom": "heart", "seed": 2, "voxel_mm": 8.0, "length_mm": 130.0, "n_views": 16, "n_iterations": 4,
        "n_subsets": 4, "filter_fwhm_mm": 0.0, "heart": heart or HeartStudy(defects=(LATERAL,)),
    }  # fmt: skip
    return SimulateSpectSettings(**(values | changes))


def heart_of(settings):
    """What is known of the heart of a study."""
    return spect_subject(settings).facts["heart"]


def segment_means(study):
    image, segments = np.asarray(study.noise_free.array), study.segment_labels
    return np.array([image[segments == n].mean() if (segments == n).any() else np.nan for n in range(1, 18)])


@pytest.fixture(scope="module")
def stress():
    return scan_spect_study(settings_of())


def test_a_perfusion_study_has_its_own_defaults():
    settings = SimulateSpectSettings(phantom="heart")
    assert (settings.tracer, settings.arc_deg, settings.first_deg, settings.voxel_mm) == (
        "SESTAMIBI", 180.0, -45.0, 6.4,
    )  # fmt: skip
    assert SimulateSpectSettings(phantom="heart", arc_deg=360.0).arc_deg == 360.0
    assert SimulateSpectSettings().heart is None


def test_a_defect_is_seen_without_noise(stress):
    without = settings_of(HeartStudy(n_defects=0))
    healthy = scan_spect_study(without)
    assert all(s["relative_uptake"] > 0.9 for s in heart_of(without)["segments"])
    ratio = segment_means(stress) / segment_means(healthy)
    assert np.nanargmin(ratio) + 1 in (5, 6, 11, 12, 16)
    assert ratio[11] < 0.6  # of a truth of 0.2, by resolution and the voxels of the coarse grid
    assert ratio[7] > 0.9  # septal
    assert stress.facts["tracer"] == "SESTAMIBI-STRESS"


def test_rest_shows_the_fixed_part_in_the_same_anatomy(stress):
    at_rest = settings_of(HeartStudy(state="rest", defects=(LATERAL,)))
    rest = scan_spect_study(at_rest)
    assert np.array_equal(rest.segment_labels, stress.segment_labels)
    assert np.array_equal(rest.mu_map.array, stress.mu_map.array)
    truth = [heart_of(s)["segments"][11]["relative_uptake"] for s in (settings_of(), at_rest)]
    assert truth[0] < truth[1] < 0.75
    assert rest.facts["mismatch"] != stress.facts["mismatch"]
    assert heart_of(at_rest)["defects"][0]["severity"] == pytest.approx(0.45)


def test_the_counts_do_not_depend_on_the_attenuation_correction(stress):
    plain = scan_spect_study(settings_of(attenuation_correction=False))
    assert np.array_equal(plain.projections[0], stress.projections[0])
    assert plain.scans[0].acquisition.corrections == ("DECY", "SCAT")
    assert np.nanmean(segment_means(plain)) < 0.6 * np.nanmean(segment_means(stress))


def test_a_gate_gets_its_share_of_the_counts(stress):
    gate = scan_spect_study(settings_of(HeartStudy(defects=(LATERAL,), gate=3)))
    assert gate.facts["counts"][0] == pytest.approx(stress.facts["counts"][0] / 8, rel=0.02)
    assert gate.scans[0].acquisition.simulated_count_fraction == 1 / 8
    assert gate.facts["mismatch"] == stress.facts["mismatch"]
    assert not np.array_equal(gate.truth.array, stress.truth.array)


def test_all_that_is_known_is_written(tmp_path):
    record = simulate_spect(settings_of(n_views=8, n_subsets=2, n_iterations=1, count_fraction=0.25), tmp_path / "out")
    folder = tmp_path / "out" / "reference"
    assert json.loads((folder / "simulation.json").read_text()) == json.loads(json.dumps(record))
    segments = nmsynth.read(folder / "segments.nii.gz")
    truth = nmsynth.read(folder / "truth.nii.gz")
    assert segments.array.shape == truth.array.shape
    assert np.allclose(segments.affine, truth.affine)
    assert record["heart"]["state"] == "stress"
    assert [s["number"] for s in record["heart"]["segments"]] == list(range(1, 18))
    # the wall's activity in the image is that of its segments
    wall = truth.array[segments.array > 0]
    assert wall.mean() > 3 * np.median(truth.array[truth.array > 0])
    assert record["settings"]["heart"]["defects"][0]["segment"] == 12


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InputError, match="SESTAMIBI or TETROFOSMIN"):
        scan_spect_study(settings_of(tracer="MDP"))
    with pytest.raises(InputError, match="imaged in the heart"):
        scan_spect_study(SimulateSpectSettings(tracer="SESTAMIBI"))
    with pytest.raises(InputError, match="belong to the phantom 'heart'"):
        scan_spect_study(SimulateSpectSettings(heart=HeartStudy()))
    with pytest.raises(InputError, match="defects, not lesions"):
        scan_spect_study(settings_of(lesions=3))
    with pytest.raises(InputError, match="listed or drawn"):
        scan_spect_study(settings_of(HeartStudy(defects=(), n_defects=2)))


@pytest.mark.parametrize("name", ["derenzo", "jaszczak"])
def test_resolution_phantoms_are_scanned_by_both(name):
    spect = scan_spect_study(
        SimulateSpectSettings(phantom=name, voxel_mm=9.6, length_mm=200.0, n_views=16, n_subsets=2, n_iterations=2)
    )
    truth = np.asarray(spect.truth.array)
    assert truth.max() > 0
    pet = scan_study(SimulatePetSettings(phantom=name, voxel_mm=8.0, length_mm=24.0))
    assert np.asarray(pet.scans[0].array).max() > 0
    assert np.asarray(pet.truth.array).max() > 0


def test_lesions_of_a_bone_scan_lie_in_bone():
    settings = SimulateSpectSettings(
        voxel_mm=10.0, n_views=8, n_subsets=2, n_iterations=1, seed=1, lesions=5, length_mm=400.0
    )
    study = scan_spect_study(settings)
    assert study.lesions
    assert all(n.organ.startswith("bone, ") for n in study.lesions)
