"""How a phantom is imaged by a planar camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nmsynth.core.errors import InputError
from nmsynth.physics.gamma_camera import GammaCamera
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.phantom.tracers import Tracer
from nmsynth.physics.planar import VIEWS, check_views

PLANAR_SCATTER_FRACTION = 0.3
"""Scattered over all counts in a window of 15 % over a trunk; chosen, between 0.25 and 0.4 as trunks have it."""


@dataclass(frozen=True, slots=True)
class PlanarStudy:
    """How a phantom is imaged."""

    tracer: Tracer
    camera: GammaCamera = field(default_factory=lambda: GammaCamera(scatter_fraction=PLANAR_SCATTER_FRACTION))
    views: tuple[str, ...] = VIEWS
    pixel_mm: float = 2.4
    n_columns: int = 256
    n_rows: int | None = 256
    """Rows of the matrix; as many as the length needs when ``None``."""
    field_mm: tuple[float, float] = (387.0, 533.0)
    """What the crystal sees along the body and across it [mm]; pixels outside stay empty."""
    seconds: float = 180.0
    """For which each point is seen [s]."""
    scan_speed_mm_s: float | None = None
    """Of a whole-body sweep, from the head down [mm/s]; ``None`` for a camera that stands still."""
    gaps_mm: tuple[float, float] = (20.0, 50.0)
    """From the body to the anterior and, with the table between, to the posterior face [mm]; chosen."""
    organ: Organ | None = None
    """That the view is taken of, whose outline is kept; none when unset."""
    table_transmission: float = 0.93
    """Share of the photons that pass the table to the posterior camera: 2 mm of aluminium at 140 keV."""

    def __post_init__(self) -> None:
        check_views(self.views)
        if not (self.pixel_mm > 0 and self.n_columns > 0 and min(self.field_mm) > 0):
            raise InputError("A planar study needs pixels, columns and a field above 0.")
        if not (math.isfinite(self.seconds) and self.seconds > 0 and 0 < self.table_transmission <= 1):
            raise InputError("A view must last longer than 0 s, and a table let pass between 0 and all photons.")
        if self.scan_speed_mm_s is not None and not self.scan_speed_mm_s > 0:
            raise InputError(f"A scan speed must lie above 0 mm/s; found {self.scan_speed_mm_s}.")

    @property
    def row_mm(self) -> float:
        """Depth of the phantom's voxels [mm]; nothing but a sum runs along it."""
        return max(self.pixel_mm / 2, 2.4)

    def duration_s(self, length_mm: float) -> float:
        """Of the whole acquisition [s]."""
        return self.seconds + (length_mm / self.scan_speed_mm_s if self.scan_speed_mm_s else 0.0)
