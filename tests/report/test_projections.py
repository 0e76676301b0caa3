import itertools

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.report.projections import (
    body_box,
    crosshair,
    cut,
    in_display_unit,
    index_in,
    marks,
    nearest_voxel,
    pixel_mm,
    project,
    upright,
    upright_like,
)
from tests.report.scenes import SPACING_MM, body, turned, volume


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_every_axis_order_and_flip_is_shown_upright(order, flips):
    image = volume(body())
    found = upright(turned(image, order, flips))
    assert not found.interpolated
    np.testing.assert_array_equal(found.array, image.array)
    np.testing.assert_allclose(found.affine, image.affine)
    assert found.spacing_mm == pytest.approx(SPACING_MM)


def test_coronal_picture_has_head_up_and_right_of_patient_on_the_left():
    array = np.zeros((4, 3, 5), dtype=np.float32)
    array[3, 1, 0] = 1.0  # head, patient's right: x is lowest in LPS
    picture = project(upright(volume(array)).array, "coronal")
    assert picture[0, 0] == 1.0
    assert marks("coronal") == ("R", "L")


def test_axial_picture_has_anterior_up_and_sagittal_has_anterior_on_the_left():
    array = np.zeros((4, 3, 5), dtype=np.float32)
    array[3, 0, 2] = 1.0  # head, anterior: y is lowest in LPS
    assert cut(array, "axial", (3, 0, 0))[0, 2] == 1.0
    assert project(array, "sagittal")[0, 0] == 1.0
    assert marks("sagittal") == ("A", "P")


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_crosshair_points_at_the_voxel(view):
    array = np.zeros((4, 3, 5), dtype=np.float32)
    array[3, 1, 4] = 1.0
    row, column = crosshair(view, (3, 1, 4), array.shape)
    assert cut(array, view, (3, 1, 4))[row, column] == 1.0


def test_pixels_keep_the_size_of_anisotropic_voxels():
    assert pixel_mm((6.0, 5.0, 4.0), "axial") == (5.0, 4.0)
    assert pixel_mm((6.0, 5.0, 4.0), "coronal") == (6.0, 4.0)
    assert pixel_mm((6.0, 5.0, 4.0), "sagittal") == (6.0, 5.0)


def test_oblique_grid_is_interpolated_and_keeps_the_place_of_a_source():
    angle = np.deg2rad(20.0)
    affine = affine_from_axes(spacing_mm=(4.0, 4.0, 4.0))
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    array = np.zeros((9, 21, 21), dtype=np.float32)
    array[3:6, 14:17, 4:7] = 1.0
    image = Volume(array, rotation @ affine, Unit.SUV_BODY_WEIGHT, "PT")
    found = upright(image)
    assert found.interpolated
    expected = index_in(found, image.affine, (4, 15, 5))
    weights = found.array / found.array.sum()
    centre = [(weights * axis).sum() for axis in np.indices(found.array.shape)]
    np.testing.assert_allclose(centre, expected, atol=0.2)


def test_other_grid_is_brought_to_the_first():
    first = upright(volume(body()))
    other = volume(body()[:12])
    found = upright_like(other, first)
    assert found.interpolated
    assert found.array.shape == first.array.shape
    np.testing.assert_allclose(found.array[:11], first.array[:11], atol=1e-5)


def test_nearest_voxel_stays_inside():
    assert nearest_voxel(upright(volume(body())), (-5.0, 99.0, 3.4)) == (0, 19, 3)


def test_box_of_an_empty_image_is_the_grid():
    assert body_box([np.zeros((3, 4, 5), np.float32)], 0.1, margin_mm=0.0, spacing_mm=(1, 1, 1)) == (
        slice(0, 3),
        slice(0, 4),
        slice(0, 5),
    )


def test_frames_are_refused():
    image = Volume(np.zeros((2, 3, 3, 3)), np.eye(4), Unit.BQML, "PT", axes=("frame", "z", "y", "x"))
    with pytest.raises(InputError, match="Pass one frame"):
        in_display_unit(image)
