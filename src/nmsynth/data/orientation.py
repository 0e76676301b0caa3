"""How an image is stored against the patient: the order and the direction of its axes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from nmsynth.core import geometry
from nmsynth.core.volume import Volume

LARGEST_TILT_DEGREES = 35.0
"""Between an axis and that of the patient which it runs nearest to. An image that is tilted further, such as the short
axis of a heart, was cut along an organ: nearest axes would differ between patients, and what it was cut along not."""
PATIENT = geometry.affine_from_axes(spacing_mm=(1.0, 1.0, 1.0))
"""Axes towards the head, to posterior and to the left."""


class Turn(NamedTuple):
    """What brings an array to other axes: first a permutation, then flips."""

    order: tuple[int, int, int]
    """Stored axis of each axis wanted."""
    flipped: tuple[bool, bool, bool]
    """Whether each axis wanted runs against the stored one."""

    @property
    def is_none(self) -> bool:
        """Whether nothing is moved."""
        return self.order == (0, 1, 2) and not any(self.flipped)


def turn_towards(affine: npt.ArrayLike, wanted: npt.ArrayLike) -> Turn:
    """The turn after which the axes of a grid run nearest to those of another.

    Parameters
    ----------
    affine, wanted
        Of the two grids, shape ``(4, 4)``.

    Examples
    --------
    >>> stored = geometry.affine_from_axes(spacing_mm=(3.0, -4.0, -4.0))
    >>> turn_towards(stored, geometry.affine_from_axes(spacing_mm=(1.0, 1.0, 1.0))).flipped
    (False, True, True)
    """
    cosines = geometry.directions_of(wanted).T @ geometry.directions_of(affine)
    _, found = linear_sum_assignment(-np.abs(cosines))
    order = (int(found[0]), int(found[1]), int(found[2]))
    flipped = [bool(cosines[k, order[k]] < 0) for k in range(3)]
    return Turn(order, (flipped[0], flipped[1], flipped[2]))


def turned_grid(
    affine: npt.ArrayLike, shape: tuple[int, int, int], turn: Turn
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine and number of voxels along each axis after a turn; every voxel keeps its place in the patient."""
    before = np.asarray(affine, dtype=np.float64)
    if turn.is_none:
        return before.copy(), shape
    after = before[:, [*turn.order, 3]]
    n = (shape[turn.order[0]], shape[turn.order[1]], shape[turn.order[2]])
    for axis in range(3):
        if turn.flipped[axis]:
            after[:3, 3] += after[:3, axis] * (n[axis] - 1)
            after[:3, axis] *= -1.0
    return after, n


def turned(volume: Volume, turn: Turn) -> Volume:
    """The same image with its voxels in another order; nothing is interpolated.

    What is known of each slice, its time and decay, follows the slices as long as they are the same.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``, or others before them.
    turn
        Of its axes.
    """
    if turn.is_none:
        return volume
    affine, _ = turned_grid(volume.affine, volume.spatial_shape, turn)
    n_before = volume.array.ndim - 3
    array = volume.array.transpose((*range(n_before), *(n_before + axis for axis in turn.order)))
    array = np.flip(array, tuple(axis - 3 for axis in range(3) if turn.flipped[axis]))
    rule, acquisition = volume.suv_rule, volume.acquisition
    if turn.order[0] == 0 and turn.flipped[0]:
        acquisition = replace(
            acquisition,
            acquisition_times=acquisition.acquisition_times[::-1],
            frame_reference_times_s=acquisition.frame_reference_times_s[::-1],
            frame_durations_s=acquisition.frame_durations_s[::-1],
        )
    if rule is not None and len(set(rule.slice_decay)) > 1:
        if turn.order[0] == 0:  # the slices are the same
            rule = replace(rule, slice_decay=rule.slice_decay[:: -1 if turn.flipped[0] else 1])
        else:
            rule = replace(rule, slice_decay=(), reason="SUV needs the slices as acquired; convert before turning.")
    return replace(volume, array=np.ascontiguousarray(array), affine=affine, suv_rule=rule, acquisition=acquisition)


def turn_to_patient(volume: Volume) -> Turn:
    """The turn that brings an image to the patient's axes, as far as it has axes near to them.

    Its axes then run nearest to the head, to posterior and to the left. None is needed of a single slice that is not
    axial, such as a planar view, which stays as the camera sees it, and of an image that is tilted by more than
    :data:`LARGEST_TILT_DEGREES`.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``.
    """
    turn = turn_towards(volume.affine, PATIENT)
    cosines = np.abs(geometry.directions_of(PATIENT).T @ geometry.directions_of(volume.affine))
    nearest = min(cosines[k, turn.order[k]] for k in range(3))
    is_view = volume.spatial_shape[0] == 1 and turn.order[0] != 0
    if is_view or nearest < math.cos(math.radians(LARGEST_TILT_DEGREES)):
        return Turn((0, 1, 2), (False, False, False))
    return turn
