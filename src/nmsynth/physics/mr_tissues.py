"""Relaxation of tissues at 1.5 and 3 T.

T1 as measured: abdomen and pelvis by [DeBazelaire2004]_, muscle, heart wall and blood by [Stanisz2005]_, grey and
white matter by [Wright2008]_, glandular breast tissue by [RakowPenner2006]_. Chosen: fluids (about 4 s for free water,
shorter for bile and urine), glands, lymphatic tissue, wall and content of stomach and bowel, compact bone and lung, and
every T2*. Proton densities are relative to water: brain by [Whittall1997]_, lung by its density, others chosen.

References
----------
.. [DeBazelaire2004] C. M. J. de Bazelaire et al., Radiology 230:652-659, 2004.
.. [Stanisz2005] G. J. Stanisz et al., Magn Reson Med 54:507-512, 2005.
.. [Wright2008] P. J. Wright et al., MAGMA 21:121-130, 2008.
.. [RakowPenner2006] R. Rakow-Penner et al., J Magn Reson Imaging 23:87-91, 2006.
.. [Whittall1997] K. P. Whittall et al., Magn Reson Med 37:34-43, 1997.
"""

from __future__ import annotations

from dataclasses import dataclass

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.organs import Organ

FIELDS_T = (1.5, 3.0)
"""Field strengths of the tables [T]."""
_T2_STAR_AT_3T = 0.6
"""T2* at 3 T over that at 1.5 T; chosen."""


@dataclass(frozen=True, slots=True)
class MrTissue:
    """Relaxation and density of one tissue.

    Attributes
    ----------
    t1_ms
        Longitudinal relaxation time at 1.5 and at 3 T [ms].
    t2_star_ms
        Effective transverse relaxation time at 1.5 T [ms].
    proton_density
        Relative to water.
    """

    t1_ms: tuple[float, float]
    t2_star_ms: float
    proton_density: float

    def at(self, field_t: float) -> tuple[float, float]:
        """T1 and T2* at a field strength of :data:`FIELDS_T` [ms]."""
        if field_t not in FIELDS_T:
            raise InputError(f"Relaxation times are tabulated at {FIELDS_T} T; found {field_t} T.")
        high = field_t == FIELDS_T[1]
        return self.t1_ms[int(high)], self.t2_star_ms * (_T2_STAR_AT_3T if high else 1.0)


_GREY = MrTissue((1197.0, 1607.0), 60.0, 0.83)
_SOFT = MrTissue((1000.0, 1300.0), 35.0, 0.80)
_GENITAL = MrTissue((1317.0, 1597.0), 50.0, 0.82)

MR_TISSUES: dict[Organ, MrTissue] = {
    Organ.FAT: MrTissue((343.0, 382.0), 30.0, 0.90),
    Organ.MUSCLE: MrTissue((1008.0, 1412.0), 30.0, 0.79),
    Organ.BONE: MrTissue((400.0, 500.0), 0.5, 0.15),
    Organ.MARROW: MrTissue((549.0, 586.0), 10.0, 0.80),
    Organ.LUNG: MrTissue((1200.0, 1300.0), 1.5, 0.22),
    Organ.LIVER: MrTissue((586.0, 809.0), 25.0, 0.75),
    Organ.SPLEEN: MrTissue((1057.0, 1328.0), 45.0, 0.80),
    Organ.KIDNEY: MrTissue((966.0, 1142.0), 50.0, 0.82),
    Organ.URINE: MrTissue((3000.0, 3000.0), 300.0, 0.98),
    Organ.HEART_WALL: MrTissue((1030.0, 1471.0), 35.0, 0.80),
    Organ.BLOOD: MrTissue((1441.0, 1932.0), 150.0, 0.85),
    Organ.STOMACH: MrTissue((1100.0, 1400.0), 30.0, 0.80),
    Organ.BOWEL: MrTissue((900.0, 1150.0), 25.0, 0.80),
    Organ.PANCREAS: MrTissue((584.0, 725.0), 35.0, 0.75),
    Organ.BRAIN_GREY: _GREY,
    Organ.BRAIN_WHITE: MrTissue((646.0, 838.0), 60.0, 0.71),
    Organ.CSF: MrTissue((4000.0, 4000.0), 500.0, 1.0),
    Organ.THYROID: MrTissue((900.0, 1150.0), 40.0, 0.80),
    Organ.SALIVARY: MrTissue((600.0, 750.0), 40.0, 0.80),
    Organ.TONSIL: MrTissue((1000.0, 1300.0), 50.0, 0.82),
    Organ.AIR: MrTissue((1000.0, 1000.0), 1.0, 0.0),
    Organ.GALLBLADDER: MrTissue((1800.0, 2000.0), 200.0, 0.95),
    Organ.GENITAL: _GENITAL,
    Organ.BREAST: MrTissue((1266.0, 1445.0), 40.0, 0.80),
    Organ.SOFT_TISSUE: _SOFT,
    Organ.NODE: MrTissue((1000.0, 1300.0), 50.0, 0.82),
    Organ.INJECTION_SITE: _SOFT,
    Organ.CEREBELLUM: _GREY,
    Organ.ADRENAL: MrTissue((700.0, 850.0), 40.0, 0.80),
    Organ.WATER: MrTissue((4000.0, 4000.0), 500.0, 1.0),
    Organ.CLUTTER: _SOFT,
}
"""Tissue of each structure."""
