"""Head and neck: skull, folded brain, glands and airways."""

from __future__ import annotations

from nmsynth.physics.phantom.frame import Frame
from nmsynth.physics.phantom.layers import Layer
from nmsynth.physics.phantom.organs import MU_BONE, MU_FAT, MU_SOFT, Organ
from nmsynth.physics.phantom.shapes import Ellipsoid, Point, Shape, tube


def head_layers(frame: Frame) -> list[Layer]:
    """Head with brain, then face and neck."""
    return [*_face(frame), *_skull_and_brain(frame), *_neck(frame), *_airways(frame)]


def _skull_and_brain(frame: Frame) -> list[Layer]:
    """Scalp, skull shell, cerebrospinal fluid, then the brain."""
    s, v = frame.scale**0.5, frame.vary(0.03)
    centre = (frame.z(0.945) + 10 * s, 8 * s, 0.0)
    z, y, _ = centre

    def skull(inset: float) -> Ellipsoid:
        return Ellipsoid(centre, (79 * s * v - inset, 96 * s * v - inset, 75 * s * v - inset), (0, 0, 8))

    csf = frame.uptake("csf")
    return [
        Layer("scalp", Organ.SOFT_TISSUE, (skull(-6.0),), frame.uptake("skin"), 0.094, bump_mm=1.0),
        Layer("skull", Organ.BONE, (skull(0.0),), 0.55 * frame.uptake("marrow"), MU_BONE * frame.vary(0.05)),
        Layer("meninges", Organ.CSF, (skull(6.5 * frame.vary(0.15)),), csf, MU_SOFT),
        *_cerebrum(frame, (z, y, 0.0), s, v, csf),
    ]


def _cerebrum(frame: Frame, centre: Point, s: float, v: float, csf: float) -> list[Layer]:
    """Cortex, falx and folded white matter; then what lies below."""
    z, y, _ = centre
    grey = frame.uptake("grey")
    white, grain = grey * frame.uptake("white_ratio"), frame.grain()
    whole = Ellipsoid((z + 4 * s, y, 0.0), (60 * s * v, 82 * s * v, 62 * s * v), (0, 0, 8))
    lobes: tuple[Shape, ...] = (
        whole,
        *(Ellipsoid((z - 33 * s, y - 16 * s, d * 40 * s), (22 * s, 40 * s, 19 * s), (0, 0, 12)) for d in (-1, 1)),
    )
    whites = tuple(
        Ellipsoid((z + 4 * s, y, d * 30 * s), (51 * s * v, 72 * s * v, 26 * s * v), (0, 0, 8)) for d in (-1, 1)
    )
    falx = Ellipsoid((z + 34 * s, y, 0.0), (32 * s, 80 * s, 1.5 * s))
    return [
        Layer(
            "cortex",
            Organ.BRAIN_GREY,
            lobes,
            grey,
            0.099,
            texture=grain,
            texture_field=2,
            bump_mm=1.5,
            bump_field=1,
            inside="meninges",
        ),
        Layer("falx", Organ.CSF, (falx,), csf, MU_SOFT, bump_mm=0.5, inside="meninges"),
        Layer(
            "white_matter",
            Organ.BRAIN_WHITE,
            whites,
            white,
            0.099,
            texture=0.05,
            bump_field=4,
            fold_mm=19.0,
            inside="cortex",
        ),
        *_deep_brain(frame, centre, s, grey, csf),
    ]


def _deep_brain(frame: Frame, centre: Point, s: float, grey: float, csf: float) -> list[Layer]:
    """Deep nuclei, ventricles, cerebellum and stem."""
    (z, y, _), grain = centre, frame.grain()
    deep: list[Shape] = []
    ventricles: list[Shape] = []
    for d in (-1, 1):
        deep.append(Ellipsoid((z - 4 * s, y + 6 * s, d * 11 * s), (10 * s, 15 * s, 8 * s)))
        deep.append(Ellipsoid((z - 1 * s, y - 14 * s, d * 25 * s), (12 * s, 18 * s, 6 * s)))
        deep.append(Ellipsoid((z + 6 * s, y - 24 * s, d * 13 * s), (10 * s, 12 * s, 5 * s)))
        wide = 4.0 * frame.vary(0.4)
        ventricles += tube(
            [(z + 8 * s, y - 32 * s, d * 9 * s), (z + 16 * s, y, d * 10 * s), (z + 6 * s, y + 34 * s, d * 18 * s)],
            [wide, 1.2 * wide, 1.4 * wide],
        )
    cerebellum = tuple(
        Ellipsoid((z - 43 * s, y + 46 * s, d * 22 * s), (20 * s, 27 * s, 25 * s), (0, 0, 15)) for d in (-1, 1)
    )
    stem = tube(
        [
            (z - 20 * s, y + 14 * s, 0.0),
            (z - 46 * s, y + 18 * s, 0.0),
            (frame.z(0.90), frame.spine_y(frame.z(0.90)) + 16 * s, 0.0),
        ],
        [12 * s, 13 * s, 7 * s],
    )
    return [
        Layer(
            "deep_grey", Organ.BRAIN_GREY, tuple(deep), grey * frame.vary(0.06), 0.099, texture=0.5 * grain, bump_mm=1.0
        ),
        Layer("ventricles", Organ.CSF, tuple(ventricles), csf, MU_SOFT, bump_mm=1.0),
        Layer(
            "cerebellum",
            Organ.CEREBELLUM,
            cerebellum,
            0.88 * grey * frame.vary(0.05),
            0.099,
            texture=grain,
            texture_field=0,
            bump_mm=1.5,
            inside="meninges",
        ),
        Layer("brainstem", Organ.BRAIN_WHITE, stem, 0.5 * grey, 0.099, bump_mm=1.0),
    ]


def _face(frame: Frame) -> list[Layer]:
    """Soft tissue and bones of the face."""
    s, fat = frame.scale**0.5, 3.0 + 0.12 * frame.fat_mm
    top = frame.z(0.945)
    face = Ellipsoid((top - 72 * s, -30 * s, 0.0), (62 * s, 62 * s, 58 * s))
    nose = Ellipsoid((top - 50 * s, -92 * s, 0.0), (18 * s, 14 * s, 11 * s))
    jaw = tube(
        [
            (top - 78 * s, 8 * s, -50 * s),
            (top - 106 * s, -12 * s, -44 * s),
            (top - 112 * s, -74 * s, 0.0),
            (top - 106 * s, -12 * s, 44 * s),
            (top - 78 * s, 8 * s, 50 * s),
        ],
        6.5 * s,
    )
    upper = [Ellipsoid((top - 68 * s, -62 * s, 0.0), (18 * s, 20 * s, 30 * s))]
    skin = Ellipsoid(face.centre, (face.radii[0] + fat, face.radii[1] + fat, face.radii[2] + fat))
    orbits: list[Shape] = []
    eyes: list[Shape] = []
    for d in (-1, 1):
        eyes.append(Ellipsoid((top - 34 * s, -76 * s, d * 31 * s), (12, 12, 12)))
        for dz, dx in ((0, 9), (0, -9), (9, 0), (-9, 0)):
            orbits += tube([(top - 34 * s + dz, -66 * s, d * 31 * s + dx), (top - 32 * s, -40 * s, d * 18 * s)], 2.0)
    return [
        Layer("face_fat", Organ.FAT, (skin, nose), frame.uptake("fat"), MU_FAT, texture=0.1, bump_mm=1.5),
        Layer("face", Organ.MUSCLE, (face,), frame.uptake("muscle"), MU_SOFT, texture=0.15, bump_mm=2.0),
        Layer("jaws", Organ.BONE, (*jaw, *upper), 0.9 * frame.uptake("cortical_bone"), 0.13, texture=0.1),
        Layer(
            "orbit",
            Organ.FAT,
            tuple(Ellipsoid((top - 34 * s, -58 * s, d * 29 * s), (18, 24, 18)) for d in (-1, 1)),
            0.4,
            MU_FAT,
        ),
        Layer("eyes", Organ.CSF, tuple(eyes), 0.5, MU_SOFT),
        Layer("eye_muscles", Organ.MUSCLE, tuple(orbits), frame.uptake("eye_muscle"), MU_SOFT),
    ]


def _neck(frame: Frame) -> list[Layer]:
    """Glands, tonsils, tongue, larynx, thyroid, gullet and neck muscles."""
    s, rng = frame.scale, frame.rng
    top = frame.z(0.945)
    gland = frame.uptake("salivary")
    parotid = tuple(Ellipsoid(frame.jitter((top - 74 * s, 2 * s, d * 50 * s), 2), (24, 14, 9)) for d in (-1, 1))
    below = tuple(Ellipsoid(frame.jitter((top - 112 * s, -32 * s, d * 30 * s), 2), (11, 15, 9)) for d in (-1, 1))
    tonsils = tuple(Ellipsoid(frame.jitter((top - 92 * s, -8 * s, d * 15 * s), 1.5), (11, 6, 5)) for d in (-1, 1))
    lobes = tuple(Ellipsoid((frame.z(0.846), -28 * s, d * 17 * s), (22 * s, 9 * s, 8 * s)) for d in (-1, 1))
    ring = tuple(Ellipsoid((frame.z(0.866), -32 * s, d * 8 * s), (7, 13, 4), (d * 14.0, 0, 0)) for d in (-1, 1))
    thyroid_odds = rng.random()
    return [
        *_straps_and_gullet(frame),
        Layer(
            "tongue",
            Organ.MUSCLE,
            (Ellipsoid((top - 96 * s, -42 * s, 0.0), (20 * s, 32 * s, 20 * s)),),
            frame.uptake("tongue"),
            MU_SOFT,
            texture=0.2,
            bump_mm=2.0,
        ),
        Layer("parotids", Organ.SALIVARY, parotid, gland, 0.094, texture=0.15, bump_mm=2.0),
        Layer("submandibular", Organ.SALIVARY, below, gland * frame.vary(0.15), MU_SOFT, texture=0.12, bump_mm=1.5),
        Layer("tonsils", Organ.TONSIL, tonsils, frame.uptake("tonsil"), MU_SOFT, bump_mm=1.0, bump_field=0),
        Layer("larynx", Organ.SOFT_TISSUE, ring, frame.uptake("larynx"), MU_SOFT, bump_mm=1.0),
        Layer(
            "thyroid",
            Organ.THYROID,
            lobes,
            frame.uptake("thyroid") * (1.8 if thyroid_odds < 0.08 else 1.0),
            0.100,
            texture=0.12,
            bump_mm=1.5,
        ),
    ]


def _straps_and_gullet(frame: Frame) -> list[Layer]:
    """Long muscles of the neck; gullet from throat to stomach."""
    s, rng = frame.scale, frame.rng
    gullet = tube(
        [
            (frame.z(0.855), -6 * s, 2 * s),
            (frame.z(0.80), 14 * s, 4 * s),
            (frame.z(0.74), 20 * s, 4 * s),
            (frame.z(0.706), 8 * s, 16 * s),
        ],
        float(rng.uniform(4.5, 7.0)),
    )
    straps = tuple(
        c
        for d in (-1, 1)
        for c in tube(
            [
                (frame.z(0.905), 34 * s, d * 48 * s),
                (frame.z(0.87), 4 * s, d * 42 * s),
                (frame.z(0.82), -34 * s, d * 14 * s),
            ],
            10 * s,
        )
    )
    return [
        Layer("straps", Organ.MUSCLE, straps, frame.uptake("muscle") * 1.1, MU_SOFT, texture=0.12, inside="muscle"),
        Layer("gullet", Organ.SOFT_TISSUE, gullet, frame.uptake("oesophagus"), MU_SOFT, texture=0.15, bump_mm=1.0),
    ]


def _airways(frame: Frame) -> list[Layer]:
    """Nose, throat, windpipe and main bronchi."""
    s = frame.scale
    top = frame.z(0.945)
    carina = (frame.z(0.775), 8 * s, 2 * s)
    pipe: tuple[Shape, ...] = (
        *tube([(frame.z(0.868), -26 * s, 0.0), (frame.z(0.82), -12 * s, 1 * s), carina], [6.5 * s, 8 * s, 8.5 * s]),
        *(c for d in (-1, 1) for c in tube([carina, (frame.z(0.757), 10 * s, d * 34 * s)], [6.5 * s, 5.5 * s])),
        *tube([(top - 66 * s, -4 * s, 0.0), (top - 104 * s, 0.0, 0.0), (frame.z(0.868), -22 * s, 0.0)], 6.0 * s),
        *(Ellipsoid((top - 58 * s, -48 * s, d * 8 * s), (17 * s, 34 * s, 4.5 * s)) for d in (-1, 1)),
        *(Ellipsoid((top - 58 * s, -52 * s, d * 30 * s), (14 * s, 13 * s, 10 * s)) for d in (-1, 1)),
    )
    return [Layer("airways", Organ.AIR, pipe, 0.12, 0.0005, bump_mm=0.8)]
