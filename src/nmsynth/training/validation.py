"""How good a method is on whole validation images, in the target's unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from nmsynth.core.plan import Plan
from nmsynth.data.prepared import PreparedCase
from nmsynth.inference.method_predictor import PredictionSettings, predict_method
from nmsynth.models.method import Method


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Errors of whole images, means over cases, in the target's unit."""

    score: float
    """What the best checkpoint is chosen by; smaller is better."""
    error: float
    """Mean absolute error in the body."""
    bias: float
    """Mean error in the body."""
    region_error: float | None
    """Mean absolute error of the means of labelled regions (lesions, organs); ``None`` where there are none."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def score_method(method: Method, plan: Plan, cases: Sequence[PreparedCase], *, device: str = "cpu") -> ValidationScore:
    """Predict whole cases and measure them.

    Parameters
    ----------
    method
        In evaluation mode, on the device.
    plan
        Its schedule says how many cases, and what the score is.
    cases
        Validation cases; the lowest count level of each, where there are several, takes its turn with the others.
    device
        Where the method is.
    """
    errors, biases, regions = [], [], []
    for number, case in enumerate(cases[: plan.schedule.validation_cases]):
        level = number % len(case.levels)
        image, target = predict_case(method, plan, case, level, device=device)
        body = np.asarray(case.weight) >= 1.0
        difference = (image - target)[body]
        errors.append(float(np.abs(difference).mean()))
        biases.append(float(difference.mean()))
        labels = np.asarray(case.labels)
        for label in np.unique(labels[labels > 0]):
            inside = labels == label
            regions.append(abs(float(image[inside].mean() - target[inside].mean())))
    error = float(np.mean(errors))
    region_error = float(np.mean(regions)) if regions else None
    use_regions = plan.schedule.score == "regional" and region_error is not None
    score = 0.5 * (error + region_error) if use_regions and region_error is not None else error
    return ValidationScore(score, error, float(np.mean(biases)), region_error)


def predict_case(
    method: Method, plan: Plan, case: PreparedCase, level: int, *, device: str = "cpu", n_samples: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and target of a case in the target's unit, shape ``(z, y, x)``."""
    settings = PredictionSettings(seed=0, n_samples=n_samples, overlap=0.25, device=device)
    training = method.training
    method.eval()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=False):
        image, _ = predict_method(method, plan, case.source(level), case.levels[level][1], settings)
    method.train(training)
    fitted = case.target_normalisation()
    return fitted.invert(image), fitted.invert(np.asarray(case.target))
