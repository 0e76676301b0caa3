"""What an image says beyond its anatomy: known answers for one that says nothing, all, and the usual pattern."""

import numpy as np
import pytest

from nmsynth.evaluation.beyond_anatomy import COMPOSITE, PATTERN, measure_beyond_anatomy

NAMES = ("frontal", "anterior cingulate", "precuneus", "parietal", "lateral temporal")
LABELS = np.repeat(np.arange(5), 8).reshape(5, 2, 4)
MASKS = {name: k == LABELS for k, name in enumerate(NAMES)} | {"body": np.ones_like(LABELS)}
USUAL = np.array([2.0, 1.0, 3.0, 1.5, 2.5])
OWN = np.array([0.0, 0.02, -0.3, -0.2, -0.1])


def shown(values):
    return values[LABELS].astype(np.float32)


def measured(**arms):
    found = measure_beyond_anatomy(
        {name: shown(values) for name, values in arms.items()}, shown(USUAL + OWN), shown(USUAL), MASKS, unit="SUVR",
        against="T1",
    )  # fmt: skip
    return {(m.name, m.mask, m.arm): m for m in found}


def test_the_usual_pattern_is_no_answer_and_half_of_the_right_one_is():
    found = measured(usual=USUAL, half=USUAL + OWN / 2, other=USUAL - OWN)
    where = "5 regions"
    assert np.corrcoef(USUAL, USUAL + OWN)[0, 1] > 0.98  # what a correlation of the images themselves would say
    assert found[PATTERN, where, "usual"].value == 0.0
    assert found[PATTERN, where, "half"].value == pytest.approx(1.0, abs=1e-4)
    assert found[PATTERN, where, "other"].value == pytest.approx(-1.0, abs=1e-4)
    composite = {arm: found[COMPOSITE, "metabolic cortex", arm].value for arm in ("usual", "half", "reference")}
    assert composite == pytest.approx({"usual": 0.0, "half": -0.1, "reference": -0.2}, abs=1e-4)
    assert (PATTERN, where, "reference") not in found


def test_few_regions_say_nothing():
    few = {name: MASKS[name] for name in NAMES[:3]}
    image = shown(USUAL)
    assert measure_beyond_anatomy({"a": image}, image, image, few, unit="SUVR", against="T1") == []
