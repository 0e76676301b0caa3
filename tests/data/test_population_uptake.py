"""The population's uptake in one anatomy: known tissues are found again, and thin ones look as they must."""

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.data.population_uptake import Anatomy, PopulationUptake
from nmsynth.metrics.regions import FWHM_PER_SIGMA

SPACING = (3.0, 3.0, 3.0)
CORTEX, WHITE = 1, 2
UPTAKE = {-1: 0.3, 0: 0.5, CORTEX: 2.6, WHITE: 0.8}
AXES = np.indices((30, 30, 30)) - 14.5
RADIUS = 3.0 * np.sqrt((AXES**2).sum(axis=0))


def anatomy(thickness_mm):
    """White matter in a shell of cortex, in a ball of other tissue."""
    labels = np.select([RADIUS < 18.0, 18.0 + thickness_mm > RADIUS], [WHITE, CORTEX]).astype(np.int32)
    return Anatomy(labels, RADIUS < 42.0, SPACING)


def image(of, fwhm_mm, scale=1.0):
    """A scan of known tissues."""
    away = ndimage.distance_transform_edt(of.labels == 0, sampling=SPACING)
    kinds = [of.labels == WHITE, of.labels == CORTEX, away <= 10.0, of.body]
    level = np.select(kinds, [UPTAKE[k] for k in (WHITE, CORTEX, 0, -1)])
    return (scale * ndimage.gaussian_filter(level, fwhm_mm / FWHM_PER_SIGMA / 3.0)).astype(np.float32)


def test_uptake_and_blur_are_found_and_a_thinner_cortex_shows_less():
    known = [anatomy(t) for t in (5.0, 7.0, 9.0, 12.0)]
    scales = (0.9, 1.1, 1.05, 0.95)
    found = PopulationUptake.fit(known, [image(a, 7.0, s) for a, s in zip(known, scales, strict=True)])
    assert found.fwhm_mm == 7.0
    for tissue in (CORTEX, WHITE, 0):
        assert found.uptake[tissue] == pytest.approx(UPTAKE[tissue], rel=0.12)
    thin, thick = anatomy(4.0), anatomy(11.0)
    shown = [found(a)[a.labels == CORTEX].mean() for a in (thin, thick)]
    expected = [image(a, 7.0)[a.labels == CORTEX].mean() for a in (thin, thick)]
    assert expected[0] < 0.75 * expected[1]
    assert shown == pytest.approx(expected, rel=0.08)


def test_what_varies_between_subjects_alone_is_not_said():
    known = [anatomy(8.0)] * 20
    scales = np.random.default_rng(0).uniform(0.7, 1.3, 20)
    found = PopulationUptake.fit(known, [image(known[0], 7.0, s) for s in scales], fwhm_mm=(7.0,))
    inside = known[0].labels > 0
    assert found(known[0])[inside] == pytest.approx(image(known[0], 7.0, scales.mean())[inside], rel=0.02)


def test_cases_without_regions_are_refused():
    empty = Anatomy(np.zeros((4, 4, 4), np.int32), np.ones((4, 4, 4), bool), SPACING)
    with pytest.raises(InputError, match="means of regions; found none"):
        PopulationUptake.fit([empty], [np.ones((4, 4, 4), np.float32)])
