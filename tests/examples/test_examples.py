"""The examples compile, say what they show, and run."""

import ast
import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def load(path):
    """Module of an example, without running its main."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples_are_numbered_from_one():
    assert [path.name[:3] for path in EXAMPLES] == [f"{number:02d}_" for number in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_compiles_and_says_what_it_shows(path):
    text = path.read_text(encoding="utf-8")
    compile(text, path.name, "exec")
    assert "Shows:" in ast.get_docstring(ast.parse(text))
    assert callable(load(path).main)


def test_simulation_measures_noise_that_follows_the_counts(tmp_path, capsys):
    load(FOLDER / "01_simulate_pet.py").main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    full, low = (float(line.rsplit(" ", 1)[1].rstrip("%")) for line in lines if "COV" in line)
    assert 2 < low / full < 7
    assert len(lines) == 10


@pytest.mark.slow
def test_a_tiny_model_is_trained_and_used(tmp_path, capsys):
    pytest.importorskip("lightning")
    load(FOLDER / "03_train_tiny.py").main(tmp_path)
    assert "synthesised (16," in capsys.readouterr().out


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained(tmp_path, capsys):
    pytest.importorskip("lightning")
    load(FOLDER / "05_train_own_network.py").main(tmp_path)
    assert "package with card.json" in capsys.readouterr().out
