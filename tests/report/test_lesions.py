import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.report.lesions import Lesion, lesion_from_row, measure_lesions
from tests.report.scenes import LESIONS, SPACING_MM, body


def lesions():
    return [
        Lesion(name, centre, size, contrast)
        for name, centre, size, contrast in map(lesion_from_row, LESIONS, (1, 2, 3))
    ]


def test_scaled_image_has_the_bias_of_its_scale():
    truth = body().astype(np.float32)
    rows = measure_lesions({"reference": truth, "half": 0.5 * truth}, lesions(), SPACING_MM, reference="reference")
    assert [row["arm"] for row in rows] == ["half"] * 3
    for row in rows:
        assert row["mean_bias"] == pytest.approx(-0.5)
        assert row["peak_bias"] == pytest.approx(-0.5)
        assert row["recovery"] == pytest.approx(0.5)


def test_empty_image_gives_no_bias_and_no_error():
    empty = np.zeros((24, 20, 28), np.float32)
    rows = measure_lesions({"reference": empty, "other": empty}, lesions(), SPACING_MM, reference="reference")
    assert all(row["mean_bias"] is None and row["recovery"] is None for row in rows)


def test_lesion_outside_the_grid_is_left_out():
    outside = [Lesion("far", (99.0, 5.0, 5.0), 10.0)]
    image = body().astype(np.float32)
    assert measure_lesions({"reference": image, "a": image}, outside, SPACING_MM, reference="reference") == []


@pytest.mark.parametrize(
    "row",
    [{}, {"centre_index": [1, 2, 3]}, {"centre_index": [1, 2], "diameter_mm": 5}, {"z": 1, "y": 1, "x": float("nan")}],
)
def test_incomplete_lesion_is_refused(row):
    with pytest.raises(InputError, match="centre_index"):
        lesion_from_row(row, 1)
