import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.metrics.binding_ratio import asymmetry_percent, binding_ratios

NAMES = {1: "left putamen", 2: "right putamen", 3: "left caudate"}


def brain():
    """Striatum of 5 and 3 in a background of 1, 0.1 mL a voxel."""
    image = np.ones((4, 10, 10))
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[1, 2:4, 2:4], labels[1, 2:4, 6:8] = 1, 2
    image[labels == 1], image[labels == 2] = 5.0, 3.0
    reference = np.zeros(image.shape, dtype=bool)
    reference[2:, 7:] = True
    return image, labels, reference


@pytest.mark.parametrize("factor", [1.0, 1234.5])
def test_ratio_is_binding_over_background_whatever_the_unit(factor):
    image, labels, reference = brain()
    found = binding_ratios(factor * image, labels, NAMES, reference, voxel_volume_ml=0.1)
    assert found == pytest.approx({"left putamen": 4.0, "right putamen": 2.0})


def test_a_region_without_binding_has_none():
    image, labels, reference = brain()
    labels[3, 0, :5] = 3
    assert binding_ratios(image, labels, NAMES, reference, voxel_volume_ml=0.1)["left caudate"] == pytest.approx(0.0)


def test_small_or_empty_references_are_refused():
    image, labels, reference = brain()
    with pytest.raises(InputError, match="at least 1 mL"):
        binding_ratios(image, labels, NAMES, reference, voxel_volume_ml=0.001)
    with pytest.raises(InputError, match="mean above 0"):
        binding_ratios(0 * image, labels, NAMES, reference, voxel_volume_ml=0.1)


def test_asymmetry_has_a_sign_and_needs_binding():
    assert asymmetry_percent(2.0, 2.0) == 0.0
    assert asymmetry_percent(1.0, 3.0) == -100.0
    with pytest.raises(InputError, match="above 0"):
        asymmetry_percent(0.0, 0.0)
