"""Parallel-hole collimators: resolution, efficiency and septal penetration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nmsynth.core.errors import InputError
from nmsynth.physics.materials import linear_attenuation

HEXAGONAL_PACKING = 0.26
"""Shape factor ``K`` of the efficiency of hexagonal holes in a hexagonal array [Cherry2012]_."""


@dataclass(frozen=True, slots=True)
class Collimator:
    """A collimator of parallel hexagonal holes in lead.

    ``L_e = L - 2 / mu`` is the length of the holes less what photons penetrate of their ends; resolution and efficiency
    follow from it [Cherry2012]_. Penetration of the septa is not in the point spread: :meth:`penetration` tells how
    much is neglected.

    References
    ----------
    .. [Cherry2012] S. R. Cherry, J. A. Sorenson, M. E. Phelps, Physics in Nuclear Medicine, 4th ed., 2012,
       chapter 14, equations 14-2 to 14-8.
    """

    name: str
    hole_diameter_mm: float
    """Between parallel sides."""
    hole_length_mm: float
    septum_mm: float
    """Thickness of lead between two holes."""

    def __post_init__(self) -> None:
        sizes = (self.hole_diameter_mm, self.hole_length_mm, self.septum_mm)
        if not all(math.isfinite(s) and s > 0 for s in sizes):
            raise InputError(f"A collimator's holes and septa must have sizes above 0 mm; found {sizes}.")

    def effective_length_mm(self, energy_kev: float) -> float:
        """``L - 2 / mu`` at a photon energy [mm].

        Raises
        ------
        InputError
            If photons of this energy pass through the whole collimator.
        """
        length = self.hole_length_mm - 20.0 / linear_attenuation("lead", energy_kev)
        if length <= 0:
            raise InputError(
                f"The collimator {self.name} must stop photons of {energy_kev:g} keV; its holes of "
                f"{self.hole_length_mm:g} mm are shorter than twice the mean free path in lead. Use another."
            )
        return length

    def resolution_fwhm_mm(self, distance_mm: float, energy_kev: float) -> float:
        """Geometric resolution ``d (L_e + z) / L_e`` at a distance ``z`` from the face [mm]."""
        if not (math.isfinite(distance_mm) and distance_mm >= 0):
            raise InputError(f"A source lies in front of the collimator, at 0 mm or more; found {distance_mm} mm.")
        length = self.effective_length_mm(energy_kev)
        return self.hole_diameter_mm * (length + distance_mm) / length

    def efficiency(self, energy_kev: float) -> float:
        """Share of the photons emitted that pass, ``K^2 (d / L_e)^2 (d / (d + t))^2``; the same at every distance."""
        d = self.hole_diameter_mm
        open_share = d / (d + self.septum_mm)
        return float((HEXAGONAL_PACKING * d / self.effective_length_mm(energy_kev) * open_share) ** 2)

    def penetration(self, energy_kev: float) -> float:
        """Survival ``exp(-mu w)`` of photons along the shortest way through a septum, ``w = t L / (2 d + t)``."""
        d, t = self.hole_diameter_mm, self.septum_mm
        path_mm = t * self.hole_length_mm / (2 * d + t)
        return math.exp(-linear_attenuation("lead", energy_kev) * path_mm / 10.0)


COLLIMATORS = {
    c.name: c
    for c in (
        Collimator("LEHR", hole_diameter_mm=1.11, hole_length_mm=24.05, septum_mm=0.16),
        Collimator("LEUHR", hole_diameter_mm=1.16, hole_length_mm=35.8, septum_mm=0.13),
        Collimator("MEGP", hole_diameter_mm=2.94, hole_length_mm=40.64, septum_mm=1.14),
        Collimator("HEGP", hole_diameter_mm=4.0, hole_length_mm=59.7, septum_mm=2.0),
    )
}
"""Collimators by name, with the dimensions of one vendor's (Siemens Symbia, as its data sheet states them)."""


def collimator_named(name: str) -> Collimator:
    """The collimator of a name, in any case.

    Raises
    ------
    InputError
        If there is none.
    """
    found = COLLIMATORS.get(name.upper())
    if found is None:
        raise InputError(f"A collimator must be one of {', '.join(COLLIMATORS)}; found {name!r}.")
    return found
