"""A SPECT or planar scan of a phantom: expected counts, and what the reconstruction believes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.collimator import collimator_named
from nmsynth.physics.displacement import BodyMotion, displace
from nmsynth.physics.energy_window import EnergyWindow, photons_per_decay, side_windows
from nmsynth.physics.noise import poisson
from nmsynth.physics.operator import LinearOperator
from nmsynth.physics.ordered_subsets import WeightedOperator, ordered_subsets
from nmsynth.physics.psf import GaussianBlur
from nmsynth.physics.spect import CameraResponse, SpectOrbit, SpectProjector, check_clearance
from nmsynth.physics.spect_scatter import first_order_scatter, multiple_scatter

_VOXELS_AT_ONCE = 2**26
"""Voxels of all turned stacks that are held at once, 256 MB in single precision."""


@dataclass(frozen=True, slots=True)
class GammaCamera:
    """A camera with a parallel-hole collimator."""

    collimator: str = "LEHR"
    """One of :data:`nmsynth.physics.collimator.COLLIMATORS`."""
    window: EnergyWindow = field(default_factory=lambda: EnergyWindow(140.5, 15.0))
    intrinsic_fwhm_mm: float = 3.8
    energy_resolution_percent: float = 9.5
    """Full width at half maximum at 140.5 keV [%]."""
    crystal_efficiency: float = 0.84
    """Share of the photons at the window's centre that the crystal stops: 9.5 mm of NaI at 140 keV."""
    scatter_fraction: float = 0.25
    """Scattered over all counts in the window, in the whole scan."""
    scatter_fwhm_mm: float = 90.0
    """Width of the effective kernel that spreads primaries into scatter [mm]."""
    scatter_model: Literal["convolution", "compton"] = "convolution"
    """Primaries convolved and scaled to ``scatter_fraction``; or what scatters once, by energy, depth and density,
    scaled to all orders."""
    side_window_percent: float = 0.0
    """Width of the windows that adjoin the main one on either side, over its centre [%]; 0 for none. They need the
    scatter of ``compton``."""

    def response(self, scale: float = 1.0) -> CameraResponse:
        """The point spread; ``scale`` widens collimator and crystal alike."""
        collimator = collimator_named(self.collimator)
        if scale != 1.0:
            collimator = replace(collimator, hole_diameter_mm=collimator.hole_diameter_mm * scale)
        return CameraResponse(collimator, self.window.centre_kev, self.intrinsic_fwhm_mm * scale)

    @property
    def septal_penetration(self) -> float:
        """Share of the photons that pass a septum at its thinnest; not in the point spread, so it ought to be small."""
        return collimator_named(self.collimator).penetration(self.window.centre_kev)

    def counts_per_decay(self, radionuclide: str) -> float:
        """Counts in the window for each decay in air, at any distance."""
        geometric = collimator_named(self.collimator).efficiency(self.window.centre_kev)
        photons = photons_per_decay(radionuclide, self.window, resolution_percent=self.energy_resolution_percent)
        return geometric * photons * self.crystal_efficiency


@dataclass(frozen=True, slots=True)
class GammaProtocol:
    """What is measured and for how long."""

    radionuclide: str = "Tc-99m"
    seconds_per_view: float = 20.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds_per_view) and self.seconds_per_view > 0):
            raise InputError(f"A view must last longer than 0 s; found {self.seconds_per_view}.")


@dataclass(frozen=True, slots=True)
class GammaMismatch:
    """By how much the reconstruction's idea of the scan is wrong; ones and zeros for a perfect one."""

    resolution_scale: float = 1.0
    """Width of the believed point spread over the true one."""
    scatter_scale: float = 1.0
    """Estimated over true scatter."""
    mu_shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Displacement of the believed attenuation map along ``(y, x, plane)`` [mm]."""
    mu_motion: BodyMotion | None = None
    """Breathing and arms between attenuation map and scan, beside the rigid displacement."""


@dataclass(frozen=True, slots=True)
class GammaGrid:
    """Grid of the projections and of the reconstruction."""

    n_pixels: int = 128
    pixel_mm: float = 4.8
    plane_mm: float = 4.8


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedGammaScan:
    """Expected counts of a scan, and what the reconstruction believes. Shapes ``(view, bin, plane)``."""

    prompts: torch.Tensor
    """Expected counts in the window, primaries and scatter."""
    primaries: torch.Tensor
    scatter_estimate: torch.Tensor
    """What the reconstruction takes for scatter."""
    counts_per_value: float
    """Counts of one line integral [counts / (Bq/mL mm)]."""
    believed_mu_map: torch.Tensor | None
    """On the grid of the reconstruction, shape ``(y, x, plane)`` [1/cm]."""
    believed_response: CameraResponse
    orbit: SpectOrbit
    grid: GammaGrid
    side_counts: tuple[torch.Tensor, torch.Tensor] | None = None
    """Expected counts in the windows below and above."""
    side_weight: float = 0.0
    """Scatter in the main window over the sum of those counts: half its width over that of each."""


def expected_gamma_scan(
    activity_bqml: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    fine_factor: int,
    camera: GammaCamera,
    protocol: GammaProtocol,
    orbit: SpectOrbit,
    grid: GammaGrid,
    mismatch: GammaMismatch | None = None,
) -> ExpectedGammaScan:
    """Expected counts from a phantom on a grid finer than the reconstruction's.

    Parameters
    ----------
    activity_bqml, mu_map
        Activity concentration at the middle of the scan [Bq/mL] and narrow-beam attenuation at the window's energy
        [1/cm], shape ``(y, x, plane)``, finer than ``grid`` by ``fine_factor`` along every axis.
    fine_factor
        At least 2, so that the data do not come from the reconstruction's own grid.

    Raises
    ------
    InputError
        If the grids do not match, activity or attenuation are negative or not finite, or the camera would stand inside
        the body.
    """
    n_fine = grid.n_pixels * fine_factor
    if fine_factor < 2 or tuple(activity_bqml.shape[:2]) != (n_fine, n_fine) or activity_bqml.shape[2] % fine_factor:
        raise InputError(
            "Data must be generated on a grid finer than the reconstruction's by a whole factor of at least 2; found "
            f"factor {fine_factor} and shape {tuple(activity_bqml.shape)} for {grid.n_pixels} pixels."
        )
    if activity_bqml.shape != mu_map.shape:
        raise InputError(
            f"Activity and attenuation must share a grid; found {tuple(activity_bqml.shape)} and {tuple(mu_map.shape)}."
        )
    if not bool(torch.isfinite(activity_bqml).all()) or bool((activity_bqml < 0).any()):
        raise InputError("Activity must be finite and not negative; found NaN, infinity or less. Check the phantom.")
    check_clearance(orbit, mu_map, grid.pixel_mm / fine_factor)
    mismatch = mismatch or GammaMismatch()
    lines = _projected(activity_bqml, mu_map, fine_factor=fine_factor, camera=camera, orbit=orbit, grid=grid)
    volume_ml = grid.pixel_mm * grid.plane_mm / 1000.0  # of a bin, for each mm of the line
    counts = volume_ml * camera.counts_per_decay(protocol.radionuclide) * protocol.seconds_per_view
    primaries = lines * counts
    f, n = fine_factor, grid.n_pixels
    coarse_mu = mu_map.reshape(n, f, n, f, -1, f).mean((1, 3, 5))
    side_counts = None
    if camera.scatter_model == "compton":
        activity = activity_bqml.reshape(n, f, n, f, -1, f).mean((1, 3, 5))
        given: dict[str, Any] = {"camera": camera, "radionuclide": protocol.radionuclide, "orbit": orbit, "grid": grid}
        scatter = counts * compton_scatter(activity, coarse_mu, **given)
        if camera.side_window_percent:
            side_counts = _side_counts(primaries, counts * activity, coarse_mu, **given)
    else:
        if camera.side_window_percent:
            raise InputError("Windows on either side need scatter by energy; found the model 'convolution'.")
        scatter = effective_scatter(
            primaries, fraction=camera.scatter_fraction, fwhm_mm=camera.scatter_fwhm_mm, grid=grid
        )
    y_mm, x_mm, plane_mm = mismatch.mu_shift_mm
    moved = displace(coarse_mu, (y_mm / grid.pixel_mm, x_mm / grid.pixel_mm, plane_mm / grid.plane_mm))
    if mismatch.mu_motion is not None:
        moved = mismatch.mu_motion.apply(moved, pixel_mm=grid.pixel_mm, plane_mm=grid.plane_mm)
    return ExpectedGammaScan(
        prompts=primaries + scatter,
        primaries=primaries,
        scatter_estimate=mismatch.scatter_scale * scatter,
        counts_per_value=counts,
        believed_mu_map=moved,
        believed_response=camera.response(mismatch.resolution_scale),
        orbit=orbit,
        grid=grid,
        side_counts=side_counts,
        side_weight=camera.window.width_percent / (2 * camera.side_window_percent) if side_counts else 0.0,
    )


def compton_scatter(
    activity: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    camera: GammaCamera,
    radionuclide: str,
    orbit: SpectOrbit,
    grid: GammaGrid,
    counted: EnergyWindow | None = None,
) -> torch.Tensor:
    """Scatter of all orders as line integrals, shape ``(view, bin, plane)``: that of the first, scaled.

    Parameters
    ----------
    activity, mu_map
        On the grid of the reconstruction, shape ``(y, x, plane)``.
    counted
        Window that counts it; the camera's when unset.
    """
    first = first_order_scatter(
        activity, mu_map, pixel_mm=grid.pixel_mm, plane_mm=grid.plane_mm, orbit=orbit, response=camera.response(),
        radionuclide=radionuclide, window=camera.window, resolution_percent=camera.energy_resolution_percent,
        counted=counted,
    )  # fmt: skip
    return first * multiple_scatter(radionuclide, camera.window)


def _side_counts(
    primaries: torch.Tensor, activity: torch.Tensor, mu_map: torch.Tensor, *, camera: GammaCamera, radionuclide: str,
    orbit: SpectOrbit, grid: GammaGrid,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Expected counts in the windows below and above: what of the photopeak falls there, and scatter."""
    resolution = camera.energy_resolution_percent
    main = photons_per_decay(radionuclide, camera.window, resolution_percent=resolution)
    lower, upper = (
        primaries * (photons_per_decay(radionuclide, side, resolution_percent=resolution) / main)
        + compton_scatter(
            activity, mu_map, camera=camera, radionuclide=radionuclide, orbit=orbit, grid=grid, counted=side
        )
        for side in side_windows(camera.window, camera.side_window_percent)
    )
    return lower, upper


def _projected(
    activity: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    fine_factor: int,
    camera: GammaCamera,
    orbit: SpectOrbit,
    grid: GammaGrid,
) -> torch.Tensor:
    """Line integrals of the fine phantom by the true system, averaged over bins; few views at a time for memory."""
    n_views = max(1, _VOXELS_AT_ONCE // activity.numel())
    parts = []
    for first in range(0, orbit.n_views, n_views):
        views = tuple(range(first, min(first + n_views, orbit.n_views)))
        system = SpectProjector(
            grid.n_pixels * fine_factor, grid.pixel_mm / fine_factor, grid.plane_mm / fine_factor, orbit,
            response=camera.response(), mu_map=mu_map, views=views,
        )  # fmt: skip
        parts.append(_mean_of_blocks(system.forward(activity), fine_factor))
    return torch.cat(parts)


def effective_scatter(primaries: torch.Tensor, *, fraction: float, fwhm_mm: float, grid: GammaGrid) -> torch.Tensor:
    """Expected scatter as a convolution of the primaries of each view with a broad Gaussian.

    Parameters
    ----------
    primaries
        Expected primaries, shape ``(view, bin, plane)`` [counts].
    fraction
        Scatter over scatter plus primaries in the whole scan.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"A scatter fraction must lie between 0 and 1; found {fraction}.")
    spread = GaussianBlur((0.0, fwhm_mm, fwhm_mm), (1.0, grid.pixel_mm, grid.plane_mm)).forward(primaries)
    total = spread.sum()
    if fraction == 0 or not bool(total > 0):
        return torch.zeros_like(primaries)
    return spread * (primaries.sum() / total * fraction / (1 - fraction))


def _mean_of_blocks(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean of ``factor`` squared samples along the last two axes."""
    n_bins, n_planes = x.shape[-2] // factor, x.shape[-1] // factor
    return x.reshape(*x.shape[:-2], n_bins, factor, n_planes, factor).mean((-3, -1))


@dataclass(frozen=True, slots=True)
class SpectReconstruction:
    """How a SPECT scan is reconstructed."""

    n_iterations: int = 4
    n_subsets: int = 6
    with_attenuation: bool = True
    with_response: bool = True
    with_scatter: bool = True
    filter_fwhm_mm: float = 0.0
    """Gaussian applied to the image along every axis [mm]; at the end planes its weights are those of what is there."""
    scatter_from: Literal["model", "windows"] = "model"
    """Scatter as the simulation knows it, scaled wrongly; or from the counts of two windows on either side."""
    every_view: int = 1
    """Use each view whose number is a multiple of this, as if no other had been measured."""


def believed_system(scan: ExpectedGammaScan, settings: SpectReconstruction) -> list[SpectProjector]:
    """What the reconstruction takes for the system: a projector for each subset of views."""
    grid, orbit = scan.grid, scan.orbit
    return [
        SpectProjector(
            grid.n_pixels, grid.pixel_mm, grid.plane_mm, orbit,
            response=scan.believed_response if settings.with_response else None,
            mu_map=scan.believed_mu_map if settings.with_attenuation else None,
            views=views,
        )
        for views in _subsets(orbit, settings)
    ]  # fmt: skip


def _subsets(orbit: SpectOrbit, settings: SpectReconstruction) -> list[tuple[int, ...]]:
    """Views of each subset."""
    views = range(0, orbit.n_views, settings.every_view)
    n_subsets = min(settings.n_subsets, len(views))
    return [tuple(views[s::n_subsets]) for s in range(n_subsets)]


def reconstruct_spect(
    counts: torch.Tensor,
    scan: ExpectedGammaScan,
    settings: SpectReconstruction,
    *,
    count_fraction: float = 1.0,
    system: Sequence[SpectProjector] | None = None,
    scatter_estimate: torch.Tensor | None = None,
) -> torch.Tensor:
    """Activity concentration from the counts of a scan, by OSEM with the reconstruction's own idea of the system.

    Parameters
    ----------
    counts
        Measured counts, shape ``(view, bin, plane)``.
    count_fraction
        Time of the scan over that of the protocol, where fewer counts were drawn.
    system
        :func:`believed_system` of this scan and these settings, where several scans share it.
    scatter_estimate
        Scatter in these counts, shape of the counts, where it was measured; the scan's own estimate when unset.

    Returns
    -------
        [Bq/mL], shape ``(y, x, plane)``.
    """
    grid = scan.grid
    weight = torch.tensor(scan.counts_per_value * count_fraction)
    subsets = _subsets(scan.orbit, settings)
    projectors = believed_system(scan, settings) if system is None else system
    systems: list[LinearOperator] = [WeightedOperator(weight, p) for p in projectors]
    scatter = scan.scatter_estimate * count_fraction if scatter_estimate is None else scatter_estimate
    scatter = scatter * (1.0 if settings.with_scatter else 0.0)
    parts = [counts[list(v)] for v in subsets]
    backgrounds = [scatter[list(v)] for v in subsets]
    inside = _field_of_view(grid.n_pixels)
    norms = [weight * p.sensitivity(counts.shape[2]).to(counts) for p in projectors]
    # The counts of an even image: the sum of A 1 is that of A' 1, which is needed anyway.
    used = (counts - scatter)[:: settings.every_view].sum().clamp_min(1.0)
    level = used / sum(float((n * inside).sum()) for n in norms)
    start = inside.expand(-1, -1, counts.shape[2]).float() * level
    image = ordered_subsets(
        start, systems, parts, backgrounds, n_iterations=settings.n_iterations, sensitivity=norms, inside=inside
    )
    if settings.filter_fwhm_mm:
        image = _filtered(image, settings.filter_fwhm_mm, grid)
    return image


def _filtered(image: torch.Tensor, width_mm: float, grid: GammaGrid) -> torch.Tensor:
    """The image under a Gaussian; along the planes the filter ends where the stack does, as nothing is known beyond."""
    spacing = (grid.pixel_mm, grid.pixel_mm, grid.plane_mm)
    held = GaussianBlur((0.0, 0.0, width_mm), spacing).forward(torch.ones(1, 1, image.shape[-1]).to(image))
    return GaussianBlur((width_mm,) * 3, spacing).forward(image) / held


def draw_counts(scan: ExpectedGammaScan, generator: torch.Generator, *, count_fraction: float = 1.0) -> torch.Tensor:
    """Poisson counts of a scan of the protocol's time, or of a fraction of it."""
    if not 0 < count_fraction <= 1:
        raise InputError(f"A count fraction must lie above 0 and at most at 1; found {count_fraction}.")
    return poisson(scan.prompts * count_fraction, generator)


def _field_of_view(n_pixels: int) -> torch.Tensor:
    """The circle that every view sees, shape ``(y, x, 1)``."""
    axis = torch.arange(n_pixels) - (n_pixels - 1) / 2
    return ((axis[:, None] ** 2 + axis[None] ** 2) <= (n_pixels / 2 - 1) ** 2)[..., None]
