"""Phantoms from label maps."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, LesionPlan, Organ, from_brain_labels, from_organ_labels

SPACING = (4.0, 4.0, 4.0)


def _body():
    labels = np.zeros((12, 30, 30), np.uint8)
    labels[2:10, 8:20, 8:16] = 5
    labels[2:10, 8:20, 17:21] = 1
    labels[2:10, 21:24, 12:18] = 30
    return labels


def _head():
    labels = np.zeros((16, 20, 20), np.float32)
    labels[2:14, 3:17, 3:17] = 3
    labels[4:12, 6:14, 6:14] = 2
    labels[0:2] = 515
    return labels


def test_organs_get_their_uptake_and_attenuation():
    phantom = from_organ_labels(_body(), SPACING, seed=1)
    assert phantom.family == "organ_labels"
    for organ, label, low, high in ((Organ.LIVER, 5, 1.2, 4.0), (Organ.SPLEEN, 1, 1.0, 3.6)):
        region = _body() == label
        assert (phantom.labels[region] == organ).all()
        assert low < phantom.activity[region].mean() < high
        assert phantom.mu_map[region].mean() == pytest.approx(0.0975, abs=0.003)
    assert phantom.labels[_body() == 0].max() <= Organ.MUSCLE
    assert np.isfinite(phantom.activity).all()


def test_ct_gives_fat_muscle_and_attenuation():
    labels = _body()
    ct = np.full(labels.shape, -1000.0)
    ct[:, 4:27, 4:27] = -100.0
    ct[labels > 0] = 50.0
    phantom = from_organ_labels(labels, SPACING, seed=1, ct_hu=ct)
    assert (phantom.labels[:, 5, 5] == Organ.FAT).all()
    assert phantom.mu_map[5, 5, 5] == pytest.approx(9.6e-5 * 900, abs=1e-5)
    assert (phantom.labels[:, 0, 0] == 0).all()
    assert (phantom.activity[:, 0, 0] == 0).all()


def test_activity_survives_another_grid():
    fine = from_organ_labels(_body(), SPACING, seed=2)
    coarse = from_organ_labels(_body(), SPACING, seed=2, grid=Grid((6, 15, 15), (8.0, 8.0, 8.0), (2.0, -56.0, -56.0)))
    total = [p.activity.sum(dtype=float) * p.grid.voxel_ml for p in (fine, coarse)]
    assert total[0] == pytest.approx(total[1], rel=1e-4)
    assert coarse.labels.max() > 0


def test_same_seed_same_phantom_and_lesions_are_recorded():
    plan = LesionPlan(diameters_mm=(12.0,), contrasts=(3.0,), organs=("liver",), shapes=("sphere",))
    first, again = (from_organ_labels(_body(), SPACING, seed=3, lesions=plan) for _ in range(2))
    np.testing.assert_array_equal(first.activity, again.activity)
    assert len(first.lesions) == 1
    assert first.lesion_labels.max() == 1


def test_grey_matter_is_three_to_four_times_white():
    ratios = []
    for seed in range(6):
        phantom = from_brain_labels(_head(), SPACING, seed=seed)
        grey, white = (phantom.activity[phantom.labels == o].mean() for o in (Organ.BRAIN_GREY, Organ.BRAIN_WHITE))
        ratios.append(grey / white)
    assert min(ratios) > 2.2
    assert max(ratios) < 5.0
    assert 2.8 < np.mean(ratios) < 4.2


def test_plain_fdg_is_what_the_shipped_weights_were_trained_on():
    """Sums of version 0.1.0, before other tracers came; a change here means new weights."""
    for seed, total in ((0, 19386.151667), (3, 19526.552333)):
        found = from_brain_labels(_head(), SPACING, seed=seed).activity.sum(dtype=float)
        assert found == pytest.approx(total, rel=1e-6)


def test_choroid_plexus_of_a_plain_fdg_head_is_ventricle():
    labels = _head()
    labels[8, 8:10, 8:10] = 4
    other = labels.copy()
    other[labels == 4] = 31
    np.testing.assert_array_equal(
        from_brain_labels(other, SPACING, seed=1).activity, from_brain_labels(labels, SPACING, seed=1).activity
    )


def test_cortical_parcels_are_cortex():
    labels = _head()
    labels[labels == 3] = 1024
    np.testing.assert_array_equal(
        from_brain_labels(labels, SPACING, seed=1).activity, from_brain_labels(_head(), SPACING, seed=1).activity
    )


def test_wrong_maps_are_refused():
    with pytest.raises(InputError, match="unknown numbers"):
        from_organ_labels(np.full((4, 4, 4), 200), SPACING, seed=1)
    with pytest.raises(InputError, match="whole numbers"):
        from_brain_labels(np.full((4, 4, 4), 2.5), SPACING, seed=1)
    with pytest.raises(InputError, match="three axes"):
        from_organ_labels(np.zeros((4, 4), int), SPACING, seed=1)
    with pytest.raises(InputError, match="is empty"):
        from_organ_labels(np.zeros((4, 4, 4), int), SPACING, seed=1)
    with pytest.raises(InputError, match="must be one of FDG, florbetapir"):
        from_brain_labels(_head(), SPACING, seed=1, tracer="water")
    with pytest.raises(InputError, match="labels' shape"):
        from_organ_labels(_body(), SPACING, seed=1, ct_hu=np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match="spacing must be"):
        from_organ_labels(_body(), (1.0, 0.0, 1.0), seed=1)
    with pytest.raises(InputError, match="not be negative"):
        from_organ_labels(_body(), SPACING, seed=-1)


def _read_zyx(path):
    """NIfTI array turned to (z up, y to posterior, x to left), and its spacing."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.as_closest_canonical(nibabel.load(path))
    array = np.transpose(np.asarray(image.dataobj), (2, 1, 0))[:, ::-1, ::-1]
    return array, tuple(float(s) for s in image.header.get_zooms()[:3][::-1])


def test_real_torso_labels_and_ct(shared_data):
    labels, spacing = _read_zyx(shared_data / "torso_ct" / "organ_labels.nii.gz")
    ct, _ = _read_zyx(shared_data / "torso_ct" / "ct.nii.gz")
    half = (slice(None, None, 2),) * 3
    phantom = from_organ_labels(labels[half], tuple(2 * s for s in spacing), seed=1, ct_hu=ct[half])
    assert np.isfinite(phantom.activity).all()
    assert phantom.mu_map.max() <= 0.19
    assert {Organ.LIVER, Organ.KIDNEY, Organ.URINE, Organ.MUSCLE, Organ.FAT} <= set(np.unique(phantom.labels).tolist())


@pytest.mark.parametrize("number", [1, 15])
def test_real_brain_labels(shared_data, number):
    labels, spacing = _read_zyx(shared_data / "brain_labels" / f"training_seg_{number:02d}.nii.gz")
    phantom = from_brain_labels(labels[::4, ::4, ::4], tuple(4 * s for s in spacing), seed=1)
    assert 4 < phantom.activity[phantom.labels == Organ.BRAIN_GREY].mean() < 14
    assert phantom.mu_map.max() <= 0.15001
