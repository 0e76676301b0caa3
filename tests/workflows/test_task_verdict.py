"""One rule says whether a model beats its baselines, and what a task's default may be."""

import pytest
from pydantic import ValidationError

from nmsynth.workflows.task_verdict import BETTER, NOT_TOLD, TOO_FEW, WORSE, judge
from nmsynth.workflows.tasks import Attempt, TaskTest, load_task, task_names

TESTS = (TaskTest(name="as trained"), TaskTest(name="another camera", shifted=True))


def planar():
    """A task whose primary numbers are the error and the contrast at equal noise."""
    return load_task("lowcount-planar").model_copy(update={"tests": TESTS})


def rows(error, contrast, shifted=BETTER):
    """Verdicts at two levels, and of both numbers with another camera."""
    numbers = planar().primary
    given = {"1/2": (error, contrast), "1/8": (BETTER, BETTER)}
    own = [
        {"test": "as trained", "level": level, "number": number, "verdict": verdict}
        for level, verdicts in given.items()
        for number, verdict in zip(numbers, verdicts, strict=True)
        if verdict
    ]
    other = [{"test": "another camera", "level": "1/2", "number": n, "verdict": shifted} for n in numbers]
    secondary = {"test": "as trained", "level": "1/2", "number": "false hot spots", "verdict": WORSE}
    return [*own, *other, secondary]


def test_a_model_beats_its_baselines_where_every_primary_number_is_better_everywhere():
    found = judge(planar(), rows(BETTER, BETTER))
    assert found.beats_baselines
    assert found.sentence == (
        "Better than every baseline in NRMSE and contrast of lesions (at equal noise), in all 2 tests and levels as "
        "trained; with another camera better in 2 of 2."
    )


@pytest.mark.parametrize("one", [NOT_TOLD, TOO_FEW, WORSE])
def test_one_level_that_is_not_better_is_enough_to_not_beat_them(one):
    found = judge(planar(), rows(one, BETTER))
    assert not found.beats_baselines
    said = "worse than one" if one == WORSE else "not told apart"
    assert f"NRMSE is better than all in 1, {said} in 1 of 2 as trained" in found.sentence
    assert ("with too few patients in 1" in found.sentence) == (one == TOO_FEW)
    assert "contrast of lesions (at equal noise) is better than all in 2 of 2 as trained" in found.sentence


def test_another_camera_does_not_decide_but_is_told():
    found = judge(planar(), rows(BETTER, BETTER, shifted=WORSE))
    assert found.beats_baselines
    assert found.sentence.endswith("; worse than one with another camera.")


def test_several_tests_unlike_the_training_are_counted_and_not_listed():
    task = planar().model_copy(update={"tests": (*TESTS, TaskTest(name="another scanner", shifted=True))})
    further = [row | {"test": "another scanner"} for row in rows(BETTER, BETTER) if row["test"] == "another camera"]
    found = judge(task, rows(BETTER, BETTER, shifted=NOT_TOLD) + further)
    assert found.sentence.endswith("; in 2 tests unlike the training better in 2 of 4.")


def test_a_number_that_nobody_has_proves_nothing():
    found = judge(planar(), [row for row in rows(BETTER, BETTER) if row["number"] == "NRMSE"])
    assert not found.beats_baselines
    assert "contrast of lesions (at equal noise) was not measured" in found.sentence


@pytest.mark.parametrize("name", task_names())
def test_tests_that_are_not_as_trained_say_so(name):
    for test in load_task(name).tests:
        assert test.shifted == any(word in test.name for word in ("another", "finer", "other ")), test.name


def attempt(*, beats=False):
    """One recorded model."""
    return Attempt(date="2026-01-01", tried="half of the patches at a lesion", result="worse", beats_baselines=beats)


def test_a_baseline_is_the_default_only_after_three_attempts():
    task = load_task("lowcount-planar").model_dump(by_alias=True)
    changes = {"default_is_baseline": True, "model": "lowcount-planar-gaussian"}
    with pytest.raises(ValidationError, match="a baseline is the default after 3 attempts that did not beat it"):
        type(planar())(**task | changes | {"attempts": (attempt(), attempt(), attempt(beats=True))})
    found = type(planar())(**task | changes | {"attempts": (attempt(),) * 3})
    assert found.model == "lowcount-planar-gaussian"


def test_a_task_states_what_decides():
    task = load_task("lowcount-planar").model_dump()
    none = [proof | {"primary": False} for proof in task["proof"]]
    with pytest.raises(ValidationError, match="a task needs 1 to 2 primary numbers and a test as trained; found 0"):
        type(planar())(**task | {"proof": none})
    shifted = [test | {"shifted": True} for test in task["tests"]]
    with pytest.raises(ValidationError, match="and a test as trained; found 2 and 0"):
        type(planar())(**task | {"tests": shifted})
