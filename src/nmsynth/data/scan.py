"""A phantom scanned by a stated protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.data.bed_scan import scan_beds
from nmsynth.data.known_attenuation import Attenuation
from nmsynth.data.scanned_phantom import ScannedPhantom, assemble_scan, scan_acquisition, with_bed_times
from nmsynth.data.simulation import (
    OtherImage,
    ScanDraw,
    SimulatedCase,
    fine_grid,
    moved_about,
    simulate_case,
)
from nmsynth.physics.beds import BedPlan, BedPosition
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.pet import Mismatch, PetProtocol, PetScanner
from nmsynth.physics.phantom import Grid, Lesion, Phantom
from nmsynth.physics.phantom.brain_tracers import BrainTracer
from nmsynth.physics.projector import SinogramGeometry
from nmsynth.physics.psf import PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings

_BLOCK_PLANES = 64


@dataclass(frozen=True, slots=True)
class ReferenceScan:
    """The reference protocol; its defaults give a liver COV of 8 to 12 % in a 3 cm sphere at 75 kg."""

    voxel_mm: float = 4.0
    plane_mm: float = 4.0
    field_mm: float = 512.0
    """Width of the field of view [mm]."""
    activity_per_mass_bq_kg: float = 4e6
    uptake_time_s: float = 3600.0
    duration_s: float = 150.0
    """Of a bed position [s]."""
    beds: BedPlan | None = None
    """Overlapping bed positions, one after another; all planes at once, each for the same time, when unset."""
    timing_ps: float | None = None
    """Timing resolution of time of flight, FWHM [ps]; ``None`` without."""
    scatter_fraction: float = 0.33
    """Scatter over scatter plus trues."""
    randoms_fraction: float = 0.25
    """Randoms over randoms plus trues."""
    fwhm_mm: float = 5.0
    filter_fwhm_mm: float = 5.0
    axial_filter_fwhm_mm: float | None = None
    """As in plane when unset [mm]."""
    n_iterations: int = 2
    n_subsets: int = 16
    resolution_model: bool = False
    axial_correlation: float = 0.2
    """Correlation that mixing of planes gives to the noise of neighbours, before the axial filter."""
    mismatched: bool = True
    """Whether scatter, randoms, resolution and attenuation are known imperfectly."""
    sensitivity: float = 0.017
    """Trues detected per decay inside the field of view, without attenuation.

    One number for the solid angle averaged over the axial field, both detectors' efficiency, the branching ratio of
    F-18 and dead time; time of flight, which is not modelled, would act like more of it. A source of 700 mm in a field
    of 200 mm would count ``0.017 * 200 / 700``, 4.9 per second and kBq. Chosen so that a patient of 75 kg shows a COV
    of 10 % in a liver sphere of 3 cm.
    """
    radiopharmaceutical: str = "Fluorodeoxyglucose F^18^"
    """As a header names it; labelled with F-18, for which the sensitivity holds."""
    body_part: str = "WHOLEBODY"

    @property
    def n_pixels(self) -> int:
        """Pixels along each side of a slice."""
        return max(32, 2 * math.ceil(self.field_mm / self.voxel_mm / 2))

    @property
    def n_views(self) -> int:
        """Views of a sinogram."""
        return max(64, min(self.n_pixels, 192))

    def with_tracer(self, tracer: BrainTracer, *, body_mass_kg: float) -> ReferenceScan:
        """The scan of a head by a tracer's own activity, uptake time and duration.

        Raises
        ------
        InputError
            If the tracer is not imaged by PET.
        """
        if not tracer.for_pet:
            raise InputError(f"A PET tracer is labelled with F-18; found {tracer.name} with {tracer.radionuclide}.")
        return replace(
            self,
            activity_per_mass_bq_kg=tracer.activity_bq / body_mass_kg,
            uptake_time_s=tracer.uptake_time_s,
            duration_s=tracer.duration_s,
            radiopharmaceutical=tracer.agent,
            body_part="HEAD",
        )

    def draw(self, body_mass_kg: float, fractions: tuple[float, ...], rng: np.random.Generator) -> ScanDraw:
        """The scan of one patient; only the imperfections are drawn."""
        n = self.n_pixels
        geometry = SinogramGeometry(n_views=self.n_views, n_bins=n, bin_mm=self.voxel_mm)
        mismatch = Mismatch()
        if self.mismatched:
            mismatch = Mismatch(
                scatter_scale=rng.uniform(0.85, 1.15),
                resolution_scale=rng.uniform(0.85, 1.15),
                mu_shift_mm=tuple(float(v) for v in rng.normal(0, (1.0, 1.0, 2.0))),  # type: ignore[arg-type]
                randoms_noise=0.05,
            )
        axial_filter = self.filter_fwhm_mm if self.axial_filter_fwhm_mm is None else self.axial_filter_fwhm_mm
        scanner = PetScanner(
            geometry,
            plane_mm=self.plane_mm,
            fwhm_mm=self.fwhm_mm,
            axial_fwhm_mm=self.fwhm_mm,
            mixing=PlaneMixing.fraction_for_correlation(self.axial_correlation),
            sensitivity=self.sensitivity,
            scatter_fraction=self.scatter_fraction,
            randoms_fraction=self.randoms_fraction,
            timing_ps=self.timing_ps,
        )
        osem = OsemSettings(
            n_pixels=n,
            pixel_mm=self.voxel_mm,
            plane_mm=self.plane_mm,
            n_iterations=self.n_iterations,
            n_subsets=self.n_subsets,
            resolution_fwhm_mm=self.fwhm_mm * mismatch.resolution_scale if self.resolution_model else 0.0,
            filter_fwhm_mm=self.filter_fwhm_mm,
            axial_filter_fwhm_mm=axial_filter,
        )
        protocol = PetProtocol(
            injected_activity_bq=self.activity_per_mass_bq_kg * body_mass_kg,
            body_mass_kg=body_mass_kg,
            uptake_time_s=self.uptake_time_s,
            duration_s=self.duration_s,
        )
        return ScanDraw(scanner, protocol, osem, mismatch, fractions, 0.0)


BED_LENGTH_MM, BED_OVERLAP_MM = 192.0, 64.0
"""Axial field and overlap of the bed positions of the reference protocol, chosen [mm]."""


def bed_plan(plane_mm: float) -> BedPlan:
    """Bed positions of the reference protocol: 192 mm without septa, overlapping by a third, 3 s apart."""
    return BedPlan(n_planes=round(BED_LENGTH_MM / plane_mm), overlap=round(BED_OVERLAP_MM / plane_mm))


def scan_phantom(
    render: Callable[[Grid], Phantom],
    *,
    reference: ReferenceScan,
    body_mass_kg: float,
    height_m: float,
    sex: str,
    z_range_mm: tuple[float, float],
    fractions: tuple[float, ...],
    seed: int,
    also: tuple[OtherImage, ...] = (),
    maps: Mapping[str, Attenuation] | None = None,
    motion: BodyMotion | None = None,
    progress: Progress = silent,
) -> ScannedPhantom:
    """Scan a phantom from one plane to another by a protocol, in blocks of planes.

    Parameters
    ----------
    render
        Draws the phantom on a grid.
    reference
        Protocol, scanner and reconstruction.
    z_range_mm
        First and last plane [mm]; bed positions cover at least this, about the same middle.
    fractions
        Counts of each scan over those of the protocol.
    seed
        Of the imperfections and of the counting noise.
    also
        What else is made of the same counts.
    maps
        Attenuation maps, by name, with each of which the same counts are reconstructed once more.
    motion
        Of the body between CT and emission, in heights of the phantom; that of nobody when unset.
    """
    rng = np.random.default_rng((seed, 29))
    draw = reference.draw(body_mass_kg, fractions, rng)
    generator = torch.Generator().manual_seed(seed)
    n_planes = max(8, math.floor((z_range_mm[1] - z_range_mm[0]) / reference.plane_mm))
    start_mm, plan = z_range_mm[0], reference.beds
    beds: tuple[BedPosition, ...] = ()
    lesions: dict[int, Lesion] = {}

    def drawn(grid: Grid) -> Phantom:
        """The phantom on a grid; its lesions are noted."""
        phantom = render(grid)
        lesions.update({lesion.index: lesion for lesion in phantom.lesions})
        return phantom

    if plan is None:
        cases = _scan_blocks(drawn, draw, n_planes, start_mm, generator, also, maps, motion, progress)
    else:
        n_beds = plan.n_beds(n_planes)
        start_mm -= (plan.total_planes(n_beds) - n_planes) / 2 * reference.plane_mm
        beds = plan.positions(n_beds, duration_s=reference.duration_s, half_life_s=draw.protocol.half_life_s)
        joined = scan_beds(
            drawn, draw, plan, beds, start_mm=start_mm, generator=generator, also=also, maps=maps, motion=motion,
            progress=progress,
        )  # fmt: skip
        cases = [joined]
    acquisition = scan_acquisition(
        draw, body_mass_kg=body_mass_kg, height_m=height_m, sex=sex,
        radiopharmaceutical=reference.radiopharmaceutical, body_part=reference.body_part,
    )  # fmt: skip
    if plan is not None:
        acquisition = with_bed_times(acquisition, draw.protocol, plan, beds)
    found = tuple(lesions[k] for k in sorted(lesions))
    study = assemble_scan(cases, acquisition, lesions=found, start_mm=start_mm, seed=seed)
    return replace(study, beds=beds, draw=draw, motion=motion)


def _scan_blocks(
    render: Callable[[Grid], Phantom],
    draw: ScanDraw,
    n_planes: int,
    start_mm: float,
    generator: torch.Generator,
    also: Sequence[OtherImage],
    maps: Mapping[str, Attenuation] | None,
    motion: BodyMotion | None,
    progress: Progress,
) -> list[SimulatedCase]:
    """Scan all planes for the same time from the same start, in blocks that fit the memory."""
    starts = list(range(0, n_planes, _BLOCK_PLANES))
    cases = []
    for k, first in enumerate(starts):
        count = min(_BLOCK_PLANES, n_planes - first)
        start = start_mm + first * draw.osem.plane_mm
        own = moved_about(draw, motion, start + count * draw.osem.plane_mm / 2)
        grid = fine_grid(draw, n_planes=count, start_mm=start)
        cases.append(simulate_case(render(grid), own, generator=generator, calibrate=False, also=also, maps=maps))
        progress("scanning the phantom", (k + 1) / len(starts))
    return cases
