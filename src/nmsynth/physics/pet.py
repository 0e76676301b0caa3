"""A PET scan of a phantom: scanner, protocol, expected counts, and what a reconstruction believes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from nmsynth.core.errors import InputError
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.displacement import BodyMotion, displace
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix
from nmsynth.physics.psf import GaussianBlur, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings
from nmsynth.physics.scatter import randoms_of, scatter_of
from nmsynth.physics.time_of_flight import TimeOfFlight, TimeOfFlightProjector, even_over_time, spread_over_time


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
    timing_ps: float | None = None
    """Timing resolution of coincidences, FWHM [ps]; ``None`` without time of flight."""
    axial_profile: tuple[float, ...] | None = None
    """Sensitivity of each plane over :attr:`sensitivity`; one everywhere when unset."""

    def __post_init__(self) -> None:
        widths = (self.fwhm_mm, self.axial_fwhm_mm, self.sensitivity)
        if not (math.isfinite(self.plane_mm) and self.plane_mm > 0) or not all(0 <= v < math.inf for v in widths):
            raise InputError(
                "A scanner needs planes above 0 mm, and resolution and sensitivity of at least 0; found "
                f"{self.plane_mm} mm and {widths}."
            )
        shares = (self.scatter_fraction, self.randoms_fraction, 2 * self.mixing)
        if not all(0 <= share < 1 for share in shares):
            raise InputError(
                "Scatter and randoms must be a share from 0 to below 1 of the counts, and mixing from 0 to below 0.5; "
                f"found {self.scatter_fraction}, {self.randoms_fraction} and {self.mixing}."
            )
        if self.axial_profile is not None and not all(math.isfinite(v) and v >= 0 for v in self.axial_profile):
            raise InputError("An axial profile must be finite and not negative; found NaN, infinity or less.")

    @property
    def time_of_flight(self) -> TimeOfFlight | None:
        """Time bins that cover the field of view; ``None`` without time of flight."""
        if self.timing_ps is None:
            return None
        return TimeOfFlight.covering(self.timing_ps, self.geometry.n_bins * self.geometry.bin_mm)


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
    delay_s: float = 0.0
    """From the start of the series, to which images are decay-corrected, to that of this bed position [s]."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.uptake_time_s) and math.isfinite(self.delay_s) and self.delay_s >= 0):
            raise InputError(
                "A PET protocol needs a finite uptake time and a delay of at least 0 s; found "
                f"{self.uptake_time_s} and {self.delay_s}."
            )
        named = {
            "injected activity": self.injected_activity_bq,
            "body mass": self.body_mass_kg,
            "duration": self.duration_s,
            "half-life": self.half_life_s,
        }
        for name, value in named.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"The {name} of a PET protocol must be above 0; found {value}.")

    @classmethod
    def with_radionuclide(cls, name: str, **values: float) -> PetProtocol:
        """A protocol with the half-life of a positron emitter, such as ``"Ga-68"``.

        Raises
        ------
        InputError
            If the radionuclide is unknown, or not imaged by PET.
        """
        found = find_radionuclide(text=name)
        if found is None or found.imaged_with == "SPECT":
            raise InputError(
                f"A PET scan needs a positron emitter such as F-18, C-11 or Ga-68; found '{name}'. Check its spelling."
            )
        return cls(half_life_s=found.half_life_s, **values)

    @property
    def bqml_per_suv(self) -> float:
        """Activity concentration at the start of the series of SUV one [Bq/mL]."""
        decay = math.exp(-math.log(2) * self.uptake_time_s / self.half_life_s)
        return self.injected_activity_bq * decay / (1000.0 * self.body_mass_kg)

    @property
    def mean_decay(self) -> float:
        """Mean activity during the scan over that at the start of the series."""
        exponent = math.log(2) * self.duration_s / self.half_life_s
        return -math.expm1(-exponent) / exponent * math.exp(-math.log(2) * self.delay_s / self.half_life_s)


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
    mu_motion: BodyMotion | None = None
    """Breathing and arms between attenuation map and emission, beside the rigid displacement."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedScan:
    """Expected counts of a full scan, and what the reconstruction believes.

    Shapes ``(view, bin, plane)``; with time of flight counts are ``(view, time bin, bin, plane)`` and the efficiency
    ``(view, 1, bin, plane)``.
    """

    prompts: torch.Tensor
    """Expected prompts before mixing of planes."""
    background: torch.Tensor
    """Estimate of scatter plus randoms, after mixing."""
    randoms: torch.Tensor
    """Estimate of randoms alone, before mixing."""
    efficiency: torch.Tensor
    """Believed counts per line integral, attenuation included [counts / (Bq/mL mm)]."""
    counts_per_line: float | torch.Tensor
    """The same without attenuation; one for each plane where the sensitivity has an axial profile."""
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
    bin_mm, timing = scanner.geometry.bin_mm, scanner.time_of_flight
    n_planes = mu_map.shape[-1] // n_fine_planes
    if scanner.axial_profile is not None and len(scanner.axial_profile) != n_planes:
        raise InputError(
            f"An axial profile needs one value a plane; found {len(scanner.axial_profile)} for {n_planes} planes."
        )
    mu_planes = _to_planes(mu_map, n_fine_planes)
    trues = _expected_trues(
        activity_suv, mu_planes, fine_pixel_mm=fine_pixel_mm, n_fine_planes=n_fine_planes, scanner=scanner,
        protocol=protocol,
    )  # fmt: skip
    at_any_time = trues if timing is None else trues.sum(1)
    scatters = scatter_of(
        at_any_time, fraction=scanner.scatter_fraction, width_mm=220.0, axial_width_mm=80.0, bin_mm=bin_mm,
        plane_mm=scanner.plane_mm,
    )  # fmt: skip
    randoms = randoms_of(at_any_time, fraction=scanner.randoms_fraction, bin_mm=bin_mm)
    noise = 1 + mismatch.randoms_noise * torch.randn(randoms.shape, generator=generator)
    estimate = mismatch.randoms_scale * randoms * noise.clamp_min(0)
    coarse_mu = _reduce(mu_planes, round(settings.pixel_mm / fine_pixel_mm))
    survival = _believed_survival(coarse_mu, scanner=scanner, settings=settings, mismatch=mismatch)
    if timing is not None:
        scatters = spread_over_time(scatters, trues)
        randoms, estimate = even_over_time(randoms, timing.n_bins), even_over_time(estimate, timing.n_bins)
        survival = survival[:, None]
    prompts, believed = trues + scatters + randoms, mismatch.scatter_scale * scatters + estimate
    mixing = PlaneMixing(scanner.mixing)
    counts_per_line: float | torch.Tensor = _counts_per_line(scanner, protocol)
    if scanner.axial_profile is not None:
        profile = torch.tensor(scanner.axial_profile).to(trues)
        prompts, believed, estimate = prompts * profile, believed * profile, estimate * profile
        counts_per_line = counts_per_line * mixing.forward(profile)
    return ExpectedScan(
        prompts=prompts,
        background=mixing.forward(believed),
        randoms=estimate,
        efficiency=counts_per_line * survival,
        counts_per_line=counts_per_line,
        scanner=scanner,
        resolution_fwhm_mm=scanner.fwhm_mm * mismatch.resolution_scale,
    )


def with_attenuation(
    scan: ExpectedScan, mu_planes: torch.Tensor, *, settings: OsemSettings, mismatch: Mismatch
) -> ExpectedScan:
    """The same counts, whose reconstruction believes another attenuation map.

    The estimate of scatter stays: a scanner would compute it from the same map, with an error that is left out here.

    Parameters
    ----------
    scan
        Expected counts.
    mu_planes
        Believed attenuation at 511 keV on the reconstruction's grid [1/cm], shape ``(y, x, plane)``; displaced as the
        first one was.
    settings, mismatch
        As given to :func:`expected_scan`.

    Raises
    ------
    InputError
        If the map has another shape, is not finite, or negative.
    """
    expected = (settings.n_pixels, settings.n_pixels, scan.prompts.shape[-1])
    if tuple(mu_planes.shape) != expected:
        raise InputError(
            f"An attenuation map must have the shape {expected} of the reconstruction; found {tuple(mu_planes.shape)}."
        )
    if not bool(torch.isfinite(mu_planes).all()) or bool((mu_planes < 0).any()):
        raise InputError("An attenuation map must be finite and not negative; found NaN, infinity or less.")
    survival = _believed_survival(mu_planes, scanner=scan.scanner, settings=settings, mismatch=mismatch)
    if scan.scanner.time_of_flight is not None:
        survival = survival[:, None]
    return replace(scan, efficiency=scan.counts_per_line * survival)


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
    if activity_suv.ndim != 3 or activity_suv.shape[1] != n_fine or not fine_pixel_mm > 0:
        raise InputError(
            "Activity must be a stack of square slices, axes (y, x, plane), of pixels above 0 mm; found shape "
            f"{tuple(activity_suv.shape)} of {fine_pixel_mm} mm."
        )
    factor = round(settings.pixel_mm / fine_pixel_mm)
    if factor < 2 or n_fine != factor * settings.n_pixels or abs(factor * fine_pixel_mm - settings.pixel_mm) > 1e-3:
        raise InputError(
            "Data must be generated on a grid finer than the reconstruction's by a whole factor of at least 2 that "
            f"covers the same field; found {n_fine} pixels of {fine_pixel_mm} mm for {settings.n_pixels} of "
            f"{settings.pixel_mm} mm."
        )
    if activity_suv.shape != mu_map.shape or n_fine_planes < 1 or activity_suv.shape[-1] % n_fine_planes:
        raise InputError(
            "Activity and attenuation must share a grid of whole planes; found shapes "
            f"{tuple(activity_suv.shape)} and {tuple(mu_map.shape)} with {n_fine_planes} fine planes a plane."
        )
    for name, values in (("Activity", activity_suv), ("Attenuation", mu_map)):
        if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
            raise InputError(f"{name} must be finite and not negative; found NaN, infinity or less. Check the phantom.")


def _believed_survival(
    mu_planes: torch.Tensor,
    *,
    scanner: PetScanner,
    settings: OsemSettings,
    mismatch: Mismatch,
) -> torch.Tensor:
    """Attenuation factors that the reconstruction computes by its own system from a displaced map."""
    pixel, shift_mm = settings.pixel_mm, mismatch.mu_shift_mm
    displaced = displace(mu_planes, (shift_mm[0] / pixel, shift_mm[1] / pixel, shift_mm[2] / scanner.plane_mm))
    if mismatch.mu_motion is not None:
        displaced = mismatch.mu_motion.apply(displaced, pixel_mm=pixel, plane_mm=scanner.plane_mm)
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
    """Expected attenuated trues of the blurred activity, shape ``(view, bin, plane)``, or with time bins."""
    n_fine, geometry, timing = activity_suv.shape[0], scanner.geometry, scanner.time_of_flight
    matrix = scaled_matrix(n_fine, fine_pixel_mm, geometry)
    fine = SliceProjector(n_fine, fine_pixel_mm, geometry, matrix=matrix)
    blur = GaussianBlur(
        (scanner.fwhm_mm, scanner.fwhm_mm, scanner.axial_fwhm_mm),
        (fine_pixel_mm, fine_pixel_mm, scanner.plane_mm / n_fine_planes),
    )
    planes = _to_planes(blur.forward(activity_suv), n_fine_planes)
    counts = _counts_per_line(scanner, protocol) * protocol.bqml_per_suv
    if timing is None:
        return fine.forward(planes) * counts * attenuation_factors(mu_planes, fine)
    by_time = TimeOfFlightProjector(n_fine, fine_pixel_mm, geometry, timing, matrix=matrix)
    return by_time.forward(planes) * counts * attenuation_factors(mu_planes, fine)[:, None]
