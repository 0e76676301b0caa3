"""The baseline that a task may offer is the recipe of its network with a filter in the network's place."""

import pytest
from benchmarks.task_model import BASELINE_STEPS, baseline_recipe

from nmsynth.models.methods import METHODS
from nmsynth.training.method_recipe import MethodRecipe
from nmsynth.workflows.method_recipes import load_method_recipe


@pytest.mark.parametrize("name", ["lowcount-spect", "sparse-spect", "lowcount-mpi", "lowcount-planar"])
def test_the_filter_learns_from_the_patients_of_the_network_and_has_its_card(name):
    network = load_method_recipe(name)
    found = MethodRecipe.model_validate(baseline_recipe(network).model_dump())
    assert found.method.name == "learned-gaussian"
    assert found.method.name in METHODS
    assert (found.data, found.card) == (network.data, network.card)
    assert found.name == f"{name}-gaussian"
    assert found.plan["schedule.steps"] == BASELINE_STEPS
    assert found.without_idea is None
