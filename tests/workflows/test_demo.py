"""The main demonstration replaces only what it wrote, and loses nothing."""

import pytest

from nmsynth.apps.cli.main import run
from nmsynth.core.errors import InputError
from nmsynth.evaluation.schema import Metrics
from nmsynth.workflows import demo
from tests.renames import refuse_once


@pytest.fixture
def quick(monkeypatch):
    """The demonstration itself replaced by its record."""

    def steps(folder, seed, progress):
        (folder / "demo.json").write_text(str(seed))
        return Metrics("lowcount-pet", "Bq/mL", "T1", ())

    monkeypatch.setattr(demo, "_run", steps)


def test_a_demonstration_replaces_its_own_output_only_when_asked(quick, tmp_path):
    demo.run_demo(tmp_path / "out")
    with pytest.raises(InputError, match="must not exist; it does"):
        demo.run_demo(tmp_path / "out")
    demo.run_demo(tmp_path / "out", seed=1, overwrite=True)
    assert (tmp_path / "out" / "demo.json").read_text() == "1"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a").write_text("")
    with pytest.raises(InputError, match="Only a folder that the demo wrote"):
        demo.run_demo(tmp_path / "thesis", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "thesis"]


def test_the_old_demonstration_comes_back_when_the_last_move_fails(quick, tmp_path, monkeypatch):
    demo.run_demo(tmp_path / "out")
    refuse_once(monkeypatch, tmp_path / "out")
    with pytest.raises(InputError, match="refused"):
        demo.run_demo(tmp_path / "out", seed=1, overwrite=True)
    assert (tmp_path / "out" / "demo.json").read_text() == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["file", "file/out"])
def test_a_file_in_the_place_of_the_output_is_a_mistake(quick, tmp_path, name, capsys):
    (tmp_path / "file").write_text("old")
    assert run(["demo", str(tmp_path / name), "--overwrite"]) == 2
    assert "must be a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "old"
