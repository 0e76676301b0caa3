"""Numbers of early windows, on errors that are known."""

import pytest
from benchmarks.early_windows import MODEL, summary


def subject(grey, white, change):
    """Test and retest of one subject, model and direct."""

    def pair(first):
        return [first, {name: error + change for name, error in first.items()}]

    arms = {MODEL: pair({"cortex": grey, "white matter": white}), "Patlak": pair({"cortex": 0.2, "white matter": 0.3})}
    return {"1": {"10 min": arms}}


def test_errors_of_grey_and_white_matter_do_not_cancel():
    found = summary([subject(-0.1, 0.1, 0.02), subject(-0.12, 0.12, 0.02), subject(-0.08, 0.08, 0.02)])
    model = found["1 of the counts"]["10 min"][MODEL]
    assert model["bias"]["cortex"][0] == pytest.approx(-0.1)
    assert model["bias"]["white matter"][0] == pytest.approx(0.1)
    assert model["error, mean"][0] == model["error, largest"][0] == pytest.approx(0.1)
    # two scans differ by 0.02, each by a standard deviation of 0.02 / sqrt(2) from their mean
    assert model["counting repeatability"][0] == pytest.approx(0.02 / 2**0.5, abs=1e-3)
    less = found["1 of the counts"]["10 min"]["Patlak"]["model less direct"]
    assert less[0] == pytest.approx(-0.15)
    assert "model less direct" not in model
