"""Body sizes that a standardised uptake value is normalised by, and plausible values of dose, weight and height."""

from __future__ import annotations

from collections.abc import Callable

from nmsynth.core.errors import SuvError
from nmsynth.core.radionuclide import find_radionuclide
from nmsynth.core.units import SuvKind

_THERAPEUTIC = frozenset({"Lu-177", "I-131", "Y-90", "Ra-223", "Sm-153", "Ho-166", "Re-186", "Re-188"})


def lean_body_mass_james_kg(body_mass_kg: float, height_m: float, *, female: bool) -> float:
    """Lean body mass after James, with 128 for men as DICOM's LBMJAMES128 has it [kg].

    Examples
    --------
    >>> round(lean_body_mass_james_kg(70.0, 1.75, female=False), 2)
    56.52
    """
    ratio = body_mass_kg / (height_m * 100.0)
    if female:
        return 1.07 * body_mass_kg - 148.0 * ratio**2
    return 1.10 * body_mass_kg - 128.0 * ratio**2


def lean_body_mass_janmahasatian_kg(body_mass_kg: float, height_m: float, *, female: bool) -> float:
    """Lean body mass after Janmahasatian et al. (Clin Pharmacokinet 44:1051-1065, 2005) [kg].

    Examples
    --------
    >>> round(lean_body_mass_janmahasatian_kg(70.0, 1.75, female=False), 2)
    55.86
    """
    index = body_mass_kg / height_m**2
    if female:
        return 9270.0 * body_mass_kg / (8780.0 + 244.0 * index)
    return 9270.0 * body_mass_kg / (6680.0 + 216.0 * index)


def ideal_body_weight_kg(body_mass_kg: float, height_m: float, *, female: bool) -> float:  # noqa: ARG001
    """Ideal body weight from height, as DICOM's SUVType IBW has it [kg]; the body mass does not enter.

    Examples
    --------
    >>> round(ideal_body_weight_kg(70.0, 1.75, female=False), 2)
    72.38
    """
    height_cm = height_m * 100.0
    if female:
        return 45.5 + 0.91 * (height_cm - 152.0)
    return 48.0 + 1.06 * (height_cm - 152.0)


def body_surface_area_m2(body_mass_kg: float, height_m: float) -> float:
    """Body surface area after Du Bois and Du Bois, ``0.007184 W^0.425 H^0.725`` [m2].

    Examples
    --------
    >>> round(body_surface_area_m2(70.0, 1.75), 3)
    1.848
    """
    return float(0.007184 * body_mass_kg**0.425 * (height_m * 100.0) ** 0.725)


_FORMULAS: dict[SuvKind, Callable[..., float]] = {
    SuvKind.LEAN_BODY_MASS_JAMES: lean_body_mass_james_kg,
    SuvKind.LEAN_BODY_MASS_JANMAHASATIAN: lean_body_mass_janmahasatian_kg,
    SuvKind.IDEAL_BODY_WEIGHT: ideal_body_weight_kg,
}


def normalising_size(kind: SuvKind, *, body_mass_kg: float | None, height_m: float | None, sex: str | None) -> float:
    """Size that multiplies concentration over activity: [g], or [cm2] for the body surface.

    For sex ``O`` the mean of the male and the female formula is taken.

    Raises
    ------
    SuvError
        If weight, height or sex is needed and absent, or the formula leaves its range.

    Examples
    --------
    >>> normalising_size(SuvKind.BODY_WEIGHT, body_mass_kg=70.0, height_m=None, sex=None)
    70000.0
    """
    if body_mass_kg is None:
        raise SuvError(f"SUV ({kind.value}) needs the patient's weight; the source states none.")
    if kind is SuvKind.BODY_WEIGHT:
        return body_mass_kg * 1000.0
    if height_m is None:
        raise SuvError(f"SUV ({kind.value}) needs the patient's height; the source states none.")
    if kind is SuvKind.BODY_SURFACE_AREA:
        return body_surface_area_m2(body_mass_kg, height_m) * 1e4
    if sex not in ("M", "F", "O"):
        raise SuvError(f"SUV ({kind.value}) needs the patient's sex (M, F or O); the source states none.")
    formula = _FORMULAS[kind]
    female = {"M": (False,), "F": (True,), "O": (False, True)}[sex]
    size_kg = sum(formula(body_mass_kg, height_m, female=is_female) for is_female in female) / len(female)
    if size_kg <= 0.1 * body_mass_kg:
        raise SuvError(f"SUV ({kind.value}): the formula is not valid for this weight and height; use another kind.")
    return size_kg * 1000.0


def plausible_activity_bq(stated: float | None, radionuclide: str | None) -> tuple[float | None, str | None]:
    """Injected activity in Bq from a stated number that may be in another unit, and what to say about it.

    A number below 1e6 is not an activity in Bq of any scan. Below 1e5 it is converted where, of MBq, kBq and mCi, MBq
    alone gives a plausible administration. All else is refused: ``None`` is returned with the reason.

    Examples
    --------
    >>> plausible_activity_bq(368.08, "F-18")[0]
    368080000.0
    >>> plausible_activity_bq(10.0, "F-18")[0] is None
    True
    >>> plausible_activity_bq(368080.0, "F-18")[1]
    'The injected activity is below 1e6 Bq as written and could be kBq.'
    """
    if stated is None or not stated > 0.0:
        return None, None
    if stated >= 1e6:
        return stated, None
    nuclide = find_radionuclide(text=radionuclide)
    high = 2e10 if nuclide is None or nuclide.name in _THERAPEUTIC else 2.5e9
    readings = {unit: stated * size for unit, size in (("MBq", 1e6), ("kBq", 1e3), ("mCi", 3.7e7))}
    plausible = {unit: value for unit, value in readings.items() if 1e7 <= value <= high}
    if list(plausible) == ["MBq"]:
        return plausible["MBq"], "The injected activity is below 1e6 Bq as written; it was taken as MBq."
    return None, f"The injected activity is below 1e6 Bq as written and could be {' or '.join(plausible) or 'nothing'}."


def plausible_body_mass_kg(stated: float | None) -> tuple[float | None, str | None]:
    """Body mass in kg from a stated number that may be in g, and what to say about it.

    Examples
    --------
    >>> plausible_body_mass_kg(70000.0)[0]
    70.0
    """
    if stated is None or not stated > 0.0:
        return None, None
    if stated <= 1000.0:
        return (stated, None) if stated <= 450.0 else (stated, "The patient's weight is implausibly high.")
    if 1.0 <= stated / 1000.0 <= 450.0:
        return stated / 1000.0, "The patient's weight is above 1000 kg as written; it was taken as g."
    return None, "The patient's weight is implausible and was ignored."


def plausible_height_m(stated: float | None, body_mass_kg: float | None) -> tuple[float | None, str | None]:
    """Height in m from a stated number that may be in cm, and what to say about it.

    Examples
    --------
    >>> plausible_height_m(175.0, 70.0)[0]
    1.75
    """
    if stated is None or not stated > 0.0:
        return None, None
    if stated <= 3.0:
        return stated, None
    readings = {unit: stated * size for unit, size in (("cm", 0.01), ("mm", 0.001), ("inches", 0.0254))}
    plausible = {
        unit: height
        for unit, height in readings.items()
        if 0.4 <= height <= 2.5 and (body_mass_kg is None or 8.0 <= body_mass_kg / height**2 <= 90.0)
    }
    if len(plausible) == 1:
        unit, height = next(iter(plausible.items()))
        return height, f"The patient's height is above 3 m as written; it was taken as {unit}."
    return None, "The patient's height is implausible and was ignored."
