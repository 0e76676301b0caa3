import pytest

from nmsynth.training.convergence import converged
from nmsynth.training.curve_log import CurveLog


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
    assert converged(curve(scores))[0] is expected


def test_too_few_or_broken_validations_are_no_convergence():
    assert converged(curve([1, 1])) == (False, "2 validations are too few to judge; 6 are needed")
    assert converged(curve([1, 1, 1, 1, 1, float("nan")])) == (False, "a validation score is not finite")
    assert "improved by 50.0 %" in converged(curve([4, 2, 1, 1, 0.5, 1]))[1]


def test_log_goes_on_where_the_checkpoint_was(tmp_path):
    path = tmp_path / "log.csv"
    log = CurveLog(path, start=0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": step / 3})
    with path.open("a") as stream:
        stream.write("4,0.3")  # cut short by a kill
    log = CurveLog(path, start=2)
    log.write({"step": 3, "loss": 0.5})
    assert path.read_text().splitlines() == ["step,loss", "1,0.333333333", "2,0.666666667", "3,0.5"]
    CurveLog(path, start=0)
    assert not path.exists()
