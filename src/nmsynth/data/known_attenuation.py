"""An attenuation map from an image, as a reconstruction takes it: on any grid, whatever the image is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.data.resampling import resample
from nmsynth.physics.materials import PHOTON_KEV, mu_from_hu
from nmsynth.physics.phantom.grid import Grid
from nmsynth.physics.psf import FWHM_PER_SIGMA

FloatArray = npt.NDArray[np.float32]
Attenuation = Callable[[Grid], FloatArray]
"""Attenuation at 511 keV on a grid, axes ``(z, y, x)`` [1/cm]."""
MU_ENERGY = "attenuation_kev"
"""Setting in the provenance of an attenuation map: the energy of its photons [keV]."""
AIR_LIMIT = 0.0024
"""Attenuation at 511 keV of the smoothed map below which there is air [1/cm]: -975 HU, below the foam of a couch."""
AIR_SMOOTHING_MM = 5.0
"""Of the map before that limit, full width at half maximum [mm]."""
_BEYOND_MM = 60.0
"""How far the end planes of an image go on [mm], for the planes that a scan needs beyond its own."""


def attenuation_of(image: Volume) -> Attenuation:
    """Attenuation at 511 keV by a CT or an attenuation map.

    CT numbers are converted first and the map is resampled then, as the conversion bends and means of CT numbers over
    coarse voxels would not be those of the attenuation. Beside the image there is air; above and below it the end
    planes go on.

    No attenuation is negative, so that the noise of a CT in air would leave some everywhere, and lines beside the body
    would be corrected for it. Where the map, smoothed, lies below :data:`AIR_LIMIT` it is zero, whatever it comes from.

    Parameters
    ----------
    image
        Axes ``(z, y, x)``; CT numbers [HU], of 120 kVp, or attenuation at 511 keV [1/cm], in the frame of the scan.

    Raises
    ------
    InputError
        If it is neither, is not finite, has other axes, or is a map that says that it is of another energy.
    """
    if image.axes != SPATIAL_AXES or image.unit not in (Unit.HOUNSFIELD, Unit.PER_CENTIMETRE):
        raise InputError(
            "Attenuation is known from a CT in HU or a map in 1/cm, with the axes (z, y, x); found an image in "
            f"{image.unit.value} with {image.axes}. Give another."
        )
    energy = image.provenance.settings.get(MU_ENERGY)
    if image.unit is Unit.PER_CENTIMETRE and energy is not None and float(energy) != PHOTON_KEV["F-18"]:
        raise InputError(
            f"An attenuation map must be of 511 keV here; this one is of {float(energy):g} keV. Give the CT, or make "
            "the map for 511 keV."
        )
    if not np.isfinite(image.array).all():
        raise InputError("An attenuation map must be finite; found NaN or infinite voxels. Make it again.")
    mu = image.array if image.unit is Unit.PER_CENTIMETRE else mu_from_hu(image.array, energy_kev=PHOTON_KEV["F-18"])
    mu = _without_air(np.maximum(mu, 0), image.spacing_mm)
    n_beyond = int(np.ceil(_BEYOND_MM / image.spacing_mm[0]))
    padded = np.pad(mu, ((n_beyond, n_beyond), (0, 0), (0, 0)), mode="edge")
    affine = np.array(image.affine)
    affine[:3, 3] -= n_beyond * affine[:3, 0]
    longer = replace(
        image, array=padded.astype(np.float32), affine=affine, unit=Unit.PER_CENTIMETRE, suv_rule=None, source=None
    )

    def on_grid(grid: Grid) -> FloatArray:
        """The map on a grid of the scan."""
        return np.asarray(resample(longer, grid.affine, grid.shape).array, dtype=np.float32)

    return on_grid


def _without_air(mu: FloatArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    """The map with nothing where it is air, noise or not."""
    sigma = [AIR_SMOOTHING_MM / FWHM_PER_SIGMA / size for size in spacing_mm]
    smooth = ndimage.gaussian_filter(np.asarray(mu, dtype=np.float32), sigma, mode="nearest")
    return np.asarray(np.where(smooth < AIR_LIMIT, 0.0, mu), dtype=np.float32)
