"""The proof of a task, with a model of the user's on tiny studies."""

import json

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.numbered import numbered
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow, by_case, write_manifest
from nmsynth.data.prepared import prepare_case
from nmsynth.evaluation.evaluate import EQUAL_NOISE_GAUSSIAN
from nmsynth.evaluation.proof import summarise_proof
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows import task_proof
from nmsynth.workflows.planning import PLAN_FILE, write_plan
from nmsynth.workflows.task_proof import ABLATION, LevelProof, ProofOptions, TaskProof, prove_task
from nmsynth.workflows.task_study import TaskStudy, at_level, evaluate_task_study
from nmsynth.workflows.tasks import TaskLevels, TaskTest, load_task, task_names
from tests.helpers import make_volume
from tests.models.method_packages import make_plan
from tests.workflows.test_task_demo import HEART, image, package_of


def short(name, **changes):
    """A task on small studies, in one test at one level."""
    task = load_task(name).model_copy(update={"baselines": ()})
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
    assert {row["verdict"] for row in proof.verdicts()} == {"not told apart: too few"}
    assert json.loads(json.dumps(proof.to_json()))["levels"][0]["n_subjects"] == 1
    kept = sorted((tmp_path / "scratch").rglob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    prove_task(options, tmp_path / "scratch", workers=1)
    assert [path.stat().st_mtime_ns for path in kept] == stamps  # nothing is done twice


def test_one_scan_serves_all_counts(tmp_path, monkeypatch):
    levels = TaskLevels(key="draws.count_fraction", values=(0.5, 0.02))
    monkeypatch.setattr(task_proof, "load_task", lambda name: short(name, levels=levels))
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


def recovered(recovery, noise):
    """Recoveries near a value of 12 patients, and the noise of the arm."""
    return [{"recovery of lesions": recovery + 0.001 * k, "NRMSE": 0.1, "noise": noise} for k in range(12)]


def proof_of(arms, task="lowcount-spect", ablation=None):
    """A proof of one test from the numbers of each arm's patients."""
    patients = [{arm: numbers[k] for arm, numbers in arms.items()} for k in range(12)]
    wanted = {"recovery of lesions": "one", "NRMSE": "lower", "noise": "lower"}
    level = LevelProof("trunk, as trained", "1/8", summarise_proof(patients, wanted), 12)
    return TaskProof(load_task(task), {"name": "m", "sha256": "a"}, ablation or {}, (level,))


def test_recovery_is_judged_against_what_has_no_more_noise_than_the_model():
    arms = {
        "prediction": recovered(0.7, 0.05),
        "source": recovered(0.98, 0.4),  # which nobody smoothed
        "best Gaussian of the source": recovered(0.8, 0.09),
        EQUAL_NOISE_GAUSSIAN: recovered(0.5, 0.05),
        "non-local-means": recovered(0.6, 0.04),
        "wavelet": recovered(0.9, 0.2),
    }
    proof = proof_of(arms)
    level, row = proof.levels[0], next(p for p in proof.task.proof if p.heading == "recovery of lesions")
    assert row.at_equal_noise
    assert proof.baselines(level, row) == [EQUAL_NOISE_GAUSSIAN, "non-local-means"]
    assert EQUAL_NOISE_GAUSSIAN not in proof.baselines(level)
    verdicts = {v["number"]: v["verdict"] for v in proof.verdicts()}
    assert verdicts["recovery of lesions"] == "better than all"
    assert proof.rows()[0]["noise"].startswith("0.05 (")
    assert proof.to_json()["levels"][0]["baselines_at_equal_noise"]["recovery of lesions"][0] == EQUAL_NOISE_GAUSSIAN
    sentence = proof.to_json()["judgement"]["sentence"]
    assert sentence.startswith("Does not beat its baselines: NRMSE is not told apart in 1 of 1 as trained; recovery of")
    # a filter that is as quiet and keeps more is not beaten, nor is one of which it is not told that it is noisier
    quiet = proof_of(arms | {"wavelet": recovered(0.9, 0.05)})
    assert {v["number"]: v["verdict"] for v in quiet.verdicts()}["recovery of lesions"] == "worse than one"


def test_the_ablation_has_a_verdict_of_its_own_and_is_no_baseline():
    arms = {
        "prediction": recovered(0.7, 0.05),
        ABLATION: recovered(0.65, 0.05),
        EQUAL_NOISE_GAUSSIAN: recovered(0.5, 0.05),
        "source": recovered(0.98, 0.4),
    }
    found = proof_of(arms, ablation={"name": "o", "sha256": "b"})
    verdict = next(v for v in found.verdicts() if v["number"] == "recovery of lesions")
    assert (verdict["verdict"], verdict[ABLATION]) == ("better than all", "better than all")
    assert ABLATION not in proof_of(arms).verdicts()[0]


def test_fitted_baselines_need_the_training():
    with pytest.raises(InputError, match="fitted to its training patients; no training is named"):
        prove_task(ProofOptions("mr-to-ct", "any"), None)


def test_false_spots_are_summarised_by_means():
    means = {p.measure for name in task_names() for p in load_task(name).proof if p.summary == "mean"}
    spots = {"missed hot spots", "false hot spots", "false structures", "filled defects", "false defects"}
    assert means == spots | {"summed score error", "interval coverage"}


@pytest.mark.parametrize("name", ["lowcount-spect", "sparse-spect"])
def test_tests_of_spect_do_not_mix_trunk_and_brain(name):
    for test in load_task(name).tests:
        assert len({choice.get("phantom", "trunk") for choice in test.changes["choices"]}) == 1


@pytest.fixture
def planar_run(tmp_path):
    """A training on views at a half and a hundredth of 100 counts a pixel, and one view that it did not have."""
    view = image("nm", "NM", Unit.COUNTS, "level")
    plan = make_plan(
        sources=(view,), target=view, conditions=(), dimensions="2d", patch=(1, 16, 16), spacing_mm=(1.0, 4.0, 4.0)
    )
    expected = np.zeros((1, 96, 96), dtype=np.float32)
    expected[0, 20:76, 20:76], expected[0, 50:56, 50:56] = 100.0, 300.0
    expected = ndimage.gaussian_filter(expected, (0.0, 2.0, 2.0))
    known = {"spacing_mm": (1.0, 4.0, 4.0), "unit": Unit.COUNTS, "modality": "NM"}
    run, rng = tmp_path / "run", np.random.default_rng(0)

    def case(name, split, folder, fractions):
        """Rows of a case, whose images are written."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for number, counts in enumerate((*fractions, None)):
            array = expected if counts is None else rng.poisson(counts * expected)
            fraction = 1.0 if counts is None else counts
            volume = make_volume(array=array, acquisition=Acquisition(simulated_count_fraction=fraction), **known)
            path = write_nifti(volume, folder / f"{name}-{fraction:g}.nii.gz")
            role, title = ("target", "noise_free") if counts is None else ("source", numbered("scan", number))
            rows.append(ManifestRow(name, name, split, role, title, path.name, counts, "NM", "counts"))
        return rows

    rows = [row for k in range(3) for row in case(f"c{k}", "train", run / "dataset", (0.5, 0.01))]
    write_manifest(run / "dataset" / "manifest.csv", rows)
    write_plan(plan, run, run / PLAN_FILE)
    for name, own in by_case(rows).items():
        prepare_case(name, own, run / "dataset", plan, run / "prepared")
    tested = case("tested", "train", tmp_path / "tested", (0.5, 0.01))
    target = read(tmp_path / "tested" / tested[-1].path)
    return run, TaskStudy(load_task("lowcount-planar"), tmp_path / "tested", tuple(tested), target)


def test_one_scan_serves_all_numbers_of_views(tmp_path):
    levels = TaskLevels(key="draws.sparse_factor", values=(4, 8))
    (changes, shown), *others = task_proof.levels_of(load_task("sparse-spect").model_copy(update={"levels": levels}))
    assert not others
    assert shown == [("4", "sparse"), ("8", "sparse_1")]
    rows = [
        ManifestRow("c", "c", "train", role, name, f"{name}.nii.gz", None, "NM", "Bq/mL")
        for role, name in (("source", "sparse"), ("source", "sparse_1"), ("condition", "mr"), ("target", "noise_free"))
    ]
    study = TaskStudy(load_task("sparse-spect"), tmp_path, tuple(rows), make_volume())
    assert [row.name for row in at_level(study, "sparse").rows] == ["sparse", "mr", "noise_free"]
    assert [row.name for row in at_level(study, "sparse_1").rows] == ["sparse_1", "mr", "noise_free"]
    assert changes == {"draws.sparse_factor": [4.0], "settings.further_sparse_factors": [8.0]}


@pytest.mark.parametrize("name", ["non-local-means", "wavelet"])
def test_a_filter_is_fitted_for_each_level_of_counts_and_comes_at_the_counts_of_the_source(planar_run, tmp_path, name):
    run, study = planar_run
    details = {task_proof._fitted(run, name, label).detail for label in ("0.5", "0.01")}
    assert len(details) == 2
    strengths = [float(detail.split(" (")[0].split()[-1]) for detail in details]
    assert strengths[0] != strengths[1]
    for number, fraction in enumerate((0.5, 0.01)):
        shown = at_level(study, numbered("scan", number))
        source = read(next(iter(shown.sources.values())))
        work = tmp_path / f"{fraction}"
        work.mkdir()
        found = task_proof.fitted_image(run, name, shown, source, work)
        assert found.acquisition.simulated_count_fraction == fraction
        expected = fraction * study.target.array
        assert found.array.sum() == pytest.approx(expected.sum(), rel=0.05)
        assert ((found.array - expected) ** 2).mean() < 0.8 * ((source.array - expected) ** 2).mean()
        metrics = evaluate_task_study(shown, {"prediction": source, name: found}, source)
        assert metrics.value("NRMSE", arm=name) < metrics.value("NRMSE", arm="source")
