import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.units import Unit
from nmsynth.data.known_attenuation import attenuation_of
from nmsynth.physics.ct_image import ct_noise
from nmsynth.physics.phantom import Grid
from tests.helpers import make_volume

GRID = Grid.centred((6, 8, 8), (4.0, 4.0, 4.0), -4.0)
"""Begins a plane below the images and ends one above."""


def image(values, **fields):
    """Four planes of 8 x 8 pixels in the middle of the grid."""
    array = np.broadcast_to(np.asarray(values, dtype=np.float32).reshape(4, 1, 1), (4, 8, 8))
    affine = Grid.centred((4, 8, 8), (4.0, 4.0, 4.0)).affine
    return make_volume(array=array.copy(), affine=affine, modality="CT", **fields)


def test_a_map_is_taken_as_it_is_and_its_end_planes_go_on():
    known = attenuation_of(image([0.01, 0.02, 0.03, 0.04], unit=Unit.PER_CENTIMETRE))
    assert known(GRID)[:, 4, 4] == pytest.approx([0.01, 0.01, 0.02, 0.03, 0.04, 0.04])


def test_water_and_air_of_a_ct_have_known_attenuation():
    known = attenuation_of(image([0.0, 0.0, -1000.0, -1024.0], unit=Unit.HOUNSFIELD))
    assert known(GRID)[:, 4, 4] == pytest.approx([0.096, 0.096, 0.096, 0, 0, 0], abs=1e-3)


def test_means_are_those_of_the_attenuation_and_not_of_ct_numbers():
    fine = np.tile(np.array([0.0, 1000.0], dtype=np.float32), (8, 16, 8))  # water and bone in turn along x
    affine = Grid.centred((8, 16, 16), (2.0, 2.0, 2.0)).affine
    ct = make_volume(array=fine, affine=affine, modality="CT", unit=Unit.HOUNSFIELD)
    alone = [attenuation_of(ct.with_array(np.full_like(fine, hu)))(GRID)[2, 4, 4] for hu in (0.0, 1000.0)]
    assert attenuation_of(ct)(GRID)[2, 2:6, 2:6].mean() == pytest.approx(np.mean(alone), rel=0.02)


def test_noise_of_a_ct_leaves_no_attenuation_in_air_and_all_of_it_in_the_body():
    shape = (12, 80, 80)
    grid = Grid.centred((6, 40, 40), (4.0, 4.0, 4.0))
    _, y, x = np.indices(shape) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    body, lung = np.hypot(y, x) * 2.0 < 60.0, np.hypot(y, x - 10) * 2.0 < 20.0
    foam = np.abs(y - 36.0) < 3.0  # of a couch, 0.0043/cm
    true = np.select([lung, body, foam], [-800.0, 30.0, -955.0], -1000.0).astype(np.float32)
    noise = 17.0 * ct_noise(shape, (2.0, 2.0, 2.0), 1.5, np.random.default_rng(0))
    ct = make_volume(
        array=true, affine=Grid.centred(shape, (2.0, 2.0, 2.0)).affine, modality="CT", unit=Unit.HOUNSFIELD
    )
    clean, noisy = (attenuation_of(ct.with_array(a.astype(np.float32)))(grid) for a in (true, true + noise))
    assert noisy[:, :30, :3].mean() < 1e-5  # beside the body, above the couch
    lines, expected = noisy.sum(axis=1), clean.sum(axis=1)  # along y, through the body
    through = expected > 0.5 * expected.max()
    assert lines[through].mean() == pytest.approx(expected[through].mean(), rel=0.003)
    assert noisy[:, 37].mean() == pytest.approx(0.0043, rel=0.1)


def test_what_is_no_attenuation_is_refused():
    with pytest.raises(InputError, match=r"CT in HU or a map in 1/cm, .*; found an image in Bq/mL"):
        attenuation_of(image([1, 2, 3, 4], unit=Unit.BQML))
    with pytest.raises(InputError, match="must be finite; found NaN"):
        attenuation_of(image([np.nan, 0, 0, 0], unit=Unit.HOUNSFIELD))
