"""Where brain tracers go in healthy subjects: ratio to the reference region by region, as data.

The ratios are those of the tissue, not of an image of it. Published values come from images, in which cortex two to
three millimetres thick is mixed with its neighbours. So the tables were **chosen** such that they have the order and
the contrasts that their sources report, and come near the means that these measured once a scan has blurred them:

FDG
    Fitted: blurred to 7 mm and averaged over four label maps, the phantoms have the regional means, over pons, of the
    group average of 116 healthy subjects by the DlutMedimgGroup (MIT licence). The precuneus with the posterior
    cingulate is highest, as its early loss in disease made known [Minoshima1997]_. Reference SUV chosen.
florbetapir
    Cortex as imaged 0.96 (SD 0.04) of the whole cerebellum in the young [Clark2011]_; white matter above grey, which is
    not amyloid. White matter and deep nuclei chosen.
early-florbetapir
    The first minutes after the injection, which show delivery: cortex and deep grey matter by the table of HMPAO, over
    the whole cerebellum; white matter higher than in HMPAO, as its extraction is nearly complete. Such images correlate
    with FDG region by region by about 0.8 [Hsiao2012]_. Levels chosen.
flortaucipir
    Healthy binding potentials of 0.06 to 0.11 in cortex [Timmers2019]_; off-target binding in putamen, pallidum,
    caudate, thalamus, white matter and choroid plexus [Baker2019]_, levels chosen. Meninges are not modelled.
FDOPA
    Late ratio to occipital cortex, which falls with influx in disease [Dhawan2002]_; levels chosen.
ioflupane
    Specific binding over occipital cortex of 2.6 (SD 0.6) in caudate and 2.3 (SD 0.4) in putamen, as imaged
    [Wuerzburg2018]_; the tissue's own is set so that a blur of 12 mm leaves 2.3 and 2.5. Midbrain, pons and thalamus
    bind through serotonin transporters, levels chosen.
HMPAO
    Frontal, temporal and parietal cortex 0.87 to 0.88 of cerebellum at their surface's maximum [Healthy2012]_, basal
    ganglia and cerebellum high [Koyama1997]_; levels chosen.

Standard deviations between subjects are those of the sources where they state one, else chosen. SUVs of reference
regions and of tissue outside the brain are chosen.

References
----------
.. [Minoshima1997] S. Minoshima et al., Metabolic reduction in the posterior cingulate cortex in very early Alzheimer's
   disease, Ann Neurol 42:85-94, 1997.
.. [Clark2011] C. M. Clark et al., Use of florbetapir-PET for imaging beta-amyloid pathology, JAMA 305:275-283, 2011.
.. [Hsiao2012] I.-T. Hsiao et al., Correlation of early-phase 18F-florbetapir PET images to FDG images: preliminary
   studies, Eur J Nucl Med Mol Imaging 39:613-620, 2012.
.. [Timmers2019] T. Timmers et al., Associations between quantitative 18F-flortaucipir tau PET and atrophy across the
   Alzheimer's disease spectrum, Alzheimers Res Ther 11:60, 2019.
.. [Baker2019] S. L. Baker et al., Effect of off-target binding on 18F-flortaucipir variability in healthy controls
   across the life span, J Nucl Med 60:1444-1451, 2019.
.. [Dhawan2002] V. Dhawan et al., Comparative analysis of striatal FDOPA uptake in Parkinson's disease: ratio method
   versus graphical approach, J Nucl Med 43:1324-1330, 2002.
.. [Wuerzburg2018] PLoS One 13(6):e0198691, 2018, table 3 (I-123 ioflupane, healthy controls).
.. [Healthy2012] Clin Physiol Funct Imaging, 2012, PubMed 22296631 (30 healthy volunteers, 99mTc-HMPAO).
.. [Koyama1997] M. Koyama et al., SPECT imaging of normal subjects with technetium-99m-HMPAO and technetium-99m-ECD, J
   Nucl Med 38:587-592, 1997.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.brain_regions import BrainRegion
from nmsynth.physics.phantom.organs import Uptake


@dataclass(frozen=True, slots=True)
class RegionUptake:
    """Ratio of a region to the reference region: mean and standard deviation between subjects."""

    ratio: float
    sd: float


@dataclass(frozen=True, slots=True)
class BrainTracer:
    """What is injected, how it is imaged, and where it goes in healthy subjects."""

    name: str
    radionuclide: str
    agent: str
    """As a header names it."""
    uptake_time_s: float
    """From injection to imaging [s]."""
    activity_bq: float
    """Injected, usually [Bq]."""
    duration_s: float
    """Of a PET scan [s]; a SPECT scan has views instead."""
    reference: tuple[BrainRegion, ...]
    """Regions whose mean, weighed by volume, is the reference."""
    reference_suv: Uptake
    """Of the reference region [g/mL]."""
    regions: Mapping[BrainRegion, RegionUptake]
    tissue: Mapping[str, float]
    """SUV outside the brain [g/mL], by the names of :data:`TISSUE_OF_LABEL`."""

    @property
    def for_pet(self) -> bool:
        """Whether it is imaged by PET."""
        return self.radionuclide == "F-18"


TISSUE_OF_LABEL = {
    **dict.fromkeys((4, 43, 5, 44, 14, 15, 24, 72), "csf"),
    **dict.fromkeys((30, 62, 502, 514), "blood"),
    506: "eye",
    507: "soft",
    508: "eye_muscle",
    509: "mucosa",
    511: "skin",
    512: "cord",
    515: "bone",
    516: "marrow",
    530: "optic_nerve",
}
"""FreeSurfer number, and 502-530 of what lies outside the brain, to tissue."""

_ORDER = (
    "frontal", "anterior_cingulate", "sensorimotor", "parietal", "precuneus", "insula", "lateral_temporal",
    "medial_temporal", "occipital", "hippocampus", "amygdala", "caudate", "anterior_putamen", "posterior_putamen",
    "accumbens", "pallidum", "thalamus", "ventral_diencephalon", "cerebellar_cortex", "cerebellar_white", "pons",
    "brainstem", "cerebral_white", "choroid_plexus",
)  # fmt: skip
_TISSUES = ("csf", "blood", "eye", "soft", "eye_muscle", "mucosa", "skin", "cord", "bone", "marrow", "optic_nerve")


def _regions(ratios: tuple[float, ...], relative_sd: float, **own_sd: float) -> dict[BrainRegion, RegionUptake]:
    """Table in the order of the regions; ``own_sd`` states relative standard deviations of single regions."""
    return {
        BrainRegion[name.upper()]: RegionUptake(ratio, ratio * own_sd.get(name, relative_sd))
        for name, ratio in zip(_ORDER, ratios, strict=True)
    }


def _tissue(*suv: float) -> dict[str, float]:
    """SUV of what lies outside the brain, in the order of the tissues."""
    return dict(zip(_TISSUES, suv, strict=True))


_MINUTE = 60.0
_B = BrainRegion
BRAIN_TRACERS = {
    t.name: t
    for t in (
        BrainTracer(
            "FDG", "F-18", "Fluorodeoxyglucose F^18^", 45 * _MINUTE, 200e6, 15 * _MINUTE,
            (_B.PONS,), Uptake(3.6, 0.22, 1.9, 6.2),
            _regions((2.60, 2.40, 2.55, 2.85, 3.10, 2.10, 2.10, 1.40, 2.55, 1.50, 1.20, 2.25, 2.10, 1.95, 1.50, 1.15,
                      1.72, 1.10, 1.40, 0.75, 1.00, 1.08, 0.75, 0.20), 0.06, cerebral_white=0.10),
            _tissue(0.45, 1.6, 0.6, 0.65, 3.0, 1.1, 0.6, 1.7, 0.5, 1.0, 1.7),
        ),
        BrainTracer(
            "florbetapir", "F-18", "Florbetapir F^18^", 50 * _MINUTE, 370e6, 10 * _MINUTE,
            (_B.CEREBELLAR_CORTEX, _B.CEREBELLAR_WHITE), Uptake(1.1, 0.18, 0.6, 1.9),
            _regions((0.83, 0.92, 0.85, 0.85, 0.92, 0.92, 0.86, 0.90, 0.92, 1.00, 0.98, 1.00, 1.15, 1.15, 1.05, 1.35,
                      1.20, 1.40, 0.80, 1.65, 1.75, 1.60, 1.75, 1.10), 0.06, cerebral_white=0.10),
            _tissue(0.25, 0.5, 0.5, 0.6, 0.7, 1.2, 0.7, 1.2, 0.5, 0.9, 0.9),
        ),
        BrainTracer(
            "early-florbetapir", "F-18", "Florbetapir F^18^", 0.0, 370e6, 8 * _MINUTE,
            (_B.CEREBELLAR_CORTEX, _B.CEREBELLAR_WHITE), Uptake(4.0, 0.2, 2.2, 7.0),
            _regions((1.21, 1.21, 1.19, 1.19, 1.28, 1.19, 1.14, 0.92, 1.24, 0.87, 0.81, 1.19, 1.17, 1.14, 1.03, 0.78,
                      1.08, 0.81, 1.08, 0.70, 0.85, 0.81, 0.58, 0.40), 0.05, cerebral_white=0.08),
            _tissue(0.4, 3.0, 0.7, 0.8, 1.3, 2.2, 0.9, 1.2, 0.5, 1.0, 1.0),
        ),
        BrainTracer(
            "flortaucipir", "F-18", "Flortaucipir F^18^", 80 * _MINUTE, 370e6, 20 * _MINUTE,
            (_B.CEREBELLAR_CORTEX,), Uptake(1.0, 0.18, 0.55, 1.8),
            _regions((1.02, 1.05, 0.98, 1.03, 1.07, 1.08, 1.10, 1.05, 1.08, 1.12, 1.10, 1.30, 1.50, 1.50, 1.35, 1.65,
                      1.35, 1.35, 1.00, 1.05, 1.05, 1.10, 1.05, 2.20), 0.08,
                     caudate=0.15, anterior_putamen=0.15, posterior_putamen=0.15, pallidum=0.15, choroid_plexus=0.35),
            _tissue(0.3, 0.6, 1.0, 0.6, 0.8, 1.2, 0.7, 0.9, 0.6, 1.0, 0.8),
        ),
        BrainTracer(
            "FDOPA", "F-18", "Fluorodopa F^18^", 80 * _MINUTE, 200e6, 15 * _MINUTE,
            (_B.OCCIPITAL,), Uptake(1.2, 0.18, 0.7, 2.1),
            _regions((1.03, 1.10, 1.00, 1.00, 1.02, 1.10, 1.03, 1.10, 1.00, 1.10, 1.20, 3.30, 3.50, 3.40, 2.60, 1.60,
                      1.15, 1.35, 0.97, 0.90, 1.05, 1.05, 0.85, 1.00), 0.06,
                     caudate=0.13, anterior_putamen=0.12, posterior_putamen=0.12, accumbens=0.15),
            _tissue(0.6, 1.2, 0.8, 1.0, 1.3, 1.3, 0.9, 1.0, 0.7, 1.0, 1.0),
        ),
        BrainTracer(
            "ioflupane", "I-123", "Ioflupane I^123^", 4 * 3600.0, 185e6, 0.0,
            (_B.OCCIPITAL,), Uptake(1.0, 0.18, 0.55, 1.8),
            _regions((1.00, 1.05, 1.00, 1.00, 1.00, 1.05, 1.00, 1.05, 1.00, 1.08, 1.15, 7.50, 6.00, 5.80, 5.00, 2.20,
                      1.40, 1.90, 0.95, 0.85, 1.30, 1.30, 0.85, 1.00), 0.06,
                     caudate=0.16, anterior_putamen=0.14, posterior_putamen=0.14, accumbens=0.18),
            _tissue(0.4, 0.6, 0.5, 0.6, 0.8, 1.0, 0.6, 0.8, 0.5, 0.7, 0.7),
        ),
        BrainTracer(
            "HMPAO", "Tc-99m", "Technetium Tc^99m^ exametazime", 45 * _MINUTE, 740e6, 0.0,
            (_B.CEREBELLAR_CORTEX,), Uptake(3.5, 0.2, 1.9, 6.0),
            _regions((1.12, 1.12, 1.10, 1.10, 1.18, 1.10, 1.05, 0.85, 1.15, 0.80, 0.75, 1.10, 1.08, 1.05, 0.95, 0.72,
                      1.00, 0.75, 1.00, 0.48, 0.75, 0.72, 0.48, 0.30), 0.05, cerebral_white=0.08),
            _tissue(0.3, 1.0, 0.6, 0.7, 1.0, 2.0, 0.8, 0.9, 0.4, 0.8, 0.8),
        ),
    )
}  # fmt: skip
"""Brain tracers by name."""


def brain_tracer_named(name: str) -> BrainTracer:
    """The brain tracer of a name, in any case.

    Raises
    ------
    InputError
        If there is none.
    """
    for tracer in BRAIN_TRACERS.values():
        if tracer.name.lower() == name.lower():
            return tracer
    raise InputError(f"A brain tracer must be one of {', '.join(BRAIN_TRACERS)}; found {name!r}.")
