"""Tasks that have a shipped model are demonstrated with it, from the command to the report."""

import json

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.models.registry import show_model
from nmsynth.workflows.study_recipe import load_study_recipe
from nmsynth.workflows.tasks import load_task, tasks_with_models

SHORTER = {"pet": ("settings.length_mm=120",)}
"""Changes by kind of study that take nothing from what a model was made for."""


@pytest.mark.parametrize("name", tasks_with_models()[:2])
def test_a_task_is_demonstrated_with_its_own_model(name, tmp_path, capsys):
    task = load_task(name)
    recipe = load_study_recipe(task.study)
    words = ["demo", str(tmp_path / "out"), "--task", name, "--json"]
    assert run([*words, *(word for change in SHORTER.get(recipe.kind, ()) for word in ("--set", change))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["model"], found["metrics"]["task"]) == (name, task.model, name)
    known = {row["name"] for row in found["metrics"]["measurements"] if row["arm"] == "prediction"}
    assert {proof.measure for proof in task.proof if proof.primary} <= known
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert show_model(task.model).name in page
    assert "synthetic" in page


def test_the_default_of_a_task_is_told_where_models_are_listed(capsys):
    assert run(["models", "list", "--json"]) == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    for name in tasks_with_models():
        task = load_task(name)
        assert listed[task.model]["default"]
        family = show_model(task.model).method
        is_baseline = family is not None and family.name == "learned-gaussian"
        assert task.default_is_baseline == is_baseline, "a task that offers a baseline says so"
