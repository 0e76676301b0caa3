import numpy as np
import pytest

from nmsynth.metrics import recovery


def _lesion():
    lesion, ring = np.zeros((3, 3, 9), dtype=bool), np.zeros((3, 3, 9), dtype=bool)
    lesion[:, :, 0:2], ring[:, :, 6:8] = True, True
    return lesion, ring


def test_half_the_contrast_recovers_a_half():
    lesion, ring = _lesion()
    reference = np.ones(lesion.shape) + 4.0 * lesion
    image = np.ones(lesion.shape) + 2.0 * lesion
    assert recovery.contrast(reference, lesion, ring) == pytest.approx(4.0)
    assert recovery.recovery(image, reference, lesion, ring) == pytest.approx(0.5)
    assert recovery.recovery(3 * image, 3 * reference, lesion, ring) == pytest.approx(0.5)


def test_recovery_and_mean_bias_are_one_fact():
    lesion, ring = _lesion()
    contrast = 4.0
    reference = np.ones(lesion.shape) + (contrast - 1) * lesion
    image = np.ones(lesion.shape) + 1.2 * lesion
    recovered = recovery.recovery(image, reference, lesion, ring)
    assert (1 + recovered * (contrast - 1)) / contrast - 1 == pytest.approx(2.2 / 4.0 - 1)


def test_no_contrast_in_the_reference_gives_no_recovery():
    lesion, ring = _lesion()
    flat = np.ones(lesion.shape)
    assert recovery.recovery(flat, flat, lesion, ring) is None
    assert recovery.recovery(flat, flat, lesion, ring & False) is None


@pytest.mark.parametrize(
    ("diameter", "name"), [(9.9, "<10 mm"), (10.0, "10-18 mm"), (18.0, "18-25 mm"), (25.0, ">=25 mm"), (80, ">=25 mm")]
)
def test_lower_bound_belongs_to_the_class(diameter, name):
    assert recovery.size_class(diameter) == name


def test_quartiles_by_size_leave_missing_values_out():
    groups = recovery.by_size([0.1, 0.2, 0.3, None, 0.9], [12.0, 12.0, 12.0, 12.0, 30.0])
    assert groups["10-18 mm"] == recovery.Quartiles(pytest.approx(0.2), pytest.approx(0.15), pytest.approx(0.25), 3)
    assert groups[">=25 mm"].n == 1
    assert groups["<10 mm"] is None


def test_inserted_lesion_is_measured_over_a_noisy_background():
    lesion, _ = _lesion()
    background = np.random.default_rng(0).normal(1, 0.5, lesion.shape)
    assert recovery.inserted_recovery(background + 2.4 * lesion, background, 3.0 * lesion, lesion) == pytest.approx(0.8)
    assert recovery.inserted_recovery(background, background, 0.0 * lesion, lesion) is None
