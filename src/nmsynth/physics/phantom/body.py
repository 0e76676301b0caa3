"""Body outline, limbs, lungs and the room for the organs."""

from __future__ import annotations

from dataclasses import replace

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_FAT, MU_LUNG, MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Capsule, Ellipsoid, Point, Shape, Trunk, tube


def body_layers(frame: Frame) -> list[Layer]:
    """Fat, muscles, limbs and breasts: what everything else is painted on."""
    fat, muscle = frame.uptake("fat"), frame.uptake("muscle")
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
    return [*layers, *_muscle_groups(frame, muscle)]


def _muscle_groups(frame: Frame, muscle: float) -> list[Layer]:
    """Long muscles of the back and buttocks, each with its own uptake."""
    s, g, y = frame.scale, frame.girth, frame.back_y
    layers: list[Layer] = []
    for side in (-1, 1):
        back = [(frame.z(f), y - 24 * s, side * 30 * s) for f in (0.55, 0.62, 0.70, 0.78)]
        erector: tuple[Shape, ...] = tube(back, [16 * s * g**0.2, 22 * s * g**0.2, 18 * s, 12 * s])
        radii = (65 * s, 26 * s * g**0.3, 52 * s)
        buttock: tuple[Shape, ...] = (Ellipsoid((frame.z(0.52), 72 * s, side * 75 * s), radii, (side * 15.0, 0, 0)),)
        for name, shapes in (("erector", erector), ("gluteus", buttock)):
            level, grain = muscle * frame.vary(0.12), frame.grain()
            layers.append(
                Layer(name, Organ.MUSCLE, shapes, level, MU_SOFT, texture=grain, bump_mm=2.0, inside="muscle")
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
        _mediastinum(frame),
    ]


def _mediastinum(frame: Frame) -> Layer:
    """Tissue between the lungs and beside the spine."""
    s = frame.scale
    between = Trunk(
        tuple(frame.z(f) for f in (0.655, 0.70, 0.735, 0.765, 0.80, 0.84)),
        tuple(v * s for v in (48.0, 46.0, 36.0, 29.0, 27.0, 24.0)),
        tuple(v * s for v in (74.0, 80.0, 76.0, 64.0, 48.0, 40.0)),
        tuple(v * s for v in (0.0, -2.0, -2.0, 4.0, 6.0, 10.0)),
        squareness=0.3,
        centre_x=4.0 * s,
    )
    levels = [frame.z(q) for q in (0.65, 0.70, 0.76, 0.82)]
    return Layer(
        "mediastinum",
        Organ.SOFT_TISSUE,
        (between, *tube([(z, frame.spine_y(z) + 18 * s, 0.0) for z in levels], 25.0 * s)),
        frame.uptake("bulk_tissue"),
        0.094,
        texture=frame.grain(),
        bump_mm=3.0,
        bump_field=1,
        inside="muscle",
    )
