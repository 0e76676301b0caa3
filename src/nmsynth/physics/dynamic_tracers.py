"""Tracers of a dynamic head scan: input, rate constants, frames, windows and reference regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nmsynth.core.errors import InputError
from nmsynth.physics import rate_constants
from nmsynth.physics.input_function import InputFunction, ParentFraction
from nmsynth.physics.rate_constants import Rates

FDG_HOUR_S = (10,) * 6 + (30,) * 4 + (60,) * 2 + (120,) * 5 + (300,) * 9
"""Lengths of the frames of an hour [s]."""
AMYLOID_110_S = (10,) * 6 + (30,) * 4 + (60,) * 7 + (300,) * 20
"""Lengths of the frames of 110 minutes [s]."""
AMYLOID_90_S = AMYLOID_110_S[:-4]
"""Of 90 minutes [s]."""

Analysis = Literal["plasma", "influx", "binding"]
"""What the curves are fitted by: Patlak with plasma; Patlak with a reference; reference models of binding."""


@dataclass(frozen=True, slots=True)
class DynamicTracer:
    """How a tracer is given, scanned and analysed.

    Attributes
    ----------
    name
        Common name.
    radiopharmaceutical
        As DICOM names it.
    half_life_s
        Of its radionuclide [s].
    blood
        Mean input of the population.
    frames_s
        Default lengths of the frames [s].
    early_min
        Window of an early image [min].
    late_min
        Window of the late image and of its SUVR [min]; see :data:`nmsynth.metrics.suvr.SUVR_RULES`.
    analysis
        Model of its parametric images.
    reference
        Regions that serve as reference of the models, the first that is there.
    fit_start_min
        Frames from here on are fitted by graphical analyses [min].
    graded
        Whether a severity of disease changes its rate constants.
    """

    name: str
    radiopharmaceutical: str
    blood: InputFunction
    frames_s: tuple[float, ...]
    early_min: tuple[float, float]
    late_min: tuple[float, float]
    analysis: Analysis
    reference: tuple[str, ...]
    fit_start_min: float
    graded: bool = True
    half_life_s: float = 6586.2

    def rates(self, severity: float = 0.0) -> Rates:
        """Mean rate constants by region at a severity of disease from 0 to 1.

        Raises
        ------
        InputError
            If the severity is out of range, or the tracer has none.
        """
        if self.name == "FDG":
            if severity:
                raise InputError(f"FDG has one set of rate constants, severity 0; found {severity}.")
            return rate_constants.FDG
        if self.name == "FDOPA":
            return rate_constants.dopa_rates(severity)
        return rate_constants.amyloid_rates(self.name, severity)


_FLORBETABEN_BLOOD = InputFunction(
    a1=95.0, a2=1.3, a3=1.0, rates_per_min=(4.5, 0.16, 0.006), parent=ParentFraction(0.05, 9.0, 1.3)
)
"""Chosen, so that unchanged tracer in plasma has an area of 0.41 min/L of the dose at 70 kg; 0.35 to 0.55 in volunteers
(J Nucl Med 51 Suppl 2:1754, 2010)."""
_AMYLOID_BLOOD = InputFunction(
    a1=95.0, a2=1.3, a3=1.0, rates_per_min=(4.5, 0.16, 0.004), parent=ParentFraction(0.15, 9.0, 1.3)
)
"""Of flutemetamol and florbetapir; chosen."""
_DOPA_BLOOD = InputFunction(a1=100.0, a2=2.6, a3=2.0, rates_per_min=(4.0, 0.12, 0.008), whole_blood_ratio=0.8)
"""Chosen."""

TRACERS: dict[str, DynamicTracer] = {
    tracer.name: tracer
    for tracer in (
        DynamicTracer(
            "FDG", "Fluorodeoxyglucose F^18^", InputFunction(), FDG_HOUR_S, (0.0, 10.0), (30.0, 60.0), "plasma",
            ("cerebellar grey",), 30.0, graded=False,
        ),
        DynamicTracer(
            "florbetaben", "Florbetaben F^18^", _FLORBETABEN_BLOOD, AMYLOID_110_S, (0.0, 10.0), (90.0, 110.0),
            "binding", ("cerebellar grey",), 50.0,
        ),
        DynamicTracer(
            "flutemetamol", "Flutemetamol F^18^", _AMYLOID_BLOOD, AMYLOID_110_S, (0.0, 10.0), (90.0, 110.0),
            "binding", ("cerebellar grey",), 50.0,
        ),
        DynamicTracer(
            "florbetapir", "Florbetapir F^18^", _AMYLOID_BLOOD, AMYLOID_90_S, (0.0, 10.0), (50.0, 70.0),
            "binding", ("cerebellar grey",), 40.0,
        ),
        DynamicTracer(
            "FDOPA", "Fluorodopa F^18^", _DOPA_BLOOD, AMYLOID_90_S, (0.0, 10.0), (60.0, 90.0), "influx",
            ("occipital", "cerebellar grey"), 30.0,
        ),
    )
}  # fmt: skip
"""Tracers by name."""


def dynamic_tracer(name: str) -> DynamicTracer:
    """The tracer of a name, in small letters or capitals.

    Raises
    ------
    InputError
        If it is unknown.
    """
    for known, tracer in TRACERS.items():
        if known.lower() == name.strip().lower():
            return tracer
    raise InputError(f"A dynamic tracer must be one of {', '.join(TRACERS)}; found '{name}'.")
