"""The table of couplings: what is gathered of subjects, which rows there are, and what their numbers say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.card_findings import kind_of
from benchmarks.coupling import WITHHELD, Arm, answered, arms_of, gather, measure, rows_of, verdicts_of, write_table
from benchmarks.coupling_models import trainings_of

from benchmarks import brain_templates, closed_loop, coupling, early_windows, registration_error
from nmsynth.core.plan import ConditionPlan
from nmsynth.data.prepared import prepare_case
from nmsynth.evaluation.ambiguity import DEFINITIONS, summarise_ambiguity, to_json
from nmsynth.metrics.intervals import Widening
from nmsynth.models.card import IntervalCard
from nmsynth.models.method_package import save_method_package
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.workflows import task_proof
from nmsynth.workflows.planning import PLAN_FILE, write_plan
from nmsynth.workflows.study_recipe import load_study_recipe, simulate_study
from nmsynth.workflows.task_demo import SEEDS_FROM
from nmsynth.workflows.task_study import plan_task_studies, simulate_task_study
from nmsynth.workflows.tasks import TaskTest, load_task
from tests.models.method_packages import make_method_card, make_plan, tiny_method
from tests.workflows.test_task_demos import MR, ratio

FDG, AMYLOID, TRACERS = (load_task(name) for name in ("mr-to-fdg", "mr-to-amyloid", "tracer-to-tracer"))
REGIONS = ("precuneus", "parietal", "lateral temporal", "pons")


def subject(values, severity=0.0, biomarker=1.0):
    """A model that says the anatomy's mean plus a tenth, of samples that are 0.2 apart."""
    usual = dict(zip(REGIONS, values, strict=True))
    said = {name: value + 0.1 for name, value in usual.items()}
    samples = [{name: value + step for name, value in said.items()} for step in (-0.1, 0.1)]
    truth = {name: value - severity for name, value in usual.items()} | {"small": 1.0}
    return {
        "severity": severity, "atrophy": 0.5, "biomarker": biomarker, "truth": truth, "anatomy": usual | {"small": 1.0},
        "image": said, "samples": samples,
    }  # fmt: skip


def test_answers_are_of_the_regions_of_all_and_disease_raises_a_composite():
    results = [subject((2.0, 1.5, 1.0, 1.0)), subject((1.6, 1.2, 0.8, 1.0), severity=0.5, biomarker=3.0)]
    mean = {"small": 1.0, "parietal": 1.4, "precuneus": 1.9, "lateral temporal": 0.9, "pons": 1.0, "never": 1.0}
    found = gather(results, mean, Widening(factor=2.0, floor=0.0), "metabolic cortex")
    assert found.truth.tolist() == [
        [1.5, 2.0, 1.0, 1.0],
        pytest.approx([0.7, 1.1, 0.3, 0.5]),
    ]  # in the order of the means
    assert found.population_mean.tolist() == [1.4, 1.9, 0.9, 1.0]
    assert found.anatomy[1].tolist() == [1.2, 1.6, 0.8, 1.0]
    assert found.half_width == pytest.approx(np.full((2, 4), 2 * np.std([-0.1, 0.1], ddof=1)))
    assert found.composite == pytest.approx([-1.6, -1.3])
    assert found.true_composite == pytest.approx([-1.5, -0.7])
    assert found.anatomy_composite == pytest.approx([-1.5, -1.2])
    assert found.severity.tolist() == [0.0, 0.5]
    assert found.biomarker is None  # it speaks of plaques
    del results[0]["truth"]["parietal"]
    left = gather(results, mean, Widening(2.0, 0.0), "metabolic cortex")
    assert left.severity.tolist() == [0.5]  # who cannot be measured is left out
    del results[1]["image"]["precuneus"]
    with pytest.raises(SystemExit, match="metabolic cortex is too small in all subjects"):
        gather(results, mean, Widening(2.0, 0.0), "metabolic cortex")


def names(task, coupling, optional=(), *, shifts=False):
    return [arm.name for arm in arms_of(task, coupling, optional, shifts=shifts)]


def test_rows_are_told_and_untold_as_trained_and_elsewhere():
    options = ("age", "biomarker")
    assert names(FDG, "none") == ["none"]
    assert names(AMYLOID, "strong", options) == ["strong", f"strong, {WITHHELD}"]
    shifted = names(AMYLOID, "published", options, shifts=True)
    assert shifted[2:] == ["published, a usual T1-weighted MR, finer voxels", "published, another PET scanner"]
    assert names(TRACERS, "none") == [f"none, {test.name}" for test in TRACERS.tests if not test.shifted]
    for task in (FDG, AMYLOID, TRACERS):
        for test in task.tests:
            load_study_recipe(task.study, {**test.changes, "settings.coupling": "none"})


def test_a_row_knows_what_decides_and_whether_anything_speaks_of_it():
    plain, untold = arms_of(AMYLOID, "none", ("age", "biomarker"), shifts=False)
    assert (plain.composite, plain.is_blind, untold.is_blind) == ("amyloid cortex", False, True)
    assert next(arms_of(FDG, "none", (), shifts=False)).is_blind
    assert not next(arms_of(FDG, "strong", (), shifts=False)).is_blind
    found = {arm.test.name: (arm.composite, arm.is_blind) for arm in arms_of(TRACERS, "none", (), shifts=False)}
    assert found == {
        "FDG to florbetapir": ("amyloid cortex", True),
        "florbetapir to FDG": ("metabolic cortex", True),
        "early florbetapir to FDG": ("metabolic cortex", False),  # both show metabolism, at every coupling
        "FDG to early florbetapir": ("metabolic cortex", False),
    }


BLIND = Arm(FDG, "none", FDG.tests[0])
FALLEN = {
    "coverage": [0.88, 0.85, 0.91], "AUC": [0.55, 0.45, 0.65], "AUC less biomarker": None,
    "error of anatomy's mean": [0.05, 0.04, 0.06], "less anatomy's mean": [0.001, -0.001, 0.002],
    "spread beyond anatomy": [0.1, 0.05, 0.2],
}  # fmt: skip


def said(nominal=0.9, arm=BLIND, **changes):
    return verdicts_of({**FALLEN, **changes}, nominal, arm)


def test_a_model_that_says_the_mean_is_told_from_one_that_knows_and_one_that_errs():
    assert said() == {
        "coverage": "nominal 0.90 within the interval", "decision": "AUC 0.5 within the interval",
        "collapse": "collapses to the mean",
    }  # fmt: skip
    assert said(coverage=[0.7, 0.65, 0.75])["coverage"] == "nominal 0.90 not reached"
    assert said(coverage=[0.97, 0.95, 0.99])["coverage"] == "nominal 0.90 passed"
    assert said(AUC=[0.7, 0.6, 0.8])["decision"] == "AUC 0.5 outside the interval"
    leak = {"less anatomy's mean": [-0.01, -0.015, -0.005]}
    assert said(**leak)["collapse"] == "better than can be known: look for a leak"
    worse = {"less anatomy's mean": [0.02, 0.01, 0.03]}
    assert said(**worse)["collapse"] == "no: worse than the anatomy's mean"
    assert said(**{"spread beyond anatomy": [0.5, 0.4, 0.6]})["collapse"] == "no: it varies beyond the anatomy"
    assert set(said(arm=Arm(FDG, "published", FDG.tests[0]))) == {"coverage"}


def test_a_told_biomarker_is_judged_by_what_the_image_adds():
    told = Arm(AMYLOID, "none", AMYLOID.tests[0], has_options=True)
    assert said(arm=told, **{"AUC less biomarker": [0.0, -0.05, 0.05]})["biomarker"].startswith(
        "the image adds nothing"
    )
    assert said(arm=told, **{"AUC less biomarker": [0.1, 0.05, 0.15]})["biomarker"] == "the image adds to it"
    assert "collapse" not in said(arm=told)


def test_the_table_has_a_line_a_row_and_a_card_can_take_the_numbers(tmp_path, capsys):
    results = [subject((2.0 - 0.1 * k, 1.5, 1.0, 1.0), severity=0.5 * (k % 2)) for k in range(8)]
    mean = dict(zip(REGIONS, (2.0, 1.5, 1.0, 1.0), strict=True))
    answers = gather(results, mean, Widening(2.0, 0.0), "metabolic cortex")
    found = to_json(summarise_ambiguity(answers))
    row = {
        "model": {"name": "m", "sha256": "s"}, "subjects": 8, "test": "as trained", "told": "as trained",
        "composite": "metabolic cortex", "nominal coverage": 0.9, **found, "verdicts": verdicts_of(found, 0.9, BLIND),
    }  # fmt: skip
    assert set(found) == set(DEFINITIONS)
    line = rows_of({"none": row})[0]
    assert (line["coupling"], line["n"], line["coverage (nominal)"][-6:]) == ("none", 8, "(0.90)")
    assert "coverage: nominal 0.90" in line["verdict"]
    write_table("mr-to-fdg", {"none": row}, tmp_path)
    assert "| none | 8 |" in (tmp_path / "mr-to-fdg.md").read_text()
    kept = json.loads((tmp_path / "mr-to-fdg.json").read_text())
    metrics = kind_of(kept).convert(kept).metrics
    assert {"error", "less anatomy's mean", "nominal coverage", "AUC of truth"} <= {m.name for m in metrics}
    assert kind_of(kept).weights(kept) == {"s"}


def test_three_trainings_of_which_one_may_be_there(tmp_path):
    found = trainings_of("mr-to-fdg", tmp_path, published=tmp_path / "given")
    assert [t.coupling for t in found.values()] == ["none", "published", "strong"]
    assert found["published"].run == tmp_path / "given"
    assert found["none"].run == tmp_path / "none"
    assert not found["none"].is_done
    (tmp_path / "given" / "package" / "mr-to-fdg").mkdir(parents=True)
    (tmp_path / "given" / "package" / "mr-to-fdg" / "card.json").write_text("{}")
    assert found["published"].is_done


def test_a_test_without_tracers_is_of_the_task():
    assert Arm(FDG, "none", TaskTest(name="any")).tracers == ("", "FDG")


def test_a_row_is_measured_of_a_model_and_its_training(monkeypatch, tmp_path):
    """An untrained network that may be told age and biomarker; everything from the study to the verdict."""
    conditions = tuple(
        ConditionPlan(name=name, kind=kind, scale=scale, optional=True)
        for name, kind, scale in (("age", "number", 10.0), ("biomarker", "logarithm", 0.5))
    )
    plan = make_plan(
        task="mr-to-amyloid", sources=(MR,), target=ratio(florbetapir="whole cerebellum"), conditions=conditions,
        spacing_mm=(8.0, 8.0, 8.0), patch=(8, 16, 16),
    )  # fmt: skip
    interval = IntervalCard(
        coverage=0.9, n_samples=4, voxel_factor=2.0, voxel_floor=0.1, region_factor=2.0, region_floor=1.0, n_cases=9,
        n_regions=9, sides_together=True,
    )  # fmt: skip
    card = make_method_card(
        plan, family="subject-vae", envelope=envelope_from_plan(plan, tracers=()), interval=interval
    )
    run = tmp_path / "run"
    save_method_package(run / "package" / "tiny", method=tiny_method(card), card=card)
    write_plan(plan, run, run / PLAN_FILE)
    coarse = {"settings.voxel_mm": 8.0}
    for study in plan_task_studies(AMYLOID, 1, 3, coarse):
        rows, _ = simulate_study(study, tmp_path / "patient", file_format="nifti")
        prepare_case(study.case_id, rows, tmp_path / "patient", plan, run / "prepared")
    arm = Arm(AMYLOID, "none", TaskTest(name="coarse", changes=coarse), withheld=("age", "biomarker"), has_options=True)
    simulated = []
    monkeypatch.setattr(coupling, "simulate_task_study", lambda *a: simulated.append(a) or simulate_task_study(*a))
    answered((replace(arm, withheld=()), arm), run, 1, tmp_path / "scratch", 1)
    found = measure(arm, run, 1, tmp_path / "scratch", 1)
    assert (found["model"]["name"], found["told"], found["nominal coverage"]) == ("tiny-method", WITHHELD, 0.9)
    assert found["error"][0] > 0
    assert 0.0 < found["error of anatomy's mean"][0] < 0.5
    assert found["verdicts"]["coverage"].startswith("nominal 0.90")
    kept = [json.loads(path.read_text()) for path in (tmp_path / "scratch").rglob("*.json")]
    assert {k["biomarker"] > 0 for k in kept} == {True}
    assert len(kept[0]["samples"]) == 4
    told = measure(replace(arm, withheld=()), run, 1, tmp_path / "scratch", 1)
    assert told["error"] != found["error"]  # what was withheld was not told
    assert len(simulated) == 1  # the subject is the same with and without


def test_no_two_measurements_share_their_subjects():
    starts = {
        "demo": SEEDS_FROM, "closed loop": closed_loop.FIRST_SEED, "proof": task_proof.SEED,
        "coupling": coupling.FIRST_SEED, "early": early_windows.FIRST_SEED,
        "registration": registration_error.FIRST_SEED, "templates": brain_templates.SEED,
    }  # fmt: skip
    assert len(set(starts.values())) == len(starts)
    assert all(SEEDS_FROM <= seed < 12_000 for seed in starts.values())
