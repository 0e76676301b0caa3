"""What a gamma camera counts: photons of a radionuclide within an energy window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.physics.psf import FWHM_PER_SIGMA

EMISSIONS: dict[str, tuple[tuple[float, float], ...]] = {
    "Tc-99m": ((140.5, 0.890),),
    "I-123": ((159.0, 0.833), (529.0, 0.014)),
    "In-111": ((171.3, 0.907), (245.4, 0.941)),
    "Lu-177": ((112.9, 0.0623), (208.4, 0.1038)),
}
"""Gamma rays that are imaged or that disturb: energy [keV] and photons a decay (MIRD and NNDC, rounded)."""

_CRYSTAL_KEV = (112.9, 140.5, 159.0, 208.4)
_CRYSTAL_SHARE = (0.93, 0.84, 0.77, 0.5)
"""Photons that 9.5 mm of NaI stop whole: chosen, near 0.84 at 140 keV as is common, and linear between.

At 159 keV (I-123) from the attenuation of NaI there, 0.54 cm2/g times 3.67 g/cm3, with the share of the photopeak of
140 keV. Below the first energy its share is taken; above the last one nothing is known here.
"""


def crystal_efficiency(energy_kev: float) -> float:
    """Share of the photons of an energy that 9.5 mm of NaI stop whole.

    Raises
    ------
    InputError
        If the energy is not above 0 keV, or above those of the table, which end at 208.4 keV (Lu-177).

    Examples
    --------
    >>> crystal_efficiency(140.5)
    0.84
    """
    if not energy_kev > 0:
        raise InputError(f"A photon's energy must be above 0 keV; found {energy_kev}.")
    if energy_kev > _CRYSTAL_KEV[-1]:
        raise InputError(
            f"What a crystal stops is known up to {_CRYSTAL_KEV[-1]:g} keV; found {energy_kev:g} keV. Centre the "
            "window on a photon of less energy."
        )
    return float(np.interp(energy_kev, _CRYSTAL_KEV, _CRYSTAL_SHARE))


@dataclass(frozen=True, slots=True)
class EnergyWindow:
    """A window around a photopeak."""

    centre_kev: float
    width_percent: float = 20.0
    """Whole width over the centre [%]."""

    def __post_init__(self) -> None:
        if not (self.centre_kev > 0 and 0 < self.width_percent < 200):
            raise InputError(
                f"An energy window needs a centre above 0 keV and a width below 200 %; found {self.centre_kev} keV and "
                f"{self.width_percent} %."
            )

    @property
    def bounds_kev(self) -> tuple[float, float]:
        """Lower and upper end [keV]."""
        half = self.centre_kev * self.width_percent / 200.0
        return self.centre_kev - half, self.centre_kev + half

    def share(self, energy_kev: float, *, resolution_percent: float = 9.5) -> float:
        """Share of the photopeak at an energy that falls into the window.

        The peak is a Gaussian whose width grows with the root of the energy.

        Parameters
        ----------
        resolution_percent
            Full width at half maximum over the energy, at 140.5 keV [%].
        """
        if not (energy_kev > 0 and resolution_percent > 0):
            raise InputError(f"Energy and resolution must be above 0; found {energy_kev} and {resolution_percent}.")
        sigma = resolution_percent / 100.0 * math.sqrt(140.5 * energy_kev) / FWHM_PER_SIGMA
        low, high = ((bound - energy_kev) / (sigma * math.sqrt(2)) for bound in self.bounds_kev)
        return (math.erf(high) - math.erf(low)) / 2


def side_windows(window: EnergyWindow, percent: float) -> tuple[EnergyWindow, EnergyWindow]:
    """The windows that adjoin one below and above, of a width over its centre [%].

    Examples
    --------
    >>> [round(b, 2) for b in side_windows(EnergyWindow(140.0, 20.0), 5.0)[0].bounds_kev]
    [119.0, 126.0]
    """
    low, high = window.bounds_kev
    width = window.centre_kev * percent / 100.0
    if not 0 < width < low:
        raise InputError(f"A side window must have a width above 0 % and end above 0 keV; found {percent} %.")
    lower, upper = low - width / 2, high + width / 2
    return EnergyWindow(lower, 100.0 * width / lower), EnergyWindow(upper, 100.0 * width / upper)


def photons_per_decay(radionuclide: str, window: EnergyWindow, *, resolution_percent: float = 9.5) -> float:
    """Photons of a radionuclide that would be counted in a window, per decay, if all reached the crystal and stopped.

    Raises
    ------
    InputError
        If the radionuclide has no tabulated gamma ray.
    """
    if radionuclide not in EMISSIONS:
        raise InputError(
            f"The radionuclide of a gamma camera must be one of {', '.join(EMISSIONS)}; found {radionuclide!r}."
        )
    return sum(
        abundance * window.share(energy, resolution_percent=resolution_percent)
        for energy, abundance in EMISSIONS[radionuclide]
    )
