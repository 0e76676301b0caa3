"""Numbers of a proof become those of a card, beside the best baseline; those of other weights are refused."""

import json

import pytest
from benchmarks.card_metrics import metrics_of_file

from nmsynth.models.card import Metric, _metric_row


def _interval(value):
    return {"value": value, "lower": value - 0.1, "upper": value + 0.1}


PROOF = {
    "model": {"name": "m", "sha256": "abc"},
    "numbers": {"NRMSE": {"wanted": "lower", "unit": "1"}, "recovery": {"wanted": "one", "unit": "1"}},
    "levels": [
        {
            "test": "another camera",
            "level": "1/8",
            "n_subjects": 20,
            "baselines": ["source", "best Gaussian of the source"],
            "arms": {
                "prediction": {"NRMSE": _interval(0.2), "recovery": _interval(0.8)},
                "source": {"NRMSE": _interval(0.6), "recovery": _interval(0.95)},
                "best Gaussian of the source": {"NRMSE": _interval(0.3), "recovery": _interval(1.3)},
            },
        }
    ],
    "verdicts": [
        {"test": "another camera", "level": "1/8", "number": "NRMSE", "verdict": "better than all"},
        {"test": "another camera", "level": "1/8", "number": "recovery", "verdict": "worse than one"},
    ],
}


def test_a_number_stands_beside_the_best_baseline(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(PROOF))
    error, recovery = metrics_of_file(path, "abc")
    assert error.condition == "simulated, another camera, 1/8, n = 20"
    assert (error.value, error.low, error.high) == pytest.approx((0.2, 0.1, 0.3))
    assert (error.baseline, error.baseline_name, error.verdict) == (0.3, "best Gaussian of the source", "better")
    assert (recovery.baseline, recovery.baseline_name, recovery.verdict) == (0.95, "source", "worse")
    assert "0.95 (source) | worse |" in _metric_row(recovery)


def test_numbers_of_other_weights_are_refused(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(PROOF))
    with pytest.raises(SystemExit, match="other weights than those of the package"):
        metrics_of_file(path, "abd")


def test_older_cards_name_the_best_gaussian():
    row = _metric_row(Metric(name="NRMSE", value=0.1, baseline=0.2))
    assert row == "| NRMSE [1] |  | 0.1 |  | 0.2 (best Gaussian) |  |"
