"""Procedural patients: repeatable, independent of the slab, physically possible."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, LesionPlan, Organ, WholeBodySettings, whole_body_patient

COARSE = (8.0, 8.0, 8.0)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("settings", [WholeBodySettings(), WholeBodySettings.training()], ids=["plausible", "training"])
def test_patient_is_physically_possible(seed, settings):
    patient = whole_body_patient(seed, settings=settings)
    phantom = patient.render(patient.grid(COARSE))
    for image in (phantom.activity, phantom.mu_map):
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
    assert phantom.mu_map.max() <= 0.19
    assert (phantom.activity[phantom.mu_map == 0] == 0).mean() > 0.99
    assert 1.5 <= phantom.height_m <= 1.95
    assert 17 <= phantom.body_mass_kg / phantom.height_m**2 <= 42


def test_every_vital_organ_is_there_with_a_plausible_volume():
    patient = whole_body_patient(4, lesions=LesionPlan(count=0), settings=WholeBodySettings(clutter=(0, 0)))
    phantom = patient.render(patient.grid((5.0, 5.0, 5.0)))
    volume_ml = np.bincount(phantom.labels.ravel(), minlength=32) * phantom.grid.voxel_ml
    for organ, low, high in (
        (Organ.LIVER, 900, 2300),
        (Organ.SPLEEN, 70, 450),
        (Organ.KIDNEY, 130, 500),
        (Organ.LUNG, 1500, 6500),
        (Organ.HEART_WALL, 60, 400),
        (Organ.URINE, 40, 900),
    ):
        assert low < volume_ml[organ] < high, organ.name
    brain = volume_ml[[Organ.BRAIN_GREY, Organ.BRAIN_WHITE, Organ.CEREBELLUM]].sum()
    assert 900 < brain < 1800
    body_l = volume_ml[1:].sum() / 1000
    assert 0.6 < body_l / phantom.body_mass_kg < 1.05


def test_same_seed_gives_the_same_patient():
    images = [whole_body_patient(11).render(Grid.centred((6, 24, 30), COARSE, 600.0)) for _ in range(2)]
    np.testing.assert_array_equal(images[0].activity, images[1].activity)
    np.testing.assert_array_equal(images[0].labels, images[1].labels)
    assert images[0].lesions == images[1].lesions
    other = whole_body_patient(12).render(images[0].grid)
    assert np.abs(other.activity - images[0].activity).max() > 0.1


def test_slab_equals_crop_of_the_whole():
    patient = whole_body_patient(5, lesions=LesionPlan(count=6))
    whole = patient.render(patient.grid(COARSE))
    first, last = 60, 90
    slab = patient.render(Grid.centred((last - first, *whole.grid.shape[1:]), COARSE, first * COARSE[0]))
    np.testing.assert_allclose(slab.activity, whole.activity[first:last], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(slab.mu_map, whole.mu_map[first:last], atol=1e-4)
    np.testing.assert_array_equal(slab.lesion_labels, whole.lesion_labels[first:last])
    assert (slab.labels == whole.labels[first:last]).mean() > 0.9999
    low, high = (first - 0.5) * COARSE[0], (last - 0.5) * COARSE[0]
    assert slab.lesions == tuple(x for x in whole.lesions if low <= x.centre_mm[0] < high)


def test_finer_voxels_hold_the_same_activity():
    patient = whole_body_patient(2, lesions=LesionPlan(count=0))
    coarse = patient.render(Grid.centred((20, 40, 50), (12.0, 12.0, 12.0), 450.0))
    fine = patient.render(Grid((80, 160, 200), (3.0, 3.0, 3.0), tuple(o - 4.5 for o in coarse.grid.origin_mm)))
    total = [p.activity.sum() * p.grid.voxel_ml for p in (coarse, fine)]
    assert total[0] == pytest.approx(total[1], rel=0.03)


def test_arms_go_where_told():
    for arms, inside in (("up", True), ("down", False)):
        patient = whole_body_patient(1, settings=WholeBodySettings(arms=arms))
        beside_head = patient.render(Grid.centred((1, 60, 80), COARSE, patient.extent_mm[1] - 60))
        assert (beside_head.labels[0, :, np.abs(beside_head.grid.axes()[2]) > 130] > 0).any() == inside


def test_settings_and_seed_are_checked():
    with pytest.raises(InputError, match="bmi must be a range"):
        WholeBodySettings(bmi=(30.0, 20.0))
    with pytest.raises(InputError, match="arms must be"):
        WholeBodySettings(arms="folded")
    with pytest.raises(InputError, match="sex must be"):
        WholeBodySettings(sex="X")
    with pytest.raises(InputError, match="uptake_spread"):
        WholeBodySettings(uptake_spread=0.0)
    with pytest.raises(InputError, match="seed must not be negative"):
        whole_body_patient(-1)


def test_grid_is_checked_and_knows_its_affine():
    grid = Grid((3, 4, 5), (4.0, 3.0, 2.0), (10.0, 20.0, 30.0))
    np.testing.assert_allclose(grid.affine @ (1, 2, 3, 1), (36.0, 26.0, 14.0, 1.0))
    with pytest.raises(InputError, match="at least one voxel"):
        Grid((0, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="must be positive"):
        Grid((2, 4, 4), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="origin must be finite"):
        Grid((2, 4, 4), (1.0, 1.0, 1.0), (0.0, np.nan, 0.0))
