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
    from nmsynth.metrics.intervals import Widening
    from nmsynth.models.card import IntervalCard
    from nmsynth.models.method import Method

    _Values = npt.NDArray[np.float64]
    """Error, spread and number of the subject of some values, shape ``(3, value)``."""

COVERAGE = 0.9
"""Share that intervals hold."""
MOST_VOXELS = 2000
"""Voxels of a case, evenly spread over its body, whose errors are taken."""
ON_VALIDATION = (
    "Calibrated on the patients held for validation, by whom the best weights were chosen too, so that it may be a "
    "little too narrow."
)


_TOO_FEW = (
    "Of {} patients only, of {} that {:g} % over patients need: intervals of voxels hold within these patients, none "
    "are given of regions."
)


def calibrate_intervals(
    method: Method,
    plan: Plan,
    cases: Sequence[PreparedCase],
    *,
    n_samples: int,
    coverage: float = COVERAGE,
    sides_together: bool = False,
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
        That the weights were not fitted to, at every count level. Those with optional facts are presented once with and
        once without, and the wider of both intervals is taken.
    n_samples
        Drawn of each.
    coverage
        Share of the voxels, and of the means of labelled regions, that intervals hold.
    sides_together
        Whether labels that differ by 100 are the two sides of one region.
    device
        Where.
    note
        For the card.
    progress
        Told after each case.

    Returns
    -------
        What a card says of intervals. With fewer subjects than they need, those of regions are left out, and those of
        voxels hold within these subjects, which the note says.

    Raises
    ------
    InputError
        If the method draws no samples, or there are no cases.
    """
    from nmsynth.metrics.intervals import FLOOR_SHARE, Widening, least_values
    from nmsynth.models.card import IntervalCard

    if not method.stochastic:
        raise InputError("Intervals come from samples; this method has one answer. Take one that draws samples.")
    if not cases:
        raise InputError("Intervals are calibrated on cases; there are none. Give some that were not trained on.")
    voxels: dict[bool, list[_Values]] = {}
    regions: dict[bool, list[_Values]] = {}
    subjects = sorted({case.subject for case in cases})
    for number, case in enumerate(cases):
        of = subjects.index(case.subject)
        for level, told, unsaid in _presented(case, plan):
            samples, target = _samples_of(method, plan, case, level, told, n_samples, number, device)
            labels = regions_of(case, sides_together=sides_together)
            voxels.setdefault(unsaid, []).append(_of_voxels(samples, target, case, of))
            regions.setdefault(unsaid, []).append(_of_regions(samples, target, labels, of))
        progress("calibrating intervals", (number + 1) / len(cases))
    floor_share = 0.0 if plan.target.unit.has_unknown_scale else FLOOR_SHARE
    enough = len(subjects) >= least_values(coverage)
    if not enough:
        note = f"{note} {_TOO_FEW.format(len(subjects), least_values(coverage), 100 * coverage)}".strip()
    of_voxels = _widest(voxels, coverage, floor_share, by_subject=enough)
    n_labelled = len({value for values in regions.values() for found in values for value in found[2]})
    able = n_labelled >= least_values(coverage)
    of_regions = _widest(regions, coverage, floor_share, by_subject=True) if able else Widening(0.0, 0.0)
    return IntervalCard(
        coverage=coverage,
        n_samples=n_samples,
        voxel_factor=of_voxels.factor,
        voxel_floor=of_voxels.floor,
        region_factor=of_regions.factor if able else None,
        region_floor=of_regions.floor,
        sides_together=sides_together,
        n_cases=len(subjects),
        n_regions=sum(found.shape[1] for found in regions[False]),
        note=note,
    )


def _widest(values: dict[bool, list[_Values]], coverage: float, floor_share: float, *, by_subject: bool) -> Widening:
    """The widest of what errors and spreads ask for, with optional facts told and unsaid."""
    import numpy as np

    from nmsynth.metrics.intervals import calibrated

    found = []
    for one in values.values():
        errors, spreads, subjects = np.concatenate(one, axis=1)
        known = subjects if by_subject else None
        found.append(calibrated(errors, spreads, coverage=coverage, subjects=known, floor_share=floor_share))
    return max(found, key=lambda widening: (widening.factor, widening.floor))


def regions_of(case: PreparedCase, *, sides_together: bool) -> npt.NDArray[np.int32]:
    """Labels of regions of some size, as they are measured too, shape ``(z, y, x)``; 0 elsewhere."""
    import numpy as np

    from nmsynth.physics.phantom.brain_regions import RIGHT
    from nmsynth.workflows.task_study import LEAST_REGION_VOXELS

    labels = np.rint(np.asarray(case.labels)).astype(np.int32)
    if sides_together:
        labels %= RIGHT
    small = np.flatnonzero(np.bincount(labels.ravel()) < LEAST_REGION_VOXELS)
    return np.where(np.isin(labels, small), 0, labels)


def _presented(case: PreparedCase, plan: Plan) -> list[tuple[int, tuple[float, ...], bool]]:
    """Level, what is told, and whether optional facts are unsaid: every level as it is, and once without them."""
    found = []
    for level, (_, told) in enumerate(case.levels):
        found.append((level, told, False))
        unsaid = list(told)
        for condition, columns in plan.condition_columns:
            if condition.optional:
                unsaid[columns] = [0.0] * condition.width
        if tuple(unsaid) != tuple(told):
            found.append((level, tuple(unsaid), True))
    return found


def _samples_of(
    method: Method, plan: Plan, case: PreparedCase, level: int, told: tuple[float, ...], n_samples: int, seed: int,
    device: str,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:  # fmt: skip
    """Samples ``(sample, z, y, x)`` and the target, in its unit."""
    import numpy as np

    from nmsynth.data.prepared import answer_normalisation
    from nmsynth.inference.method_predictor import PredictionSettings, predict_method

    settings = PredictionSettings(seed=seed, n_samples=n_samples, device=device)
    _, samples = predict_method(method, plan, case.source(level), told, settings)
    fitted = answer_normalisation(plan, case, level)
    target = case.target_normalisation().invert(np.asarray(case.target))
    return np.stack([fitted.invert(sample) for sample in samples]), target


def _of_voxels(
    samples: npt.NDArray[np.float32], target: npt.NDArray[np.float32], case: PreparedCase, subject: int
) -> _Values:
    """Errors of the mean and spreads of some voxels of the body."""
    import numpy as np

    inside = np.flatnonzero(np.asarray(case.weight) >= 1)
    chosen = inside[:: max(1, -(-len(inside) // MOST_VOXELS))]
    drawn = samples.reshape(len(samples), -1)[:, chosen].astype(np.float64)
    return _values(drawn, target.reshape(-1)[chosen], subject)


def _of_regions(
    samples: npt.NDArray[np.float32], target: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], subject: int
) -> _Values:
    """Errors of the mean and spreads of the means of labelled regions."""
    import numpy as np
    from scipy import ndimage

    numbers = np.unique(labels[labels > 0])
    if not len(numbers):
        return np.zeros((3, 0))
    drawn = np.stack([ndimage.mean(sample, labels, numbers) for sample in samples])
    return _values(drawn, np.asarray(ndimage.mean(target, labels, numbers)), subject)


def _values(drawn: npt.NDArray[np.float64], known: npt.NDArray[Any], subject: int) -> _Values:
    """Of samples ``(sample, value)``: error of their mean, their spread, and whose they are."""
    import numpy as np

    spread = drawn.std(axis=0, ddof=1)
    return np.stack([drawn.mean(axis=0) - known, spread, np.full(len(spread), float(subject))])


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
    from nmsynth.workflows.method_training import PACKAGE, PREPARED, split_of_run

    packages = sorted(path.parent for path in (run / PACKAGE).glob("*/card.json"))
    if len(packages) != 1:
        raise InputError(
            f"A run to be calibrated has one model; found {len(packages)}. Name the folder of a training that is done, "
            "without folds."
        )
    model = load_model(packages[0])
    if not isinstance(model, MethodModel):
        raise InputError("Intervals are those of methods with a plan; this model has none.")
    prepared = open_prepared(run / PREPARED)
    held = split_of_run(run, model.card.training.get("fold"), {case.subject: case.split for case in prepared})
    cases = [case for case in prepared if case.subject in held.validation and case.is_pair]
    if not cases:
        raise InputError(
            "Intervals are calibrated on validation patients; the run holds none. Name them in its manifest."
        )
    known = model.card.interval
    card = calibrate_intervals(
        model.method, model.plan, cases, n_samples=n_samples, coverage=coverage,
        sides_together=known is not None and known.sides_together, note=ON_VALIDATION, progress=progress,
    )  # fmt: skip
    updated = model.card.model_copy(update={"interval": card})
    save_method_package(packages[0], method=model.method, card=updated, overwrite=True)
    return card
