import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.materials import hu_from_mu, linear_attenuation, mu_at_energy, mu_from_hu

# NIST XCOM, narrow beam, water and ICRU-44 cortical bone (1.92 g/cm3) [1/cm]; 511 keV: ICRU-44 through the table of
# Hubbell and Seltzer, as nuclear-medicine textbooks print it. Bone at 159 and 208.4 keV and lung (0.26 g/cm3): table 4
# of Hubbell and Seltzer, NIST 2004, between its energies by hand.
TABULATED = {
    ("water", 140.5): 0.154,
    ("water", 159.0): 0.148,
    ("water", 208.4): 0.135,
    ("water", 511.0): 0.096,
    ("cortical bone", 140.5): 0.295,
    ("cortical bone", 159.0): 0.278,
    ("cortical bone", 208.4): 0.247,
    ("cortical bone", 511.0): 0.172,
    ("lung", 140.5): 0.0397,
    ("lung", 159.0): 0.0381,
    ("lung", 208.4): 0.0348,
    ("lung", 511.0): 0.0247,
    ("lead", 140.5): 27.0,
}


@pytest.mark.parametrize(("material", "energy_kev"), list(TABULATED))
def test_attenuation_is_the_tabulated_one(material, energy_kev):
    assert linear_attenuation(material, energy_kev) == pytest.approx(TABULATED[material, energy_kev], rel=0.01)


def test_attenuation_falls_with_energy_and_lung_is_a_quarter_of_water():
    for material in ("water", "lung", "cortical bone", "lead"):
        values = [linear_attenuation(material, e) for e in (112.9, 140.5, 159.0, 208.4, 511.0)]
        assert values == sorted(values, reverse=True)
    assert linear_attenuation("lung", 140.5) / linear_attenuation("water", 140.5) == pytest.approx(0.26, abs=0.01)


@pytest.mark.parametrize("energy_kev", [140.5, 208.4, 511.0])
@pytest.mark.parametrize("kvp", [80, 120, 140])
def test_map_of_air_water_and_bone(energy_kev, kvp):
    mu = mu_from_hu([-2000.0, -1000.0, 0.0], energy_kev=energy_kev, kvp=kvp)
    assert mu[0] == mu[1] == 0
    assert mu[2] == pytest.approx(linear_attenuation("water", energy_kev), rel=0.002)
    rising = mu_from_hu(np.arange(-1000, 2500, 1), energy_kev=energy_kev, kvp=kvp)
    assert (np.diff(rising) > 0).all()
    assert np.diff(rising).max() < 3e-4  # no step at the break point


# Table 4 of Hubbell and Seltzer at two of its own energies [cm2/g] times density [g/cm3].
NIST_NODES = {
    ("water", 150.0): 0.1505,
    ("water", 200.0): 0.1370,
    ("lung", 150.0): 0.1491 * 0.26,
    ("lung", 200.0): 0.1357 * 0.26,
    ("cortical bone", 150.0): 0.1480 * 1.92,
    ("cortical bone", 200.0): 0.1309 * 1.92,
    ("cortical bone", 500.0): 0.09022 * 1.92,
}


@pytest.mark.parametrize("kvp", [80, 100, 120, 140])
@pytest.mark.parametrize(("material", "energy_kev"), [k for k in (*TABULATED, *NIST_NODES) if k[0] != "lead"])
def test_ct_number_of_a_material_gives_its_tabulated_attenuation(material, energy_kev, kvp):
    """Water at 0 HU, lung of 0.26 g/mL at -740 HU, and compact bone at the number that its 0.172 /cm has."""
    bone = float(hu_from_mu(0.172, kvp=kvp))
    assert 1000 < bone < 2200
    hu = {"water": 0.0, "lung": -740.0, "cortical bone": bone}[material]
    expected = {**TABULATED, **NIST_NODES}[material, energy_kev]
    assert float(mu_from_hu(hu, energy_kev=energy_kev, kvp=kvp)) == pytest.approx(expected, rel=0.02)


def test_fat_is_underrated_as_every_piecewise_linear_relation_underrates_it():
    """Fat of -100 HU has 0.0912 /cm at 511 keV (ICRU-44, 0.95 g/mL); water and air alone give 5 % less."""
    found = float(mu_from_hu(-100.0, energy_kev=511.0))
    assert found / linear_attenuation("adipose", 511.0) == pytest.approx(0.95, abs=0.01)


def test_bone_of_a_higher_tube_voltage_has_fewer_hounsfield_units():
    low, high = (float(mu_from_hu(800.0, energy_kev=511.0, kvp=kvp)) for kvp in (80, 140))
    assert high > low


def test_impossible_materials_and_numbers_are_refused():
    with pytest.raises(InputError, match="one of"):
        linear_attenuation("cheese", 140.5)
    with pytest.raises(InputError, match="80 to 600"):
        linear_attenuation("water", 30.0)
    with pytest.raises(InputError, match="finite"):
        mu_from_hu([np.nan], energy_kev=140.5)
    with pytest.raises(InputError, match="kVp"):
        mu_from_hu([0.0], energy_kev=140.5, kvp=90)


def test_map_at_its_own_energy_is_itself_and_bone_gains_more_than_water():
    mu = np.array([0.0, 0.03, 0.096, 0.101, 0.15], dtype=np.float32)
    assert np.allclose(mu_at_energy(mu, 511.0), mu, rtol=1e-6)
    at_140 = mu_at_energy(mu, 140.5)
    assert at_140[2] == pytest.approx(linear_attenuation("water", 140.5), rel=0.002)
    assert at_140[4] / mu[4] > at_140[2] / mu[2]
    with pytest.raises(InputError, match="not negative"):
        mu_at_energy([-0.1], 140.5)
