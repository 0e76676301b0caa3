"""A whole body scanned in overlapping bed positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from nmsynth.core.progress import Progress, silent
from nmsynth.data.known_attenuation import Attenuation
from nmsynth.data.simulation import (
    GUARD_PLANES,
    OtherImage,
    ScanDraw,
    SimulatedCase,
    fine_grid,
    moved_about,
    simulate_case,
    soft_tissue_cov,
)
from nmsynth.physics.beds import BedPlan, BedPosition, combine_beds
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.phantom.grid import Grid, Phantom


def scan_beds(
    render: Callable[[Grid], Phantom],
    draw: ScanDraw,
    plan: BedPlan,
    beds: tuple[BedPosition, ...],
    *,
    start_mm: float,
    generator: torch.Generator,
    also: Sequence[OtherImage] = (),
    maps: Mapping[str, Attenuation] | None = None,
    motion: BodyMotion | None = None,
    progress: Progress = silent,
) -> SimulatedCase:
    """Scan and reconstruct each bed position for itself, and join them weighted by their expected counts.

    Every bed begins as much later as its position says, with what activity is left then; its image is corrected to the
    start of the series. Its planes count by the profile of the plan.

    Parameters
    ----------
    render
        Draws the phantom on a grid.
    draw
        Scanner, protocol and reconstruction of each bed.
    plan, beds
        Profile and overlap, and the positions in order of planes.
    start_mm
        First plane [mm].
    also
        What else is made of the same counts.
    maps
        Attenuation maps, by name, with each of which the same counts are reconstructed once more.
    motion
        Of the body between CT and emission, in heights of the phantom.
    """
    # no ring sees the guard planes, which are there so that activity beyond the ends blurs in
    edge = (0.0,) * GUARD_PLANES
    scanner = replace(draw.scanner, axial_profile=(*edge, *plan.profile, *edge))
    cases = []
    for k, bed in enumerate(beds):
        own = replace(draw, scanner=scanner, protocol=replace(draw.protocol, delay_s=bed.delay_s))
        start = start_mm + bed.first_plane * draw.osem.plane_mm
        own = moved_about(own, motion, start + plan.n_planes * draw.osem.plane_mm / 2)
        phantom = render(fine_grid(draw, n_planes=plan.n_planes, start_mm=start))
        cases.append(simulate_case(phantom, own, generator=generator, calibrate=False, also=also, maps=maps))
        progress("scanning the phantom", (k + 1) / len(beds))

    def joined(images: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Images of the beds as one."""
        return np.asarray(combine_beds([torch.from_numpy(image) for image in images], plan, beds).numpy())

    def laid(arrays: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Labels of the beds as one; they agree where beds overlap."""
        whole = np.zeros((plan.total_planes(len(beds)), *arrays[0].shape[1:]), dtype=np.uint8)
        for array, bed in zip(arrays, beds, strict=True):
            whole[bed.first_plane : bed.first_plane + plan.n_planes] = array
        return whole

    noise_free = joined([case.noise_free for case in cases])
    scans = np.stack([joined([case.scans[level] for case in cases]) for level in range(len(draw.fractions))])
    return SimulatedCase(
        truth=joined([case.truth for case in cases]),
        noise_free=noise_free,
        scans=scans,
        fractions=draw.fractions,
        lesion_labels=laid([case.lesion_labels for case in cases]),
        organ_labels=laid([case.organ_labels for case in cases]),
        mu_map=joined([case.mu_map for case in cases]),
        draw=draw,
        measured_cov=soft_tissue_cov(scans[0], noise_free),
        others={
            name: np.stack([joined([case.others[name][k] for case in cases]) for k in range(1 + len(draw.fractions))])
            for name in (*also, *(maps or {}))
        },
    )
