"""Output appears complete or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmsynth.core.errors import InputError
from nmsynth.io.atomic import atomic_directory, atomic_file
from tests.renames import refuse_once


def test_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_directory_appears_only_when_the_block_ends(tmp_path):
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_existing_output_is_refused_and_untouched(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_text("old")
    with pytest.raises(InputError, match="something is there already"), atomic_file(tmp_path / "a.txt"):
        pass
    with pytest.raises(InputError, match="something is there already"), atomic_directory(tmp_path / "out"):
        pass
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "out" / "b").read_text() == "old"


def test_empty_folder_counts_as_absent(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "out" / "a").exists()


def test_old_folder_is_replaced_after_the_new_is_complete(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with atomic_directory(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").write_text("new")
        assert (tmp_path / "out" / "old").exists()
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["new"]
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_failure_leaves_the_old_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with (
        pytest.raises(ZeroDivisionError, match="division"),
        atomic_directory(tmp_path / "out", overwrite=True) as folder,
    ):
        (folder / "new").write_text(str(1 / 0))
    assert [item.name for item in tmp_path.rglob("*")] == ["out", "old"]


def test_the_old_folder_comes_back_when_the_last_move_fails(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    refuse_once(monkeypatch, tmp_path / "out")
    with pytest.raises(InputError, match="refused"), atomic_directory(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [item.name for item in tmp_path.rglob("*")] == ["out", "old"]


@pytest.mark.parametrize("name", ["\u6838" * 85, "a" + "\u6838" * 84, "a" * 255, "\U0001f9ea" * 63])
def test_a_name_as_long_as_a_file_system_allows_is_written(tmp_path, name):
    with atomic_file(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / name).read_text() == "whole"
    (tmp_path / name).unlink()
    with atomic_directory(tmp_path / name) as folder:
        (folder / "a").write_text("1")
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(InputError, match=r"have room; writing failed: No space left"),
        atomic_directory(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/path")
    with pytest.raises(InputError, match=r"No space left"), atomic_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_folder_of_others_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").write_text("old")
    with (
        pytest.raises(InputError, match="Only a series written by nmsynth"),
        atomic_directory(tmp_path / "out", overwrite=True, may_replace=lambda _: False),
    ):
        pass
    assert (tmp_path / "out" / "thesis").exists()


def test_kind_of_output_must_fit(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(InputError, match="must be a folder"), atomic_directory(tmp_path / "a", overwrite=True):
        pass
    with pytest.raises(InputError, match="must be a file"), atomic_file(tmp_path, overwrite=True):
        pass
    with pytest.raises(InputError, match="parent of an output must be a folder"), atomic_file(tmp_path / "a" / "b"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_writer_leaves_nothing_visible(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from nmsynth.io.atomic import atomic_directory\n"
        "with atomic_directory(Path(sys.argv[1]) / 'out') as folder:\n"
        "    (folder / 'part').write_text('1')\n"
        "    (Path(sys.argv[1]) / 'ready').write_text('')\n"
        "    time.sleep(60)\n"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": source})
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "ready").exists()
    assert [item.name for item in tmp_path.iterdir() if not item.name.startswith(".")] == ["ready"]
