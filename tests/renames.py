"""A file system that refuses once."""

import errno
from pathlib import Path

import pytest


def refuse_once(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    """Let the first move of a folder onto ``target`` fail, as a full disk or a lock does; later ones succeed."""
    rename, replace, left = Path.rename, Path.replace, [True]

    def guarded(move):
        def moved(self, to):
            if left and Path(to) == target.resolve():
                left.clear()
                raise OSError(errno.EACCES, "refused")
            return move(self, to)

        return moved

    monkeypatch.setattr(Path, "rename", guarded(rename))
    monkeypatch.setattr(Path, "replace", guarded(replace))
