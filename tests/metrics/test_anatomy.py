import numpy as np
import pytest

from nmsynth.metrics.anatomy import TISSUES, bone_dice, overlap, tissue_errors, tissue_mask

TRUE = np.array([-900.0, -100.0, 40.0, 200.0, 800.0, 800.0])
BODY = np.array([True, True, True, True, True, False])


def test_every_voxel_of_the_body_is_one_tissue_and_dense_bone_is_bone():
    masks = {name: tissue_mask(TRUE, BODY, name) for name in TISSUES}
    whole = sum(masks[name].astype(int) for name in TISSUES if name != "dense bone")
    assert whole.tolist() == BODY.astype(int).tolist()
    assert (masks["dense bone"] <= masks["bone"]).all()
    assert masks["dense bone"].tolist() == [False, False, False, False, True, False]


def test_errors_are_those_of_the_tissue_of_the_true_image():
    found = tissue_errors(TRUE + np.array([100, 0, -20, 10, -200, 999]), TRUE, BODY)
    assert found["air and lung"] == (100.0, 100.0, 1)
    assert found["soft tissue"] == (20.0, -20.0, 1)
    assert found["bone"] == (105.0, -95.0, 2)
    assert found["dense bone"] == (200.0, -200.0, 1)
    assert tissue_errors(TRUE, TRUE, np.zeros(6))["fat"] == (None, None, 0)


def test_bone_that_lies_elsewhere_does_not_overlap():
    shown = np.array([-900.0, -100.0, 300.0, 400.0, 0.0, 0.0])
    assert bone_dice(shown, TRUE, BODY, 300.0) == 0.0
    assert bone_dice(shown, TRUE, BODY, 150.0) == pytest.approx(2 * 1 / (2 + 2))
    assert bone_dice(shown, np.zeros(6), BODY, 150.0) is None
    assert overlap(BODY, BODY) == 1.0
