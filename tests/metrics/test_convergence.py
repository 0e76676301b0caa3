import pytest

from nmsynth.metrics.convergence import converged, late_improvement


def curve(scores):
    return [{"step": 10 * (k + 1), "score": s} for k, s in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([4, 2, 1, 1, 1, 1], True),
        ([4, 2, 1, 1, 0.99, 1], True),
        ([4, 2, 1, 1, 0.97, 1], False),
        ([6, 5, 4, 3, 2, 1], False),
        ([1, 2, 2, 2, 2, 2], True),
    ],
)
def test_training_converged_where_its_last_third_brings_little(scores, expected):
    assert converged(curve(scores)) is expected


def test_too_few_or_broken_validations_say_nothing():
    assert converged(curve([1, 1])) is None
    assert converged(curve([1, 1, 1, 1, 1, float("nan")])) is None
    assert late_improvement(curve([4, 2, 1, 1, 0.5, 1])) == pytest.approx(0.5)
