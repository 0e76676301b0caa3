"""Skeleton."""

from __future__ import annotations

import math
from dataclasses import replace

from nmsynth.physics.phantom.body import arm_axis
from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BONE, MU_MARROW, MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Disc, Ellipsoid, RibCage, Shape, tube


def bone_layers(frame: Frame) -> list[Layer]:
    """Spine, ribs, shoulder girdle, pelvis, femora and arm bones."""
    marrow = frame.uptake("marrow")
    return [*_chest_bones(frame, marrow), *_spine(frame, marrow), *_pelvis(frame, marrow), *_limb_bones(frame)]


def _spine(frame: Frame, marrow: float) -> list[Layer]:
    """Stacked vertebrae with discs, arches, and the cord."""
    s = frame.scale
    limits = [(0.575, 0.680, 5, (16.5, 22.0)), (0.680, 0.835, 12, (14.5, 16.0)), (0.835, 0.918, 7, (8.0, 10.5))]
    bodies: list[Shape] = []
    arches: list[Shape] = []
    for low, high, count, (deep, wide) in limits:
        pitch = (frame.z(high) - frame.z(low)) / count
        for i in range(count):
            z = frame.z(low) + (i + 0.5) * pitch
            y = frame.spine_y(z)
            bodies.append(Disc((z, y, 0.0), (0.39 * pitch, deep * s, wide * s)))
            arches.append(Ellipsoid((z - 0.2 * pitch, y + (deep + 24) * s, 0.0), (0.3 * pitch, 15 * s, 4 * s)))
            arches.append(Ellipsoid((z, y + (deep + 12) * s, 0.0), (0.24 * pitch, 6 * s, 1.25 * wide * s)))
    heights = [frame.z(f) for f in (0.575, 0.62, 0.66, 0.70, 0.75, 0.80, 0.84, 0.88, 0.918)]
    discs = tube(
        [(z, frame.spine_y(z), 0.0) for z in heights],
        [16 * s, 15 * s, 14 * s, 13 * s, 13 * s, 12 * s, 9 * s, 8 * s, 8 * s],
    )
    depth = {h: (16.5 if h < frame.z(0.68) else 14.5 if h < frame.z(0.835) else 8.0) for h in heights}
    cord = tube([(z, frame.spine_y(z) + (depth[z] + 7) * s, 0.0) for z in heights[2:]], 5.5 * s)
    disc, cortex = frame.uptake("disc"), frame.uptake("cortical_bone")
    return [
        Layer("discs", Organ.SOFT_TISSUE, discs, disc, 0.100, bump_mm=0.5),
        Layer("arches", Organ.BONE, tuple(arches), 0.75 * marrow + 0.25 * cortex, 0.130, texture=0.12),
        Layer(
            "vertebrae",
            Organ.MARROW,
            tuple(bodies),
            marrow,
            MU_MARROW * frame.vary(0.05),
            texture=frame.grain(),
            bump_mm=0.8,
            bump_field=0,
        ),
        Layer("cord", Organ.SOFT_TISSUE, cord, frame.uptake("cord") * 0.8, MU_SOFT, texture=0.08),
    ]


def _chest_bones(frame: Frame, marrow: float) -> list[Layer]:
    """Ribs, sternum, clavicles and shoulder blades."""
    s, rng = frame.scale, frame.rng
    cage = frame.ribs()
    short = replace(
        cage,
        z_mm=(*cage.z_mm[:-1], frame.z(0.8245)),
        half_width=(*cage.half_width[:-1], 50 * s),
        half_depth=(*cage.half_depth[:-1], 34 * s),
    )
    ribs = RibCage(short, 8.0 * s, 12.0 * s, 25.5 * s * frame.vary(0.05), float(rng.uniform(0.30, 0.5)))
    top, low = frame.z(0.79), frame.z(0.69)

    def front(z: float) -> float:
        i = min(range(len(cage.z_mm)), key=lambda k: abs(cage.z_mm[k] - z))
        return cage.centre_y[i] - cage.half_depth[i] - 4.0 * s

    sternum = tube(
        [(low, front(low), 0.0), (0.5 * (low + top), front(0.5 * (low + top)), 0.0), (top, front(top), 0.0)],
        [8 * s, 9 * s, 11 * s],
    )
    clavicles = tuple(
        c
        for d in (-1, 1)
        for c in tube(
            [
                (frame.z(0.806), front(top) + 6 * s, d * 14 * s),
                (frame.z(0.818), -5 * s, d * 75 * s),
                (frame.z(0.818), 18 * s, d * 140 * s),
            ],
            [9 * s, 6.5 * s, 7 * s],
        )
    )
    blades = tuple(
        Ellipsoid((frame.z(0.768), 80 * s, d * 104 * s), (68 * s, 5.5 * s, 38 * s), (d * 28.0, 0.0, d * 8.0))
        for d in (-1, 1)
    )
    level = 0.7 * marrow
    return [
        Layer(
            "ribs", Organ.BONE, (ribs,), level * frame.vary(0.1), 0.125, texture=0.12, texture_field=1, inside="muscle"
        ),
        Layer("sternum", Organ.MARROW, sternum, marrow * frame.vary(0.08), MU_MARROW, texture=0.1),
        Layer("girdle", Organ.BONE, (*clavicles, *blades), level, 0.130, texture=0.15, inside="muscle"),
    ]


def _pelvis(frame: Frame, marrow: float) -> list[Layer]:
    """Sacrum, iliac wings, sitting and pubic bones."""
    s, wide = frame.scale, 1.05 if frame.sex == "F" else 1.0
    shapes: list[Shape] = []
    for d in (-1, 1):
        shapes.append(
            Ellipsoid(
                (frame.z(0.563), 40 * s, d * 82 * s * wide), (52 * s, 58 * s, 8.5 * s), (d * -28.0, d * -18.0, 0.0)
            )
        )
        shapes += tube([(frame.z(0.575), 58 * s, d * 48 * s), (frame.z(0.535), 22 * s, d * 82 * s)], 13 * s)
        shapes += tube(
            [
                (frame.z(0.535), 22 * s, d * 84 * s),
                (frame.z(0.49), 34 * s, d * 62 * s),
                (frame.z(0.472), 8 * s, d * 42 * s),
            ],
            [20 * s, 15 * s, 9 * s],
        )
        shapes += tube(
            [
                (frame.z(0.525), 5 * s, d * 80 * s),
                (frame.z(0.505), -42 * s, d * 38 * s),
                (frame.z(0.497), -48 * s, d * 8 * s),
                (frame.z(0.478), 6 * s, d * 40 * s),
            ],
            [16 * s, 9 * s, 11 * s, 8 * s],
        )
    sacrum = [Ellipsoid((frame.z(0.548), 62 * s, 0.0), (56 * s, 17 * s, 44 * s), (0.0, 0.0, 22.0))]
    return [
        Layer(
            "pelvis",
            Organ.MARROW,
            tuple(shapes),
            marrow * 0.85,
            0.125,
            texture=frame.grain(),
            bump_mm=1.5,
            bump_field=1,
        ),
        Layer("sacrum", Organ.MARROW, tuple(sacrum), marrow * 0.92, MU_MARROW, texture=frame.grain(), bump_mm=1.5),
    ]


def _limb_bones(frame: Frame) -> list[Layer]:
    """Femora and bones of the arms: compact shafts with yellow marrow, red marrow in the heads."""
    s, rng = frame.scale, frame.rng
    compact: list[Shape] = []
    yellow: list[Shape] = []
    red: list[Shape] = []
    for d in (-1, 1):
        head, neck = (frame.z(0.528), 14 * s, d * 86 * s), (frame.z(0.518), 16 * s, d * 122 * s)
        shaft = [neck, (frame.z(0.47), 10 * s, d * 118 * s), (frame.z(0.36), -2 * s, d * 92 * s)]
        compact += [
            Ellipsoid(head, (24 * s, 24 * s, 24 * s)),
            *tube([head, neck], [17 * s, 19 * s]),
            *tube(shaft, [21 * s, 15 * s, 14 * s]),
        ]
        red += [Ellipsoid(head, (21.5 * s, 21.5 * s, 21.5 * s)), *tube([head, neck], [13 * s, 15 * s])]
        yellow += tube(shaft, [16 * s, 8 * s, 7 * s])
        arm = arm_axis(frame, d)
        compact += [
            Ellipsoid(arm[0], (23 * s, 23 * s, 23 * s)),
            *tube(arm[:3], [13 * s, 11 * s, 13 * s]),
            *tube(arm[2:], [11 * s, 10 * s]),
        ]
        red.append(Ellipsoid(arm[0], (20 * s, 20 * s, 20 * s)))
        yellow += tube(arm[:3], 6 * s)
    mu = float(rng.uniform(0.14, 0.17))
    level = frame.uptake("cortical_bone")
    return [
        Layer("shafts", Organ.BONE, tuple(compact), level, mu if rng.random() < 0.9 else MU_BONE, texture=0.08),
        Layer("yellow_marrow", Organ.MARROW, tuple(yellow), 0.4 * math.sqrt(level), 0.094),
        Layer("red_marrow", Organ.MARROW, tuple(red), level * frame.vary(0.15) * 1.25, 0.115, texture=frame.grain()),
    ]
