"""Uptake of other tracers than FDG, by structure.

Medians are SUV by body weight at the usual time of imaging. MDP follows the normal values of quantitative SPECT
[Cachovan2013]_, [Kaneta2016]_; DOTATATE those of organs at risk a day after therapy [Sandstrom2013]_; HMPAO leaves
about 5 % of its activity in the brain [Sharp1986]_. The heart holds about 1.2 % of sestamibi at rest and 1.5 % under
stress [Wackers1989]_, and 1.2 % of tetrofosmin, of which the liver holds less than 4.5 % after an hour [Higley1993]_;
two thirds of it are taken to be in 130 g of left ventricle. What these do not give is chosen, and ranges are wide:
gallbladder, bowel and stomach of the perfusion tracers above all, which spill into the inferior wall. A structure that
is not named takes the soft tissue of its table.

References
----------
.. [Cachovan2013] M. Cachovan et al., Quantification of 99mTc-DPD concentration in the lumbar spine with SPECT/CT,
   EJNMMI Res 3:45, 2013.
.. [Kaneta2016] T. Kaneta et al., SUVs in normal vertebrae with 99mTc-MDP SPECT/CT, Am J Nucl Med Mol Imaging 6:262-268,
   2016.
.. [Sandstrom2013] M. Sandstrom et al., Individualized dosimetry of kidney and bone marrow in patients undergoing
   177Lu-DOTA-octreotate treatment, J Nucl Med 54:33-41, 2013.
.. [Sharp1986] P. F. Sharp et al., Technetium-99m HM-PAO stereoisomers as potential agents for imaging regional
   cerebral blood flow: human volunteer studies, J Nucl Med 27:171-177, 1986.
.. [Wackers1989] F. J. T. Wackers et al., Technetium-99m hexakis 2-methoxyisobutyl isonitrile: human biodistribution,
   dosimetry, safety, and preliminary comparison to thallium-201 for myocardial perfusion imaging, J Nucl Med
   30:301-311, 1989.
.. [Higley1993] B. Higley et al., Technetium-99m-1,2-bis[bis(2-ethoxyethyl)phosphino]ethane: human biodistribution,
   dosimetry and safety of a new myocardial perfusion imaging agent, J Nucl Med 34:30-38, 1993.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.organs import UPTAKE, Uptake


@dataclass(frozen=True, slots=True)
class Tracer:
    """What is injected, and where it goes."""

    name: str
    radionuclide: str
    agent: str
    """As a header names it."""
    uptake: Mapping[str, Uptake]
    """By structure, every key of :data:`nmsynth.physics.phantom.organs.UPTAKE`."""
    uptake_time_s: float
    """From injection to imaging, usually [s]."""
    activity_bq: float
    """Injected, usually [Bq]."""


def _table(soft: float, medians: Mapping[str, float], spread: float = 0.3) -> dict[str, Uptake]:
    """Uptakes from medians; the limits lie a factor of three about them."""
    found = {}
    for name, fdg in UPTAKE.items():
        if name == "white_ratio":
            found[name] = fdg
            continue
        median = medians.get(name, soft)
        found[name] = Uptake(median, spread, median / 3, median * 3)
    return found


_MDP = {
    "fat": 0.2, "muscle": 0.4, "cortical_bone": 4.0, "marrow": 4.5, "lung": 0.35, "blood": 0.7, "kidney_cortex": 3.0,
    "renal_pelvis": 7.0, "ureter": 6.0, "bladder": 25.0, "grey": 0.2, "csf": 0.15, "disc": 1.2, "larynx": 1.2,
    "airway": 0.05, "bowel_content": 0.3, "stomach_lumen": 0.3, "injection_site": 40.0,
}  # fmt: skip
_HMPAO = {
    "fat": 0.3, "muscle": 0.7, "cortical_bone": 0.4, "marrow": 0.8, "lung": 1.0, "liver": 3.0, "spleen": 1.8,
    "blood": 1.0, "kidney_cortex": 2.5, "renal_pelvis": 5.0, "ureter": 4.0, "bladder": 6.0, "grey": 3.2, "csf": 0.3,
    "thyroid": 2.0, "salivary": 2.2, "airway": 0.1, "eye_muscle": 0.9, "gallbladder": 5.0, "small_bowel": 2.0,
}  # fmt: skip
_DOTATATE = {
    "fat": 0.1, "muscle": 0.25, "cortical_bone": 0.3, "marrow": 0.5, "lung": 0.25, "liver": 3.0, "spleen": 11.0,
    "blood": 0.35, "kidney_cortex": 10.0, "renal_pelvis": 11.0, "ureter": 4.0, "bladder": 8.0, "stomach_wall": 1.2,
    "colon": 1.3, "small_bowel": 1.5, "bowel_content": 0.8, "pancreas": 1.6, "adrenal": 3.5, "thyroid": 0.9,
    "salivary": 0.9, "grey": 0.15, "csf": 0.1, "airway": 0.05, "prostate": 1.0, "uterus": 0.8,
}  # fmt: skip
_PERFUSION = {
    "fat": 0.25, "muscle": 0.8, "cortical_bone": 0.4, "marrow": 0.9, "lung": 0.5, "blood": 0.35, "spleen": 2.0,
    "kidney_cortex": 6.0, "renal_pelvis": 7.0, "ureter": 5.0, "bladder": 8.0, "grey": 0.2, "csf": 0.1, "thyroid": 2.5,
    "salivary": 3.0, "airway": 0.1, "stomach_wall": 1.2, "stomach_lumen": 1.0, "colon": 1.2, "bowel_content": 1.5,
    "pancreas": 1.2, "breast": 0.4,
}  # fmt: skip
_BILE_SPREAD = 0.7
"""Of gallbladder, bowel and stomach, which differ most between subjects."""
ABDOMINAL = ("liver", "gallbladder", "small_bowel", "bowel_content", "colon", "stomach_wall", "stomach_lumen")
"""Structures whose activity reaches the inferior wall of the heart."""


def _perfusion(**medians: float) -> dict[str, Uptake]:
    """Uptakes of a perfusion tracer."""
    found = _table(0.5, _PERFUSION | medians)
    for name in ("gallbladder", "small_bowel", "bowel_content", "stomach_lumen"):
        median = found[name].median
        found[name] = Uptake(median, _BILE_SPREAD, median / 8, median * 8)
    heart = found["myocardium"].median
    found["myocardium"] = Uptake(heart, 0.2, heart / 2, heart * 2)
    return found


def scaled_uptakes(uptakes: Mapping[str, Uptake], names: tuple[str, ...], factor: float) -> dict[str, Uptake]:
    """The table with the uptakes of some structures multiplied."""
    return {
        n: Uptake(u.median * factor, u.spread, u.low * factor, u.high * factor) if n in names else u
        for n, u in uptakes.items()
    }


TRACERS = {
    t.name: t
    for t in (
        Tracer("FDG", "F-18", "Fluorodeoxyglucose F^18^", UPTAKE, 3600.0, 300e6),
        Tracer("MDP", "Tc-99m", "Technetium Tc^99m^ medronate", _table(0.5, _MDP), 3 * 3600.0, 600e6),
        Tracer("HMPAO", "Tc-99m", "Technetium Tc^99m^ exametazime", _table(0.8, _HMPAO), 3600.0, 740e6),
        Tracer("DOTATATE", "Lu-177", "Lutetium Lu^177^ dotatate", _table(0.4, _DOTATATE), 24 * 3600.0, 7.4e9),
        Tracer(
            "SESTAMIBI-STRESS",
            "Tc-99m",
            "Technetium Tc^99m^ sestamibi",
            _perfusion(myocardium=5.4, liver=2.4, gallbladder=14.0, small_bowel=3.0),
            2700.0,
            740e6,
        ),
        Tracer(
            "SESTAMIBI-REST",
            "Tc-99m",
            "Technetium Tc^99m^ sestamibi",
            _perfusion(myocardium=4.3, liver=3.6, gallbladder=18.0, small_bowel=3.5),
            3600.0,
            740e6,
        ),
        Tracer(
            "TETROFOSMIN-STRESS",
            "Tc-99m",
            "Technetium Tc^99m^ tetrofosmin",
            _perfusion(myocardium=4.6, liver=1.3, gallbladder=14.0, small_bowel=3.0),
            2700.0,
            740e6,
        ),
        Tracer(
            "TETROFOSMIN-REST",
            "Tc-99m",
            "Technetium Tc^99m^ tetrofosmin",
            _perfusion(myocardium=4.3, liver=1.7, gallbladder=16.0, small_bowel=3.5),
            2700.0,
            740e6,
        ),
    )
}
"""Tracers by name."""


def tracer_named(name: str) -> Tracer:
    """The tracer of a name, in any case.

    Raises
    ------
    InputError
        If there is none.
    """
    found = TRACERS.get(name.upper())
    if found is None:
        raise InputError(f"A tracer must be one of {', '.join(TRACERS)}; found {name!r}.")
    return found
