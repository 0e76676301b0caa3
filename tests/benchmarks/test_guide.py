"""A guide is given to some, left out for others, and compared patient by patient; few structures are means."""

import pytest
from benchmarks.guide import TESTED, changes_of, lines_of, manifests, measured

from nmsynth.data.manifest import ManifestRow, read_manifest, write_manifest
from nmsynth.evaluation.proof import LEAST_PAIRS
from nmsynth.models.method_package import save_method_package
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows.study_recipe import load_study_recipe
from nmsynth.workflows.task_study import at_level, plan_task_studies, simulate_task_study
from nmsynth.workflows.tasks import load_task
from tests.benchmarks.test_card_findings import guide_table
from tests.models.method_packages import CT, PET, make_method_card, make_plan, silenced, tiny_method


def test_false_structures_are_means_and_lines_name_the_two_comparisons():
    table = guide_table()
    level = table["levels"]["0.1"]
    own = level["arms"]["prediction"]["false structures"]["value"]
    assert 0 < own < 1  # a median would be 0 or 1
    assert level["arms"]["guide missing"]["false structures"]["value"] > own
    assert [line.split(":")[1] for line in lines_of(table)] == [
        " guided less guide missing", " guided less trained without",
    ]  # fmt: skip


def test_every_third_patient_lacks_the_guide(tmp_path):
    rows = [
        ManifestRow(f"c{k}", f"c{k}", "train", role, name, f"{k}-{name}.nii.gz", None, modality, "")
        for k in range(6)
        for role, name, modality in (("source", "scan", "PT"), ("source", "ct", "CT"), ("target", "noise_free", "PT"))
    ]
    for row in rows:
        (tmp_path / row.path).touch()
    write_manifest(tmp_path / "manifest.csv", rows)
    kept = {name: read_manifest(path) for name, path in manifests(tmp_path, "ct").items()}
    assert sum(row.name == "ct" for row in kept["guided"]) == 4
    assert not any(row.name == "ct" for row in kept["plain"])
    assert {row.case for row in kept["plain"]} == {row.case for row in rows}


@pytest.mark.parametrize("guide", ["ct", "mr"])
def test_studies_have_the_guide_as_a_source(guide):
    recipe = load_study_recipe("fewer-counts-pet", changes_of(guide))
    assert recipe.roles[guide] == "source"


def test_a_patient_is_measured_with_the_guide_without_it_and_by_the_other_network(tmp_path):
    grid = {"spacing_mm": (8.0, 8.0, 8.0), "patch": (8, 16, 16), "conditions": (), "residual": True}
    models = {}
    for name, sources in (("guided", (PET, CT)), ("plain", (PET,))):
        plan = make_plan(sources=sources, target=PET, **grid)
        card = make_method_card(plan, envelope=envelope_from_plan(plan))
        models[name] = save_method_package(tmp_path / name, method=silenced(tiny_method(card)), card=card)
        models[name] = tmp_path / name
    task = load_task("lowcount-pet")
    changes = changes_of("ct") | {"settings.length_mm": 64.0, "draws.voxel_mm": [8.0]}
    plan = plan_task_studies(task, 1, 0, changes)[0]
    study = simulate_task_study(task, plan, tmp_path)[0]
    assert [row.name for row in study.rows if row.role == "source"].count("ct") == 1
    found = measured(at_level(study, "scan_1"), models, "ct", tmp_path)
    errors = [found[arm]["NRMSE"] for arm in ("prediction", "guide missing", "trained without")]
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-4)  # all give back their source
    assert {"source", "full counts"} <= set(found)


def test_enough_patients_are_tested_for_a_verdict():
    assert TESTED >= 2 * LEAST_PAIRS
