"""What is measured of the wall of the left ventricle: segments, defects, deficits, and the polar maps of all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.volume import Volume
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.perfusion import (
    NormalLimits,
    PerfusionDeficit,
    best_part,
    perfusion_deficit,
    scaled,
    scaled_segments,
    wall_ratios,
)
from nmsynth.metrics.polar_map import LongAxis, PolarMap, WallRays

Image = npt.NDArray[np.float32]

WALL_NAME = "wall"
"""Mask of the wall of the left ventricle."""
NORMAL_WALL_NAME, DEFECT_NAME = "normal_wall", "defect"
"""Masks of the segments of the wall that are known to be normally perfused, and of those with a defect."""
MARKED = 0.5
"""Share of a segment's samples that a mask must hold for the segment to be of it."""
FALSE_POINTS = 10.0
"""By how much a segment must lie below the reference's, or above it, to be a false defect or a filled one [%]."""

DEFINITIONS = {
    "polar map": (
        "means along rays through the wall, which is the same for all images, as its long axis is; in percent of "
        "the mean of the same image over that half of the wall that is the best perfused in the reference"
    ),
    "segment error": "absolute difference to the reference of the means of the 17 segments, mean and largest",
    "ratio of walls": "error of inferior over anterior, septal over lateral and apical over basal segments",
    "defect": (
        f"segments of the mask '{DEFECT_NAME}': mean difference to the reference, above zero where a defect is "
        "filled; what lacks of the mean of the normal segments, over that of the reference (contrast recovery); "
        f"segments of it that lie {FALSE_POINTS:g} points or more above the reference's (filled). Segments of the "
        f"mask '{NORMAL_WALL_NAME}' that lie as much below are false defects"
    ),
    "total perfusion deficit": (
        "mean over the wall of what lacks to the normal limit, 0 for none and 100 for no perfusion; error against "
        "the reference's, and the same of hearts whose wall is all normal (false deficit)"
    ),
    "summed score": "sum of the scores 0 to 4 of the 17 segments; error against the reference's",
}


@dataclass(frozen=True, slots=True, eq=False)
class HeartWall:
    """The wall of one heart, found once for all its images, and what the reference shows of it."""

    rays: WallRays
    reference: PolarMap
    best: npt.NDArray[np.bool_]
    """The part of the wall that is the best perfused in the reference, to which all maps are scaled."""
    against: str
    normals: NormalLimits | None
    normal: npt.NDArray[np.bool_] | None
    """Segments that are known to be normal, shape ``(17,)``; ``None`` where nothing is said of them."""
    defect: npt.NDArray[np.bool_] | None
    """Segments that are known to have a defect."""
    is_normal: bool
    """Whether the whole wall is known to be normal."""

    @classmethod
    def of(
        cls, reference: Volume, masks: Mapping[str, npt.NDArray[Any]], *, against: str, normals: NormalLimits | None
    ) -> HeartWall | None:
        """The wall that a mask of :data:`WALL_NAME` marks; ``None`` without one.

        Parameters
        ----------
        reference
            Whose grid all images have.
        masks
            On that grid, by name.
        against
            Name of the reference, as printed.
        normals
            Limits for a total perfusion deficit.
        """
        if WALL_NAME not in masks:
            return None
        wall = np.asarray(masks[WALL_NAME] > 0)
        rays = WallRays.through(wall, reference.affine, LongAxis.of(wall, reference.affine))

        def marked(name: str) -> npt.NDArray[np.bool_] | None:
            """Segments of a mask."""
            return None if name not in masks else rays.map_of(masks[name] > 0).segment_means() > MARKED

        own, normal = rays.map_of(reference.array), marked(NORMAL_WALL_NAME)
        is_normal = normal is not None and bool((np.asarray(masks[NORMAL_WALL_NAME] > 0) | ~wall).all())
        return cls(rays, own, best_part(own), against, normals, normal, marked(DEFECT_NAME), is_normal)

    def measure(self, image: Image) -> list[Measurement]:
        """Errors of segments, of ratios of walls, of what is known of defects, and of the deficit with limits."""
        found = self.rays.map_of(image)
        shown, expected = (scaled_segments(m, self.best) for m in (found, self.reference))
        errors, against = 100.0 * np.abs(shown - expected), self.against
        rows = [
            Measurement("segment error, mean", float(np.nanmean(errors)), "%", WALL_NAME, against, n=errors.size),
            Measurement("segment error, largest", float(np.nanmax(errors)), "%", WALL_NAME, against, n=errors.size),
        ]
        known_ratios = wall_ratios(expected)
        for name, ratio in wall_ratios(shown).items():
            known = known_ratios[name]
            error = None if ratio is None or known is None else ratio - known
            rows.append(Measurement(f"{name} error", error, "1", WALL_NAME, against))
        rows += self._defects(shown, expected)
        own, deficit = self._deficit(found), self._deficit(self.reference)
        if own is None or deficit is None:
            return rows
        total = own.total_percent
        error = total - deficit.total_percent
        if self.is_normal:
            rows.append(Measurement("false deficit", error, "%", WALL_NAME, against))
        return [
            *rows,
            Measurement("total perfusion deficit", total, "%", WALL_NAME),
            Measurement("total perfusion deficit error", error, "%", WALL_NAME, against),
            Measurement("summed score", float(own.summed_score), "1", WALL_NAME),
            Measurement("summed score error", float(own.summed_score - deficit.summed_score), "1", WALL_NAME, against),
        ]

    def maps_of(self, images: Mapping[str, Image], reference_name: str) -> dict[str, Any]:
        """Polar maps of images and of the reference, as JSON values.

        Returns
        -------
            ``height`` and ``angle_deg`` of the samples (:class:`~nmsynth.metrics.polar_map.PolarMap`), and ``maps`` by
            name: ``values``, axes (ring, angle), and ``segments``, the 17 means, both in percent of the best perfused
            part; with normal limits ``total_perfusion_deficit`` [%] and ``summed_score``. What no ray meets is null.
        """
        every = {name: self.rays.map_of(image) for name, image in images.items()} | {reference_name: self.reference}
        return {
            "height": [_rounded(ring, 4) for ring in self.reference.height],
            "angle_deg": _rounded(self.reference.angle_deg, 2),
            "maps": {name: self._map_json(found) for name, found in every.items()},
        }

    def _map_json(self, found: PolarMap) -> dict[str, Any]:
        """One map."""
        deficit = self._deficit(found)
        told = {} if deficit is None else {
            "total_perfusion_deficit": round(deficit.total_percent, 2), "summed_score": deficit.summed_score,
        }  # fmt: skip
        return {
            "values": [_rounded(ring, 1) for ring in 100.0 * scaled(found, self.best)],
            "segments": _rounded(100.0 * scaled_segments(found, self.best), 1),
            **told,
        }

    def _deficit(self, found: PolarMap) -> PerfusionDeficit | None:
        """What a map lacks to the normal limits; ``None`` without any."""
        return None if self.normals is None else perfusion_deficit(found, self.normals, self.best)

    def _defects(self, shown: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> list[Measurement]:
        """What is left of a defect, and defects where there is none, of the scaled means of the 17 segments."""
        normal, defect, against = self.normal, self.defect, self.against
        difference, rows = 100.0 * (shown - expected), []
        if normal is not None and normal.any():
            n_false = int((difference[normal] <= -FALSE_POINTS).sum())
            n_normal = int(normal.sum())
            rows.append(Measurement("false defects", float(n_false), "1", NORMAL_WALL_NAME, against, n=n_normal))
        if defect is None or not defect.any():
            return rows
        n, n_filled = int(defect.sum()), int((difference[defect] >= FALSE_POINTS).sum())
        rows += [
            Measurement("defect bias", float(np.nanmean(difference[defect])), "%", DEFECT_NAME, against, n=n),
            Measurement("filled defects", float(n_filled), "1", DEFECT_NAME, against, n=n),
        ]
        if normal is None or not normal.any():
            return rows
        own, known = (1.0 - float(np.nanmean(v[defect])) / float(np.nanmean(v[normal])) for v in (shown, expected))
        rows.append(Measurement("defect contrast", own, "1", DEFECT_NAME, n=n))
        recovery = own / known if known > 0 else None
        return [*rows, Measurement("defect contrast recovery", recovery, "1", DEFECT_NAME, against, n=n)]


def _rounded(values: npt.NDArray[np.float64], digits: int) -> list[float | None]:
    """Numbers for JSON; ``None`` for what is not finite."""
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]
