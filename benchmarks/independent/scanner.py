"""Expected and Poisson counts of a scan: a slice-wise scanner that rotates the object in front of one detector row.

The object is rotated by interpolation and summed along columns, on a grid twice as fine as that of the
reconstruction. Resolution varies with the distance from the axis and is not Gaussian; scatter has two exponential
tails and follows the path in water; randoms are products of singles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scanner:
    """What is drawn for the scanner of one patient."""

    n_views: int
    n_bins: int
    bin_mm: float
    plane_mm: float
    core_fwhm_mm: float
    """Width of the centre of the radial response at the axis [mm]."""
    parallax: float
    """Growth of that width per distance from the axis [mm/mm]."""
    tail_weight: float
    """Part of the radial response in its wide, inward tail."""
    axial_tap: float
    """Weight of each neighbour in the axial 3-tap response, on the fine grid."""
    axial_tail_weight: float
    axial_tail_mm: float
    plane_mixing: float
    """Weight of each neighbouring plane in the rebinned counts."""
    scatter_slope_per_cm: float
    """Growth of the scatter fraction with the mean path in water [1/cm]."""
    randoms_ratio: float
    """Randoms over trues."""
    ring_radius_mm: float


def draw_scanner(rng: np.random.Generator, *, n_bins: int, bin_mm: float, plane_mm: float) -> Scanner:
    """Draw a scanner for a grid of ``n_bins`` bins of ``bin_mm`` [mm] and planes ``plane_mm`` apart [mm]."""
    return Scanner(
        n_views=max(48, int(0.875 * n_bins) // 2 * 2),
        n_bins=n_bins,
        bin_mm=bin_mm,
        plane_mm=plane_mm,
        core_fwhm_mm=rng.uniform(4.0, 5.5),
        parallax=rng.uniform(0.010, 0.022),
        tail_weight=rng.uniform(0.10, 0.22),
        axial_tap=rng.uniform(0.15, 0.28),
        axial_tail_weight=rng.uniform(0.25, 0.45),
        axial_tail_mm=rng.uniform(2.0, 3.5),
        plane_mixing=rng.uniform(0.0, 0.12),
        scatter_slope_per_cm=rng.uniform(0.009, 0.013),
        randoms_ratio=rng.uniform(0.3, 0.9),
        ring_radius_mm=max(420.0, 0.8 * n_bins * bin_mm),
    )


def mix_planes(stack: FloatArray, weight: float) -> FloatArray:
    """Share the counts of each plane (first axis) with its neighbours; the ends keep their own."""
    kernel = np.array([weight, 1 - 2 * weight, weight])
    return ndimage.convolve1d(stack, kernel, axis=0, mode="nearest").astype(np.float32)


def project_by_rotation(stack: FloatArray, *, pixel_mm: float, n_views: int, radius_mm: float) -> FloatArray:
    """Line integrals of a stack of slices.

    Parameters
    ----------
    stack
        Slices, shape ``(z, y, x)`` with ``y`` and ``x`` of one length.
    pixel_mm
        Width of a pixel [mm].
    n_views
        Number of views over 180 degrees. Bin ``r`` of view ``a`` is the line ``x cos a + y sin a = r``.
    radius_mm
        Radius about the axis that holds the object [mm]; outside it the integral is zero.

    Returns
    -------
        Shape ``(view, z, bin)``, bins as wide as pixels [unit of the stack times mm].
    """
    n = stack.shape[-1]
    half = min(n // 2, int(np.ceil(radius_mm / pixel_mm)) + 2)
    line = (torch.arange(n // 2 - half, n // 2 + half, dtype=torch.float32) - (n - 1) / 2) * (2.0 / n)
    along, across = torch.meshgrid(line, line, indexing="ij")
    image = torch.from_numpy(np.ascontiguousarray(stack))[None]
    result = np.zeros((n_views, stack.shape[0], n), np.float32)
    for view in range(n_views):
        angle = np.pi * view / n_views
        x = across * np.cos(angle) - along * np.sin(angle)
        y = across * np.sin(angle) + along * np.cos(angle)
        turned = torch.nn.functional.grid_sample(image, torch.stack([x, y], -1)[None], align_corners=False)
        result[view, :, n // 2 - half : n // 2 + half] = turned[0].sum(dim=1).numpy() * pixel_mm
    return result


def radial_response(scanner: Scanner) -> FloatArray:
    """Matrix, shape ``(bin, fine bin)``, from the fine line integrals to the mean over each detector bin."""
    n_fine = 2 * scanner.n_bins
    fine = (np.arange(n_fine) - (n_fine - 1) / 2) * (scanner.bin_mm / 2)
    samples = 4
    target = (np.arange(scanner.n_bins * samples) + 0.5) * (scanner.bin_mm / samples)
    target -= scanner.n_bins * scanner.bin_mm / 2
    width = np.hypot(scanner.core_fwhm_mm, scanner.parallax * np.abs(fine)) / 2.355
    core = np.exp(-0.5 * ((target[:, None] - fine) / width) ** 2)
    # The tail of a source off the axis leans to the axis, as depth of interaction makes it.
    tail = 1 / (1 + ((target[:, None] - fine * (1 - scanner.parallax)) / (1.6 * width)) ** 2) ** 2
    response = (1 - scanner.tail_weight) * core / core.sum(0) + scanner.tail_weight * tail / tail.sum(0)
    # The fine bins are half as wide: two of them share the counts of one detector bin.
    return (response.reshape(scanner.n_bins, samples, n_fine).sum(axis=1) / 2).astype(np.float32)


def axial_response(activity: FloatArray, scanner: Scanner) -> FloatArray:
    """Blur along ``z`` on the fine grid, then average pairs: from ``(2 z, y, x)`` to ``(z, y, x)``."""
    step_mm = scanner.plane_mm / 2
    reach = int(np.ceil(4 * scanner.axial_tail_mm / step_mm))
    tail = np.exp(-np.abs(np.arange(-reach, reach + 1)) * step_mm / scanner.axial_tail_mm)
    kernel = scanner.axial_tail_weight * tail / tail.sum()
    kernel[reach] += 1 - scanner.axial_tail_weight
    kernel = np.convolve(kernel, [scanner.axial_tap, 1 - 2 * scanner.axial_tap, scanner.axial_tap])
    blurred = ndimage.convolve1d(activity, kernel, axis=0, mode="nearest")
    return blurred.reshape(-1, 2, *activity.shape[1:]).mean(axis=1).astype(np.float32)


def _exponential(length: int, step: float, scale: float) -> FloatArray:
    """Matrix of an exponential kernel, columns of sum one."""
    place = np.arange(length) * step
    matrix = np.exp(-np.abs(place[:, None] - place) / scale)
    return (matrix / matrix.sum(axis=0)).astype(np.float32)


def expected_scatter(trues: FloatArray, path_cm: FloatArray, scanner: Scanner) -> tuple[FloatArray, float]:
    """Scatter of a slab, of two exponential tails, stronger where the path in water is long.

    Parameters
    ----------
    trues
        Attenuated trues, shape ``(view, z, bin)``.
    path_cm
        Path in water [cm] of the same lines.

    Returns
    -------
        Scatter, same shape and unit as the trues, and its fraction of scatter plus trues.
    """
    mean_path = float((trues * path_cm).sum() / max(float(trues.sum()), 1e-9))
    fraction = min(0.45, 0.10 + scanner.scatter_slope_per_cm * mean_path)
    source = trues * path_cm / (path_cm + 5.0)
    narrow = _exponential(scanner.n_bins, scanner.bin_mm, 35.0)
    wide = _exponential(scanner.n_bins, scanner.bin_mm, 130.0)
    spread = source @ (0.6 * narrow + 0.4 * wide).T
    spread = np.einsum("pq,vqb->vpb", _exponential(spread.shape[1], scanner.plane_mm, 30.0), spread)
    # Half a turn further the same lines come back mirrored: smooth over the full circle.
    circle = np.concatenate([spread, spread[..., ::-1]], axis=0)
    turn = np.minimum(np.arange(2 * scanner.n_views), 2 * scanner.n_views - np.arange(2 * scanner.n_views))
    kernel = np.exp(-turn * (180.0 / scanner.n_views) / 20.0)
    spectrum = np.fft.rfft(kernel / kernel.sum())[:, None, None]
    circle = np.fft.irfft(np.fft.rfft(circle, axis=0) * spectrum, n=2 * scanner.n_views, axis=0)
    scatter = np.maximum(circle[: scanner.n_views], 0)
    scatter *= fraction / (1 - fraction) * trues.sum() / scatter.sum()
    return scatter.astype(np.float32), fraction


def expected_randoms(events: FloatArray, scanner: Scanner, total: float) -> FloatArray:
    """Randoms as products of the singles of the two detectors at the ends of each line.

    ``events`` has shape ``(view, z, bin)``; the result too, and the sum ``total``.
    """
    n_detectors = 2 * scanner.n_views
    radius = (np.arange(scanner.n_bins) - (scanner.n_bins - 1) / 2) * scanner.bin_mm
    opening = np.arccos(np.clip(radius / scanner.ring_radius_mm, -1, 1))
    normal = np.pi * np.arange(scanner.n_views)[:, None] / scanner.n_views
    per_detector = n_detectors / (2 * np.pi)
    ends = [np.mod((normal + sign * opening) * per_detector, n_detectors) for sign in (1, -1)]
    nearest = [np.rint(end).astype(int) % n_detectors for end in ends]
    randoms = np.empty_like(events)
    singles = np.zeros((events.shape[1], n_detectors))
    for plane in range(events.shape[1]):
        for end in nearest:
            singles[plane] += np.bincount(end.ravel(), events[:, plane].ravel(), minlength=n_detectors)
    singles = ndimage.gaussian_filter1d(singles, 6.0, axis=1, mode="wrap")
    singles = ndimage.uniform_filter1d(singles, 15, axis=0, mode="nearest") + 0.3 * singles.mean()
    detectors = np.arange(n_detectors + 1)
    for plane in range(events.shape[1]):
        closed = np.append(singles[plane], singles[plane, 0])
        randoms[:, plane] = np.interp(ends[0], detectors, closed) * np.interp(ends[1], detectors, closed)
    return (randoms * (total / randoms.sum())).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Expected sinograms of a scan per unit of exposure, each of shape ``(view, z, bin)`` [SUV mm]."""

    trues: FloatArray
    scatter: FloatArray
    randoms: FloatArray
    scatter_fraction: float


def expect(activity: FloatArray, mu_map: FloatArray, scanner: Scanner, *, radius_mm: float) -> Expectation:
    """Expected counts of a phantom.

    Parameters
    ----------
    activity, mu_map
        SUV and linear attenuation [1/cm] on the fine grid, shape ``(2 z, 2 bin, 2 bin)``.
    radius_mm
        Radius about the axis that holds the body [mm].
    """
    settings = {"pixel_mm": scanner.bin_mm / 2, "n_views": scanner.n_views, "radius_mm": radius_mm}
    lines = project_by_rotation(axial_response(activity, scanner), **settings)
    mean_mu = mu_map.reshape(-1, 2, *mu_map.shape[1:]).mean(axis=1)
    attenuation = project_by_rotation(mean_mu, **settings) / 10.0
    response = radial_response(scanner)
    trues = (lines * np.exp(-attenuation)) @ response.T
    path_cm = attenuation.reshape(*attenuation.shape[:2], -1, 2).mean(axis=-1) / 0.096
    scatter, fraction = expected_scatter(trues, path_cm, scanner)
    randoms = expected_randoms(trues + scatter, scanner, scanner.randoms_ratio * float(trues.sum()))
    return Expectation(trues.astype(np.float32), scatter, randoms, fraction)


def count(rng: np.random.Generator, expectation: Expectation, scanner: Scanner, exposure: float) -> FloatArray:
    """Prompts of one scan divided by its exposure, planes mixed as rebinning does; shape ``(z, view, bin)``."""
    mean = expectation.trues + expectation.scatter + expectation.randoms
    # (view, z, bin) -> (z, view, bin)
    counts = rng.poisson(np.maximum(mean, 0).astype(np.float64) * exposure).astype(np.float32).transpose(1, 0, 2)
    return mix_planes(counts / np.float32(exposure), scanner.plane_mixing)
