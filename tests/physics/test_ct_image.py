"""CT of an attenuation map: numbers, noise, resolution, and back to attenuation."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.ct_image import CtSettings, ct_image, ct_noise
from nmsynth.physics.materials import CT_KVP, hu_from_mu, mu_at_energy, mu_from_hu
from nmsynth.physics.psf import FWHM_PER_SIGMA

QUIET = {"noise_hu": 0.0, "resolution_mm": 0.0}


@pytest.mark.parametrize("kvp", CT_KVP)
def test_ct_numbers_and_attenuation_are_inverse(kvp):
    hu = np.linspace(-1000.0, 2000.0, 601)
    mu = mu_from_hu(hu, energy_kev=511.0, kvp=kvp)
    # the lower and the upper line meet within a few HU, so numbers at the break may belong to either
    assert np.abs(hu_from_mu(mu, kvp=kvp) - hu).max() < 5.0
    assert np.allclose(mu_from_hu(hu_from_mu(mu, kvp=kvp), energy_kev=511.0, kvp=kvp), mu, atol=5e-4)


@pytest.mark.parametrize("energy_kev", [140.5, 159.0, 208.4, 511.0])
@pytest.mark.parametrize("kvp", [80, 120, 140])
def test_ct_without_noise_gives_back_the_attenuation_of_every_tissue(energy_kev, kvp):
    """Within 1 %: air, lung, fat, muscle, liver, spongy and compact bone."""
    tissues = np.array([0.0, 0.025, 0.0864, 0.0965, 0.1007, 0.113, 0.15, 0.172], dtype=np.float32)
    mu = np.repeat(np.repeat(tissues[:, None, None], 4, 1), 4, 2)
    hu = ct_image(mu, (3.0, 2.0, 2.0), CtSettings(kvp=kvp, **QUIET), np.random.default_rng(0))
    found = mu_from_hu(hu, energy_kev=energy_kev, kvp=kvp)
    assert np.allclose(found, mu_at_energy(mu, energy_kev), rtol=0.01, atol=1e-4)


def test_noise_has_the_standard_deviation_asked_for_and_no_mean():
    noise = ct_noise((24, 96, 81), (3.0, 2.0, 2.0), 1.5, np.random.default_rng(1))
    assert noise.std() == pytest.approx(1.0, rel=0.02)
    # a ramp filter lets no mean of a plane through
    assert np.abs(noise.mean(axis=(1, 2))).max() < 1e-5
    wide = ct_noise((24, 96, 81), (3.0, 2.0, 2.0), 6.0, np.random.default_rng(1))
    assert wide.std() == pytest.approx(1.0, rel=0.03)

    def neighbours(field):
        return np.mean(field[:, :, 1:] * field[:, :, :-1])

    assert neighbours(wide) > neighbours(noise) + 0.3
    assert abs(np.mean(noise[1:] * noise[:-1])) < 0.01


def test_water_has_its_noise_about_zero():
    mu = np.full((6, 64, 64), 0.096, dtype=np.float32)
    hu = ct_image(mu, (3.0, 2.0, 2.0), CtSettings(noise_hu=25.0, resolution_mm=0.0), np.random.default_rng(2))
    assert hu.mean() == pytest.approx(0.0, abs=0.5)
    assert hu.std() == pytest.approx(25.0, rel=0.03)


def test_a_line_is_as_wide_as_the_point_spread():
    mu = np.zeros((1, 65, 65), dtype=np.float32)
    mu[:, :, 32] = 0.05
    hu = ct_image(mu, (3.0, 1.0, 1.0), CtSettings(noise_hu=0.0, resolution_mm=5.0), np.random.default_rng(0))
    profile = hu[0, 32] + 1000.0
    x = np.arange(65) - 32.0
    sigma = np.sqrt((profile * x**2).sum() / profile.sum() - 1 / 12)
    assert sigma * FWHM_PER_SIGMA == pytest.approx(5.0, rel=0.03)
    assert profile.sum() == pytest.approx(0.05 / 9.6e-5, rel=0.01)


def test_numbers_do_not_fall_below_what_is_stored_and_one_seed_gives_one_image():
    mu = np.zeros((2, 32, 32), dtype=np.float32)
    first, again, other = (
        ct_image(mu, (3.0, 2.0, 2.0), CtSettings(noise_hu=40.0), np.random.default_rng(s)) for s in (0, 0, 1)
    )
    assert first.min() == -1024.0
    assert (first == again).all()
    assert (first != other).any()


def test_impossible_scans_are_refused():
    with pytest.raises(InputError, match="one of"):
        CtSettings(kvp=90)
    with pytest.raises(InputError, match="noise_hu must be from 0"):
        CtSettings(noise_hu=-1.0)
    with pytest.raises(InputError, match="noise_hu must be from 0"):
        CtSettings(noise_hu=float("nan"))
    with pytest.raises(InputError, match="not negative"):
        hu_from_mu([-0.1])
    with pytest.raises(InputError, match="kVp"):
        hu_from_mu([0.1], kvp=99)
