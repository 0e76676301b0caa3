import numpy as np
import pytest

from nmsynth.core.units import Unit
from nmsynth.data.image_matching import match_images
from nmsynth.data.itk_images import (
    combined,
    displacement_mm,
    displacement_transform,
    moved,
    sitk,
    smallest_volume_ratio,
)
from tests.helpers import make_volume

SHAPE, SPACING = (10, 24, 24), (4.0, 3.0, 3.0)


def ball(centre_zyx_mm, radius_mm=16.0):
    """A bright ball in a grey field."""
    z, y, x = (n * s for n, s in zip(np.indices(SHAPE, dtype=float), SPACING, strict=True))
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre_zyx_mm, strict=True)))
    return make_volume(
        array=100.0 + 300.0 / (1.0 + np.exp((distance - radius_mm) / 2.0)), spacing_mm=SPACING, unit=Unit.HOUNSFIELD,
        modality="CT",
    )  # fmt: skip


def test_combined_fields_are_the_composition_and_do_not_tear_at_the_border():
    grid = ball((20.0, 36.0, 36.0))
    rng = np.random.default_rng(0)
    first = displacement_transform(np.full((*SHAPE, 3), (3.0, -2.0, 4.0)), grid)
    second = displacement_transform(0.3 * rng.standard_normal((*SHAPE, 3)) + np.array([2.0, 2.0, 0.0]), grid)
    together = displacement_mm(combined(first, second, grid), grid)
    composed = displacement_mm(sitk.CompositeTransform([first, second]), grid)
    inner = (slice(2, -2),) * 3
    assert together[inner] == pytest.approx(composed[inner], abs=1e-6)
    assert np.abs(together - displacement_mm(second, grid) - (3.0, -2.0, 4.0)).max() < 1e-6  # at the border too
    assert np.abs(composed - together).max() > 3.0


def test_a_displaced_ball_is_found_and_space_does_not_fold():
    fixed, moving = ball((20.0, 36.0, 36.0)), ball((20.0, 41.0, 33.0))
    seen = np.ones(SHAPE, dtype=bool)
    found = match_images(fixed.array, moving.array, seen, fixed, smoothness_mm=12.0, iterations=40)
    there, inner = moved(moving, fixed, found).array, (slice(2, -2),) * 3
    before, after = (np.abs(a - fixed.array)[inner].mean() for a in (moving.array, there))
    assert after < 0.3 * before
    assert smallest_volume_ratio(found, fixed) > 0.2


def test_what_is_not_seen_does_not_pull():
    two = [ball((20.0, 18.0, 36.0), 10.0).array + ball((20.0, 54.0, 36.0), 10.0).array]
    two += [ball((20.0, 22.0, 36.0), 10.0).array + ball((20.0, 50.0, 36.0), 10.0).array]
    grid = ball((20.0, 36.0, 36.0))
    seen = np.indices(SHAPE)[1] < 12
    found = match_images(two[0], two[1], seen, grid, smoothness_mm=12.0, iterations=40)
    length = np.linalg.norm(displacement_mm(found, grid), axis=-1)
    assert length[:, :12].max() > 2.0
    assert length[:, 18:].max() < 0.35 * length[:, :12].max()  # what smoothing spreads
