"""Where the heart lies in the chest of a subject."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.lesions import directions
from nmsynth.physics.phantom.ventricle import LeftVentricle

if TYPE_CHECKING:
    from nmsynth.physics.phantom.frame import Frame
    from nmsynth.physics.phantom.layers import Fields

_FROM_RIBS_MM = 4.0
"""Least distance of the wall from the ribs' inner face [mm]; chosen."""


def placed_ventricle(
    ventricle: LeftVentricle, wanted: NDArray[np.float64], frame: Frame, fields: Fields
) -> LeftVentricle:
    """Put a ventricle where it belongs, drawn back from the ribs where it would touch them.

    Parameters
    ----------
    ventricle
        Its place is replaced.
    wanted
        Where its middle shall be, ``(z, y, x)`` in the displaced coordinates of the body [mm], so that it lies where a
        heart of layers would.
    frame, fields
        Habitus and displacement of the subject.
    """
    pose, ribs = ventricle.pose(0.0), frame.ribs()
    rays = directions(400)
    surface = rays * np.array([pose.outer_length_mm, pose.outer_radius_mm, pose.outer_radius_mm])
    surface = surface[surface[:, 0] > -pose.base_mm] @ ventricle.axes
    back = np.array([0.0, *(-ventricle.axes[0, 1:] / np.linalg.norm(ventricle.axes[0, 1:]))])
    for _ in range(8):
        place = wanted.copy()
        for _ in range(20):
            place = wanted - _displacement(fields, place[None])[0]
        apex = place + ventricle.pose().outer_length_mm * ventricle.axes[0]
        points = apex - pose.outer_length_mm * ventricle.axes[0] + surface
        z, y, x = (points + _displacement(fields, points)).T.astype(np.float32)
        over = float(ribs.side(z, y, x).max()) + _FROM_RIBS_MM
        if over <= 0:
            break
        wanted = wanted + over * back
    return replace(ventricle, apex_mm=(float(apex[0]), float(apex[1]), float(apex[2])))


def _displacement(fields: Fields, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement of the body's coordinates at points ``(n, 3)`` [mm]."""
    return fields.warp_mm * np.stack([f.at(*points.T) for f in fields.warp], axis=-1).astype(np.float64)
