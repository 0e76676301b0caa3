"""The couch lies under the body, touches it, and is nowhere else."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.couch import Couch
from nmsynth.physics.phantom import Grid, uniform_cylinder

GRID = Grid.centred((4, 200, 240), (5.0, 2.0, 2.0))


def test_couch_is_below_the_patient_and_only_there():
    phantom = uniform_cylinder(GRID, centre_mm=(8.0, 0.0, 0.0))
    couch = Couch().under(phantom)
    assert couch.top_mm == pytest.approx(100.0, abs=2.0)
    added = couch.put_under(phantom).mu_map - phantom.mu_map
    assert (added >= 0).all()
    z, y, x = np.nonzero(added > 1e-6)
    assert set(z) == {0, 1, 2, 3}
    y_mm, x_mm = GRID.axes()[1][y], GRID.axes()[2][x]
    assert np.abs(x_mm).max() <= 210.0 + 1.0
    assert (y_mm + couch.rise_mm(x_mm) >= couch.top_mm - 1.0).all()
    assert (y_mm + couch.rise_mm(x_mm) <= couch.top_mm + couch.thickness_mm + 1.0).all()
    # of the body nothing but voxels that it fills in part, where it touches
    assert (added[phantom.mu_map > 0.05] == 0).all()


def test_couch_attenuates_as_its_layers_do():
    """Two skins of 1 mm at 0.13 and 28 mm at 0.0043 per cm: 0.026 + 0.01204."""
    couch = Couch(top_mm=30.0)
    for spacing in (1.0, 2.0, 4.0):
        grid = Grid.centred((1, round(400 / spacing), 9), (5.0, spacing, spacing))
        column = couch.mu_map(grid)[:, 4].sum() * spacing / 10.0
        assert column == pytest.approx(0.03804, rel=1e-4)


def test_impossible_couches_are_refused():
    with pytest.raises(InputError, match="skins thinner"):
        Couch(skin_mm=20.0)
    with pytest.raises(InputError, match="skins thinner"):
        Couch(width_mm=1300.0)
    empty = uniform_cylinder(GRID, centre_mm=(5000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="bears a body"):
        Couch().under(empty)
