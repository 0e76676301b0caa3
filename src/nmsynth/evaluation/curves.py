"""Recovery against noise and against false structures: a curve for each method, a point for each of its settings.

One number hides the trade between lesions and noise; a curve beside the Gaussian's shows whether a method does more
than smooth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.evaluation.evaluate import REFERENCE, Masks
from nmsynth.evaluation.preparation import Image, Scene, check_images, prepare_scene, to_one_unit
from nmsynth.evaluation.settings import EvaluationSettings, resolve_settings
from nmsynth.evaluation.statistics import summarise
from nmsynth.metrics import detection, image, noise, quantitative, recovery
from nmsynth.metrics.agreement import N_BOOTSTRAP, SEED
from nmsynth.metrics.regions import equivalent_diameter_mm

CURVES_SCHEMA_VERSION = 1
"""Of the JSON of :class:`Curves`."""
GAUSSIAN_WIDTHS_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0)
"""Widths of the Gaussian's curve [mm FWHM]; 0 is the source itself."""
GAUSSIAN = "Gaussian of the source"
"""Name of the Gaussian's curve."""
PREFERRED_CLASS = "10-18 mm"
"""Lesions whose recovery is drawn where there are enough of them: smaller ones the counts do not carry, larger ones
every method keeps."""
ENOUGH_LESIONS = 3
ALL_LESIONS = "all"
"""Stands for every class of lesions."""

Settings = Iterable[tuple[str, Volume]]
"""Images of one method by the name of its setting, in the order of the curve; may be made one at a time."""


@dataclass(frozen=True, slots=True)
class CurveSample:
    """One image of one patient by one setting of a method, measured."""

    case_id: str
    method: str
    setting: str
    recoveries: tuple[tuple[float, float], ...]
    """Diameter [mm] and contrast recovery of each lesion that has one."""
    noise: float | None
    """COV in the liver sphere."""
    nrmse: float | None
    """In the body."""
    n_false: int | None
    n_missing: int | None
    """Structures; ``None`` where there is no liver level."""
    n_slices: int
    """Slices in which they were sought."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One setting of a method over all patients."""

    setting: str
    recovery: float | None
    """Median over lesions."""
    recovery_lower: float | None
    recovery_upper: float | None
    """Of the 95 % bootstrap interval over patients; quartiles over lesions where there is one patient."""
    n_lesions: int
    noise: float | None
    """Mean over patients of the COV in the liver sphere."""
    nrmse: float | None
    """Mean over patients."""
    false_structures: float | None
    missing_structures: float | None
    """Per 100 slices of all patients."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of several methods on the same images."""

    points: Mapping[str, tuple[CurvePoint, ...]]
    """By method, in the order of their settings."""
    lesions: str
    """Class of the lesions, or ``"all"``."""
    reference_kind: str
    n_patients: int

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """JSON values of the points by method, each naming its lesions, as a report takes them."""
        return {name: [{**asdict(p), "lesions": self.lesions} for p in line] for name, line in self.points.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, with ``schema_version``."""
        interval = "95 % bootstrap over patients" if self.n_patients > 1 else "quartiles over lesions"
        return {
            "schema_version": CURVES_SCHEMA_VERSION,
            "lesions": self.lesions,
            "reference": self.reference_kind,
            "n_patients": self.n_patients,
            "units": {
                "recovery": f"1, median over lesions; bounds: {interval}",
                "noise": "1, SD over mean in the liver sphere, mean over patients",
                "false_structures": "per 100 slices",
                "missing_structures": "per 100 slices",
                "nrmse": "1, in the body, mean over patients",
            },
            "methods": self.rows(),
        }


def gaussian_settings(source: Volume, widths_mm: Sequence[float] = GAUSSIAN_WIDTHS_MM) -> Iterator[tuple[str, Volume]]:
    """Smooth a source by several Gaussians, one image at a time.

    Parameters
    ----------
    source
        The low-count image.
    widths_mm
        Full widths at half maximum [mm]; 0 is the source itself.
    """
    from nmsynth.models.filters import Gaussian

    for width in widths_mm:
        smoothed = source if width == 0 else source.with_array(Gaussian(width)(source.array, source.spacing_mm))
        yield f"{width:g} mm", smoothed


def measure_curves(
    images: Mapping[str, Settings],
    reference: Volume,
    *,
    masks: Masks,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
    case_id: str = "",
) -> list[CurveSample]:
    """Measure recovery, noise and false structures of every setting of every method on one patient.

    Parameters
    ----------
    images
        By method, its images by setting; all on the grid of the reference.
    reference
        T1, or as the settings' ``reference_kind`` says. Against a noisy one, false structures are those of its noise
        too, the same for every method.
    masks
        As in :func:`nmsynth.evaluation.evaluate`; one whose name begins with ``lesion`` is needed.
    settings
        Of the evaluation: ring, sphere and structures are defined by them.
    case_id
        Pseudonym of the patient, where several are pooled.

    Raises
    ------
    InputError
        Where no mask holds a lesion, or images do not share a grid and a unit.
    """
    resolved = resolve_settings(settings)
    scene: Scene | None = None
    samples: list[CurveSample] = []
    for method, line in images.items():
        for setting, volume in line:
            check_images({REFERENCE: reference, method: volume})
            pair, _ = to_one_unit({REFERENCE: reference, method: volume}, resolved)
            if scene is None:
                scene = prepare_scene(pair[REFERENCE], masks, resolved)
                _check_lesions(scene)
            if pair[method].unit is not scene.unit:
                raise InputError(
                    f"Images of curves must share a unit; found {pair[method].unit.value} of {method} and "
                    f"{scene.unit.value}. Convert them first."
                )
            samples.append(_measure(scene, pair[method].array, (case_id, method, setting)))
    return samples


def _check_lesions(scene: Scene) -> None:
    """Refuse a scene without lesions."""
    if not scene.lesions:
        raise InputError("Curves of recovery need lesions; found none in the masks. Give a mask named 'lesions'.")


def _measure(scene: Scene, array: Image, names: tuple[str, str, str]) -> CurveSample:
    """Measure one image."""
    spacing, reference = scene.spacing_mm, scene.reference
    found = [
        (equivalent_diameter_mm(item.mask, spacing), recovery.recovery(array, reference, item.mask, item.ring))
        for item in scene.lesions
    ]
    weights = scene.sphere_weights
    false, missing, n_slices = _structures(scene, array)
    return CurveSample(
        *names,
        recoveries=tuple((diameter, value) for diameter, value in found if value is not None),
        noise=None if weights is None else noise.coefficient_of_variation(array, weights),
        nrmse=image.nrmse(array, reference, scene.body),
        n_false=false,
        n_missing=missing,
        n_slices=n_slices,
    )


def _structures(scene: Scene, array: Image) -> tuple[int | None, int | None, int]:
    """False and missing structures, and the slices in which they were sought."""
    s = scene.settings
    level = None if scene.sphere_weights is None else quantitative.region_mean(scene.reference, scene.sphere_weights)
    if level is None or level <= 0:
        return None, None, 0
    false, missing = (
        detection.false_structures(
            array,
            scene.reference,
            scene.spacing_mm,
            liver_level=level,
            fwhm_mm=s.structure_smoothing_fwhm_mm,
            fraction=s.structure_fraction,
            min_voxels=s.structure_min_voxels,
            end_slices=s.end_slices,
            sign=sign,
        )
        for sign in (1, -1)
    )
    return false.count, missing.count, false.n_slices


def pool_curves(
    samples: Sequence[CurveSample],
    *,
    lesions: str | None = None,
    reference_kind: str = "T1",
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = SEED,
) -> Curves:
    """Curves over all patients that were measured.

    Parameters
    ----------
    samples
        From :func:`measure_curves`, of one or several patients; several realisations of one patient are pooled.
    lesions
        Class of lesions, such as ``"10-18 mm"``, or ``"all"``; where ``None``, 10-18 mm if any image has three such
        lesions, else all.
    reference_kind
        ``T0``, ``T1`` or ``T2``, as measured against.
    n_bootstrap, seed
        Of the interval over patients.
    """
    classes = {name for name, _, _ in recovery.SIZE_CLASSES_MM} | {ALL_LESIONS}
    if lesions is not None and lesions not in classes:
        raise InputError(f"A class of lesions must be one of {', '.join(sorted(classes))}; found '{lesions}'.")
    chosen = lesions or _class_with_enough(samples)
    groups: dict[str, dict[str, list[CurveSample]]] = {}
    for sample in samples:
        groups.setdefault(sample.method, {}).setdefault(sample.setting, []).append(sample)
    return Curves(
        points={
            method: tuple(_pool(setting, group, chosen, n_bootstrap, seed) for setting, group in line.items())
            for method, line in groups.items()
        },
        lesions=chosen,
        reference_kind=reference_kind,
        n_patients=len({sample.case_id for sample in samples}),
    )


def _class_with_enough(samples: Sequence[CurveSample]) -> str:
    """Preferred class where it has enough lesions over all patients, else all lesions."""
    most = 0
    for method, setting in {(s.method, s.setting) for s in samples}:
        group = [s for s in samples if (s.method, s.setting) == (method, setting)]
        most = max(most, sum(len(_of_class(s, PREFERRED_CLASS)) for s in group))
    return PREFERRED_CLASS if most >= ENOUGH_LESIONS else ALL_LESIONS


def _of_class(sample: CurveSample, lesions: str) -> list[float]:
    """Recoveries of the lesions of a class."""
    return [value for diameter, value in sample.recoveries if lesions in (ALL_LESIONS, recovery.size_class(diameter))]


def _pool(setting: str, group: Sequence[CurveSample], lesions: str, n_bootstrap: int, seed: int) -> CurvePoint:
    """One point from the samples of one setting."""
    pairs = [(value, sample.case_id) for sample in group for value in _of_class(sample, lesions)]
    found = summarise([v for v, _ in pairs], [c for _, c in pairs], n_bootstrap=n_bootstrap, seed=seed)
    lower, upper = None, None
    if found is not None:
        lower, upper = (found.lower, found.upper) if found.n_patients > 1 else (found.q1, found.q3)
    return CurvePoint(
        setting=setting,
        recovery=None if found is None else found.median,
        recovery_lower=lower,
        recovery_upper=upper,
        n_lesions=len(pairs),
        noise=_mean([s.noise for s in group]),
        nrmse=_mean([s.nrmse for s in group]),
        false_structures=_rate([(s.n_false, s.n_slices) for s in group]),
        missing_structures=_rate([(s.n_missing, s.n_slices) for s in group]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is there."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _rate(counts: Sequence[tuple[int | None, int]]) -> float | None:
    """Structures per 100 slices over all images that were searched."""
    searched = [(count, n_slices) for count, n_slices in counts if count is not None]
    total = sum(n_slices for _, n_slices in searched)
    return 100.0 * sum(count for count, _ in searched) / total if total else None


def recovery_at(points: Sequence[CurvePoint], level: float, *, along: str = "noise") -> float | None:
    """Best recovery that a curve has at no more than a level of noise, or of false structures.

    Between its points the curve is taken as straight.

    Parameters
    ----------
    points
        Of one method, such as the Gaussian.
    level
        Noise (COV) or false structures per 100 slices.
    along
        ``"noise"`` or ``"false_structures"``.

    Returns
    -------
        ``None`` where the curve never comes down to that level.
    """
    pairs = [(getattr(p, along), p.recovery) for p in points]
    best: dict[float, float] = {}
    for across, value in pairs:
        if across is not None and value is not None:
            best[across] = max(value, best.get(across, -np.inf))
    if not best or level < min(best):
        return None
    across = np.array(sorted(best))
    return float(np.interp(level, across, np.maximum.accumulate([best[x] for x in across])))


def gains(curves: Curves, *, over: str = GAUSSIAN) -> list[dict[str, Any]]:
    """Recovery of every point above another method's at equal noise, and at equal false structures.

    Returns
    -------
        For each point its method, setting, and ``at_equal_noise`` and ``at_equal_false_structures``: the difference of
        recovery, ``None`` where the other method never has so little.
    """
    found = []
    for method, points in curves.points.items():
        if method == over:
            continue
        for point in points:
            row: dict[str, Any] = {"method": method, "setting": point.setting}
            for along in ("noise", "false_structures"):
                level = getattr(point, along)
                other = None if level is None else recovery_at(curves.points.get(over, ()), level, along=along)
                own = point.recovery
                row[f"at_equal_{along}"] = None if own is None or other is None else own - other
            found.append(row)
    return found
