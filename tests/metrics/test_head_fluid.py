"""The share of fluid within a skull is that of a drawn ball, and rises with the atrophy of a drawn head."""

import numpy as np
import pytest

from nmsynth.metrics.head_fluid import head_fluid, usual_fluid
from nmsynth.physics.phantom.brain_atrophy import atrophied
from nmsynth.physics.phantom.brain_regions import brain_regions
from nmsynth.physics.phantom.head_map import head_map

SPACING = (4.0, 4.0, 4.0)


def ball(fluid):
    """A head of 90 mm radius with fluid at random places, and its mask."""
    rng = np.random.default_rng(1)
    axes = (np.arange(n) * 4.0 - 4.0 * (n - 1) / 2 for n in (56, 52, 52))
    z, y, x = np.meshgrid(*axes, indexing="ij")
    body = z**2 + y**2 + x**2 < 90.0**2
    tissue = np.where(rng.random(body.shape) < 0.5, 0.7, 1.0)
    image = np.where(rng.random(body.shape) < fluid, 0.25, tissue) + 0.02 * rng.standard_normal(body.shape)
    return np.where(body, image, 0.0), body


@pytest.mark.parametrize("fluid", [0.1, 0.25, 0.4])
def test_the_share_is_that_of_what_is_dark_whatever_the_scale(fluid):
    image, body = ball(fluid)
    assert head_fluid(image, body, SPACING) == pytest.approx(fluid, abs=0.02)
    assert head_fluid(250.0 * image, body, SPACING) == pytest.approx(fluid, abs=0.02)


def test_a_body_and_an_empty_grid_have_none():
    image, body = ball(0.2)
    assert head_fluid(image, body, (8.0, 8.0, 8.0)) is None  # twenty litres
    assert head_fluid(image, np.zeros_like(body), SPACING) is None
    assert head_fluid(np.ones_like(image), body, SPACING) is None


def test_the_range_is_known_only_where_all_are_heads():
    assert usual_fluid([0.2, 0.3]) == pytest.approx((0.201, 0.299))
    assert usual_fluid([0.2, None]) is None
    assert usual_fluid([]) is None


def test_a_head_with_more_atrophy_than_seen_in_it_lies_beyond_their_range():
    labels, spacing = head_map(40, spacing_mm=2.5)
    regions = brain_regions(labels, spacing)
    value = np.full(int(labels.max()) + 1, 0.5)  # skin and what else lies outside the brain
    value[[515, 516, 0]] = 0.1, 0.1, 0.0
    value[[24, 4, 43, 5, 44, 14, 15]] = 0.25
    value[[2, 41, 7, 46, 16]] = 1.0
    value[[3, 42, 8, 47, 10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58, 28, 60]] = 0.7

    def fluid(atrophy):
        fine = value[atrophied(labels, regions, spacing, atrophy)]
        n_z, n_y, n_x = (size // 2 for size in fine.shape)
        image = fine[: 2 * n_z, : 2 * n_y, : 2 * n_x].reshape(n_z, 2, n_y, 2, n_x, 2).mean(axis=(1, 3, 5))
        return head_fluid(image, image > 0.05, tuple(2 * s for s in spacing))

    seen = usual_fluid([fluid(0.0), fluid(0.5)])
    assert seen is not None
    beyond = fluid(1.0)
    assert beyond is not None
    assert beyond > seen[1] + 0.01
