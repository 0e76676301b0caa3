"""Units of image values."""

from __future__ import annotations

from enum import StrEnum

from nmsynth.core.errors import InputError


class Unit(StrEnum):
    """Unit of the values of a :class:`~nmsynth.core.volume.Volume`."""

    BQML = "Bq/mL"
    """Activity concentration."""
    SUV_BODY_WEIGHT = "SUVbw [g/mL]"
    """Standardised uptake value by body weight."""
    SUV_LEAN_BODY_MASS_JAMES = "SUVlbm James [g/mL]"
    """By lean body mass after James; DICOM SUVType LBMJAMES128."""
    SUV_LEAN_BODY_MASS_JANMAHASATIAN = "SUVlbm Janmahasatian [g/mL]"
    """By lean body mass after Janmahasatian; DICOM SUVType LBMJANMA."""
    SUV_BODY_SURFACE_AREA = "SUVbsa [cm2/mL]"
    """By body surface area (Du Bois); DICOM Units CM2ML."""
    SUV_IDEAL_BODY_WEIGHT = "SUVibw [g/mL]"
    """By ideal body weight; DICOM SUVType IBW."""
    BECQUEREL = "Bq"
    """Activity in all that lies under a pixel."""
    COUNTS = "counts"
    """Detected events; not calibrated."""
    RELATIVE = "relative"
    """Proportional to activity concentration or to detected events, of unknown scale."""
    HOUNSFIELD = "HU"
    """CT number."""
    PER_CENTIMETRE = "1/cm"
    """Linear attenuation coefficient."""
    INFLUX = "mL/cm3/min"
    """Rate constant of uptake from plasma, ``K_i`` or ``K_1``."""
    PER_MINUTE = "1/min"
    """Rate constant of uptake relative to a reference tissue."""
    SUVR = "SUVR"
    """Activity over that of a reference region, which the provenance names; no SUV follows from it."""
    UNITLESS = "1"
    """A ratio."""

    @property
    def is_suv(self) -> bool:
        """Whether the unit is one of the standardised uptake values."""
        return self.name.startswith("SUV_")

    @property
    def is_proportional(self) -> bool:
        """Whether values are proportional to activity or detected events, zero being none."""
        return self.is_suv or self in (Unit.BQML, Unit.BECQUEREL, Unit.COUNTS, Unit.RELATIVE)

    @property
    def has_unknown_scale(self) -> bool:
        """Whether values are counts or proportional to something, so that levels of two images cannot be compared."""
        return self in (Unit.COUNTS, Unit.RELATIVE)

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Return the unit of that text, in small letters or capitals; what stands in brackets may be left out.

        Raises
        ------
        InputError
            If there is none, naming all.

        Examples
        --------
        >>> Unit.parse("Bq/mL").name, Unit.parse("SUVbw").name, Unit.parse("BQML").name
        ('BQML', 'SUV_BODY_WEIGHT', 'BQML')
        """
        asked = str(text).strip().lower()
        for unit in cls:
            value = unit.value.lower()
            if asked in (value, value.partition(" [")[0]) or (unit is cls.BQML and asked == "bqml"):
                return unit
        known = ", ".join(unit.value for unit in cls)
        raise InputError(f"A unit must be one of {known}; found {str(text)!r:.40}.")


class SuvKind(StrEnum):
    """What a standardised uptake value is normalised by."""

    BODY_WEIGHT = "bw"
    LEAN_BODY_MASS_JAMES = "lbm-james"
    LEAN_BODY_MASS_JANMAHASATIAN = "lbm-janmahasatian"
    BODY_SURFACE_AREA = "bsa"
    IDEAL_BODY_WEIGHT = "ibw"

    @property
    def unit(self) -> Unit:
        """Unit of an image in this kind of SUV."""
        return Unit["SUV_" + self.name]
