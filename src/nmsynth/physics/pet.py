"""A PET scan of a phantom: expected counts, Poisson, imperfect estimates, reconstruction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.displacement import displace
from nmsynth.physics.noise import poisson
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix
from nmsynth.physics.psf import GaussianBlur, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings, osem
from nmsynth.physics.scatter import randoms_of, scatter_of


@dataclass(frozen=True, slots=True)
class PetScanner:
    """A cylindrical scanner as a stack of planes."""

    geometry: SinogramGeometry
    plane_mm: float = 4.0
    """Distance between planes [mm]."""
    fwhm_mm: float = 5.0
    """Resolution in plane [mm]."""
    axial_fwhm_mm: float = 5.0
    mixing: float = 0.1
    """Share of its counts that a plane gives to each neighbour; see :class:`PlaneMixing`."""
    sensitivity: float = 0.015
    """Trues detected per decay inside the field of view, without attenuation."""
    scatter_fraction: float = 0.33
    """Scatter over scatter plus trues."""
    randoms_fraction: float = 0.25
    """Randoms over randoms plus trues."""


@dataclass(frozen=True, slots=True)
class PetProtocol:
    """What is injected and how long it is measured."""

    injected_activity_bq: float = 300e6
    body_mass_kg: float = 75.0
    uptake_time_s: float = 3600.0
    """From injection to the start of the scan."""
    duration_s: float = 150.0
    """Time a plane is measured."""
    half_life_s: float = 6586.2

    def __post_init__(self) -> None:
        named = {
            "injected activity": self.injected_activity_bq,
            "body mass": self.body_mass_kg,
            "duration": self.duration_s,
            "half-life": self.half_life_s,
        }
        for name, value in named.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"The {name} of a PET protocol must be above 0; found {value}.")

    @property
    def bqml_per_suv(self) -> float:
        """Activity concentration at the start of the scan of SUV one [Bq/mL]."""
        decay = math.exp(-math.log(2) * self.uptake_time_s / self.half_life_s)
        return self.injected_activity_bq * decay / (1000.0 * self.body_mass_kg)

    @property
    def mean_decay(self) -> float:
        """Mean activity during the scan over that at its start."""
        exponent = math.log(2) * self.duration_s / self.half_life_s
        return -math.expm1(-exponent) / exponent


@dataclass(frozen=True, slots=True)
class Mismatch:
    """By how much the reconstruction's idea of the scan is wrong; ones and zeros for a perfect one."""

    scatter_scale: float = 1.0
    """Estimated over true scatter."""
    randoms_scale: float = 1.0
    resolution_scale: float = 1.0
    """Width of the resolution model over the true width."""
    mu_shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Displacement of the attenuation map along ``(y, x, plane)`` [mm]."""
    randoms_noise: float = 0.0
    """Relative standard deviation of the estimate of randoms."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedScan:
    """Expected counts of a full scan, and what the reconstruction believes. Shapes ``(view, bin, plane)``."""

    prompts: torch.Tensor
    """Expected prompts before mixing of planes."""
    background: torch.Tensor
    """Estimate of scatter plus randoms, after mixing."""
    randoms: torch.Tensor
    """Estimate of randoms alone, before mixing."""
    efficiency: torch.Tensor
    """Believed counts per line integral, attenuation included [counts / (Bq/mL mm)]."""
    counts_per_line: float
    """The same without attenuation."""
    scanner: PetScanner
    resolution_fwhm_mm: float
    """Width of the resolution model, were it used [mm]."""


def _to_planes(image: torch.Tensor, n_fine: int) -> torch.Tensor:
    """Mean of every ``n_fine`` fine planes, the last axis."""
    return image.reshape(*image.shape[:-1], -1, n_fine).mean(-1)


def _reduce(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean of ``factor`` squared pixels, ``(y, x, plane)``."""
    n = image.shape[0] // factor
    return image.reshape(n, factor, n, factor, -1).mean((1, 3))


def expected_scan(
    activity_suv: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    fine_pixel_mm: float,
    n_fine_planes: int,
    scanner: PetScanner,
    protocol: PetProtocol,
    settings: OsemSettings,
    mismatch: Mismatch,
    generator: torch.Generator,
) -> ExpectedScan:
    """Expected counts from a phantom on a fine grid.

    ``trues = S T e^(-integral mu) L / n_views``, with ``L`` the line integrals of the blurred activity; scatter and
    randoms are added. Attenuation known to the reconstruction is computed by its own system on its own grid from a
    displaced map.

    Parameters
    ----------
    activity_suv, mu_map
        SUV by body weight, and attenuation [1/cm], shape ``(y, x, fine plane)``; pixels and planes finer than the
        reconstruction's by whole factors.
    fine_pixel_mm
        Pixel of the fine grid [mm]; at most half of ``settings.pixel_mm``.
    n_fine_planes
        Fine planes in each plane of the scanner.
    settings
        The reconstruction's grid.

    Raises
    ------
    InputError
        If the grids do not match, or the fine one is not at least twice as fine in plane.
    """
    _check_grids(activity_suv, mu_map, fine_pixel_mm=fine_pixel_mm, n_fine_planes=n_fine_planes, settings=settings)
    bin_mm = scanner.geometry.bin_mm
    mu_planes = _to_planes(mu_map, n_fine_planes)
    trues = _expected_trues(
        activity_suv, mu_planes, fine_pixel_mm=fine_pixel_mm, n_fine_planes=n_fine_planes, scanner=scanner,
        protocol=protocol,
    )  # fmt: skip
    scatters = scatter_of(
        trues, fraction=scanner.scatter_fraction, width_mm=220.0, axial_width_mm=80.0, bin_mm=bin_mm,
        plane_mm=scanner.plane_mm,
    )  # fmt: skip
    randoms = randoms_of(trues, fraction=scanner.randoms_fraction, bin_mm=bin_mm)
    noise = 1 + mismatch.randoms_noise * torch.randn(randoms.shape, generator=generator)
    estimate = mismatch.randoms_scale * randoms * noise.clamp_min(0)
    background = PlaneMixing(scanner.mixing).forward(mismatch.scatter_scale * scatters + estimate)
    coarse_mu = _reduce(mu_planes, round(settings.pixel_mm / fine_pixel_mm))
    survival = _believed_survival(coarse_mu, scanner=scanner, settings=settings, shift_mm=mismatch.mu_shift_mm)
    return ExpectedScan(
        prompts=trues + scatters + randoms,
        background=background,
        randoms=estimate,
        efficiency=_counts_per_line(scanner, protocol) * survival,
        counts_per_line=_counts_per_line(scanner, protocol),
        scanner=scanner,
        resolution_fwhm_mm=scanner.fwhm_mm * mismatch.resolution_scale,
    )


def _check_grids(
    activity_suv: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    fine_pixel_mm: float,
    n_fine_planes: int,
    settings: OsemSettings,
) -> None:
    """Refuse data on a grid that is not finer than the reconstruction's, which would know too much of them."""
    n_fine = activity_suv.shape[0]
    factor = round(settings.pixel_mm / fine_pixel_mm)
    if factor < 2 or n_fine != factor * settings.n_pixels or abs(factor * fine_pixel_mm - settings.pixel_mm) > 1e-3:
        raise InputError(
            "Data must be generated on a grid finer than the reconstruction's by a whole factor of at least 2 that "
            f"covers the same field; found {n_fine} pixels of {fine_pixel_mm} mm for {settings.n_pixels} of "
            f"{settings.pixel_mm} mm."
        )
    if activity_suv.shape != mu_map.shape or activity_suv.shape[-1] % n_fine_planes:
        raise InputError(
            "Activity and attenuation must share a grid of whole planes; found shapes "
            f"{tuple(activity_suv.shape)} and {tuple(mu_map.shape)} with {n_fine_planes} fine planes a plane."
        )


def _believed_survival(
    mu_planes: torch.Tensor,
    *,
    scanner: PetScanner,
    settings: OsemSettings,
    shift_mm: tuple[float, float, float],
) -> torch.Tensor:
    """Attenuation factors that the reconstruction computes by its own system from a displaced map."""
    pixel = settings.pixel_mm
    displaced = displace(mu_planes, (shift_mm[0] / pixel, shift_mm[1] / pixel, shift_mm[2] / scanner.plane_mm))
    matrix = scaled_matrix(settings.n_pixels, pixel, scanner.geometry)
    return attenuation_factors(displaced, SliceProjector(settings.n_pixels, pixel, scanner.geometry, matrix=matrix))


def _counts_per_line(scanner: PetScanner, protocol: PetProtocol) -> float:
    """Counts of one line integral, ``S T bin plane / (1000 n_views)`` [counts / (Bq/mL mm)]; 1000 mm3 are a mL."""
    return (
        scanner.sensitivity
        * protocol.duration_s
        * protocol.mean_decay
        * scanner.geometry.bin_mm
        * scanner.plane_mm
        / scanner.geometry.n_views
        / 1000.0
    )


def _expected_trues(
    activity_suv: torch.Tensor,
    mu_planes: torch.Tensor,
    *,
    fine_pixel_mm: float,
    n_fine_planes: int,
    scanner: PetScanner,
    protocol: PetProtocol,
) -> torch.Tensor:
    """Expected attenuated trues of the blurred activity, shape ``(view, bin, plane)``."""
    n_fine, geometry = activity_suv.shape[0], scanner.geometry
    fine = SliceProjector(n_fine, fine_pixel_mm, geometry, matrix=scaled_matrix(n_fine, fine_pixel_mm, geometry))
    blur = GaussianBlur(
        (scanner.fwhm_mm, scanner.fwhm_mm, scanner.axial_fwhm_mm),
        (fine_pixel_mm, fine_pixel_mm, scanner.plane_mm / n_fine_planes),
    )
    planes = _to_planes(blur.forward(activity_suv), n_fine_planes)
    counts = _counts_per_line(scanner, protocol) * protocol.bqml_per_suv
    return fine.forward(planes) * counts * attenuation_factors(mu_planes, fine)


def reconstruct_fractions(
    scan: ExpectedScan,
    fractions: tuple[float | None, ...],
    settings: OsemSettings,
    generator: torch.Generator,
    *,
    filtered: bool = True,
    attenuation_corrected: bool = True,
) -> torch.Tensor:
    """Reconstruct independent scans at several count fractions, all in one pass.

    Parameters
    ----------
    fractions
        Counts of each scan over those of the full scan; ``None`` for noise-free data at full counts.
    attenuation_corrected
        Without it neither attenuation nor scatter is in the reconstruction, only randoms, as scanners make such images;
        the same generator draws the same counts for both.

    Returns
    -------
        Activity concentration at the start of the scan [Bq/mL], shape ``(fraction, plane, y, x)``. Without attenuation
        correction the values are lower, most so in the middle of the body, and are no activity concentration.
    """
    mixing = PlaneMixing(scan.scanner.mixing)
    n_planes = scan.prompts.shape[-1]
    believed_background, believed_efficiency = scan.background, scan.efficiency
    if not attenuation_corrected:
        believed_background = mixing.forward(scan.randoms)
        believed_efficiency = torch.full_like(scan.efficiency, scan.counts_per_line)
    prompts, background, efficiency = [], [], []
    for fraction in fractions:
        share = 1.0 if fraction is None else fraction
        expected = scan.prompts * share
        counts = expected if fraction is None else poisson(expected, generator)
        prompts.append(mixing.forward(counts))
        background.append(believed_background * share)
        efficiency.append(believed_efficiency * share)
    image = osem(
        torch.cat(prompts, -1),
        torch.cat(background, -1),
        torch.cat(efficiency, -1),
        scan.scanner.geometry,
        settings,
        filtered=False,
    )
    stack = image.reshape(*image.shape[:2], len(fractions), n_planes)
    if filtered:
        widths = (settings.filter_fwhm_mm, settings.filter_fwhm_mm, 0.0, settings.axial_filter_fwhm_mm)
        stack = GaussianBlur(widths, (settings.pixel_mm, settings.pixel_mm, 1.0, settings.plane_mm)).forward(stack)
    return stack.permute(2, 3, 0, 1).contiguous()  # (y, x, fraction, plane) -> (fraction, plane, y, x)
