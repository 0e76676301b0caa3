"""Another place and another breath of an image are where they are said to be."""

import numpy as np
import pytest
from benchmarks.registration_error import breathed, moved, summary

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.physics.phantom.organs import Organ
from tests.helpers import make_volume


def trunk():
    """Lung above liver, about the axis of the patient, and the organs."""
    organs = np.full((40, 20, 20), Organ.LUNG)
    organs[:20] = Organ.LIVER
    affine = affine_from_axes(spacing_mm=(4.0, 8.0, 8.0), origin_mm=(-76.0, -76.0, 0.0))
    shared = {"affine": affine, "unit": Unit.HOUNSFIELD, "modality": "CT"}
    image = np.where(organs == Organ.LIVER, 60.0, -800.0)
    return make_volume(array=image, **shared), make_volume(array=organs, **shared)


def test_a_breath_moves_the_dome_and_leaves_the_spine():
    image, organs = trunk()
    found = breathed(image, organs, 12.0).array
    ahead, back = 6, 19  # rows before the spine and at the back
    assert (found[:, ahead, 10] > -300).sum() == 20 + 3  # planes of 4 mm
    assert (found[:, back, 10] > -300).sum() == 20
    assert breathed(image, organs, 0.0) is image
    with pytest.raises(SystemExit, match="A breath needs a liver"):
        breathed(image, organs.with_array(np.zeros((40, 20, 20))), 12.0)


def test_an_image_that_was_moved_shows_its_points_where_the_matrix_says():
    image, _ = trunk()
    away, matrix = moved(image, np.random.default_rng(0))
    point = np.array([3.0, 4.0, 5.0, 1.0])
    assert away.affine @ point == pytest.approx(matrix @ image.affine @ point)
    assert np.array_equal(away.array, image.array)


def test_errors_of_arms_are_paired():
    subjects = [{"PET": (4.0 + k, 9.0), "synthetic": (3.0 + k, 8.0), "true image": (1.0, 2.0)} for k in range(12)]
    found = summary(subjects)
    assert found["synthetic less PET"] == pytest.approx([-1.0, -1.0, -1.0])
    assert found["true image"][0] == 1.0
