"""Inputs that cannot give an image are refused; doubtful ones and doubtful outputs are flagged."""

from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import EnvelopeError, NumericalError, UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.inference.guard import ALL_ZERO, body_mask, check_input, check_output
from tests.helpers import make_volume
from tests.models.packages import make_pet


def test_a_usual_scan_has_no_flags():
    state = check_input(make_pet())
    assert (state.flags, state.is_zero) == ((), False)


def test_fault_30_an_empty_scan_is_known_as_such():
    state = check_input(make_pet(array=np.zeros((10, 24, 20))))
    assert (state.flags, state.is_zero) == ((ALL_ZERO,), True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    array = make_pet().array.copy()
    array[0, 0, 0] = value
    with pytest.raises(UnsafeInputError, match="1 voxels are NaN or infinite"):
        check_input(make_pet(array=array))


def test_a_scan_without_activity_is_refused():
    with pytest.raises(UnsafeInputError, match="positive values"):
        check_input(make_pet(array=-np.abs(make_pet().array) - 1))


def test_fault_31_saturation_is_flagged():
    (flag,) = check_input(make_pet(array=np.minimum(make_pet().array, 8000.0))).flags
    assert "saturated" in flag


def test_a_uniform_scan_is_flagged():
    assert check_input(make_pet(array=np.ones((8, 8, 8)))).flags == ("the input is the same everywhere",)


def test_much_negative_activity_is_flagged():
    (flag,) = check_input(make_pet(array=make_pet().array - 2000.0)).flags
    assert "negative" in flag


def test_an_mr_that_is_mostly_negative_is_a_ct():
    values = np.random.default_rng(0).normal(-700.0, 300.0, (8, 12, 12))
    with pytest.raises(UnsafeInputError, match="most of this one's are negative, as of a CT"):
        check_input(make_volume(array=values, modality="MR", unit=Unit.RELATIVE))
    assert check_input(make_volume(array=np.abs(values), modality="MR", unit=Unit.RELATIVE)).flags == ()


def test_a_synthetic_image_is_not_synthesised_again():
    with pytest.raises(EnvelopeError, match=r"made by lowcount-pet 1\.0\.0"):
        check_input(replace(make_pet(), provenance=Provenance(synthetic=True, model="lowcount-pet 1.0.0")))


def test_an_output_that_keeps_activity_is_not_flagged():
    flags, numbers = check_output(make_pet().array, make_pet())
    assert flags == ()
    assert numbers == {"maximum_ratio": 1.0, "body_activity_ratio": 1.0}


def test_lost_activity_and_overshoot_are_flagged():
    lost, numbers = check_output(0.9 * make_pet().array, make_pet())
    assert "changed by -10.0 %" in lost[0]
    assert numbers["body_activity_ratio"] == pytest.approx(0.9)
    high = make_pet().array.copy()
    high[5, 12, 10] *= 3
    assert "the largest value rose" in check_output(high, make_pet())[0][-1]


def test_fault_90_an_output_that_is_not_finite_is_an_error():
    array = make_pet().array.copy()
    array[1, 1, 1] = np.inf
    with pytest.raises(NumericalError, match="nothing was written"):
        check_output(array, make_pet())


def test_the_body_is_where_the_activity_is():
    body = body_mask(make_pet((10, 60, 60)))
    assert body[5, 30, 30]
    assert not body[:, 0, 0].any()
    assert 0.4 < body.mean() < 0.75
