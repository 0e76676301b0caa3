"""What a model knows where the source leaves the target open: known answers for one that knows all, and one nothing."""

from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.evaluation.ambiguity import DEFINITIONS, RegionAnswers, summarise_ambiguity, to_json

N, R = 80, 6


def subjects():
    """Ratios of regions that rise with a disease that half have."""
    rng = np.random.default_rng(0)
    severity = np.maximum(rng.uniform(-1, 1, N), 0.0)
    truth = 1.0 + 0.1 * rng.standard_normal((N, R)) + severity[:, None]
    return severity, truth


def answers(mean, half_width, biomarker=None):
    severity, truth = subjects()
    usual = np.broadcast_to(truth.mean(axis=0), (N, R))
    return RegionAnswers(
        truth, mean, np.broadcast_to(half_width, (N, R)), usual, truth.mean(axis=0), mean.mean(axis=1),
        truth.mean(axis=1), usual.mean(axis=1), severity, biomarker,
    )  # fmt: skip


def test_who_knows_nothing_says_the_mean_and_no_decision_follows():
    _, truth = subjects()
    mean = np.broadcast_to(truth.mean(axis=0), (N, R)) + 1e-6 * np.random.default_rng(1).standard_normal((N, R))
    half = np.quantile(np.abs(truth - truth.mean(axis=0)), 0.9)
    found = summarise_ambiguity(answers(mean, half))
    assert found["less population mean"].value == pytest.approx(0.0, abs=1e-4)
    assert found["AUC"].lower < 0.5 < found["AUC"].upper
    assert found["coverage"].value == pytest.approx(0.9, abs=0.01)
    assert found["spread over truth"].value < 1e-4
    assert found["spread beyond anatomy"].value < 1e-4
    assert found["AUC of truth"].lower > 0.9
    assert found["AUC of anatomy"].value == 0.5
    assert found["AUC of biomarker"] is None


def test_partial_volume_is_no_knowledge_though_it_beats_the_mean_of_all():
    rng = np.random.default_rng(2)
    severity = np.maximum(rng.uniform(-1, 1, N), 0.0)
    lost = 0.3 * rng.uniform(0, 1, N)[:, None] * np.ones((N, R))  # by atrophy, whatever the disease
    own = 0.05 * rng.standard_normal((N, R)) + 0.3 * severity[:, None]
    anatomy = 1.0 + own.mean() - lost
    truth = 1.0 - lost + own
    given = RegionAnswers(
        truth, anatomy, np.full((N, R), 0.3), anatomy, truth.mean(axis=0), anatomy.mean(axis=1), truth.mean(axis=1),
        anatomy.mean(axis=1), severity,
    )  # fmt: skip
    found = summarise_ambiguity(given)
    assert found["less population mean"].value < 0  # what looked like knowledge of uptake
    assert found["less anatomy's mean"].value == 0.0
    assert found["spread over truth"].value > 0.5
    assert found["spread beyond anatomy"].value == 0.0
    assert found["AUC"].lower < 0.5 < found["AUC"].upper


def test_a_biomarker_is_no_merit_of_the_image():
    severity, truth = subjects()
    rng = np.random.default_rng(3)
    biomarker = (severity > 0) * 2.0 + rng.standard_normal(N)
    parrot = np.broadcast_to(biomarker[:, None], (N, R))
    found = summarise_ambiguity(answers(parrot, 0.1, biomarker))
    assert found["AUC"].lower > 0.5
    assert found["AUC less biomarker"].value == 0.0
    assert found["AUC of biomarker"].value == found["AUC"].value
    better = summarise_ambiguity(answers(truth, 0.1, biomarker))
    assert better["AUC less biomarker"].value > 0
    healthy = truth.mean(axis=1)[severity == 0]
    assert better["threshold"].value == pytest.approx(healthy.mean() + 2 * healthy.std())
    assert better["AUC beyond threshold"].value == 1.0


def test_who_knows_all_is_right_and_tells_the_sick_by_their_severity():
    _, truth = subjects()
    found = summarise_ambiguity(answers(truth, 0.01))
    assert found["error"].value == 0.0
    assert found["less population mean"].upper < 0
    assert found["coverage"].value == 1.0
    assert found["AUC"].value > 0.9
    assert found["severity correlation"].value > 0.9
    assert found["spread over truth"].value == pytest.approx(1.0)
    assert set(to_json(found)) == set(DEFINITIONS)


def test_intervals_that_are_too_narrow_are_found_out():
    _, truth = subjects()
    found = summarise_ambiguity(answers(truth + 0.1, 0.05))
    assert found["coverage"].upper == 0.0


def test_without_a_disease_there_is_no_decision_and_shapes_must_fit():
    _, truth = subjects()
    healthy = replace(answers(truth, 0.1), severity=np.zeros(N))
    found = summarise_ambiguity(healthy)
    assert found["AUC"] is None
    assert found["severity correlation"] is None
    assert found["AUC beyond threshold"] is not None  # of true ratios, whoever has a disease
    with pytest.raises(InputError, match=r"need severity of shape \(80,\)"):
        replace(healthy, severity=np.zeros(3))
