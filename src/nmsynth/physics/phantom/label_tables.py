"""What the numbers of organ and brain label maps mean for FDG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.grid import FloatArray
from nmsynth.physics.phantom.organs import MU_BLOOD, MU_BONE, MU_FAT, MU_MARROW, MU_SOFT, Organ

_MARROW = (Organ.MARROW, "marrow")
_BLOOD = (Organ.BLOOD, "blood")
_MUSCLE = (Organ.MUSCLE, "muscle")

ORGAN_REGIONS: dict[int, tuple[Organ, str]] = {
    1: (Organ.SPLEEN, "spleen"),
    2: (Organ.KIDNEY, "kidney_cortex"),
    3: (Organ.KIDNEY, "kidney_cortex"),
    4: (Organ.GALLBLADDER, "gallbladder"),
    5: (Organ.LIVER, "liver"),
    6: (Organ.STOMACH, "stomach_wall"),
    7: (Organ.PANCREAS, "pancreas"),
    8: (Organ.ADRENAL, "adrenal"),
    9: (Organ.ADRENAL, "adrenal"),
    **dict.fromkeys(range(10, 15), (Organ.LUNG, "lung")),
    15: (Organ.SOFT_TISSUE, "oesophagus"),
    16: (Organ.AIR, "airway"),
    17: (Organ.THYROID, "thyroid"),
    18: (Organ.BOWEL, "small_bowel"),
    19: (Organ.BOWEL, "small_bowel"),
    20: (Organ.BOWEL, "colon"),
    21: (Organ.URINE, "bladder"),
    22: (Organ.GENITAL, "prostate"),
    23: (Organ.WATER, "csf"),
    24: (Organ.WATER, "csf"),
    **dict.fromkeys(range(25, 51), _MARROW),
    51: (Organ.BLOOD, "blood"),
    **dict.fromkeys(range(52, 69), _BLOOD),
    **dict.fromkeys(range(69, 77), (Organ.BONE, "cortical_bone")),
    77: _MARROW,
    78: _MARROW,
    79: (Organ.SOFT_TISSUE, "cord"),
    **dict.fromkeys(range(80, 90), _MUSCLE),
    90: (Organ.BRAIN_GREY, "grey"),
    91: (Organ.BONE, "cortical_bone"),
    **dict.fromkeys(range(92, 117), (Organ.BONE, "marrow")),
    117: (Organ.SOFT_TISSUE, "disc"),
}
"""TotalSegmentator v2 number to structure and entry of the uptake table [Wasserthal et al., 2023]."""

_PAIRS: dict[tuple[int, int], tuple[Organ, float]] = {
    (2, 41): (Organ.BRAIN_WHITE, 0.0),
    (3, 42): (Organ.BRAIN_GREY, 1.0),
    (4, 43): (Organ.CSF, -0.45),
    (5, 44): (Organ.CSF, -0.45),
    (7, 46): (Organ.BRAIN_WHITE, 0.0),
    (8, 47): (Organ.CEREBELLUM, 0.85),
    (10, 49): (Organ.BRAIN_GREY, 1.02),
    (11, 50): (Organ.BRAIN_GREY, 1.05),
    (12, 51): (Organ.BRAIN_GREY, 1.12),
    (13, 52): (Organ.BRAIN_GREY, 0.75),
    (17, 53): (Organ.BRAIN_GREY, 0.72),
    (18, 54): (Organ.BRAIN_GREY, 0.66),
    (25, 57): (Organ.BRAIN_WHITE, 0.22),
    (26, 58): (Organ.BRAIN_GREY, 0.98),
    (28, 60): (Organ.BRAIN_GREY, 0.62),
    (30, 62): (Organ.BLOOD, -1.6),
    (136, 137): (Organ.CSF, -0.7),
    (163, 164): (Organ.CSF, -0.7),
}
BRAIN_REGIONS: dict[int, tuple[Organ, float]] = {
    **{n: value for pair, value in _PAIRS.items() for n in pair},
    14: (Organ.CSF, -0.45),
    15: (Organ.CSF, -0.45),
    16: (Organ.BRAIN_WHITE, 0.58),
    24: (Organ.CSF, -0.45),
    72: (Organ.CSF, -0.45),
    77: (Organ.BRAIN_WHITE, 0.22),
    80: (Organ.BRAIN_WHITE, 0.22),
    85: (Organ.BRAIN_WHITE, 0.35),
    251: (Organ.BRAIN_WHITE, 0.0),
    252: (Organ.BRAIN_WHITE, 0.0),
    253: (Organ.BRAIN_WHITE, 0.0),
    254: (Organ.BRAIN_WHITE, 0.0),
    255: (Organ.BRAIN_WHITE, 0.0),
    502: (Organ.BLOOD, -1.6),
    506: (Organ.CSF, -0.6),
    507: (Organ.SOFT_TISSUE, -0.65),
    508: (Organ.MUSCLE, -3.0),
    509: (Organ.SOFT_TISSUE, -1.1),
    511: (Organ.SOFT_TISSUE, -0.6),
    512: (Organ.SOFT_TISSUE, -1.7),
    514: (Organ.BLOOD, -1.6),
    515: (Organ.BONE, -0.5),
    516: (Organ.MARROW, -1.0),
    530: (Organ.BRAIN_WHITE, 0.35),
}
"""FreeSurfer number to structure and uptake over cortex; 0 takes the subject's white matter, negative is an SUV.

25, 57, 77, 80: damaged white matter; 136, 137, 163, 164: small parts of the ventricles' walls. 502-530: artery, eye,
other tissue, eye muscles, mucosa, skin, spinal cord, vein, compact bone, spongy bone, optic nerve.
"""

_MU = {
    Organ.OUTSIDE: 0.0,
    Organ.AIR: 0.0005,
    Organ.FAT: MU_FAT,
    Organ.LUNG: 0.030,
    Organ.BONE: MU_BONE,
    Organ.MARROW: MU_MARROW,
    Organ.BLOOD: MU_BLOOD,
    Organ.BRAIN_GREY: 0.099,
    Organ.BRAIN_WHITE: 0.099,
    Organ.CEREBELLUM: 0.099,
    Organ.LIVER: 0.099,
}


def mu_of(organs: NDArray[np.uint8]) -> FloatArray:
    """Attenuation at 511 keV [1/cm] by structure, same shape."""
    table = np.full(256, MU_SOFT, dtype=np.float32)
    for organ, mu in _MU.items():
        table[organ] = mu
    return table[organs]
