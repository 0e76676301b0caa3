"""What the first minutes of a dynamic FDG scan give without a network: their last part times a factor, a Patlak plot.

Factors are fitted to training patients. A Patlak plot needs none: of a late image it takes the usual course of the
plasma, whose scale does not matter; of the influx the patient's own plasma without noise, which is generous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.workflows.study_output import REFERENCE_FOLDER, read_record

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.core.volume import Volume
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, Presented
    from nmsynth.workflows.task_study import TaskStudy

FloatImage = npt.NDArray[np.float32]

LAST_PART, BY_REGION = "last-part", "last-part-by-region"
OVER_PLASMA, BY_REGION_OVER_PLASMA = "last-part-over-plasma", "last-part-by-region-over-plasma"
FITTED = (LAST_PART, BY_REGION, OVER_PLASMA, BY_REGION_OVER_PLASMA)
"""Last part that was seen, times one factor or one for each region, and over the integral of the patient's plasma."""
PATLAK = "patlak"
"""Patlak plot of the second half of what was seen."""
PLASMA_INTEGRAL = "plasma_integral"
"""Condition that holds the integral of the plasma over what was seen [SUV min]."""
TUNING_IMAGES = 6
"""Training images that a Gaussian is tuned on, for each number of parts; of any counts."""
LEAST_REGION_VOXELS = 10
"""Of a region of a training patient that a factor is fitted to."""


@dataclass(frozen=True, slots=True)
class PartFactors:
    """Factors from the last part that was seen to the target, by the number of parts; medians over training patients.

    Attributes
    ----------
    everywhere
        Of the brain as a whole.
    by_region
        Of each of its regions, by number.
    integral
        Usual integral of the plasma over what was seen, for a patient whose own is not told [SUV min].
    over_plasma
        Whether factors are relative to that integral.
    """

    everywhere: Mapping[int, float]
    by_region: Mapping[int, Mapping[int, float]]
    integral: Mapping[int, float]
    over_plasma: bool

    @classmethod
    def fit(cls, examples: Sequence[PartExample], *, over_plasma: bool) -> PartFactors:
        """Fit to training patients.

        Parameters
        ----------
        examples
            One a patient.
        over_plasma
            Whether the last part is first divided by the integral of the patient's plasma.

        Raises
        ------
        InputError
            If there is none, or a plasma that is asked for is told of none.
        """
        if not examples:
            raise InputError("Factors of the last part are fitted to training patients; found none. Give some.")
        everywhere, by_region, integral = {}, {}, {}
        for n in sorted({e.n_parts for e in examples}):
            own = [e for e in examples if e.n_parts == n]
            told = [e.plasma_integral for e in own if e.plasma_integral is not None]
            if over_plasma and not told:
                raise InputError(
                    "Factors relative to plasma need its integral in training patients; it is told of none. Leave the "
                    "baseline out, or simulate the patients with it."
                )
            integral[n] = float(np.median(told)) if told else 1.0
            found: dict[int, list[float]] = {}
            for example in own:
                divisor = (example.plasma_integral or integral[n]) if over_plasma else 1.0
                for region, ratio in example.ratios().items():
                    found.setdefault(region, []).append(ratio * divisor)
            medians = {region: float(np.median(ratios)) for region, ratios in found.items()}
            everywhere[n] = medians.pop(0)
            by_region[n] = medians
        return cls(everywhere, by_region, integral, over_plasma)

    def __call__(
        self,
        last: npt.ArrayLike,
        n_parts: int,
        *,
        labels: npt.ArrayLike | None = None,
        plasma_integral: float | None = None,
    ) -> FloatImage:
        """Target by the last part of one patient, same shape.

        Parameters
        ----------
        last
            Last part that was seen [its unit in training].
        n_parts
            How many were seen; factors of the nearest number are taken where none was trained on.
        labels
            Number of the region of each voxel, 0 for none, for factors of their own.
        plasma_integral
            Of this patient [SUV min]; the usual one when unset.
        """
        n = min(self.everywhere, key=lambda known: abs(known - n_parts))
        factor = np.full(np.shape(last), self.everywhere[n])
        if labels is not None:
            numbers = np.asarray(labels)
            for region, own in self.by_region[n].items():
                factor[numbers == region] = own
        divisor = (plasma_integral or self.integral[n]) if self.over_plasma else 1.0
        return np.asarray(np.asarray(last) * factor / divisor, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PartExample:
    """A training patient: last part and target on one grid, shape ``(z, y, x)``, and regions of the brain."""

    n_parts: int
    last: FloatImage
    target: FloatImage
    labels: npt.NDArray[np.number]
    """Number of the region of each voxel, 0 for none."""
    plasma_integral: float | None = None
    """Over what was seen [SUV min]."""

    def ratios(self) -> dict[int, float]:
        """Target over last part, of the sums over each region, and under 0 over all of them."""
        numbers = np.round(np.asarray(self.labels)).astype(np.int32)
        found = {}
        for region in (0, *np.unique(numbers[numbers > 0]).tolist()):
            inside = numbers == region if region else numbers > 0
            seen = float(self.last[inside].sum(dtype=np.float64))
            if inside.sum() >= LEAST_REGION_VOXELS and seen > 0:
                found[region] = float(self.target[inside].sum(dtype=np.float64)) / seen
        if 0 not in found:
            raise InputError("Factors of the last part need regions of the brain; found none. Give masks of them.")
        return found


def fit_early_baseline(name: str, plan: Plan, training: Sequence[Presented]) -> FittedBaseline:
    """Fit one of :data:`FITTED` to prepared training patients, and smooth it as is best for their error.

    A test patient's regions are those of its own masks, which no camera shows: a factor by region is generous.
    """
    from nmsynth.models.classical import CANDIDATES, TuningCase, tune
    from nmsynth.workflows.benchmark_baselines import FittedBaseline, absolute_error, body_of, target_of

    factors = part_factors(name, plan, training)

    def scaled(shown: Presented) -> tuple[int, FloatImage]:
        """Number of parts, and the last times the factors."""
        labels = np.asarray(shown.case.labels) if name in (BY_REGION, BY_REGION_OVER_PLASMA) else None
        n, last = _last_part(plan, shown)
        return n, factors(last, n, labels=labels, plasma_integral=_told_integral(plan, shown))

    tuning: dict[int, list[TuningCase]] = {}
    for shown in training:
        own, case = tuning.setdefault(len(_seen(plan, shown)), []), shown.case
        if len(own) < TUNING_IMAGES:
            own.append(TuningCase(scaled(shown)[1], target_of(plan, case), body_of(case), case.spacing_mm))
    candidates = [*CANDIDATES["identity"], *CANDIDATES["Gaussian"]]
    chosen = {n: tune(candidates, cases, absolute_error).baseline for n, cases in tuning.items()}

    def predict(shown: Presented) -> FloatImage:
        """The last part times the factors, smoothed."""
        n, image = scaled(shown)
        nearest = min(chosen, key=lambda known: abs(known - n))
        return chosen[nearest](image, shown.case.spacing_mm)

    detail = "; ".join(f"{n} parts: {f:.3g}, {chosen[n].name}" for n, f in factors.everywhere.items())
    return FittedBaseline(predict, detail)


def part_factors(name: str, plan: Plan, training: Sequence[Presented]) -> PartFactors:
    """The factors of one of :data:`FITTED`, fitted to prepared training patients."""
    from nmsynth.workflows.benchmark_baselines import target_of

    examples = []
    for shown in training:
        n, last = _last_part(plan, shown)
        labels = np.asarray(shown.case.labels)
        examples.append(PartExample(n, last, target_of(plan, shown.case), labels, _told_integral(plan, shown)))
    return PartFactors.fit(examples, over_plasma=name in (OVER_PLASMA, BY_REGION_OVER_PLASMA))


def _seen(plan: Plan, shown: Presented) -> list[int]:
    """Which of the plan's sources, the parts, a case has."""
    _, told = shown.case.levels[shown.level]
    optional = [k for k, source in enumerate(plan.sources) if source.optional]
    there = dict(zip(optional, told[len(told) - len(optional) :], strict=True))
    return [k for k in range(len(plan.sources)) if there.get(k, 1.0) > 0]


def _last_part(plan: Plan, shown: Presented) -> tuple[int, FloatImage]:
    """How many parts of a case are there, and the last of them in its unit."""
    from nmsynth.core.normalisation import FittedNormalisation

    seen = _seen(plan, shown)
    layer = shown.case.levels[shown.level][0][seen[-1]]
    scale = FittedNormalisation(**shown.case.record["normalisations"][layer])
    return len(seen), np.asarray(scale.invert(shown.case.layers[layer]), dtype=np.float32)


def _told_integral(plan: Plan, shown: Presented) -> float | None:
    """Integral of the plasma that a case tells [SUV min]."""
    told = shown.case.levels[shown.level][1]
    for condition, columns in plan.condition_columns:
        if condition.name == PLASMA_INTEGRAL:
            value, *stated = told[columns]
            number = value * condition.scale + condition.offset
            known = not stated or stated[0] > 0
            return (float(np.exp(number)) if condition.kind == "logarithm" else float(number)) if known else None
    return None


def patlak_of_study(study: TaskStudy) -> Volume:
    """A Patlak plot of the second half of what was seen of a simulated study, in the unit of its target.

    Raises
    ------
    InputError
        If the study holds no dynamic scan with its plasma.
    """
    from nmsynth.core.units import Unit
    from nmsynth.io import read

    row = next((row for row in study.rows if row.name == "scan"), None)
    if row is None:
        raise InputError("A Patlak plot needs the frames of a scan; the study has none. Leave the baseline out.")
    path = study.folder / row.path
    record = read_record(path.parent / REFERENCE_FOLDER)
    scan, table = read(path), np.loadtxt(path.parent / "plasma.csv", delimiter=",", skiprows=1)
    frames_min = np.array([[f.start_s, f.start_s + f.duration_s] for f in scan.frames]) / 60.0
    seen_min, target = float(record["told"]["seen_min"]), study.target
    if target.unit is Unit.INFLUX:
        frames = scan.array / np.float32(record["bqml_per_suv"])
        return target.with_array(influx_seen(frames, frames_min, table[:, 1], table[:, 0], seen_min))
    window = record["reference_images"]["late_noise_free"]["window_min"]
    return target.with_array(late_of_seen(scan.array, frames_min, seen_min, (window[0], window[1])))


def influx_seen(
    frames: FloatImage,
    frames_min: npt.NDArray[np.float64],
    plasma: npt.NDArray[np.float64],
    minutes: npt.NDArray[np.float64],
    seen_min: float,
) -> FloatImage:
    """Patlak slope of the second half of what was seen, with the patient's own plasma [mL/cm3/min], ``(z, y, x)``."""
    from nmsynth.physics.kinetics import patlak_image

    seen = frames_min[:, 1] <= seen_min + 1e-6
    return patlak_image(frames[seen], frames_min[seen], plasma, minutes, start_min=seen_min / 2)


def late_of_seen(
    frames: FloatImage, frames_min: npt.NDArray[np.float64], seen_min: float, window_min: tuple[float, float]
) -> FloatImage:
    """Late image by a Patlak plot of the second half of what was seen, with the usual course of FDG in plasma."""
    from nmsynth.physics.dynamic_tracers import dynamic_tracer
    from nmsynth.physics.input_function import fine_minutes
    from nmsynth.physics.kinetics import patlak_extrapolation

    minutes = fine_minutes(window_min[1])
    plasma = dynamic_tracer("FDG").blood.plasma(minutes)
    seen = frames_min[:, 1] <= seen_min + 1e-6
    return patlak_extrapolation(
        frames[seen], frames_min[seen], plasma, minutes, start_min=seen_min / 2, window_min=window_min
    )
