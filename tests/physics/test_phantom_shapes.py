"""Shapes and fields against what is known on paper."""

import numpy as np
import pytest

from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import Grid
from nmsynth.physics.phantom.layers import Fields, Layer, Painter, PointSampler
from nmsynth.physics.phantom.shapes import Capsule, Disc, Ellipsoid, Trunk, tube

STILL = Fields(tuple(SmoothField(np.zeros((8, 8, 8), np.float32), 50.0) for _ in range(3)), 0.0, ())


@pytest.mark.parametrize(
    ("shape", "volume_ml"),
    [
        (Ellipsoid((0, 0, 0), (20, 20, 20)), 4 / 3 * np.pi * 8.0),
        (Ellipsoid((1, 2, -3), (15, 20, 30), (20, 40, -30)), 4 / 3 * np.pi * 9.0),
        (Ellipsoid((0, 0, 0), (20, 20, 20), (0, 90, 0), 0.0), 2 / 3 * np.pi * 8.0),
        (Disc((0, 0, 0), (15, 20, 25)), np.pi * 30 * 20 * 25 / 1000),
        (Capsule((-20, 0, 0), (20, 0, 0), 12, 12), (np.pi * 144 * 40 + 4 / 3 * np.pi * 1728) / 1000),
        (Trunk((-20.0, 20.0), (25.0, 25.0), (15.0, 15.0), (0.0, 0.0)), np.pi * 25 * 15 * 40 / 1000),
    ],
    ids=["sphere", "ellipsoid", "half_sphere", "disc", "capsule", "trunk"],
)
def test_painted_volume_is_within_one_percent(shape, volume_ml):
    grid = Grid.centred((50, 50, 50), (1.5, 1.5, 1.5), -36.75)
    painter = Painter(grid, STILL)
    painter.paint([Layer("one", 1, (shape,), 2.0, 0.1)])
    assert painter.activity.sum() * grid.voxel_ml / 2.0 == pytest.approx(volume_ml, rel=0.01)
    assert painter.mu_map.max() == pytest.approx(0.1)


def test_rotated_bounds_hold_the_shape():
    shape = Ellipsoid((5, -4, 3), (30, 10, 5), (30, 50, 70))
    (z0, z1), (y0, y1), (x0, x1) = shape.bounds()
    points = np.random.default_rng(0).uniform(-40, 40, (3, 20000)).astype(np.float32)
    inside = shape.distance(*points) < 0
    assert inside.any()
    for values, low, high in zip(points, (z0, y0, x0), (z1, y1, x1), strict=True):
        assert values[inside].min() >= low
        assert values[inside].max() <= high


def test_grid_and_points_agree():
    rng = np.random.default_rng(1)
    fields = Fields(tuple(SmoothField.random(rng, 60.0, 8) for _ in range(3)), 3.0, (SmoothField.random(rng, 12.0),))
    layers = [
        Layer("outer", 1, (Ellipsoid((0, 0, 0), (30, 30, 30)),), 1.0, bump_mm=1.0, bump_field=0),
        Layer("inner", 2, tube([(-10, 0, 0), (5, 8, 0), (15, 0, 10)], 6.0), 5.0, texture=0.1, texture_field=0,
              inside="outer"),
    ]  # fmt: skip
    painter = Painter(Grid.centred((41, 41, 41), (2.0, 2.0, 2.0), -40.0), fields)
    painter.paint(layers)
    index = rng.integers(0, 41, (2000, 3))
    suv, labels = PointSampler(layers, fields)(index * 2.0 - 40.0)
    same = labels == painter.labels[tuple(index.T)]
    assert same.mean() > 0.97
    sure = same & np.isclose(suv, painter.activity[tuple(index.T)], rtol=1e-3)
    assert sure.mean() > 0.85


def test_field_is_smooth_standard_and_the_same_everywhere():
    field = SmoothField.random(np.random.default_rng(2), 10.0, 16)
    axis = np.arange(0.0, 160.0, 4.0)
    values = field.on_axes(axis, axis, axis)
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1.0, abs=0.1)
    points = np.array([[4.0, 8.0, 12.0], [40.0, 4.0, 100.0]])
    np.testing.assert_allclose(field.at(*points.T), [values[1, 2, 3], values[10, 1, 25]], atol=1e-4)
    np.testing.assert_allclose(field.at(*(points + 160.0).T), field.at(*points.T), atol=1e-4)
