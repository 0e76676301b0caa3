"""Where in the skeleton: parts of it at points, lesions that follow the bone, and worn joints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.body import arm_axis
from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.grid import FloatArray
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.phantom.shapes import Ellipsoid, Point, Shape, rotation

if TYPE_CHECKING:
    from nmsynth.physics.phantom.layers import Layer

SITES = ("spine", "ribs", "pelvis", "femur", "skull", "sternum", "shoulder", "arm")
"""Parts of the skeleton; the femur down to mid-thigh, the shoulder without the arm."""
SITE_ODDS = {"spine": 0.38, "ribs": 0.22, "pelvis": 0.2, "femur": 0.08, "skull": 0.05, "sternum": 0.03,
             "shoulder": 0.03, "arm": 0.01}  # fmt: skip
"""How often a bone lesion lies in each; chosen, with the axial skeleton first as in metastatic disease."""
_LAYER_SITE = {"vertebrae": "spine", "arches": "spine", "ribs": "ribs", "sternum": "sternum", "girdle": "shoulder",
               "pelvis": "pelvis", "sacrum": "pelvis", "skull": "skull"}  # fmt: skip
_LIMBS = ("shafts", "yellow_marrow", "red_marrow")
Sampler = Callable[[NDArray[np.float64]], tuple[FloatArray, NDArray[np.uint8]]]


def site_layers(layers: Sequence[Layer], frame: Frame) -> list[Layer]:
    """The layers with their labels replaced by 1 + the index of their site, 0 where they are no bone."""
    found = []
    for layer in layers:
        if layer.name in _LIMBS:
            thigh = tuple(s for s in layer.shapes if _in_thigh(s, frame))
            arm = tuple(s for s in layer.shapes if not _in_thigh(s, frame))
            found += [replace(layer, label=_number("femur"), shapes=thigh)] if thigh else []
            found += [replace(layer, label=_number("arm"), shapes=arm)] if arm else []
            continue
        site = _LAYER_SITE.get(layer.name)
        found.append(replace(layer, label=_number(site) if site else 0))
    return found


def _number(site: str) -> int:
    """Label of a site."""
    return 1 + SITES.index(site)


def _in_thigh(shape: Shape, frame: Frame) -> bool:
    """Whether a bone of a limb is a femur."""
    (_, top), _, (left, right) = shape.bounds()
    return top < frame.z(0.56) and abs(left + right) / 2 < 140.0 * frame.scale


def bone_axes(
    centre: NDArray[np.float64], is_bone: Callable[[NDArray[np.float64]], NDArray[np.bool_]], reach_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How a bone runs about a point.

    Parameters
    ----------
    centre
        ``(z, y, x)`` [mm].
    is_bone
        Whether points ``(n, 3)`` lie in bone.
    reach_mm
        Half side of the cube that is looked at [mm].

    Returns
    -------
        Half axes of product 1, at most 2.5 to 1, and the axes they belong to as columns.
    """
    axis = np.linspace(-reach_mm, reach_mm, 9)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = offsets[is_bone(centre + offsets)]
    if len(inside) < 8:
        return np.ones(3), np.eye(3)
    spread, turn = np.linalg.eigh(np.cov(inside.T) + 0.5 * np.eye(3))
    half = np.sqrt(np.clip(spread, spread.max() / 2.5**2, None))
    return half / half.prod() ** (1 / 3), turn


def degenerative_layers(rng: np.random.Generator, frame: Frame, count: int) -> list[Layer]:
    """Worn joints: facets, rims of vertebrae, sacroiliac, hip, shoulder and sternoclavicular joints.

    They are benign: small, 1.4 to 3 times the uptake of marrow (chosen), labelled as clutter.
    """
    from nmsynth.physics.phantom.layers import Layer

    s = frame.scale
    marrow = frame.uptakes["marrow"].median
    found = []
    for i in range(count):
        side = int(rng.choice((-1, 1)))
        z = frame.z(float(rng.choice((0.585, 0.606, 0.627, 0.648, 0.67, 0.86, 0.88))))
        places: list[Point] = [
            (z, frame.spine_y(z) + 27 * s, side * 15 * s),
            (z, frame.spine_y(z) - 6 * s, side * 20 * s),
            (frame.z(0.555), 52 * s, side * 44 * s),
            (frame.z(0.542), 12 * s, side * 92 * s),
            arm_axis(frame, side)[0],
            (frame.z(0.816), 17 * s, side * 138 * s),
            (frame.z(0.806), float(frame.ribs().centre_y[5] - frame.ribs().half_depth[5]) + 2.0, side * 16 * s),
        ]
        kind = int(rng.choice(len(places), p=(0.28, 0.22, 0.1, 0.1, 0.12, 0.1, 0.08)))
        a, b, c = (float(v) * s for v in rng.uniform(3.0, 7.0, 3))
        place = frame_jitter(rng, places[kind], 2.0)
        found.append(
            Layer(
                f"degenerative_{i}", Organ.CLUTTER, (Ellipsoid(place, (a, b, c)),),
                marrow * float(rng.uniform(1.4, 3.0)), None, bump_mm=0.6, bump_field=0, inside="muscle",
            )
        )  # fmt: skip
    return found


def frame_jitter(rng: np.random.Generator, point: Point, mm: float) -> Point:
    """Point moved at random by some mm."""
    dz, dy, dx = mm * np.clip(rng.standard_normal(3), -2, 2)
    return point[0] + float(dz), point[1] + float(dy), point[2] + float(dx)


def turned(half: NDArray[np.float64], turn: NDArray[np.float64], rng: np.random.Generator) -> tuple[
    NDArray[np.float64], NDArray[np.float64]
]:  # fmt: skip
    """Half axes and axes varied a little, so that lesions do not all look alike."""
    varied = half * np.exp(rng.uniform(-0.15, 0.15, 3))
    return varied / varied.prod() ** (1 / 3), rotation(tuple(rng.uniform(-12, 12, 3))) @ turn
