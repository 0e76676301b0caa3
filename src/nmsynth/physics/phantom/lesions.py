"""Lesions of known size and contrast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.bone_sites import SITES
from nmsynth.physics.phantom.grid import FloatArray, Grid, Lesion
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.phantom.shapes import Box, rotation

Sampler = Callable[[NDArray[np.float64]], tuple[FloatArray, NDArray[np.uint8]]]
"""Uptake [g/mL] and label of the lesion-free body at points ``(n, 3)`` as ``(z, y, x)`` [mm]."""

_HOSTS: dict[str, tuple[Organ, ...]] = {
    "liver": (Organ.LIVER,),
    "lung": (Organ.LUNG,),
    "bone": (Organ.MARROW, Organ.BONE),
    "node": (Organ.FAT, Organ.SOFT_TISSUE),
    "soft_tissue": (Organ.MUSCLE,),
    "spleen": (Organ.SPLEEN,),
    "brain": (Organ.BRAIN_WHITE,),
    "breast": (Organ.BREAST,),
}
_ODDS = {
    "liver": 0.22,
    "lung": 0.2,
    "bone": 0.18,
    "node": 0.25,
    "soft_tissue": 0.09,
    "spleen": 0.02,
    "brain": 0.01,
    "breast": 0.03,
}
RING_MM = (7.0, 14.0)
"""Shell around a lesion's equivalent sphere in which its background is taken [mm]."""


@dataclass(frozen=True, slots=True)
class LesionPlan:
    """Which lesions a patient gets.

    Attributes
    ----------
    count
        Number of lesions; None draws 0 to 25. Fewer are placed where there is no room.
    diameter_mm
        Range of the equivalent diameter [mm], drawn log-uniformly.
    contrast
        Range of lesion over local background, drawn log-uniformly.
    diameters_mm, contrasts
        Fixed lists instead of ranges, used in turn; without ``count`` the longer list tells how many.
    organs
        Hosts to choose from, None for all: liver, lung, bone, node, soft_tissue, spleen, brain, breast.
    shapes
        Kinds to choose from.
    necrosis
        Share of lesions of 20 mm and more with a cold centre.
    texture
        Share of the uptake that varies within a lesion (relative standard deviation); 0 for uniform lesions.
    isolated
        Place only where the shell 7-14 mm outside the lesion holds one host structure and no other lesion.
    sites
        Parts of the skeleton to choose from (:data:`nmsynth.physics.phantom.bone_sites.SITES`): all lesions then lie in
        bone, along it, with at least 85 % of their volume within it. Only procedural patients know them.
    """

    count: int | None = None
    diameter_mm: tuple[float, float] = (4.0, 60.0)
    contrast: tuple[float, float] = (1.5, 10.0)
    diameters_mm: tuple[float, ...] | None = None
    contrasts: tuple[float, ...] | None = None
    organs: tuple[str, ...] | None = None
    shapes: tuple[str, ...] = ("sphere", "ellipsoid", "irregular")
    necrosis: float = 0.25
    texture: float = 0.1
    isolated: bool = False
    sites: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible plans."""
        if self.count is not None and not 0 <= self.count <= 250:
            raise InputError(f"LesionPlan.count must be between 0 and 250, found {self.count}.")
        for name, (low, high), limits in (
            ("diameter_mm", self.diameter_mm, (1.0, 120.0)),
            ("contrast", self.contrast, (0.01, 100.0)),
        ):
            if not limits[0] <= low <= high <= limits[1]:
                raise InputError(f"LesionPlan.{name} must be a range within {limits}, found ({low}, {high}).")
        for name, values in (("diameters_mm", self.diameters_mm), ("contrasts", self.contrasts)):
            if values is not None and (not values or not all(math.isfinite(v) and v > 0 for v in values)):
                raise InputError(f"LesionPlan.{name} must list positive numbers, found {values}.")
        unknown = sorted(set(self.organs or ()) - set(_HOSTS))
        if unknown:
            raise InputError(f"LesionPlan.organs knows {sorted(_HOSTS)}, found {unknown}.")
        if self.sites is not None and (not self.sites or set(self.sites) - set(SITES)):
            raise InputError(f"LesionPlan.sites knows {SITES}, found {self.sites}.")
        if self.sites is not None and (self.organs is not None or self.isolated):
            raise InputError(
                "LesionPlan.sites puts lesions in bone, which is too thin to isolate them; found it with organs or "
                "isolated. Leave these out."
            )
        if not self.shapes or set(self.shapes) - {"sphere", "ellipsoid", "irregular"}:
            raise InputError(f"LesionPlan.shapes may hold 'sphere', 'ellipsoid', 'irregular', found {self.shapes}.")
        if not 0 <= self.necrosis <= 1 or not 0 <= self.texture <= 0.5:
            raise InputError("LesionPlan needs 0 <= necrosis <= 1 and 0 <= texture <= 0.5.")


@dataclass(frozen=True, eq=False)
class PlacedLesion:
    """A lesion with its shape: ``r(direction)`` around the centre, in rotated axes."""

    truth: Lesion
    radii: NDArray[np.float64]
    turn: NDArray[np.float64]
    waves: NDArray[np.float64]
    core: float
    core_factor: float
    wall_factor: float
    texture: float
    mu: float | None

    @property
    def reach_mm(self) -> float:
        """Largest distance from the centre to the surface [mm]."""
        return float(self.radii.max() * (1 + np.abs(self.waves[:, 3]).sum()))

    def level(self, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius over the surface's radius in the same direction for offsets ``(..., 3)`` [mm]; below 1 inside."""
        local = offsets @ self.turn / self.radii
        radius = np.sqrt((local**2).sum(axis=-1))
        if not len(self.waves):
            return np.asarray(radius)
        unit = local / np.maximum(radius, 1e-9)[..., None]
        surface = 1 + sum(w[3] * np.sin(unit @ w[:3] + w[4]) for w in self.waves)
        return np.asarray(radius / surface)

    def uptake(self, offsets: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether points are inside, and their uptake [g/mL]."""
        level = self.level(offsets)
        factor = np.where(level < self.core, self.core_factor, self.wall_factor)
        if self.texture:
            scale = 2.2 * np.pi / self.truth.diameter_mm
            wave = (
                np.sin(scale * offsets[..., 0] + 1)
                + np.sin(scale * offsets[..., 1])
                + np.sin(scale * offsets[..., 2] + 2)
            )
            factor = factor * (1 + self.texture * wave * 0.8)
        return level < 1, self.truth.suv * factor


def lesion_form(rng: np.random.Generator, kind: str, diameter_mm: float) -> tuple[NDArray[np.float64], ...]:
    """Half axes scaled to the wanted volume, rotation and surface waves."""
    radii, turn, waves = np.ones(3), np.eye(3), np.zeros((0, 5))
    if kind != "sphere":
        radii = np.exp(rng.uniform(-0.3, 0.3, 3))
        turn = rotation(tuple(rng.uniform(-180, 180, 3)))
    if kind == "irregular":
        n = int(rng.integers(4, 8))
        waves = np.column_stack([rng.normal(0, 2.2, (n, 3)), rng.uniform(0.04, 0.13, n), rng.uniform(0, 6.28, n)])
    rays = directions(4000)
    surface = np.ones(len(rays))
    for w in waves:
        surface = surface + w[3] * np.sin(rays @ w[:3] + w[4])
    volume = radii.prod() * (surface**3).mean()
    return radii * (diameter_mm / 2) / volume ** (1 / 3), turn, waves


def directions(n: int) -> NDArray[np.float64]:
    """Even directions on the unit sphere, a Fibonacci lattice."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    angle = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z**2)
    return np.column_stack([z, r * np.sin(angle), r * np.cos(angle)])


def place_lesions(
    rng: np.random.Generator,
    sample: Sampler,
    plan: LesionPlan,
    box: Box,
) -> tuple[PlacedLesion, ...]:
    """Draw lesions into plausible hosts, without overlap; the uptake follows from the local background."""
    if plan.sites is not None:
        raise InputError("Sites of bones are known of procedural patients only. Leave LesionPlan.sites out.")
    count = lesion_count(rng, plan)
    if count == 0:
        return ()
    hosts = _candidates(rng, sample, box)
    names = [n for n in (plan.organs or tuple(_HOSTS)) if len(hosts[n])]
    placed: list[PlacedLesion] = []
    if not names:
        return ()
    for i in range(count):
        diameter, contrast = lesion_size(rng, plan, i)
        for host, centre in _places(rng, sample, plan, {n: hosts[n] for n in names}, diameter):
            lesion = _try(rng, sample, plan, (len(placed) + 1, host, centre, diameter, contrast), placed)
            if lesion is not None:
                placed.append(lesion)
                break
    return tuple(placed)


def _places(
    rng: np.random.Generator,
    sample: Sampler,
    plan: LesionPlan,
    hosts: dict[str, NDArray[np.float64]],
    diameter_mm: float,
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield hosts and centres to try; for isolated lesions those that a rough look finds roomy, many at once."""
    names = list(hosts)
    odds = np.array([_ODDS[n] for n in names])
    for size in (60, 240) if plan.isolated else (40,):
        picks = [str(n) for n in rng.choice(names, size=size, p=odds / odds.sum())]
        centres = np.array([hosts[n][int(rng.integers(len(hosts[n])))] for n in picks])
        if plan.isolated:
            radii = diameter_mm / 2 + np.array([0.0, *RING_MM])
            around = (radii[:, None, None] * directions(14)).reshape(-1, 3)
            _, labels = sample((centres[:, None] + around).reshape(-1, 3))
            fits = [np.isin(f, _HOSTS[n]).all() for n, f in zip(picks, labels.reshape(size, -1), strict=True)]
        else:
            fits = [np.True_] * size
        yield from ((n, c) for n, c, fit in zip(picks, centres, fits, strict=True) if fit)


def lesion_count(rng: np.random.Generator, plan: LesionPlan) -> int:
    """Number of lesions to try."""
    if plan.count is not None:
        return plan.count
    lists = [len(v) for v in (plan.diameters_mm, plan.contrasts) if v is not None]
    if lists:
        return max(lists)
    return 0 if rng.random() < 0.2 else int(rng.integers(1, 26))


def lesion_size(rng: np.random.Generator, plan: LesionPlan, i: int) -> tuple[float, float]:
    """Diameter [mm] and contrast of lesion i."""
    drawn = [float(np.exp(rng.uniform(*np.log(limits)))) for limits in (plan.diameter_mm, plan.contrast)]
    for k, values in enumerate((plan.diameters_mm, plan.contrasts)):
        if values is not None:
            drawn[k] = float(values[i % len(values)])
    return drawn[0], drawn[1]


def _candidates(rng: np.random.Generator, sample: Sampler, box: Box) -> dict[str, NDArray[np.float64]]:
    """Random points of each host structure; nodes only near the vessels."""
    n = 24000
    points = np.column_stack([rng.uniform(*limits, n) for limits in box])
    _, labels = sample(points)
    hosts = {name: points[np.isin(labels, organs)] for name, organs in _HOSTS.items()}
    vessels = points[labels == Organ.BLOOD]
    nodes = hosts["node"]
    if len(vessels) and len(nodes):
        gap = np.array([np.min(((vessels - p) ** 2).sum(axis=1)) for p in nodes[:1500]])
        hosts["node"] = nodes[:1500][gap < 20.0**2]
    return hosts


def _try(
    rng: np.random.Generator,
    sample: Sampler,
    plan: LesionPlan,
    wanted: tuple[int, str, NDArray[np.float64], float, float],
    placed: Sequence[PlacedLesion],
) -> PlacedLesion | None:
    """Place one lesion, or None where the place is unfit."""
    index, host, centre, diameter, contrast = wanted
    radius = diameter / 2
    kind = str(rng.choice(plan.shapes))
    radii, turn, waves = lesion_form(rng, kind, diameter)
    reach = float(radii.max() * (1 + np.abs(waves[:, 3]).sum()))
    room = (2 * RING_MM[1]) if plan.isolated else 3.0
    for other in placed:
        gap = float(np.linalg.norm(centre - np.array(other.truth.centre_mm)))
        if gap < reach + other.reach_mm + room:
            return None
    if plan.isolated and reach > radius + RING_MM[0] - 1:
        return None
    organs = _HOSTS[host]
    shell, inside = _surroundings(sample, centre, radius, 400 if plan.isolated else 60)
    own = np.isin(shell[1], organs)
    if np.mean(np.isin(inside[1], organs)) < 0.6 or (inside[1] == Organ.OUTSIDE).any() or own.mean() < 0.15:
        return None
    if plan.isolated and (own.mean() < 0.995 or np.std(shell[0]) > 0.2 * np.mean(shell[0])):
        return None
    background = float(np.mean(shell[0][own]))
    core, cold = 0.0, 1.0
    if diameter >= 20 and rng.random() < plan.necrosis:
        core, cold = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.15, 0.5))
    place = (float(centre[0]), float(centre[1]), float(centre[2]))
    truth = Lesion(
        index, host, place, diameter, contrast, contrast * background, background, kind, isolated=plan.isolated
    )
    texture = plan.texture if diameter >= 10 else 0.0
    return normalised(PlacedLesion(truth, radii, turn, waves, core, cold, 1.0, texture, 0.096))


def normalised(lesion: PlacedLesion) -> PlacedLesion:
    """Same lesion with its uptake scaled so that the mean over its volume is the recorded one."""
    axis = np.linspace(-lesion.reach_mm, lesion.reach_mm, 31)
    inside, uptake = lesion.uptake(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1))
    scale = lesion.truth.suv / float(uptake[inside].mean())
    return replace(lesion, core_factor=lesion.core_factor * scale, wall_factor=lesion.wall_factor * scale)


def _surroundings(
    sample: Sampler, centre: NDArray[np.float64], radius: float, n_directions: int
) -> tuple[tuple[FloatArray, NDArray[np.uint8]], tuple[FloatArray, NDArray[np.uint8]]]:
    """Uptake and label of the lesion-free body in the shell around a lesion and inside it."""
    u = directions(n_directions)
    rings = np.linspace(radius + RING_MM[0], radius + RING_MM[1], 5)
    shell = np.concatenate([centre + r * u for r in rings])
    inner = np.concatenate([centre + f * radius * u for f in (0.35, 0.7, 1.0)])
    suv, labels = sample(np.concatenate([shell, inner]))
    n = len(shell)
    return (suv[:n], labels[:n]), (suv[n:], labels[n:])


def paint_lesions(
    grid: Grid, activity: FloatArray, mu_map: FloatArray, lesions: Sequence[PlacedLesion], samples: int = 5
) -> tuple[NDArray[np.uint8], tuple[Lesion, ...]]:
    """Paint lesions in place as averages over each voxel; returns the lesion labels and the lesions in the grid."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    found: list[Lesion] = []
    for lesion in lesions:
        centre = np.array(lesion.truth.centre_mm)
        spacing, origin = np.array(grid.spacing_mm), np.array(grid.origin_mm)
        position = (centre - origin) / spacing
        if grid.holds(lesion.truth.centre_mm):
            found.append(lesion.truth)
        first = np.maximum(np.floor(position - lesion.reach_mm / spacing - 0.5), 0).astype(int)
        last = np.minimum(np.ceil(position + lesion.reach_mm / spacing + 0.5) + 1, grid.shape).astype(int)
        if (first >= last).any():
            continue
        where = (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
        # Large lesions have few edge voxels for their volume: fewer points are as exact.
        n = samples if lesion.truth.diameter_mm < 12 * spacing.min() else (samples + 1) // 2
        filled, uptake = _voxel_means(lesion, first, last, origin - centre, spacing, n)
        activity[where] = activity[where] * (1 - filled) + uptake
        if lesion.mu is not None:
            host = mu_map[where]
            mu_map[where] = np.where(host < 0.11, host * (1 - filled) + lesion.mu * filled, host)
        own = filled >= 0.5
        middle = np.floor(position + 0.5).astype(int) - first
        if (middle >= 0).all() and (middle < last - first).all():
            own[tuple(middle)] = True
        labels[where][own] = lesion.truth.index
    return labels, tuple(found)


def _voxel_means(
    lesion: PlacedLesion,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    origin: NDArray[np.float64],
    spacing: NDArray[np.float64],
    samples: int,
) -> tuple[FloatArray, FloatArray]:
    """Filled fraction of each voxel, and filled fraction times uptake, from samples^3 points a voxel."""
    inner = (np.arange(samples) + 0.5) / samples - 0.5
    axes = [origin[k] + spacing[k] * (np.arange(first[k], last[k])[:, None] + inner).ravel() for k in range(3)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    inside, uptake = lesion.uptake(offsets)
    n = last - first
    shape = (n[0], samples, n[1], samples, n[2], samples)
    filled = inside.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float64)
    total = (inside * uptake).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float64)
    return filled.astype(np.float32), total.astype(np.float32)
