"""Fewer counts from an image: what is added, what is kept, what is refused."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.count_reduction import CountReducer, body_contour
from nmsynth.physics.noise_texture import NoiseTexture, measure_noise

SPACING_MM = (4.0, 5.0, 5.0)
SHAPE = (20, 64, 64)
LEVEL, COV = 1000.0, 0.15


def ellipse(half_depth_mm: float, half_width_mm: float) -> np.ndarray:
    y, x = ((np.arange(64) - 31.5) * 5.0,) * 2
    return np.broadcast_to((y[:, None] / half_depth_mm) ** 2 + (x[None] / half_width_mm) ** 2 < 1, SHAPE)


BODY = ellipse(100.0, 130.0)
REGION = ellipse(70.0, 90.0) & (np.arange(20) > 1)[:, None, None] & (np.arange(20) < 18)[:, None, None]


def noisy_body(seed: int = 0, structure: float = 0.0) -> np.ndarray:
    """A body of one level with correlated noise, and a smooth pattern if wanted."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), (0.5, 0.7, 0.7))
    wave = np.sin(np.arange(64) * 2 * np.pi * 5.0 / 60.0)
    pattern = 1 + structure * wave[:, None] * wave[None]
    return (BODY * LEVEL * (pattern + COV * noise / noise.std())).astype(np.float32)


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return noisy_body()


@pytest.fixture(scope="module")
def reducer(source) -> CountReducer:
    return CountReducer(source, SPACING_MM, REGION)


def texture_of(images: list[np.ndarray]) -> NoiseTexture:
    return NoiseTexture.mean_of([measure_noise(image, REGION) for image in images])


def test_fraction_one_adds_nothing(reducer, source):
    assert np.array_equal(reducer.reduce(1.0, torch.Generator().manual_seed(0)), source)


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.1])
def test_variance_is_that_of_the_source_over_the_fraction(reducer, source, fraction):
    scans = [reducer.reduce(fraction, torch.Generator().manual_seed(seed)) for seed in range(6)]
    ratio = (texture_of(scans).cov / measure_noise(source, REGION).cov) ** 2
    assert ratio * fraction == pytest.approx(1.0, abs=0.08)
    assert np.mean([scan[BODY].mean() for scan in scans]) == pytest.approx(source[BODY].mean(), rel=0.01)


def test_added_noise_correlates_as_that_of_the_source(reducer, source):
    added = [reducer.reduce(0.5, torch.Generator().manual_seed(seed)) - source + LEVEL for seed in range(3)]
    wanted, found = measure_noise(source, REGION), texture_of(added)
    assert found.in_plane_correlation == pytest.approx(wanted.in_plane_correlation, abs=0.05)
    assert found.axial_correlation == pytest.approx(wanted.axial_correlation, abs=0.05)


def test_source_is_not_blurred_again(reducer, source):
    scans = [reducer.reduce(0.5, torch.Generator().manual_seed(seed)) for seed in range(8)]
    residual = np.mean(scans, axis=0) - source
    fine = source - ndimage.gaussian_filter(source, 1.0)
    slope = (residual * fine)[REGION].mean() / (fine**2)[REGION].mean()
    assert abs(slope) < 0.03


def test_unit_of_the_image_does_not_matter(reducer, source):
    scaled = CountReducer(source * np.float32(2.0**-10), SPACING_MM, REGION)
    assert scaled.counts_scale == pytest.approx(reducer.counts_scale, rel=0.02)
    assert scaled.settings.filter_fwhm_mm == pytest.approx(reducer.settings.filter_fwhm_mm, abs=0.5)


def test_structure_does_not_pass_for_noise(reducer):
    structured = CountReducer(noisy_body(structure=0.4), SPACING_MM, REGION)
    assert structured.structured
    assert not reducer.structured
    assert structured.noise.cov > 1.3 * COV
    assert structured.made.cov == pytest.approx(COV, rel=0.2)


def test_images_that_are_not_negative_stay_so_and_others_keep_their_mean(reducer, source):
    assert reducer.reduce(0.05, torch.Generator().manual_seed(0)).min() >= 0
    noise = np.random.default_rng(1).normal(0, 100, SHAPE).astype(np.float32)
    linear = CountReducer(source + noise, SPACING_MM, REGION)
    scans = [linear.reduce(0.1, torch.Generator().manual_seed(seed)) for seed in range(6)]
    assert min(scan.min() for scan in scans) < linear.image.min()
    assert np.mean([scan.mean() for scan in scans]) == pytest.approx(linear.image.mean(), rel=0.01)


def test_same_generator_gives_the_same_noise(reducer):
    one, two = (reducer.reduce(0.3, torch.Generator().manual_seed(7)) for _ in range(2))
    assert np.array_equal(one, two)


def test_body_contour_fills_the_body(source):
    assert (body_contour(source, SPACING_MM) & BODY).sum() > 0.98 * BODY.sum()


def test_images_without_noise_or_activity_are_refused():
    with pytest.raises(InputError, match="must show noise"):
        CountReducer((BODY * LEVEL).astype(np.float32), SPACING_MM, REGION)
    with pytest.raises(InputError, match="at least 30 voxels; found 0"):
        CountReducer(noisy_body(), SPACING_MM, np.zeros(SHAPE, dtype=bool))
    with pytest.raises(InputError, match="square pixels"):
        CountReducer(noisy_body(), (4.0, 5.0, 4.0), REGION)


@pytest.mark.parametrize("fraction", [0.0, 1.5, -1.0])
def test_impossible_fractions_are_refused(reducer, fraction):
    with pytest.raises(InputError, match="above 0 and at most at 1"):
        reducer.reduce(fraction, torch.Generator())
