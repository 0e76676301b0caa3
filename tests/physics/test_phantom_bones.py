"""Lesions of a bone scan lie in bone, in the parts of the skeleton asked for."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, LesionPlan, Organ, WholeBodySettings, from_brain_labels, whole_body_patient

PLAN = LesionPlan(
    count=6, diameter_mm=(8.0, 30.0), contrast=(3.0, 6.0), shapes=("ellipsoid", "irregular"), sites=("spine", "ribs")
)


def around(patient, lesion, **changes):
    """A fine grid about a lesion, with and without it."""
    n, spacing = 32, 1.5
    start = tuple(c - (n - 1) / 2 * spacing for c in lesion.centre_mm)
    grid = Grid((n, n, n), (spacing,) * 3, start)
    bare = type(patient)(patient.seed, patient.frame, patient.fields, patient.layers)
    return patient.render(grid), bare.render(grid)


@pytest.fixture(scope="module")
def patient():
    return whole_body_patient(4, lesions=PLAN, tracer="MDP")


def test_lesions_lie_in_the_bones_asked_for(patient):
    assert len(patient.lesions) == 6
    assert {p.truth.organ for p in patient.lesions} <= {"bone, spine", "bone, ribs"}
    for placed in patient.lesions:
        phantom, bare = around(patient, placed.truth)
        own = phantom.lesion_labels == placed.truth.index
        assert own.any()
        assert np.isin(bare.labels[own], (Organ.BONE, Organ.MARROW)).mean() > 0.75


def test_lesions_have_their_recorded_volume_and_uptake(patient):
    for placed in patient.lesions[:3]:
        truth = placed.truth
        phantom, _ = around(patient, truth)
        own = phantom.lesion_labels == truth.index
        volume_ml = own.sum() * phantom.grid.voxel_ml
        assert volume_ml == pytest.approx(np.pi / 6 * truth.diameter_mm**3 / 1000, rel=0.15)
        assert truth.suv == pytest.approx(truth.contrast * truth.background_suv)
        assert truth.background_suv > 1.0  # bone, not the tissue beside it


def test_the_same_seed_gives_the_same_lesions(patient):
    again = whole_body_patient(4, lesions=PLAN, tracer="MDP")
    assert [p.truth for p in again.lesions] == [p.truth for p in patient.lesions]


def test_lesions_of_given_size_keep_it():
    plan = LesionPlan(count=2, diameters_mm=(10.0,), contrasts=(3.0,), sites=("pelvis", "femur"))
    found = whole_body_patient(3, lesions=plan, tracer="MDP").lesions
    assert found
    assert {p.truth.diameter_mm for p in found} == {10.0}
    assert {p.truth.contrast for p in found} == {3.0}


def test_worn_joints_are_hot_and_no_lesions():
    none, worn = (
        whole_body_patient(
            1, lesions=LesionPlan(count=0), tracer="MDP", settings=WholeBodySettings(degenerative=n, clutter=(0, 0))
        )
        for n in ((0, 0), (8, 8))
    )
    grid = none.grid((8.0, 8.0, 8.0))
    a, b = none.render(grid), worn.render(grid)
    changed = a.activity != b.activity
    assert 0 < changed.sum() < 400
    assert (b.activity - a.activity)[changed].mean() > 0.3
    assert np.array_equal(a.mu_map, b.mu_map)
    assert not b.lesion_labels.any()


def test_wrong_sites_are_refused():
    with pytest.raises(InputError, match="sites knows"):
        LesionPlan(sites=("tooth",))
    with pytest.raises(InputError, match="too thin to isolate"):
        LesionPlan(sites=("spine",), isolated=True)
    labels = np.full((6, 6, 6), 2, np.int32)
    with pytest.raises(InputError, match="procedural patients only"):
        from_brain_labels(labels, (4.0, 4.0, 4.0), seed=1, lesions=PLAN)
