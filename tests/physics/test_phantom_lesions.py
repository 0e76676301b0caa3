"""Lesions have the size and contrast that is recorded."""

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, LesionPlan, WholeBodySettings, whole_body_patient
from nmsynth.physics.phantom.lesions import paint_lesions, place_lesions

UNIFORM = WholeBodySettings(texture=(0.0, 0.0), clutter=(0, 0))


def _uniform_liver(points):
    return np.full(len(points), 2.0, np.float32), np.full(len(points), 6, np.uint8)


def _painted(plan, seed=0, shape=(50, 50, 50)):
    box = ((-5.0, 5.0), (-5.0, 5.0), (-5.0, 5.0))
    placed = place_lesions(np.random.default_rng(seed), _uniform_liver, plan, box)
    grid = Grid(shape, (2.0, 2.0, 2.0), (-49.0, -49.0, -49.0))
    activity, mu_map = np.full(shape, 2.0, np.float32), np.full(shape, 0.1, np.float32)
    labels, found = paint_lesions(grid, activity, mu_map, placed)
    return grid, activity, labels, found


@pytest.mark.parametrize("kind", ["sphere", "ellipsoid", "irregular"])
@pytest.mark.parametrize(("diameter", "tolerance"), [(10.0, 0.02), (16.0, 0.01), (30.0, 0.01)])
def test_volume_is_that_of_the_equivalent_sphere(kind, diameter, tolerance):
    plan = LesionPlan(diameters_mm=(diameter,), contrasts=(3.0,), organs=("liver",), shapes=(kind,), texture=0.0,
                      necrosis=0.0)  # fmt: skip
    grid, activity, _, found = _painted(plan)
    excess_ml = (activity - 2.0).sum() * grid.voxel_ml / (found[0].suv - 2.0)
    assert excess_ml == pytest.approx(np.pi / 6 * diameter**3 / 1000, rel=tolerance)


def test_contrast_and_necrosis_average_to_the_record():
    plan = LesionPlan(diameters_mm=(30.0,), contrasts=(4.0,), organs=("liver",), shapes=("irregular",), necrosis=1.0)
    _, activity, labels, found = _painted(plan, seed=3)
    lesion = found[0]
    assert lesion.background_suv == pytest.approx(2.0)
    assert lesion.contrast == pytest.approx(lesion.suv / lesion.background_suv)
    core = ndimage.binary_erosion(labels == 1, iterations=1)
    excess_ml = (activity - 2.0).sum() * 0.008
    assert excess_ml == pytest.approx((8.0 - 2.0) * np.pi / 6 * 27, rel=0.03)
    assert activity[core].min() < 0.7 * lesion.suv


def test_recorded_lesions_stand_out_of_the_rendered_patient():
    plan = LesionPlan(count=10, diameter_mm=(14, 30), contrast=(3, 6), isolated=True, texture=0.0, necrosis=0.0)
    patient = whole_body_patient(21, lesions=plan, settings=UNIFORM)
    assert len(patient.lesions) >= 6
    for placed in patient.lesions[:4]:
        truth = placed.truth
        n = 28
        start = tuple(round(c / 2.0) * 2.0 - n * 1.0 for c in truth.centre_mm)
        phantom = patient.render(Grid((n, n, n), (2.0, 2.0, 2.0), start))
        inside = phantom.lesion_labels == truth.index
        distance = ndimage.distance_transform_edt(~inside, sampling=2.0)
        core = ndimage.distance_transform_edt(inside, sampling=2.0) > 3.0
        ring = (distance > 7) & (distance < 10)
        assert np.median(phantom.activity[core]) == pytest.approx(truth.suv, rel=0.05)
        assert np.median(phantom.activity[ring]) == pytest.approx(truth.background_suv, rel=0.1)
        assert truth.isolated


def test_lesions_keep_apart():
    patient = whole_body_patient(8, lesions=LesionPlan(count=25))
    lesions = [p.truth for p in patient.lesions]
    assert len(lesions) >= 15
    assert [x.index for x in lesions] == list(range(1, len(lesions) + 1))
    for i, a in enumerate(lesions):
        for b in lesions[:i]:
            gap = np.linalg.norm(np.subtract(a.centre_mm, b.centre_mm))
            assert gap > (a.diameter_mm + b.diameter_mm) / 2


def test_lesion_free_patients_have_none():
    patient = whole_body_patient(3, lesions=LesionPlan(count=0))
    phantom = patient.render(patient.grid((12.0, 12.0, 12.0)))
    assert phantom.lesions == ()
    assert not phantom.lesion_labels.any()


def test_fixed_lists_are_used():
    plan = LesionPlan(diameters_mm=(10.0, 20.0), contrasts=(2.0, 5.0), organs=("liver",))
    lesions = [p.truth for p in whole_body_patient(6, lesions=plan).lesions]
    assert [(x.diameter_mm, x.contrast, x.organ) for x in lesions] == [(10.0, 2.0, "liver"), (20.0, 5.0, "liver")]


def test_plans_are_checked():
    with pytest.raises(InputError, match="count must be between"):
        LesionPlan(count=-1)
    with pytest.raises(InputError, match="diameter_mm must be a range"):
        LesionPlan(diameter_mm=(10.0, 5.0))
    with pytest.raises(InputError, match="must list positive numbers"):
        LesionPlan(contrasts=())
    with pytest.raises(InputError, match="organs knows"):
        LesionPlan(organs=("toe",))
    with pytest.raises(InputError, match="may hold"):
        LesionPlan(shapes=("cube",))
    with pytest.raises(InputError, match="necrosis"):
        LesionPlan(necrosis=2.0)
