import math

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.collimator import collimator_named
from nmsynth.physics.planar import PlanarProjector, conjugate_orbit, conjugate_view_activity, planar_views, slabs
from nmsynth.physics.spect import CameraResponse, SpectProjector
from tests.physics.properties import assert_adjoint, assert_linear

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


RESPONSE = CameraResponse(collimator_named("LEHR"))


def random_stack(shape=(24, 24, 10), seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_planar_projector_is_linear_and_its_adjoint_exact():
    mu = 0.15 * random_stack((9, 14, 6), 1)
    projector = PlanarProjector(9, 3.0, 4.0, 5.0, faces_mm=(60.0, 70.0), response=RESPONSE, mu_map=mu)
    assert_adjoint(projector, (9, 14, 6), (2, 14, 6))
    assert_linear(projector, (9, 14, 6))


def test_views_are_those_of_a_camera_that_turns():
    x, mu = random_stack(), 0.15 * random_stack(seed=1)
    turning = SpectProjector(24, 4.0, 4.0, conjugate_orbit(80.0, 90.0), response=RESPONSE, mu_map=mu)
    planar = PlanarProjector(24, 4.0, 4.0, 4.0, faces_mm=(80.0, 90.0), response=RESPONSE, mu_map=mu)
    assert torch.allclose(planar.forward(x), turning.forward(x), rtol=1e-3)


def test_slabs_of_planes_add_up_to_the_whole():
    x, mu = random_stack(), 0.15 * random_stack(seed=1)
    pad = 14
    padded = torch.nn.functional.pad
    whole = PlanarProjector(
        24, 4.0, 4.0, 4.0, faces_mm=(80.0, 90.0), response=RESPONSE, mu_map=padded(mu, (pad, pad))
    ).forward(padded(x, (pad, pad)))
    total = torch.zeros_like(whole)
    parts = list(slabs(10, 4))
    assert [(p.start, p.stop) for p in parts] == [(0, 4), (4, 8), (8, 10)]
    for part in parts:
        system = PlanarProjector(
            24, 4.0, 4.0, 4.0, faces_mm=(80.0, 90.0), response=RESPONSE, mu_map=padded(mu[..., part], (pad, pad))
        )
        total[..., part.start : part.stop + 2 * pad] += system.forward(padded(x[..., part], (pad, pad)))
    assert torch.allclose(total, whole, rtol=1e-4, atol=1e-4)


def test_one_view_may_be_taken_alone():
    x = random_stack((5, 6, 3))
    both = PlanarProjector(5, 4.0, 4.0, 4.0, faces_mm=(60.0, 60.0)).forward(x)
    back = PlanarProjector(5, 4.0, 4.0, 4.0, faces_mm=(60.0,), views=("posterior",)).forward(x)
    assert torch.allclose(back[0], both[1])
    assert torch.allclose(both[1], both[0].flip(0))


def test_impossible_planar_cameras_are_refused():
    with pytest.raises(InputError, match="some of anterior, posterior, each once; found lateral"):
        PlanarProjector(4, 4.0, 4.0, 4.0, faces_mm=(60.0,), views=("lateral",))
    with pytest.raises(InputError, match="sizes above 0"):
        PlanarProjector(4, 0.0, 4.0, 4.0, faces_mm=(60.0, 60.0))
    with pytest.raises(InputError, match="place of its face"):
        PlanarProjector(4, 4.0, 4.0, 4.0, faces_mm=(60.0,))
    with pytest.raises(InputError, match="finite and not negative"):
        PlanarProjector(2, 4.0, 4.0, 4.0, faces_mm=(60.0, 60.0), mu_map=torch.full((2, 2, 2), -1.0))
    with pytest.raises(InputError, match="slices of 4 rows"):
        PlanarProjector(4, 4.0, 4.0, 4.0, faces_mm=(60.0, 60.0)).forward(torch.ones(3, 2, 2))
