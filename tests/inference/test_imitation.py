"""An image of a time at which nobody scanned says so, and keeps neither activity nor the times of the scan."""

from dataclasses import replace

import pytest

from nmsynth.core.errors import EnvelopeError, SuvError
from nmsynth.core.plan import ConditionPlan
from nmsynth.inference import synthesize
from nmsynth.models.plan_envelope import envelope_from_plan
from nmsynth.physics.phantom.brain_tracers import brain_tracer_named
from nmsynth.workflows.card_text import read_card_text
from tests.inference.test_method_synthesis import GIVEN, pet
from tests.models.method_packages import PET, make_method_card, make_plan, tiny_model


def test_a_late_image_of_early_minutes_is_no_scan_and_need_not_keep_activity():
    scan = pet(acquisition=replace(GIVEN, frame_durations_s=(600.0,)))
    source = PET.model_copy(update={"tracers": (("F-18", "FDG"),)})
    plan = make_plan(sources=(source,), conditions=(), target_time="30 to 60 min")
    model = tiny_model(make_method_card(plan))
    made = synthesize(scan, model, settings={"threads": 1})
    assert made.image.acquisition.series_description == "synthetic FDG PT of 30 to 60 min"
    assert made.image.acquisition.frame_durations_s == ()
    assert made.image.provenance.settings["time"] == "30 to 60 min"
    assert not any("should stay within" in flag for flag in made.flags)
    with pytest.raises(SuvError, match="when nothing was scanned"):
        made.image.to_suv()
    kept = synthesize(scan, tiny_model(make_method_card(make_plan(conditions=()))), settings={"threads": 1})
    assert kept.image.acquisition.frame_durations_s == (600.0,)
    assert any("should stay within" in flag for flag in kept.flags)


def tracers(*values):
    return {"source_tracer": values[0], "target_tracer": values[1]}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("FDG", "FDG"), "pairs that it was trained on: FDG to florbetapir; florbetapir to FDG; found FDG to FDG"),
        (("florbetapir", "FDG"), "must be the tracer of the scan; found 'florbetapir', and the scan states FDG"),
    ],
)
def test_a_pair_of_tracers_that_was_not_trained_and_a_scan_of_another_are_refused(told, message):
    conditions = tuple(
        ConditionPlan(name=name, kind="category", categories=("FDG", "florbetapir"))
        for name in ("source_tracer", "target_tracer")
    )
    plan = make_plan(conditions=conditions, tracer_pairs=(("FDG", "florbetapir"), ("florbetapir", "FDG")))
    model = tiny_model(make_method_card(plan))
    scan = pet(acquisition=replace(GIVEN, radiopharmaceutical="FDG", radionuclide="F-18"))
    with pytest.raises(EnvelopeError, match=message):
        synthesize(scan, model, settings={"conditions": tracers(*told)})
    right = {"threads": 1, "conditions": tracers("FDG", "florbetapir")}
    assert synthesize(scan, model, settings=right).image.provenance.settings["imitates"] == "florbetapir"


PAIRS = (
    ("FDG", "florbetapir"), ("florbetapir", "FDG"), ("early-florbetapir", "FDG"), ("FDG", "early-florbetapir"),
)  # fmt: skip


def tracer_model():
    """A tiny model of the pairs of tracer-to-tracer, with the envelope of its card."""
    conditions = tuple(
        ConditionPlan(name=name, kind="category", categories=("FDG", "early-florbetapir", "florbetapir"))
        for name in ("source_tracer", "target_tracer")
    )
    plan = make_plan(conditions=conditions, tracer_pairs=PAIRS)
    stated = {**envelope_from_plan(plan).model_dump(mode="json"), **read_card_text("tracer-to-tracer")["envelope"]}
    return tiny_model(make_method_card(plan, envelope=stated | {"any_tracer": False}))


@pytest.mark.parametrize("pair", PAIRS)
def test_a_scan_with_the_source_of_each_pair_is_taken_by_whatever_name_it_states(pair):
    names = {brain_tracer_named(pair[0]).agent, *([] if pair[0] == "FDG" else ["Amyvid", "[18F]AV-45"])}
    for agent in names:
        scan = pet(acquisition=replace(GIVEN, radiopharmaceutical=agent, body_part="HEAD"))
        made = synthesize(scan, tracer_model(), settings={"threads": 1, "conditions": tracers(*pair)})
        assert made.image.provenance.settings["imitates"] == pair[1]
        wrong = tracers(*PAIRS[0 if pair[0] != "FDG" else 1])
        with pytest.raises(EnvelopeError, match="must be the tracer of the scan"):
            synthesize(scan, tracer_model(), settings={"threads": 1, "conditions": wrong})
