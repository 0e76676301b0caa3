"""Spheres in the image quality body: recovery by size, and the overshoot of the resolution model."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from nmsynth.data.scan import ReferenceScan
from nmsynth.data.simulation import fine_grid, simulate_case
from nmsynth.physics.phantom.quality import image_quality


def recovery(**settings) -> tuple[list[float], list[float]]:
    """Contrast recovery of each sphere, mean and maximum, without noise; contrast 4 to 1, diameters rising."""
    reference = ReferenceScan(
        voxel_mm=4.0, plane_mm=4.0, field_mm=320.0, mismatched=False, axial_correlation=0.0, **settings
    )
    draw = reference.draw(10.0, (1.0,), np.random.default_rng(0))
    phantom = image_quality(fine_grid(draw, n_planes=14, start_mm=-28.0), lung_insert=False)
    case = simulate_case(phantom, draw, generator=torch.Generator().manual_seed(0), calibrate=False)
    even = ndimage.binary_erosion(np.abs(case.truth - 1) < 1e-3, iterations=3)
    contrast = (case.noise_free / case.noise_free[even].mean() - 1) / 3
    parts = [contrast[case.lesion_labels == lesion.index] for lesion in phantom.lesions]
    return [float(part.mean()) for part in parts], [float(part.max()) for part in parts]


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], list[float]]:
    return recovery(n_iterations=4)


def test_mean_recovery_rises_with_the_sphere_without_resolution_model(plain):
    means, maxima = plain
    assert all(larger > smaller for smaller, larger in itertools.pairwise(means))
    assert means[0] < 0.45
    assert 0.75 < means[-1] < 1.0
    assert max(maxima) < 1.04


def test_resolution_model_recovers_more_and_overshoots(plain):
    """The maximum of a large sphere, which is right without the model, exceeds the truth with it."""
    means, maxima = recovery(n_iterations=12, resolution_model=True, filter_fwhm_mm=0.0)
    assert all(with_model > without for with_model, without in zip(means, plain[0], strict=True))
    assert 1.05 < max(maxima) < 1.6
    assert maxima[-1] > 1.05
