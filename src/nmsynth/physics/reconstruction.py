"""Ordered-subset expectation maximisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.operator import LinearOperator
from nmsynth.physics.ordered_subsets import WeightedOperator, ordered_subsets
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix
from nmsynth.physics.psf import GaussianBlur
from nmsynth.physics.time_of_flight import TimeOfFlight, TimeOfFlightProjector


@dataclass(frozen=True, slots=True)
class OsemSettings:
    """How the slices are reconstructed."""

    n_pixels: int = 128
    """Pixels along each side of a slice."""
    pixel_mm: float = 4.0
    plane_mm: float = 4.0
    """Distance between planes [mm]."""
    n_iterations: int = 3
    n_subsets: int = 16
    resolution_fwhm_mm: float = 0.0
    """Width of the resolution model in plane [mm]; 0 for none."""
    filter_fwhm_mm: float = 5.0
    """Width of the Gaussian applied to the image in plane [mm]."""
    axial_filter_fwhm_mm: float = 5.0

    def __post_init__(self) -> None:
        if self.n_iterations < 1 or self.n_subsets < 1:
            raise InputError(
                f"OSEM needs at least one iteration and one subset; found {self.n_iterations} and {self.n_subsets}."
            )
        sizes = (self.pixel_mm, self.plane_mm)
        widths = (self.resolution_fwhm_mm, self.filter_fwhm_mm, self.axial_filter_fwhm_mm)
        if self.n_pixels < 2 or not all(math.isfinite(v) and v > 0 for v in sizes):
            raise InputError(
                "A reconstruction needs at least 2 pixels along each side, and pixels and planes above 0 mm; found "
                f"{self.n_pixels}, {self.pixel_mm} and {self.plane_mm} mm."
            )
        if not all(math.isfinite(v) and v >= 0 for v in widths):
            raise InputError(f"The widths of resolution model and filters must be at least 0 mm; found {widths}.")


SubsetProjector = SliceProjector | TimeOfFlightProjector


@lru_cache(maxsize=6)
def _subset_projectors(
    n_pixels: int,
    relative_pixel: float,
    n_views: int,
    n_bins: int,
    n_subsets: int,
    timing: TimeOfFlight | None = None,
) -> tuple[SubsetProjector, ...]:
    """Projectors of interleaved views, for bins of width one."""
    geometry = SinogramGeometry(n_views, n_bins, 1.0)
    matrix = scaled_matrix(n_pixels, relative_pixel, geometry)
    subsets = [tuple(range(s, n_views, n_subsets)) for s in range(n_subsets)]
    if timing is None:
        return tuple(SliceProjector(n_pixels, relative_pixel, geometry, views, matrix=matrix) for views in subsets)
    return tuple(
        TimeOfFlightProjector(n_pixels, relative_pixel, geometry, timing, views, matrix=matrix) for views in subsets
    )


_BLOCK_PLANES = 96
"""Planes that are reconstructed at a time: so many fit the cache, and no plane knows of another."""


@dataclass(frozen=True, slots=True, eq=False)
class SubsetProblem:
    """What a reconstruction over subsets of views starts from, for :mod:`ordered_subsets` and :mod:`penalised`."""

    start: torch.Tensor
    """Uniform image of the right counts in each plane, shape ``(y, x, plane)``; zero where no line sees a voxel."""
    systems: list[LinearOperator]
    counts: list[torch.Tensor]
    background: list[torch.Tensor]
    sensitivity: list[torch.Tensor]
    inside: torch.Tensor
    """Voxels that some line sees."""


def osem(
    prompts: torch.Tensor,
    background: torch.Tensor,
    efficiency: torch.Tensor,
    geometry: SinogramGeometry,
    settings: OsemSettings,
    *,
    filtered: bool = True,
    timing: TimeOfFlight | None = None,
) -> torch.Tensor:
    """Reconstruct activity from prompts with an expected background.

    ``x <- x / (A_s' e) * A_s'(e y / (e A_s x + b))`` over the subsets ``s`` (:func:`ordered_subsets`), ``A`` including
    the resolution model, from a uniform start. Voxels that no line sees stay zero.

    Parameters
    ----------
    prompts
        Counts ``y``, shape ``(view, bin, plane)``, or ``(view, time bin, bin, plane)`` with time of flight.
    background
        Estimate of scatter plus randoms ``b``, same shape, or broadcastable [counts].
    efficiency
        Counts for one unit of line integral ``e`` [counts / (Bq/mL mm)], same shape or broadcastable; holds
        attenuation, sensitivity and time.
    geometry
        Sampling of the sinogram.
    settings
        Grid, iterations, resolution model, filter.
    filtered
        Whether the post-filter is applied.
    timing
        Time bins; ``None`` without time of flight.

    Returns
    -------
        Activity concentration, shape ``(y, x, plane)``, in the unit that ``efficiency`` implies.
    """
    n_planes = prompts.shape[-1]
    blocks = []
    for first in range(0, n_planes, _BLOCK_PLANES):
        block = slice(first, first + _BLOCK_PLANES)
        y, b, e = (t[..., block] if t.shape[-1] == n_planes else t for t in (prompts, background, efficiency))
        problem = subset_problem(y, b, e, geometry, settings, timing=timing)
        blocks.append(
            ordered_subsets(
                problem.start,
                problem.systems,
                problem.counts,
                problem.background,
                n_iterations=settings.n_iterations,
                sensitivity=problem.sensitivity,
                inside=problem.inside,
            )
        )
    image = torch.cat(blocks, -1) if len(blocks) != 1 else blocks[0]
    return post_filter(image, settings) if filtered else image


def subset_problem(
    prompts: torch.Tensor,
    background: torch.Tensor,
    efficiency: torch.Tensor,
    geometry: SinogramGeometry,
    settings: OsemSettings,
    *,
    timing: TimeOfFlight | None = None,
) -> SubsetProblem:
    """Cut a scan into subsets of views, with the system that the reconstruction believes in; arguments of :func:`osem`.

    Raises
    ------
    InputError
        If the shape of the counts is not that of the geometry and the time bins, or counts, background or efficiency
        are negative or not finite.
    """
    bins = (geometry.n_bins,) if timing is None else (timing.n_bins, geometry.n_bins)
    if tuple(prompts.shape[:-1]) != (geometry.n_views, *bins):
        raise InputError(
            f"Counts must have the scanner's views and bins, {(geometry.n_views, *bins)}, and planes; found shape "
            f"{tuple(prompts.shape)}."
        )
    for name, values in (("Counts", prompts), ("Expected background", background), ("Efficiency", efficiency)):
        if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
            raise InputError(f"{name} must be finite and not negative; found NaN, infinity or less.")
    n_views, n_planes = prompts.shape[0], prompts.shape[-1]
    relative = round(settings.pixel_mm / geometry.bin_mm, 6)
    n_subsets = min(settings.n_subsets, n_views)
    # projectors have bins of width one; lengths along the line scale with it
    scaled = (
        None
        if timing is None
        else replace(timing, timing_ps=timing.timing_ps / geometry.bin_mm, bin_mm=timing.bin_mm / geometry.bin_mm)
    )
    projectors = _subset_projectors(settings.n_pixels, relative, n_views, geometry.n_bins, n_subsets, scaled)
    blur = GaussianBlur(
        (settings.resolution_fwhm_mm, settings.resolution_fwhm_mm, 0.0), (settings.pixel_mm, settings.pixel_mm, 1.0)
    )
    subsets = [slice(s, None, n_subsets) for s in range(n_subsets)]
    lengths = geometry.bin_mm
    e = [(efficiency[s] * lengths).contiguous() for s in subsets]
    y = [prompts[s].contiguous() for s in subsets]
    b = [background.expand_as(prompts)[s].contiguous() for s in subsets]
    sensitivity = [
        blur.adjoint(p.adjoint(w.expand(len(p.views), *bins, w.shape[-1]))) for p, w in zip(projectors, e, strict=True)
    ]
    inside = sensitivity[0] > 1e-4 * sensitivity[0].amax((0, 1), keepdim=True).clamp_min(1e-30)
    image = inside.to(prompts.dtype).expand(-1, -1, n_planes) * _uniform_level(y, b, e, projectors, inside)
    systems: list[LinearOperator] = [WeightedOperator(w, p @ blur) for p, w in zip(projectors, e, strict=True)]
    return SubsetProblem(image, systems, y, b, sensitivity, inside)


def _uniform_level(
    counts: list[torch.Tensor],
    background: list[torch.Tensor],
    weights: list[torch.Tensor],
    projectors: tuple[SubsetProjector, ...],
    inside: torch.Tensor,
) -> torch.Tensor:
    """Activity of the uniform start in each plane, shape ``(plane,)``: net counts over those of a uniform one."""
    unit = projectors[0].forward(inside.to(weights[0].dtype)) * weights[0]
    lines = tuple(range(counts[0].ndim - 1))
    net = (counts[0] - background[0]).sum(lines)
    floor = 1e-3 * counts[0].sum(lines) + 1e-12
    return torch.maximum(net, floor) / unit.sum(lines).clamp_min(1e-30)


def post_filter(image: torch.Tensor, settings: OsemSettings) -> torch.Tensor:
    """Smooth an image, shape ``(y, x, plane)``, by the filter of the settings."""
    widths = (settings.filter_fwhm_mm, settings.filter_fwhm_mm, settings.axial_filter_fwhm_mm)
    return GaussianBlur(widths, (settings.pixel_mm, settings.pixel_mm, settings.plane_mm)).forward(image)
