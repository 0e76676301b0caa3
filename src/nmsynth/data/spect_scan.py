"""A phantom scanned by a gamma camera, as volumes with their acquisition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.numbered import numbered
from nmsynth.core.progress import Progress, silent
from nmsynth.core.provenance import Provenance
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.core.suv import resolve_suv
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.scanned_phantom import INJECTION_TIME, uncorrected
from nmsynth.data.simulation import FINE, block_mean, majority_label, planes_last
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.gamma_camera import (
    ExpectedGammaScan,
    GammaCamera,
    GammaGrid,
    GammaMismatch,
    GammaProtocol,
    SpectReconstruction,
    believed_system,
    draw_counts,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.materials import mu_at_energy
from nmsynth.physics.phantom import Grid, Lesion, Phantom
from nmsynth.physics.phantom.brain_tracers import BrainTracer
from nmsynth.physics.phantom.tracers import Tracer
from nmsynth.physics.spect import SpectOrbit, contour_orbit
from nmsynth.physics.triple_window import triple_window_scatter

OtherImage = Literal["uncorrected", "sparse"]
"""Without correction for attenuation and for scatter that a model gives, as without CT; or from few of the views."""
SPARSE: OtherImage = "sparse"
LEAST_VIEWS = 4
"""Of a subset."""


@dataclass(frozen=True, slots=True)
class SpectStudy:
    """How a phantom is imaged and reconstructed."""

    tracer: Tracer | BrainTracer
    camera: GammaCamera = field(default_factory=GammaCamera)
    orbit: SpectOrbit = field(default_factory=SpectOrbit)
    gap_mm: float | None = 15.0
    """Between body and collimator, where the orbit follows the body [mm]; ``None`` keeps the radii of the orbit."""
    reconstruction: SpectReconstruction = field(default_factory=SpectReconstruction)
    seconds_per_view: float = 20.0
    n_heads: int = 2
    """Heads that measure at once; they share the views."""
    voxel_mm: float = 4.8
    field_mm: float = 614.4
    """Width of the field of view [mm]."""
    also: tuple[OtherImage, ...] = ()
    """Further images of the same counts."""
    sparse_factor: int = 4
    """Of the views, the sparse image has one in so many."""
    further_sparse_factors: tuple[int, ...] = ()
    """Of further sparse images, ``sparse_1`` and so on."""
    mismatched: bool = True
    """Whether resolution, scatter and attenuation are known imperfectly."""
    body_part: str = "WHOLEBODY"
    """That the header states."""

    @property
    def n_pixels(self) -> int:
        """Pixels along each side of a slice."""
        return max(16, 2 * round(self.field_mm / self.voxel_mm / 2))

    @property
    def duration_s(self) -> float:
        """Of the whole scan [s]."""
        return self.seconds_per_view * self.orbit.n_views / self.n_heads


@dataclass(frozen=True, slots=True, eq=False)
class ScannedSpect:
    """All that is known of a simulated study; images in Bq/mL on one grid."""

    scans: tuple[Volume, ...]
    """One for each count fraction."""
    noise_free: Volume
    truth: Volume
    projections: tuple[npt.NDArray[np.float32], ...]
    """Counts of each scan, shape ``(view, plane, bin)``."""
    lesion_labels: npt.NDArray[np.uint8]
    organ_labels: npt.NDArray[np.uint8]
    mu_map: Volume
    """At the energy of the window [1/cm]."""
    lesions: tuple[Lesion, ...]
    facts: dict[str, Any]
    """Study, imperfections and total counts. JSON values."""
    others: dict[str, Volume] = field(default_factory=dict)
    """By name, of the counts of the last scan."""
    segment_labels: npt.NDArray[np.uint8] | None = None
    """Segments of the left ventricle, of a heart for perfusion."""


def scan_spect(
    render: Callable[[Grid], Phantom],
    *,
    study: SpectStudy,
    body_mass_kg: float,
    height_m: float,
    sex: str,
    z_range_mm: tuple[float, float],
    fractions: tuple[float, ...],
    seed: int,
    repeat: tuple[int, int] = (0, 0),
    motion: BodyMotion | None = None,
    known_mm: tuple[float, float] | None = None,
    progress: Progress = silent,
) -> ScannedSpect:
    """Scan a phantom by a rotating camera.

    What lies beyond the first and last plane blurs in: guard planes are drawn, projected, reconstructed and cut off,
    as many as resolution and filter reach. The counts of their planes are not part of the projections that are kept.

    Parameters
    ----------
    render
        Draws the phantom on a grid, in SUV.
    study
        Tracer, camera, orbit and reconstruction.
    z_range_mm
        First and last plane [mm].
    fractions
        Counts of each scan over those of the study.
    seed
        Of the imperfections and of the counting noise.
    repeat
        Which of the scans of one seed: a session, whose imperfections are its own, and a frame of it, whose noise is.
    motion
        Of the body between attenuation map and scan, in heights of the phantom; none when unset.
    known_mm
        Ends of what is known of the phantom, beyond which no guard plane is drawn [mm]; everything when unset.
    """
    n_planes = int((z_range_mm[1] - z_range_mm[0]) / study.voxel_mm)
    if n_planes < 1:
        raise InputError(f"A scan needs at least one plane of {study.voxel_mm} mm; found {z_range_mm} mm.")
    n, fine_mm = study.n_pixels, study.voxel_mm / FINE
    edge = -(n * FINE - 1) / 2 * fine_mm
    guard = _guard(study, (z_range_mm[0] - fine_mm / 2, n_planes), known_mm)
    n_drawn, first_mm = n_planes + sum(guard), z_range_mm[0] - guard[0] * study.voxel_mm
    phantom = render(Grid((n_drawn * FINE, n * FINE, n * FINE), (fine_mm,) * 3, (first_mm, edge, edge)))
    progress("drawing the phantom", 0.2)
    decay = _decay(study, body_mass_kg)
    mu_fine = mu_at_energy(phantom.mu_map, study.camera.window.centre_kev)
    mu_stack = planes_last(mu_fine)
    orbit = study.orbit if study.gap_mm is None else contour_orbit(study.orbit, mu_stack, fine_mm, gap_mm=study.gap_mm)
    session = () if repeat[0] == 0 else (repeat[0],)
    mismatch = _draw_mismatch(np.random.default_rng((seed, 37, *session)), study)
    if motion is not None and study.mismatched:
        mismatch = replace(mismatch, mu_motion=motion.about(first_mm + n_drawn * study.voxel_mm / 2))
    expected = expected_gamma_scan(
        planes_last(phantom.activity) * (decay.bqml_per_suv * decay.mean), mu_stack, fine_factor=FINE,
        camera=study.camera, protocol=GammaProtocol(study.tracer.radionuclide, study.seconds_per_view), orbit=orbit,
        grid=GammaGrid(n, study.voxel_mm, study.voxel_mm), mismatch=mismatch,
    )  # fmt: skip
    progress("projecting", 0.5)
    noise_seed = seed if repeat == (0, 0) else int(np.random.SeedSequence((seed, *repeat)).generate_state(1)[0])
    generator = torch.Generator().manual_seed(noise_seed)
    inner = slice(guard[0], guard[0] + n_planes)
    found = _reconstructed(expected, study, fractions, generator, inner, progress)
    images = _Images(
        acquisition=_acquisition(study, decay.half_life_s, body_mass_kg=body_mass_kg, height_m=height_m, sex=sex),
        affine=affine_from_axes(
            spacing_mm=(study.voxel_mm,) * 3,
            origin_mm=(edge + fine_mm / 2, edge + fine_mm / 2, z_range_mm[0] + fine_mm / 2),
        ),
        seed=seed,
        to_start=float(1.0 / decay.mean),
    )
    fine = slice(inner.start * FINE, inner.stop * FINE)
    true = planes_last(block_mean(phantom.activity[fine]) * np.float32(decay.bqml_per_suv * decay.mean))
    lesion_labels, segments = phantom.lesion_labels[fine], phantom.segment_labels
    scanned_lesions = set(np.unique(lesion_labels).tolist())
    return ScannedSpect(
        scans=tuple(images.volume(image, "scan", f) for image, f in zip(found.scans, fractions, strict=True)),
        noise_free=images.volume(found.noise_free, "noise-free (T1)", None),
        others={name: images.other(image, name, fractions[-1]) for name, image in found.others.items()},
        truth=images.volume(true, "true activity (T0)", None),
        projections=found.projections,
        lesion_labels=majority_label(lesion_labels, 0.4),
        organ_labels=majority_label(phantom.labels[fine], 0.5),
        segment_labels=None if segments is None else majority_label(segments[fine], 0.4),
        mu_map=Volume(
            array=block_mean(mu_fine[fine]),
            affine=images.affine,
            unit=Unit.PER_CENTIMETRE,
            modality="CT",
            provenance=Provenance(simulated=True, settings={"image": "mu map"}),
        ),
        lesions=tuple(lesion for lesion in phantom.lesions if lesion.index in scanned_lesions),
        facts={
            "tracer": study.tracer.name,
            "radionuclide": study.tracer.radionuclide,
            "camera": asdict(study.camera),
            "orbit": asdict(orbit),
            "reconstruction": asdict(study.reconstruction),
            "mismatch": asdict(mismatch),
            "seconds_per_view": study.seconds_per_view,
            "guard_planes": list(guard),
            "counts": [float(p.sum()) for p in found.projections],
            "septal_penetration": study.camera.septal_penetration,
        },
    )


def _guard(study: SpectStudy, stack: tuple[float, int], known_mm: tuple[float, float] | None) -> tuple[int, int]:
    """Guard planes below and above a stack, given by its lower face [mm] and its planes.

    So many as the full width of camera and filter together reaches, within which lies 99 % of a Gaussian on either
    side; the camera's is that of what lies on the axis.
    """
    radii = study.orbit.radii_mm
    to_axis = sum(radii) / len(radii) if study.gap_mm is None else study.field_mm / 2
    reach = np.hypot(study.camera.response().fwhm_mm(to_axis), study.reconstruction.filter_fwhm_mm)
    most = int(np.ceil(reach / study.voxel_mm))
    if known_mm is None:
        return most, most
    low, high = stack[0], stack[0] + stack[1] * study.voxel_mm
    below, above = ((low - known_mm[0]) / study.voxel_mm, (known_mm[1] - high) / study.voxel_mm)
    return min(most, max(0, int(below + 1e-3))), min(most, max(0, int(above + 1e-3)))


@dataclass(frozen=True, slots=True)
class _Decay:
    """Activity at the start of a scan, and what is left of it during the scan."""

    half_life_s: float
    bqml_per_suv: float
    """Activity concentration of SUV one at the start [Bq/mL]."""
    mean: float
    """Mean activity during the scan over that at its start."""


def _decay(study: SpectStudy, body_mass_kg: float) -> _Decay:
    """Decay from the injection to the start, and during the scan."""
    radionuclide = find_radionuclide(text=study.tracer.radionuclide)
    if radionuclide is None:
        raise InputError(f"The radionuclide of a tracer must be known; found {study.tracer.radionuclide!r}.")
    half_life = radionuclide.half_life_s
    start_decay = 2.0 ** (-study.tracer.uptake_time_s / half_life)
    lasting = study.duration_s / half_life * np.log(2.0)
    return _Decay(
        half_life_s=half_life,
        bqml_per_suv=study.tracer.activity_bq * start_decay / (1000.0 * body_mass_kg),
        mean=-np.expm1(-lasting) / lasting,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """What all images of a study share."""

    acquisition: Acquisition
    affine: npt.NDArray[np.float64]
    seed: int
    to_start: float
    """Activity at the start of the scan over its mean."""

    def volume(self, image: torch.Tensor, kind: str, fraction: float | None) -> Volume:
        """An image, axes (y, x, plane), at the start of the scan."""
        stated = replace(self.acquisition, simulated_count_fraction=fraction)
        return Volume(
            array=image.permute(2, 0, 1).numpy() * np.float32(self.to_start),
            affine=self.affine,
            unit=Unit.BQML,
            modality="NM",
            acquisition=stated,
            provenance=Provenance(
                simulated=True, settings={"image": kind, "seed": self.seed, "count_fraction": fraction}
            ),
            suv_rule=resolve_suv(stated, unit=Unit.BQML, time_rule="a"),
        )

    def other(self, image: torch.Tensor, name: str, fraction: float) -> Volume:
        """A further image: without attenuation correction there is no activity concentration in it."""
        volume = self.volume(image, name, fraction)
        return uncorrected(volume) if name == "uncorrected" else volume


@dataclass(frozen=True, slots=True, eq=False)
class _Reconstructed:
    """Images, axes (y, x, plane), and the counts they are of."""

    scans: list[torch.Tensor]
    noise_free: torch.Tensor
    others: dict[str, torch.Tensor]
    projections: tuple[npt.NDArray[np.float32], ...]
    """Shape ``(view, plane, bin)``."""


def _reconstructed(
    expected: ExpectedGammaScan,
    study: SpectStudy,
    fractions: tuple[float, ...],
    generator: torch.Generator,
    inner: slice,
    progress: Progress,
) -> _Reconstructed:
    """Images of noisy counts and of noise-free ones, and the noisy counts, without the guard planes."""
    settings = study.reconstruction
    system = believed_system(expected, settings)
    windows = settings.scatter_from == "windows"
    images, projections = [], []
    counts = scatter = None
    for k, fraction in enumerate(fractions):
        counts = draw_counts(expected, generator, count_fraction=fraction)
        scatter = triple_window_scatter(expected, generator, count_fraction=fraction) if windows else None
        image = reconstruct_spect(
            counts, expected, settings, count_fraction=fraction, system=system, scatter_estimate=scatter
        )
        images.append(image[..., inner])
        # (view, bin, plane) -> (view, plane, bin)
        projections.append(counts[..., inner].permute(0, 2, 1).contiguous().numpy())
        progress("reconstructing", 0.5 + 0.4 * (k + 1) / len(fractions))
    noise_free = reconstruct_spect(
        expected.prompts, expected, settings, system=system,
        scatter_estimate=triple_window_scatter(expected) if windows else None,
    )[..., inner]  # fmt: skip
    others: dict[str, torch.Tensor] = {
        name: reconstruct_spect(counts, expected, other, count_fraction=fractions[-1], scatter_estimate=scatter)[
            ..., inner
        ]
        for name, other in _other_reconstructions(study).items()
        if counts is not None
    }
    return _Reconstructed(images, noise_free, others, tuple(projections))


def _other_reconstructions(study: SpectStudy) -> dict[str, SpectReconstruction]:
    """Settings of the further images, by name."""
    found: dict[str, SpectReconstruction] = {}
    for name in study.also:
        if name == SPARSE:
            factors = (study.sparse_factor, *study.further_sparse_factors)
            found |= {numbered(name, k): _of_few_views(study, factor) for k, factor in enumerate(factors)}
        else:
            usual = study.reconstruction
            found[name] = replace(usual, with_attenuation=False, with_scatter=usual.scatter_from == "windows")
    return found


def _of_few_views(study: SpectStudy, factor: int) -> SpectReconstruction:
    """Settings of an image of one view in so many: fewer subsets and as many updates."""
    usual = study.reconstruction
    n_views = len(range(0, study.orbit.n_views, factor))
    n_subsets = max(1, min(usual.n_subsets, n_views // LEAST_VIEWS))
    n_iterations = round(usual.n_iterations * usual.n_subsets / n_subsets)
    return replace(usual, every_view=factor, n_subsets=n_subsets, n_iterations=n_iterations)


def _draw_mismatch(rng: np.random.Generator, study: SpectStudy) -> GammaMismatch:
    """Imperfections of one scan."""
    if not study.mismatched:
        return GammaMismatch()
    y, x, z = (float(v) for v in rng.normal(0.0, (2.0, 2.0, 4.0)))
    return GammaMismatch(
        resolution_scale=float(rng.uniform(0.85, 1.15)),
        scatter_scale=float(rng.uniform(0.85, 1.15)),
        mu_shift_mm=(y, x, z),
    )


def _acquisition(
    study: SpectStudy, half_life_s: float, *, body_mass_kg: float, height_m: float, sex: str
) -> Acquisition:
    """What the header of the simulated scan states."""
    start = INJECTION_TIME + timedelta(seconds=study.tracer.uptake_time_s)
    r = study.reconstruction
    return Acquisition(
        radionuclide=study.tracer.radionuclide,
        radiopharmaceutical=study.tracer.agent,
        half_life_s=half_life_s,
        injected_activity_bq=study.tracer.activity_bq,
        injection_time=INJECTION_TIME,
        reference_time=start,
        decay_correction="START",
        corrections=tuple(
            name for name, done in (("DECY", True), ("ATTN", r.with_attenuation), ("SCAT", r.with_scatter)) if done
        ),
        body_mass_kg=round(body_mass_kg, 2),
        height_m=round(height_m, 3),
        sex=sex,
        series_time=start,
        acquisition_times=(start,),
        frame_durations_s=(study.duration_s,),
        manufacturer="nmsynth simulator",
        scanner=f"gamma camera, {study.camera.collimator}",
        reconstruction=f"OSEM {r.n_iterations}i{r.n_subsets}s, {r.filter_fwhm_mm:g} mm",
        body_part=study.body_part,
        patient_position="HFS",
    )
