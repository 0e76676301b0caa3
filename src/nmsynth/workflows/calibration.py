"""Intervals of a stochastic method, calibrated on cases that its weights were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.plan import Plan
    from nmsynth.data.prepared import PreparedCase
    from nmsynth.models.card import IntervalCard
    from nmsynth.models.method import Method

COVERAGE = 0.9
"""Share that intervals hold."""
MOST_VOXELS = 2000
"""Voxels of a case, evenly spread over its body, whose errors are taken."""
ON_VALIDATION = (
    "Calibrated on the patients held for validation, by whom the best weights were chosen too, so that it may be a "
    "little too narrow."
)


def calibrate_intervals(
    method: Method,
    plan: Plan,
    cases: Sequence[PreparedCase],
    *,
    n_samples: int,
    coverage: float = COVERAGE,
    device: str = "cpu",
    note: str = "",
    progress: Progress = silent,
) -> IntervalCard:
    """Draw samples of cases and find by what their spread becomes an interval.

    Parameters
    ----------
    method
        Stochastic, in evaluation mode.
    plan
        By which it was trained.
    cases
        That the weights were not fitted to; every way in which one is presented counts, and those with optional facts
        once with and once without.
    n_samples
        Drawn of each.
    coverage
        Share of the voxels, and of the means of labelled regions, that intervals hold.
    device
        Where.
    note
        For the card.
    progress
        Told after each case.

    Returns
    -------
        What a card says of intervals; those of regions are left out where fewer are labelled than they need.

    Raises
    ------
    InputError
        If the method draws no samples, or there are no cases.
    """
    import numpy as np

    from nmsynth.metrics.intervals import Widening, calibrated, least_values
    from nmsynth.models.card import IntervalCard

    if not method.stochastic:
        raise InputError("Intervals come from samples; this method has one answer. Take one that draws samples.")
    voxels: list[npt.NDArray[np.float64]] = []
    regions: list[npt.NDArray[np.float64]] = []
    for number, case in enumerate(cases):
        for source, told in _presented(case, plan):
            samples, target = _samples_of(method, plan, case, source, told, n_samples, device)
            voxels.append(_of_voxels(samples, target, np.asarray(case.weight)))
            regions.append(_of_regions(samples, target, np.asarray(case.labels)))
        progress("calibrating intervals", (number + 1) / len(cases))
    by_voxel, by_region = (np.concatenate(found, axis=1) if found else np.zeros((2, 0)) for found in (voxels, regions))
    of_voxels = calibrated(*by_voxel, coverage=coverage)
    enough = by_region.shape[1] >= least_values(coverage)
    of_regions = calibrated(*by_region, coverage=coverage) if enough else Widening(0.0, 0.0)
    return IntervalCard(
        coverage=coverage,
        n_samples=n_samples,
        voxel_factor=of_voxels.factor,
        voxel_floor=of_voxels.floor,
        region_factor=of_regions.factor if enough else None,
        region_floor=of_regions.floor,
        n_cases=len(cases),
        n_regions=by_region.shape[1],
        note=note,
    )


def _presented(case: PreparedCase, plan: Plan) -> list[tuple[Any, tuple[float, ...]]]:
    """Sources and what is told, for every level, and once more with all optional facts unsaid."""
    found = []
    for level, (_, told) in enumerate(case.levels):
        ways = [told]
        unsaid = list(told)
        for condition, columns in plan.condition_columns:
            if condition.optional:
                unsaid[columns] = [0.0] * condition.width
        if tuple(unsaid) != tuple(told):
            ways.append(tuple(unsaid))
        found += [(case.source(level), way) for way in ways]
    return found


def _samples_of(
    method: Method, plan: Plan, case: PreparedCase, source: Any, told: tuple[float, ...], n_samples: int, device: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Samples ``(sample, z, y, x)`` and the target, in its unit."""
    import numpy as np

    from nmsynth.inference.method_predictor import PredictionSettings, predict_method

    settings = PredictionSettings(seed=0, n_samples=n_samples, device=device)
    _, samples = predict_method(method, plan, source, told, settings)
    fitted = case.target_normalisation()
    return np.stack([fitted.invert(sample) for sample in samples]), fitted.invert(np.asarray(case.target))


def _of_voxels(
    samples: npt.NDArray[np.float32], target: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Errors of the mean and spreads of some voxels of the body, shape ``(2, voxel)``."""
    import numpy as np

    inside = np.flatnonzero(weight >= 1)
    chosen = inside[:: max(1, -(-len(inside) // MOST_VOXELS))]
    drawn = samples.reshape(len(samples), -1)[:, chosen].astype(np.float64)
    return np.stack([drawn.mean(axis=0) - target.reshape(-1)[chosen], drawn.std(axis=0, ddof=1)])


def _of_regions(
    samples: npt.NDArray[np.float32], target: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Errors of the mean and spreads of the means of labelled regions, shape ``(2, region)``."""
    import numpy as np
    from scipy import ndimage

    numbers = np.unique(labels[labels > 0])
    if not len(numbers):
        return np.zeros((2, 0))
    drawn = np.stack([ndimage.mean(sample, labels, numbers) for sample in samples])
    known = np.asarray(ndimage.mean(target, labels, numbers))
    return np.stack([drawn.mean(axis=0) - known, drawn.std(axis=0, ddof=1)])


def calibrate_run(
    run: Path, *, n_samples: int, coverage: float = COVERAGE, progress: Progress = silent
) -> IntervalCard:
    """Calibrate the intervals of the model of a training on the patients that it held for validation.

    Parameters
    ----------
    run
        Folder of the training; the card of its package is replaced.
    n_samples, coverage
        As of :func:`calibrate_intervals`.
    progress
        Told after each case.

    Raises
    ------
    InputError
        If the run holds no package, or more than one, or as :func:`calibrate_intervals`.
    """
    from nmsynth.data.prepared import open_prepared
    from nmsynth.inference import load_model
    from nmsynth.inference.method_model import MethodModel
    from nmsynth.models.method_package import save_method_package
    from nmsynth.workflows.method_training import PACKAGE, PREPARED

    packages = sorted(path.parent for path in (run / PACKAGE).glob("*/card.json"))
    if len(packages) != 1:
        raise InputError(
            f"A run to be calibrated has one model; found {len(packages)}. Name the folder of a training that is done, "
            "without folds."
        )
    model = load_model(packages[0])
    if not isinstance(model, MethodModel):
        raise InputError("Intervals are those of methods with a plan; this model has none.")
    cases = [case for case in open_prepared(run / PREPARED) if case.split == "validation"]
    if not cases:
        raise InputError(
            "Intervals are calibrated on validation patients; the run holds none. Name them in its manifest."
        )
    card = calibrate_intervals(
        model.method, model.plan, cases, n_samples=n_samples, coverage=coverage, note=ON_VALIDATION, progress=progress
    )
    updated = model.card.model_copy(update={"interval": card})
    save_method_package(packages[0], method=model.method, card=updated, overwrite=True)
    return card
