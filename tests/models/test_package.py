"""Packages round trip; damaged, changed and foreign ones are refused before they can do harm."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models.card import NetworkSpec
from nmsynth.models.package import (
    CARD_FILE,
    WEIGHTS_FILE,
    build_network,
    load_network,
    read_card,
    read_weights,
    save_package,
)
from tests.models.packages import make_card, save_tiny, tiny_network
from tests.renames import refuse_once


def edit_card(folder, **changes):
    """Change values in a card on disk."""
    path = folder / CARD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("half", [True, False])
def test_a_package_round_trips(tmp_path, half):
    network = tiny_network()
    card = save_package(tmp_path / "tiny", network=network, card=make_card(), half=half)
    again = load_network(tmp_path / "tiny", read_card(tmp_path / "tiny"))
    assert read_card(tmp_path / "tiny") == card
    assert card.schema_version == 1
    for key, value in network.state_dict().items():
        loaded = again.state_dict()[key]
        assert loaded.dtype is torch.float32
        assert torch.allclose(loaded, value, rtol=1e-3 if half else 0, atol=1e-4 if half else 0)
    x = torch.rand(1, 1, 8, 16, 16)
    assert torch.allclose(again(x), network(x), rtol=0.02, atol=0.02)
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == ["card.json", "card.md", "weights.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]


def test_the_same_weights_are_the_same_bytes(tmp_path):
    network = tiny_network()
    hashes = {save_package(tmp_path / str(k), network=network, card=make_card()).sha256 for k in range(8)}
    assert len(hashes) == 1


def test_the_old_package_comes_back_when_the_last_move_fails(tmp_path, monkeypatch):
    save_tiny(tmp_path)
    refuse_once(monkeypatch, tmp_path / "tiny")
    with pytest.raises(OSError, match="refused"):
        save_package(tmp_path / "tiny", network=tiny_network(1), card=make_card(version="0.0.2"), overwrite=True)
    assert read_card(tmp_path / "tiny").version == "0.0.1"
    read_weights(tmp_path / "tiny", read_card(tmp_path / "tiny"))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_an_existing_package_is_replaced_only_when_asked(tmp_path):
    save_tiny(tmp_path)
    with pytest.raises(InputError, match="must not exist"):
        save_tiny(tmp_path)
    card = save_package(tmp_path / "tiny", network=tiny_network(1), card=make_card(version="0.0.2"), overwrite=True)
    assert read_card(tmp_path / "tiny").version == card.version == "0.0.2"


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="must not exist"):
        save_package(tmp_path / "tiny", network=tiny_network(), card=make_card(), overwrite=True)
    assert (tmp_path / "tiny" / "thesis.tex").exists()


def test_weights_that_overflow_half_precision_are_refused(tmp_path):
    network = tiny_network()
    network.leave.weight.data[0] = 1e6
    with pytest.raises(InputError, match="half=False"):
        save_package(tmp_path / "tiny", network=network, card=make_card())
    assert not list(tmp_path.iterdir())


def test_a_card_must_name_the_network_it_ships(tmp_path):
    with pytest.raises(InputError, match="registered class"):
        save_package(tmp_path / "tiny", network=torch.nn.Linear(1, 1), card=make_card())


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pth", "model.weights"])
@pytest.mark.parametrize("zipped", [True, False])
def test_fault_72_a_pickle_is_refused_unread(tmp_path, monkeypatch, name, zipped):
    monkeypatch.chdir(tmp_path)
    if zipped:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb()))
    else:
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeInputError, match="safetensors only"):
        read_card(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_fault_72_a_folder_with_a_checkpoint_instead_of_weights_is_refused(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeInputError, match=r"last\.ckpt is another format"):
        read_card(tmp_path)


def test_fault_72_a_pickle_named_as_weights_is_refused(tmp_path):
    folder = save_tiny(tmp_path)
    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps(Bomb()) + bytes(100))
    with pytest.raises(UnsafeInputError, match="begin as a pickle or zip"):
        read_weights(folder, read_card(folder))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**6, 17 * 2**20])
def test_fault_73_a_header_longer_than_the_file_is_refused(tmp_path, length):
    folder = save_tiny(tmp_path)
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", length) + content[8:])
    with pytest.raises(UnsafeInputError, match=f"header claims {length} bytes"):
        read_weights(folder, read_card(folder))


def test_an_empty_file_of_weights_is_refused(tmp_path):
    folder = save_tiny(tmp_path)
    (folder / WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(UnsafeInputError, match="header claims"):
        load_network(folder, read_card(folder))


def test_fault_75_changed_weights_are_refused(tmp_path):
    folder = save_tiny(tmp_path)
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(UnsafeInputError, match="must have the sha256 of its card"):
        load_network(folder, read_card(folder))


def test_missing_weights_are_refused(tmp_path):
    folder = save_tiny(tmp_path)
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(UnsafeInputError, match="it is missing"):
        load_network(folder, read_card(folder))


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "HomogeneousUNet.__init__"])
def test_only_registered_networks_are_built(name):
    with pytest.raises(UnsafeInputError, match="only name a registered network"):
        build_network(NetworkSpec(name=name, arguments={}))


def test_arguments_that_do_not_suit_the_network_are_refused():
    with pytest.raises(UnsafeInputError, match="do not suit it"):
        build_network(NetworkSpec(name="HomogeneousUNet", arguments={"depth": 3}))


def test_a_network_larger_than_its_weights_allocates_nothing(tmp_path):
    folder = save_tiny(tmp_path)
    edit_card(folder, network={"name": "HomogeneousUNet", "arguments": {"channels": [10**6, 10**6]}})
    with pytest.raises(UnsafeInputError, match="must fit the network"):
        load_network(folder, read_card(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"name": "../up"}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"significance": {"low": 0}}, "needs the levels"),
        ({"significance": {"low": 2, "standard": 1, "high": 0}}, "rise from low to high"),
        ({"envelope": {}}, "envelope"),
    ],
)
def test_a_card_that_does_not_hold_is_refused(tmp_path, changes, message):
    folder = save_tiny(tmp_path)
    edit_card(folder, **changes)
    with pytest.raises(UnsafeInputError, match=message):
        read_card(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100000])
def test_a_card_that_is_not_json_is_refused(tmp_path, content):
    folder = save_tiny(tmp_path)
    (folder / CARD_FILE).write_bytes(content)
    with pytest.raises(UnsafeInputError, match="must be JSON"):
        read_card(folder)


def test_a_folder_without_a_card_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"has no card\.json"):
        read_card(tmp_path)


def test_the_page_states_numbers_failures_and_limits(tmp_path):
    page = (save_tiny(tmp_path) / "card.md").read_text()
    for text in ("Research only", "NRMSE", "0.1 to 0.3", "Has learned nothing", "FDG", "sha256", "nothing is clipped"):
        assert text.lower() in page.lower()


def test_scaling_the_input_by_two_scales_the_loaded_network_exactly(tmp_path):
    folder = save_tiny(tmp_path)
    network = load_network(folder, read_card(folder))
    x = torch.from_numpy(np.random.default_rng(0).normal(1, 1, (1, 1, 8, 16, 16)).astype(np.float32))
    once, twice = network(x), network(2 * x)
    assert torch.equal(2 * once[:, :2], twice[:, :2])
