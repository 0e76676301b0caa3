"""Curves of a study with the tiny model of the tests of inference."""

from types import SimpleNamespace

import numpy as np

from nmsynth.workflows.curves import significance_settings, study_curves
from tests.evaluation.scenes import masks, scan, truth, volume


class HeadsOfKnownEvidence:
    """Model whose contrast head is the input and whose mean head is flat; evidence 2 everywhere."""

    def __init__(self):
        self.card = SimpleNamespace(significance={"low": 0.0, "standard": 2.0, "high": 9.0})

    def predict(self, array, _spacing_mm, *, heads):
        assert heads
        flat = np.full_like(array, array.mean())
        return {"mean": flat, "contrast": array, "evidence": np.full_like(array, 2.0)}

    def threshold(self, level):
        return self.card.significance[level]


def test_significances_follow_from_one_run_of_the_network():
    found = dict(significance_settings(HeadsOfKnownEvidence(), volume(truth())))
    assert list(found) == ["low", "standard", "high"]
    expected = truth().mean() + 0.5 * (truth() - truth().mean())
    np.testing.assert_allclose(found["standard"].array, expected, rtol=1e-4, atol=1e-5)


def test_model_gaussian_and_others_are_on_the_curves():
    curves = study_curves(
        volume(scan()),
        volume(truth()),
        masks=masks(),
        main="synthetic",
        model=HeadsOfKnownEvidence(),
        others={"full counts": volume(scan(0.1))},
    )
    assert list(curves.points) == ["synthetic", "Gaussian of the source", "full counts"]
    low, _, high = (point.recovery for point in curves.points["synthetic"])
    assert low > high
    assert len(curves.points["full counts"]) == 1


def test_no_lesion_gives_no_curves():
    empty = {"liver": masks()["liver"], "lesions": np.zeros_like(masks()["lesions"])}
    assert study_curves(volume(scan()), volume(truth()), masks=empty, main="synthetic") is None
