"""Lesions in chosen parts of the skeleton, along the bone and within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.bone_sites import SITE_ODDS, SITES, Sampler, bone_axes, turned
from nmsynth.physics.phantom.grid import Grid, Lesion
from nmsynth.physics.phantom.lesions import (
    RING_MM,
    LesionPlan,
    PlacedLesion,
    directions,
    lesion_count,
    lesion_form,
    lesion_size,
    normalised,
)
from nmsynth.physics.phantom.shapes import Box

WITHIN = 0.85
"""Least share of a lesion's volume that lies in bone."""
SMALLEST_MM = 5.0
"""Least equivalent diameter to which a lesion is shrunk so that it fits the bone [mm]."""
_POINTS = 60000
_TRIES = 40
_SIDE = 31
"""Points along each side of the cube in which bone is looked up around a place."""


def place_bone_lesions(
    rng: np.random.Generator,
    sample: Sampler,
    site_of: Sampler,
    draw_sites: Callable[[Grid], NDArray[np.uint8]],
    plan: LesionPlan,
    box: Box,
) -> tuple[PlacedLesion, ...]:
    """Draw lesions into the sites of a plan.

    Parameters
    ----------
    rng
        Source of randomness.
    sample
        Uptake and organ of the lesion-free body at points.
    site_of
        Same, with 1 + the index of the site in :data:`~nmsynth.physics.phantom.bone_sites.SITES` in place of the organ.
    draw_sites
        The same on a grid, site alone.
    plan
        Its sites, sizes and contrasts. A lesion whose diameter is drawn from a range shrinks until the bone holds it,
        one of a given diameter is left out where it fits nowhere.
    box
        Where points are looked for [mm].
    """
    count = lesion_count(rng, plan)
    if count == 0:
        return ()
    points = np.column_stack([rng.uniform(*limits, _POINTS) for limits in box])
    _, sites = site_of(points)
    hosts = {name: points[sites == 1 + SITES.index(name)] for name in plan.sites or SITES}
    names = [n for n in hosts if len(hosts[n])]
    if not names:
        return ()
    odds = np.array([SITE_ODDS[n] for n in names])
    placed: list[PlacedLesion] = []
    for i in range(count):
        diameter, contrast = lesion_size(rng, plan, i)
        for _ in range(_TRIES):
            site = str(rng.choice(names, p=odds / odds.sum()))
            centre = hosts[site][int(rng.integers(len(hosts[site])))]
            found = _try(rng, sample, draw_sites, plan, (len(placed) + 1, site, centre, diameter, contrast), placed)
            if found is not None:
                placed.append(found)
                break
    return tuple(placed)


def _try(
    rng: np.random.Generator,
    sample: Sampler,
    draw_sites: Callable[[Grid], NDArray[np.uint8]],
    plan: LesionPlan,
    wanted: tuple[int, str, NDArray[np.float64], float, float],
    placed: Sequence[PlacedLesion],
) -> PlacedLesion | None:
    """Place one lesion, or None where the bone does not hold it or another is near."""
    index, site, centre, diameter, contrast = wanted
    in_bone = _bone_around(draw_sites, 1 + SITES.index(site), centre, max(30.0, 1.25 * diameter))
    kind = str(rng.choice(plan.shapes))
    half, turn, waves = lesion_form(rng, kind, diameter)
    if kind != "sphere":
        long, axes = turned(*bone_axes(centre, in_bone, max(8.0, 0.6 * diameter)), rng)
        half, turn = long * half.prod() ** (1 / 3), axes
    fixed = plan.diameters_mm is not None
    while True:
        lesion = _lesion((index, site, centre, diameter, contrast, kind), half, turn, waves)
        if any(_too_near(lesion, other) for other in placed):
            return None
        if in_bone(_points_inside(lesion)).mean() >= WITHIN:
            break
        diameter, half = 0.85 * diameter, 0.85 * half
        if fixed or diameter < max(SMALLEST_MM, plan.diameter_mm[0]):
            return None
    background = _background(sample, in_bone, lesion)
    truth = replace(lesion.truth, suv=contrast * background, background_suv=background)
    texture = plan.texture if diameter >= 10 else 0.0
    return normalised(replace(lesion, truth=truth, texture=texture))


def _bone_around(
    draw_sites: Callable[[Grid], NDArray[np.uint8]], number: int, centre: NDArray[np.float64], reach_mm: float
) -> Callable[[NDArray[np.float64]], NDArray[np.bool_]]:
    """Whether points near a place lie in the wanted bone, from a cube that is drawn once."""
    step = 2 * reach_mm / (_SIDE - 1)
    origin = (float(centre[0]) - reach_mm, float(centre[1]) - reach_mm, float(centre[2]) - reach_mm)
    bone = draw_sites(Grid((_SIDE,) * 3, (step,) * 3, origin)) == number

    def look_up(at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Value at the nearest point of the cube."""
        index = np.clip(np.rint((at - centre + reach_mm) / step).astype(int), 0, _SIDE - 1)
        return np.asarray(bone[index[:, 0], index[:, 1], index[:, 2]])

    return look_up


def _lesion(
    facts: tuple[int, str, NDArray[np.float64], float, float, str],
    half: NDArray[np.float64],
    turn: NDArray[np.float64],
    waves: NDArray[np.float64],
) -> PlacedLesion:
    """A lesion whose uptake is not known yet."""
    index, site, centre, diameter, contrast, kind = facts
    place = (float(centre[0]), float(centre[1]), float(centre[2]))
    truth = Lesion(index, f"bone, {site}", place, diameter, contrast, contrast, 1.0, kind, isolated=False)
    return PlacedLesion(truth, half, turn, waves, 0.0, 1.0, 1.0, 0.0, None)


def _too_near(lesion: PlacedLesion, other: PlacedLesion) -> bool:
    """Whether two lesions may touch."""
    gap = np.linalg.norm(np.array(lesion.truth.centre_mm) - np.array(other.truth.centre_mm))
    return bool(gap < lesion.reach_mm + other.reach_mm + 3.0)


def _points_inside(lesion: PlacedLesion) -> NDArray[np.float64]:
    """Points that fill a lesion evenly, in patient coordinates [mm]."""
    axis = np.linspace(-1, 1, 11) * lesion.reach_mm
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.array(lesion.truth.centre_mm) + offsets[lesion.level(offsets) < 1]


def _background(
    sample: Sampler, in_bone: Callable[[NDArray[np.float64]], NDArray[np.bool_]], lesion: PlacedLesion
) -> float:
    """Mean uptake of the bone 7 to 14 mm around a lesion, or where it will be if there is too little around."""
    centre, radius = np.array(lesion.truth.centre_mm), lesion.truth.diameter_mm / 2
    rings = np.linspace(radius + RING_MM[0], radius + RING_MM[1], 5)
    shell = np.concatenate([centre + r * directions(120) for r in rings])
    own = in_bone(shell)
    at = shell[own] if own.mean() >= 0.05 else _points_inside(lesion)
    return float(sample(at)[0].mean())
