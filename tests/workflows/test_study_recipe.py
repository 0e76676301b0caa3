"""Rows of studies: roles as the recipe says, a case for each planar view, no place of a user's files in a record."""

import json

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.manifest import read_manifest
from nmsynth.data.manifest_cohort import cases_of
from nmsynth.workflows import study_recipe
from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset
from nmsynth.workflows.study_recipe import StudyPlan, load_study_recipe, plan_studies, simulate_study

PET = ("scan", "uncorrected", "reference/noise_free", "reference/truth", "reference/ct", "reference/lesions")
VIEWS = ("anterior", "posterior")
KNOWN = ("noise_free", "full_count", "lesions", "body")
PLANAR = (*VIEWS, *(f"reference/{name}_{view}" for name in KNOWN for view in VIEWS))


def _rows(plan, tmp_path, monkeypatch, names):
    """Rows of a study whose command writes empty files of these names."""

    def write(settings, output):
        for name in names:
            path = output / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return {"told": {"age": 71.5, "source_tracer": "FDG"}}

    model, _ = study_recipe._workflow(plan.kind)
    monkeypatch.setattr(study_recipe, "_workflow", lambda _: (model, write))
    return simulate_study(plan, tmp_path, file_format="nifti")


def _plan(name, **overrides):
    return plan_studies(load_study_recipe(name, overrides), 1, 5)[0]


def test_uncorrected_pet_is_the_source_of_the_corrected(tmp_path, monkeypatch):
    rows, _ = _rows(_plan("nac-pet"), tmp_path, monkeypatch, PET)
    roles = {row.name: row.role for row in rows}
    assert roles["uncorrected"] == "source"
    assert roles["scan"] == "target"
    assert roles["noise_free"] == "reference"
    assert roles["ct"] == "anatomy"
    assert len(cases_of(rows)) == 1


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("body-spect", "scan", "noise_free"),
        ("fewer-views-spect", "sparse", "noise_free"),
        ("nac-spect", "uncorrected", "noise_free"),
        ("nac-ct", "uncorrected", "ct"),
    ],
)
def test_what_a_camera_lacks_is_the_source(name, source, target, tmp_path, monkeypatch):
    plan = _plan(name)
    assert set(plan.settings.get("also", ())) == ({source} if source != "scan" else set())
    images = (*PET, *plan.settings.get("also", ()))
    rows, _ = _rows(plan, tmp_path, monkeypatch, tuple(dict.fromkeys(images)))
    roles = {row.role: row.name for row in rows if row.name in (source, target)}
    assert (roles["source"], roles["target"]) == (source, target)


def test_scans_at_further_counts_are_levels_of_one_case(tmp_path, monkeypatch):
    plan, planar = _plan("perfusion-spect"), _plan("bone-planar", **{"settings.further_fractions": [0.01]})
    names = ("scan", "scan_1", "scan_2", "scan_3", "reference/noise_free", "reference/segments")
    rows, _ = _rows(plan, tmp_path, monkeypatch, names)
    sources = {row.name: row.count_fraction for row in rows if row.role == "source"}
    assert sources == {"scan": 0.5, "scan_1": 0.25, "scan_2": 0.125, "scan_3": 0.0625}
    assert len({row.channel for row in rows if row.role == "source"}) == 1
    views = [f"{name}{view}" for name in ("", "scan_1_") for view in VIEWS]
    monkeypatch.undo()
    cases = cases_of(_rows(planar, tmp_path / "planar", monkeypatch, (*views, *PLANAR[2:]))[0])
    for view, own in zip(VIEWS, cases.values(), strict=True):
        found = {row.path: row.count_fraction for row in own if row.role == "source"}
        assert found[f"study/scan_1_{view}.nii.gz"] == 0.01
        assert len(found) == 2


def test_settings_that_go_together_are_drawn_together():
    plans = plan_studies(load_study_recipe("body-spect"), 40, 0)
    drawn = {(p.settings["tracer"], p.settings["phantom"], p.settings["disease"]) for p in plans}
    assert drawn == {
        ("MDP", "whole-body", None),
        ("DOTATATE", "whole-body", None),
        ("HMPAO", "brain", "alzheimer"),
        ("ioflupane", "brain", "normal"),
        ("ioflupane", "brain", "parkinson"),
    }


def test_ct_is_a_source_without_count_fraction(tmp_path, monkeypatch):
    rows, _ = _rows(_plan("ct-pet"), tmp_path, monkeypatch, PET)
    found = {row.role: row for row in rows if row.role in ("source", "target")}
    ct = next(row for row in rows if row.name == "ct")
    assert ct.role == "source"
    assert ct.count_fraction is None
    assert ct.channel == "ct"
    assert found["target"].name == "noise_free"


def test_views_are_cases_of_one_subject(tmp_path, monkeypatch):
    plan = _plan("bone-planar")
    cases = cases_of(_rows(plan, tmp_path, monkeypatch, PLANAR)[0])
    assert list(cases) == ["bone-planar-00000-anterior", "bone-planar-00000-posterior"]
    for view, rows in zip(VIEWS, cases.values(), strict=True):
        assert {row.subject for row in rows} == {"bone-planar-00000"}
        assert all(view in row.path for row in rows)
        assert {row.name: row.role for row in rows} == {
            "scan": "source",
            "noise_free": "target",
            "full_count": "reference",
            "lesions": "mask",
            "body": "mask",
        }
        assert rows[0].count_fraction == plan.settings["count_fraction"]


def test_dicom_companions_stand_in_one_row_of_their_role(tmp_path, monkeypatch):
    plan = _plan("ct-pet")
    model, _ = study_recipe._workflow("pet")

    def write(settings, output):
        for name in ("pet", "ct"):
            (output / name).mkdir(parents=True)
            (output / name / "1.dcm").touch()
        (output / "reference").mkdir()
        for name in ("ct", "noise_free"):
            (output / "reference" / f"{name}.nii.gz").touch()

    monkeypatch.setattr(study_recipe, "_workflow", lambda _: (model, write))
    rows, _ = simulate_study(plan, tmp_path, file_format="dicom")
    sources = [row for row in rows if row.role == "source" and row.name == "ct"]
    assert [row.path for row in sources] == ["study/ct"]
    assert sources[0].count_fraction is None


def test_the_place_of_a_label_map_is_in_no_record(tmp_path, monkeypatch):
    plan = _plan("brain-mr-pet", **{"settings.labels": "/home/someone/head.nii.gz"})
    _, facts = _rows(plan, tmp_path, monkeypatch, PET)
    assert "someone" not in json.dumps(facts)
    assert facts["settings"]["tracer"] == "FDG"


def test_a_role_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"roles\.mr"):
        load_study_recipe("mr-pet", {"roles.mr": "input"})


def test_brains_need_no_label_map(tmp_path):
    changes = {"settings.voxel_mm": 8.0, "settings.length_mm": 64.0}
    settings = SimulateCohortSettings(recipe="brain-mr-pet", subjects=1)
    simulate_dataset(settings, tmp_path / "out", overrides=changes, workers=1)
    rows = read_manifest(tmp_path / "out" / "manifest.csv")
    assert {(row.name, row.role) for row in rows} >= {("mr", "source"), ("noise_free", "target"), ("regions", "mask")}


def test_roles_of_a_plan_are_those_of_its_recipe():
    assert isinstance(_plan("mr-ct"), StudyPlan)
    assert _plan("mr-ct").roles["ct"] == "target"


@pytest.mark.slow
def test_a_bone_scan_is_simulated_and_prepared(tmp_path):
    pytest.importorskip("lightning")
    from nmsynth.workflows.method_preparation import prepare_dataset
    from nmsynth.workflows.planning import plan_dataset

    settings = SimulateCohortSettings(recipe="bone-planar", subjects=2)
    simulate_dataset(settings, tmp_path / "data", overrides={"settings.pixel_mm": 9.6}, workers=1)
    assert len(cases_of(read_manifest(tmp_path / "data"))) == 4
    plan = plan_dataset(tmp_path / "data", device="cpu")
    assert plan.dimensions == "2d"
    case = prepare_dataset(tmp_path / "data", plan, tmp_path / "prepared", workers=1)[0]
    source, target = np.asarray(case.source(0)[0]), np.asarray(case.target)
    assert source.shape == target.shape
    # counts have no scale of their own, so both are learned by their own level
    assert source.sum() == pytest.approx(target.sum(), rel=0.05)
    assert case.record["target_normalisation"]["scale"] > 1.5 * case.record["normalisations"][0]["scale"]


def test_what_is_told_of_a_brain_stands_in_the_manifest(tmp_path, monkeypatch):
    plan = _plan("mr-amyloid")
    assert plan.settings["tracer"] == "florbetapir"
    rows, _ = _rows(plan, tmp_path, monkeypatch, ("scan", "reference/mr", "reference/suvr", "reference/regions"))
    roles = {row.name: row.role for row in rows}
    assert roles == {"scan": "reference", "mr": "source", "suvr": "target", "regions": "mask"}
    assert {row.conditions for row in rows} == {(("age", "71.5"),)}  # a biomarker is not stated here


def test_two_tracers_are_drawn_as_a_pair():
    pairs = {
        (plan.settings["tracer"], plan.settings["target_tracer"])
        for plan in plan_studies(load_study_recipe("two-tracers"), 30, 1)
    }
    assert len(pairs) == 4
    assert ("early-florbetapir", "florbetapir") not in pairs


@pytest.mark.parametrize("name", ["body-spect", "fewer-views-spect"])
def test_labels_of_spect_are_lesions_and_half_of_the_scans_are_not_corrected(name, tmp_path, monkeypatch):
    plans = plan_studies(load_study_recipe(name), 12, 5)
    assert {plan.settings["attenuation_correction"] for plan in plans} == {True, False}
    names = ("scan", "sparse", *(f"reference/{known}" for known in ("noise_free", "lesions", "organs", "regions")))
    rows, _ = _rows(plans[0], tmp_path, monkeypatch, names)
    assert {row.name for row in rows if row.role == "mask"} == {"lesions"}  # all of which count more in a training
    assert {row.name for row in rows if row.role == "reference"} >= {"organs", "regions"}  # for a proof


def test_the_outline_of_an_organ_is_no_label(tmp_path, monkeypatch):
    names = (*PLANAR, *(f"reference/organ_{view}" for view in VIEWS))
    rows, _ = _rows(_plan("fewer-counts-planar"), tmp_path, monkeypatch, names)
    assert {row.name: row.role for row in rows if row.name in ("organ", "lesions")} == {
        "organ": "reference", "lesions": "mask",
    }  # fmt: skip
