import json

import pytest

from nmsynth.apps.cli.main import run
from tests.workflows.methods_dataset import SMALL, make_dataset

pytest.importorskip("lightning")

WORDS = [f"{key}={str(value).replace(' ', '')}" for key, value in SMALL.items()]
SET = [word for change in WORDS for word in ("--set", change)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), subjects=4)


def test_plan_is_written_read_and_trained_by(data, tmp_path, capsys):
    plan = tmp_path / "plan.toml"
    assert run(["plan", str(data), "-o", str(plan), "--device", "cpu", *SET]) == 0
    assert "ct-to-pet" in capsys.readouterr().out
    assert run(["plan", str(data), "-o", str(plan), "--device", "cpu"]) == 2
    assert "must not exist" in capsys.readouterr().err
    words = ["train", "unet", "-o", str(tmp_path / "run"), "--data", str(data), "--plan", str(plan)]
    words += ["--threads", "1", "--device", "cpu"]
    assert run(words) == 0
    shown = capsys.readouterr()
    assert "Wrote the model package" in shown.out
    lines = shown.err.splitlines()
    assert any(line.startswith("training main, ") and "best score" in line for line in lines), lines
    assert not any("litlogger" in line or "GPU available" in line or "Trainer" in line for line in lines)
    assert run([*words, "--restart", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"] == [str(tmp_path / "run" / "package" / "unet")]


def test_one_fold_is_trained(data, tmp_path, capsys):
    words = ["train", "unet", "-o", str(tmp_path), "--data", str(data), "--folds", "2", "--fold", "1", *SET]
    assert run([*words, "--threads", "1", "--device", "cpu", "--set", "schedule.steps=1"]) == 0
    assert "unet-fold-1" in capsys.readouterr().out
    assert not (tmp_path / "fold-0").exists()


def test_minutes_set_the_steps(data, tmp_path, capsys):
    words = ["train", "unet", "-o", str(tmp_path), "--data", str(data), "--minutes", "0.01", *SET]
    assert run([*words, "--threads", "1", "--device", "cpu"]) == 0
    assert "timed_family" in (tmp_path / "plan.toml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lowcount-pet", "--folds", "3"], "takes no --folds"),
        (["lowcount-pet", "--workers", "2"], "takes no --workers"),
        (["lowcount-pet", "--from", "x"], "takes no --from"),
        (["untt"], "'untt' is neither. Did you mean 'unet'"),
        (["unet", "--fold", "1"], "A fold is one of"),
        (["unet", "--minutes", "-1"], "more than no time"),
        (["unet", "--set", "schedule.step=3"], "steps"),
        (["t1-to-fdg-unet"], "takes MR; the dataset's sources are CT"),
        (["unet", "--from", "no-such-model"], "no-such-model"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(data, tmp_path, capsys, words, message):
    assert run(["train", *words, "-o", str(tmp_path / "run"), "--data", str(data)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_recipe_without_data_says_so(tmp_path, capsys):
    assert run(["train", "unet", "-o", str(tmp_path / "run")]) == 2
    assert "Pass --data with its manifest" in capsys.readouterr().err
