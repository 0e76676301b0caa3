"""Perfusion deficits from polar maps: normal limits, total perfusion deficit, summed scores.

Maps are compared with those of people without defects, imaged in the same way: of the same sex, with the same
attenuation correction, at full counts. Uptake has no unit of its own here: each map is first scaled to the mean of the
best perfused part of the wall. Where maps of one patient are compared that part is found once, in the reference: the
best part of a noisy map is that where noise added most, so that a scale of its own lowers all of a noisy map and
favours what is smooth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.metrics.polar_map import PolarMap

FloatArray = npt.NDArray[np.float64]

BEST_SHARE = 0.5
"""Share of the wall, the best perfused, whose mean is 100 %; that of a fifth varies up to twice as much with noise."""
LIMIT_DEVIATIONS = 3.0
"""Mean absolute deviations below the normal mean, where perfusion begins to be abnormal [Slomka2005]_."""
ABSENT = 0.7
"""Loss of the uptake at the normal limit that counts as no perfusion, score 4 [Slomka2005]_."""
LEAST_DEVIATION = 0.01
"""Smallest mean absolute deviation that is believed, share of the best perfused part."""
LEAST_NORMALS = 10
"""Subjects below which there are no normal limits."""
LEVELS = (0.5, 1.5, 2.5, 3.5)
"""Continuous scores between the five classes of a segment."""
WALLS = {
    "anterior": (1, 7, 13), "septal": (2, 3, 8, 9, 14), "inferior": (4, 10, 15), "lateral": (5, 6, 11, 12, 16),
    "apical": (13, 14, 15, 16, 17), "basal": (1, 2, 3, 4, 5, 6),
}  # fmt: skip
"""Segments of each wall, and of the apical and the basal third."""
WALL_RATIOS = {
    "inferior/anterior": (WALLS["inferior"], WALLS["anterior"]),
    "septal/lateral": (WALLS["septal"], WALLS["lateral"]),
    "apex/base": (WALLS["apical"], WALLS["basal"]),
}
"""Ratios that attenuation changes: the diaphragm takes from the inferior wall, breasts from the anterior one."""


@dataclass(frozen=True, slots=True, eq=False)
class NormalLimits:
    """Mean and mean absolute deviation of normal polar maps [Slomka2005]_.

    References
    ----------
    .. [Slomka2005] P. J. Slomka et al., Automated quantification of myocardial perfusion SPECT using simplified normal
       limits, J Nucl Cardiol 12:66-77, 2005.
    """

    mean: FloatArray
    """Shape ``(ring, angle)``, of the best perfused part; NaN where too few subjects have a wall."""
    deviation: FloatArray
    """Mean absolute deviation, shape ``(ring, angle)``."""
    n_subjects: int

    @classmethod
    def of(cls, maps: Sequence[PolarMap], best: Sequence[npt.NDArray[np.bool_]] | None = None) -> NormalLimits:
        """Limits of subjects without defects.

        Parameters
        ----------
        maps
            One of each subject, all sampled alike.
        best
            Part of the wall that each is scaled to, shape ``(ring, angle)``, such as :func:`best_part` of an image
            without noise; that of the map itself when unset.

        Raises
        ------
        InputError
            For fewer than ten.
        """
        if len(maps) < LEAST_NORMALS:
            raise InputError(
                f"Normal limits need maps of at least {LEAST_NORMALS} subjects without defects; found {len(maps)}."
            )
        parts = [best_part(m) for m in maps] if best is None else best
        stack = np.stack([scaled(m, part) for m, part in zip(maps, parts, strict=True)])
        enough = np.isfinite(stack).sum(axis=0) >= LEAST_NORMALS
        filled = np.where(enough, stack, 0.0)
        mean = np.where(enough, np.nanmean(filled, axis=0), np.nan)
        deviation = np.nanmean(np.abs(filled - np.where(enough, mean, 0.0)), axis=0)
        return cls(mean, np.maximum(deviation, LEAST_DEVIATION), len(maps))

    def to_json(self) -> dict[str, Any]:
        """As JSON values; ``null`` where nothing is known."""
        maps = {"mean": self.mean, "deviation": self.deviation}
        rows = {
            name: [[round(float(v), 5) if np.isfinite(v) else None for v in ring] for ring in values]
            for name, values in maps.items()
        }
        return {"schema_version": 1, "n_subjects": self.n_subjects, **rows}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> NormalLimits:
        """Of :meth:`to_json`.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            mean, deviation = (np.array(document[name], dtype=np.float64) for name in ("mean", "deviation"))
            n = int(document["n_subjects"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "Normal limits are the JSON that nmsynth writes for them; this is another file."
            ) from error
        if mean.ndim != 2 or mean.shape != deviation.shape or n < LEAST_NORMALS:
            raise InputError(
                f"Normal limits hold two maps of one size, of at least {LEAST_NORMALS} subjects; found {mean.shape} "
                f"and {deviation.shape} of {n}."
            )
        return cls(mean, deviation, n)

    @property
    def lower(self) -> FloatArray:
        """Uptake below which perfusion is abnormal, shape ``(ring, angle)``."""
        return np.asarray(np.maximum(self.mean - LIMIT_DEVIATIONS * self.deviation, 0.0))


@dataclass(frozen=True, slots=True)
class PerfusionDeficit:
    """What a map lacks."""

    total_percent: float
    """Total perfusion deficit: the mean score over the wall, of its largest, 0 to 100 [%]."""
    extent_percent: float
    """Share of the wall below the limit [%]."""
    segment_scores: tuple[int, ...]
    """0 normal to 4 absent, of segments 1 to 17."""

    @property
    def summed_score(self) -> int:
        """Sum over segments, 0 to 68: of a stress or a rest map; the difference score is that of both."""
        return sum(self.segment_scores)


def best_part(polar_map: PolarMap) -> npt.NDArray[np.bool_]:
    """The best perfused :data:`BEST_SHARE` of the wall, by area, shape ``(ring, angle)``."""
    known = np.isfinite(polar_map.values) & (polar_map.area > 0)
    values, area = polar_map.values[known], polar_map.area[known]
    order = np.argsort(values)[::-1]
    share = np.cumsum(area[order]) / max(float(area.sum()), 1e-30)
    inside = np.zeros(values.size, dtype=bool)
    inside[order[: int(np.searchsorted(share, BEST_SHARE)) + 1]] = True
    found = np.zeros(known.shape, dtype=bool)
    found[known] = inside
    return found


def scaled(polar_map: PolarMap, best: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Values over the mean of the best perfused part of the wall, shape ``(ring, angle)``.

    Parameters
    ----------
    polar_map
        Of any unit.
    best
        That part, shape ``(ring, angle)``; :func:`best_part` of the map itself when unset.

    Raises
    ------
    InputError
        If nothing is taken up.
    """
    part = best_part(polar_map) if best is None else best & np.isfinite(polar_map.values)
    weight = np.where(part, polar_map.area, 0.0)
    total = float(weight.sum())
    level = float((weight * np.where(part, polar_map.values, 0.0)).sum()) / total if total > 0 else 0.0
    if not level > 0:
        raise InputError(f"A polar map must show uptake; its best perfused part has {level:g}. Check wall and image.")
    return np.asarray(polar_map.values / level)


def scaled_segments(polar_map: PolarMap, best: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Means of the 17 segments over that of the best perfused part, shape ``(17,)``; NaN without a sample.

    ``best`` as in :func:`scaled`.
    """
    return replace(polar_map, values=scaled(polar_map, best)).segment_means()


def wall_ratios(segments: npt.ArrayLike) -> dict[str, float | None]:
    """Ratios of walls by the names of :data:`WALL_RATIOS`; ``None`` where one is not known or nothing is below it.

    Parameters
    ----------
    segments
        Means of the 17 segments, any unit, shape ``(17,)``; each that is known counts alike.

    Examples
    --------
    >>> wall_ratios([1.0] * 3 + [0.8] + [1.0] * 13)["inferior/anterior"]
    0.9333333333333332
    """
    values = np.asarray(segments, dtype=np.float64)

    def mean(numbers: tuple[int, ...]) -> float:
        """Of those of some segments that are known."""
        own = values[np.asarray(numbers) - 1]
        known = own[np.isfinite(own)]
        return float(known.mean()) if known.size else np.nan

    pairs = {name: (mean(upper), mean(lower)) for name, (upper, lower) in WALL_RATIOS.items()}
    return {name: upper / lower if np.isfinite(upper) and lower > 0 else None for name, (upper, lower) in pairs.items()}


def perfusion_deficit(
    polar_map: PolarMap, limits: NormalLimits, best: npt.NDArray[np.bool_] | None = None
) -> PerfusionDeficit:
    """Total perfusion deficit and scores of a map against normal limits.

    The score of a sample is 0 at the lower limit and above, and rises in proportion to what is missing of the limit to
    4 where 70 % of it are missing. The total deficit is the mean score over the wall, each sample by its area, over 4.
    The score of a segment is the mean of its samples, rounded. After [Slomka2005]_ as remembered: the mean absolute
    deviations, the threshold of three, the range of scores and the 70 %; samples there have no areas.

    Parameters
    ----------
    polar_map
        Of the patient.
    limits
        Of subjects of the same sex, imaged in the same way.
    best
        Part of the wall that the map is scaled to, as in :func:`scaled`.
    """
    lower, values = limits.lower, scaled(polar_map, best)
    if lower.shape != values.shape:
        raise InputError(f"Maps must be sampled as the limits are, {lower.shape}; found {values.shape}.")
    known = np.isfinite(values) & np.isfinite(lower) & (lower > 0) & (polar_map.area > 0)
    missing = np.where(known, (lower - values) / np.where(known, lower, 1.0), 0.0)
    score = 4.0 * np.clip(missing / ABSENT, 0.0, 1.0)
    area = np.where(known, polar_map.area, 0.0)
    total = float(area.sum())
    mean = np.nan_to_num(replace(polar_map, values=np.where(known, score, np.nan)).segment_means())
    return PerfusionDeficit(
        total_percent=100.0 * float((area * score).sum()) / (4.0 * total),
        extent_percent=100.0 * float(area[score > 0].sum()) / total,
        segment_scores=tuple(int(s) for s in np.digitize(mean, LEVELS)),
    )
