"""Places of less uptake at the surface of an organ: scars of a kidney, regions of a lung without perfusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.grid import FloatArray, Grid, Lesion, Phantom
from nmsynth.physics.phantom.organs import Organ

Render = Callable[[Grid], Phantom]
"""What draws a phantom on a grid."""

HALF_AXES_MM = {Organ.LUNG: (15.0, 35.0), Organ.KIDNEY: (8.0, 15.0)}
"""Range of the half axes of a defect by its host [mm]: about a segment or less of a lung, a part of a kidney's pole."""
UPTAKE_LEFT = {Organ.LUNG: (0.0, 0.3), Organ.KIDNEY: (0.05, 0.4)}
"""Range of the uptake of a defect over that of its host; both ranges are chosen."""
MOST_DRAWN = 3
"""Defects of a subject whose number is drawn, none among them."""
_LOOK_MM = 5.0
_WIDTH_MM = (320.0, 480.0)
_TRIES = 60


@dataclass(frozen=True, slots=True)
class ColdDefect:
    """The part of an organ within an ellipsoid."""

    truth: Lesion
    """Its contrast, below one, is what is left of the uptake."""
    half_axes_mm: tuple[float, float, float]

    def filled(self, grid: Grid) -> FloatArray:
        """Share of each voxel within the ellipsoid, shape ``(z, y, x)``; its edge is a ramp of about a voxel."""
        terms = [
            ((axis - middle) / half) ** 2
            for axis, middle, half in zip(grid.axes(), self.truth.centre_mm, self.half_axes_mm, strict=True)
        ]
        level = np.sqrt(terms[0][:, None, None] + terms[1][None, :, None] + terms[2][None, None, :])
        steepness = min(self.half_axes_mm) / max(grid.spacing_mm)
        return np.clip((1.0 - level) * steepness + 0.5, 0.0, 1.0).astype(np.float32)


def with_defects(
    render: Render, host: Organ, *, seed: int, count: int | None, extent_mm: tuple[float, float]
) -> Render:
    """What draws a phantom with places of less uptake in an organ, which are its lesions.

    A defect is the part of the organ within an ellipsoid whose centre lies at the organ's surface, as scars and emboli
    lie; its uptake is a share of what was there. No two touch. Nothing else changes: what the defect does not take up
    goes nowhere. Not modelled: wedges to the hilum, swelling, less function of the whole organ.

    Parameters
    ----------
    render
        Draws the phantom without defects, and without lesions.
    host
        ``Organ.LUNG`` or ``Organ.KIDNEY``.
    seed
        Of place, size and depth; the same for every grid.
    count
        Defects to place, fewer where there is no room; none to three are drawn when ``None``.
    extent_mm
        Heights between which they lie [mm].

    Raises
    ------
    InputError
        For another host.
    """
    if host not in HALF_AXES_MM:
        raise InputError(f"Defects are placed in the lungs or the kidneys; found {host.name.lower()}. Choose one.")
    rng = np.random.default_rng([seed, 8])
    wanted = int(rng.integers(0, MOST_DRAWN, endpoint=True)) if count is None else count
    defects = _placed(render, host, rng, wanted, extent_mm) if wanted else ()

    def draw(grid: Grid) -> Phantom:
        """The phantom on a grid, with its defects."""
        return _painted(render(grid), host, defects)

    return draw if defects else render


def _placed(
    render: Render, host: Organ, rng: np.random.Generator, wanted: int, extent_mm: tuple[float, float]
) -> tuple[ColdDefect, ...]:
    """Defects about voxels of the surface of the organ."""
    low, high = extent_mm
    shape = (max(1, int((high - low) / _LOOK_MM)), *(int(width / _LOOK_MM) for width in _WIDTH_MM))
    grid = Grid.centred((shape[0], shape[1], shape[2]), (_LOOK_MM,) * 3, low + _LOOK_MM / 2)
    phantom = render(grid)
    inside = phantom.labels == host
    surface = np.argwhere(inside & ~ndimage.binary_erosion(inside, border_value=1))
    if not len(surface):
        return ()
    uptake = float(phantom.activity[inside].mean())
    z, y, x = grid.axes()
    placed: list[ColdDefect] = []
    for _ in range(_TRIES):
        if len(placed) == wanted:
            break
        i, j, k = surface[int(rng.integers(len(surface)))]
        axes = rng.uniform(*HALF_AXES_MM[host], 3)
        left = float(rng.uniform(*UPTAKE_LEFT[host]))
        centre = (float(z[i]), float(y[j]), float(x[k]))
        if any(_touch(centre, float(axes.max()), other) for other in placed):
            continue
        truth = Lesion(
            len(placed) + 1, host.name.lower(), centre, 2.0 * float(axes.prod()) ** (1 / 3), left, left * uptake,
            uptake, "ellipsoid",
        )  # fmt: skip
        placed.append(ColdDefect(truth, (float(axes[0]), float(axes[1]), float(axes[2]))))
    return tuple(placed)


def _touch(centre_mm: tuple[float, float, float], reach_mm: float, other: ColdDefect) -> bool:
    """Whether a ball about a centre reaches another defect, with room for a ring between them."""
    apart = float(np.linalg.norm(np.subtract(centre_mm, other.truth.centre_mm)))
    return apart < reach_mm + max(other.half_axes_mm) + 14.0


def _painted(phantom: Phantom, host: Organ, defects: tuple[ColdDefect, ...]) -> Phantom:
    """A phantom with defects in it."""
    activity, labels = phantom.activity.copy(), phantom.lesion_labels.copy()
    inside: NDArray[np.bool_] = phantom.labels == host
    for defect in defects:
        filled = np.where(inside, defect.filled(phantom.grid), np.float32(0.0))
        activity *= 1.0 - np.float32(1.0 - defect.truth.contrast) * filled
        labels[filled >= 0.5] = defect.truth.index
    found = tuple(defect.truth for defect in defects if phantom.grid.holds(defect.truth.centre_mm))
    return replace(phantom, activity=activity, lesion_labels=labels, lesions=(*phantom.lesions, *found))
