"""Packages of methods: what an answer needs round trips, what does not fit or is foreign is refused."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models.card import Card, NetworkSpec
from nmsynth.models.method_package import load_method, save_method_package
from nmsynth.models.methods import MethodSpec
from nmsynth.models.package import CARD_FILE, WEIGHTS_FILE, load_network, read_card
from tests.models.method_packages import CT, PET, make_method_card, make_plan, save_tiny_method, tiny_method
from tests.models.packages import make_card


def answer(method, sizes=(8, 16, 16)):
    """Answer for a fixed input."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randn(1, 1, *sizes, generator=generator)
    return method(source, torch.full((1, 1), -1.5))


@pytest.mark.parametrize("half", [True, False])
def test_a_method_round_trips_with_its_plan_in_full_and_half_precision(tmp_path, half):
    card = make_method_card()
    folder = save_tiny_method(tmp_path, card, half=half)
    found = read_card(folder)
    again = load_method(folder, found)
    assert (found.plan, found.method) == (card.plan, card.method)
    expected = answer(tiny_method(card))
    difference = (answer(again) - expected).abs().max() / expected.abs().max()
    assert difference == 0 if not half else 0 < difference < 2e-3
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert {p.dtype for p in again.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", ["cvae", "pix2pix", "cyclegan"])
def test_only_what_an_answer_needs_is_stored(tmp_path, family):
    card = make_method_card(family=family)
    method = tiny_method(card)
    folder = save_tiny_method(tmp_path, card, half=False)
    with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
        stored = set(weights.keys())
    assert stored < set(method.state_dict())
    assert all(name.startswith(tuple(method.shipped())) for name in stored)
    again = load_method(folder, read_card(folder))
    torch.testing.assert_close(answer(again), answer(method))


def test_the_page_of_a_card_shows_plan_and_normalisation():
    page = make_method_card(make_plan(sources=(PET, CT))).to_markdown()
    assert "- Method: unet {}" in page
    assert "- Source: pet: PT in SUVbw [g/mL], linear (offset 0, scale 4)" in page
    assert "low -1000, high 1000), may be missing" in page
    assert "- Condition: count_fraction, logarithm" in page
    assert "Significance" not in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": NetworkSpec(name="HomogeneousUNet")}, "either a network or a method"),
        ({"method": None}, "either a network or a method"),
        ({"plan": None}, "comes with the plan"),
        ({"inputs": ("ct",)}, "sources of its plan"),
        (
            {"method": None, "plan": None, "inputs": ("pet",), "network": NetworkSpec(name="HomogeneousUNet")},
            "significance needs",
        ),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Card(**(dict(make_method_card()) | changes))


def test_the_shipped_card_of_before_is_still_one():
    import nmsynth

    path = Path(nmsynth.__file__).parent / "weights" / "lowcount-pet" / CARD_FILE
    card = Card.model_validate(json.loads(path.read_text()))
    assert (card.method, card.plan, card.schema_version) == (None, None, 1)


def test_weights_of_another_plan_are_not_saved_or_loaded(tmp_path):
    wide = make_method_card(make_plan(channels=(8, 8)))
    with pytest.raises(InputError, match="must describe the method"):
        save_method_package(tmp_path / "a", method=tiny_method(make_method_card()), card=wide)
    folder = save_tiny_method(tmp_path)
    path = folder / CARD_FILE
    content = json.loads(path.read_text())
    content["plan"]["channels"] = [8, 8]
    path.write_text(json.dumps(content))
    with pytest.raises(UnsafeInputError, match="must fit the network of its card"):
        load_method(folder, read_card(folder))


def test_a_card_that_claims_a_huge_network_allocates_nothing(tmp_path):
    folder = save_tiny_method(tmp_path)
    path = folder / CARD_FILE
    content = json.loads(path.read_text())
    content["plan"]["channels"] = [8000000, 8000000]
    path.write_text(json.dumps(content))
    with pytest.raises(UnsafeInputError, match="far larger than they are"):
        load_method(folder, read_card(folder))


def test_a_class_of_another_package_is_imported_only_on_request(tmp_path):
    plan = make_plan(conditions=())
    card = make_method_card(
        plan,
        method=MethodSpec(name="torch.nn:Conv3d", arguments={"in_channels": 1, "out_channels": 1, "kernel_size": 1}),
    )
    folder = save_tiny_method(tmp_path, card)
    with pytest.raises(InputError, match="only imported on request"):
        load_method(folder, read_card(folder))
    assert load_method(folder, read_card(folder), allow_import=True).network.weight.shape == (1, 1, 1, 1, 1)


def test_changed_weights_are_refused(tmp_path):
    folder = save_tiny_method(tmp_path)
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(bytes(content))
    with pytest.raises(UnsafeInputError, match="sha256"):
        load_method(folder, read_card(folder))


def test_methods_and_networks_are_not_taken_for_each_other(tmp_path):
    folder = save_tiny_method(tmp_path)
    with pytest.raises(InputError, match="no network of its own but a method"):
        load_network(folder, read_card(folder))
    with pytest.raises(InputError, match="it names a network"):
        save_method_package(tmp_path / "a", method=tiny_method(make_method_card()), card=make_card())
