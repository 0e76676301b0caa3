"""Bed positions: a long body scanned in overlapping parts, each later than the last."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from nmsynth.core.errors import InputError


@dataclass(frozen=True, slots=True)
class BedPlan:
    """How a whole body is cut into bed positions.

    The lines that cross a plane of a scanner without septa join every pair of detector rings about it, so the counts
    of a plane rise from the ends to the middle of the axial field as a triangle, cut off where the largest ring
    difference is reached. Beds overlap so that the weak ends add up [Daube-Witherspoon1987]_.

    References
    ----------
    .. [Daube-Witherspoon1987] M. E. Daube-Witherspoon, G. Muehllehner, Treatment of axial data in three-dimensional
       PET, J Nucl Med 28:1717-1724, 1987.
    """

    n_planes: int = 48
    """Planes of one bed position."""
    overlap: int = 16
    """Planes that two neighbours share."""
    flat_from: int | None = None
    """Planes from the end after which the sensitivity no longer rises: 1 for a flat profile (septa), half of the planes
    or ``None`` for a whole triangle."""
    pause_s: float = 3.0
    """From the end of a bed position to the start of the next [s]."""
    head_first: bool = False
    """Whether the last planes are scanned first; else the first ones, at the feet."""

    def __post_init__(self) -> None:
        if self.n_planes < 2 or not 0 <= self.overlap <= self.n_planes // 2:
            raise InputError(
                "A bed position needs at least two planes and may share at most half of them; found "
                f"{self.n_planes} planes with an overlap of {self.overlap}."
            )
        rises = self.flat_from is None or self.flat_from >= 1
        if not (math.isfinite(self.pause_s) and self.pause_s >= 0 and rises):
            raise InputError(
                "The pause between beds must be at least 0 s and a profile flat from plane 1 or later; found "
                f"{self.pause_s} s and {self.flat_from}."
            )

    @property
    def profile(self) -> tuple[float, ...]:
        """Sensitivity of each plane over the mean of all, ``min(p + 1, n - p, flat_from)`` over its mean."""
        n = self.n_planes
        most = n if self.flat_from is None else self.flat_from
        lines = [min(p + 1, n - p, most) for p in range(n)]
        return tuple(value * n / sum(lines) for value in lines)

    def n_beds(self, n_planes: int) -> int:
        """Bed positions that cover at least so many planes."""
        return max(1, math.ceil((n_planes - self.overlap) / (self.n_planes - self.overlap)))

    def total_planes(self, n_beds: int) -> int:
        """Planes that so many bed positions cover."""
        return n_beds * (self.n_planes - self.overlap) + self.overlap

    def positions(self, n_beds: int, *, duration_s: float, half_life_s: float) -> tuple[BedPosition, ...]:
        """The bed positions in order of planes.

        Parameters
        ----------
        n_beds
            How many.
        duration_s, half_life_s
            Time that a bed is measured, and half-life of the radionuclide [s].
        """
        step = self.n_planes - self.overlap
        turns = range(n_beds - 1, -1, -1) if self.head_first else range(n_beds)
        delays = [turn * (duration_s + self.pause_s) for turn in turns]
        return tuple(
            BedPosition(first_plane=k * step, delay_s=delay, decay=math.exp(-math.log(2) * delay / half_life_s))
            for k, delay in enumerate(delays)
        )

    def weights(self, positions: tuple[BedPosition, ...]) -> torch.Tensor:
        """Weight of each bed in each plane of the whole, shape ``(bed, plane)``, zero outside the bed; sum over beds 1.

        Proportional to the expected counts, profile times decay. As the variance of a decay-corrected image is
        inversely proportional to them, no other weights leave less noise.
        """
        counts = self._counts(positions)
        return counts / counts.sum(0, keepdim=True)

    def relative_counts(self, positions: tuple[BedPosition, ...]) -> torch.Tensor:
        """Counts of each plane of the whole over those of a flat single bed at the start, shape ``(plane,)``."""
        return self._counts(positions).sum(0)

    def _counts(self, positions: tuple[BedPosition, ...]) -> torch.Tensor:
        """Profile times decay of every bed, shape ``(bed, plane)``, double precision."""
        profile = torch.tensor(self.profile, dtype=torch.float64)
        out = torch.zeros(len(positions), self.total_planes(len(positions)), dtype=torch.float64)
        for row, bed in zip(out, positions, strict=True):
            row[bed.first_plane : bed.first_plane + self.n_planes] = profile * bed.decay
        return out


@dataclass(frozen=True, slots=True)
class BedPosition:
    """One bed position of a plan."""

    first_plane: int
    """Its first plane in the whole."""
    delay_s: float
    """From the start of the series to that of the bed [s]."""
    decay: float
    """Activity at the start of the bed over that at the start of the series."""


def combine_beds(images: list[torch.Tensor], plan: BedPlan, positions: tuple[BedPosition, ...]) -> torch.Tensor:
    """Join the images of overlapping beds, weighted by their expected counts.

    Parameters
    ----------
    images
        One for each bed in order of planes, decay-corrected to the start of the series, shape ``(plane, ...)``.

    Returns
    -------
        Shape ``(plane, ...)`` of the whole.

    Raises
    ------
    InputError
        If there is not one image of the plan's planes for each position.
    """
    found = [int(image.shape[0]) for image in images]
    if found != [plan.n_planes] * len(positions):
        raise InputError(
            f"Each of {len(positions)} bed positions needs an image of {plan.n_planes} planes; found {found}."
        )
    weights = plan.weights(positions).to(images[0])
    whole = images[0].new_zeros(weights.shape[1], *images[0].shape[1:])
    for image, bed, weight in zip(images, positions, weights, strict=True):
        planes = slice(bed.first_plane, bed.first_plane + plan.n_planes)
        whole[planes] += image * weight[planes].reshape(-1, *(1,) * (image.ndim - 1))
    return whole
