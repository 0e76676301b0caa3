"""Numbers of a proof become those of a card, beside the best baseline; those of other weights are refused."""

import json

import pytest
from benchmarks.card_metrics import metrics_of_file

from nmsynth.models.card import Metric, _metric_row


def _interval(value, n=20):
    return {"value": value, "lower": value - 0.1, "upper": value + 0.1, "n": n}


PROOF = {
    "model": {"name": "m", "sha256": "abc"},
    "numbers": {
        "NRMSE": {"wanted": "lower", "unit": "1"},
        "recovery": {"wanted": "one", "unit": "1"},
        "spots": {"wanted": "lower", "unit": "1", "summary": "mean"},
    },
    "levels": [
        {
            "test": "another camera",
            "level": "1/8",
            "n_subjects": 20,
            "baselines": ["source", "best Gaussian of the source"],
            "arms": {
                "prediction": {"NRMSE": _interval(0.2), "recovery": _interval(0.8, n=13), "spots": _interval(0.4)},
                "source": {"NRMSE": _interval(0.6), "recovery": _interval(0.95), "spots": _interval(1.4)},
                "best Gaussian of the source": {"NRMSE": _interval(0.3), "recovery": _interval(1.0)},
            },
            # the Gaussian's recoveries lie far below one and far above it, as much as not
            "model_less_arm": {
                "source": {"NRMSE": _interval(-0.4), "recovery": _interval(0.15), "spots": _interval(-1.0)},
                "best Gaussian of the source": {"NRMSE": _interval(-0.1), "recovery": _interval(-0.2)},
            },
        }
    ],
    "verdicts": [
        {"test": "another camera", "level": "1/8", "number": "NRMSE", "verdict": "better than all"},
        {"test": "another camera", "level": "1/8", "number": "recovery", "verdict": "worse than one"},
        {"test": "another camera", "level": "1/8", "number": "spots", "verdict": "not told apart: too few"},
    ],
}


def test_a_number_stands_beside_the_best_baseline(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(PROOF))
    error, recovery, spots = metrics_of_file(path, "abc")
    assert error.condition == "simulated, another camera, 1/8, n = 20"
    assert (error.value, error.low, error.high) == pytest.approx((0.2, 0.1, 0.3))
    assert (error.baseline, error.baseline_name, error.verdict) == (0.3, "best Gaussian of the source", "better")
    assert (recovery.baseline, recovery.baseline_name, recovery.verdict) == (0.95, "source", "worse")
    assert recovery.condition == "simulated, another camera, 1/8, n = 13"  # of those who have lesions
    assert "0.95 (source) | worse |" in _metric_row(recovery)
    assert spots.condition == "simulated, another camera, 1/8, n = 20, mean over patients"
    assert spots.verdict == "not told apart"


def test_numbers_of_other_weights_are_refused(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(PROOF))
    with pytest.raises(SystemExit, match="other weights than those of the package"):
        metrics_of_file(path, "abd")


def test_older_cards_name_the_best_gaussian():
    row = _metric_row(Metric(name="NRMSE", value=0.1, baseline=0.2))
    assert row == "| NRMSE [1] |  | 0.1 |  | 0.2 (best Gaussian) |  |"
