"""Regions of a head that share a curve: by FreeSurfer number and place, and by structure of a procedural head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion, brain_regions
from nmsynth.physics.phantom.organs import Organ

OCCIPITAL_PARCELS = (5, 11, 13, 21)
"""Cuneus, lateral occipital, lingual and pericalcarine cortex of the Desikan-Killiany atlas [Desikan2006]_.

.. [Desikan2006] R. S. Desikan et al., An automated labeling system for subdividing the human cerebral cortex on MRI
   scans into gyral based regions of interest, NeuroImage 31:968-980, 2006.
"""

_NUMBERS: dict[str, tuple[int, ...]] = {
    "white matter": (2, 41, 77, 25, 57, 80, 85, 251, 252, 253, 254, 255, 530),
    "cortex": (3, 42),
    "csf": (4, 43, 5, 44, 14, 15, 24, 72, 136, 137, 163, 164, 506),
    "cerebellar white": (7, 46),
    "cerebellar grey": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brainstem": (16, 28, 60, 512),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "accumbens": (26, 58),
    "blood": (30, 62, 502, 514),
    "other": (507, 31, 63),
    "muscle": (508,),
    "mucosa": (509,),
    "skin": (511,),
    "bone": (515,),
    "marrow": (516,),
}
REGION_OF_LABEL: dict[int, str] = {
    **{number: region for region, numbers in _NUMBERS.items() for number in numbers},
    **{side + n: "occipital" if n in OCCIPITAL_PARCELS else "cortex" for side in (1000, 2000) for n in range(1000)},
}
"""FreeSurfer number to region; 1000-2999 are parcels of cortex, 502-530 lie outside the brain (artery, eye, other
tissue, eye muscles, mucosa, skin, spinal cord, vein, compact bone, spongy bone, optic nerve). Ventral diencephalon and
spinal cord count as brainstem, vessels and sinuses as blood, the choroid plexus (31, 63) as other tissue."""

REGION_OF_ORGAN: dict[int, str] = {
    Organ.BRAIN_GREY: "cortex",
    Organ.CEREBELLUM: "cerebellar grey",
    Organ.BRAIN_WHITE: "white matter",
    Organ.BLOOD: "blood",
    Organ.CSF: "csf",
    Organ.AIR: "air",
    Organ.FAT: "fat",
    Organ.BONE: "bone",
    Organ.MARROW: "marrow",
}
"""Structure of a procedural head to region; others are ``"other"``. Its cerebellum is one structure."""

ORGAN_OF_REGION: dict[str, Organ] = {
    "cortex": Organ.BRAIN_GREY,
    "occipital": Organ.BRAIN_GREY,
    "white matter": Organ.BRAIN_WHITE,
    "csf": Organ.CSF,
    "cerebellar grey": Organ.CEREBELLUM,
    "cerebellar white": Organ.BRAIN_WHITE,
    "brainstem": Organ.BRAIN_WHITE,
    "pons": Organ.BRAIN_WHITE,
    "blood": Organ.BLOOD,
    "muscle": Organ.MUSCLE,
    "bone": Organ.BONE,
    "marrow": Organ.MARROW,
    **dict.fromkeys(
        ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "accumbens"), Organ.BRAIN_GREY
    ),
}
"""Attenuation of a region is that of this structure; soft tissue where it is not named."""

BRAIN = frozenset(
    region
    for region, organ in ORGAN_OF_REGION.items()
    if organ in (Organ.BRAIN_GREY, Organ.BRAIN_WHITE, Organ.CEREBELLUM)
)
"""Regions of the brain, in which binding is known."""

REFERENCE_REGIONS: dict[str, tuple[str, ...]] = {
    "cerebellar grey": ("cerebellar grey",),
    "whole cerebellum": ("cerebellar grey", "cerebellar white"),
    "brainstem": ("brainstem",),
    "occipital": ("occipital",),
}
"""What makes up a reference region, where it is not one region."""


def regions_of_labels(
    labels: npt.NDArray[np.number], spacing_mm: tuple[float, float, float] | None = None
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Index of each voxel's region, and the names of the regions; index 0 is outside.

    Parameters
    ----------
    labels
        FreeSurfer numbers, any shape; ``(z, y, x)`` with z upwards, y to posterior, x to the left, where a spacing is
        given.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm]; with them occipital cortex is told from other cortex in maps without parcels,
        and the pons from the rest of the brainstem, by place (:mod:`nmsynth.physics.phantom.brain_regions`).

    Raises
    ------
    InputError
        If a number is not whole or unknown, or there is no brain.
    """
    numbers = np.asarray(labels)
    found = [float(n) for n in np.unique(numbers) if n != 0]
    unknown = [n for n in found if not n.is_integer() or int(n) not in REGION_OF_LABEL]
    if unknown:
        raise InputError(f"Labels must follow the FreeSurfer numbering; found {[f'{n:g}' for n in unknown[:8]]}.")
    names = ["outside", *dict.fromkeys(REGION_OF_LABEL[int(n)] for n in found)]
    if not BRAIN & set(names):
        raise InputError("A label map needs a region of the brain; found none. Give a map with FreeSurfer numbers.")
    whole = numbers.astype(np.int32)
    table = np.zeros(3000, dtype=np.uint8)
    for n in found:
        table[int(n)] = names.index(REGION_OF_LABEL[int(n)])
    indices = table[whole]
    if spacing_mm is not None:
        placed = brain_regions(whole, spacing_mm) % RIGHT
        for region, part in ((BrainRegion.OCCIPITAL, "occipital"), (BrainRegion.PONS, "pons")):
            here = placed == region
            if here.any() and part not in names:
                names.append(part)
            if here.any():
                indices[here] = names.index(part)
    return indices, tuple(names)
