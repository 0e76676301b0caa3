"""Regions of brain label maps, by parcel and by position."""

import numpy as np
import pytest

from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion, brain_frame, brain_regions, region_name
from tests.physics.brain_map import SPACING, head


@pytest.mark.parametrize(("pitch", "scale"), [(0.0, 1.0), (25.0, 1.0), (-20.0, 0.85)])
def test_axes_are_found_in_a_pitched_and_scaled_head(pitch, scale):
    labels, points = head(pitch, scale)
    index = np.argwhere(np.isin(labels, (2, 3, 41, 42)))
    found = brain_frame(labels, SPACING).coordinates(index, SPACING)
    error = np.linalg.norm(found - points[tuple(index.T)], axis=1)
    assert np.percentile(error, 95) < 6.0


def test_coordinates_lead_back_to_their_voxels():
    labels, _ = head(10.0)
    frame = brain_frame(labels, SPACING)
    index = np.argwhere(labels == 3)[::40]
    np.testing.assert_allclose(frame.index(frame.coordinates(index, SPACING), SPACING), index, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "region"),
    [
        ((30, 60, 20), BrainRegion.FRONTAL),
        ((45, -22, 50), BrainRegion.SENSORIMOTOR),
        ((46, -62, 38), BrainRegion.PARIETAL),
        ((62, -24, -6), BrainRegion.LATERAL_TEMPORAL),
        ((26, -90, 4), BrainRegion.OCCIPITAL),
    ],
)
@pytest.mark.parametrize("pitch", [0.0, 20.0])
def test_cortex_without_parcels_is_divided_by_position(place, region, pitch):
    labels, points = head(pitch)
    regions = brain_regions(labels, SPACING)
    cortex = np.argwhere(labels == 42)
    nearest = cortex[np.argmin(np.linalg.norm(points[tuple(cortex.T)] - np.array(place), axis=1))]
    assert regions[tuple(nearest)] == region + RIGHT


def test_left_and_right_are_those_of_the_labels():
    labels, _ = head()
    regions = brain_regions(labels, SPACING)
    assert (regions[np.isin(labels, (2, 3, 8, 11, 17))] < RIGHT).all()
    assert (regions[np.isin(labels, (41, 42, 47, 50, 53))] > RIGHT).all()
    assert (regions[np.isin(labels, (0, 4, 24, 43, 511, 515))] == 0).all()


def test_the_corpus_callosum_is_divided_in_the_middle():
    labels, points = head()
    callosum = (np.abs(points[..., 0]) < 6) & (np.abs(points[..., 2] - 44) < 5) & (np.abs(points[..., 1]) < 20)
    labels[callosum] = 253
    regions = brain_regions(labels, SPACING)[callosum]
    assert set(regions.tolist()) == {BrainRegion.CEREBRAL_WHITE, BrainRegion.CEREBRAL_WHITE + RIGHT}
    assert np.mean(regions > RIGHT) == pytest.approx(0.5, abs=0.2)


def test_the_putamen_is_divided_in_the_middle_and_the_pons_is_a_third_of_the_stem():
    labels, points = head()
    regions = brain_regions(labels, SPACING)
    anterior, posterior = (points[regions == r][:, 1] for r in (13, 14))
    assert anterior.min() >= posterior.max()
    assert 0.5 < len(anterior) / len(posterior) < 2.0
    pons, stem = (points[regions == r][:, 2] for r in (BrainRegion.PONS, BrainRegion.BRAINSTEM))
    assert stem.min() < pons.min() < pons.max() < stem.max()


def test_parcels_win_over_position():
    labels, points = head()
    cortex = labels == 42
    labels[cortex] = 2022  # postcentral, wherever it lies
    labels[(labels == 2022) & (points[..., 1] > 0)] = 2028
    labels[labels == 3] = 1000  # of no region: by position
    regions = brain_regions(labels, SPACING)
    assert (regions[labels == 2022] == BrainRegion.SENSORIMOTOR + RIGHT).all()
    assert (regions[labels == 2028] == BrainRegion.FRONTAL + RIGHT).all()
    assert set(np.unique(regions[labels == 1000])) >= {1, 3, 4, 7, 9}


def test_a_box_serves_where_deep_structures_are_missing():
    labels = np.zeros((16, 20, 20), np.int32)
    labels[2:14, 3:17, 3:10], labels[2:14, 3:17, 10:17] = 42, 3
    regions = brain_regions(labels, SPACING)
    assert regions[10, 3, 5] == BrainRegion.FRONTAL + RIGHT
    assert regions[6, 16, 12] == BrainRegion.OCCIPITAL


def test_names_have_sides():
    assert region_name(105) == "right precuneus"
    assert region_name(21) == "pons"


def test_regions_of_a_real_head_have_the_volumes_of_an_adult(shared_data):
    from nmsynth.data.families import read_upright

    labels, spacing = read_upright(shared_data / "brain_labels" / "training_seg_03.nii.gz", unit="1", modality="MR")
    half = labels[::2, ::2, ::2].astype(np.int32)
    regions = brain_regions(half, tuple(2 * s for s in spacing))
    ml = np.bincount(regions.reshape(-1), minlength=256) * 0.008
    for region, low, high in ((1, 30, 110), (5, 6, 35), (9, 15, 60), (7, 25, 80), (8, 2, 15), (13, 1, 6), (14, 1, 6)):
        for side in (0, RIGHT):
            assert low < ml[region + side] < high
    assert 5 < ml[BrainRegion.PONS] < 20
