"""Numbers of a proof become those of a card, beside the best baseline; those of other weights are refused."""

import json

import pytest
from benchmarks.card_metrics import findings_of_file, write_metrics

from nmsynth.models.card import Metric, _metric_row
from nmsynth.models.method_package import save_method_package
from nmsynth.models.package import read_card
from nmsynth.workflows.task_proof import ABLATION
from tests.models.method_packages import make_method_card, silenced, tiny_method


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
    error, recovery, spots = findings_of_file(path, "abc").metrics
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
        findings_of_file(path, "abd")


def test_older_cards_name_the_best_gaussian():
    row = _metric_row(Metric(name="NRMSE", value=0.1, baseline=0.2))
    assert row == "| NRMSE [1] |  | 0.1 |  | 0.2 (best Gaussian) |  |  |  |"


def with_ablation():
    """The proof, with the network without the idea, and its recovery judged at equal noise."""
    proof = json.loads(json.dumps(PROOF))
    level = proof["levels"][0]
    level["arms"][ABLATION] = {"NRMSE": _interval(0.25)}
    level["model_less_arm"][ABLATION] = {"NRMSE": _interval(-0.05)}
    level["arms"]["Gaussian of the source at equal noise"] = {"recovery": _interval(0.4)}
    level["model_less_arm"]["Gaussian of the source at equal noise"] = {"recovery": _interval(-0.4)}
    level["baselines_at_equal_noise"] = {"recovery": ["Gaussian of the source at equal noise"]}
    proof["verdicts"][0][ABLATION] = "worse than one"
    proof["verdicts"][1]["verdict"] = "better than all"
    proof["judgement"] = {"beats_baselines": False, "sentence": "Does not beat its baselines: NRMSE."}
    return proof


def test_the_network_without_the_idea_and_equal_noise_reach_the_card(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(with_ablation()))
    error, recovery, _ = findings_of_file(path, "abc").metrics
    assert (error.ablation, error.ablation_verdict) == (0.25, "worse")
    assert _metric_row(error).endswith("| better | 0.25 | worse |")
    assert (recovery.baseline, recovery.baseline_name) == (0.4, "Gaussian of the source at equal noise")
    assert (recovery.ablation, recovery.verdict) == (None, "better")
    assert recovery.condition.endswith("at equal noise")


@pytest.mark.parametrize("concept", [False, True])
def test_a_card_says_first_whether_its_baselines_are_beaten(tmp_path, concept):
    summary = "Proof of concept on simulated correlation: it was set. Takes an image." if concept else "Takes an image."
    card = make_method_card(summary=summary)
    save_method_package(tmp_path / "tiny-method", method=silenced(tiny_method(card)), card=card)
    known = with_ablation()
    known["model"]["sha256"] = read_card(tmp_path / "tiny-method").sha256
    (tmp_path / "proof.json").write_text(json.dumps(known))
    for _ in range(2):  # a second time nothing is said twice
        write_metrics(tmp_path / "tiny-method", [tmp_path / "proof.json"])
    page = (tmp_path / "tiny-method" / "card.md").read_text(encoding="utf-8")
    said = "Does not beat its baselines: NRMSE. Takes an image."
    first = "Proof of concept on simulated correlation: it was set. " if concept else ""
    assert page.splitlines()[2] == first + said
    assert page.count("Does not beat") == 1
    assert "| 0.25 | worse |" in page
    assert read_card(tmp_path / "tiny-method").verdict == "Does not beat its baselines: NRMSE."
