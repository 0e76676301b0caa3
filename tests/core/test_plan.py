import math

import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.plan import ConditionPlan, check_same_images, check_same_inputs, plan_to_toml, read_plan
from tests.training.methods import image_plan, tiny_plan


def test_plan_survives_its_toml(tmp_path):
    plan = tiny_plan(
        sources=(image_plan("pet"), image_plan("ct", optional=True)),
        conditions=(
            ConditionPlan(name="count_fraction", kind="logarithm", offset=-1.5, scale=0.7),
            ConditionPlan(name="tracer", kind="category", categories=("FDG", "FES")),
        ),
        fingerprint={"n_cases": 3},
    )
    path = tmp_path / "plan.toml"
    path.write_text(plan_to_toml(plan))
    assert read_plan(path) == plan
    assert "patch = [4, 8, 8]" in path.read_text()
    assert read_plan(path, {"schedule.steps": 7}).schedule.steps == 7
    assert (plan.n_source_channels, plan.n_conditions) == (2, 4)


def test_unknown_key_names_the_nearest(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plan_to_toml(tiny_plan()).replace("patch =", "pach ="))
    with pytest.raises(InputError, match="patch"):
        read_plan(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": (0, 8, 8)}, "must be positive"),
        ({"dimensions": "2d"}, "patches of one slice"),
        ({"dimensions": "2.5d", "patch": (1, 8, 8), "context": 4}, "odd context"),
        ({"context": 3}, "only a 2.5d plan"),
        ({"residual": True, "target": image_plan("target", normalisation={"kind": "linear", "scale": 9.0})}, "target's scale"),
        ({"sources": (image_plan(), image_plan())}, "different names"),
    ],
)  # fmt: skip
def test_contradictory_plan_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_plan(**changes)


def test_conditions_become_numbers_of_order_one():
    assert ConditionPlan(name="minutes", offset=60.0, scale=20.0).encode("80") == [1.0]
    assert ConditionPlan(name="f", kind="logarithm", offset=math.log(0.1), scale=1.0).encode(0.1) == [0.0]
    tracer = ConditionPlan(name="tracer", kind="category", categories=("FDG", "FES"))
    assert tracer.encode("FDG") == [1.0, 0.0]
    with pytest.raises(InputError, match="one of FDG, FES; found 'PSMA'"):
        tracer.encode("PSMA")
    for value in ("x", "0", "nan"):
        with pytest.raises(InputError, match="finite positive number"):
            ConditionPlan(name="f", kind="logarithm").encode(value)


def test_plan_for_other_images_is_refused():
    plan = tiny_plan(sources=(image_plan("pet"), image_plan("ct", modality="CT", optional=True)))
    check_same_images(plan, {"pet": "PT", "target": "PT"})
    with pytest.raises(InputError, match="needs the source 'pet'"):
        check_same_images(plan, {"ct": "CT", "target": "PT"})
    with pytest.raises(InputError, match="made for PT as target; the dataset has NM"):
        check_same_images(plan, {"pet": "PT", "target": "NM"})


def test_model_of_other_inputs_is_no_start():
    plan = tiny_plan()
    check_same_inputs(plan, tiny_plan(patch=(8, 8, 8), schedule={"steps": 3}))
    other = tiny_plan(sources=(image_plan(normalisation={"kind": "linear", "scale": 9.0}),))
    with pytest.raises(InputError, match=r"its 'sources' are pet \(PT \[SUVbw \[g/mL\]\], linear, 0 and 9\)"):
        check_same_inputs(plan, other)
    with pytest.raises(InputError, match="its 'conditions' are f"):
        check_same_inputs(plan, tiny_plan(conditions=(ConditionPlan(name="f"),)))
