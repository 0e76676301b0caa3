"""Heart and vessels."""

from __future__ import annotations

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BLOOD, Organ
from nmsynth.physics.phantom.shapes import Ellipsoid, Point, Shape, tube


def vessel_layers(frame: Frame, blood: float) -> list[Layer]:
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
    trunk = Layer("vessels", Organ.BLOOD, tuple(shapes), blood, MU_BLOOD, texture=0.03, bump_mm=1.0)
    return [trunk, _lung_vessels(frame, blood)]


def _lung_vessels(frame: Frame, blood: float) -> Layer:
    """Pulmonary trunk with branches of both lungs."""
    s = frame.scale
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
    return Layer("lung_vessels", Organ.BLOOD, tuple(lung), 0.9 * blood, MU_BLOOD, texture=0.05, bump_mm=1.0)


def heart_layers(frame: Frame, blood: float) -> list[Layer]:
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
