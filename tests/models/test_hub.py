"""Models of a hub are found in its local cache, offline, and nowhere else."""

import pytest

from nmsynth.core.errors import InputError
from nmsynth.models.hub import hub_cache
from nmsynth.models.registry import find_model, show_model, verify_model
from tests.models.packages import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Cache with ``some-lab/tiny`` at ``main`` and the tag ``v1``, its files as links to blobs."""
    for variable in ("HF_HOME", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--some-lab--tiny"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(save_tiny(tmp_path / "package").iterdir())):
        (blobs / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(blobs / str(number))
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(COMMIT)
    return tmp_path / "hub"


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{COMMIT}"])
def test_a_model_in_the_cache_is_found_by_revision(cache, revision):
    name = f"hub:some-lab/tiny{revision}"
    assert find_model(name) == cache / "models--some-lab--tiny" / "snapshots" / COMMIT
    assert show_model(name).name == verify_model(name).name == "tiny"


@pytest.mark.parametrize("name", ["hub:some-lab/tiny@v2", "hub:some-lab/other", f"hub:some-lab/tiny@{'f' * 40}"])
def test_what_is_not_in_the_cache_is_not_downloaded_and_the_message_says_how(cache, name):
    with pytest.raises(InputError, match=r"nothing is downloaded.*hf download some-lab/"):
        find_model(name)


@pytest.mark.parametrize(
    "name",
    ["hub:tiny", "hub:../x/y", "hub:some-lab/tiny@../../x", "hub:some-lab/..", "hub:a--b/c", "hub:some-lab/tiny@"],
)
def test_a_name_that_is_none_is_refused(cache, name):
    with pytest.raises(InputError, match="is named hub:OWNER/NAME"):
        find_model(name)


def test_a_reference_that_names_no_commit_is_not_followed(cache):
    (cache / "models--some-lab--tiny" / "refs" / "main").write_text("../../../secrets")
    with pytest.raises(InputError, match="must be in the local cache"):
        find_model("hub:some-lab/tiny")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert hub_cache() == tmp_path / "hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub_cache() == tmp_path / "huggingface" / "hub"
