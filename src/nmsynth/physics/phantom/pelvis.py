"""Bowel and organs of the pelvis."""

from __future__ import annotations

import numpy as np

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Ellipsoid, Point, tube


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


def colon_layers(frame: Frame) -> list[Layer]:
    """Large bowel in segments of different uptake, with content and some gas."""
    path = _colon_path(frame)
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
                    inside="muscle",
                )
            )
    return layers


def _colon_path(frame: Frame) -> list[Point]:
    """From the blind gut around the abdomen to the rectum."""
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
    return path


def small_bowel_layers(frame: Frame) -> list[Layer]:
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


def pelvic_layers(frame: Frame) -> list[Layer]:
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
