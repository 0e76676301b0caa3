"""Photon attenuation of tissues and lead, and attenuation maps from CT numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

PHOTON_KEV = {"Tc-99m": 140.5, "I-123": 159.0, "Lu-177": 208.4, "F-18": 511.0, "Ga-68": 511.0}
"""Energy of the photon that is imaged, by radionuclide [keV]; Lu-177 has a second one of 112.9 keV."""

_ENERGY_KEV = (80.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 600.0)
_MASS_ATTENUATION = {
    "water": (0.1837, 0.1707, 0.1505, 0.1370, 0.1186, 0.1061, 0.09687, 0.08956),
    "soft tissue": (0.1823, 0.1693, 0.1492, 0.1358, 0.1176, 0.1052, 0.09598, 0.08874),
    "lung": (0.1822, 0.1692, 0.1491, 0.1357, 0.1175, 0.1051, 0.09593, 0.08870),
    "cortical bone": (0.2229, 0.1855, 0.1480, 0.1309, 0.1113, 0.09908, 0.09022, 0.08332),
    "adipose": (0.1805, 0.1688, 0.1500, 0.1368, 0.1187, 0.1062, 0.09696, 0.08965),
}
"""Total attenuation with coherent scattering [cm2/g], ICRU-44 tissues, NIST table 4 [Hubbell2004]_."""
_DENSITY = {"water": 1.0, "soft tissue": 1.06, "lung": 0.26, "cortical bone": 1.92, "adipose": 0.95}
"""[g/cm3]; lung inflated, as it is in a scan (ICRU-44 gives 1.05 for the tissue without air)."""
_LEAD_KEV = (88.005, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 600.0)
_LEAD = (7.683, 5.549, 2.014, 0.9985, 0.4031, 0.2323, 0.1614, 0.1248)
"""Above the K edge [cm2/g], NIST table 3."""
_LEAD_DENSITY = 11.35
MATERIALS = (*_MASS_ATTENUATION, "lead")


@lru_cache(maxsize=256)
def linear_attenuation(material: str, energy_kev: float) -> float:
    """Linear attenuation coefficient of a narrow beam [1/cm].

    The tables are interpolated linearly in the logarithms of energy and coefficient.

    Parameters
    ----------
    material
        One of :data:`MATERIALS`.
    energy_kev
        From 80 (lead: 88, its K edge) to 600 [keV].

    Raises
    ------
    InputError
        If the material is unknown or the energy is outside the table.

    References
    ----------
    .. [Hubbell2004] J. H. Hubbell, S. M. Seltzer, Tables of X-ray mass attenuation coefficients, NIST, 2004.

    Examples
    --------
    >>> round(linear_attenuation("water", 140.5), 3)
    0.154
    """
    if material not in MATERIALS:
        raise InputError(f"A material must be one of {', '.join(MATERIALS)}; found {material!r}.")
    lead = material == "lead"
    energies, values = (_LEAD_KEV, _LEAD) if lead else (_ENERGY_KEV, _MASS_ATTENUATION[material])
    if not energies[0] <= energy_kev <= energies[-1]:
        raise InputError(
            f"Attenuation of {material} is tabulated from {energies[0]:g} to {energies[-1]:g} keV; "
            f"found {energy_kev:g} keV."
        )
    density = _LEAD_DENSITY if lead else _DENSITY[material]
    return float(np.exp(np.interp(np.log(energy_kev), np.log(energies), np.log(values)))) * density


CT_KVP = (80, 100, 110, 120, 130, 140)
_BREAK_HU = (50.0, 52.0, 43.0, 47.0, 37.0, 30.0)
_SLOPE = (3.64e-5, 4.43e-5, 4.92e-5, 5.10e-5, 5.51e-5, 5.64e-5)
_OFFSET = (6.26e-2, 5.44e-2, 4.88e-2, 4.71e-2, 4.24e-2, 4.08e-2)
_SOFT_SLOPE = 9.6e-5
"""Piecewise-linear conversion to 511 keV at each tube voltage, in 1/cm for HU + 1000 [Carney2006]_."""


def mu_from_hu(hu: npt.ArrayLike, *, energy_kev: float, kvp: int = 120) -> npt.NDArray[np.float32]:
    """Attenuation map at a photon energy from CT numbers.

    Below a break point near soft tissue a voxel is air and water; above it, water and cortical bone, whose share
    follows from the conversion to 511 keV at the tube voltage [Carney2006]_. The same share, with the coefficients of
    water and bone at another energy, gives the map there. Narrow-beam values; what absorbs otherwise than water and
    bone (metal, iodine) is wrong.

    Parameters
    ----------
    hu
        CT numbers [HU], any shape; below -1000 counts as air.
    energy_kev
        Energy of the photon [keV].
    kvp
        Tube voltage of the CT, one of :data:`CT_KVP`.

    Returns
    -------
        [1/cm], same shape.

    Raises
    ------
    InputError
        If a CT number is not finite, or voltage or energy are outside the tables.

    References
    ----------
    .. [Carney2006] J. P. J. Carney et al., Method for transforming CT images for attenuation correction in PET/CT
       imaging, Med Phys 33:976-983, 2006.
    """
    index = _voltage_index(kvp)
    number = np.asarray(hu, dtype=np.float32)
    if not np.isfinite(number).all():
        raise InputError("CT numbers must be finite; found NaN or infinity. Mask them, or repair the CT.")
    shifted = np.maximum(number, -1000.0) + 1000.0
    at_511 = np.where(
        number <= _BREAK_HU[index], _SOFT_SLOPE * shifted, _SLOPE[index] * shifted + _OFFSET[index]
    ).astype(np.float32)
    return mu_at_energy(at_511, energy_kev, soft_limit=_SOFT_SLOPE * (_BREAK_HU[index] + 1000.0))


def hu_from_mu(mu_511: npt.ArrayLike, *, kvp: int = 120) -> npt.NDArray[np.float32]:
    """CT numbers of an attenuation map at 511 keV, the inverse of :func:`mu_from_hu` there.

    ``HU = mu / a - 1000`` up to the break point, ``HU = (mu - b) / a' - 1000`` above it, with the slopes and the offset
    of the tube voltage [Carney2006]_. Metal, iodine and carbon fibre, which are neither water nor bone, get the CT
    number of the mixture of water and bone that attenuates as they do.

    Parameters
    ----------
    mu_511
        Narrow-beam attenuation at 511 keV [1/cm], any shape, not negative.
    kvp
        Tube voltage of the CT, one of :data:`CT_KVP`.

    Returns
    -------
        [HU], same shape.

    Raises
    ------
    InputError
        If a value is negative or not finite, or the voltage is not tabulated.

    References
    ----------
    .. [Carney2006] J. P. J. Carney et al., Med Phys 33:976-983, 2006.

    Examples
    --------
    >>> hu_from_mu([0.0, 0.096]).round().tolist()
    [-1000.0, 0.0]
    """
    mu = np.asarray(mu_511, dtype=np.float32)
    if not np.isfinite(mu).all() or (mu < 0).any():
        raise InputError("An attenuation map must be finite and not negative; found NaN, infinity or less.")
    index = _voltage_index(kvp)
    limit = _SOFT_SLOPE * (_BREAK_HU[index] + 1000.0)
    hard = (mu - _OFFSET[index]) / _SLOPE[index]
    return np.asarray(np.where(mu <= limit, mu / _SOFT_SLOPE, hard) - 1000.0, dtype=np.float32)


def _voltage_index(kvp: int) -> int:
    """Where a tube voltage stands in the table."""
    if kvp not in CT_KVP:
        raise InputError(f"The tube voltage of a CT must be one of {CT_KVP} kVp; found {kvp}.")
    return CT_KVP.index(kvp)


def mu_at_energy(mu_511: npt.ArrayLike, energy_kev: float, *, soft_limit: float = 0.101) -> npt.NDArray[np.float32]:
    """Attenuation map at another photon energy from one at 511 keV.

    Up to a limit near soft tissue a voxel is air and water, above it water and cortical bone; each part takes its own
    coefficient at the new energy.

    Parameters
    ----------
    mu_511
        Attenuation at 511 keV [1/cm], any shape, not negative.
    energy_kev
        New energy [keV].
    soft_limit
        Attenuation at 511 keV above which a voxel holds bone [1/cm].

    Returns
    -------
        [1/cm], same shape.
    """
    mu = _checked_mu(mu_511)
    soft_ratio, bone_ratio = _ratios(energy_kev)
    soft = np.minimum(mu, soft_limit) * soft_ratio
    hard = np.maximum(mu - soft_limit, 0.0) * bone_ratio
    return np.asarray(soft + hard, dtype=np.float32)


def mu_at_511(mu_map: npt.ArrayLike, energy_kev: float, *, soft_limit: float = 0.101) -> npt.NDArray[np.float32]:
    """Attenuation map at 511 keV from one at another photon energy: the inverse of :func:`mu_at_energy`.

    Parameters
    ----------
    mu_map
        Attenuation at ``energy_kev`` [1/cm], any shape, not negative.
    energy_kev
        Energy of the map [keV].
    soft_limit
        Attenuation at 511 keV above which a voxel holds bone [1/cm].

    Returns
    -------
        [1/cm], same shape.

    Examples
    --------
    >>> round(float(mu_at_511(0.154, 140.5)), 3)
    0.096
    """
    mu = _checked_mu(mu_map)
    soft_ratio, bone_ratio = _ratios(energy_kev)
    limit = soft_limit * soft_ratio
    soft = np.minimum(mu, limit) / soft_ratio
    hard = np.maximum(mu - limit, 0.0) / bone_ratio
    return np.asarray(soft + hard, dtype=np.float32)


def _checked_mu(mu_map: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """An attenuation map, if it is one."""
    mu = np.asarray(mu_map, dtype=np.float32)
    if not np.isfinite(mu).all() or (mu < 0).any():
        raise InputError("An attenuation map must be finite and not negative; found NaN, infinity or less.")
    return mu


def _ratios(energy_kev: float) -> tuple[float, float]:
    """Attenuation at an energy over that at 511 keV, of water, and of what bone adds to it."""
    water, bone = linear_attenuation("water", energy_kev), linear_attenuation("cortical bone", energy_kev)
    water_511, bone_511 = linear_attenuation("water", 511.0), linear_attenuation("cortical bone", 511.0)
    return water / water_511, (bone - water) / (bone_511 - water_511)
