"""Packages from elsewhere are checked before anything is written; what could do harm is refused unread."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models import registry
from nmsynth.models.installing import export_package
from nmsynth.models.package import CARD_FILE, CARD_PAGE, WEIGHTS_FILE
from nmsynth.models.registry import install_model, verify_model
from tests.models.packages import save_tiny


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """Folder that models are imported to."""
    monkeypatch.delenv(registry.MODELS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(registry.sys, "platform", "linux")
    return tmp_path / "data" / "nmsynth" / "models"


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    """Zip of files by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def files_of(package: Path) -> dict[str, bytes]:
    """Files of a package by name."""
    return {path.name: path.read_bytes() for path in package.iterdir()}


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_an_exported_package_is_imported_and_found_by_name(tmp_path, user_folder, suffix):
    package = save_tiny(tmp_path)
    out = tmp_path / f"out{suffix}"
    export_package(package, out)
    entry = install_model(out)
    assert entry.path == user_folder / "tiny"
    assert verify_model("tiny").name == "tiny"
    assert files_of(entry.path) == files_of(package)
    assert not [p for p in user_folder.iterdir() if p.name != "tiny"]


def test_a_package_gets_another_name_and_goes_to_the_named_folder_first(tmp_path, user_folder, monkeypatch):
    monkeypatch.setenv(registry.MODELS_VARIABLE, str(tmp_path / "mine"))
    assert install_model(save_tiny(tmp_path), name="other").path == tmp_path / "mine" / "other"
    assert verify_model("other").name == "tiny"
    with pytest.raises(InputError, match="must not exist"):
        install_model(tmp_path / "tiny", name="other")
    install_model(tmp_path / "tiny", name="other", overwrite=True)


@pytest.mark.parametrize(("name", "message"), [("../x", "name is 1 to 64"), ("lowcount-pet", "ships with nmsynth")])
def test_a_name_that_cannot_be_is_refused(tmp_path, user_folder, name, message):
    with pytest.raises(InputError, match=message):
        install_model(save_tiny(tmp_path), name=name)


def test_a_zip_of_the_files_without_a_folder_is_taken(tmp_path, user_folder):
    path = zip_of(tmp_path / "flat.zip", files_of(save_tiny(tmp_path)))
    assert install_model(path).name == "tiny"


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "weights.bin", "looks-innocent"])
def test_a_pickle_is_refused_unread(tmp_path, user_folder, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeInputError, match=f"{name} is another format"):
        install_model(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_torch_is_refused_under_any_name(tmp_path, user_folder):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    (tmp_path / "model.zip").write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeInputError, match=r"the zip holds data\.pkl"):
        install_model(tmp_path / "model.zip")


@pytest.mark.parametrize("name", ["../evil", "/evil", "tiny/../../evil", "C:evil", "a\\..\\evil"])
def test_a_zip_that_reaches_outside_is_refused(tmp_path, user_folder, name):
    path = zip_of(tmp_path / "slip.zip", {**files_of(save_tiny(tmp_path)), name: b"evil"})
    with pytest.raises(UnsafeInputError, match="below its own folder"):
        install_model(path)
    assert not user_folder.exists()


def test_a_zip_with_a_link_is_refused(tmp_path, user_folder):
    path = zip_of(tmp_path / "link.zip", files_of(save_tiny(tmp_path)))
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(UnsafeInputError, match="below its own folder"):
        install_model(path)


def test_damaged_and_incomplete_packages_are_refused(tmp_path, user_folder):
    files = files_of(save_tiny(tmp_path))
    changed = files[WEIGHTS_FILE][:-1] + b"x"
    with pytest.raises(UnsafeInputError, match="sha256"):
        install_model(zip_of(tmp_path / "a.zip", {**files, WEIGHTS_FILE: changed}))
    with pytest.raises(UnsafeInputError, match="begin as a pickle or zip"):
        install_model(zip_of(tmp_path / "b.zip", {**files, WEIGHTS_FILE: pickle.dumps(Bomb())}))
    with pytest.raises(InputError, match="has no card"):
        install_model(zip_of(tmp_path / "c.zip", {WEIGHTS_FILE: files[WEIGHTS_FILE]}))
    (tmp_path / "d.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:200])
    with pytest.raises(UnsafeInputError, match="must be a whole zip"):
        install_model(tmp_path / "d.zip")
    with pytest.raises(UnsafeInputError, match="at most 64 files"):
        install_model(zip_of(tmp_path / "e.zip", {str(k): b"" for k in range(65)}))
    with pytest.raises(InputError, match="does not exist"):
        install_model(tmp_path / "nothing.zip")
    assert not user_folder.exists()


def test_an_export_replaces_only_what_it_may(tmp_path):
    package = save_tiny(tmp_path)
    (tmp_path / "out.zip").write_bytes(b"mine")
    with pytest.raises(InputError, match="must not exist"):
        export_package(package, tmp_path / "out.zip")
    export_package(package, tmp_path / "out.zip", overwrite=True)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"tiny/{name}" for name in (CARD_FILE, CARD_PAGE, WEIGHTS_FILE))
