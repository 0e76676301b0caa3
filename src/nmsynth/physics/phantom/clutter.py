"""Benign small structures, and implausible ones for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nmsynth.physics.phantom.body import arm_axis
from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Fields, Layer, PointSampler
from nmsynth.physics.phantom.organs import MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Ellipsoid, Point, Shape, tube

_FACTOR = {
    Organ.FAT: (2.0, 4.5),
    Organ.MUSCLE: (0.7, 1.8),
    Organ.LUNG: (2.0, 4.0),
    Organ.LIVER: (0.5, 0.85),
    Organ.MARROW: (0.7, 1.35),
    Organ.SPLEEN: (0.7, 0.9),
    Organ.BONE: (0.6, 1.6),
}
"""Uptake of a benign structure over that of its host: vessels and nodes in fat and lung, cysts in liver."""


def clutter_layers(frame: Frame, layers: Sequence[Layer], fields: Fields, count: int) -> list[Layer]:
    """Vessels, small nodes, cysts and marrow islands, within the normal range of uptake: none of them is a lesion."""
    rng = frame.rng
    if count == 0:
        return []
    points = np.column_stack(
        [
            rng.uniform(0, frame.z(1.0), 40 * count),
            rng.uniform(-110, 110, 40 * count),
            rng.uniform(-220, 220, 40 * count),
        ]
    )
    suv, labels = PointSampler(layers, fields)(points)
    usable = [i for i in range(len(points)) if labels[i] in _FACTOR][:count]
    result: list[Layer] = []
    for i in usable:
        centre: Point = (float(points[i, 0]), float(points[i, 1]), float(points[i, 2]))
        level = float(suv[i] * rng.uniform(*_FACTOR[Organ(int(labels[i]))]))
        shapes: tuple[Shape, ...]
        if rng.random() < 0.6:
            turn = rng.normal(0, 1, (3, 3))
            step = rng.uniform(8, 25) * turn / np.linalg.norm(turn, axis=1, keepdims=True)
            path = [centre]
            for move in step * np.array([1.4, 0.7, 0.7]):
                last = path[-1]
                path.append((last[0] + float(move[0]), last[1] + float(move[1]), last[2] + float(move[2])))
            radius = float(rng.uniform(1.2, 3.5))
            shapes = tube(path, [radius, radius, 0.8 * radius, 0.6 * radius])
        else:
            r = rng.uniform(2.0, 6.0) * rng.uniform(0.7, 1.4, 3)
            shapes = (Ellipsoid(centre, (float(r[0]), float(r[1]), float(r[2]))),)
        result.append(
            Layer(
                f"clutter_{len(result)}", Organ.CLUTTER, shapes, level, None, bump_mm=0.6, bump_field=0, inside="skin"
            )
        )
    return result


def random_layers(frame: Frame, count: int) -> list[Layer]:
    """Blobs, tubes and shells of any uptake anywhere in the trunk: domain randomisation, not anatomy."""
    return [layer for i in range(count) for layer in _random_structure(frame, i)]


def _random_structure(frame: Frame, i: int) -> list[Layer]:
    """One tube, blob or shell."""
    rng = frame.rng
    z, y, x = rng.uniform((0.0, -80.0, -140.0), (frame.z(1.0), 80.0, 140.0))
    centre: Point = (float(z), float(y), float(x))
    level = float(np.exp(rng.uniform(np.log(0.15), np.log(15.0))))
    radii = np.exp(rng.uniform(np.log(3.0), np.log(35.0))) * rng.uniform(0.5, 1.6, 3)
    angles = (float(rng.uniform(-90, 90)), float(rng.uniform(-90, 90)), float(rng.uniform(-90, 90)))
    kind, texture, field = int(rng.integers(3)), float(rng.uniform(0, 0.3)), int(rng.integers(0, 3))

    def layer(name: str, shapes: tuple[Shape, ...], suv: float, grain: float) -> Layer:
        return Layer(name, Organ.CLUTTER, shapes, suv, None, grain, field, 1.5, field, inside="skin")

    if kind == 0:
        path = [centre]
        for move in rng.normal(0, 35, (4, 3)):
            last = path[-1]
            path.append((last[0] + float(move[0]), last[1] + float(move[1]), last[2] + float(move[2])))
        return [layer(f"random_{i}", tube(path, float(rng.uniform(1.5, 9))), level, texture)]
    blob = Ellipsoid(centre, (float(radii[0]), float(radii[1]), float(radii[2])), angles)
    result = [layer(f"random_{i}", (blob,), level, texture)]
    if kind == 2 and radii.min() > 6:
        wall = float(rng.uniform(2, 0.7 * radii.min()))
        inner = Ellipsoid(centre, (blob.radii[0] - wall, blob.radii[1] - wall, blob.radii[2] - wall), angles)
        result.append(layer(f"random_inner_{i}", (inner,), level * float(rng.uniform(0.05, 0.6)), 0.0))
    return result


def injection_site(frame: Frame) -> Layer:
    """Small hot deposit in one forearm or elbow, sometimes with a stretch of vein."""
    rng = frame.rng
    axis = arm_axis(frame, -1 if rng.random() < 0.5 else 1)
    start = frame.jitter(axis[2], 6)
    length = float(rng.uniform(0.02, 0.35))
    end = (start[0] + length * (axis[1][0] - start[0]), start[1] - 14.0, start[2] + length * (axis[1][2] - start[2]))
    return Layer(
        "injection_site",
        Organ.INJECTION_SITE,
        tube([start, end], float(rng.uniform(2.0, 6.0))),
        frame.uptake("injection_site"),
        MU_SOFT,
        bump_mm=1.0,
        bump_field=0,
        inside="skin",
    )
