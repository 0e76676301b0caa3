"""How good a method is on whole validation images, in the target's unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from nmsynth.core.errors import NumericalError
from nmsynth.core.plan import CoarsePlan, Plan
from nmsynth.data.prepared import PreparedCase, answer_normalisation, target_gain
from nmsynth.inference.method_predictor import PredictionSettings, predict_method
from nmsynth.inference.tiling import FloatImage
from nmsynth.models.method import Method

OVERLAP = 0.25
"""Share of a window that overlaps the next where a validation predicts an image."""


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Errors of whole images, means over cases, in the target's unit.

    In multiples of an image's own level where it is normalised by that, so that the tracer with the most activity does
    not decide alone.
    """

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


NUMBERS = tuple(field.name for field in fields(ValidationScore))
"""Names of the numbers of a score."""

Seen = Callable[[PreparedCase, int, FloatImage, FloatImage], None]
"""Told case, level, prediction and target of each case that is scored."""


class Rebuilding(Method):
    """A method that is shown targets, as further sources, and gives them back.

    Parameters
    ----------
    method
        That reconstructs.
    """

    def __init__(self, method: Method) -> None:
        super().__init__(method.setting)
        self.method = method
        self.noise_stride = method.noise_stride  # to which windows are aligned

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The target as it comes back, ``(batch, 1, ...)``."""
        del condition, noise
        centre = self.setting.n_sources + self.setting.context // 2
        return self.method.reconstruct(source[:, : self.setting.n_sources], source[:, centre : centre + 1])


def score_method(
    method: Method,
    plan: Plan,
    cases: Sequence[PreparedCase],
    *,
    stage: str = "",
    device: str = "cpu",
    seen: Seen | None = None,
) -> ValidationScore:
    """Predict whole cases and measure them.

    Parameters
    ----------
    method
        In evaluation mode, on the device.
    plan
        Its schedule says how many cases, and what the score is.
    cases
        Validation cases, of which some are taken, spread over the subjects; where they have several count levels, each
        is seen at another one.
    stage
        Of the training, whose rebuilding stages have no answer yet.
    device
        Where the method is.
    seen
        Told every prediction.

    Raises
    ------
    NumericalError
        If an error is not finite.
    """
    errors, biases, regions = [], [], []
    for number, case in enumerate(spread_over_subjects(cases, plan.schedule.validation_cases)):
        level = number % len(case.levels)
        if stage in method.rebuilding_stages:
            image, target = rebuild_case(method, plan, case, level, device=device)
        else:
            n_samples = plan.schedule.validation_samples
            image, target = predict_case(method, plan, case, level, device=device, n_samples=n_samples)
        body = np.asarray(case.weight) >= 1.0
        body = body if body.any() else np.ones_like(body)
        fitted = case.target_normalisation()
        own = fitted.scale if fitted.kind == "level" else 1.0
        difference = (image - target)[body] / own
        errors.append(float(np.abs(difference).mean()))
        biases.append(float(difference.mean()))
        labels = np.asarray(case.labels)
        numbers = np.unique(labels[labels > 0])
        if len(numbers):
            regions += (np.abs(ndimage.mean(image - target, labels, numbers)) / own).tolist()
        if seen is not None:
            seen(case, level, image, target)
    error = float(np.mean(errors))
    region_error = float(np.mean(regions)) if regions else None
    use_regions = plan.schedule.score == "regional" and region_error is not None
    score = 0.5 * (error + region_error) if use_regions and region_error is not None else error
    if not np.isfinite(score):
        raise NumericalError(
            "Errors on validation images must be finite; they are not: the training has diverged, or an image holds no "
            "numbers. Check the dataset, and train anew with a lower schedule.learning_rate."
        )
    return ValidationScore(score, error, float(np.mean(biases)), region_error)


def spread_over_subjects(cases: Sequence[PreparedCase], n: int) -> list[PreparedCase]:
    """Some cases, evenly over all and of as many subjects as there are.

    Parameters
    ----------
    cases
        In the order of the dataset.
    n
        How many at most.
    """
    firsts = list({case.subject: case for case in reversed(cases)}.values())[::-1]
    of = firsts if len(firsts) >= n else list(cases)
    chosen = np.unique(np.linspace(0, len(of) - 1, min(n, len(of))).round().astype(int))
    return [of[k] for k in chosen]


def rebuild_case(
    method: Method, plan: Plan, case: PreparedCase, level: int, *, device: str = "cpu"
) -> tuple[FloatImage, FloatImage]:
    """A case's target as the method gives it back, and the target, in its unit, shape ``(z, y, x)``."""
    target = np.asarray(case.target)
    shown = np.concatenate([case.source(level), np.float32(target_gain(plan, case, level)) * target[None]])
    plan = plan.model_copy(update={"coarse": CoarsePlan()})  # what comes back is judged as it is
    return _predicted(Rebuilding(method), plan, case, shown, level, PredictionSettings(overlap=OVERLAP, device=device))


def predict_case(
    method: Method, plan: Plan, case: PreparedCase, level: int, *, device: str = "cpu", n_samples: int = 1
) -> tuple[FloatImage, FloatImage]:
    """Prediction and target of a case in the target's unit, shape ``(z, y, x)``."""
    settings = PredictionSettings(seed=0, n_samples=n_samples, overlap=OVERLAP, device=device)
    return _predicted(method, plan, case, case.source(level), level, settings)


def answer_case(method: Method, plan: Plan, case: PreparedCase, level: int, *, device: str = "cpu") -> FloatImage:
    """Prediction of a case that may lack a target, normalised, shape ``(z, y, x)``."""
    settings = PredictionSettings(seed=0, overlap=OVERLAP, device=device)
    return _answer(method, plan, case, case.source(level), level, settings)


def _predicted(
    method: Method, plan: Plan, case: PreparedCase, source: FloatImage, level: int, settings: PredictionSettings
) -> tuple[FloatImage, FloatImage]:
    """The answer of a method in evaluation mode, and the target, in its unit."""
    image = _answer(method, plan, case, source, level, settings)
    target = case.target_normalisation().invert(np.asarray(case.target))
    return answer_normalisation(plan, case, level).invert(image), target


def _answer(
    method: Method, plan: Plan, case: PreparedCase, source: FloatImage, level: int, settings: PredictionSettings
) -> FloatImage:
    """The normalised answer of a method in evaluation mode."""
    training = method.training
    method.eval()
    with torch.autocast(settings.device.partition(":")[0], torch.bfloat16, enabled=False):
        image, _ = predict_method(method, plan, source, case.levels[level][1], settings)
    method.train(training)
    return image
