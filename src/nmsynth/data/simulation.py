"""Simulated training cases: one patient, one scanner drawn at random, several count levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth.data.known_attenuation import Attenuation
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.pet import ExpectedScan, Mismatch, PetProtocol, PetScanner, expected_scan, with_attenuation
from nmsynth.physics.pet_penalised import reconstruct_penalised
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.phantom.grid import Grid, Phantom
from nmsynth.physics.projector import SinogramGeometry
from nmsynth.physics.psf import PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings

FloatArray = npt.NDArray[np.float32]

FINE = 2
"""Fine pixels and planes for each of the reconstruction's."""
OtherImage = Literal["uncorrected", "penalised"]
"""What else can be made of the counts of a scan: an image without correction for attenuation and scatter, or one by
penalised likelihood with the relative difference prior."""
PRIOR_STRENGTH, PRIOR_ITERATIONS = 0.02, 8
"""Of the relative difference prior, chosen: recovery of large spheres about that of OSEM with its filter."""
GUARD_PLANES = 3
"""Planes simulated beyond each end of the slab and cut off."""


@dataclass(frozen=True, slots=True)
class ScanDraw:
    """Everything about one simulated scan but the patient."""

    scanner: PetScanner
    protocol: PetProtocol
    osem: OsemSettings
    mismatch: Mismatch
    fractions: tuple[float, ...]
    full_count_cov: float
    """Wanted relative standard deviation of a soft-tissue voxel at full counts."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ScanRanges:
    """Ranges from which scans of the training cohort are drawn; widths in mm."""

    fwhm_mm: tuple[float, float] = (3.5, 7.0)
    filter_mm: tuple[float, float] = (2.0, 8.0)
    axial_correlation: tuple[float, float] = (0.0, 0.6)
    full_count_cov: tuple[float, float] = (0.06, 0.25)
    largest_cov: float = 1.1
    """Fractions are raised where soft tissue would be noisier than this, for there no image is left."""
    scatter_fraction: tuple[float, float] = (0.15, 0.5)
    randoms_fraction: tuple[float, float] = (0.1, 0.5)
    updates: tuple[int, int] = (20, 80)
    """Iterations times subsets."""
    resolution_model_share: float = 0.5
    fractions: tuple[tuple[float, float], ...] = ((0.25, 0.7), (0.1, 0.25), (0.05, 0.1), (0.02, 0.05), (0.01, 0.02))
    """One count fraction is drawn from each range, log-uniformly; full counts are always added."""


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def draw_scan(
    rng: np.random.Generator, *, field_mm: float, ranges: ScanRanges, body_mass_kg: float, grids: tuple[int, ...]
) -> ScanDraw:
    """Draw a scanner, a protocol, a reconstruction and its errors.

    Parameters
    ----------
    rng
        Source of randomness.
    field_mm
        Width that the field of view must cover [mm].
    ranges
        What is drawn from.
    body_mass_kg
        Of the patient [kg].
    grids
        Matrix sizes to choose from; the voxel follows from the field, 1.5 to 6 mm.
    """
    fitting = [n for n in grids if 1.5 <= field_mm / n <= 6.0] or [max(grids)]
    n = int(rng.choice(fitting))
    pixel = float(np.clip(field_mm / n * rng.uniform(1.0, 1.15), 1.5, 6.0))
    plane = float(np.clip(_log_uniform(rng, 1.5, 5.5), pixel * 0.5, pixel * 2))
    n_views = {96: 96, 128: 128}.get(n, 144)
    n_subsets = int(
        rng.choice([s for s in (8, 12, 16) if n_views // s >= 8])
    )  # fewer views a subset lose voxels to zero
    n_iterations = int(np.clip(round(_log_uniform(rng, *ranges.updates) / n_subsets), 1, 4))
    filter_mm = _log_uniform(rng, *ranges.filter_mm)
    axial_filter = float(rng.choice((0.0, filter_mm, rng.uniform(0, 1) * filter_mm)))
    uses_model = rng.random() < ranges.resolution_model_share
    fwhm = max(rng.uniform(*ranges.fwhm_mm), pixel * 0.8)
    mismatch = Mismatch(
        scatter_scale=rng.uniform(0.85, 1.15),
        randoms_scale=rng.uniform(0.97, 1.03),
        resolution_scale=rng.uniform(0.85, 1.15),
        mu_shift_mm=tuple(float(v) for v in rng.normal(0, (1.5, 1.5, 3.0))),  # type: ignore[arg-type]
        randoms_noise=rng.uniform(0.0, 0.1),
    )
    geometry = SinogramGeometry(n_views=n_views, n_bins=n, bin_mm=pixel)
    scanner = PetScanner(
        geometry=geometry,
        plane_mm=plane,
        fwhm_mm=fwhm,
        axial_fwhm_mm=rng.uniform(*ranges.fwhm_mm),
        mixing=PlaneMixing.fraction_for_correlation(rng.uniform(*ranges.axial_correlation)),
        scatter_fraction=rng.uniform(*ranges.scatter_fraction),
        randoms_fraction=rng.uniform(*ranges.randoms_fraction),
    )
    osem = OsemSettings(
        n_pixels=n,
        pixel_mm=pixel,
        plane_mm=plane,
        n_iterations=n_iterations,
        n_subsets=n_subsets,
        resolution_fwhm_mm=fwhm * mismatch.resolution_scale if uses_model else 0.0,
        filter_fwhm_mm=filter_mm,
        axial_filter_fwhm_mm=axial_filter,
    )
    cov = _log_uniform(rng, *ranges.full_count_cov)
    least = (cov / ranges.largest_cov) ** 2
    fractions = tuple(max(least, _log_uniform(rng, *bounds)) for bounds in ranges.fractions)
    protocol = PetProtocol(injected_activity_bq=rng.uniform(2.5e6, 6e6) * body_mass_kg, body_mass_kg=body_mass_kg)
    return ScanDraw(scanner, protocol, osem, mismatch, (1.0, *fractions), cov)


def moved_about(draw: ScanDraw, motion: BodyMotion | None, middle_mm: float) -> ScanDraw:
    """The scan of a stack of planes about a height, whose attenuation map is moved; heights as the motion has them."""
    if motion is None:
        return draw
    return replace(draw, mismatch=replace(draw.mismatch, mu_motion=motion.about(middle_mm)))


def coarse_grid(fine: Grid) -> Grid:
    """The reconstruction's grid under a fine one, guard planes included."""
    z, y, x = (n // FINE for n in fine.shape)
    spacing = tuple(s * FINE for s in fine.spacing_mm)
    origin = tuple(o + (FINE - 1) / 2 * s for o, s in zip(fine.origin_mm, fine.spacing_mm, strict=True))
    return Grid((z, y, x), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]))


def fine_grid(draw: ScanDraw, *, n_planes: int, start_mm: float) -> Grid:
    """Grid on which the phantom is drawn: guard planes included, ``FINE`` times as fine as the reconstruction's."""
    fine_pixel = draw.osem.pixel_mm / FINE
    fine_plane = draw.osem.plane_mm / FINE
    n = draw.osem.n_pixels * FINE
    edge = -(n - 1) / 2 * fine_pixel
    n_fine = (n_planes + 2 * GUARD_PLANES) * FINE
    first = start_mm - GUARD_PLANES * draw.osem.plane_mm
    return Grid(shape=(n_fine, n, n), spacing_mm=(fine_plane, fine_pixel, fine_pixel), origin_mm=(first, edge, edge))


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedCase:
    """Images of one patient on the reconstruction's grid, SUV, shape ``(z, y, x)``."""

    truth: FloatArray
    """The true activity (T0)."""
    noise_free: FloatArray
    """The reconstruction of noise-free data with the same settings (T1)."""
    scans: FloatArray
    """Noisy scans, shape ``(level, z, y, x)``; the first at full counts."""
    fractions: tuple[float, ...]
    lesion_labels: npt.NDArray[np.uint8]
    organ_labels: npt.NDArray[np.uint8]
    mu_map: FloatArray
    draw: ScanDraw
    measured_cov: float
    """Relative standard deviation of soft tissue at full counts, as it came out."""
    count_scale: float = 1.0
    """Counts of the full scan over those of the protocol, by which the wanted noise was reached."""
    others: Mapping[str, FloatArray] = field(default_factory=dict)
    """Other images of the same counts by name, shape ``(1 + level, z, y, x)``: noise-free, then of each scan."""


def block_mean(array: FloatArray) -> FloatArray:
    """Mean of ``FINE`` cubed voxels."""
    n_z, n_y, n_x = (n // FINE for n in array.shape)
    blocks = array.reshape(n_z, FINE, n_y, FINE, n_x, FINE)
    return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


def planes_last(image: FloatArray) -> torch.Tensor:
    """``(z, y, x) -> (y, x, plane)``, as projectors take it."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(1, 2, 0)))


def majority_label(labels: npt.NDArray[np.uint8], threshold: float) -> npt.NDArray[np.uint8]:
    """The label of a block where it fills more than ``threshold`` of it, else 0; larger labels win ties."""
    out = np.zeros(tuple(n // FINE for n in labels.shape), dtype=np.uint8)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            coarse = tuple(slice(s.start // FINE, -(-s.stop // FINE)) for s in box)
            fine = tuple(slice(s.start * FINE, s.stop * FINE) for s in coarse)
            out[coarse][block_mean((labels[fine] == label).astype(np.float32)) > threshold] = label
    return out


def soft_tissue_cov(scan: FloatArray, noise_free: FloatArray) -> float:
    """Robust relative noise of soft tissue, SUV above 0.4: 1.4826 times the median of ``|scan - T1| / T1``."""
    tissue = noise_free > 0.4
    if not tissue.any():
        return float("nan")
    relative = np.abs(scan[tissue] - noise_free[tissue]) / noise_free[tissue]
    level = noise_free[tissue]
    near = relative[(level > 1.0) & (level < 3.5)]
    chosen = near if near.size > 500 else relative
    return 1.4826 * float(np.median(chosen))


def simulate_case(
    phantom: Phantom,
    draw: ScanDraw,
    *,
    generator: torch.Generator,
    calibrate: bool = True,
    also: Sequence[OtherImage] = (),
    maps: Mapping[str, Attenuation] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> SimulatedCase:
    """Scan a phantom at every count fraction of the draw.

    Parameters
    ----------
    phantom
        Rendered on :func:`fine_grid` of the same draw.
    draw
        Scanner, protocol, reconstruction.
    generator
        Source of the counting noise.
    calibrate
        Scale the counts until soft tissue at full counts has about ``draw.full_count_cov``; else the protocol's own
        counts are taken.
    also
        What else is made of the same counts.
    maps
        Attenuation maps, by name, with each of which the same counts are reconstructed once more.
    """
    activity = planes_last(phantom.activity)
    mu_map = planes_last(phantom.mu_map)
    scan = expected_scan(
        activity,
        mu_map,
        fine_pixel_mm=draw.osem.pixel_mm / FINE,
        n_fine_planes=FINE,
        scanner=draw.scanner,
        protocol=draw.protocol,
        settings=draw.osem,
        mismatch=draw.mismatch,
        generator=generator,
    )
    inner = slice(GUARD_PLANES, -GUARD_PLANES)
    to_suv = np.float32(1.0 / draw.protocol.bqml_per_suv)
    scale = 1.0
    if calibrate:
        pilot = reconstruct_fractions(scan, (None, 1.0), draw.osem, generator).numpy() * to_suv
        cov = soft_tissue_cov(pilot[1, inner], pilot[0, inner])
        if math.isfinite(cov) and cov > 0:
            scale = float(np.clip((cov / draw.full_count_cov) ** 2, 1e-3, 1e3))
    if progress is not None:
        progress("expected counts", 0.3)
    levels = tuple(f * scale for f in draw.fractions)
    before = generator.get_state()
    images = reconstruct_fractions(scan, (None, *levels), draw.osem, generator).numpy()[:, inner] * to_suv
    others: dict[str, FloatArray] = {}
    for kind in also:
        other = _other_image(kind, scan, (None, *levels), draw, before)
        others[kind] = other.numpy()[:, inner] * to_suv
    for name, attenuation in (maps or {}).items():
        believed = planes_last(attenuation(coarse_grid(phantom.grid)))
        misled = with_attenuation(scan, believed, settings=draw.osem, mismatch=draw.mismatch)
        image = reconstruct_fractions(misled, (None, *levels), draw.osem, _generator_at(before))
        others[name] = image.numpy()[:, inner] * to_suv
    fine_inner = slice(GUARD_PLANES * FINE, -GUARD_PLANES * FINE)
    return SimulatedCase(
        truth=block_mean(phantom.activity[fine_inner]),
        noise_free=images[0],
        scans=images[1:],
        fractions=draw.fractions,
        lesion_labels=majority_label(phantom.lesion_labels[fine_inner], 0.4),
        organ_labels=majority_label(phantom.labels[fine_inner], 0.5),
        mu_map=block_mean(phantom.mu_map[fine_inner]),
        draw=draw,
        measured_cov=soft_tissue_cov(images[1], images[0]),
        count_scale=scale,
        others=others,
    )


def _generator_at(state: torch.Tensor) -> torch.Generator:
    """A generator that draws what another drew from a state on."""
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def _other_image(
    name: OtherImage,
    scan: ExpectedScan,
    fractions: tuple[float | None, ...],
    draw: ScanDraw,
    state: torch.Tensor,
) -> torch.Tensor:
    """Another image of the counts that a generator drew from a state on, shape ``(fraction, plane, y, x)`` [Bq/mL]."""
    generator = _generator_at(state)
    if name == "uncorrected":
        return reconstruct_fractions(scan, fractions, draw.osem, generator, attenuation_corrected=False)
    return reconstruct_penalised(
        scan, fractions, draw.osem, generator, strength=PRIOR_STRENGTH, n_iterations=PRIOR_ITERATIONS
    )


def focal_mask(noise_free: FloatArray, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    """Where the noise-free image holds a focal hot structure: higher than its opening by a third of it.

    The opening with a box of about 36 mm removes structures narrower than that; what stands above it by more than 0.35
    of it, and by more than a tenth of the median of the body, is focal. The same limit defines a false structure in
    the evaluation, so evidence and error speak of one thing.

    Parameters
    ----------
    noise_free
        Shape ``(z, y, x)``, SUV.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    """
    size = tuple(max(3, 2 * round(18.0 / s) + 1) for s in spacing_mm)
    background = ndimage.grey_opening(noise_free, size=size, mode="nearest")
    body = noise_free[noise_free > 0.2]
    level = float(np.median(body)) if body.size else 1.0
    return np.asarray(noise_free - background > 0.35 * background + 0.25 * level, dtype=np.bool_)
