import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.metrics import quantitative

SPACING = (3.0, 4.0, 4.0)
SHAPE = (21, 21, 21)


def _distance(centre_mm=(0.0, 0.0, 0.0), shape=SHAPE, spacing=SPACING):
    axes = [
        (np.arange(n) - (n - 1) / 2) * size - offset for n, size, offset in zip(shape, spacing, centre_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(z**2 + y**2 + x**2)


def test_peak_of_a_uniform_image_is_its_value():
    found = quantitative.suv_peak(np.full(SHAPE, 3.0), _distance() < 10, SPACING)
    assert found.value == pytest.approx(3.0)


def test_peak_sphere_holds_one_millilitre():
    assert math.pi / 6 * quantitative.PEAK_DIAMETER_MM**3 == pytest.approx(1000.0)


def test_peak_of_a_large_sphere_is_its_level_and_below_the_maximum_of_noise():
    distance = _distance()
    image = np.where(distance < 25, 5.0, 1.0)
    assert quantitative.suv_peak(image, distance < 25, SPACING).value == pytest.approx(5.0)
    noisy = image + np.random.default_rng(0).normal(0, 0.5, SHAPE)
    assert quantitative.suv_peak(noisy, distance < 25, SPACING).value < quantitative.suv_max(noisy, distance < 25)


def test_peak_finds_a_blob_between_voxels():
    """Mean of exp(-r^2/2s^2) over a ball of radius R, by quadrature; voxels as boxes cost up to 3.5 %."""
    sigma, radius = 8.0, quantitative.PEAK_DIAMETER_MM / 2
    r = (np.arange(4000) + 0.5) / 4000 * radius
    expected = (np.exp(-(r**2) / (2 * sigma**2)) * r**2).sum() / (r**2).sum()
    for centre in ((0.0, 0.0, 0.0), (1.5, 2.0, -2.0), (-0.8, 1.1, 0.6)):
        distance = _distance(centre)
        found = quantitative.suv_peak(np.exp(-(distance**2) / (2 * sigma**2)), distance < 9, SPACING)
        assert 0.965 * expected < found.value < 1.001 * expected
        offset = [(i - 10) * size for i, size in zip(found.centre_index, SPACING, strict=True)]
        assert offset == pytest.approx(list(centre), abs=1.5)


def test_peak_of_a_single_voxel_is_its_share_of_the_sphere():
    image, mask = np.zeros(SHAPE), np.zeros(SHAPE, dtype=bool)
    image[10, 10, 10], mask[10, 10, 10] = 1000.0, True
    expected = 1000.0 * math.prod(SPACING) / 1000.0  # mL of the voxel in 1 mL
    assert quantitative.suv_peak(image, mask, SPACING).value == pytest.approx(expected, rel=0.01)


def test_peak_scales_with_the_image_and_is_never_below_a_voxel_centred_one():
    distance = _distance((1.0, 1.5, 0.0))
    image = np.random.default_rng(1).uniform(0, 1, SHAPE)
    peak = quantitative.suv_peak(image, distance < 8, SPACING)
    assert quantitative.suv_peak(7.0 * image, distance < 8, SPACING).value == pytest.approx(7.0 * peak.value)
    assert quantitative.suv_peak(image, distance < 12, SPACING).value >= peak.value


def test_peak_at_the_edge_of_the_image_is_over_what_is_inside():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[0, 0, 0] = True
    assert quantitative.suv_peak(np.full(SHAPE, 2.0), mask, SPACING).value == pytest.approx(2.0)


def test_no_value_for_an_empty_mask():
    empty = np.zeros(SHAPE, dtype=bool)
    image = np.ones(SHAPE)
    assert quantitative.suv_peak(image, empty, SPACING) is None
    assert quantitative.suv_max(image, empty) is None
    assert quantitative.region_mean(image, empty) is None
    assert quantitative.metabolic_volume_ml(image, empty, SPACING, threshold=4.0) is None


def test_weighted_mean():
    assert quantitative.region_mean(np.array([1.0, 3.0]), np.array([1.0, 0.5])) == pytest.approx(5 / 3)


def test_metabolic_volume_and_glycolysis_by_both_thresholds():
    image = np.zeros((5, 5, 5))
    image[2, 2, 1:4] = (10.0, 4.2, 4.0)
    mask = np.ones(image.shape, dtype=bool)
    voxel_ml = math.prod(SPACING) / 1000
    relative = {"fraction_of_maximum": 0.41}
    assert quantitative.metabolic_volume_ml(image, mask, SPACING, **relative) == pytest.approx(2 * voxel_ml)
    assert quantitative.total_glycolysis(image, mask, SPACING, **relative) == pytest.approx(14.2 * voxel_ml)
    assert quantitative.metabolic_volume_ml(image, mask, SPACING, threshold=4.0) == pytest.approx(3 * voxel_ml)
    assert quantitative.total_glycolysis(image, mask, SPACING, threshold=4.0) == pytest.approx(18.2 * voxel_ml)
    assert quantitative.metabolic_volume_ml(image * 0, mask, SPACING, threshold=4.0) == 0.0
    assert quantitative.metabolic_volume_ml(image * 0, mask, SPACING, fraction_of_maximum=0.41) is None


def test_peak_of_a_region_of_many_voxels_is_found_where_it_is():
    image = np.ones((40, 40, 40))
    image[25:29, 11:15, 30:34] = 7.0
    found = quantitative.suv_peak(image, np.ones(image.shape, dtype=bool), (4.0, 4.0, 4.0))
    assert found is not None
    assert found.value == pytest.approx(7.0)
    assert np.linalg.norm(np.array(found.centre_index) - (26.5, 12.5, 31.5)) < 1.0


def test_peak_equals_a_brute_force_search_over_sub_voxel_spheres():
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.normal(1.0, 0.5, (13, 13, 13)), 1.0)
    mask = np.zeros(image.shape, dtype=bool)
    mask[5:8, 5:8, 5:8] = True
    found = quantitative.suv_peak(image, mask, (3.0, 3.0, 3.0))
    # voxels cut into 15 points an axis, averaged within 6.2035 mm of centres 1 mm apart
    n = 15
    fine = np.repeat(np.repeat(np.repeat(image[2:11, 2:11, 2:11], n, 0), n, 1), n, 2)
    axis = (np.arange(9 * n) + 0.5) * 3.0 / n - 1.5
    best = -np.inf
    for centre in itertools.product(np.arange(8.0, 17.0), repeat=3):
        near = [slice(*np.searchsorted(axis, (c - 6.21, c + 6.21))) for c in centre]
        squares = [(axis[part] - c) ** 2 for part, c in zip(near, centre, strict=True)]
        inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 6.2035**2
        best = max(best, float(fine[tuple(near)][inside].mean()))
    assert found.value == pytest.approx(best, rel=2e-3)
