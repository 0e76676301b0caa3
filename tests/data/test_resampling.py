import numpy as np
import pytest

from nmsynth.core.geometry import affine_from_axes, to_world
from nmsynth.data.resampling import covered, plan_grid, resample
from tests.helpers import make_volume


@pytest.mark.parametrize("spacing", [(1.5, 2.0, 2.0), (4.1, 5.3, 6.0), (3.0, 3.5, 3.5)])
def test_a_uniform_image_stays_uniform_to_its_last_slice(spacing):
    image = make_volume(array=np.full((17, 20, 22), 3.0), affine=affine_from_axes(spacing_mm=(3.0, 4.0, 4.0)))
    affine, shape = plan_grid(image, spacing)
    assert covered(image, affine, shape).all()
    assert np.allclose(resample(image, affine, shape, fill=-7.0).array, 3.0, atol=1e-5)


def test_what_lies_beyond_the_field_of_view_is_filled():
    image = make_volume(array=np.full((4, 6, 6), 3.0), affine=affine_from_axes(spacing_mm=(2.0, 2.0, 2.0)))
    wide = affine_from_axes(spacing_mm=(2.0, 2.0, 2.0), origin_mm=(-4.0, 0.0, -2.0))
    moved = resample(image, wide, (7, 6, 10), fill=-1.0)
    assert (moved.array[0] == -1.0).all()
    assert (moved.array[1:5, :, 2:8] == 3.0).all()
    assert (moved.array[5:] == -1.0).all()


def test_a_ramp_keeps_its_place():
    affine = affine_from_axes(spacing_mm=(3.0, 2.0, 2.0), origin_mm=(10.0, -20.0, 5.0))
    places = to_world(affine, np.argwhere(np.ones((20, 30, 30))))
    image = make_volume(array=places[:, 2].reshape(20, 30, 30), affine=affine)
    grid, shape = plan_grid(image, (4.5, 2.0, 2.0))
    z = to_world(grid, np.argwhere(np.ones(shape)))[:, 2].reshape(shape)
    inner = slice(2, -2)
    assert np.allclose(resample(image, grid, shape).array[inner], z[inner], atol=0.05)
