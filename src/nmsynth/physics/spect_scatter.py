"""Scatter in SPECT, of first order, as a source of its own in the body that the camera sees."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nmsynth.core.errors import InputError
from nmsynth.physics.compton import (
    differential_cross_section,
    scattered_energy_kev,
    total_cross_section,
    water_compton_attenuation,
)
from nmsynth.physics.energy_window import EMISSIONS, EnergyWindow, photons_per_decay
from nmsynth.physics.materials import linear_attenuation
from nmsynth.physics.spect import CameraResponse, SpectOrbit, SpectProjector

SCATTER_MM = 12.0
"""Grid on which scatter is computed, about; it is smooth [mm]."""
MULTIPLE_SCATTER = {
    ("Tc-99m", 140.5): 1.19,
    ("I-123", 159.0): 1.17,
    ("Lu-177", 208.4): 1.13,
    ("Lu-177", 112.9): 2.4,
}
"""Scatter of all orders over that of the first, by radionuclide and centre of a window of 20 % [keV].

Mean of a line and a uniform source in a cylinder of water of 20 cm, followed photon by photon
(``benchmarks/spect_scatter.py``; they differ by 2 to 5 %). At 112.9 keV most is down-scatter from 208.4 keV.
"""
_REACH_MM = 300.0
"""Farthest that a photon travels to where it scatters; in water 1 % go farther at 140 keV."""
_NEAR, _SUBSAMPLES = 5, 4
"""Voxels about the decay whose mean is taken over several samples along each axis; farther ones have one."""
_VOXELS_AT_ONCE = 2**24


def _scatter_share(
    energy_kev: float, cosine: torch.Tensor, *, window: EnergyWindow, resolution_percent: float
) -> torch.Tensor:
    """Share of the photons scattered once, through an angle, that a window counts."""
    energies = scattered_energy_kev(energy_kev, cosine.double().numpy())
    sampled = np.linspace(energies.min(), energies.max(), 256)
    shares = [window.share(float(e), resolution_percent=resolution_percent) for e in sampled]
    return torch.from_numpy(np.interp(energies, sampled, shares))


def multiple_scatter(radionuclide: str, window: EnergyWindow) -> float:
    """Scatter of all orders over that of the first; 1 for a window for which it is not known.

    Examples
    --------
    >>> multiple_scatter("Tc-99m", EnergyWindow(140.5, 20.0)), multiple_scatter("In-111", EnergyWindow(171.3, 20.0))
    (1.19, 1.0)
    """
    for (name, centre), factor in MULTIPLE_SCATTER.items():
        if name == radionuclide and abs(centre - window.centre_kev) < 3 and abs(window.width_percent - 20) <= 5:
            return factor
    return 1.0


@lru_cache(maxsize=16)
def scatter_kernel(
    radionuclide: str,
    window: EnergyWindow,
    voxel_mm: tuple[float, float, float],
    resolution_percent: float = 9.5,
    counted: EnergyWindow | None = None,
) -> torch.Tensor:
    """Scatter towards the camera around a decay in water, over the primaries that it sends there.

    A photon of energy ``E`` goes ``r`` to an electron and from there, by an angle ``a``, to the camera. For each
    voxel of water at ``r`` there are, for each photon that leaves towards the camera,
    ``K = m exp(-u r) / r^2 p(a) w(E'(a)) / w(E)``: ``m`` attenuation by Compton scattering, ``u`` by all processes,
    ``p`` the probability of the angle for each solid angle, ``w`` the share that the window counts. The mean over the
    voxel is taken, summed over the radionuclide's photons. This is the kernel of the effective scatter source of
    [Frey1996]_, for the first scattering and from the formula of Klein and Nishina instead of a simulation.

    Parameters
    ----------
    voxel_mm
        Along ``(row, bin, plane)``; the camera is towards lower rows [mm].
    resolution_percent
        Of the energy, at 140.5 keV [%].
    counted
        Window that counts the scatter, where it is another than that of the primaries.

    Returns
    -------
        Odd shape ``(row, bin, plane)``, double precision.

    References
    ----------
    .. [Frey1996] E. C. Frey, B. M. W. Tsui, A new method for modeling the spatially-variant, object-dependent scatter
       response function in SPECT, IEEE Nuclear Science Symposium Conference Record, 1082-1086, 1996.
    """
    emitted = photons_per_decay(radionuclide, window, resolution_percent=resolution_percent)
    if emitted < 1e-6:
        raise InputError(
            f"The window must hold photons of {radionuclide}; {window.centre_kev:g} keV with "
            f"{window.width_percent:g} % holds none. Choose another centre."
        )
    half = [math.ceil(_REACH_MM / s) for s in voxel_mm]
    near = [min(h, _NEAR) for h in half]
    given: dict[str, Any] = {
        "window": counted or window,
        "voxel_mm": voxel_mm,
        "resolution_percent": resolution_percent,
    }
    kernel = _sampled(radionuclide, half, 1, **given)
    inner = tuple(slice(h - m, h + m + 1) for h, m in zip(half, near, strict=True))
    kernel[inner] = _sampled(radionuclide, near, _SUBSAMPLES, **given)
    return kernel / emitted


def _sampled(
    radionuclide: str,
    half: list[int],
    n: int,
    *,
    window: EnergyWindow,
    voxel_mm: tuple[float, float, float],
    resolution_percent: float,
) -> torch.Tensor:
    """The kernel for each decay, not each photon, as the mean of ``n`` cubed samples of each voxel."""
    inner = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    axes = [((torch.arange(-h, h + 1)[:, None] + inner) * s).reshape(-1) for h, s in zip(half, voxel_mm, strict=True)]
    row, across, plane = torch.meshgrid(*axes, indexing="ij")
    r_mm = torch.sqrt(row**2 + across**2 + plane**2).clamp_min(1e-6)
    cosine = -row / r_mm
    total = torch.zeros_like(r_mm)
    for energy, abundance in EMISSIONS[radionuclide]:
        if energy < window.bounds_kev[0] * 0.9 or not 80 <= energy <= 600:
            continue
        angular = torch.from_numpy(differential_cross_section(energy, cosine.numpy()) / total_cross_section(energy))
        counted = _scatter_share(energy, cosine, window=window, resolution_percent=resolution_percent)
        survival = torch.exp(-linear_attenuation("water", energy) * r_mm / 10)
        total += abundance * water_compton_attenuation(energy) / 10 * survival * angular * counted
    total = total / r_mm**2 * math.prod(voxel_mm)  # 1/mm /mm^2 mm^3
    a, b, c = (2 * h + 1 for h in half)
    return total.reshape(a, n, b, n, c, n).mean((1, 3, 5))


def first_order_scatter(
    activity: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    pixel_mm: float,
    plane_mm: float,
    orbit: SpectOrbit,
    response: CameraResponse | None,
    radionuclide: str,
    window: EnergyWindow,
    resolution_percent: float = 9.5,
    counted: EnergyWindow | None = None,
) -> torch.Tensor:
    """Projections of photons scattered once, in the unit of projections of primaries.

    In each view the activity is convolved with :func:`scatter_kernel`, weighed by the density of what scatters
    (attenuation over water's), attenuated on the way to the camera as primaries are, and blurred by its response. What
    lies between the decay and the scattering counts as water. Photons that scatter twice and more, coherent scatter,
    and scatter in collimator and crystal are left out.

    Parameters
    ----------
    activity, mu_map
        Shape ``(y, x, plane)``, any unit and [1/cm] at the window's energy, on any grid about the axis.
    window, counted
        Of the primaries; and that which counts the scatter, where it is another.

    Returns
    -------
        Shape ``(view, bin, plane)`` on that grid [unit of the activity times mm].
    """
    factors = [max(1, round(SCATTER_MM / s)) for s in (pixel_mm, plane_mm)]
    n, n_planes = activity.shape[1], activity.shape[2]
    coarse = [_coarsened(x, factors) for x in (activity, mu_map)]
    n_coarse = coarse[0].shape[0]
    voxel = (pixel_mm * factors[0], pixel_mm * factors[0], plane_mm * factors[1])
    kernel = scatter_kernel(radionuclide, window, voxel, resolution_percent, counted).to(activity.dtype)
    water = linear_attenuation("water", window.centre_kev)
    size = [n_coarse, n_coarse, coarse[0].shape[2]]
    padded = [2 * m for m in size]
    spectrum = torch.fft.rfftn(_wrapped(kernel, padded))
    at_once = max(1, _VOXELS_AT_ONCE // math.prod(padded))
    parts = []
    for first in range(0, orbit.n_views, at_once):
        views = tuple(range(first, min(first + at_once, orbit.n_views)))
        system = SpectProjector(n_coarse, voxel[0], voxel[2], orbit, response=response, mu_map=coarse[1], views=views)
        rows = system.turned(coarse[0]).movedim(1, 0)  # (view, row, bin, plane)
        spread = torch.fft.irfftn(torch.fft.rfftn(rows, padded, dim=(1, 2, 3)) * spectrum, padded, dim=(1, 2, 3))
        source = spread[:, : size[0], : size[1], : size[2]].movedim(0, 1).clamp_min(0)
        parts.append(system.project_turned(source * system.turned(coarse[1]) / water))
    found = torch.cat(parts)[:, None]
    fine = F.interpolate(found, scale_factor=(float(factors[0]), float(factors[1])), mode="bilinear")[:, 0]
    margin = (fine.shape[1] - n) // 2
    return fine[:, margin : margin + n, :n_planes]


def _coarsened(x: torch.Tensor, factors: list[int]) -> torch.Tensor:
    """Means of blocks, about the same axis; zeros around where they do not fit."""
    n, n_planes = x.shape[1], x.shape[2]
    f, g = factors
    wanted = math.ceil(n / f)
    wanted += (wanted * f - n) % 2
    margin = (wanted * f - n) // 2
    x = F.pad(x, (0, -n_planes % g, margin, margin, margin, margin))
    return x.reshape(wanted, f, wanted, f, -1, g).mean((1, 3, 5))


def _wrapped(kernel: torch.Tensor, size: list[int]) -> torch.Tensor:
    """The kernel with its middle at the first sample of a periodic grid, cut to half of it."""
    out = kernel
    for axis, n in enumerate(size):
        half = min(kernel.shape[axis] // 2, n // 2 - 1)
        middle = kernel.shape[axis] // 2
        out = out.narrow(axis, middle - half, 2 * half + 1)
    wrapped = torch.zeros(size, dtype=kernel.dtype)
    wrapped[: out.shape[0], : out.shape[1], : out.shape[2]] = out
    return wrapped.roll([-(m // 2) for m in out.shape], (0, 1, 2))
