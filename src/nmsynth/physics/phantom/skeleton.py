"""Body outline, limbs and skeleton."""

from __future__ import annotations

import math
from dataclasses import replace

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BONE, MU_FAT, MU_LUNG, MU_MARROW, MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Capsule, Disc, Ellipsoid, Point, RibCage, Shape, Trunk, tube


def body_layers(frame: Frame) -> list[Layer]:
    """Fat, muscles, limbs and breasts: what everything else is painted on."""
    fat, muscle = frame.uptake("fat"), frame.uptake("muscle")
    s, g = frame.scale, frame.girth
    fat_arm, fat_leg = 0.25 * frame.fat_mm + 2, 0.6 * frame.fat_mm + 2
    leg = [_leg(frame, side, 0.0) for side in (-1, 1)]
    leg_fat = tuple(c for side in (-1, 1) for c in _leg(frame, side, fat_leg))
    arm = [_arm(frame, side) for side in (-1, 1)]
    arm_fat = tuple(Capsule(c.start, c.end, c.start_radius + fat_arm, c.end_radius + fat_arm) for a in arm for c in a)
    skin = Layer(
        "skin",
        Organ.FAT,
        (frame.outline(), *leg_fat, *arm_fat, *_breasts(frame, 0.0)),
        fat,
        MU_FAT,
        texture=0.10,
        texture_field=1,
        bump_mm=1.5,
        bump_field=3,
    )
    layers = [skin]
    if frame.sex == "F":
        layers.append(
            Layer(
                "glands",
                Organ.BREAST,
                _breasts(frame, 14.0 + 0.3 * frame.fat_mm),
                frame.uptake("breast"),
                0.094,
                texture=0.2,
                texture_field=0,
                bump_mm=4.0,
                bump_field=1,
            )
        )
    muscles: tuple[Shape, ...] = (frame.muscle(), *leg[0], *leg[1], *arm[0], *arm[1])
    layers.append(
        Layer(
            "muscle",
            Organ.MUSCLE,
            muscles,
            muscle,
            MU_SOFT,
            texture=frame.grain(),
            texture_field=2,
            bump_mm=1.5,
            bump_field=2,
        )
    )
    layers += _septa(frame, fat)
    groups: list[tuple[str, tuple[Shape, ...]]] = []
    for side in (-1, 1):
        y = frame.back_y
        groups.append(
            (
                "erector",
                tube(
                    [(frame.z(f), y - 24 * s, side * 30 * s) for f in (0.55, 0.62, 0.70, 0.78)],
                    [16 * s * g**0.2, 22 * s * g**0.2, 18 * s, 12 * s],
                ),
            )
        )
        groups.append(
            (
                "gluteus",
                (
                    Ellipsoid(
                        (frame.z(0.52), 72 * s, side * 75 * s), (65 * s, 26 * s * g**0.3, 52 * s), (side * 15.0, 0, 0)
                    ),
                ),
            )
        )
    for name, shapes in groups:
        layers.append(
            Layer(
                name,
                Organ.MUSCLE,
                shapes,
                muscle * frame.vary(0.12),
                MU_SOFT,
                texture=frame.grain(),
                bump_mm=2.0,
                inside="muscle",
            )
        )
    return layers


def _leg(frame: Frame, side: int, extra: float) -> tuple[Capsule, ...]:
    """One thigh, to some way below z = 0."""
    s, r = frame.scale, frame.scale * frame.girth**0.32
    out = side * 86 * s * frame.girth**0.2
    points = [(frame.z(0.52), 10 * s, 1.04 * out), (frame.z(0.46), 6 * s, out), (frame.z(0.35), 0.0, 0.98 * out)]
    return tube(points, [66 * r + 0.5 * extra, 76 * r + extra, 62 * r + extra])


def _arm(frame: Frame, side: int) -> tuple[Capsule, ...]:
    """One arm, from shoulder to hand."""
    s, r = frame.scale, frame.scale * frame.girth**0.3
    points = arm_axis(frame, side)
    return (*tube(points[:2], [46 * r, 40 * r]), *tube(points[1:], [40 * r, 35 * r, 24 * s]))


def arm_axis(frame: Frame, side: int) -> list[Point]:
    """Shoulder, mid upper arm, elbow and wrist of one arm."""
    s = frame.scale
    shoulder = (frame.z(0.805), 22 * s, side * 158 * s)
    if frame.arms_up:
        return [
            shoulder,
            (frame.z(0.87), 20 * s, side * 185 * s),
            (frame.z(0.955), 12 * s, side * 190 * s),
            (frame.z(1.035), -20 * s, side * 75 * s),
        ]
    hip = max(frame.outline().half_width) + 42 * s
    return [
        shoulder,
        (frame.z(0.74), 30 * s, side * max(0.88 * hip, 205 * s)),
        (frame.z(0.62), 34 * s, side * hip),
        (frame.z(0.49), 0.0, side * (hip + 5)),
    ]


def _breasts(frame: Frame, inset: float) -> tuple[Shape, ...]:
    """Breasts of a woman, or their glands when inset [mm]."""
    if frame.sex != "F":
        return ()
    outline, z = frame.outline(), frame.z(0.725)
    index = next(i for i, value in enumerate(outline.z_mm) if value >= z)
    front = outline.centre_y[index] - outline.half_depth[index]
    r = (46 + 0.5 * frame.fat_mm) * frame.scale - inset
    return tuple(
        Ellipsoid((z, front + 16.0, side * 82 * frame.scale), (max(r, 12.0), max(0.75 * r, 10.0), max(r, 12.0)))
        for side in (-1, 1)
    )


def _septa(frame: Frame, fat: float) -> list[Layer]:
    """Fat between the muscles of the thighs and buttocks."""
    shapes: list[Shape] = []
    for side in (-1, 1):
        for _ in range(4):
            centre = frame.jitter((frame.z(0.44), 0.0, side * 84 * frame.scale), 22)
            angles = (float(frame.rng.uniform(-60, 60)), 0.0, 0.0)
            shapes.append(Ellipsoid(centre, (75 * frame.scale, 3.5, 26 * frame.scale), angles))
    return [Layer("septa", Organ.FAT, tuple(shapes), fat, MU_FAT, bump_mm=3.0, inside="muscle")]


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
    cord = tube([(z, frame.spine_y(z) + (depth[z] + 7) * s, 0.0) for z in heights], 5.5 * s)
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


def inner_layers(frame: Frame) -> list[Layer]:
    """Lungs, the fat that fills the abdomen up to the domes of the diaphragm, and the tissue between the lungs."""
    s, rng = frame.scale, frame.rng
    ribs = frame.ribs()
    right, left = frame.z(0.732 + 0.008 * rng.standard_normal()), frame.z(0.719 + 0.008 * rng.standard_normal())
    foot = frame.z(0.635)
    wide = max(ribs.half_width)
    domes: list[Shape] = [
        Ellipsoid((foot, -6.0 * s, -0.47 * wide), (right - foot, 92 * s, 0.56 * wide)),
        Ellipsoid((foot, -6.0 * s, 0.47 * wide), (left - foot, 90 * s, 0.56 * wide)),
        Ellipsoid((foot, -20.0 * s, 0.0), (left - foot - 12, 62 * s, 0.7 * wide)),
    ]
    mu = float(rng.uniform(*MU_LUNG))
    lung = replace(ribs, z_mm=(frame.z(0.652), *ribs.z_mm[1:]))
    between = Trunk(
        tuple(frame.z(f) for f in (0.655, 0.70, 0.735, 0.765, 0.80, 0.84)),
        tuple(v * s for v in (48.0, 46.0, 36.0, 29.0, 27.0, 24.0)),
        tuple(v * s for v in (74.0, 80.0, 76.0, 64.0, 48.0, 40.0)),
        tuple(v * s for v in (0.0, -2.0, -2.0, 4.0, 6.0, 10.0)),
        squareness=0.3,
        centre_x=4.0 * s,
    )
    diaphragm = tuple(
        Ellipsoid(d.centre, (d.radii[0] + 4, d.radii[1] + 3, d.radii[2] + 3)) for d in domes if isinstance(d, Ellipsoid)
    )
    fat = frame.uptake("fat") * 1.15
    return [
        Layer(
            "lungs", Organ.LUNG, (lung,), frame.uptake("lung"), mu, texture=max(0.10, frame.grain()), texture_field=2
        ),
        Layer(
            "abdomen",
            Organ.SOFT_TISSUE,
            diaphragm,
            frame.uptake("muscle"),
            MU_SOFT,
            blur_mm=frame.breathing_mm,
            inside="muscle",
        ),
        Layer(
            "peritoneum",
            Organ.FAT,
            (frame.cavity(), *domes),
            fat,
            0.091,
            texture=0.12,
            texture_field=1,
            blur_mm=frame.breathing_mm,
            inside="muscle",
        ),
        Layer(
            "mediastinum",
            Organ.SOFT_TISSUE,
            (between,),
            frame.uptake("bulk_tissue"),
            0.094,
            texture=frame.grain(),
            bump_mm=3.0,
            bump_field=1,
            inside="muscle",
        ),
    ]
