import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.compton import (
    differential_cross_section,
    scattered_energy_kev,
    total_cross_section,
    water_compton_attenuation,
)
from nmsynth.physics.materials import linear_attenuation


@pytest.mark.parametrize(("energy", "barn"), [(100, 0.4927), (150, 0.4436), (200, 0.4065), (500, 0.2892)])
def test_cross_section_is_the_tabulated_one(energy, barn):
    """Klein-Nishina cross section of an electron (R. D. Evans, The Atomic Nucleus, 1955)."""
    assert total_cross_section(energy) * 1e24 == pytest.approx(barn, rel=2e-3)


def test_low_energies_scatter_after_thomson():
    cosine = np.linspace(-1, 1, 9)
    classical = 2.8179403e-13**2 / 2 * (1 + cosine**2)
    assert differential_cross_section(1e-3, cosine) == pytest.approx(classical, rel=1e-4)
    assert total_cross_section(1e-3) == pytest.approx(8 * math.pi / 3 * 2.8179403e-13**2, rel=1e-4)


def test_a_photon_that_turns_back_keeps_the_least_energy():
    assert scattered_energy_kev(140.5, 1.0) == pytest.approx(140.5)
    assert scattered_energy_kev(140.5, -1.0) == pytest.approx(140.5 / (1 + 2 * 140.5 / 511), rel=1e-4)


def test_most_of_waters_attenuation_is_compton_scattering():
    for energy, share in ((140.5, 0.98), (208.4, 0.99)):
        assert water_compton_attenuation(energy) / linear_attenuation("water", energy) == pytest.approx(
            share, abs=0.015
        )


def test_no_energy_is_refused():
    with pytest.raises(InputError, match="above 0 keV"):
        differential_cross_section(0.0, 1.0)
