import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.lesion_insertion import insert_lesions, sphere_fraction

SPACING = (4.0, 3.0, 3.0)


def test_sphere_has_its_volume():
    sphere = sphere_fraction((20, 24, 24), (10, 12, 12), 30.0, SPACING)
    assert sphere.sum() * 36.0 == pytest.approx(np.pi / 6 * 30.0**3, rel=0.01)


def test_inserted_lesions_have_their_contrast_and_change_nothing_else():
    image = np.full((40, 60, 60), 2.0, dtype=np.float32)
    body = np.ones(image.shape, dtype=bool)
    out, labels, lesions = insert_lesions(
        image, SPACING, body, diameters_mm=(20.0, 12.0), contrasts=(4.0, 3.0), resolution_fwhm_mm=0.0,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    assert len(lesions) == 2
    for lesion in lesions:
        assert out[lesion.centre] / 2.0 == pytest.approx(lesion.contrast, rel=1e-3)
        assert lesion.background == pytest.approx(2.0, rel=1e-4)
    assert out[labels == 0].mean() == pytest.approx(2.0, rel=0.05)


def test_no_room_is_said():
    image = np.ones((10, 12, 12), dtype=np.float32)
    with pytest.raises(InputError, match="room was found for 0 of 1"):
        insert_lesions(
            image, SPACING, image > 2, diameters_mm=(20.0,), contrasts=(4.0,), resolution_fwhm_mm=0.0,
            rng=np.random.default_rng(1),
        )  # fmt: skip
