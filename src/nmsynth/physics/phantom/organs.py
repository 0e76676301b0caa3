"""Structures of the body, their FDG uptake and attenuation.

Uptakes are means and relative spreads between patients, log-normal, of SUV by body weight about an hour after
injection. They follow [Wang2007]_, [Zincirkeser2007]_ and [Ramos2001]_ for normal organs, [Wahl2009]_ for liver and
blood pool, rounded and widened to what is seen in practice; bowel, myocardium, urine and injection site vary so much
that their ranges are chosen, not measured. Attenuation is that of [ICRU44]_ tissues at 511 keV.

References
----------
.. [Wang2007] Y. Wang et al., Mol Imaging Biol 9:83-90, 2007.
.. [Zincirkeser2007] S. Zincirkeser et al., J Int Med Res 35:231-236, 2007.
.. [Ramos2001] C. D. Ramos et al., Eur J Nucl Med 28:155-164, 2001.
.. [Wahl2009] R. L. Wahl et al., J Nucl Med 50 Suppl 1:122S-150S, 2009.
.. [ICRU44] ICRU Report 44, Tissue Substitutes in Radiation Dosimetry and Measurement, 1989.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Organ(IntEnum):
    """Values of `Phantom.labels`."""

    OUTSIDE = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    LUNG = 5
    LIVER = 6
    SPLEEN = 7
    KIDNEY = 8
    URINE = 9
    HEART_WALL = 10
    BLOOD = 11
    STOMACH = 12
    BOWEL = 13
    PANCREAS = 14
    BRAIN_GREY = 15
    BRAIN_WHITE = 16
    CSF = 17
    THYROID = 18
    SALIVARY = 19
    TONSIL = 20
    AIR = 21
    GALLBLADDER = 22
    GENITAL = 23
    BREAST = 24
    SOFT_TISSUE = 25
    NODE = 26
    INJECTION_SITE = 27
    CEREBELLUM = 28
    ADRENAL = 29
    WATER = 30
    CLUTTER = 31


NO_ORGANS = (Organ.OUTSIDE, Organ.AIR, Organ.URINE, Organ.INJECTION_SITE, Organ.CLUTTER)
"""What is no organ whose mean would be read."""
BRAIN = (Organ.BRAIN_GREY, Organ.BRAIN_WHITE, Organ.CEREBELLUM)
SKELETON = (Organ.BONE, Organ.MARROW)
"""Organs that are read as one, too."""


@dataclass(frozen=True, slots=True)
class Uptake:
    """Log-normal uptake: median [g/mL], spread (standard deviation of the logarithm) and hard limits [g/mL]."""

    median: float
    spread: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator, widen: float = 1.0) -> float:
        """One patient's value; ``widen`` multiplies the spread and loosens the limits."""
        low, high = self.low / widen, self.high * widen
        return float(np.clip(self.median * np.exp(widen * self.spread * rng.standard_normal()), low, high))


UPTAKE: dict[str, Uptake] = {
    "fat": Uptake(0.28, 0.25, 0.12, 0.55),
    "muscle": Uptake(0.65, 0.20, 0.40, 1.30),
    "skin": Uptake(0.55, 0.20, 0.30, 1.00),
    "cortical_bone": Uptake(0.55, 0.25, 0.25, 1.10),
    "marrow": Uptake(1.25, 0.28, 0.60, 3.50),
    "lung": Uptake(0.50, 0.18, 0.28, 0.85),
    "liver": Uptake(2.25, 0.17, 1.30, 3.60),
    "spleen": Uptake(1.85, 0.18, 1.10, 3.20),
    "blood": Uptake(1.60, 0.16, 0.95, 2.40),
    "kidney_cortex": Uptake(2.60, 0.28, 1.40, 5.50),
    "renal_pelvis": Uptake(7.00, 0.90, 1.50, 40.0),
    "ureter": Uptake(5.00, 0.70, 1.50, 25.0),
    "bladder": Uptake(16.0, 0.80, 3.00, 90.0),
    "myocardium": Uptake(2.80, 0.80, 0.90, 14.0),
    "stomach_wall": Uptake(2.20, 0.35, 1.00, 5.50),
    "stomach_lumen": Uptake(0.60, 0.30, 0.25, 1.20),
    "colon": Uptake(1.40, 0.45, 0.60, 6.00),
    "small_bowel": Uptake(1.30, 0.40, 0.60, 4.50),
    "bowel_content": Uptake(0.70, 0.30, 0.30, 1.40),
    "pancreas": Uptake(1.60, 0.20, 0.90, 2.60),
    "gallbladder": Uptake(0.75, 0.25, 0.40, 1.30),
    "adrenal": Uptake(1.50, 0.25, 0.80, 2.80),
    "grey": Uptake(8.50, 0.25, 4.50, 14.0),
    "white_ratio": Uptake(0.30, 0.12, 0.22, 0.42),
    "csf": Uptake(0.45, 0.25, 0.20, 1.00),
    "cord": Uptake(1.70, 0.20, 1.00, 2.60),
    "thyroid": Uptake(1.40, 0.35, 0.70, 5.00),
    "salivary": Uptake(1.90, 0.35, 0.90, 5.00),
    "tonsil": Uptake(3.20, 0.40, 1.30, 8.00),
    "tongue": Uptake(1.60, 0.40, 0.80, 5.00),
    "larynx": Uptake(1.70, 0.40, 0.80, 5.50),
    "oesophagus": Uptake(1.60, 0.25, 0.90, 3.50),
    "eye_muscle": Uptake(4.00, 0.35, 1.80, 9.00),
    "breast": Uptake(0.60, 0.35, 0.25, 1.40),
    "uterus": Uptake(1.80, 0.45, 0.90, 7.00),
    "prostate": Uptake(1.70, 0.30, 0.90, 3.80),
    "testis": Uptake(2.60, 0.30, 1.20, 5.00),
    "bulk_tissue": Uptake(0.80, 0.15, 0.50, 1.20),
    "disc": Uptake(0.70, 0.20, 0.40, 1.10),
    "airway": Uptake(0.15, 0.20, 0.05, 0.30),
    "injection_site": Uptake(45.0, 0.80, 8.00, 220.0),
}
"""Uptake of each structure; keys are the names used by the anatomy."""

MU_SOFT = 0.096
"""Soft tissue at 511 keV [1/cm]."""
MU_FAT = 0.090
"""Adipose tissue at 511 keV [1/cm]."""
MU_BLOOD = 0.101
"""Blood at 511 keV [1/cm]."""
MU_MARROW = 0.113
"""Spongy bone with marrow at 511 keV [1/cm]."""
MU_BONE = 0.150
"""Compact bone at 511 keV [1/cm]."""
MU_LUNG = (0.025, 0.035)
"""Range for lung at 511 keV [1/cm]."""
MU_WATER = 0.096
"""Water at 511 keV [1/cm]."""
