import math

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.planar import conjugate_orbit, conjugate_view_activity, planar_views
from nmsynth.physics.spect import SpectProjector

MU = 0.154


def slab(n=48, thickness=30):
    body = torch.zeros(n, n, 3)
    start = (n - thickness) // 2
    body[start : start + thickness] = MU
    return body


@pytest.mark.parametrize("depth", [10, 20, 33])
def test_geometric_mean_of_a_point_is_its_activity_at_any_depth(depth):
    n, pixel = 48, 4.0
    activity = torch.zeros(n, n, 3)
    activity[depth, 24, 1] = 1.0
    projector = SpectProjector(n, pixel, pixel, conjugate_orbit(150.0, 150.0), mu_map=slab())
    anterior, posterior = planar_views(projector.forward(activity) / pixel)
    mirrored = posterior.flip(1)
    transmission = torch.full_like(anterior, math.exp(-MU * 30 * pixel / 10))
    found = conjugate_view_activity(anterior, mirrored, transmission, counts_per_bq=1.0)
    assert float(found.sum()) == pytest.approx(1.0, rel=0.01)
    assert (float(anterior.sum()) > float(posterior.sum())) == (depth < 24)


def test_a_thick_source_is_overrated_as_the_formula_says():
    n, pixel = 48, 4.0
    activity = torch.zeros(n, n, 3)
    activity[14:34, 24, 1] = 1.0
    projector = SpectProjector(n, pixel, pixel, conjugate_orbit(150.0, 150.0), mu_map=slab())
    anterior, posterior = planar_views(projector.forward(activity) / pixel)
    transmission = torch.full_like(anterior, math.exp(-MU * 30 * pixel / 10))
    found = float(conjugate_view_activity(anterior, posterior.flip(1), transmission, counts_per_bq=1.0).sum())
    half = MU * 20 * pixel / 10 / 2
    assert found / 20.0 == pytest.approx(math.sinh(half) / half, rel=0.01)


def test_head_is_on_top_and_the_posterior_view_mirrored():
    projections = torch.zeros(2, 5, 4)
    projections[0, 1, 3] = 1.0
    views = planar_views(projections)
    assert tuple(views.shape) == (2, 4, 5)
    assert float(views[0, 0, 1]) == 1.0
    point = torch.zeros(9, 9, 1)
    point[4, 7, 0] = 1.0
    front, back = planar_views(SpectProjector(9, 4.0, 4.0, conjugate_orbit(60.0, 60.0)).forward(point))
    assert int(front[0].argmax()) == 7
    assert int(back[0].argmax()) == 1


def test_impossible_views_are_refused():
    ones = torch.ones(2, 2)
    with pytest.raises(InputError, match="negative"):
        conjugate_view_activity(-ones, ones, ones, counts_per_bq=1.0)
    with pytest.raises(InputError, match="transmission"):
        conjugate_view_activity(ones, ones, 0 * ones, counts_per_bq=1.0)
    with pytest.raises(InputError, match="view, bin, plane"):
        planar_views(ones)
