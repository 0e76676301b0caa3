"""The 17 segments of the left ventricle, and defects of perfusion stated by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.grid import FloatArray

TERRITORIES = {"LAD": (1, 2, 7, 8, 13, 14, 17), "RCA": (3, 4, 9, 10, 15), "LCX": (5, 6, 11, 12, 16)}
"""Segments usually supplied by each coronary artery; M. D. Cerqueira et al., Circulation 105:539-542, 2002."""
_WALL_EDGE = 0.2
"""Part of the wall over which a defect that is not transmural ends."""


def segment_middle(segment: int) -> tuple[float, float]:
    """Height and angle [degrees] of the middle of a segment, as ``segment_number`` takes them."""
    if not 1 <= segment <= 17:
        raise InputError(f"A segment of the left ventricle must be one of 1 to 17; found {segment}.")
    if segment == 17:
        return 1.0, 0.0
    if segment > 12:
        return 5 / 6, (90.0 + 90.0 * (segment - 13)) % 360.0
    return (1 / 6 if segment < 7 else 1 / 2), (90.0 + 60.0 * ((segment - 1) % 6)) % 360.0


@dataclass(frozen=True, slots=True)
class PerfusionDefect:
    """A region of the wall that takes up less.

    Attributes
    ----------
    segment
        Segment in whose middle it lies, 1 to 17.
    severity
        Under stress; the uptake there is ``1 - severity`` of the normal one.
    extent_deg
        Full angle of the cone that holds it, seen from the centre of the ventricle with its axes scaled to one length
        [degrees]; a basal or mid segment is 60 degrees wide.
    transmural
        Share of the wall it takes, from the cavity outwards.
    reversible
        Share of the severity that is gone at rest: 1 is ischaemia, 0 a scar.
    edge_deg
        Angle over which it begins [degrees].
    """

    segment: int
    severity: float = 0.6
    extent_deg: float = 70.0
    transmural: float = 1.0
    reversible: float = 0.0
    edge_deg: float = 15.0

    def __post_init__(self) -> None:
        segment_middle(self.segment)
        for name in ("severity", "transmural", "reversible"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"PerfusionDefect.{name} must lie between 0 and 1; found {getattr(self, name)}.")
        if not 0 < self.extent_deg <= 360 or not 0 <= self.edge_deg <= 90:
            raise InputError(
                "PerfusionDefect needs an extent above 0 and at most 360 degrees and an edge of at most 90; found "
                f"{self.extent_deg} and {self.edge_deg}."
            )

    def severity_at(self, *, rest: bool) -> float:
        """Severity under stress or at rest."""
        return self.severity * (1.0 - self.reversible) if rest else self.severity

    def share(self, away_deg: FloatArray, depth: FloatArray) -> FloatArray:
        """How much points belong to the defect, 0 to 1.

        Parameters
        ----------
        away_deg
            Angle from its middle [degrees].
        depth
            0 at the cavity, 1 at the outer surface.
        """
        edge = max(self.edge_deg, 1e-3)
        inside = _smooth((self.extent_deg / 2 + edge / 2 - away_deg) / edge)
        if self.extent_deg >= 360:
            inside = np.ones_like(inside)
        if self.transmural >= 1:
            return inside
        within = _smooth((self.transmural + _WALL_EDGE / 2 - depth) / _WALL_EDGE)
        return np.asarray(inside * within, dtype=np.float32)


def _smooth(t: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def draw_defects(rng: np.random.Generator, count: int | None = None) -> tuple[PerfusionDefect, ...]:
    """Draw defects, each in the territory of another artery.

    All distributions are chosen, not measured: no defect in 40 % of the subjects when ``count`` is not given, else one
    (most often) to three; severity 0.25 to 1, extent 35 to 110 degrees, half of them transmural, a third reversible, a
    third fixed and a third in part.
    """
    n = int(rng.choice(4, p=(0.4, 0.4, 0.15, 0.05))) if count is None else count
    found: list[PerfusionDefect] = []
    arteries: list[str] = []
    for _ in range(n):
        if not arteries:
            arteries = [str(a) for a in rng.permutation(list(TERRITORIES))]
        segment = int(rng.choice(TERRITORIES[arteries.pop()]))
        kind = rng.random()
        found.append(
            PerfusionDefect(
                segment=segment,
                severity=float(rng.uniform(0.25, 1.0)),
                extent_deg=float(rng.uniform(35.0, 110.0)),
                transmural=1.0 if rng.random() < 0.5 else float(rng.uniform(0.4, 1.0)),
                reversible=1.0 if kind < 1 / 3 else 0.0 if kind < 2 / 3 else float(rng.uniform(0.2, 0.8)),
            )
        )
    return tuple(found)


def perfusion(
    defects: Sequence[PerfusionDefect],
    direction: FloatArray,
    depth: FloatArray,
    middles: Sequence[NDArray[np.float64]],
    *,
    rest: bool,
) -> FloatArray:
    """Uptake over the normal one.

    Parameters
    ----------
    direction
        Unit vectors from the centre, ``(3, ...)``.
    depth
        0 at the cavity, 1 at the outer surface, ``(...)``.
    middles
        Unit vector to the middle of each defect, ``(3,)``.

    Returns
    -------
        The product of ``1 - severity * share`` over the defects, ``(...)``.
    """
    factor = np.ones(depth.shape, dtype=np.float32)
    for defect, middle in zip(defects, middles, strict=True):
        severity = defect.severity_at(rest=rest)
        if severity <= 0:
            continue
        cosine = sum(np.float32(m) * d for m, d in zip(middle, direction, strict=True))
        away = np.float32(180 / math.pi) * np.arccos(np.clip(cosine, -1, 1))
        factor *= 1 - np.float32(severity) * defect.share(away, depth)
    return factor
