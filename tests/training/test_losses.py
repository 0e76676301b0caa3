import pytest
import torch

from nmsynth.training.losses import (
    LossWeights,
    activity_error,
    error_scale,
    lesion_mean_error,
    low_count_loss,
    regional_error,
    relative_squared_error,
)

SHAPE = (2, 1, 8, 16, 16)


def terms(outputs, target, source, labels, focal):
    return low_count_loss(outputs, target, source, labels, focal, LossWeights())


def scene():
    generator = torch.Generator().manual_seed(0)
    target = 1.0 + torch.rand(SHAPE, generator=generator)
    labels = torch.zeros(SHAPE, dtype=torch.int64)
    labels[0, 0, 1:3, 2:5, 2:5] = 1
    return target, target + 0.3 * torch.randn(SHAPE, generator=generator), labels, (labels > 0).float()


def test_perfect_outputs_cost_only_the_evidence():
    target, source, labels, focal = scene()
    evidence = torch.where(focal > 0, 30.0, -30.0)
    found = terms(torch.cat((target, target, evidence), 1), target, source, labels, focal)
    assert float(found["total"]) == pytest.approx(0.0, abs=1e-6)


def test_loss_does_not_depend_on_the_unit():
    target, source, labels, focal = scene()
    outputs = torch.cat((source, source, torch.zeros(SHAPE)), 1)
    small = terms(outputs, target, source, labels, focal)
    outputs = torch.cat((100 * source, 100 * source, torch.zeros(SHAPE)), 1)
    large = terms(outputs, 100 * target, 100 * source, labels, focal)
    assert float(small["mean"]) == pytest.approx(float(large["mean"]), rel=0.05)
    assert float(small["lesion_mean"]) == pytest.approx(float(large["lesion_mean"]), rel=1e-4)


def test_lesion_mean_error_is_that_of_each_lesion():
    target, _, labels, _ = scene()
    halved = torch.where(labels > 0, 0.5 * target, target)
    assert float(lesion_mean_error(halved, target, labels, target)) == pytest.approx(0.25, rel=1e-5)


def test_no_lesion_costs_nothing():
    target, source, labels, _ = scene()
    assert float(lesion_mean_error(source, target, torch.zeros_like(labels), target)) == 0.0


def test_error_counts_less_where_activity_is_high():
    level = torch.ones(1, 1, 1, 1, 1)
    low, high = (torch.full((1, 1, 8, 8, 8), value) for value in (1.0, 10.0))
    costs = [relative_squared_error(t + 0.5, t, level, error_scale(t, t, level)).mean() for t in (low, high)]
    assert float(costs[1]) == pytest.approx(1.5 / 10.5 * float(costs[0]), rel=1e-4)


@pytest.mark.parametrize(("of", "least"), [("source", 2.5), ("target", (1 / 1.5 + 4 / 4.5) / (1 / 1.5 + 1 / 4.5))])
def test_least_error_of_a_doubtful_answer(of, least):
    """The same source may come from 1 or 4: relative to the source the best answer is their mean, 2.5."""
    level = torch.ones(1, 1, 1, 1, 1)
    source = torch.full((1, 1, 6, 6, 6), 2.0)
    answers = torch.linspace(0.5, 4.5, 4001)
    cost = torch.zeros_like(answers)
    for activity in (1.0, 4.0):
        target = torch.full_like(source, activity)
        scale = error_scale(source, target, level, of)[0, 0, 3, 3, 3]
        cost += relative_squared_error(answers, target[0, 0, 3, 3, 3], level.reshape(()), scale)
    assert float(answers[cost.argmin()]) == pytest.approx(least, abs=2e-3)


def test_regional_error_sees_a_small_bias():
    target = 1.0 + torch.rand(1, 1, 8, 16, 16)
    level = torch.ones(1, 1, 1, 1, 1)
    assert float(regional_error(1.01 * target, target, level)) == pytest.approx(0.01 / (1 + 0.2 / 1.5), rel=0.05)
    noise = 0.3 * torch.randn(target.shape)
    assert float(regional_error(target + noise, target, level)) < 0.05


def test_activity_error_is_the_square_of_a_blocks_bias():
    level = torch.ones(1, 1, 1, 1, 1)
    target = torch.full((1, 1, 16, 32, 32), 0.9)
    noise = 0.3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    biased = activity_error(1.02 * target, target, level)
    assert biased.shape == (1, 1, 1, 1, 1)
    assert float(biased) == pytest.approx(0.018**2, rel=1e-3)
    assert float(activity_error(1.01 * target, target, level)) == pytest.approx(0.009**2, rel=1e-3)
    assert float(activity_error(target + noise - noise.mean(), target, level)) < 1e-10


def test_evidence_far_from_anything_costs_nothing():
    target = torch.zeros(1, 1, 16, 32, 32)
    target[..., 4:12, 4:12, 4:12] = 2.0
    labels, focal = torch.zeros_like(target, dtype=torch.int64), torch.zeros_like(target)
    outputs = torch.cat((target, target, torch.full_like(target, -3.0)), dim=1)
    empty = outputs.clone()
    empty[:, 2, :, 24:, 24:] = 50.0
    costs = [
        float(low_count_loss(o, target, target, labels, focal, LossWeights())["evidence"]) for o in (outputs, empty)
    ]
    assert costs[0] == costs[1]


def test_noise_power_moves_weight_to_patches_of_high_counts():
    target, source, labels, focal = scene()
    source = target + torch.tensor([0.1, 3.0]).reshape(2, 1, 1, 1, 1) * (source - target)
    wrong_quiet, wrong_noisy = target.clone(), target.clone()
    wrong_quiet[0] *= 1.2
    wrong_noisy[1] *= 1.2

    def ratio(power):
        costs = [
            float(
                low_count_loss(
                    torch.cat((image, image, torch.zeros(SHAPE)), 1), target, source, labels, focal,
                    LossWeights(noise_power=power),
                )["mean"]
            )
            for image in (wrong_quiet, wrong_noisy)
        ]  # fmt: skip
        return costs[0] / costs[1]

    assert ratio(0.9) > ratio(0.5) > ratio(0.0)


def test_lesions_of_a_heavier_patch_count_more():
    target, _, labels, _ = scene()
    labels[1] = labels[0]
    wrong = target.clone()
    wrong[0] *= 2.0
    light, heavy = (
        float(lesion_mean_error(wrong, target, labels, target, torch.tensor([w, 1.0]).reshape(2, 1, 1, 1, 1)))
        for w in (0.1, 9.0)
    )
    assert light < float(lesion_mean_error(wrong, target, labels, target)) < heavy
