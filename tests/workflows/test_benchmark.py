import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.core.plan import read_plan
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.io import read
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.benchmark import (
    benchmark_status,
    known_results,
    run_benchmark,
    start_in_background,
    write_tables,
)
from nmsynth.workflows.benchmark_baselines import fit_baseline
from nmsynth.workflows.benchmark_budget import Speed, budget_of
from nmsynth.workflows.benchmark_meter import Meter, peak_memory_mb, read_status
from nmsynth.workflows.benchmark_suite import Suite, load_suite, runs_of, settings_digest, suite_names

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")

TOML = """
name = "tiny"
purpose = "{purpose}"
families = []
folds = 2
run_folds = [0]
steps = 5
validations = 1
bootstrap = 50

[[methods]]
name = "unet"
recipe = "unet"
tasks = ["ct-pet"]

[[tasks]]
name = "ct-pet"
baselines = ["constant", "population-mean", "tissue-lookup", "tissue-lookup-depth"]

[tasks.data]
given = "pairs"
sources = ["ct"]
target = "pet"

[tasks.plan]
patch = [8, 16, 16]
channels = [4, 8]
"schedule.batch" = 1

[[tasks]]
name = "lowcount"
baselines = ["input", "gaussian"]
level_edges = [0.2]

[tasks.data]
given = "pairs"
sources = ["scan_0", "scan_1"]
target = "pet"
masks = []

[[tasks]]
name = "absent"

[tasks.data]
given = "not-here"
"""


def write_pairs(folder, n_subjects=4):
    """Patients whose PET is a function of their CT, with noisy scans beside it."""
    rng = np.random.default_rng(0)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]
    rows = []
    for k in range(n_subjects):
        body = np.zeros((8, 24, 24), bool)
        body[:, 3 : 19 + k % 3, 4:20] = True
        bone = np.zeros_like(body)
        bone[:, 8:12, 8:12] = True
        tumour = np.zeros_like(body)
        tumour[3:5, 13:16, 13:16] = True
        pet = np.where(body, 1.0, 0.0) + 1.0 * bone + 4.0 * tumour
        images = {
            "ct": (np.where(body, 30.0, -1000.0) + 400.0 * bone + 20.0 * tumour, Unit.HOUNSFIELD, "CT"),
            "pet": (pet, Unit.SUV_BODY_WEIGHT, "PT"),
            "scan_0": (pet + rng.normal(0, 0.4, pet.shape), Unit.SUV_BODY_WEIGHT, "PT"),
            "scan_1": (pet + rng.normal(0, 0.8, pet.shape), Unit.SUV_BODY_WEIGHT, "PT"),
            "tumour": (tumour.astype(float), Unit.UNITLESS, "PT"),
        }
        for name, (array, unit, modality) in images.items():
            path = folder / f"p{k}" / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(Volume(array.astype(np.float32), affine, unit, modality), path)
            role = {"ct": "anatomy", "pet": "target", "tumour": "mask"}.get(name, "source")
            fraction = {"scan_0": 0.25, "scan_1": 0.1}.get(name)
            rows.append(
                ManifestRow(
                    f"p{k}", f"p{k}", "train", role, name, f"p{k}/{name}.nii.gz", fraction, modality, unit.value
                )
            )
    write_manifest(folder / "manifest.csv", rows)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("benchmark")
    write_pairs(folder / "pairs")
    (folder / "tiny.toml").write_text(TOML.format(purpose="plumbing"))
    suite = load_suite(folder / "tiny.toml")
    table = run_benchmark(suite, folder / "out", data={"pairs": folder / "pairs"})
    return folder, suite, table


def test_every_method_of_a_tiny_suite_stands_in_the_table(benchmark):
    folder, _, table = benchmark
    plan = read_plan(folder / "out" / "tasks" / "ct-pet" / "plan.toml")
    assert plan.schedule.precision == "fp32"  # alike on every machine, as results of several stand in one table
    rows = {(r["task"], r["method"]): r for r in table["rows"]}
    assert not table["failed"]
    assert {t["name"]: t["n_runs"] for t in table["tasks"]} == {"ct-pet": 5, "lowcount": 2, "absent": 0}
    unet = rows["ct-pet", "unet"]
    assert unet["n_patients"] == 2
    assert unet["steps"] == 5
    assert unet["parameters"] > 100
    assert unet["cpu_minutes"] > 0
    assert rows["ct-pet", "tissue-lookup"]["metrics"]["mae"]["value"] < 0.1
    assert rows["ct-pet", "constant"]["detail"] == "1 everywhere, 5 for a region"
    assert rows["ct-pet", "constant"]["metrics"]["region_error"]["value"] == pytest.approx(0.0, abs=1e-5)
    levels = [level["level"] for level in rows["lowcount", "gaussian"]["by_level"]]
    assert levels == ["20 % and more", "below 20 %"]
    smoothed, raw = (rows["lowcount", m]["metrics"]["mae"]["value"] for m in ("gaussian", "input"))
    assert smoothed < raw


def test_plumbing_is_never_ranked_and_nothing_names_a_path(benchmark):
    folder, _, table = benchmark
    assert all(r["rank"] is None for r in table["rows"])
    assert {p.name for p in (folder / "out").iterdir()} >= {"table.json", "table.csv", "runs.csv", "patients.csv"}
    page = (folder / "out" / "index.html").read_text()
    assert "nothing is ranked" in page
    assert "http" not in page.replace("http-equiv", "")
    for path in (folder / "out" / "results").iterdir():
        assert str(folder) not in path.read_text()


def test_runs_that_are_done_are_not_repeated(benchmark, monkeypatch):
    folder, suite, table = benchmark
    monkeypatch.setattr("nmsynth.workflows.benchmark.run_one", lambda _: pytest.fail("ran again"))
    assert run_benchmark(suite, folder / "out", data={"pairs": folder / "pairs"})["rows"] == table["rows"]


def test_an_interrupted_training_goes_on(benchmark, tmp_path):
    folder, suite, table = benchmark
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out, symlinks=True)
    run_folder = out / "runs" / "ct-pet" / "unet" / "fold-0-seed-1"
    (run_folder / "result.json").unlink()
    spent = read_status(run_folder)["cpu_s"]
    status = benchmark_status(suite, out)
    assert status["counts"]["done"] == 6
    assert status["working"] is False
    before = (run_folder / "training" / "0-main" / "last.ckpt").stat().st_mtime_ns
    again = run_benchmark(suite, out, data={"pairs": folder / "pairs"})
    assert (run_folder / "training" / "0-main" / "last.ckpt").stat().st_mtime_ns == before
    assert read_status(run_folder)["cpu_s"] > spent
    assert read_status(run_folder)["sittings"] == 2
    old, new = (next(r for r in t["rows"] if r["method"] == "unet") for t in (table, again))
    for name, found in new["metrics"].items():
        assert found == pytest.approx(old["metrics"][name], rel=1e-4)


def test_images_that_changed_are_prepared_anew_and_an_unfinished_training_begins_anew(tmp_path):
    pytest.importorskip("lightning")
    write_pairs(tmp_path / "pairs")
    suite = tiny_suite(tmp_path)
    only = suite.model_copy(update={"tasks": (suite.tasks[0].model_copy(update={"baselines": ()}),)})
    out, data = tmp_path / "out", {"pairs": tmp_path / "pairs"}
    run_benchmark(only, out, data=data)
    folder = out / "runs" / "ct-pet" / "unet" / "fold-0-seed-1"
    checkpoint = folder / "training" / "0-main" / "last.ckpt"
    prepared = next((out / "tasks" / "ct-pet").glob("prepared-*"))
    before, trained = np.load(prepared / "p0.npy"), checkpoint.stat().st_mtime_ns
    digest = json.loads((folder / "result.json").read_text())["data_sha256"]
    (folder / "result.json").unlink()
    path = tmp_path / "pairs" / "p0" / "pet.nii.gz"
    image = read(path)
    write_nifti(image.with_array(2.0 * image.array), path, overwrite=True)
    run_benchmark(only, out, data=data)
    assert not np.array_equal(np.load(prepared / "p0.npy"), before)
    assert checkpoint.stat().st_mtime_ns > trained
    assert json.loads((folder / "result.json").read_text())["data_sha256"] == digest


def test_results_of_another_machine_make_the_table_without_data_or_runs(benchmark, tmp_path):
    folder, suite, table = benchmark
    made = write_tables(suite, tmp_path / "elsewhere", [folder / "out" / "results"])
    assert made["rows"] == table["rows"]
    longer = suite.model_copy(update={"steps": 6})
    kinds = {r.kind for r in known_results(longer, tmp_path / "none", [folder / "out" / "results"]).values()}
    assert kinds == {"baseline"}


def test_an_edited_recipe_is_another_method(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[method]\nname = "unet"\n')
    suite = tiny_suite(tmp_path)
    suite = suite.model_copy(update={"methods": (suite.methods[0].model_copy(update={"recipe": str(recipe)}),)})
    model = next(run for run in runs_of(suite) if run.kind == "model")
    baseline = next(run for run in runs_of(suite) if run.kind == "baseline")
    before = settings_digest(suite, model), settings_digest(suite, baseline)
    assert (settings_digest(suite, model), settings_digest(suite, baseline)) == before
    recipe.write_text(recipe.read_text() + "arguments = { loss = 'l2' }\n")
    assert settings_digest(suite, model) != before[0]
    assert settings_digest(suite, baseline) == before[1]


def test_committed_results_are_those_of_the_suites_of_nmsynth():
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
    for name in ("league", "sts"):
        written = {path.stem for path in (folder / name).glob("*--fold-*.json")}
        taken = known_results(load_suite(name), folder / "none", [folder / name])
        assert {f"{t}--{m}--fold-{fold}-seed-{seed}" for t, m, fold, seed in taken} == written
        assert written


def test_a_run_that_fails_says_why_and_stops_no_other(benchmark, tmp_path, monkeypatch):
    folder, suite, _ = benchmark
    monkeypatch.setattr("nmsynth.workflows.benchmark_run.fit_baseline", failing_for("constant"))
    only = suite.model_copy(update={"methods": (), "tasks": suite.tasks[:1]})
    table = run_benchmark(only, tmp_path / "out", data={"pairs": folder / "pairs"})
    assert [(f["method"], f["reason"]) for f in table["failed"]] == [("constant", "It must work; it did not.")]
    assert len(table["rows"]) == 3


def test_baselines_see_the_patients_that_models_see(tmp_path, monkeypatch):
    write_pairs(tmp_path / "pairs", 5)
    table = tmp_path / "pairs" / "manifest.csv"
    table.write_text(table.read_text().replace("p4,p4,train", "p4,p4,test"))
    seen = []

    def noted(name, plan, training, tested):
        seen.append(({t.case.subject for t in training}, {t.case.subject for t in tested}))
        return fit_baseline(name, plan, training, tested)

    monkeypatch.setattr("nmsynth.workflows.benchmark_run.fit_baseline", noted)
    suite = tiny_suite(tmp_path)
    task = suite.tasks[0].model_copy(update={"baselines": ("constant",)})
    only = suite.model_copy(update={"methods": (), "tasks": (task,), "run_folds": ()})
    run_benchmark(only, tmp_path / "out", data={"pairs": tmp_path / "pairs"})
    assert len(seen) == 2
    assert all(training | tested == {"p0", "p1", "p2", "p3"} and not training & tested for training, tested in seen)


def tiny_suite(folder):
    """The suite of these tests, from a file."""
    (folder / "tiny.toml").write_text(TOML.format(purpose="plumbing"))
    return load_suite(folder / "tiny.toml")


def failing_for(name):
    """The fit of baselines, but one that fails."""

    def fit(wanted, *arguments):
        if wanted == name:
            raise InputError("It must work; it did not.")
        return fit_baseline(wanted, *arguments)

    return fit


def test_command_line_tells_status_and_table_without_a_ranking(benchmark, capsys):
    folder, _, _ = benchmark
    words = ["benchmark", "--suite", str(folder / "tiny.toml"), "--out", str(folder / "out")]
    assert run([*words, "--status"]) == 0
    assert "7 done" in capsys.readouterr().out
    assert run([*words, "--table"]) == 0
    said = capsys.readouterr().out
    assert "plumbing only: no ranking" in said
    assert "rank " not in said.replace("no ranking", "")


def test_another_suite_or_process_is_refused_an_output(benchmark):
    folder, suite, _ = benchmark
    with pytest.raises(InputError, match="runs of other settings"):
        run_benchmark(suite.model_copy(update={"steps": 6}), folder / "out")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (folder / "out" / "benchmark.pid").write_text(f"{other.pid}\n")
    try:
        with pytest.raises(InputError, match="One process works"):
            run_benchmark(suite, folder / "out")
    finally:
        other.communicate(b"\n")
    (folder / "out" / "benchmark.pid").unlink()


def test_data_that_no_task_asks_for_or_that_is_missing_is_refused(benchmark, tmp_path):
    folder, suite, _ = benchmark
    with pytest.raises(InputError, match="takes the data 'wrong'"):
        run_benchmark(suite, tmp_path / "a", data={"wrong": folder})
    with pytest.raises(InputError, match="--data NAME=PATH"):
        run_benchmark(suite, tmp_path / "b")


def test_suites_of_nmsynth_read_and_hold_what_is_promised():
    assert suite_names() == ["league", "smoke", "sts"]
    league, smoke = load_suite("league"), load_suite("smoke")
    assert (league.folds, league.cpu_minutes, league.gpu_minutes, league.bootstrap) == (3, 30, 5, 2000)
    assert {t.name for t in league.tasks} == {"lowcount-pet", "ct-pet"}
    assert smoke.purpose == "plumbing"
    assert len(runs_of(smoke)) == 9 + 2 * len(smoke.method_names())
    assert {t.name for t in load_suite("sts").tasks} >= {"ct-pet", "ct-pet-registered", "mr-ct"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"familys": ["unet"]}, "Did you mean 'families'"),
        ({"families": ["unett"]}, "Did you mean 'unet'"),
        ({"steps": None}, "steps or its cpu_minutes"),
        ({"run_folds": [2]}, "numbered from 0 to 1"),
        ({"tasks": [{"name": "a", "data": {"given": "x"}, "baselines": ["gausian"]}]}, "did you mean 'gaussian'"),
        ({"tasks": [{"name": "a", "data": {}}]}, "either given or simulated"),
        ({"tasks": [{"name": "a", "data": {"given": "x"}, "score": "spread"}]}, "no score 'spread'"),
    ],
)
def test_wrong_suites_are_refused_with_what_is_right(tmp_path, change, message):
    import tomli_w

    values = {
        "name": "x", "purpose": "quoted", "families": ["unet"], "steps": 3, "folds": 2,
        "tasks": [{"name": "a", "data": {"given": "x"}}], **change,
    }  # fmt: skip
    path = tmp_path / "x.toml"
    path.write_text(tomli_w.dumps({k: v for k, v in values.items() if v is not None}))
    with pytest.raises(InputError, match=message):
        load_suite(path)


def test_unknown_suite_names_the_nearest(capsys):
    with pytest.raises(InputError, match="Did you mean 'league'"):
        load_suite("leage")
    assert run(["benchmark", "--suite", "leage", "--out", "x"]) == 2


def test_steps_follow_from_the_minutes_and_validation_takes_no_more_than_its_share():
    suite = load_suite("league")
    plain = budget_of(suite, Speed(1.0, 10.0, "cpu"))
    assert (plain.steps, plain.validate_every) == (1830, 122)
    slow = budget_of(suite, Speed(1.0, 90.0, "cpu"))
    assert slow.steps == 1980 - 8 * 90
    assert budget_of(suite, Speed(0.1, 1.0, "cuda")).steps == 3150


def test_a_meter_adds_up_the_sittings(tmp_path):
    first = Meter(tmp_path)
    sum(k * k for k in range(200_000))
    first.write("running", share=0.5)
    spent = read_status(tmp_path)["cpu_s"]
    second = Meter(tmp_path)
    assert second.cpu_s >= spent
    assert peak_memory_mb() is None or peak_memory_mb() > 10


def test_background_outlives_the_call_and_writes_a_log(tmp_path):
    pid = start_in_background(["--version"], tmp_path / "out")
    os.waitpid(pid, 0)
    assert (tmp_path / "out" / "benchmark.pid").read_text() == f"{pid}\n"
    assert "nmsynth 0" in (tmp_path / "out" / "benchmark.log").read_text()


def test_background_starts_the_same_command(benchmark, monkeypatch, capsys):
    folder, _, _ = benchmark
    started = []
    monkeypatch.setattr("nmsynth.workflows.benchmark.start_in_background", lambda words, _: started.append(words) or 7)
    words = ["benchmark", "--suite", str(folder / "tiny.toml"), "--out", "x", "--jobs", "2", "--device", "cpu"]
    words += ["--data", "pairs=y", "--results", "z"]
    assert run([*words, "--background"]) == 0
    assert started == [words]
    assert "process 7" in capsys.readouterr().out
    assert run([*words, "--background", "--status"]) == 2


def test_suite_is_rebuilt_from_its_record(benchmark):
    folder, suite, _ = benchmark
    assert Suite.model_validate(json.loads((folder / "out" / "benchmark.json").read_text())["suite"]) == suite
