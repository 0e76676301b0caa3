"""Windows of a method cover an image of any size."""

import numpy as np
import pytest
import torch

from nmsynth.core.plan import CoarsePlan
from nmsynth.inference.method_predictor import PredictionSettings, coarse_difference, plan_windows, predict_method
from nmsynth.models.method import Method
from nmsynth.models.methods import setting_of
from tests.models.method_packages import make_plan


@pytest.mark.parametrize(("width", "stride"), [(8, 4), (8, 8), (16, 8), (24, 8), (32, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_leave_no_voxel_out(width, stride, overlap):
    plan = make_plan(patch=(width, 8, 8))
    for n in range(1, 200):
        seen = np.zeros(n, dtype=bool)
        for window, _, _ in plan_windows((n, 8, 8), plan, overlap, aligned=(stride, 1, 1)):
            assert window.start % stride == 0 or window.stop == n
            seen[window] = True
        assert seen.all()


@pytest.mark.parametrize(("windows", "sizes"), [("patch", {(8, 16, 16)}), ("slice", {(8, 40, 21)})])
def test_slices_are_answered_in_windows_as_the_plan_says(windows, sizes):
    plan = make_plan(patch=(1, 16, 16), dimensions="2.5d", context=3, windows=windows)
    found = list(plan_windows((20, 40, 21), plan, 0.5))
    assert {tuple(axis.stop - axis.start for axis in window) for window in found} == sizes
    seen = np.zeros((20, 40, 21), dtype=bool)
    for window in found:
        seen[window] = True
    assert seen.all()


class Normalising(Method):
    """Gives its source over the mean of the window that it sees, as layers that normalise do."""

    def forward(self, source, condition, noise=None):
        del condition, noise
        middle = self.first_source(source)
        return middle / middle.mean(dim=(-2, -1), keepdim=True)


def test_a_network_sees_no_more_air_than_what_it_learned_from():
    plan = make_plan(patch=(1, 16, 16), dimensions="2.5d", context=3, windows="patch")
    image = np.zeros((1, 9, 16, 48), dtype=np.float32)
    image[..., 16:32] = 2.0  # one window of three is full
    answers = {}
    for name in ("patch", "slice"):
        asked = plan.model_copy(update={"windows": name})
        answers[name], _ = predict_method(
            Normalising(setting_of(asked)), asked, image + np.float32(1e-3), (), PredictionSettings(overlap=0.0)
        )
    assert answers["slice"][4, 8, 24] == pytest.approx(3, rel=0.01)
    assert answers["patch"][4, 8, 24] == pytest.approx(1, rel=0.01)


class Seeing(Method):
    """Gives its source, and notes the sizes of what it was shown."""

    def __init__(self, setting):
        super().__init__(setting)
        self.sizes = set()

    def forward(self, source, condition, noise=None):
        del condition, noise
        self.sizes.add(tuple(source.shape[2:]))
        return self.first_source(source)


@pytest.mark.parametrize(("windows", "size"), [("patch", (8, 16, 16)), ("slice", (5, 16, 11))])
def test_an_image_smaller_than_a_patch_is_shown_as_in_training(windows, size):
    plan = make_plan(patch=(8, 16, 16), windows=windows)
    method = Seeing(setting_of(plan))
    image = np.random.default_rng(1).random((1, 5, 20, 11), dtype=np.float32)
    answer, _ = predict_method(method, plan, image, ())
    np.testing.assert_allclose(answer, image[0], rtol=1e-6)
    assert method.sizes == {size}


class OneCode(Method):
    """Gives the mean of the patch in which its code is found."""

    whole_image = True

    def code(self, source, condition, noise=None):
        del condition, noise
        assert tuple(source.shape[2:]) == self.setting.patch
        return source.mean(dim=(1, 2, 3, 4))[:, None]

    def decode(self, source, condition, code):
        del condition
        return torch.ones_like(source[:, :1]) * code[:, :, None, None, None]


@pytest.mark.parametrize("shape", [(6, 40, 30), (20, 70, 30)])
def test_windows_of_one_image_share_the_code_of_its_middle(shape):
    plan = make_plan(patch=(8, 16, 16), windows="patch")
    image = np.zeros((1, *shape), dtype=np.float32)
    image[:, :, 16:32, 10:26] = 2.0
    answer, _ = predict_method(OneCode(setting_of(plan)), plan, image, ())
    np.testing.assert_allclose(answer, 2.0)


class Nothing(Method):
    """Gives zero everywhere."""

    def forward(self, source, condition, noise=None):
        del condition, noise
        return torch.zeros_like(self.first_source(source))


@pytest.mark.parametrize(("dimensions", "patch", "n_z"), [("3d", (8, 16, 16), 12), ("2d", (1, 16, 16), 1)])
def test_what_is_coarse_is_kept_of_the_source(dimensions, patch, n_z):
    plan = make_plan(patch=patch, dimensions=dimensions, residual=True, windows="patch", coarse={"share": 0.5})
    image = np.zeros((1, n_z, 40, 40), dtype=np.float32)
    image[0, n_z // 2, 20, 20] = 1.0
    answer, _ = predict_method(Nothing(setting_of(plan)), plan, image, ())
    assert answer.sum() == pytest.approx(0.5, rel=1e-3)
    profile = answer[n_z // 2, 20]
    assert profile[20] / 2 == pytest.approx(np.interp(15.0 / 4 / 2, np.arange(20), profile[20:]), rel=0.1)


def a_lesion_in_noise(level, noise):
    """An answer that lost a lesion, and its source: noise in proportion to a level, and the lesion."""
    answer = np.full((24, 40, 40), level, dtype=np.float32)
    away = sum((i - at) ** 2 for i, at in zip(np.indices(answer.shape), (12, 20, 20), strict=True))
    source = answer * (1 + noise * np.random.default_rng(0).standard_normal(answer.shape) + 1.5 * np.exp(-away / 8))
    return answer, source.astype(np.float32)


def test_a_lesion_is_taken_back_and_noise_is_not():
    spacing_mm = (4.8, 4.8, 4.8)
    all_of_it, alone = (CoarsePlan(share=1.0, fwhm_mm=13.0, standing_out=k) for k in (0.0, 1.5))
    answer, source = a_lesion_in_noise(2.0, 0.15)
    both, found = (coarse_difference(answer, source, plan, spacing_mm) for plan in (all_of_it, alone))
    assert found[12, 20, 20] > 0.9 * both[12, 20, 20] > 1.5
    assert np.square(found[:6]).mean() < 0.15 * np.square(both[:6]).mean()
    # twice the scale is twice the answer; nothing in, nothing out
    twice = coarse_difference(2 * answer, 2 * source, alone, spacing_mm)
    np.testing.assert_allclose(twice, 2 * found, atol=1e-5)
    assert not coarse_difference(0 * answer, 0 * source, alone, spacing_mm).any()


def test_noise_is_expected_where_activity_is():
    alone = CoarsePlan(share=1.0, fwhm_mm=13.0, standing_out=1.5)
    answer, source = a_lesion_in_noise(1.0, 0.15)
    organ = np.ones_like(answer)
    organ[:, :, 28:] = 8.0  # eight times the activity beside the lesion, with eight times its noise
    found = coarse_difference(organ * answer, organ * source, alone, (4.8, 4.8, 4.8))
    assert found[12, 20, 20] > 0.8 * coarse_difference(answer, source, alone, (4.8, 4.8, 4.8))[12, 20, 20]


def test_what_is_coarse_is_kept_of_what_is_on_one_scale_alone():
    with pytest.raises(ValueError, match="the plan is no residual"):
        make_plan(coarse={"share": 0.5})
