import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.metrics import regions

SPACING = (3.0, 4.0, 5.0)


def _grid(shape, spacing=SPACING):
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def _phantom(shape=(20, 40, 40)):
    _, y, x = _grid(shape)
    body = (y / 60) ** 2 + (x / 80) ** 2 <= 1
    image = body * 1.0
    image[(y / 20) ** 2 + ((x - 30) / 20) ** 2 <= 1] = 0.05  # a lung, filled by the mask
    return image, body


def test_body_mask_covers_body_and_lung():
    image, body = _phantom()
    mask = regions.body_mask(image, SPACING)
    overlap = 2 * (mask & body).sum() / (mask.sum() + body.sum())
    assert overlap > 0.94
    assert mask[10, 20, 26]


def test_body_mask_is_the_same_in_another_unit():
    image, _ = _phantom()
    assert np.array_equal(regions.body_mask(image, SPACING), regions.body_mask(5000.0 * image, SPACING))


def test_hot_bladder_hardly_moves_the_body_mask():
    image, _ = _phantom()
    hot = image.copy()
    hot[2:5, 18:22, 18:22] = 40.0
    without, with_bladder = regions.body_mask(image, SPACING), regions.body_mask(hot, SPACING)
    assert (without != with_bladder).sum() < 0.07 * without.sum()


def test_body_mask_keeps_the_largest_component_only():
    image, _ = _phantom()
    image[:, 0:2, 0:2] = 1.0
    assert not regions.body_mask(image, SPACING)[:, 0, 0].any()


def test_body_mask_of_zeros_is_empty():
    assert not regions.body_mask(np.zeros((4, 5, 6)), SPACING).any()


def test_body_mask_takes_a_stated_threshold():
    image, _ = _phantom()
    assert not regions.body_mask(image, SPACING, threshold=2.0).any()


def test_ring_distances_are_in_millimetres_on_anisotropic_voxels():
    lesion = np.zeros((21, 21, 21), dtype=bool)
    lesion[10, 10, 10] = True
    ring = regions.ring_mask(lesion, SPACING, inner_mm=7.0, outer_mm=14.0)
    z, y, x = _grid(lesion.shape)
    distance = np.sqrt(z**2 + y**2 + x**2)
    assert np.array_equal(ring, (distance >= 7.0) & (distance <= 14.0))


def test_ring_leaves_out_other_lesions_and_stays_in_the_body():
    lesion = np.zeros((21, 21, 21), dtype=bool)
    lesion[10, 10, 10] = True
    other, body = np.zeros_like(lesion), np.zeros_like(lesion)
    other[10, 12, 10], body[:11] = True, True
    ring = regions.ring_mask(lesion, SPACING, exclude=other, within=body)
    assert ring.any()
    assert not ring[10, 12, 10]
    assert not ring[11:].any()


def test_ring_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one voxel"):
        regions.ring_mask(np.zeros((3, 3, 3)), SPACING)


@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (1.2, -1.9, 2.4)])
def test_sphere_weights_sum_to_the_volume_of_the_sphere(offset):
    centre = tuple(12 + o / s for o, s in zip(offset, SPACING, strict=True))
    weights = regions.sphere_weights((25, 25, 25), SPACING, centre_index=centre, diameter_mm=20.0)
    assert weights.sum() * math.prod(SPACING) == pytest.approx(math.pi / 6 * 20.0**3, rel=5e-3)
    mean = [(weights * axis).sum() / weights.sum() for axis in _grid(weights.shape)]
    assert mean == pytest.approx(list(offset), abs=0.05)


def test_sphere_beyond_the_edge_is_cut():
    inside = regions.sphere_weights((9, 9, 9), (2.0, 2.0, 2.0), centre_index=(4, 4, 4), diameter_mm=8.0)
    corner = regions.sphere_weights((9, 9, 9), (2.0, 2.0, 2.0), centre_index=(0, 4, 4), diameter_mm=8.0)
    assert corner.sum() == pytest.approx(inside[4:].sum())
    assert regions.sphere_weights((3, 3, 3), SPACING, centre_index=(50, 1, 1), diameter_mm=8.0).sum() == 0.0


def test_binary_lesions_are_split_by_component_and_labels_by_value():
    mask = np.zeros((6, 6, 6))
    mask[0, 0, 0] = mask[1, 1, 1] = mask[5, 5, 5] = 1
    assert [int(part.sum()) for part in regions.split_lesions(mask)] == [2, 1]
    mask[1, 1, 1] = 2
    assert [int(part.sum()) for part in regions.split_lesions(mask)] == [2, 1]
    assert regions.split_lesions(mask * 0) == []


def test_equivalent_diameter_of_a_sphere():
    z, y, x = _grid((41, 41, 41), (1.0, 1.0, 1.0))
    sphere = z**2 + y**2 + x**2 <= 15.0**2
    assert regions.equivalent_diameter_mm(sphere, (1.0, 1.0, 1.0)) == pytest.approx(30.0, rel=0.01)
    assert regions.volume_ml(sphere, (1.0, 1.0, 1.0)) == pytest.approx(14.14, rel=0.02)


def test_smoothing_has_the_stated_width_on_anisotropic_voxels():
    point = np.zeros((31, 31, 31))
    point[15, 15, 15] = 1.0
    blurred = regions.smooth(point, 12.0, SPACING)
    variances = [(blurred * axis**2).sum() / blurred.sum() for axis in _grid(point.shape)]
    assert np.sqrt(variances) * regions.FWHM_PER_SIGMA == pytest.approx([12.0] * 3, rel=0.02)


def test_lesions_keep_the_numbers_of_their_labels():
    mask = np.zeros((4, 4, 4), dtype=np.uint8)
    mask[0, 0, 0], mask[3, 3, 3] = 4, 9
    assert list(regions.numbered_lesions(mask)) == [4, 9]
    assert list(regions.numbered_lesions(mask > 0)) == [1, 2]
