"""How a training is judged: autoencoders by what they give back, images by their own level, subjects evenly."""

from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import NumericalError
from nmsynth.models.latent_diffusion import LatentDiffusion
from nmsynth.models.method import Method, MethodSetting
from nmsynth.training.validation import rebuild_case, score_method, spread_over_subjects
from tests.training.methods import tiny_case, tiny_plan


class Fixed(Method):
    """Gives its source times a number."""

    def __init__(self, factor):
        super().__init__(MethodSetting())
        self.factor = factor

    def forward(self, source, condition, noise=None):
        del condition, noise
        return self.factor * source[:, :1]


@pytest.mark.parametrize("dimensions", ["3d", "2.5d"])
def test_an_autoencoder_is_judged_by_the_target_that_it_gives_back(dimensions):
    context, n_dims = (1, 3) if dimensions == "3d" else (3, 2)
    patch = (8, 8, 8) if n_dims == 3 else (1, 8, 8)
    plan = tiny_plan(dimensions=dimensions, context=context, patch=patch)
    setting = MethodSetting(
        spatial_dims=n_dims, n_sources=context, channels=(4, 4), patch=patch[-n_dims:], context=context
    )
    method = LatentDiffusion(setting, residual_scale=1.0)
    case = tiny_case(3)
    image, target = rebuild_case(method, plan, case, 0)
    assert np.array_equal(target, 2.0 * case.target)
    score = score_method(method, plan, [case], stage="autoencoder")
    body = np.asarray(case.weight) >= 1
    assert score.error == pytest.approx(float(np.abs(image - target)[body].mean()))

    def given_back(source, target):
        return target

    method.reconstruct = given_back
    assert score_method(method, plan, [case], stage="autoencoder").error == pytest.approx(0.0, abs=1e-6)
    assert score_method(method, plan, [case], stage="diffusion").error > 0.1


def test_images_are_judged_by_their_own_level():
    plan = tiny_plan(schedule={"validation_cases": 2})
    dim, bright = tiny_case(1), replace(tiny_case(1), subject="other")
    scores = {}
    for scale in (1.0, 100.0):
        bright.record["target_normalisation"] = {"kind": "level", "offset": 0.0, "scale": scale}
        dim.record["target_normalisation"] = {"kind": "level", "offset": 0.0, "scale": 1.0}
        scores[scale] = score_method(Fixed(0.5), plan, [dim, bright]).score
    assert scores[100.0] == pytest.approx(scores[1.0])


def test_a_score_that_is_no_number_ends_the_training():
    case = tiny_case(1)
    case.target[3, 6, 6] = np.nan
    with pytest.raises(NumericalError, match="Errors on validation images must be finite"):
        score_method(Fixed(1.0), tiny_plan(), [case])


def test_cases_are_taken_from_as_many_subjects_as_there_are():
    cases = [replace(tiny_case(k), subject=f"s{k // 3}") for k in range(9)]
    assert [case.subject for case in spread_over_subjects(cases, 3)] == ["s0", "s1", "s2"]
    assert [case.subject for case in spread_over_subjects(cases, 2)] == ["s0", "s2"]
    assert len(spread_over_subjects(cases, 5)) == 5
    assert len(spread_over_subjects(cases, 20)) == 9
