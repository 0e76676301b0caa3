"""How good a method is on whole validation images, in the target's unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from nmsynth.core.plan import Plan
from nmsynth.data.prepared import PreparedCase
from nmsynth.inference.method_predictor import PredictionSettings, predict_method
from nmsynth.inference.tiling import FloatImage
from nmsynth.models.method import Method

OVERLAP = 0.25
"""Share of a window that overlaps the next where a validation predicts an image."""


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


Seen = Callable[[PreparedCase, int, FloatImage, FloatImage], None]
"""Told case, level, prediction and target of each case that is scored."""


def score_method(
    method: Method, plan: Plan, cases: Sequence[PreparedCase], *, device: str = "cpu", seen: Seen | None = None
) -> ValidationScore:
    """Predict whole cases and measure them.

    Parameters
    ----------
    method
        In evaluation mode, on the device.
    plan
        Its schedule says how many cases, and what the score is.
    cases
        Validation cases; where they have several count levels, each case is seen at another one.
    device
        Where the method is.
    seen
        Told every prediction.
    """
    errors, biases, regions = [], [], []
    for number, case in enumerate(cases[: plan.schedule.validation_cases]):
        level = number % len(case.levels)
        n_samples = plan.schedule.validation_samples
        image, target = predict_case(method, plan, case, level, device=device, n_samples=n_samples)
        body = np.asarray(case.weight) >= 1.0
        difference = (image - target)[body]
        errors.append(float(np.abs(difference).mean()))
        biases.append(float(difference.mean()))
        labels = np.asarray(case.labels)
        numbers = np.unique(labels[labels > 0])
        if len(numbers):
            regions += np.abs(ndimage.mean(image - target, labels, numbers)).tolist()
        if seen is not None:
            seen(case, level, image, target)
    error = float(np.mean(errors))
    region_error = float(np.mean(regions)) if regions else None
    use_regions = plan.schedule.score == "regional" and region_error is not None
    score = 0.5 * (error + region_error) if use_regions and region_error is not None else error
    return ValidationScore(score, error, float(np.mean(biases)), region_error)


def predict_case(
    method: Method, plan: Plan, case: PreparedCase, level: int, *, device: str = "cpu", n_samples: int = 1
) -> tuple[FloatImage, FloatImage]:
    """Prediction and target of a case in the target's unit, shape ``(z, y, x)``."""
    settings = PredictionSettings(seed=0, n_samples=n_samples, overlap=OVERLAP, device=device)
    training = method.training
    method.eval()
    with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=False):
        image, _ = predict_method(method, plan, case.source(level), case.levels[level][1], settings)
    method.train(training)
    fitted = case.target_normalisation()
    return fitted.invert(image), fitted.invert(np.asarray(case.target))
