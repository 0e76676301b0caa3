"""Any ``torch.nn.Module`` by its import path."""

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.plan import ConditionPlan, ImagePlan, Plan
from nmsynth.core.units import Unit
from nmsynth.models.method import Regression, regression_loss
from nmsynth.models.methods import METHODS, MethodSpec, build_method
from tests.models.method_training import answer, relative_error, tiny_batch, tiny_setting, train_method

PET = {"modality": "PT", "unit": Unit.BQML, "normalisation": Normalisation(kind="linear")}
CONVOLUTION = {"in_channels": 2, "out_channels": 1, "kernel_size": 3, "padding": 1}


def make_plan(**fields) -> Plan:
    """A small plan in 2D, with one source and one condition."""
    return Plan(
        **{
            "task": "test",
            "sources": (ImagePlan(name="pet", **PET),),
            "target": ImagePlan(name="target", **PET),
            "conditions": (ConditionPlan(name="count_fraction"),),
            "spacing_mm": (4.0, 4.0, 4.0),
            "dimensions": "2d",
            "patch": (1, 32, 32),
            "channels": (8, 16),
            **fields,
        }
    )


def test_network_of_torch_is_taught_by_regression():
    torch.manual_seed(0)
    method = build_method(
        MethodSpec(name="torch.nn:Conv2d", arguments={**CONVOLUTION, "loss": "l2"}), make_plan(), allow_import=True
    )
    batch = tiny_batch(2, n_conditions=1)
    before = relative_error(answer(method, batch), batch)
    train_method(method, batch, 60, lr=3e-2)
    assert relative_error(answer(method, batch), batch) < 0.7 * before
    assert not method.stochastic
    assert method.loss == "l2"


def test_residual_is_added_to_any_network():
    spec = MethodSpec(name="torch.nn:Conv2d", arguments=CONVOLUTION)
    method = build_method(spec, make_plan(residual=True), allow_import=True)
    torch.nn.init.zeros_(method.network.weight)
    torch.nn.init.zeros_(method.network.bias)
    batch = tiny_batch(2, n_conditions=1)
    assert torch.equal(answer(method, batch), batch["source"])


def test_network_of_monai_is_taught_by_regression():
    pytest.importorskip("monai")
    spec = MethodSpec(
        name="monai.networks.nets:BasicUNet",
        arguments={"spatial_dims": 2, "in_channels": 2, "out_channels": 1, "features": [8, 8, 8, 8, 8, 8]},
    )
    method = build_method(spec, make_plan(), allow_import=True)
    batch = tiny_batch(2, n_conditions=1)
    history = train_method(method, batch, 10, lr=1e-2)
    assert history[-1]["network.total"] < history[0]["network.total"]
    assert answer(method, batch).shape == batch["target"].shape


def test_transformer_of_monai_learns_and_takes_any_size():
    pytest.importorskip("monai")
    spec = MethodSpec(name="swin", arguments={"variant": "swin-unetr", "feature_size": 12})
    method = build_method(spec, make_plan())
    history = train_method(method, tiny_batch(2, n_conditions=1), 4)  # 32 voxels: its coarsest level has one
    assert history[-1]["network.total"] < history[0]["network.total"]
    batch = {"source": torch.randn(1, 1, 30, 41), "condition": torch.ones(1, 1)}
    assert answer(method, batch).shape == (1, 1, 30, 41)


@pytest.mark.parametrize("name", ["ddpm", "ldm", "flow", "swin"])
def test_families_are_built_by_name(name):
    method = build_method(MethodSpec(name=name), make_plan())
    source, noise = torch.randn(1, 1, 32, 32), torch.randn(1, *method.noise_shape((32, 32)))
    assert type(method).__name__ == METHODS[name].partition(":")[2]
    assert answer(method, {"source": source, "condition": torch.ones(1, 1)}, noise).shape == (1, 1, 32, 32)


def test_import_must_be_allowed():
    with pytest.raises(InputError, match=r"'torch\.nn:Conv2d', which is only imported on request"):
        build_method(MethodSpec(name="torch.nn:Conv2d", arguments=CONVOLUTION), make_plan())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("torch.nn.functional:relu", {}, "must be a class of torch.nn.Module"),
        ("pathlib:Path", {}, "must be a class of torch.nn.Module"),
        ("torch.nn:Conv9d", {}, "must name a class that can be imported"),
        ("no_such_package:Net", {}, "must name a class that can be imported"),
        ("torch.nn:Conv2d", {"n_channels": 3}, "does not take these arguments"),
    ],
)
def test_what_is_no_network_is_refused(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build_method(MethodSpec(name=name, arguments=arguments), make_plan(), allow_import=True)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("flwo", {}, "There is no family 'flwo'. Did you mean 'flow'"),
        ("ddpm", {"steps": 3}, "The family 'ddpm' does not take these arguments"),
    ],
)
def test_what_is_no_family_is_refused(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build_method(MethodSpec(name=name, arguments=arguments), make_plan())


def test_what_is_rare_counts_more_where_asked_for():
    """Of nothing seen, the answer is ``w p L / (w p + 1 - p)`` where a share p of voxels is L, counting w times."""
    target = torch.zeros(1, 1, 10, 10)
    target[..., :1] = 2.0
    batch = {
        "source": torch.zeros_like(target),
        "target": target,
        "condition": torch.zeros(1, 0),
        "weight": torch.ones_like(target),
        "labels": 3.0 * (target > 0),
    }
    for options in ({"region_emphasis": 8.0}, {"emphasis": 8.0, "above": 1.0}):
        method = Regression(tiny_setting(2), Constant(), loss="l2", **options)
        optimiser = torch.optim.SGD(method.parameters(), lr=0.4)
        for _ in range(60):
            optimiser.zero_grad()
            method.losses(batch, "network", "main")["total"].backward()
            optimiser.step()
        assert method.network.level.item() == pytest.approx(9 * 0.1 * 2 / (9 * 0.1 + 0.9), rel=1e-3)


def test_scans_of_many_counts_are_learned_as_closely_as_those_of_few():
    """Of differences d to the source, the answer is the mean of d, each weighed by 1 / d^2."""
    difference = torch.tensor([0.1, 1.0])[:, None, None, None].expand(2, 1, 6, 6)
    batch = {
        "source": torch.ones(2, 1, 6, 6),
        "target": 1 + difference,
        "condition": torch.zeros(2, 0),
        "weight": torch.ones(2, 1, 6, 6),
    }
    levels = {}
    for over_source_error in (False, True):
        setting = tiny_setting(2, residual=True)
        method = Regression(setting, Constant(), loss="l2", over_source_error=over_source_error)
        optimiser = torch.optim.SGD(method.parameters(), lr=0.005)
        for _ in range(800):
            optimiser.zero_grad()
            method.losses(batch, "network", "main")["total"].backward()
            optimiser.step()
        levels[over_source_error] = method.network.level.item()
    assert levels[False] == pytest.approx(0.55, rel=1e-2)
    assert levels[True] == pytest.approx(11 / 101, rel=1e-2)
    with pytest.raises(InputError, match="Leave over_source_error out"):
        Regression(tiny_setting(2), Constant(), over_source_error=True)


class Constant(torch.nn.Module):
    """One level, whatever the source."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros(()))

    def forward(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """The level at every voxel."""
        del condition
        return self.level.expand_as(source)


def test_the_loss_of_counts_is_least_at_the_mean_and_weighs_by_what_is_expected():
    targets = torch.tensor([1.0, 2.0, 9.0])
    answer = torch.full((3,), 4.0, requires_grad=True)
    regression_loss(answer, targets, torch.ones(3), kind="counts").backward()
    assert float(answer.grad.sum()) == pytest.approx(0.0, abs=1e-6)  # of targets that fit alike, the mean
    bright, faint = (
        regression_loss(torch.tensor([v]), torch.tensor([0.9 * v]), torch.ones(1), kind="counts") for v in (10.0, 1.0)
    )
    assert float(bright) == pytest.approx(10 * float(faint), rel=0.06)  # not the hundredfold of squares
