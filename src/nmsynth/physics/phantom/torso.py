"""Organs of chest, abdomen and pelvis."""

from __future__ import annotations

import numpy as np

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BLOOD, MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Capsule, Ellipsoid, Point, Shape, tube


def torso_layers(frame: Frame) -> list[Layer]:
    """All organs from the heart to the bladder."""
    blood = frame.uptake("blood")
    return [
        *_pelvic_organs(frame),
        *_small_bowel(frame),
        *_colon(frame),
        *_vessels(frame, blood),
        *_retroperitoneum(frame),
        *_upper_abdomen(frame, blood),
        *_heart(frame, blood),
    ]


def bladder_layers(frame: Frame) -> list[Layer]:
    """Bladder, painted after the pelvic bones so that these do not cut it."""
    s = frame.scale
    size = 1.0 + 0.35 * float(np.clip(frame.rng.standard_normal(), -1.5, 2))
    centre = frame.jitter((frame.z(0.522) + 8 * size, -24 * s, 0.0), 3)
    return [
        Layer(
            "bladder",
            Organ.URINE,
            (Ellipsoid(centre, (26 * size, 27 * size, 33 * size)),),
            frame.uptake("bladder"),
            MU_SOFT,
            bump_mm=2.0,
            inside="muscle",
        )
    ]


def _upper_abdomen(frame: Frame, blood: float) -> list[Layer]:
    """Liver with vessels, gallbladder, spleen, stomach and pancreas."""
    s, v = frame.scale, frame.vary(0.07) * frame.girth**0.12
    wide = max(frame.ribs().half_width)
    top = frame.z(0.735)
    blur = frame.breathing_mm
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
    spleen = frame.vary(0.18)
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
            blur_mm=blur,
            inside="peritoneum",
        ),
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
            blur_mm=blur,
            inside="peritoneum",
        ),
        Layer("liver_vessels", Organ.BLOOD, tuple(branches), blood, MU_BLOOD, bump_mm=1.0, inside="liver"),
        Layer(
            "gallbladder",
            Organ.GALLBLADDER,
            (
                Ellipsoid(
                    frame.jitter((top - 132 * s, -42 * s, -0.42 * wide), 4), (30 * s, 13 * s, 14 * s), (0, 20, 25)
                ),
            ),
            frame.uptake("gallbladder"),
            MU_SOFT,
            bump_mm=1.0,
            inside="peritoneum",
        ),
    ]


def _retroperitoneum(frame: Frame) -> list[Layer]:
    """Kidneys with pelves, ureters, adrenals and psoas muscles."""
    s, rng = frame.scale, frame.rng
    cortex, muscle = frame.uptake("kidney_cortex"), frame.uptake("muscle")
    layers: list[Layer] = []
    for side, drop in ((1, 0.0), (-1, 14.0)):
        size = frame.vary(0.08) * s
        y = frame.spine_y(frame.z(0.64)) + 6 * s
        centre = frame.jitter((frame.z(0.642) - drop, y, side * 64 * s), 4)
        angles = (side * -30.0, side * 10.0, 0.0)
        kidney = Ellipsoid(centre, (54 * size, 24 * size, 29 * size), angles)
        inner: Point = (centre[0], centre[1] - 2, centre[2] - side * 6 * size)
        hilum: Point = (centre[0] - 4, centre[1] - 5, centre[2] - side * 17 * size)
        name = "left" if side > 0 else "right"
        psoas = tube(
            [
                (frame.z(0.66), y - 2, side * 24 * s),
                (frame.z(0.60), frame.spine_y(frame.z(0.60)), side * 40 * s),
                (frame.z(0.545), 0.0, side * 62 * s),
                (frame.z(0.505), -8 * s, side * 78 * s),
            ],
            [8 * s, 19 * s, 17 * s, 10 * s],
        )
        ureter = [
            hilum,
            (frame.z(0.60), frame.spine_y(frame.z(0.60)) - 20 * s, side * 38 * s),
            (frame.z(0.555), 10 * s, side * 44 * s),
            (frame.z(0.525), 6 * s, side * 26 * s),
        ]
        layers += [
            Layer(f"psoas_{name}", Organ.MUSCLE, psoas, muscle * frame.vary(0.1), MU_SOFT, texture=frame.grain()),
            Layer(
                f"kidney_{name}",
                Organ.KIDNEY,
                (kidney,),
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
                (
                    Ellipsoid(
                        hilum,
                        (
                            float(rng.uniform(12, 24)) * size,
                            float(rng.uniform(5, 9)) * size,
                            float(rng.uniform(5, 10)) * size,
                        ),
                        angles,
                    ),
                    Ellipsoid(frame.jitter(inner, 6), (14 * size, 4 * size, 4 * size), angles),
                ),
                frame.uptake("renal_pelvis"),
                MU_SOFT,
                bump_mm=1.5,
                bump_field=0,
            ),
            *_ureter(frame, name, ureter),
            Layer(
                f"adrenal_{name}",
                Organ.ADRENAL,
                tuple(
                    tube(
                        [
                            (centre[0] + 50 * s, y - 12, side * 38 * s),
                            (centre[0] + 60 * s, y - 18, side * 42 * s),
                            (centre[0] + 52 * s, y - 8, side * 50 * s),
                        ],
                        3.2,
                    )
                ),
                frame.uptake("adrenal"),
                MU_SOFT,
            ),
        ]
    return layers


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


def _vessels(frame: Frame, blood: float) -> list[Layer]:
    """Aorta, caval veins, iliac and femoral vessels, pulmonary trunk."""
    s = frame.scale

    def beside(fraction: float, front: float, across: float) -> Point:
        z = frame.z(fraction)
        return (z, frame.spine_y(z) - front * s, across * s)

    aorta = [
        beside(0.602, 28, 4),
        beside(0.65, 28, 10),
        beside(0.70, 24, 16),
        beside(0.76, 22, 22),
        (frame.z(0.785), 14 * s, 18 * s),
        (frame.z(0.796), -14 * s, 4 * s),
        (frame.z(0.775), -28 * s, -12 * s),
        (frame.z(0.745), -24 * s, -4 * s),
    ]
    r = frame.vary(0.1) * s
    cava = [beside(0.595, 24, -18), beside(0.66, 26, -20), (frame.z(0.71), 14 * s, -28 * s)]
    upper = [(frame.z(0.745), -8 * s, -32 * s), (frame.z(0.80), -14 * s, -22 * s), (frame.z(0.815), -14 * s, -30 * s)]
    shapes: list[Shape] = [
        *tube(aorta, [9 * r, 10 * r, 11.5 * r, 12.5 * r, 13 * r, 14 * r, 15 * r, 16 * r]),
        *tube(cava, [10 * s, 11 * s, 13 * s]),
        *tube(upper, [10 * s, 9 * s, 7 * s]),
    ]
    for side in (-1, 1):
        shapes += tube(
            [
                beside(0.60, 26, side * 8.0),
                (frame.z(0.565), 8 * s, side * 46 * s),
                (frame.z(0.52), -44 * s, side * 66 * s),
                (frame.z(0.46), -36 * s, side * 78 * s),
                (frame.z(0.37), -14 * s, side * 62 * s),
            ],
            [7.5 * s, 6.5 * s, 5.5 * s, 4.5 * s, 3.8 * s],
        )
        shapes += tube(
            [
                (frame.z(0.79), -8 * s, side * 14 * s),
                (frame.z(0.83), 2 * s, side * 26 * s),
                (frame.z(0.885), 6 * s, side * 32 * s),
            ],
            [5 * s, 5.5 * s, 4 * s],
        )
    lung: list[Shape] = [
        *tube([(frame.z(0.748), -34 * s, 10 * s), (frame.z(0.764), -12 * s, 14 * s)], [14 * s, 13 * s])
    ]
    for side in (-1, 1):
        root = (frame.z(0.758), 2 * s, side * 38 * s)
        lung += tube([(frame.z(0.762), -8 * s, 12 * s), root], [11 * s, 10 * s])
        for _ in range(7):
            spread = frame.rng.normal((0, 0, side * 22), (24, 18, 9))
            tip = (root[0] + float(spread[0]), root[1] + float(spread[1]), root[2] + float(spread[2]))
            lung += tube([root, tip], [5.5, 2.5])
    return [
        Layer("vessels", Organ.BLOOD, tuple(shapes), blood, MU_BLOOD, texture=0.03, bump_mm=1.0),
        Layer("lung_vessels", Organ.BLOOD, tuple(lung), 0.9 * blood, MU_BLOOD, texture=0.05, bump_mm=1.0),
    ]


def _heart(frame: Frame, blood: float) -> list[Layer]:
    """Thick left ventricle open at the base, thin right ventricle, atria."""
    s, v = frame.scale, frame.vary(0.08)
    centre = frame.jitter((frame.z(0.7255), -24 * s, 36 * s), 3)
    # The first axis points to the base: to the right, backwards and upwards.
    angles = (-38.0 + 6 * frame.vary(0.2), 52.0 * frame.vary(0.1), 0.0)
    wall = float(frame.rng.uniform(8.0, 12.0)) * s
    outer = (46 * v * s, 34 * v * s, 34 * v * s)
    pool = (outer[0] - wall, outer[1] - wall, outer[2] - wall)
    muscle = frame.uptake("myocardium")
    blur = 0.6 * frame.breathing_mm
    right = Ellipsoid((centre[0] - 4 * s, centre[1] - 20 * s, centre[2] - 36 * s), (32 * v * s, 26 * v * s, 30 * v * s))
    atria: tuple[Shape, ...] = (
        Ellipsoid((centre[0] + 16 * s, centre[1] + 26 * s, centre[2] - 34 * s), (24 * s, 20 * s, 28 * s)),
        Ellipsoid((centre[0] + 8 * s, centre[1] + 8 * s, centre[2] - 66 * s), (28 * s, 24 * s, 18 * s)),
    )
    return [
        Layer("right_wall", Organ.HEART_WALL, (right,), max(blood, 0.45 * muscle), 0.099, blur_mm=blur, bump_mm=2.0),
        Layer(
            "right_pool",
            Organ.BLOOD,
            (Ellipsoid(right.centre, (28 * v * s, 22 * v * s, 26 * v * s)), *atria),
            blood,
            MU_BLOOD,
            texture=0.04,
            blur_mm=blur,
            bump_mm=2.0,
        ),
        Layer(
            "left_wall",
            Organ.HEART_WALL,
            (Ellipsoid(centre, outer, angles, 0.62),),
            muscle,
            0.099,
            texture=max(0.1, frame.grain()),
            blur_mm=blur,
            bump_mm=1.5,
        ),
        Layer(
            "left_pool",
            Organ.BLOOD,
            (Ellipsoid(centre, pool, angles, 0.9),),
            blood,
            MU_BLOOD,
            texture=0.04,
            blur_mm=blur,
            bump_mm=1.5,
        ),
    ]


def _colon(frame: Frame) -> list[Layer]:
    """Large bowel in segments of different uptake, with content and some gas."""
    ac = frame.in_cavity
    path = [
        ac(0.572, -0.72, 0.1),
        ac(0.61, -0.82, 0.3),
        ac(0.645, -0.74, 0.25),
        ac(0.63, -0.35, -0.62),
        ac(0.615, 0.1, -0.75),
        ac(0.635, 0.5, -0.5),
        ac(0.668, 0.80, 0.2),
        ac(0.625, 0.86, 0.4),
        ac(0.58, 0.82, 0.25),
        ac(0.558, 0.5, -0.1),
        ac(0.552, 0.1, 0.1),
        ac(0.535, -0.05, 0.55),
    ]
    path = [frame.jitter(p, 6) for p in path]
    path += [(frame.z(0.515), 48 * frame.scale, 0.0), (frame.z(0.49), 44 * frame.scale, 0.0)]
    base = frame.uptake("colon")
    layers: list[Layer] = []
    content = frame.uptake("bowel_content")
    for i in range(len(path) - 1):
        r0, r1 = (float(frame.rng.uniform(13, 21)) * frame.scale for _ in range(2))
        wall = float(frame.rng.uniform(3, 6))
        level = base * frame.vary(0.35)
        filled = frame.rng.random() < 0.75
        layers.append(
            Layer(
                f"colon_{i}",
                Organ.BOWEL,
                tube(path[i : i + 2], [r0, r1]),
                level,
                MU_SOFT,
                texture=0.2,
                texture_field=1,
                bump_mm=3.0,
                bump_field=1,
                inside="muscle",
            )
        )
        if filled:
            gas = frame.rng.random() < 0.25
            layers.append(
                Layer(
                    f"colon_content_{i}",
                    Organ.BOWEL,
                    tube(path[i : i + 2], [r0 - wall, r1 - wall]),
                    0.1 if gas else content,
                    0.0005 if gas else MU_SOFT,
                    bump_mm=3.0,
                )
            )
    return layers


def _small_bowel(frame: Frame) -> list[Layer]:
    """Random curved loops in the middle of the abdomen."""
    base = frame.uptake("small_bowel")
    layers: list[Layer] = []
    rng = frame.rng
    for i in range(int(rng.integers(12, 24))):
        z, across, deep = rng.uniform(0.545, 0.635), rng.uniform(-0.6, 0.6), rng.uniform(-0.85, 0.15)
        points = [frame.in_cavity(float(z), float(across), float(deep))]
        step = rng.normal(0, 1, 3)
        for _ in range(int(rng.integers(2, 6))):
            step = 0.5 * step + rng.normal(0, 1, 3)
            move = 28.0 * step / np.linalg.norm(step)
            last = points[-1]
            points.append((last[0] + float(move[0]), last[1] + 0.7 * float(move[1]), last[2] + float(move[2])))
        layers.append(
            Layer(
                f"small_bowel_{i}",
                Organ.BOWEL,
                tube(points, float(rng.uniform(8, 13))),
                base * frame.vary(0.3),
                MU_SOFT,
                texture=0.2,
                texture_field=0,
                bump_mm=2.0,
                bump_field=1,
                inside="peritoneum",
            )
        )
    return layers


def _pelvic_organs(frame: Frame) -> list[Layer]:
    """Womb and ovaries, or prostate and testes."""
    s = frame.scale
    if frame.sex == "F":
        centre = frame.jitter((frame.z(0.54), 14 * s, 0.0), 6)
        ovaries = tuple(Ellipsoid(frame.jitter((frame.z(0.545), 14 * s, d * 42 * s), 5), (12, 9, 14)) for d in (-1, 1))
        level = frame.uptake("uterus")
        return [
            Layer(
                "uterus",
                Organ.GENITAL,
                (Ellipsoid(centre, (20 * s, 30 * s, 24 * s), (0, 0, 30)),),
                level,
                MU_SOFT,
                texture=frame.grain(),
                bump_mm=2.0,
            ),
            Layer("ovaries", Organ.GENITAL, ovaries, level * frame.vary(0.2), MU_SOFT, bump_mm=1.0),
        ]
    prostate = Ellipsoid((frame.z(0.502), 4 * s, 0.0), (18 * s, 17 * s, 23 * s * frame.vary(0.1)))
    testes = tuple(Ellipsoid((frame.z(0.452), -38 * s, d * 18 * s), (22, 14, 13)) for d in (-1, 1))
    scrotum = Ellipsoid((frame.z(0.455), -36 * s, 0.0), (32, 24, 38))
    return [
        Layer("prostate", Organ.GENITAL, (prostate,), frame.uptake("prostate"), MU_SOFT, texture=frame.grain()),
        Layer("scrotum", Organ.SOFT_TISSUE, (scrotum,), 0.8, MU_SOFT, bump_mm=2.0),
        Layer("testes", Organ.GENITAL, testes, frame.uptake("testis"), MU_SOFT, bump_mm=1.0),
    ]
