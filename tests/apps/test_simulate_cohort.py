import json

from nmsynth.apps.cli.main import run

SMALL = ["--set", "simulation.families={whole-body=1}", "--set", "simulation.grids=[96]"]
SMALL += ["--set", "simulation.planes=8", "--workers", "1"]


def test_cohort_says_where_its_manifest_is(tmp_path, capsys):
    words = ["simulate", "cohort", str(tmp_path / "out"), "--subjects", "1", "--seed", "3", *SMALL]
    assert run(words) == 0
    assert "manifest.csv (1 simulated subjects)" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["seed"] == 3
    assert run([*words, "--seed", "4"]) == 2
    assert "made with other settings" in capsys.readouterr().err


def test_unknown_recipe_names_the_nearest(tmp_path, capsys):
    assert run(["simulate", "cohort", str(tmp_path / "out"), "--recipe", "lowcont-pet"]) == 2
    assert "Did you mean 'lowcount-pet'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recipes_are_listed(capsys):
    assert run(["simulate", "recipes", "--json"]) == 0
    found = {row["name"]: row["kind"] for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert found["lowcount-pet"] == "lowcount-pet"
    assert found["bone-spect"] == "spect"
