import numpy as np
import pytest

from nmsynth.metrics.correction import error_over_mean, organ_errors, share_beyond

EXPECTED = np.array([1.0, 2.0, 4.0, 0.0])
EVERYWHERE = np.ones(4, dtype=bool)


@pytest.mark.parametrize(("limit", "share"), [(0.05, 0.75), (0.10, 0.5), (0.15, 0.25)])
def test_voxels_are_counted_by_their_relative_error(limit, share):
    image = EXPECTED * [1.06, 0.88, 1.2, 1.0]
    assert share_beyond(image, EXPECTED, EVERYWHERE, limit) == pytest.approx(share)


def test_activity_where_there_is_none_is_an_error():
    assert share_beyond([1.0, 2.0, 4.0, 0.1], EXPECTED, EVERYWHERE, 0.15) == pytest.approx(0.25)


def test_error_over_mean_has_known_answer():
    assert error_over_mean(EXPECTED + 0.35, EXPECTED, EVERYWHERE) == pytest.approx(0.2)
    assert error_over_mean(3 * EXPECTED, EXPECTED, EVERYWHERE) == pytest.approx(2.0)


def test_organs_are_compared_by_their_means():
    organs = {"liver": np.array([True, True, False, False]), "brain": np.array([False, False, True, False])}
    organs["bladder"] = np.array([False, False, False, True])  # without activity nothing is relative to it
    found = organ_errors(EXPECTED * [1.3, 0.85, 1.1, 1.0], EXPECTED, organs)
    assert found == pytest.approx({"liver": 0.0, "brain": 0.1})


def test_nothing_is_said_of_an_empty_mask():
    nowhere = np.zeros(4, dtype=bool)
    assert share_beyond(EXPECTED, EXPECTED, nowhere, 0.05) is None
    assert error_over_mean(EXPECTED, EXPECTED, nowhere) is None
    assert error_over_mean(EXPECTED, np.zeros(4), EVERYWHERE) is None
    assert organ_errors(EXPECTED, EXPECTED, {"liver": nowhere}) == {}
