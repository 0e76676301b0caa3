"""Quality control objects."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, Organ, image_quality, uniform_cylinder
from nmsynth.physics.phantom.quality import SPHERE_DIAMETERS_MM


def test_cylinder_holds_its_volume():
    phantom = uniform_cylinder(Grid.centred((60, 60, 60), (4.0, 4.0, 4.0)), radius_mm=90.0, length_mm=150.0, suv=2.0)
    volume_ml = np.pi * 9.0**2 * 15.0
    assert phantom.activity.sum() * phantom.grid.voxel_ml / 2.0 == pytest.approx(volume_ml, rel=1e-3)
    assert phantom.activity.max() == pytest.approx(2.0)
    assert phantom.mu_map.max() == pytest.approx(0.096)
    assert phantom.body_mass_kg == pytest.approx(volume_ml / 1000)


def test_spheres_have_their_volume_and_contrast():
    grid = Grid.centred((30, 90, 90), (2.0, 2.0, 2.0))
    phantom = image_quality(grid, contrast=4.0, background_suv=1.0)
    assert tuple(x.diameter_mm for x in phantom.lesions) == SPHERE_DIAMETERS_MM
    z, y, x = np.meshgrid(*grid.axes(), indexing="ij")
    for lesion in phantom.lesions:
        near = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), lesion.centre_mm, strict=True))) < 24
        excess_ml = (phantom.activity[near] - 1.0).sum() * grid.voxel_ml / 3.0
        assert excess_ml == pytest.approx(np.pi / 6 * lesion.diameter_mm**3 / 1000, rel=0.015)
        assert phantom.activity[phantom.lesion_labels == lesion.index].max() == pytest.approx(4.0, rel=1e-3)


def test_lung_insert_is_cold_and_light():
    phantom = image_quality(Grid.centred((10, 60, 80), (5.0, 5.0, 5.0)))
    lung = phantom.labels == Organ.LUNG
    assert lung.any()
    assert phantom.mu_map[lung].min() < 0.03
    assert phantom.activity[5, 29:31, 39:41].max() == 0
    assert not (image_quality(phantom.grid, lung_insert=False).labels == Organ.LUNG).any()


def test_wrong_objects_are_refused():
    grid = Grid.centred((4, 4, 4), (10.0, 10.0, 10.0))
    with pytest.raises(InputError, match="radius_mm must be positive"):
        uniform_cylinder(grid, radius_mm=0.0)
    with pytest.raises(InputError, match="contrast must be positive"):
        image_quality(grid, contrast=float("nan"))
    with pytest.raises(InputError, match="one to six diameters"):
        image_quality(grid, diameters_mm=(10.0,) * 7)
