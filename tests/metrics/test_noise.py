import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.metrics import noise
from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
from nmsynth.metrics.regions import sphere_weights


def test_deviation_and_variation_of_a_mask_are_the_sample_values():
    values = np.random.default_rng(0).normal(10, 2, (6, 7, 8))
    mask = np.zeros(values.shape, dtype=bool)
    mask[2:5, 2:5, 2:5] = True
    assert noise.standard_deviation(values, mask) == pytest.approx(values[mask].std(ddof=1))
    assert noise.coefficient_of_variation(values, mask) == pytest.approx(values[mask].std(ddof=1) / values[mask].mean())
    assert noise.coefficient_of_variation(7 * values, mask) == pytest.approx(
        noise.coefficient_of_variation(values, mask)
    )


def test_partial_volume_weights_are_unbiased():
    values = np.random.default_rng(1).normal(10, 2, (60, 60, 60))
    weights = sphere_weights(values.shape, (1.0, 1.0, 1.0), centre_index=(30, 30, 30), diameter_mm=50.0)
    assert noise.standard_deviation(values, weights) == pytest.approx(2.0, rel=0.02)


def test_nothing_to_measure_gives_none():
    assert noise.standard_deviation(np.ones((2, 2, 2)), np.zeros((2, 2, 2))) is None
    assert noise.coefficient_of_variation(np.zeros((2, 2, 2)), np.ones((2, 2, 2))) is None
    assert noise.noise_reduction(np.ones((2, 2, 2)), np.ones((2, 2, 2)), np.ones((2, 2, 2))) is None


def test_ensemble_variation_ignores_structure():
    structure = np.random.default_rng(2).uniform(5, 15, (4, 8, 8))
    stack = structure + np.random.default_rng(3).normal(0, 1.0, (200, 4, 8, 8))
    cov = noise.ensemble_cov(stack, np.ones(structure.shape, bool))
    assert cov == pytest.approx(1.0 / structure.mean(), rel=0.02)
    with pytest.raises(InputError, match="at least two"):
        noise.ensemble_cov(stack[:1], np.ones(structure.shape, bool))


def test_autocorrelation_of_noise_blurred_along_the_axis_only():
    """A kernel (1, 2, 1) along z gives correlations 4/6, 1/6 and 0 at lags 1, 2 and 3."""
    white = np.random.default_rng(4).normal(0, 1, (40, 40, 40))
    blurred = ndimage.convolve1d(white, [1, 2, 1], axis=0, mode="wrap")
    found = noise.autocorrelation(blurred, np.ones(white.shape, bool))
    assert [found["axial"][lag] for lag in (1, 2, 3)] == pytest.approx([4 / 6, 1 / 6, 0.0], abs=0.02)
    assert [found["in-plane"][lag] for lag in (1, 2, 3)] == pytest.approx([0.0] * 3, abs=0.02)


def test_autocorrelation_over_realisations_ignores_structure():
    structure = np.linspace(0, 100, 10)[:, None, None] * np.ones((10, 6, 6))
    stack = structure + np.random.default_rng(5).normal(0, 1, (50, 10, 6, 6))
    assert noise.autocorrelation(stack, np.ones(structure.shape, bool))["axial"][1] == pytest.approx(0.0, abs=0.03)
    assert noise.autocorrelation(structure, np.ones(structure.shape, bool))["axial"][1] > 0.5


def test_autocorrelation_without_pairs_is_none():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1, 1, 1] = True
    found = noise.autocorrelation(np.random.default_rng(0).normal(size=(3, 3, 3)), mask)
    assert found["axial"][1] is None
    assert found["axial"][3] is None


def test_half_the_noise_is_a_reduction_of_a_half():
    source = np.random.default_rng(6).normal(10, 2, (5, 6, 7))
    halved = 10 + (source - 10) / 2
    assert noise.noise_reduction(halved, source, np.ones(source.shape)) == pytest.approx(0.5)


def test_background_variability_of_three_spheres():
    image = np.ones((12, 30, 30))
    image[:, :, 10:20], image[:, :, 20:] = 2.0, 3.0
    centres = [(6, 15, 5), (6, 15, 15), (6, 15, 25)]
    value = noise.background_variability(image, (2.0, 2.0, 2.0), centres_index=centres, diameter_mm=10.0)
    assert value == pytest.approx(0.5)


def test_repeatability_is_by_lesion():
    peaks = np.array([[1.0, 10.0], [3.0, 10.0]])
    assert noise.repeatability(peaks) == pytest.approx([np.sqrt(2.0) / 2.0, 0.0])


def test_homogeneous_sphere_lies_in_the_liver_like_organ_and_not_in_noise_or_muscle():
    shape, spacing = (30, 40, 40), (4.0, 4.0, 4.0)
    body = np.zeros(shape, dtype=bool)
    body[:, 4:36, 4:36] = True
    image = 1.0 * body
    image[10:24, 8:22, 8:22] = 2.5
    image[12:14, 10:12, 10:12] = 6.0
    image += body * np.random.default_rng(7).normal(0, 0.2, shape) * image
    found = find_homogeneous_sphere(image, spacing, body)
    z, y, x = found.centre_index
    assert (10 <= z < 24, 8 <= y < 22, 8 <= x < 22) == (True, True, True)
    assert found.mean == pytest.approx(2.5, rel=0.05)
    region = grow_region(image, spacing, found, body)
    assert region[10:24, 8:22, 8:22].sum() > 0.9 * region.sum()
    assert region.sum() > 300
    again = find_homogeneous_sphere(2048.0 * image, spacing, body)
    assert again.centre_index == found.centre_index


def test_homogeneous_sphere_needs_room():
    small = np.ones((3, 3, 3), dtype=bool)
    assert find_homogeneous_sphere(np.ones((3, 3, 3)), (4.0, 4.0, 4.0), small) is None
    assert find_homogeneous_sphere(np.ones((3, 3, 3)), (4.0, 4.0, 4.0), ~small) is None


def test_dispersion_of_neighbours_is_one_for_counts_and_less_where_they_were_smoothed():
    counts = np.random.default_rng(0).poisson(12.0, (200, 201))
    assert noise.neighbour_dispersion(counts) == pytest.approx(1.0, abs=0.03)
    assert noise.neighbour_dispersion(2 * counts) == pytest.approx(2.0, abs=0.06)
    smoothed = np.rint((counts[:, 1:] + counts[:, :-1]) / 2)
    assert noise.neighbour_dispersion(smoothed) < 0.6
    assert noise.neighbour_dispersion(np.zeros((3, 4))) is None


def test_residual_noise_is_what_differs_from_the_reference_and_not_what_the_region_shows():
    rng = np.random.default_rng(0)
    reference = 10.0 + np.arange(40)[:, None, None] * np.ones((40, 20, 20))  # a slope that is no noise
    image = reference + rng.normal(0, 2.0, reference.shape)
    everywhere = np.ones(reference.shape, dtype=bool)
    expected = 2.0 / reference.mean()
    assert noise.residual_noise(image, reference, everywhere) == pytest.approx(expected, rel=0.02)
    assert noise.residual_noise(image + 3.0, reference, everywhere) == pytest.approx(expected, rel=0.02)
    counts = rng.poisson(reference)
    found = noise.residual_noise(counts, reference, everywhere, as_counts=True)
    assert found == pytest.approx(1 / np.sqrt(reference.mean()), rel=0.02)
    assert noise.residual_noise(image, 0 * reference, everywhere) is None
