"""Compton scattering of photons on free electrons, by the formula of Klein and Nishina."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError

ELECTRON_KEV = 510.999
"""Rest energy of the electron [keV]."""
_RADIUS_CM = 2.8179403e-13
"""Classical radius of the electron [cm]."""
WATER_ELECTRONS_PER_CM3 = 3.343e23
"""Electrons in a cubic centimetre of water: 10 in each molecule of 18.015 g/mol."""

FloatArray = npt.NDArray[np.float64]


def scattered_energy_kev(energy_kev: float, cosine: npt.ArrayLike) -> FloatArray:
    """Energy of a photon after scattering through an angle, ``E / (1 + E / m (1 - cos))`` [keV]."""
    return np.asarray(energy_kev / (1 + energy_kev / ELECTRON_KEV * (1 - np.asarray(cosine, dtype=np.float64))))


def differential_cross_section(energy_kev: float, cosine: npt.ArrayLike) -> FloatArray:
    """Cross section of one electron for each solid angle [cm^2/sr], unpolarised.

    ``r^2 / 2 k^2 (k + 1 / k - sin^2)`` with ``k`` the energy after over that before [Klein1929]_.

    References
    ----------
    .. [Klein1929] O. Klein, Y. Nishina, Z Phys 52:853-868, 1929.
    """
    if not energy_kev > 0:
        raise InputError(f"A photon's energy must be above 0 keV; found {energy_kev}.")
    mu = np.asarray(cosine, dtype=np.float64)
    k = scattered_energy_kev(energy_kev, mu) / energy_kev
    return np.asarray(_RADIUS_CM**2 / 2 * k**2 * (k + 1 / k - (1 - mu**2)))


def total_cross_section(energy_kev: float) -> float:
    """Cross section of one electron for all angles [cm^2], by Gauss-Legendre quadrature.

    Examples
    --------
    >>> round(total_cross_section(1e-6) * 1e24, 3)  # Thomson's, in barn
    0.665
    """
    nodes, weights = np.polynomial.legendre.leggauss(48)
    return float(2 * math.pi * (weights * differential_cross_section(energy_kev, nodes)).sum())


def water_compton_attenuation(energy_kev: float) -> float:
    """Attenuation of water by Compton scattering alone [1/cm]."""
    return WATER_ELECTRONS_PER_CM3 * total_cross_section(energy_kev)
