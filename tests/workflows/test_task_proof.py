"""The proof of a task, with a model of the user's on tiny studies."""

import json

import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.workflows import task_proof
from nmsynth.workflows.task_proof import ABLATION, COUNTS, ProofOptions, prove_task
from nmsynth.workflows.tasks import TaskLevels, TaskTest, load_task
from tests.workflows.test_task_demo import HEART, image, package_of


def short(name, **changes):
    """A task on small studies, in one test at one level."""
    task = load_task(name)
    tests = (TaskTest(name="another camera", changes=HEART | {"settings.filter_fwhm_mm": 20.0}),)
    levels = TaskLevels(key="draws.count_fraction", values=(0.125,))
    return task.model_copy(update={"tests": tests, "levels": levels} | changes)


def test_a_model_that_gives_back_its_source_beats_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(task_proof, "load_task", short)
    spect = image("nm", "NM", Unit.BQML, "level")
    package = package_of(tmp_path, spect, spect, spacing_mm=(9.6, 9.6, 9.6))
    options = ProofOptions("lowcount-mpi", str(package), str(package), n_subjects=1)
    proof = prove_task(options, tmp_path / "scratch", workers=1)
    level = proof.levels[0]
    assert (level.test, level.level, level.n_subjects) == ("another camera", "1/8", 1)
    assert level.summary.differences["source"]["NRMSE"].value == pytest.approx(0.0, abs=1e-3)
    assert level.summary.differences[ABLATION]["NRMSE"].value == 0.0
    assert set(proof.baselines(level)) == {"source", "best Gaussian of the source"}
    assert {row["verdict"] for row in proof.verdicts()} <= {"worse than one", "not told apart"}
    assert json.loads(json.dumps(proof.to_json()))["levels"][0]["n_subjects"] == 1
    kept = sorted((tmp_path / "scratch").rglob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    prove_task(options, tmp_path / "scratch", workers=1)
    assert [path.stat().st_mtime_ns for path in kept] == stamps  # nothing is done twice


def test_one_scan_serves_all_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(
        task_proof, "load_task", lambda name: short(name, levels=TaskLevels(key=COUNTS, values=(0.5, 0.02)))
    )
    spect = image("nm", "NM", Unit.BQML, "level")
    package = package_of(tmp_path, spect, spect, spacing_mm=(9.6, 9.6, 9.6))
    simulated = []
    simulate = task_proof.simulate_task_study
    monkeypatch.setattr(task_proof, "simulate_task_study", lambda *a: simulated.append(1) or simulate(*a))
    proof = prove_task(ProofOptions("lowcount-mpi", str(package), n_subjects=1), tmp_path / "scratch", workers=1)
    assert [level.level for level in proof.levels] == ["1/2", "1/50"]
    many, few = (level.summary.arms["source"]["NRMSE"].value for level in proof.levels)
    assert few > 2 * many
    assert len(simulated) == 1


def test_fitted_baselines_need_the_training():
    with pytest.raises(InputError, match="fitted to its training patients; no training is named"):
        prove_task(ProofOptions("mr-to-ct", "any"), None)
