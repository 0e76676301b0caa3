import numpy as np
import pytest

from nmsynth.metrics.hot_spots import hot_spot_agreement, hot_spot_index, hot_spots

PIXEL_MM = (2.4, 2.4)


def body(shape=(2, 120, 80)):
    """The middle of both views."""
    inside = np.zeros(shape, dtype=bool)
    inside[:, 10:110, 15:65] = True
    return inside


def view(foci=(), level=10.0):
    """An even body with discs of 8 pixels across in the first view, some times as hot."""
    array = level * body().astype(float)
    y, x = np.ogrid[:120, :80]
    for cy, cx, ratio in foci:
        array[0][(y - cy) ** 2 + (x - cx) ** 2 <= 16] *= ratio
    return array


def test_foci_are_found_one_by_one_and_none_elsewhere():
    labels = hot_spots(view([(40, 30, 3.0), (80, 50, 4.0)]), body(), PIXEL_MM)
    assert labels.max() == 2
    assert {labels[0, 40, 30], labels[0, 80, 50]} == {1, 2}
    assert not labels[1].any()


def test_an_even_body_and_its_edge_have_none():
    assert not hot_spots(view(), body(), PIXEL_MM).any()


def test_what_is_hardly_hotter_or_tiny_is_no_focus():
    assert not hot_spots(view([(40, 30, 1.3)]), body(), PIXEL_MM).any()
    point = view()
    point[0, 40, 30] *= 4.0
    assert not hot_spots(point, body(), PIXEL_MM).any()


def test_what_is_wider_than_its_background_is_none():
    wide = view()
    wide[0, 20:60, 20:60] *= 3.0
    assert not hot_spots(wide, body(), PIXEL_MM)[0, 35:45, 35:45].any()


def test_twice_the_counts_have_the_same_foci():
    once, twice = (hot_spots(f * view([(40, 30, 3.0)]), body(), PIXEL_MM) for f in (1.0, 2.0))
    assert np.array_equal(once, twice)


def test_index_and_agreement_have_known_answers():
    inside = body()
    labels = hot_spots(view([(40, 30, 3.0)]), inside, PIXEL_MM)
    assert hot_spot_index(labels, inside) == pytest.approx((labels > 0).sum() / inside.sum())
    other = hot_spots(view([(40, 30, 3.0), (80, 50, 4.0)]), inside, PIXEL_MM)
    agreement = hot_spot_agreement(labels, other)
    assert (agreement.found, agreement.expected, agreement.missed, agreement.false) == (1, 2, 1, 0)
    assert hot_spot_agreement(other, labels).false == 1
    assert hot_spot_index(labels, np.zeros_like(inside)) is None
