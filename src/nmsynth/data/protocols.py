"""Stated protocols beside the reference one: those of scanners whose images were measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nmsynth.data.scan import ReferenceScan, bed_plan
from nmsynth.physics.beds import BedPlan

BGO_WITH_SEPTA = ReferenceScan(
    voxel_mm=4.6875,
    plane_mm=3.27,
    field_mm=600.0,
    activity_per_mass_bq_kg=389e6 / 71.0,
    uptake_time_s=2711.0,
    duration_s=240.0,
    fwhm_mm=6.2,
    filter_fwhm_mm=5.5,
    axial_filter_fwhm_mm=0.0,
    n_iterations=4,
    n_subsets=16,
    axial_correlation=0.33,
    sensitivity=0.0085 * 176 / 188,  # 0.0085 where the profile of a bed is highest
    scatter_fraction=0.157,
    beds=BedPlan(n_planes=47, overlap=3, flat_from=4, pause_s=3.0),
)
"""Whole-body FDG on a GE Discovery ST (BGO), with septa as its headers suggest.

From the headers of a real series: grid, field, activity per mass, times, bed positions, the end of the axial profile
and the scatter fraction. The sensitivity follows from the prompts that they state for the planes of the liver, in the
middle of a bed, which patients of the same size then have on average. Filters, mixing and the product of iterations
and subsets are not stated: they were chosen so that COV and correlation of the noise come near those of the image, and
other pairs of filter and iterations serve nearly as well. Randoms are a guess.
"""


def in_the_middle_of_a_bed(protocol: ReferenceScan) -> ReferenceScan:
    """The protocol without bed positions, with the sensitivity of the middle of one: quicker where a slab is enough."""
    if protocol.beds is None:
        return protocol
    return replace(protocol, beds=None, sensitivity=protocol.sensitivity * max(protocol.beds.profile))


def with_planes(protocol: ReferenceScan, plane_mm: float) -> ReferenceScan:
    """The protocol with planes of another thickness; bed positions keep length, overlap and flat part in mm.

    A plane in the middle of a bed keeps its sensitivity, whatever whole planes make of the profile.
    """
    if protocol.beds is None:
        return replace(protocol, plane_mm=plane_mm)
    scale = protocol.plane_mm / plane_mm
    plan = protocol.beds
    beds = replace(
        plan,
        n_planes=max(2, round(plan.n_planes * scale)),
        overlap=round(plan.overlap * scale),
        flat_from=None if plan.flat_from is None else max(1, round(plan.flat_from * scale)),
    )
    highest = protocol.sensitivity * max(plan.profile)
    return replace(protocol, plane_mm=plane_mm, beds=beds, sensitivity=highest / max(beds.profile))


def protocol_named(
    name: Literal["reference", "bgo-with-septa"], *, plane_mm: float, with_beds: bool = False
) -> ReferenceScan:
    """The protocol of a name with planes of a thickness [mm], all at once or in its own bed positions."""
    if name == "reference":
        return ReferenceScan(plane_mm=plane_mm, beds=bed_plan(plane_mm) if with_beds else None)
    return with_planes(BGO_WITH_SEPTA if with_beds else in_the_middle_of_a_bed(BGO_WITH_SEPTA), plane_mm)
