"""Attenuation of a subject's tissues at 511 keV: by organ, lung with its gradient, bone by its density.

Phantoms are painted with a few attenuation values, the same for many organs. Here each organ gets the CT number that
it has in a scan without contrast agent, drawn for each subject, and the painted structure within it (vessels, gas,
compact and spongy bone, partial volumes at edges) is kept.

CT numbers are chosen within the ranges that textbooks give for scans without contrast agent [Prokop2003]_ [Buzug2008]_,
their spreads between subjects are chosen. The density of the lung is that of ICRU-44 inflated lung, 0.26 g/mL, its
gradient the one of a resting supine patient measured in one torso CT (7.7 HU per cm), rounded.

References
----------
.. [Prokop2003] M. Prokop, M. Galanski (eds), Spiral and Multislice Computed Tomography of the Body, Thieme, 2003.
.. [Buzug2008] T. M. Buzug, Computed Tomography, Springer, 2008, p. 475.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.materials import mu_from_hu
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray, Phantom
from nmsynth.physics.phantom.label_tables import mu_of
from nmsynth.physics.phantom.organs import Organ

SOFT_HU: dict[Organ, tuple[float, float]] = {
    Organ.FAT: (-100.0, 6.0),
    Organ.MUSCLE: (50.0, 6.0),
    Organ.LIVER: (56.0, 7.0),
    Organ.SPLEEN: (46.0, 5.0),
    Organ.KIDNEY: (32.0, 4.0),
    Organ.URINE: (6.0, 4.0),
    Organ.HEART_WALL: (45.0, 5.0),
    Organ.BLOOD: (42.0, 5.0),
    Organ.STOMACH: (25.0, 12.0),
    Organ.BOWEL: (25.0, 12.0),
    Organ.PANCREAS: (38.0, 8.0),
    Organ.BRAIN_GREY: (37.0, 2.0),
    Organ.BRAIN_WHITE: (28.0, 2.0),
    Organ.CEREBELLUM: (34.0, 2.0),
    Organ.CSF: (8.0, 2.0),
    Organ.THYROID: (100.0, 15.0),
    Organ.SALIVARY: (20.0, 15.0),
    Organ.TONSIL: (45.0, 6.0),
    Organ.GALLBLADDER: (8.0, 5.0),
    Organ.GENITAL: (40.0, 6.0),
    Organ.BREAST: (10.0, 15.0),
    Organ.SOFT_TISSUE: (45.0, 6.0),
    Organ.NODE: (40.0, 6.0),
    Organ.INJECTION_SITE: (50.0, 6.0),
    Organ.ADRENAL: (25.0, 8.0),
}
"""Mean CT number of an organ and its standard deviation between subjects [HU], at 120 kVp without contrast agent."""

_PAINTED = {
    Organ.BLOOD: 0.101,
    Organ.LIVER: 0.099,
    Organ.SPLEEN: 0.098,
    Organ.KIDNEY: 0.098,
    Organ.HEART_WALL: 0.099,
    Organ.THYROID: 0.100,
    Organ.SALIVARY: 0.095,
    Organ.BREAST: 0.094,
}
"""Attenuation with which the procedural patient paints an organ, where label maps paint another one [1/cm]."""
_PAINTED_LUNG = 0.030
_LUNG_EDGE = 0.0375
"""Painted values of lung and, above, of its edges with soft tissue [1/cm]."""
_KNEE = 0.1008
"""Attenuation above which a painted voxel holds bone [1/cm]; muscle of 50 HU has 0.1007."""
_SPONGY, _WHOLE_BONE = 0.5, 0.2
"""Share of the painted excess over soft tissue in spongy bone, which gives vertebrae about 170 HU, and in the bones of
an organ label map, which do not tell compact from spongy bone and get about 250 HU; chosen."""


@dataclass(frozen=True, slots=True)
class TissueDensities:
    """What attenuation one subject's tissues have.

    Attributes
    ----------
    soft_hu
        CT number of each organ of :data:`SOFT_HU` [HU].
    lung_hu
        Of lung at the depth of the body axis, where it is painted with 0.030 /cm; a patient's own painted value
        scales its density [HU].
    lung_gradient_hu_per_cm
        Rise of lung towards the back [HU/cm].
    lung_texture_hu
        Standard deviation of fine structure of lung [HU].
    bone_density
        Factor on what bone attenuates above soft tissue.
    seed
        Of the fine structure.
    """

    soft_hu: dict[Organ, float]
    lung_hu: float = -750.0
    lung_gradient_hu_per_cm: float = 7.0
    lung_texture_hu: float = 30.0
    bone_density: float = 1.0
    seed: int = 0

    @classmethod
    def draw(cls, seed: int) -> TissueDensities:
        """One subject's: organs by :data:`SOFT_HU`, lung -750 ± 25 HU, gradient 7 ± 1.5 HU/cm, bone ± 12 %."""
        rng = np.random.default_rng((seed, 61))
        soft = {organ: float(rng.normal(mean, sd)) for organ, (mean, sd) in SOFT_HU.items()}
        return cls(
            soft_hu=soft,
            lung_hu=float(np.clip(rng.normal(-750.0, 25.0), -820.0, -680.0)),
            lung_gradient_hu_per_cm=float(np.clip(rng.normal(7.0, 1.5), 2.0, 12.0)),
            bone_density=float(np.exp(0.12 * np.clip(rng.standard_normal(), -2.5, 2.5))),
            seed=seed,
        )

    @classmethod
    def mean(cls) -> TissueDensities:
        """The means of all tables."""
        return cls({organ: mean for organ, (mean, _) in SOFT_HU.items()})

    def to_json(self) -> dict[str, Any]:
        """JSON values, organs by name."""
        return {**asdict(self), "soft_hu": {organ.name.lower(): round(hu, 1) for organ, hu in self.soft_hu.items()}}


def with_tissue_densities(phantom: Phantom, tissues: TissueDensities) -> Phantom:
    """The phantom with the attenuation of its subject's tissues.

    A painted voxel ``m`` of an organ becomes ``r min(m, k) + f max(m - k, 0)``: ``r`` the organ's wanted over its
    painted attenuation, ``k`` soft tissue, ``f`` the density of bone. Lung goes linearly from its own value to soft
    tissue's at its edges. What a voxel becomes depends on that voxel alone, so parts of a patient fit together.
    Phantoms whose attenuation is given, quality objects and label maps with a CT, must not be passed.

    Parameters
    ----------
    phantom
        As painted.
    tissues
        Of the subject.

    Returns
    -------
        The same phantom with another ``mu_map`` (narrow beam, 511 keV) [1/cm].
    """
    labels, mu = phantom.labels, phantom.mu_map
    bone = np.full(256, tissues.bone_density, dtype=np.float32)
    bone[Organ.MARROW] *= _SPONGY
    if phantom.family == "organ_labels":
        bone[Organ.BONE] *= _WHOLE_BONE
    ratio = _ratios(phantom.family, tissues)
    result = ratio[_organs(labels, mu)] * np.minimum(mu, np.float32(_KNEE))
    result += bone[labels] * np.maximum(mu - np.float32(_KNEE), 0)
    lung = (labels == Organ.LUNG) | ((labels == Organ.CLUTTER) & (mu < _LUNG_EDGE))
    if lung.any():
        result[lung] = _lung(phantom, tissues, lung)
    return replace(phantom, mu_map=result.astype(np.float32))


def _ratios(family: str, tissues: TissueDensities) -> FloatArray:
    """Wanted over painted attenuation by organ, shape ``(256,)``."""
    painted = mu_of(np.arange(256).astype(np.uint8))
    if family == "whole_body":
        for organ, mu in _PAINTED.items():
            painted[organ] = mu
    ratio = np.ones(256, dtype=np.float32)
    for organ, hu in tissues.soft_hu.items():
        ratio[organ] = mu_from_hu(hu, energy_kev=511.0) / painted[organ]
    ratio[Organ.OUTSIDE] = ratio[Organ.FAT]
    return ratio


def _organs(labels: NDArray[np.uint8], mu: FloatArray) -> NDArray[np.uint8]:
    """Labels, with clutter as the tissue that its attenuation says it lies in."""
    clutter = labels == Organ.CLUTTER
    if not clutter.any():
        return labels
    organs = labels.copy()
    organs[clutter] = np.where(mu[clutter] < 0.093, Organ.FAT, np.where(mu[clutter] > _KNEE, Organ.BONE, Organ.MUSCLE))
    return organs


def _lung(phantom: Phantom, tissues: TissueDensities, where: NDArray[np.bool_]) -> FloatArray:
    """Attenuation of lung voxels: densest at the back, granular, soft tissue at the edges."""
    axes = phantom.grid.axes()
    texture = SmoothField.random(np.random.default_rng((tissues.seed, 62)), 6.0, 48).on_axes(*axes)[where]
    y_cm = np.broadcast_to(axes[1][None, :, None] / 10.0, where.shape)[where]
    hu = tissues.lung_hu + tissues.lung_gradient_hu_per_cm * y_cm + tissues.lung_texture_hu * texture
    wanted = mu_from_hu(np.maximum(hu, -950.0), energy_kev=511.0)
    painted = phantom.mu_map[where]
    soft = mu_from_hu(tissues.soft_hu[Organ.MUSCLE], energy_kev=511.0)
    inner = wanted * np.minimum(painted, _LUNG_EDGE) / _PAINTED_LUNG
    edge = np.clip((painted - _LUNG_EDGE) / (0.096 - _LUNG_EDGE), 0, 1)
    result: FloatArray = (inner + edge * np.maximum(soft - inner, 0)).astype(np.float32)
    return result
