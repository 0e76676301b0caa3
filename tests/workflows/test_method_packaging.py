"""The card of a trained model says what its recipe's text says only of the data that the text is about."""

import pytest

from nmsynth.data.folds import Split
from nmsynth.models.method_spec import MethodSpec
from nmsynth.models.package import read_card
from nmsynth.training.method_recipe import MethodRecipe
from nmsynth.workflows.method_packaging import write_method_package
from tests.models.method_packages import make_method_card, make_plan, tiny_method


@pytest.fixture
def package(tmp_path):
    """Write a package of a recipe with the text of a card, and read its card."""
    plan = make_plan()
    method = tiny_method(make_method_card(plan))
    recipe = MethodRecipe(name="own", method=MethodSpec(name="unet"), card="lowcount-pet", differs=("It is small.",))

    def write(**how):
        split = Split(("a", "b"), ("c",), ())
        write_method_package(recipe, "own", method, plan, split, tmp_path / "training", tmp_path / "own", **how)
        return read_card(tmp_path / "own")

    return write


def test_the_text_is_that_of_the_data_it_speaks_of(package):
    card = package(on_own_data=True)
    assert card.licence == "Apache-2.0"
    assert card.task == "lowcount-pet"
    assert {source.use for source in card.data} == {"train"}
    assert [tracer.name for tracer in card.envelope.tracers] == ["FDG"]
    assert card.envelope.minimum_grid == (8, 32, 32)
    assert card.training["n_subjects"] == {"train": 2, "validation": 1}


def test_of_other_data_nothing_is_claimed(package):
    card = package()
    assert card.licence == "as the data it was trained on"
    assert card.task == make_plan().task
    assert not card.data
    assert card.failures == ("It is small.",)
    assert card.envelope.any_tracer
