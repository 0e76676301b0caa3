import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.metrics import detection

SPACING = (3.0, 4.0, 4.0)


def _blob(shape, centre, radius_mm):
    axes = [(np.arange(n) - c) * size for n, c, size in zip(shape, centre, SPACING, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(z**2 + y**2 + x**2) <= radius_mm


def _scene():
    shape = (30, 32, 32)
    return np.ones(shape), shape


def test_equal_images_have_no_false_structure():
    reference, _ = _scene()
    found = detection.false_structures(reference, reference, SPACING, liver_level=1.0)
    assert (found.count, found.n_slices, found.per_100_slices) == (0, 26, 0.0)


def test_each_added_blob_counts_once_and_a_removed_one_is_missing():
    reference, shape = _scene()
    image = reference + 3.0 * _blob(shape, (10, 8, 8), 8) + 3.0 * _blob(shape, (20, 24, 24), 8)
    image -= 0.9 * _blob(shape, (15, 24, 8), 10)
    added = detection.false_structures(image, reference, SPACING, liver_level=1.0)
    removed = detection.false_structures(image, reference, SPACING, liver_level=1.0, sign=-1)
    assert (added.count, removed.count) == (2, 1)
    assert added.per_100_slices == pytest.approx(200 / 26)
    assert added.labels[10, 8, 8] == 1
    assert added.labels[20, 24, 24] == 2


def test_end_slices_do_not_count():
    reference, shape = _scene()
    image = reference + 3.0 * (_blob(shape, (0, 8, 8), 5) | _blob(shape, (29, 24, 24), 5))
    assert detection.false_structures(image, reference, SPACING, liver_level=1.0, end_slices=4).count == 0


def test_structures_need_four_voxels_the_liver_level_and_the_reference():
    reference, shape = _scene()
    options = {"liver_level": 1.0, "fwhm_mm": 0.0}
    three, four = np.zeros(shape), np.zeros(shape)
    three[10, 10, 10:13] = four[10, 10, 10:14] = 0.36
    assert detection.false_structures(reference + three, reference, SPACING, **options).count == 0
    assert detection.false_structures(reference + four, reference, SPACING, **options).count == 1
    assert detection.false_structures(2 * reference + four, 2 * reference, SPACING, **options).count == 0
    low = 0.34 / 0.36 * four
    assert detection.false_structures(reference + low, reference, SPACING, **options).count == 0


def test_count_does_not_depend_on_the_unit():
    reference, shape = _scene()
    image = reference + np.random.default_rng(0).normal(0, 1.5, shape)
    counts = [detection.false_structures(s * image, s * reference, SPACING, liver_level=s).count for s in (1.0, 4096.0)]
    assert counts[0] == counts[1] > 0


def test_structures_need_a_liver_level():
    reference, _ = _scene()
    with pytest.raises(InputError, match="positive liver level"):
        detection.false_structures(reference, reference, SPACING, liver_level=0.0)


def test_omitted_and_shifted_exclude_each_other():
    assert detection.is_omitted(0.24)
    assert not detection.is_omitted(0.25)
    assert not detection.is_omitted(None)
    assert detection.is_shifted(0.5, -0.3)
    assert detection.is_shifted(1.5, 0.3)
    assert not detection.is_shifted(0.1, -0.6)
    assert not detection.is_shifted(0.9, -0.1)
    assert not detection.is_shifted(None, None)


def test_matched_filter_ignores_a_constant_and_peaks_at_the_blob():
    _, shape = _scene()
    assert np.abs(detection.matched_filter(np.full(shape, 5.0), SPACING, signal_fwhm_mm=10.0)).max() < 1e-5
    response = detection.matched_filter(1.0 * _blob(shape, (12, 20, 9), 6), SPACING, signal_fwhm_mm=10.0)
    assert np.unravel_index(response.argmax(), shape) == (12, 20, 9)


def test_froc_reads_the_sensitivity_at_the_stated_false_alarm_rate():
    """Ten slices, false alarms of height 3, 2 and 1, lesions of height 2.5 (a) and 0.5 (b)."""
    shape = (10, 32, 32)
    response = np.zeros(shape, dtype=np.float32)
    for height, place in (
        (3.0, (2, 4, 4)),
        (2.0, (2, 4, 20)),
        (1.0, (6, 28, 28)),
        (2.5, (5, 10, 10)),
        (0.5, (8, 20, 20)),
    ):
        response[place] = height
    lesions = tuple(_blob(shape, place, 4) for place in ((5, 10, 10), (8, 20, 20)))
    case = detection.DetectionCase(response, lesions, np.ones(shape, bool), SPACING, ("a", "b"))
    points = detection.froc([case], false_alarms_per_100_slices=[0.0, 10.0, 30.0])
    assert [p.sensitivity["all"] for p in points] == [0.0, 0.5, 1.0]
    assert [p.sensitivity["a"] for p in points] == [0.0, 1.0, 1.0]
    assert [p.threshold for p in points] == [3.0, 2.0, -math.inf]
    assert points[0].n_lesions == {"all": 2, "a": 1, "b": 1}
