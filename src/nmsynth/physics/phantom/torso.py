"""Organs of chest, abdomen and pelvis."""

from __future__ import annotations

import numpy as np

from nmsynth.physics.phantom.chest import heart_layers, vessel_layers
from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BLOOD, MU_SOFT, Organ
from nmsynth.physics.phantom.pelvis import colon_layers, pelvic_layers, small_bowel_layers
from nmsynth.physics.phantom.shapes import Capsule, Ellipsoid, Point, Shape, tube


def torso_layers(frame: Frame) -> list[Layer]:
    """All organs from the heart to the bladder."""
    blood = frame.uptake("blood")
    return [
        *pelvic_layers(frame),
        *small_bowel_layers(frame),
        *colon_layers(frame),
        *vessel_layers(frame, blood),
        *_retroperitoneum(frame),
        *_upper_abdomen(frame, blood),
        *heart_layers(frame, blood),
    ]


def _upper_abdomen(frame: Frame, blood: float) -> list[Layer]:
    """Stomach, pancreas, spleen, liver and gallbladder."""
    return [*_stomach(frame), *_pancreas_and_spleen(frame), *_liver(frame, blood)]


def _liver(frame: Frame, blood: float) -> list[Layer]:
    """Liver of three lobes with vessels; gallbladder."""
    s, v = frame.scale, frame.vary(0.07) * frame.girth**0.12
    wide, top = max(frame.ribs().half_width), frame.z(0.735)
    bile = Ellipsoid(frame.jitter((top - 132 * s, -42 * s, -0.42 * wide), 4), (30 * s, 13 * s, 14 * s), (0, 20, 25))
    liver: tuple[Shape, ...] = (
        Ellipsoid((top - 68 * v * s, 4 * s, -0.52 * wide), (70 * v * s, 70 * v * s, 0.50 * wide), (0, 8, 0)),
        Ellipsoid((top - 105 * v * s, 10 * s, -0.66 * wide), (62 * v * s, 52 * v * s, 0.30 * wide), (0, -4, 0)),
        Ellipsoid((top - 58 * s, -38 * s, -0.02 * wide), (30 * v * s, 36 * v * s, 0.56 * wide), (0, -12, 0)),
    )
    portal = frame.jitter((top - 82 * s, 0.0, -0.25 * wide), 5)
    branches: list[Capsule] = []
    for _ in range(int(frame.rng.integers(4, 9))):
        turn = frame.rng.normal((10, 0, -28), (26, 26, 26))
        middle = tuple(float(p + t) for p, t in zip(portal, turn, strict=True))
        end = tuple(float(m + t) for m, t in zip(middle, turn * 0.7 + frame.rng.normal(0, 14, 3), strict=True))
        branches += tube([portal, (middle[0], middle[1], middle[2]), (end[0], end[1], end[2])], [6.0, 4.0, 2.0])
    return [
        Layer(
            "liver",
            Organ.LIVER,
            liver,
            frame.uptake("liver"),
            0.099,
            texture=frame.grain() * 0.4,
            texture_field=int(frame.rng.integers(0, 3)),
            bump_mm=3.5,
            bump_field=2,
            blur_mm=frame.breathing_mm,
            inside="peritoneum",
        ),
        Layer("liver_vessels", Organ.BLOOD, tuple(branches), blood, MU_BLOOD, bump_mm=1.0, inside="liver"),
        Layer(
            "gallbladder",
            Organ.GALLBLADDER,
            (bile,),
            frame.uptake("gallbladder"),
            MU_SOFT,
            bump_mm=1.0,
            inside="peritoneum",
        ),
    ]


def _stomach(frame: Frame) -> list[Layer]:
    """Curved stomach: wall and content."""
    s, blur = frame.scale, frame.breathing_mm
    wide, top = max(frame.ribs().half_width), frame.z(0.735)
    stomach = [
        (top - 45 * s, 6 * s, 0.60 * wide),
        (top - 75 * s, -22 * s, 0.56 * wide),
        (top - 125 * s, -48 * s, 0.42 * wide),
        (top - 150 * s, -46 * s, 0.12 * wide),
        (top - 140 * s, -34 * s, -0.14 * wide),
    ]
    full = frame.vary(0.2)
    radii = np.array([32.0, 30.0, 24.0, 19.0, 13.0]) * s * full
    wall = float(frame.rng.uniform(4.0, 7.0))
    return [
        Layer(
            "stomach",
            Organ.STOMACH,
            tube(stomach, [float(r) for r in radii]),
            frame.uptake("stomach_wall"),
            MU_SOFT,
            texture=0.15,
            texture_field=1,
            bump_mm=3.0,
            blur_mm=blur,
            inside="peritoneum",
        ),
        Layer(
            "stomach_lumen",
            Organ.STOMACH,
            tube(stomach, [float(max(r - wall, 3)) for r in radii]),
            frame.uptake("stomach_lumen"),
            MU_SOFT,
            bump_mm=3.0,
            blur_mm=blur,
            inside="peritoneum",
        ),
    ]


def _pancreas_and_spleen(frame: Frame) -> list[Layer]:
    """Pancreas and spleen."""
    s, spleen = frame.scale, frame.vary(0.18)
    wide, top = max(frame.ribs().half_width), frame.z(0.735)
    pancreas = tube(
        [
            (top - 148 * s, -6 * s, -34 * s),
            (top - 130 * s, -16 * s, 0.0),
            (top - 118 * s, -2 * s, 45 * s),
            (top - 108 * s, 18 * s, 78 * s),
        ],
        [14 * s, 10 * s, 10 * s, 7 * s],
    )
    return [
        Layer(
            "pancreas",
            Organ.PANCREAS,
            pancreas,
            frame.uptake("pancreas"),
            MU_SOFT,
            texture=frame.grain(),
            texture_field=0,
            bump_mm=2.0,
            inside="peritoneum",
        ),
        Layer(
            "spleen",
            Organ.SPLEEN,
            (
                Ellipsoid(
                    (top - 70 * s, 36 * s, 0.74 * wide),
                    (52 * spleen * s, 40 * spleen**0.5 * s, 24 * spleen * s),
                    (-25, 12, 8),
                ),
            ),
            frame.uptake("spleen"),
            0.098,
            texture=frame.grain(),
            bump_mm=2.5,
            blur_mm=frame.breathing_mm,
            inside="peritoneum",
        ),
    ]


def _retroperitoneum(frame: Frame) -> list[Layer]:
    """Psoas muscles, kidneys with pelves, ureters and adrenals."""
    s, cortex, muscle = frame.scale, frame.uptake("kidney_cortex"), frame.uptake("muscle")
    layers: list[Layer] = []
    for side, drop, name in ((1, 0.0, "left"), (-1, 14.0, "right")):
        middle = frame.spine_y(frame.z(0.60))
        y = frame.spine_y(frame.z(0.64)) + 6 * s
        centre = frame.jitter((frame.z(0.642) - drop, y, side * 64 * s), 4)
        psoas = tube(
            [
                (frame.z(0.66), y - 2, side * 24 * s),
                (frame.z(0.60), middle, side * 40 * s),
                (frame.z(0.545), 0.0, side * 62 * s),
                (frame.z(0.505), -8 * s, side * 78 * s),
            ],
            [8 * s, 19 * s, 17 * s, 10 * s],
        )
        ureter = [
            (centre[0] - 4, centre[1] - 5, centre[2] - side * 17 * s),
            (frame.z(0.60), middle - 20 * s, side * 38 * s),
            (frame.z(0.555), 10 * s, side * 44 * s),
            (frame.z(0.525), 6 * s, side * 26 * s),
        ]
        adrenal: list[Point] = [
            (centre[0] + 50 * s, y - 12, side * 38 * s),
            (centre[0] + 60 * s, y - 18, side * 42 * s),
            (centre[0] + 52 * s, y - 8, side * 50 * s),
        ]
        layers += [
            Layer(f"psoas_{name}", Organ.MUSCLE, psoas, muscle * frame.vary(0.1), MU_SOFT, texture=frame.grain()),
            *_kidney(frame, name, side, centre, cortex),
            *_ureter(frame, name, ureter),
            Layer(f"adrenal_{name}", Organ.ADRENAL, tube(adrenal, 3.2), frame.uptake("adrenal"), MU_SOFT),
        ]
    return layers


def _kidney(frame: Frame, name: str, side: int, centre: Point, cortex: float) -> list[Layer]:
    """One kidney: cortex, medulla, hot pelvis with a calyx."""
    rng, size = frame.rng, frame.vary(0.08) * frame.scale
    angles = (side * -30.0, side * 10.0, 0.0)
    inner: Point = (centre[0], centre[1] - 2, centre[2] - side * 6 * size)
    hilum: Point = (centre[0] - 4, centre[1] - 5, centre[2] - side * 17 * size)
    a, b, c = (float(rng.uniform(low, high)) * size for low, high in ((12, 24), (5, 9), (5, 10)))
    pelvis = Ellipsoid(hilum, (a, b, c), angles)
    calyx = Ellipsoid(frame.jitter(inner, 6), (14 * size, 4 * size, 4 * size), angles)
    return [
        Layer(
            f"kidney_{name}",
            Organ.KIDNEY,
            (Ellipsoid(centre, (54 * size, 24 * size, 29 * size), angles),),
            cortex * frame.vary(0.05),
            0.098,
            texture=frame.grain(),
            texture_field=0,
            bump_mm=1.5,
        ),
        Layer(
            f"medulla_{name}",
            Organ.KIDNEY,
            (Ellipsoid(inner, (36 * size, 11 * size, 15 * size), angles),),
            0.75 * cortex,
            0.097,
            texture=0.15,
            texture_field=0,
            bump_mm=2.0,
            bump_field=0,
        ),
        Layer(
            f"renal_pelvis_{name}",
            Organ.URINE,
            (pelvis, calyx),
            frame.uptake("renal_pelvis"),
            MU_SOFT,
            bump_mm=1.5,
            bump_field=0,
        ),
    ]


def _ureter(frame: Frame, name: str, points: list[Point]) -> list[Layer]:
    """Scattered full pieces of a ureter."""
    layers: list[Layer] = []
    for i in range(len(points) - 1):
        for _ in range(int(frame.rng.integers(0, 3))):
            t0 = float(frame.rng.uniform(0, 0.8))
            t1 = t0 + float(frame.rng.uniform(0.05, 0.25))
            ends = [np.array(points[i]) + t * (np.array(points[i + 1]) - np.array(points[i])) for t in (t0, t1)]
            a, b = ((float(e[0]), float(e[1]), float(e[2])) for e in ends)
            layers.append(
                Layer(
                    f"ureter_{name}_{i}",
                    Organ.URINE,
                    tube([a, b], float(frame.rng.uniform(1.5, 3.0))),
                    frame.uptake("ureter"),
                    MU_SOFT,
                    bump_mm=1.0,
                )
            )
    return layers
