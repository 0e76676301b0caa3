import json

import numpy as np
import pytest
from scipy import ndimage

import nmsynth
from nmsynth.core.errors import InputError
from nmsynth.workflows.planar_simulation import SimulatePlanarSettings, scan_planar_study, simulate_planar

SMALL = SimulatePlanarSettings(region="pelvis", pixel_mm=9.6, seed=3, lesions=4, count_fraction=0.25)
KNOWN = ("full_count", "noise_free", "primaries", "activity", "lesions", "body")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    output = tmp_path_factory.mktemp("planar") / "study"
    return output, simulate_planar(SMALL, output)


def test_all_that_is_known_is_written(study):
    output, record = study
    names = {p.name for p in (output / "reference").iterdir()}
    for name in KNOWN:
        for view in ("anterior", "posterior"):
            assert {f"{name}_{view}.nii.gz", f"{name}_{view}.json"} <= names
    assert json.loads((output / "reference" / "simulation.json").read_text()) == json.loads(json.dumps(record))
    scan = nmsynth.read(output / "scan")
    assert scan.axes == ("view", "y", "x")
    assert scan.provenance.simulated
    assert (scan.array == np.round(scan.array)).all()
    assert scan.array.sum((1, 2)).tolist() == record["scan"]["counts"][1]
    assert sum(record["scan"]["counts"][1]) == pytest.approx(0.25 * sum(record["scan"]["counts"][0]), rel=0.02)
    expected = nmsynth.read(output / "reference" / "noise_free_posterior.nii.gz").array[0]
    assert scan.array[1].sum() == pytest.approx(0.25 * expected.sum(), rel=0.02)
    assert 0 < len(record["lesions"]) <= 4


def test_truth_lies_where_the_lesions_are(study):
    output, record = study
    for view in ("anterior", "posterior"):
        labels = nmsynth.read(output / "reference" / f"lesions_{view}.nii.gz")
        activity = nmsynth.read(output / "reference" / f"activity_{view}.nii.gz")
        assert activity.unit.value == "Bq"
        for lesion in record["lesions"]:
            at = np.argwhere(labels.array == lesion["index"])
            if len(at) < 3:  # hidden by another, or smaller than a pixel
                continue
            x, _, z = (labels.affine @ np.array([*at.mean(0), 1.0]))[:3]
            assert abs(z - lesion["centre_mm_zyx"][0]) < 10
            assert abs(x - lesion["centre_mm_zyx"][2]) < 10


def test_the_same_seed_gives_the_same_files(study, tmp_path):
    output, _ = study
    simulate_planar(SMALL, tmp_path / "again")
    for name in ("scan/00001.dcm", "reference/noise_free_anterior.nii.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (output / name).read_bytes()


def test_views_in_nifti_hold_the_counts_of_dicom(study, tmp_path):
    output, _ = study
    further = {"file_format": "nifti", "further_fractions": (0.01,)}
    simulate_planar(SMALL.model_copy(update={"file_format": "nifti"}), tmp_path / "n")
    simulate_planar(SMALL.model_copy(update=further), tmp_path / "f")
    few, own = (nmsynth.read(tmp_path / "f" / name).array for name in ("scan_1_anterior.nii.gz", "anterior.nii.gz"))
    assert few.sum() == pytest.approx(own.sum() / 25, rel=0.05)
    dicom = nmsynth.read(output / "scan").array
    for index, view in enumerate(("anterior", "posterior")):
        assert (nmsynth.read(tmp_path / "n" / f"{view}.nii.gz").array[0] == dicom[index]).all()


def test_a_whole_body_is_swept_at_the_speed_asked_for(tmp_path):
    settings = SimulatePlanarSettings(pixel_mm=10.0, seed=1, scan_speed_cm_min=15.0, lesions=0)
    record = simulate_planar(settings, tmp_path / "o")
    assert record["region"] == "whole-body"
    assert record["scan"]["seconds_per_point"] == pytest.approx(387.0 / 2.5)
    low, high = record["scan"]["z_range_mm"]
    assert record["scan"]["duration_s"] == pytest.approx((high - low + 387.0) / 2.5)
    scan = nmsynth.read(tmp_path / "o" / "scan")
    assert scan.acquisition.body_part == "WHOLEBODY"
    # the head is on top, and narrower than the hips at the bottom
    body = nmsynth.read(tmp_path / "o" / "reference" / "body_anterior.nii.gz").array[0]
    assert body[2].sum() < body[-20].sum()


@pytest.mark.parametrize(("tracer", "region"), [("MAA-SHUNT", "lungs"), ("DMSA", "kidneys"), ("PERTECHNETATE", "neck")])
def test_every_tracer_shows_its_organ_in_its_region(tracer, region, tmp_path):
    settings = SimulatePlanarSettings(tracer=tracer, pixel_mm=10.0, seed=2, views=("posterior",))
    record = simulate_planar(settings, tmp_path / "o")
    assert record["region"] == region
    activity = nmsynth.read(tmp_path / "o" / "reference" / "activity_posterior.nii.gz").array[0]
    assert activity.max() > 5 * activity[activity > 0].mean()
    assert nmsynth.read(tmp_path / "o" / "scan").shape[0] == 1


def test_settings_that_contradict_each_other_are_refused(study, tmp_path):
    output, _ = study
    with pytest.raises(InputError, match="must not exist"):
        simulate_planar(SMALL, output)
    with pytest.raises(InputError, match="Lesions are put into the bones"):
        simulate_planar(SimulatePlanarSettings(tracer="DMSA", lesions=2), tmp_path / "o")
    with pytest.raises(InputError, match="A region belongs to a patient"):
        simulate_planar(SimulatePlanarSettings(phantom="cylinder", region="chest"), tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_split_renal_function_follows_from_the_geometric_mean():
    """Counts of opposite views tell which kidney holds how much; posterior ones alone mistake depth for function."""
    _, scanned = scan_planar_study(SimulatePlanarSettings(tracer="DMSA", seed=4, pixel_mm=6.0))
    right, left = scanned.organ_activity_bq["kidney"]
    front, back = scanned.scans[0].array[0], scanned.scans[0].array[1][:, ::-1]
    activity = scanned.activity.array[0]
    kidneys = activity > 0.15 * activity.max()
    middle = activity.shape[1] // 2
    halves = (slice(0, middle), slice(middle, None))
    both = [[image[:, half][kidneys[:, half]].sum() for half in halves] for image in (front, back)]
    means = np.sqrt(np.prod(both, axis=0))
    true = left / (left + right)
    assert means[1] / means.sum() == pytest.approx(true, abs=0.025)
    assert abs(both[1][1] / sum(both[1]) - true) > 0.03


def test_no_more_activity_is_there_than_was_injected():
    settings = SimulatePlanarSettings(tracer="MAA", region="whole-body", pixel_mm=10.0, seed=1, views=("anterior",))
    for seed in (1, 4):
        study, scanned = scan_planar_study(settings.model_copy(update={"seed": seed}))
        there = sum(sum(sides) for sides in scanned.organ_activity_bq.values())
        at_start = study.tracer.activity_bq * 2.0 ** (-study.tracer.uptake_time_s / 21624.0)
        assert 0.6 * at_start < there < 1.03 * at_start  # the sum was taken on 8 mm
        assert sum(scanned.organ_activity_bq["lung"]) > 0.75 * there


@pytest.mark.parametrize(("tracer", "organ"), [("MAA-SHUNT", "lung"), ("DMSA", "kidney")])
def test_defects_are_cold_places_of_the_organ(tracer, organ, tmp_path):
    settings = SimulatePlanarSettings(
        tracer=tracer, pixel_mm=6.0, seed=5, views=("posterior",), file_format="nifti", defects=3
    )
    record = simulate_planar(settings, tmp_path / "o")
    whole = simulate_planar(settings.model_copy(update={"defects": 0}), tmp_path / "w")
    assert record["lesions"]
    assert {lesion["organ"] for lesion in record["lesions"]} == {organ}
    assert all(lesion["contrast"] <= 0.4 for lesion in record["lesions"])
    assert not whole["lesions"]
    known = {name: nmsynth.read(tmp_path / "o" / "reference" / f"{name}_posterior.nii.gz").array for name in
             ("activity", "lesions", "organ")}  # fmt: skip
    before = nmsynth.read(tmp_path / "w" / "reference" / "activity_posterior.nii.gz").array
    inside = known["lesions"] > 0
    assert inside.any()
    assert (known["organ"][inside] > 0).mean() > 0.8
    assert known["activity"][inside].sum() < 0.9 * before[inside].sum()
    far = ~ndimage.binary_dilation(known["organ"][0] > 0, iterations=2)
    assert np.abs(known["activity"][0] - before[0])[far].max() < 1e-3 * before.max()


def test_defects_are_drawn_where_they_are_looked_for():
    drawn = [len(scan_planar_study(SimulatePlanarSettings(tracer="DMSA", pixel_mm=9.6, seed=k))[1].lesions)
             for k in range(4)]  # fmt: skip
    assert 0 < sum(drawn) <= 12
    assert SimulatePlanarSettings().unused == {"defects"}  # so that records and UIDs of other studies stay
    with pytest.raises(InputError, match="Defects are put into the lungs of a patient with MAA or the kidneys"):
        scan_planar_study(SimulatePlanarSettings(tracer="PERTECHNETATE", defects=1))
