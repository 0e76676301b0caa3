"""CT of a phantom: CT numbers of its attenuation, the scanner's point spread and correlated noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.materials import CT_KVP, hu_from_mu
from nmsynth.physics.phantom.grid import FloatArray
from nmsynth.physics.psf import FWHM_PER_SIGMA, GaussianBlur

AIR_HU = -1000.0
LOWEST_HU = -1024.0
"""Smallest CT number that is stored [HU]."""


@dataclass(frozen=True, slots=True)
class CtSettings:
    """A CT scan beside PET or SPECT, without contrast agent.

    Attributes
    ----------
    kvp
        Tube voltage, one of :data:`~nmsynth.physics.materials.CT_KVP`.
    noise_hu
        Standard deviation of the noise [HU]; it goes as one over the root of the dose.
    resolution_mm
        Width of the point spread in plane [mm], full width at half maximum.
    noise_resolution_mm
        The same of the kernel that the noise has gone through [mm].
    """

    kvp: int = 120
    noise_hu: float = 18.0
    resolution_mm: float = 1.5
    noise_resolution_mm: float = 1.5

    def __post_init__(self) -> None:
        """Refuse what no CT has."""
        if self.kvp not in CT_KVP:
            raise InputError(f"The tube voltage of a CT must be one of {CT_KVP} kVp; found {self.kvp}.")
        for name, limit in (("noise_hu", 500.0), ("resolution_mm", 20.0), ("noise_resolution_mm", 20.0)):
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(f"CtSettings.{name} must be from 0 to {limit:g}; found {getattr(self, name)}.")


def ct_noise(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], resolution_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Noise of filtered back projection with standard deviation one.

    Its power in a plane is that of a ramp filter and a Gaussian kernel, ``S(f) ~ f exp(-(2 pi f s)**2)``
    [Riederer1978]_; planes are independent. The scale is exact in expectation.

    Parameters
    ----------
    shape, spacing_mm
        Voxels and their edges [mm], ``(z, y, x)``.
    resolution_mm
        Full width at half maximum of the kernel [mm].
    rng
        Source of randomness.

    References
    ----------
    .. [Riederer1978] S. J. Riederer, N. J. Pelc, D. A. Chesler, The noise power spectrum in computed X-ray tomography,
       Phys Med Biol 23:446-454, 1978.
    """
    fy = np.fft.fftfreq(shape[1], spacing_mm[1])[:, None]
    fx = np.fft.rfftfreq(shape[2], spacing_mm[2])[None, :]
    frequency = np.hypot(fy, fx)
    sigma = resolution_mm / FWHM_PER_SIGMA
    power = frequency * np.exp(-((2 * np.pi * frequency * sigma) ** 2))
    # each column of the half spectrum but the first (and the last of an even width) stands for two
    twice = np.full(fx.shape, 2.0)
    twice[0, 0] = 1.0
    if shape[2] % 2 == 0:
        twice[0, -1] = 1.0
    mean_power = float((power * twice).sum()) / (shape[1] * shape[2])
    if mean_power <= 0:
        return rng.standard_normal(shape, dtype=np.float32)
    transfer = np.sqrt(power / mean_power)
    noise = np.empty(shape, dtype=np.float32)
    for plane in noise:
        white = rng.standard_normal(shape[1:])
        plane[:] = np.fft.irfft2(np.fft.rfft2(white) * transfer, s=shape[1:])
    return noise


def ct_image(
    mu_511: FloatArray, spacing_mm: tuple[float, float, float], settings: CtSettings, rng: np.random.Generator
) -> FloatArray:
    """CT of an attenuation map.

    ``HU = P h(mu) + n``: CT numbers by the piecewise-linear relation of the tube voltage, blurred in plane, and noise
    of one standard deviation everywhere, as automatic exposure would have it. Partial volume along the axis is that
    of the map. Not modelled: beam hardening and its streaks, truncation, scatter, motion, metal.

    Parameters
    ----------
    mu_511
        Narrow-beam attenuation at 511 keV [1/cm], shape ``(z, y, x)``.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    settings
        Of the scan.
    rng
        Source of the noise.

    Returns
    -------
        [HU], same shape, not below -1024.
    """
    above_air = torch.from_numpy(hu_from_mu(mu_511, kvp=settings.kvp) - np.float32(AIR_HU))
    width = settings.resolution_mm
    # zeros outside the blur are air
    hu = GaussianBlur((0.0, width, width), spacing_mm).forward(above_air).numpy() + np.float32(AIR_HU)
    if settings.noise_hu > 0:
        hu = hu + np.float32(settings.noise_hu) * ct_noise(hu.shape, spacing_mm, settings.noise_resolution_mm, rng)
    return np.asarray(np.maximum(hu, np.float32(LOWEST_HU)), dtype=np.float32)
